package deadletters

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"sluice/store"
	"sluice/telemetry"
)

// maxLooked is how many rows Put looks through for letters that are there already.
// Beyond it the store tells, one at a time.
const maxLooked = 5 * store.MaxPage

// item is a letter that is to be kept.
type item struct {
	id     id
	record record
}

// Put keeps letters, each once: those that are there already, or were, are left as
// they are, so that an event may be delivered any number of times. Nil means that
// all are durable; failed, some may be, and putting them again is safe. No letter
// is refused for what is in it. Letters of one hour share a read and, as far as
// they fit, a transaction.
func (s *Store) Put(ctx context.Context, letters []Letter) error {
	now := s.now().UTC().Truncate(time.Millisecond)
	items := make([]item, len(letters))
	for n, l := range letters {
		items[n].id = idOf(l.Source, l.Body)
		items[n].record.Letter = l.cleaned()
		items[n].record.Received = now
	}
	slices.SortFunc(items, func(a, b item) int {
		return cmp.Or(cmp.Compare(a.id.partition(), b.id.partition()), cmp.Compare(a.id.key(), b.id.key()))
	})
	items = slices.CompactFunc(items, func(a, b item) bool { return a.id == b.id })
	for len(items) > 0 {
		hour := items[0].id.partition()
		n := slices.IndexFunc(items, func(i item) bool { return i.id.partition() != hour })
		if n < 0 {
			n = len(items)
		}
		if err := s.putHour(ctx, hour, items[:n]); err != nil {
			return err
		}
		items = items[n:]
	}
	return nil
}

// putHour keeps letters of one partition, in ascending order of keys.
func (s *Store) putHour(ctx context.Context, hour string, items []item) error {
	there, err := s.there(ctx, hour, items[0].id.key(), items[len(items)-1].id.key())
	if err != nil {
		return err
	}
	items = slices.DeleteFunc(items, func(i item) bool { return there[i.id.key()] })
	for len(items) > 0 {
		n := fitting(hour, items)
		if err := s.insert(ctx, hour, items[:n]); err != nil {
			return err
		}
		items = items[n:]
		s.forgetCount()
	}
	return nil
}

// there are the keys of letters from first to last, as far as maxLooked rows show
// them.
func (s *Store) there(ctx context.Context, hour, first, last string) (map[string]bool, error) {
	r := store.InPartition(hour, first, store.After(last))
	r.Select = []string{"state"}
	there, err := map[string]bool{}, error(nil)
	for page := (store.Page{}); ; {
		page, err = s.rows.Scan(ctx, table, r, page.Next)
		if errors.Is(err, store.ErrTableNotFound) {
			return there, nil
		}
		if err != nil {
			return nil, fmt.Errorf("look for dead letters: %w", err)
		}
		for _, row := range page.Rows {
			there[row.Key] = true
		}
		if page.Next == "" || len(there) >= maxLooked {
			return there, nil
		}
	}
}

// fitting is how many of the letters, at least one, fit into a transaction.
func fitting(hour string, items []item) int {
	ops, size := 0, store.WireSize(hour, nil)
	for n := range items {
		for _, op := range items[n].record.insert(items[n].id) {
			ops, size = ops+1, size+op.WireSize(hour)
		}
		if n > 0 && (ops > store.MaxOps || size > store.MaxTransaction) {
			return n
		}
	}
	return len(items)
}

// insert keeps letters that fit into a transaction, without those that turn out to
// be there.
func (s *Store) insert(ctx context.Context, hour string, items []item) error {
	made := false
	for len(items) > 0 {
		var ops []store.Op
		var whose []int // of each operation: its letter
		for n, i := range items {
			for _, op := range i.record.insert(i.id) {
				ops, whose = append(ops, op), append(whose, n)
			}
		}
		err := s.rows.Commit(ctx, table, hour, ops)
		var op *store.OpError
		switch {
		case err == nil:
			return nil
		case errors.Is(err, store.ErrExists) && errors.As(err, &op) && op.Index >= 0 && op.Index < len(ops):
			items = slices.Delete(slices.Clone(items), whose[op.Index], whose[op.Index]+1)
		case errors.Is(err, store.ErrExists) && len(items) == 1:
			return nil
		case errors.Is(err, store.ErrExists): // which one is not said
			return s.insertHalves(ctx, hour, items)
		case errors.Is(err, store.ErrTableNotFound) && !made:
			made = true
			if err := s.rows.CreateTable(ctx, table); err != nil {
				return fmt.Errorf("make the table of dead letters: %w", err)
			}
		case errors.Is(err, store.ErrInvalid), errors.Is(err, store.ErrTooLarge):
			return s.insertRefused(ctx, hour, items, err)
		default:
			return fmt.Errorf("keep dead letters: %w", err)
		}
	}
	return nil
}

// insertRefused keeps letters of which the store refuses something for good: the
// one that it is loses its texts, so that it holds up neither its event's
// neighbours nor its partition of the hub.
func (s *Store) insertRefused(ctx context.Context, hour string, items []item, refused error) error {
	if len(items) > 1 {
		return s.insertHalves(ctx, hour, items)
	}
	only := items[0].record.Letter
	bare := Letter{
		Reason:   telemetry.Refusal{Code: only.Reason.Code, Message: "the store refuses what came with the event: its properties and the reason are left out"},
		Rejected: only.Rejected, Received: only.Received, Body: only.Body, Size: only.Size, Cut: true,
		Source: Source{Sequence: only.Source.Sequence, Enqueued: only.Source.Enqueued},
	}
	if only.Reason == bare.Reason {
		return fmt.Errorf("keep dead letter %s: %w", items[0].id, refused)
	}
	return s.insert(ctx, hour, []item{{items[0].id, record{Letter: bare}}})
}

func (s *Store) insertHalves(ctx context.Context, hour string, items []item) error {
	half := len(items) / 2
	return errors.Join(s.insert(ctx, hour, items[:half]), s.insert(ctx, hour, items[half:]))
}
