package pebble

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"

	pebbledb "github.com/cockroachdb/pebble/v2"

	"sluice/store"
)

const formatVersion = 1

var metaKey = []byte{spaceMeta}

// meta is what the store keeps of itself.
type meta struct{ format, starts uint64 }

func (m meta) encode() []byte {
	return binary.AppendUvarint(binary.AppendUvarint(nil, m.format), m.starts)
}

func readMeta(db *pebbledb.DB) (m meta, err error) {
	v, closer, err := db.Get(metaKey)
	if errors.Is(err, pebbledb.ErrNotFound) {
		return meta{format: formatVersion}, nil
	}
	if err != nil {
		return meta{}, fmt.Errorf("read meta: %w", err)
	}
	defer closer.Close()
	r := reader{data: v}
	m = meta{format: r.uvarint(), starts: r.uvarint()}
	if r.bad {
		return meta{}, fmt.Errorf("meta: %w", store.ErrCorrupt)
	}
	return m, nil
}

// begin checks the format and takes the numbers of this start.
func (s *Store) begin() (*numbers, error) {
	meta, err := readMeta(s.db)
	if err != nil {
		return nil, err
	}
	if meta.format > formatVersion {
		return nil, fmt.Errorf("format %d, this version reads up to %d, use a newer one: %w", meta.format, formatVersion, store.ErrFormat)
	}
	meta.format = formatVersion
	meta.starts++
	if meta.starts >= 1<<(64-numberBits) {
		return nil, fmt.Errorf("started %d times: %w", meta.starts, store.ErrUnavailable)
	}
	// Not synced: it lies in the log before everything that has a number of this
	// start.
	if err := s.db.Set(metaKey, meta.encode(), pebbledb.NoSync); err != nil {
		return nil, fmt.Errorf("write meta: %w", err)
	}
	n := &numbers{}
	n.last.Store(meta.starts << numberBits)
	return n, nil
}

// numberBits is how many bits of a number count within a start: 10^12, at
// 2,000 transactions a second 17 years; the others count starts.
const numberBits = 40

// numbers gives numbers that no other start of the folder gives: ETags, places
// of epochs, ids of tables.
type numbers struct{ last atomic.Uint64 }

// next returns a number that was never returned for this folder.
func (n *numbers) next() (uint64, error) {
	number := n.last.Add(1)
	if number&(1<<numberBits-1) == 1<<numberBits-1 {
		n.last.Add(^uint64(0))
		return 0, fmt.Errorf("numbers of this start are used up, start again: %w", store.ErrUnavailable)
	}
	return number, nil
}
