package pebble

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"

	pebbledb "github.com/cockroachdb/pebble/v2"

	"sluice/store"
)

// What bounds a page besides its rows: the bytes that it holds, and the rows
// and gaps that it passes over.
const (
	pageBytes = 4 << 20
	pageSteps = 20_000
)

// Scan implements store.Rows. A page is a snapshot in itself.
func (r *rows) Scan(ctx context.Context, name string, rng store.Range, token string) (store.Page, error) {
	end, err := r.s.use(ctx)
	if err != nil {
		return store.Page{}, err
	}
	defer end()
	page, err := r.scan(ctx, name, rng, token)
	if err != nil {
		return store.Page{}, fmt.Errorf("scan %q: %w", name, err)
	}
	return page, nil
}

func (r *rows) scan(ctx context.Context, name string, rng store.Range, token string) (store.Page, error) {
	t, err := r.find(name)
	if err != nil {
		return store.Page{}, err
	}
	from, err := readToken(token)
	if err != nil {
		return store.Page{}, err
	}
	s := newScan(t.id, rng)
	if bytes.Compare(from, s.bounds.LowerBound) > 0 {
		s.bounds.LowerBound = from
	}
	if len(s.bounds.UpperBound) > 0 && bytes.Compare(s.bounds.LowerBound, s.bounds.UpperBound) >= 0 {
		return store.Page{}, nil
	}
	page, err := s.page(ctx, r.s.db)
	if err == nil && r.isDropped(t) {
		return store.Page{}, noTable(name) // the page may have been read behind the drop
	}
	return page, err
}

// tokens are the key at which the next page begins, without the table's id.
func formatToken(suffix []byte) string { return base64.RawURLEncoding.EncodeToString(suffix) }

func readToken(token string) ([]byte, error) {
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		return nil, fmt.Errorf("token %q: %w", token, store.ErrInvalid)
	}
	return b, nil
}

// scan is one page being read. Its bounds and keys are those of a table whose
// prefix was taken off until the iterator is made.
type scan struct {
	prefix []byte
	rng    store.Range
	bounds pebbledb.IterOptions
	wanted func(string) bool
	names  map[string]string
	limit  int
	size   int
	rows   []store.Row
}

func newScan(table uint64, rng store.Range) *scan {
	s := &scan{prefix: tablePrefix(table), rng: rng, names: map[string]string{}, limit: rng.PageLimit()}
	s.bounds.LowerBound = appendPartition(nil, rng.PartitionFrom)
	if rng.PartitionTo != "" {
		s.bounds.UpperBound = appendPartition(nil, rng.PartitionTo)
	}
	if rng.Select != nil {
		s.wanted = func(name string) bool { return slices.Contains(rng.Select, name) }
	}
	return s
}

func (s *scan) full(suffix []byte) []byte { return append(slices.Clip(s.prefix), suffix...) }

func (s *scan) page(ctx context.Context, db *pebbledb.DB) (store.Page, error) {
	bounds := pebbledb.IterOptions{LowerBound: s.full(s.bounds.LowerBound), UpperBound: after(s.prefix)}
	if s.bounds.UpperBound != nil {
		bounds.UpperBound = s.full(s.bounds.UpperBound)
	}
	it, err := db.NewIterWithContext(ctx, &bounds)
	if err != nil {
		return store.Page{}, fmt.Errorf("iterate: %w", err)
	}
	next, err := s.collect(ctx, it)
	if err := errors.Join(err, it.Close()); err != nil {
		return store.Page{}, err
	}
	return store.Page{Rows: s.rows, Next: next}, nil
}

// collect reads rows until the page is full and returns the next one's token.
func (s *scan) collect(ctx context.Context, it *pebbledb.Iterator) (next string, err error) {
	steps := 0
	for ok := it.First(); ok; {
		suffix := it.Key()[len(s.prefix):]
		if len(s.rows) == s.limit || s.size >= pageBytes || steps == pageSteps {
			return formatToken(suffix), nil
		}
		if steps++; steps%256 == 0 && ctx.Err() != nil {
			return "", ctx.Err()
		}
		partition, key, whole := splitRowKey(suffix)
		if !whole {
			return "", fmt.Errorf("key %x: %w", it.Key(), store.ErrCorrupt)
		}
		if to := s.skip(partition, key); to != nil {
			ok = it.SeekGE(s.full(to))
			continue
		}
		if err := s.add(it, partition, key); err != nil {
			return "", err
		}
		ok = it.Next()
	}
	return "", nil
}

// skip returns where to go on if the key is not within the range's keys.
func (s *scan) skip(partition, key []byte) []byte {
	if s.rng.KeyTo != "" && string(key) >= s.rng.KeyTo {
		return append(append([]byte(nil), partition...), 0, 2) // behind the partition
	}
	if string(key) < s.rng.KeyFrom {
		return append(append(append([]byte(nil), partition...), 0, 1), s.rng.KeyFrom...)
	}
	return nil
}

func (s *scan) add(it *pebbledb.Iterator, partition, key []byte) error {
	value, err := it.ValueAndErr()
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}
	tag, properties, err := decodeRow(value, s.wanted, s.names)
	if err != nil {
		return fmt.Errorf("row %q %q: %w", partition, key, err)
	}
	row := store.Row{Key: string(key), ETag: formatTag(tag), Properties: properties}
	if n := len(s.rows); n > 0 && s.rows[n-1].Partition == string(partition) {
		row.Partition = s.rows[n-1].Partition
	} else {
		row.Partition = string(partition)
	}
	s.rows = append(s.rows, row)
	s.size += len(value) + len(key)
	return nil
}
