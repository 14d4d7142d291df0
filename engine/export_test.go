package engine

import (
	"errors"
	"strings"

	"sluice/store"
	"sluice/telemetry"
	"sluice/telemetry/block"
)

// TestLimits are limits that a test sets; 0 leaves one as it is.
type TestLimits struct {
	LeafRows, LeafBytes, LeafMaxBytes, LeafColumns     int
	PageBytes, ChunkBytes                              int
	BatchDevices, FreshRows, TransactionOps, YieldRows int
}

// SetLimits gives a config other limits than the engine's own.
func (c *Config) SetLimits(t TestLimits) {
	l := defaultLimits()
	for _, set := range []struct {
		to *int
		by int
	}{
		{&l.leafRows, t.LeafRows}, {&l.leafBytes, t.LeafBytes}, {&l.leafMaxBytes, t.LeafMaxBytes},
		{&l.leafColumns, t.LeafColumns}, {&l.pageBytes, t.PageBytes}, {&l.chunkBytes, t.ChunkBytes},
		{&l.batchDevices, t.BatchDevices}, {&l.freshRows, t.FreshRows},
		{&l.transactionOps, t.TransactionOps}, {&l.yieldRows, t.YieldRows},
	} {
		if set.by != 0 {
			*set.to = set.by
		}
	}
	c.limits = &l
}

// Names of tables and keys that tests look at.
const (
	ConfigTable = configTable
	ListTable   = listTable
	LeafTables  = leafTables
	FloorKey    = floorKey
)

// Place is the shard of a device.
func Place(device string, shards int) int {
	shard, _ := place(device, shards, 1)
	return shard
}

// DayOfTable is the day of a table of leaves.
func DayOfTable(table string) (int64, bool) { return dayOfTable(table) }

// StoredLeaf is a leaf's row, decoded.
type StoredLeaf struct {
	Device    string
	Open      bool
	Low, High string
	Frame     block.Frame
}

// DecodeStoredLeaf reads any row of a table of leaves.
func DecodeStoredLeaf(row store.Row) (StoredLeaf, error) {
	s := StoredLeaf{}
	high := end
	switch kind, rest, _ := strings.Cut(row.Key, "!"); kind {
	case "o":
		s.Device, s.Open = rest, true
	case "c":
		device, bound, ok := strings.Cut(rest, "!")
		if !ok {
			return s, errors.New("a closed leaf without its bound: " + row.Key)
		}
		s.Device, high = device, position(bound)
	default:
		return s, errors.New("no key of a leaf: " + row.Key)
	}
	l, err := decodeLeaf(row, high, nil)
	s.Low, s.High, s.Frame = string(l.low), string(high), l.frame
	return s, err
}

// Within tells what of the leaf lies outside of its bounds.
func (s StoredLeaf) Within() (bool, error) {
	below := block.Frame{}
	if s.Low != "" {
		var err error
		if below, _, err = split(s.Frame, position(s.Low)); err != nil {
			return false, err
		}
	}
	_, above, err := split(s.Frame, position(s.High))
	return below.Len() == 0 && above.Len() == 0, err
}

// StoredEntry is an entry of a list.
type StoredEntry struct {
	ID          string
	Cut         telemetry.Stamp
	Seen        bool
	First, Last int64
	Tags        []block.TagChange
	Latest      []StoredLatest
}

// StoredLatest is a metric's newest value in an entry.
type StoredLatest struct {
	Metric  string
	Time    int64
	Stamp   telemetry.Stamp
	Value   telemetry.Value // without its text if Omitted
	Omitted bool
}

// DecodeStoredPage reads a row of a list.
func DecodeStoredPage(row store.Row) (low, high string, entries []StoredEntry, err error) {
	p, err := decodePage(row)
	for _, e := range p.entries {
		s := StoredEntry{ID: e.id, Cut: e.cut, Seen: e.seen, First: e.first, Last: e.last, Tags: e.tags}
		for _, l := range e.latest {
			s.Latest = append(s.Latest, StoredLatest{l.metric, l.time, l.stamp, l.value, l.omitted})
		}
		entries = append(entries, s)
	}
	return p.low, p.high, entries, err
}
