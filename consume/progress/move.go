package progress

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"sluice/store"
)

// Event is the place of an event in its partition.
type Event struct {
	Sequence int64
	Offset   string
	Enqueued time.Time
}

// change is what a row becomes, or false where it is as it should be.
type change func(now Position) (Position, bool, error)

// Advance notes that all events after from, up to and including to, are
// durable, and returns where the partition is by then: beyond to if somebody
// else was faster. ErrMoved if the row does not have all that is up to from, or is
// another hub's by now.
func (s *Store) Advance(ctx context.Context, from Position, to Event) (Position, error) {
	return s.write(ctx, from, from.still(func(now Position) (Position, bool) {
		if now.stored && now.Sequence >= to.Sequence {
			return now, false
		}
		now.Sequence, now.Offset, now.Enqueued = to.Sequence, to.Offset, to.Enqueued
		return now, true
	}))
}

// Skip notes that the hub has none of the events after from and before first
// any more: they are lost, and count as such once, whoever notices.
func (s *Store) Skip(ctx context.Context, from Position, first int64) (Position, error) {
	return s.write(ctx, from, from.still(func(now Position) (Position, bool) {
		if now.Sequence >= first-1 {
			return now, false
		}
		now.Lost += first - 1 - now.Sequence
		now.Sequence, now.Offset = first-1, ""
		return now, true
	}))
}

// Reread notes that the events after from and before until are read again.
func (s *Store) Reread(ctx context.Context, from Position, until int64) (Position, error) {
	return s.write(ctx, from, from.still(func(now Position) (Position, bool) {
		if now.stored && (now.Until >= until || now.Sequence >= until-1) {
			return now, false
		}
		now.Until = until
		return now, true
	}))
}

// Leave notes that the events before until are not read again: the hub does not
// have them.
func (s *Store) Leave(ctx context.Context, from Position, until int64) (Position, error) {
	return s.write(ctx, from, from.still(func(now Position) (Position, bool) {
		if now.Until == 0 || now.Until > until {
			return now, false
		}
		now.Until = 0
		return now, true
	}))
}

// Anew notes that the hub is another one than that of from: its partition
// begins with the event first. It returns where the partition is by then, if
// somebody else noted so already.
func (s *Store) Anew(ctx context.Context, from Position, first int64) (Position, error) {
	return s.write(ctx, from, func(now Position) (Position, bool, error) {
		if now.Generation > from.Generation {
			return now, false, nil
		}
		return Position{
			Partition: now.Partition, Sequence: first - 1, Lost: now.Lost,
			Generation: now.Generation + 1, stored: now.stored, tag: now.tag,
		}, true, nil
	})
}

// still is a change of a row that has all that p has.
func (p Position) still(to func(now Position) (Position, bool)) change {
	return func(now Position) (Position, bool, error) {
		if now.Generation != p.Generation || now.Sequence < p.Sequence {
			return now, false, ErrMoved
		}
		next, changed := to(now)
		return next, changed, nil
	}
}

// tries is how often a write is tried. Whenever one is refused another writer's
// succeeded.
const tries = 16

// write changes the row that from was read from, or what became of it.
func (s *Store) write(ctx context.Context, from Position, to change) (Position, error) {
	now := from
	for range tries {
		var err error
		if now.stored && now.tag == "" {
			if now, err = s.reread(ctx, from); err != nil {
				return Position{}, err
			}
		}
		next, changed, err := to(now)
		if err != nil {
			return Position{}, fmt.Errorf("progress of partition %s: %w", from.Partition, err)
		}
		if !changed {
			return now, nil
		}
		switch err = s.put(ctx, &next); {
		case err == nil:
			return next, nil
		case !open(err):
			return Position{}, fmt.Errorf("write the progress of partition %s: %w", from.Partition, err)
		}
		if now, err = s.reread(ctx, from); err != nil {
			return Position{}, err
		}
	}
	return Position{}, fmt.Errorf("write the progress of partition %s: %w", from.Partition, store.ErrStale)
}

// reread reads the row that from was read from. Where there is still none, from
// is what there is.
func (s *Store) reread(ctx context.Context, from Position) (Position, error) {
	now, err := s.Read(ctx, from.Partition)
	switch {
	case err != nil:
		return Position{}, err
	case now.stored:
		return now, nil
	case from.stored: // somebody removed it
		return Position{}, fmt.Errorf("progress of partition %s: %w", from.Partition, ErrMoved)
	default:
		return from, nil
	}
}

// open says that the row must be read to know what became of a write.
func open(err error) bool { return refused(err) || errors.Is(err, store.ErrNoAnswer) }

// refused tells a refused condition from a fault: another writer was first.
func refused(err error) bool {
	return errors.Is(err, store.ErrStale) || errors.Is(err, store.ErrExists) || errors.Is(err, store.ErrNotFound)
}

func absent(err error) bool {
	return errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrTableNotFound)
}

// put writes a row over the version that p has. The version that it makes is
// not known.
func (s *Store) put(ctx context.Context, p *Position) error {
	p.Written = s.now().UTC()
	if p.Until <= p.Sequence+1 {
		p.Until = 0
	}
	op := store.Op{Kind: store.Insert, Properties: encode(*p)}
	if p.stored {
		op.Kind, op.IfMatch = store.Replace, p.tag
	}
	op.Key = positionKey + url.PathEscape(p.Partition)
	err := s.commit(ctx, op)
	p.stored, p.tag = true, ""
	return err
}

// commit does one operation, and makes the table before the first.
func (s *Store) commit(ctx context.Context, op store.Op) error {
	err := s.rows.Commit(ctx, Table, s.partition, []store.Op{op})
	if !errors.Is(err, store.ErrTableNotFound) {
		return err
	}
	if err := s.rows.CreateTable(ctx, Table); err != nil {
		return fmt.Errorf("create the table of progress: %w", err)
	}
	return s.rows.Commit(ctx, Table, s.partition, []store.Op{op})
}
