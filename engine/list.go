package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"

	"sluice/store"
)

// A shard's list is cut into pages, rows that hold the entries of the devices
// in (low, high], high being in the key. As with leaves pages neither overlap
// nor leave a gap, and one is split in one transaction.
type listPage struct {
	key       string
	low, high string // ids of devices; high is lastPage's for the last one
	etag      store.ETag
	entries   []entry
}

const (
	pagePrefix   = "p!"
	lastPageHigh = "~" // sorts above every id: those begin with a letter or digit
)

type lists struct {
	rows  store.Rows
	shard string
}

// pages reads pages from the one that holds device on.
func (l lists) pages(ctx context.Context, device, token string, limit int) ([]listPage, string, error) {
	scan := store.InPartition(l.shard, pagePrefix+device, "")
	scan.Limit = limit
	page, err := l.rows.Scan(ctx, listTable, scan, token)
	if err != nil {
		return nil, "", fmt.Errorf("read the list of shard %s: %w", l.shard, err)
	}
	pages := make([]listPage, len(page.Rows))
	for i, row := range page.Rows {
		if pages[i], err = decodePage(row); err != nil {
			return nil, "", err
		}
	}
	return pages, page.Next, nil
}

// page reads the page that holds a device; without any, the one that is to be
// made.
func (l lists) page(ctx context.Context, device string) (listPage, error) {
	for range maxReread {
		for token, first := "", true; first || token != ""; first = false {
			pages, next, err := l.pages(ctx, device, token, 1)
			if err != nil {
				return listPage{}, err
			}
			if len(pages) > 0 {
				if pages[0].low < device {
					return pages[0], nil
				}
				break // split meanwhile
			}
			if token = next; token == "" {
				return listPage{key: pagePrefix + lastPageHigh, high: lastPageHigh}, nil
			}
		}
	}
	return listPage{}, fmt.Errorf("list of shard %s: %w", l.shard, ErrAgain)
}

// entry reads a device's entry, false without one.
func (l lists) entry(ctx context.Context, device string) (entry, bool, error) {
	p, err := l.page(ctx, device)
	if err != nil {
		return entry{}, false, err
	}
	i, found := p.find(device)
	if !found {
		return entry{id: device}, false, nil
	}
	return p.entries[i], true, nil
}

func (p *listPage) find(device string) (int, bool) {
	return slices.BinarySearchFunc(p.entries, device, func(e entry, id string) int { return strings.Compare(e.id, id) })
}

// set puts an entry into its place.
func (p *listPage) set(e entry) {
	i, found := p.find(e.id)
	if found {
		p.entries[i] = e
		return
	}
	p.entries = slices.Insert(p.entries, i, e)
}

// ops plans the writing of a page, cut where it has grown too large.
func (p *listPage) ops(pageBytes int) []store.Op {
	var ops []store.Op
	low := p.low
	var data []byte
	for i, e := range p.entries {
		data = appendEntry(data, e)
		if len(data) > pageBytes && i+1 < len(p.entries) {
			ops = append(ops, store.Op{Kind: store.Insert, Key: pagePrefix + e.id, Properties: pageProperties(low, data)})
			low, data = e.id, nil
		}
	}
	last := store.Op{Kind: store.Insert, Key: p.key, Properties: pageProperties(low, data)}
	if p.etag != "" {
		last.Kind, last.IfMatch = store.Replace, p.etag
	}
	return append(ops, last)
}

// The coders are safe for concurrent use.
var (
	pageEncoder, _ = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	pageDecoder, _ = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(16<<20))
)

func pageProperties(low string, data []byte) []store.Property {
	props := append(dataProperties(pageEncoder.EncodeAll(data, nil)),
		store.Property{Name: propFormat, Value: int64(Format)},
		store.Property{Name: propLow, Value: low})
	sortProperties(props)
	return props
}

func decodePage(row store.Row) (listPage, error) {
	p := listPage{key: row.Key, low: row.Text(propLow), high: strings.TrimPrefix(row.Key, pagePrefix), etag: row.ETag}
	if err := checkFormat(row); err != nil {
		return p, fmt.Errorf("list page %s: %w", row.Key, err)
	}
	data, err := pageDecoder.DecodeAll(joinData(row), nil)
	if err != nil {
		return p, fmt.Errorf("%w: list page %s: %w", ErrCorrupt, row.Key, err)
	}
	if p.entries, err = decodeEntries(data); err != nil {
		return p, fmt.Errorf("list page %s: %w", row.Key, err)
	}
	return p, nil
}

// refused tells a refused condition from a fault: another writer was first.
func refused(err error) bool {
	return errors.Is(err, store.ErrStale) || errors.Is(err, store.ErrExists) || errors.Is(err, store.ErrNotFound)
}
