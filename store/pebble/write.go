package pebble

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	pebbledb "github.com/cockroachdb/pebble/v2"

	"sluice/store"
)

// apply puts a batch into the log and makes it visible, in that order for all
// callers; it is durable only when wait has returned nil. Callers hold the lock
// of what they change for apply only, so that concurrent writes share a sync.
func (s *Store) apply(b *pebbledb.Batch) error {
	return s.commit(func() error { return s.db.ApplyNoSyncWait(b, pebbledb.Sync) })
}

// applyLater is apply without asking for a sync: the next one, asked for by
// whoever writes later, has this batch on the disk too.
func (s *Store) applyLater(b *pebbledb.Batch) error {
	if err := s.commit(func() error { return s.db.Apply(b, pebbledb.NoSync) }); err != nil {
		return err
	}
	if err := b.Close(); err != nil {
		return fmt.Errorf("close batch: %w", err)
	}
	return nil
}

func (s *Store) commit(do func() error) (err error) {
	if err := s.failed.get(); err != nil {
		return err
	}
	// Pebble panics, with its commit lock held, when it writes to a log that has
	// failed already.
	defer func() {
		if r := recover(); r != nil {
			err = s.fail(fmt.Errorf("commit: %v", r))
		}
	}()
	if err := do(); err != nil {
		return s.fail(fmt.Errorf("commit: %w", err))
	}
	return nil
}

// wait waits until a batch is on the disk, and with it all that were applied
// before it. A failed sync is final: what the kernel did with the pages is
// unknown, so nothing is acknowledged from then on.
func (s *Store) wait(b *pebbledb.Batch) error {
	if err := b.SyncWait(); err != nil {
		return s.fail(fmt.Errorf("sync the log: %w", err))
	}
	if err := b.Close(); err != nil {
		return fmt.Errorf("close batch: %w", err)
	}
	return nil
}

func (s *Store) fail(err error) error {
	s.failed.set(err)
	return errors.Join(s.failed.get(), store.ErrNoAnswer)
}

// failure is the reason why a store cannot go on, the first one.
type failure struct {
	reason atomic.Pointer[error]
	once   sync.Once
	report func(error)
}

func (f *failure) set(err error) {
	f.once.Do(func() {
		f.reason.Store(&err)
		f.report(err)
	})
}

func (f *failure) get() error {
	if err := f.reason.Load(); err != nil {
		return fmt.Errorf("store failed, it must be opened again: %w: %w", *err, store.ErrUnavailable)
	}
	return nil
}
