package fenced

import (
	"context"
	"errors"

	"sluice/store"
)

// refusedRows is the error of a transaction that the store refuses for good:
// what was checked here was right, so one of its rows is something that the
// store does not take.
type refusedRows struct{ err error }

func (e *refusedRows) Error() string { return e.err.Error() }

func (e *refusedRows) Unwrap() error { return e.err }

// isolation tells apart the rows of an Append that the store refuses.
type isolation struct {
	seen    int // rows that were looked at, in order of the entries
	refused []int
	reason  error
}

// isolate commits rows. Those that are refused for good are found by halving: of
// n rows at most 2n-1 transactions are sent. The rows keep their keys: each
// names one content for ever.
func (j *Journal) isolate(ctx context.Context, shard int, rows []store.Op, found *isolation) error {
	err := j.commit(ctx, shard, rows)
	var refused *refusedRows
	switch {
	case err == nil:
		found.seen += len(rows)
		return nil
	case !errors.As(err, &refused):
		return err
	case len(rows) == 1:
		found.refused, found.reason = append(found.refused, found.seen), err
		found.seen++
		return nil
	}
	half := len(rows) / 2
	if err := j.isolate(ctx, shard, rows[:half], found); err != nil {
		return err
	}
	return j.isolate(ctx, shard, rows[half:], found)
}

// judge says how an Append ended. The fault may lie in what stands before the
// store, or in the epoch, and not in the rows, and may have come after some
// transactions were taken: then the touch of a fence alone is refused too, and
// nobody must be told that it is his data.
func (j *Journal) judge(ctx context.Context, shard int, found *isolation) error {
	if len(found.refused) == 0 {
		return nil
	}
	if err := j.commit(ctx, shard, nil); err != nil {
		return err
	}
	return &store.RefusedError{Entries: found.refused, Err: found.reason}
}
