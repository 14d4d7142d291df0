package storetest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	"sluice/store"
)

// Memory is the reference store.Rows: a store in memory with exact semantics
// behind one mutex, so that every call is one atomic step. It shares no byte
// with its callers. The zero Memory is ready.
type Memory struct {
	// Pages, if set, is given the number of rows that a page would have and returns
	// how many it shall have: fewer make it short, or empty, with a continuation.
	Pages func(rows int) int

	mu     sync.Mutex
	tables map[string]*table
	etag   uint64
}

var _ store.Rows = (*Memory)(nil)

// table has its rows in ascending order of (partition, key).
type table struct{ rows []store.Row }

func compare(r store.Row, at [2]string) int {
	if c := strings.Compare(r.Partition, at[0]); c != 0 {
		return c
	}
	return strings.Compare(r.Key, at[1])
}

func (t *table) find(partition, key string) (int, bool) {
	return slices.BinarySearchFunc(t.rows, [2]string{partition, key}, compare)
}

// CreateTable implements store.Rows.
func (m *Memory) CreateTable(ctx context.Context, name string) error {
	if err := begin(ctx, name); err != nil {
		return fmt.Errorf("create table: %w", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.tables == nil {
		m.tables = map[string]*table{}
	}
	if m.tables[name] == nil {
		m.tables[name] = &table{}
	}
	return nil
}

func begin(ctx context.Context, table string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return store.CheckTable(table)
}

// DropTable implements store.Rows.
func (m *Memory) DropTable(ctx context.Context, name string) error {
	if err := begin(ctx, name); err != nil {
		return fmt.Errorf("drop table: %w", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.tables, name)
	return nil
}

// Tables implements store.Rows.
func (m *Memory) Tables(ctx context.Context, prefix, token string) ([]string, string, error) {
	if err := ctx.Err(); err != nil {
		return nil, "", fmt.Errorf("list tables: %w", err)
	}
	last, err := after(token)
	if err != nil {
		return nil, "", fmt.Errorf("list tables: %w", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(m.tables)), func(n string) bool {
		return !strings.HasPrefix(n, prefix) || last != "" && n <= last
	})
	n := m.page(min(len(names), store.MaxPage))
	if n == len(names) {
		return names, "", nil
	}
	if n > 0 {
		last = names[n-1]
	}
	return names[:n], tokenPrefix + last, nil
}

const tokenPrefix = "after:"

// after reads a token: what it continues after, "" for the start.
func after(token string) (string, error) {
	if token == "" {
		return "", nil
	}
	last, ok := strings.CutPrefix(token, tokenPrefix)
	if !ok {
		return "", fmt.Errorf("token %q: no page gave it: %w", token, store.ErrInvalid)
	}
	return last, nil
}

func (m *Memory) page(rows int) int {
	if m.Pages == nil {
		return rows
	}
	return max(0, min(rows, m.Pages(rows)))
}

// Get implements store.Rows.
func (m *Memory) Get(ctx context.Context, name, partition, key string) (store.Row, error) {
	if err := begin(ctx, name); err != nil {
		return store.Row{}, fmt.Errorf("get row: %w", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.tables[name]
	if t == nil {
		return store.Row{}, fmt.Errorf("get row of %s: %w", name, store.ErrTableNotFound)
	}
	i, ok := t.find(partition, key)
	if !ok {
		return store.Row{}, fmt.Errorf("get row %s %q %q: %w", name, partition, key, store.ErrNotFound)
	}
	return clone(t.rows[i], nil), nil
}

func clone(r store.Row, names []string) store.Row {
	r.Properties = store.CloneProperties(store.Selected(r.Properties, names))
	return r
}

// Scan implements store.Rows.
func (m *Memory) Scan(ctx context.Context, name string, r store.Range, token string) (store.Page, error) {
	if err := begin(ctx, name); err != nil {
		return store.Page{}, fmt.Errorf("scan: %w", err)
	}
	last, err := after(token)
	if err != nil {
		return store.Page{}, fmt.Errorf("scan: %w", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.tables[name]
	if t == nil {
		return store.Page{}, fmt.Errorf("scan %s: %w", name, store.ErrTableNotFound)
	}
	rows, more := t.collect(r, last)
	n := m.page(len(rows))
	if n == len(rows) && !more {
		return store.Page{Rows: rows}, nil
	}
	if n > 0 {
		last = rows[n-1].Partition + "\x00" + rows[n-1].Key
	}
	return store.Page{Rows: rows[:n], Next: tokenPrefix + last}, nil
}

// collect returns the page of a range that begins after a row, and whether
// there are more.
func (t *table) collect(r store.Range, last string) (rows []store.Row, more bool) {
	size := 0
	for i := t.start(r, last); i < len(t.rows); i++ {
		row := t.rows[i]
		if r.PartitionTo != "" && row.Partition >= r.PartitionTo {
			return rows, false
		}
		if !r.Contains(row.Partition, row.Key) {
			continue
		}
		if len(rows) == r.PageLimit() || size >= store.MaxPageBytes {
			return rows, true
		}
		rows, size = append(rows, clone(row, r.Select)), size+row.Size()
	}
	return rows, false
}

func (t *table) start(r store.Range, last string) int {
	partition, key, ok := strings.Cut(last, "\x00")
	if !ok {
		partition, key = r.PartitionFrom, r.KeyFrom
	}
	i, found := t.find(partition, key)
	if ok && found {
		i++
	}
	return i
}

// Commit implements store.Rows.
func (m *Memory) Commit(ctx context.Context, name, partition string, ops []store.Op) error {
	if err := m.commit(ctx, name, partition, ops); err != nil {
		return fmt.Errorf("commit to %s %q: %w", name, partition, err)
	}
	return nil
}

func (m *Memory) commit(ctx context.Context, name, partition string, ops []store.Op) error {
	if err := begin(ctx, name); err != nil {
		return err
	}
	if err := store.CheckOps(partition, ops); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.tables[name]
	if t == nil {
		return store.ErrTableNotFound
	}
	for i, o := range ops {
		if err := t.check(partition, o); err != nil {
			return &store.OpError{Index: i, Err: err}
		}
	}
	for _, o := range ops {
		m.etag++
		t.apply(partition, o, store.ETag("e"+strconv.FormatUint(m.etag*0x9E3779B97F4A7C15, 36)))
	}
	return nil
}

// check says whether an operation's condition holds. Each row is named once in
// a transaction, so that one operation cannot change another's answer.
func (t *table) check(partition string, o store.Op) error {
	i, found := t.find(partition, o.Key)
	switch {
	case o.Kind == store.Put:
		return nil
	case o.Kind == store.Insert && found:
		return store.ErrExists
	case o.Kind == store.Insert:
		return nil
	case !found:
		return store.ErrNotFound
	case o.IfMatch != store.AnyTag && o.IfMatch != t.rows[i].ETag:
		return store.ErrStale
	case o.Kind == store.Touch:
		row := t.rows[i]
		row.Properties = store.Merged(row.Properties, o.Properties)
		return store.CheckRow(row)
	}
	return nil
}

func (t *table) apply(partition string, o store.Op, tag store.ETag) {
	i, found := t.find(partition, o.Key)
	if o.Kind == store.Delete {
		t.rows = slices.Delete(t.rows, i, i+1)
		return
	}
	row := store.Row{Partition: partition, Key: o.Key, ETag: tag, Properties: store.CloneProperties(o.Properties)}
	if !found {
		t.rows = slices.Insert(t.rows, i, row)
		return
	}
	if o.Kind == store.Touch {
		row.Properties = store.Merged(t.rows[i].Properties, row.Properties)
	}
	t.rows[i] = row
}
