package deadletters

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"sluice/store"
)

const (
	// maxPurged is how many letters a run removes.
	maxPurged = 2000
	// maxSearched is how many it looks through: late events, received long after the
	// hub had them, stay longer than their neighbours.
	maxSearched = 20_000
	// purgeRest is how long Purge rests after it came to an end: what calls it may do
	// so every minute.
	purgeRest = 10 * time.Minute
)

// Purge removes letters, and what remembers those that are done, Keep after they
// were received; bounded, so that the rest is for the next run. It returns how many
// went.
func (s *Store) Purge(ctx context.Context) (int, error) {
	now := s.now()
	s.mu.Lock()
	rested := now.Sub(s.purged)
	s.mu.Unlock()
	if 0 <= rested && rested < purgeRest {
		return 0, nil
	}
	gone, err := s.purge(ctx, now.Add(-Keep))
	if err == nil && gone < maxPurged {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.purged = now
	}
	return gone, err
}

// purge removes up to maxPurged letters that were received up to a time. Events
// are received after the hub had them, so what it looks for begins there.
func (s *Store) purge(ctx context.Context, upTo time.Time) (int, error) {
	r := store.Range{
		PartitionFrom: hourPartition(clamp(upTo.UnixMilli(), maxMillis)),
		KeyFrom:       letterKeys, KeyTo: letterKeysEnd, Select: []string{"format", "parts", "received", "state"},
	}
	var old []store.Row
	searched := 0
	err := s.scan(ctx, r, func(row store.Row) (bool, error) {
		if searched++; row.Int("received") <= upTo.UnixMilli() {
			old = append(old, row)
		}
		return len(old) < maxPurged && searched < maxSearched, nil
	})
	if err != nil {
		return 0, err
	}
	gone := 0
	for len(old) > 0 {
		n := 1
		for n < len(old) && n < maxRemoved && old[n].Partition == old[0].Partition {
			n++
		}
		removed, err := s.remove(ctx, old[:n])
		if gone += removed; err != nil {
			return gone, err
		}
		old = old[n:]
	}
	return gone, nil
}

// maxRemoved is how many letters a transaction removes, with the parts of their
// bodies.
const maxRemoved = store.MaxOps / (1 + (MaxBody+partBytes-1)/partBytes)

// remove removes letters of one partition; those that changed or went since they
// were read are left for the next run.
func (s *Store) remove(ctx context.Context, rows []store.Row) (int, error) {
	for len(rows) > 0 {
		var ops []store.Op
		var whose []int // of each operation: its letter
		for n, row := range rows {
			for _, op := range removal(row) {
				ops, whose = append(ops, op), append(whose, n)
			}
		}
		err := s.rows.Commit(ctx, table, rows[0].Partition, ops)
		var op *store.OpError
		switch {
		case err == nil:
			s.forgetCount()
			return len(rows), nil
		case errors.As(err, &op) && op.Index >= 0 && op.Index < len(ops) && (errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrStale)):
			rows = slices.Delete(slices.Clone(rows), whose[op.Index], whose[op.Index]+1)
		default:
			return 0, fmt.Errorf("remove old dead letters: %w", err)
		}
	}
	return 0, nil
}

// removal are the operations that remove a letter.
func removal(row store.Row) []store.Op {
	ops := []store.Op{{Kind: store.Delete, Key: row.Key, IfMatch: row.ETag}}
	if i, ok := idOfKey(row.Key); ok {
		ops = append(ops, record{parts: int(row.Int("parts"))}.deleteParts(i)...)
	}
	return ops
}
