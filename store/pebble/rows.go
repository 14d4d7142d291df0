package pebble

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"strconv"
	"strings"
	"sync"

	pebbledb "github.com/cockroachdb/pebble/v2"

	"sluice/store"
)

// rows is store.Rows. The tables are known in memory; their names, some
// hundreds, are read when the store is opened.
type rows struct {
	s    *Store
	seed maphash.Seed

	mu     sync.RWMutex
	tables map[string]*table

	// making serialises the making and dropping of tables.
	making sync.Mutex
	// stripes order transactions: one of a partition holds that of its hash from
	// its first read until it is applied.
	stripes [256]sync.Mutex
}

type table struct {
	id uint64
	// mu is held for reading while a transaction is applied, so that none comes
	// after the table's drop.
	mu      sync.RWMutex
	dropped bool
}

var _ store.LazyRows = (*rows)(nil)

func openRows(s *Store) (*rows, error) {
	r := &rows{s: s, seed: maphash.MakeSeed(), tables: map[string]*table{}}
	it, err := s.db.NewIter(&pebbledb.IterOptions{LowerBound: []byte{spaceTable}, UpperBound: []byte{spaceTable + 1}})
	if err != nil {
		return nil, fmt.Errorf("read tables: %w", err)
	}
	for ok := it.First(); ok; ok = it.Next() {
		v := reader{data: it.Value()}
		id := v.header()
		if v.bad {
			return nil, errors.Join(fmt.Errorf("table %q: %w", it.Key()[1:], store.ErrCorrupt), it.Close())
		}
		r.tables[string(it.Key()[1:])] = &table{id: id}
	}
	if err := it.Close(); err != nil {
		return nil, fmt.Errorf("read tables: %w", err)
	}
	return r, nil
}

func (r *rows) find(name string) (*table, error) {
	if err := store.CheckTable(name); err != nil {
		return nil, err
	}
	r.mu.RLock()
	t := r.tables[name]
	r.mu.RUnlock()
	if t == nil {
		return nil, noTable(name)
	}
	return t, nil
}

func noTable(name string) error { return fmt.Errorf("table %q: %w", name, store.ErrTableNotFound) }

// CreateTable implements store.Rows.
func (r *rows) CreateTable(ctx context.Context, name string) error {
	end, err := r.s.use(ctx)
	if err != nil {
		return err
	}
	defer end()
	if err := r.createTable(name); err != nil {
		return fmt.Errorf("create table %q: %w", name, err)
	}
	return nil
}

func (r *rows) createTable(name string) error {
	if err := store.CheckTable(name); err != nil {
		return err
	}
	r.making.Lock()
	defer r.making.Unlock()
	if _, err := r.find(name); err == nil {
		return nil // durable: its maker answered before it gave up making
	}
	if err := r.s.disk.check(adds); err != nil {
		return err
	}
	id, err := r.s.numbers.next()
	if err != nil {
		return err
	}
	b := r.s.db.NewBatch()
	if err := b.Set(tableKey(name), binary.AppendUvarint([]byte{valueVersion}, id), nil); err != nil {
		return err
	}
	if err := r.s.apply(b); err != nil {
		return err
	}
	if err := r.s.wait(b); err != nil {
		return err
	}
	r.mu.Lock()
	r.tables[name] = &table{id: id}
	r.mu.Unlock()
	return nil
}

// DropTable implements store.Rows. The rows are out of sight at once; their
// space is freed behind the caller.
func (r *rows) DropTable(ctx context.Context, name string) error {
	end, err := r.s.use(ctx)
	if err != nil {
		return err
	}
	defer end()
	if err := r.dropTable(name); err != nil {
		return fmt.Errorf("drop table %q: %w", name, err)
	}
	return nil
}

func (r *rows) dropTable(name string) error {
	r.making.Lock()
	defer r.making.Unlock()
	t, err := r.find(name)
	if errors.Is(err, store.ErrTableNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := r.s.disk.check(frees); err != nil {
		return err
	}
	b := r.s.db.NewBatch()
	prefix := tablePrefix(t.id)
	if err := errors.Join(b.Delete(tableKey(name), nil), b.DeleteRange(prefix, after(prefix), nil)); err != nil {
		return err
	}
	t.mu.Lock()
	t.dropped = true
	err = r.s.apply(b)
	t.mu.Unlock()
	if err != nil {
		return err
	}
	r.mu.Lock()
	delete(r.tables, name)
	r.mu.Unlock()
	if err := r.s.wait(b); err != nil {
		return err
	}
	r.s.reclaimer.free(prefix)
	return nil
}

// Tables implements store.Rows.
func (r *rows) Tables(ctx context.Context, prefix, token string) ([]string, string, error) {
	end, err := r.s.use(ctx)
	if err != nil {
		return nil, "", err
	}
	defer end()
	var names []string
	r.mu.RLock()
	for name := range r.tables {
		if strings.HasPrefix(name, prefix) && name >= token {
			names = append(names, name)
		}
	}
	r.mu.RUnlock()
	slices.Sort(names)
	if len(names) > store.MaxPage {
		return names[:store.MaxPage], names[store.MaxPage], nil
	}
	return names, "", nil
}

// Get implements store.Rows.
func (r *rows) Get(ctx context.Context, name, partition, key string) (store.Row, error) {
	end, err := r.s.use(ctx)
	if err != nil {
		return store.Row{}, err
	}
	defer end()
	row, err := r.get(name, partition, key)
	if err != nil {
		return store.Row{}, fmt.Errorf("get row %q %q of %q: %w", partition, key, name, err)
	}
	return row, nil
}

func (r *rows) get(name, partition, key string) (store.Row, error) {
	if err := errors.Join(store.CheckKey(partition), store.CheckKey(key)); err != nil {
		return store.Row{}, err
	}
	t, err := r.find(name)
	if err != nil {
		return store.Row{}, err
	}
	row := store.Row{Partition: partition, Key: key}
	err = r.read(rowKey(t.id, partition, key), func(data []byte) (err error) {
		var tag uint64
		tag, row.Properties, err = decodeRow(data, nil, map[string]string{})
		row.ETag = formatTag(tag)
		return err
	})
	if errors.Is(err, store.ErrNotFound) && r.isDropped(t) {
		return store.Row{}, noTable(name)
	}
	return row, err
}

func (r *rows) isDropped(t *table) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.dropped
}

// read hands a value to use, which must not keep it. store.ErrNotFound.
func (r *rows) read(key []byte, use func(data []byte) error) error {
	v, closer, err := r.s.db.Get(key)
	if errors.Is(err, pebbledb.ErrNotFound) {
		return store.ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}
	return errors.Join(use(v), closer.Close())
}

func formatTag(tag uint64) store.ETag { return store.ETag(strconv.FormatUint(tag, 36)) }
