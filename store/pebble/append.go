package pebble

import (
	"context"
	"errors"
	"fmt"

	pebbledb "github.com/cockroachdb/pebble/v2"

	"sluice/store"
)

// maxAppend is the most bytes and entries of an Append. They are one value, all
// or none.
const (
	maxAppend        = 32 << 20
	maxAppendEntries = 10_000
)

// Append implements store.Journal. The entries' data is kept, not copied.
func (j *journal) Append(ctx context.Context, number int, entries []store.Entry) error {
	return j.call(ctx, "append to the journal", number, func(sh *shard) error {
		if err := checkEntries(entries); err != nil {
			return err
		}
		if err := j.s.disk.check(adds); err != nil {
			return err
		}
		record := encodeEntries(entries)
		return sh.change(func() (*pebbledb.Batch, error) { return sh.append(entries, record) })
	})
}

func checkEntries(entries []store.Entry) error {
	if len(entries) == 0 || len(entries) > maxAppendEntries {
		return fmt.Errorf("%d entries, 1 to %d can be appended together: %w", len(entries), maxAppendEntries, store.ErrInvalid)
	}
	total := 0
	for i, e := range entries {
		total += len(e.Data)
		switch {
		case len(e.Data) == 0:
			return fmt.Errorf("entry %d is empty: %w", i, store.ErrInvalid)
		case len(e.Data) > store.MaxEntry:
			return fmt.Errorf("entry %d of %d bytes, at most %d: %w", i, len(e.Data), store.MaxEntry, store.ErrTooLarge)
		case e.Bucket < 0:
			return fmt.Errorf("entry %d in bucket %d: %w", i, e.Bucket, store.ErrInvalid)
		}
	}
	if total > maxAppend {
		return fmt.Errorf("entries of %d bytes, at most %d can be appended together: %w", total, maxAppend, store.ErrTooLarge)
	}
	return nil
}

// append puts a record into the newest epoch; into the one after it if that is
// sealed or there is none.
func (sh *shard) append(entries []store.Entry, record []byte) (*pebbledb.Batch, error) {
	b := sh.j.s.db.NewBatchWithSize(len(record) + 256)
	h, isNew := sh.head, false
	if n := len(h.epochs); n == 0 || h.epochs[n-1].sealed {
		var err error
		if h, err = sh.open(b); err != nil {
			return nil, errors.Join(err, b.Close())
		}
		isNew = true
	}
	e, first, err := sh.target(h, isNew, len(entries))
	if err == nil {
		err = b.Set(entryKey(sh.number, e.place, first), record, nil)
	}
	if err != nil {
		return nil, errors.Join(err, b.Close())
	}
	if err := sh.j.s.apply(b); err != nil {
		return nil, err
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if isNew {
		sh.head = h
		sh.epochs[e.place] = e
	}
	e.keep(first, entries)
	return b, nil
}

// target returns the head's newest epoch and the sequence for new entries.
func (sh *shard) target(h head, isNew bool, entries int) (*epoch, uint64, error) {
	place := h.epochs[len(h.epochs)-1].place
	e := sh.epochs[place]
	if isNew {
		e = newEpoch(sh, place, false)
	}
	first, err := e.reserve(entries)
	return e, first, err
}
