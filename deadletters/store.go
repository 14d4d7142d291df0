package deadletters

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"sluice/store"
)

// Keep is how long a letter is kept, and what remembers one that is done.
const Keep = 30 * 24 * time.Hour

// table has all letters, a partition an hour of the hub's time.
const table = "sluicedeadletters"

// maxStale is how often a change is tried again that somebody else was first with.
const maxStale = 8

// Store keeps letters in rows. Its methods may be called concurrently, also by
// several processes.
type Store struct {
	rows store.Rows
	now  func() time.Time

	mu      sync.Mutex
	purged  time.Time // when Purge last came to its end
	counted time.Time // when Count last counted
	count   int
	more    bool
}

// New makes a store of letters in rows (those of a store's first account). It does
// nothing yet: its table is made with the first letter.
func New(rows store.Rows, now func() time.Time) *Store { return &Store{rows: rows, now: now} }

// read reads what there is of an event. ErrUnknown.
func (s *Store) read(ctx context.Context, text string) (id, record, error) {
	i, ok := parseID(text)
	if !ok {
		return id{}, record{}, fmt.Errorf("%w: its id has another form", ErrUnknown)
	}
	row, err := s.rows.Get(ctx, table, i.partition(), i.key())
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrTableNotFound) {
		return i, record{}, ErrUnknown
	}
	if err != nil {
		return i, record{}, fmt.Errorf("read dead letter %s: %w", i, err)
	}
	r, err := decode(row)
	return i, r, err
}

// Get reads a letter with its body. ErrUnknown.
func (s *Store) Get(ctx context.Context, id string) (Letter, error) {
	for range maxStale {
		i, r, err := s.read(ctx, id)
		if err == nil && r.state != waiting {
			err = ErrUnknown
		}
		if err != nil {
			return Letter{}, err
		}
		whole, err := s.readBody(ctx, i, &r)
		if err != nil || whole {
			return r.Letter, err
		}
	}
	return Letter{}, fmt.Errorf("%w: %s has no whole body", ErrCorrupt, id)
}

// readBody reads the parts of a large body; not whole if they went since the
// letter was read.
func (s *Store) readBody(ctx context.Context, i id, r *record) (whole bool, err error) {
	if r.parts == 0 {
		return true, nil
	}
	r.Body = make([]byte, 0, min(max(r.Size, 0), MaxBody))
	for n := range r.parts {
		row, err := s.rows.Get(ctx, table, i.partition(), i.partKey(n))
		if errors.Is(err, store.ErrNotFound) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("read the body of dead letter %s: %w", i, err)
		}
		for _, p := range row.Properties {
			b, _ := p.Value.([]byte)
			r.Body = append(r.Body, b...)
		}
	}
	return len(r.Body) == min(r.Size, MaxBody), nil
}

// Drop gives a letter up; one that is done already stays so. ErrUnknown if there
// never was one, or its time is over.
func (s *Store) Drop(ctx context.Context, id string) error {
	i, r, err := s.read(ctx, id)
	if err != nil {
		return err
	}
	return s.change(ctx, i, r, func(r record) []store.Op { return r.finish(i, dropped, 0) })
}

// change changes a letter that waits. If somebody was first, or no answer tells
// whether it was changed, it is read again; one that is done stays as it is.
func (s *Store) change(ctx context.Context, i id, r record, ops func(record) []store.Op) error {
	var refused error
	for range maxStale {
		if r.state != waiting {
			return nil
		}
		err := s.rows.Commit(ctx, table, i.partition(), ops(r))
		if err == nil {
			s.forgetCount()
			return nil
		}
		if !open(err) {
			return fmt.Errorf("write dead letter %s: %w", i, err)
		}
		s.forgetCount() // it may be done
		refused = err
		if _, r, err = s.read(ctx, i.String()); err != nil {
			return err
		}
	}
	return fmt.Errorf("write dead letter %s: %w, %d times", i, refused, maxStale)
}

// open says that the letter must be read to know what became of it.
func open(err error) bool {
	return errors.Is(err, store.ErrStale) || errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrNoAnswer)
}

// Replay has r judge a letter again. If all of it is durable by now, the letter is
// done, and replaying it again does nothing but tell that; else it stays, with the
// new reason. ErrUnknown, ErrCut; r's error.
func (s *Store) Replay(ctx context.Context, r Replayer, id string) (Verdicts, error) {
	i, found, err := s.read(ctx, id)
	switch {
	case err != nil:
		return Verdicts{}, err
	case found.state == replayed:
		return Verdicts{Accepted: found.accepted}, nil
	case found.state != waiting:
		return Verdicts{}, ErrUnknown
	case found.Cut:
		return Verdicts{}, ErrCut
	}
	letter, err := s.Get(ctx, id)
	if err != nil {
		return Verdicts{}, err
	}
	verdicts, err := r.Replay(ctx, letter)
	if err != nil {
		return Verdicts{}, err
	}
	err = s.change(ctx, i, found, func(r record) []store.Op { return r.judged(i, verdicts) })
	if errors.Is(err, ErrUnknown) { // its time came meanwhile
		err = nil
	}
	return verdicts, err
}

// judged are the operations after a letter was judged again.
func (r record) judged(i id, v Verdicts) []store.Op {
	if v.Reason == nil {
		return r.finish(i, replayed, v.Accepted)
	}
	return []store.Op{{Kind: store.Touch, Key: i.key(), IfMatch: r.etag, Properties: reasonOf(cleanReason(*v.Reason), v.Rejected)}}
}
