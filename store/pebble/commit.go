package pebble

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"sync"

	pebbledb "github.com/cockroachdb/pebble/v2"

	"sluice/store"
)

// Commit implements store.Rows. The partition's lock is held until the
// transaction is applied, the wait for the disk is shared by all that wait.
// Another transaction may therefore build on one that is not on the disk yet:
// the log keeps their order, so the latter is never there without the former.
func (r *rows) Commit(ctx context.Context, name, partition string, ops []store.Op) error {
	return r.commit(ctx, name, partition, ops, true)
}

// CommitLater implements store.LazyRows: the log's order is all that it takes.
func (r *rows) CommitLater(ctx context.Context, name, partition string, ops []store.Op) error {
	return r.commit(ctx, name, partition, ops, false)
}

func (r *rows) commit(ctx context.Context, name, partition string, ops []store.Op, now bool) error {
	end, err := r.s.use(ctx)
	if err != nil {
		return err
	}
	defer end()
	if err := r.transact(name, partition, ops, now); err != nil {
		return fmt.Errorf("commit to %q %q: %w", name, partition, err)
	}
	return nil
}

func (r *rows) transact(name, partition string, ops []store.Op, now bool) error {
	if err := store.CheckOps(partition, ops); err != nil {
		return err
	}
	t, err := r.find(name)
	if err != nil {
		return err
	}
	if err := r.s.disk.check(effectOf(ops)); err != nil {
		return err
	}
	apply := r.s.applyLater
	if now {
		apply = r.s.apply
	}
	b, err := r.applyOps(t, name, partition, ops, apply)
	if err != nil || !now {
		return err
	}
	return r.s.wait(b)
}

// effectOf lets a full disk's rows be deleted, and what exists be changed, as a
// compactor does to let go of its journal.
func effectOf(ops []store.Op) effect {
	e := frees
	for _, o := range ops {
		switch o.Kind {
		case store.Insert, store.Put:
			return adds
		case store.Replace, store.Touch:
			e = changes
		}
	}
	return e
}

func (r *rows) applyOps(t *table, name, partition string, ops []store.Op, apply func(*pebbledb.Batch) error) (*pebbledb.Batch, error) {
	stripe := r.stripe(t, partition)
	stripe.Lock()
	defer stripe.Unlock()
	t.mu.RLock()
	defer t.mu.RUnlock()
	if t.dropped {
		return nil, noTable(name)
	}
	tag, err := r.s.numbers.next()
	if err != nil {
		return nil, err
	}
	b := r.s.db.NewBatch()
	for i, o := range ops {
		if err := r.addOp(b, tag, partition, rowKey(t.id, partition, o.Key), o); err != nil {
			return nil, errors.Join(&store.OpError{Index: i, Err: err}, b.Close())
		}
	}
	if err := apply(b); err != nil {
		return nil, err
	}
	return b, nil
}

func (r *rows) stripe(t *table, partition string) *sync.Mutex {
	h := maphash.String(r.seed, partition) ^ t.id*0x9e3779b97f4a7c15
	return &r.stripes[h>>32%uint64(len(r.stripes))]
}

// addOp checks an operation's condition and adds it to the batch.
func (r *rows) addOp(b *pebbledb.Batch, tag uint64, partition string, key []byte, o store.Op) error {
	properties := o.Properties
	switch o.Kind {
	case store.Put:
	case store.Insert:
		if err := r.mustBeAbsent(key); err != nil {
			return err
		}
	case store.Touch:
		old, err := r.touched(key, o)
		if err != nil {
			return err
		}
		properties = store.Merged(old, o.Properties)
		if err := store.CheckRow(store.Row{Partition: partition, Key: o.Key, Properties: properties}); err != nil {
			return err
		}
	default:
		if err := r.mustMatch(key, o); err != nil {
			return err
		}
	}
	if o.Kind == store.Delete {
		return b.Delete(key, nil)
	}
	data, err := encodeRow(tag, properties)
	if err != nil {
		return err
	}
	return b.Set(key, data, nil)
}

func (r *rows) mustBeAbsent(key []byte) error {
	err := r.read(key, func([]byte) error { return nil })
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err == nil {
		err = store.ErrExists
	}
	return err
}

func (r *rows) mustMatch(key []byte, o store.Op) error {
	return r.read(key, func(data []byte) error {
		tag, err := rowTag(data)
		if err == nil && o.IfMatch != store.AnyTag && o.IfMatch != formatTag(tag) {
			err = store.ErrStale
		}
		return err
	})
}

// touched reads the properties that a Touch keeps.
func (r *rows) touched(key []byte, o store.Op) (properties []store.Property, err error) {
	err = r.read(key, func(data []byte) error {
		tag, p, err := decodeRow(data, nil, map[string]string{})
		if err == nil && o.IfMatch != store.AnyTag && o.IfMatch != formatTag(tag) {
			err = store.ErrStale
		}
		properties = p
		return err
	})
	return properties, err
}
