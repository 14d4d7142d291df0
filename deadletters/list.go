package deadletters

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sluice/store"
)

const (
	// maxPassed is how many letters that are done a page passes over.
	maxPassed = 10_000
	// maxPageBytes is the size of their texts at which a page is cut.
	maxPageBytes = 4 << 20
	// maxCounted is how many rows are looked through to count letters, countFresh how
	// long that holds.
	maxCounted = 5 * store.MaxPage
	countFresh = 30 * time.Second
)

// List returns up to limit letters, newest first by the time of their events,
// without bodies, and where the next page begins: "" after the last one. A page may
// be short, or empty, and still have a next one. cursor is "" or a former next.
// ErrCursor.
func (s *Store) List(ctx context.Context, limit int, cursor string) (letters []Letter, next string, err error) {
	ranges := []store.Range{{}}
	if cursor != "" {
		i, ok := parseID(cursor)
		if !ok {
			return nil, "", ErrCursor
		}
		ranges = []store.Range{store.InPartition(i.partition(), store.After(i.key()), ""), {PartitionFrom: store.After(i.partition())}}
	}
	passed, size, last, full := 0, 0, "", false
	for _, r := range ranges {
		r.KeyFrom, r.KeyTo, r.Select = max(r.KeyFrom, letterKeys), letterKeysEnd, listed
		r.Limit = min(max(limit+1, 100), store.MaxPage)
		err = s.scan(ctx, r, func(row store.Row) (bool, error) {
			found, err := decode(row)
			switch {
			case err != nil:
				return false, err
			case found.state != waiting && passed < maxPassed:
				passed++
			case found.state != waiting || len(letters) == limit || size >= maxPageBytes:
				full = true
				return false, nil
			default:
				letters, size = append(letters, found.Letter), size+found.texts()
			}
			last = found.ID
			return true, nil
		})
		if err != nil {
			return nil, "", err
		}
		if full {
			return letters, last, nil
		}
	}
	return letters, "", nil
}

// scan yields the rows of a range until yield says that it has enough. No table is
// an empty one.
func (s *Store) scan(ctx context.Context, r store.Range, yield func(store.Row) (bool, error)) error {
	for token, first := "", true; first || token != ""; first = false {
		page, err := s.rows.Scan(ctx, table, r, token)
		if errors.Is(err, store.ErrTableNotFound) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read dead letters: %w", err)
		}
		for _, row := range page.Rows {
			if more, err := yield(row); err != nil || !more {
				return err
			}
		}
		token = page.Next
	}
	return nil
}

// Count counts the letters; more says that there are others. It is bounded and may
// be half a minute old.
func (s *Store) Count(ctx context.Context) (n int, more bool, err error) {
	s.mu.Lock()
	n, more, age := s.count, s.more, s.now().Sub(s.counted)
	s.mu.Unlock()
	if 0 <= age && age < countFresh {
		return n, more, nil
	}
	begun, seen := s.now(), 0
	n, more = 0, false
	r := store.Range{KeyFrom: letterKeys, KeyTo: letterKeysEnd, Select: []string{"state"}}
	err = s.scan(ctx, r, func(row store.Row) (bool, error) {
		if more = seen == maxCounted; more {
			return false, nil
		}
		seen++
		if state(row.Text("state")) == waiting {
			n++
		}
		return true, nil
	})
	if err != nil {
		return 0, false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count, s.more, s.counted = n, more, begun
	return n, more, nil
}

// forgetCount makes that the next Count counts: a letter came or went.
func (s *Store) forgetCount() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counted = time.Time{}
}
