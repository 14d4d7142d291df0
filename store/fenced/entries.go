package fenced

import (
	"fmt"
	"strconv"
	"strings"

	"sluice/store"
)

const (
	chunk     = 60 << 10 // bytes of data a property
	maxBucket = 99999
)

// widest is as long as any epoch's partition.
var widest = fmt.Sprintf("%04d-%020d-%016d", 0, 0, 0)

func checkEntries(entries []store.Entry) error {
	if len(entries) == 0 {
		return fmt.Errorf("no entry: %w", store.ErrInvalid)
	}
	for i, e := range entries {
		switch {
		case len(e.Data) == 0:
			return fmt.Errorf("entry %d is empty: %w", i, store.ErrInvalid)
		case len(e.Data) > store.MaxEntry:
			return fmt.Errorf("entry %d has %d bytes, at most %d: %w", i, len(e.Data), store.MaxEntry, store.ErrTooLarge)
		case e.Bucket < 0 || e.Bucket > maxBucket:
			return fmt.Errorf("entry %d: bucket %d: 0 to %d: %w", i, e.Bucket, maxBucket, store.ErrInvalid)
		}
	}
	return nil
}

// transactions makes rows of entries and cuts them to what fits beside the
// touch of a fence. Each transaction has an id of its own, which is in its
// rows' keys.
func (j *Journal) transactions(entries []store.Entry) [][]store.Op {
	var all [][]store.Op
	var ops []store.Op
	touch := store.Op{Kind: store.Touch, Key: fenceKey(maxFences), IfMatch: store.AnyTag}
	empty := store.WireSize(widest, []store.Op{touch})
	id, size := j.commitID(), empty
	for _, e := range entries {
		op := entryOp(e, id, len(ops))
		wire := op.WireSize(widest)
		if len(ops) == store.MaxOps-1 || size+wire > store.MaxTransaction {
			all, ops, id, size = append(all, ops), nil, j.commitID(), empty
			op = entryOp(e, id, 0)
		}
		ops, size = append(ops, op), size+wire
	}
	return append(all, ops)
}

func entryOp(e store.Entry, commit string, part int) store.Op {
	var properties []store.Property
	for i := 0; i*chunk < len(e.Data); i++ {
		data := e.Data[i*chunk : min(len(e.Data), (i+1)*chunk)]
		properties = append(properties, store.Property{Name: fmt.Sprintf("Data%02d", i), Value: data})
	}
	properties = append(properties, store.Property{Name: "Format", Value: format})
	// Inserted, not put: Azurite looks through the partition for what a Put may
	// replace, which is its whole cost once an epoch has some thousand rows.
	return store.Op{Kind: store.Insert, Key: fmt.Sprintf("%s%s!%02d", bucketPrefix(e.Bucket), commit, part), Properties: properties}
}

func bucketPrefix(bucket int) string { return fmt.Sprintf("%05d!", bucket) }

// decodeEntry reads a row. The entry's ID is what follows the bucket in the
// key.
func decodeEntry(row store.Row) (store.Entry, error) {
	bucket, id, ok := strings.Cut(row.Key, "!")
	n, err := strconv.Atoi(bucket)
	if !ok || err != nil {
		return store.Entry{}, fmt.Errorf("row %q: not bucket!commit!part: %w", row.Key, store.ErrCorrupt)
	}
	if err := checkFormat(row); err != nil {
		return store.Entry{}, fmt.Errorf("row %q: %w", row.Key, err)
	}
	e := store.Entry{ID: id, Bucket: n}
	for _, p := range row.Properties {
		if b, ok := p.Value.([]byte); ok && strings.HasPrefix(p.Name, "Data") {
			e.Data = append(e.Data, b...)
		}
	}
	if len(e.Data) == 0 {
		return store.Entry{}, fmt.Errorf("row %q: no data: %w", row.Key, store.ErrCorrupt)
	}
	return e, nil
}
