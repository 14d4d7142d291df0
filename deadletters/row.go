package deadletters

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"sluice/store"
	"sluice/telemetry"
)

// format is the version of the rows that this code writes: each letter carries it.
const format = 1

const (
	// MaxBody is the most of a body that is kept: with it a letter's rows fit into one
	// transaction.
	MaxBody = 2 << 20
	// inline is up to where a body lies in its letter's own row.
	inline = 60 << 10
	// A part of a larger one is a row with so many properties.
	partProperties = 10
	partBytes      = partProperties * store.MaxPropertyBytes
)

// listed are the properties of a letter that a list reads: all but the body.
var listed = []string{
	"accepted", "code", "contentEncoding", "contentType", "cut", "device", "enqueued", "format", "hub", "message", "partition",
	"partitionKey", "parts", "received", "rejected", "sequence", "size", "state",
}

// insert are the operations that keep a letter.
func (r record) insert(i id) []store.Op {
	properties := []store.Property{
		{Name: "contentEncoding", Value: r.ContentEncoding}, {Name: "contentType", Value: r.ContentType},
		{Name: "device", Value: r.Device}, {Name: "enqueued", Value: r.Source.Enqueued.UnixMilli()},
		{Name: "format", Value: int64(format)}, {Name: "hub", Value: r.Source.Hub},
		{Name: "partition", Value: r.Source.Partition}, {Name: "partitionKey", Value: r.PartitionKey},
		{Name: "received", Value: r.Received.UnixMilli()}, {Name: "sequence", Value: r.Source.Sequence},
		{Name: "size", Value: int64(r.Size)}, {Name: "state", Value: string(r.state)},
	}
	if r.Cut {
		properties = append(properties, store.Property{Name: "cut", Value: int64(1)})
	}
	properties = append(properties, reasonOf(r.Reason, r.Rejected)...)
	parts := [][]byte(nil)
	if len(r.Body) <= inline {
		properties = append(properties, store.Property{Name: "body", Value: r.Body})
	} else {
		parts = slices.Collect(slices.Chunk(r.Body, partBytes))
	}
	properties = append(properties, store.Property{Name: "parts", Value: int64(len(parts))})
	sortProperties(properties)
	ops := []store.Op{{Kind: store.Insert, Key: i.key(), Properties: properties}}
	for n, part := range parts {
		ops = append(ops, store.Op{Kind: store.Insert, Key: i.partKey(n), Properties: partRow(part)})
	}
	return ops
}

func partRow(part []byte) []store.Property {
	var properties []store.Property
	for piece := range slices.Chunk(part, store.MaxPropertyBytes) {
		properties = append(properties, store.Property{Name: "b" + strconv.Itoa(len(properties)), Value: piece})
	}
	return properties
}

func reasonOf(reason telemetry.Refusal, rejected int) []store.Property {
	return []store.Property{
		{Name: "code", Value: string(reason.Code)}, {Name: "message", Value: reason.Message}, {Name: "rejected", Value: int64(rejected)},
	}
}

func sortProperties(properties []store.Property) {
	slices.SortFunc(properties, func(a, b store.Property) int { return strings.Compare(a.Name, b.Name) })
}

// finish are the operations that make of a letter what remembers it.
func (r record) finish(i id, to state, accepted int) []store.Op {
	ops := []store.Op{{Kind: store.Replace, Key: i.key(), IfMatch: r.etag, Properties: []store.Property{
		{Name: "accepted", Value: int64(accepted)}, {Name: "format", Value: int64(format)},
		{Name: "parts", Value: int64(0)}, {Name: "received", Value: r.Received.UnixMilli()}, {Name: "state", Value: string(to)},
	}}}
	return append(ops, r.deleteParts(i)...)
}

func (r record) deleteParts(i id) []store.Op {
	var ops []store.Op
	for n := range r.parts {
		ops = append(ops, store.Op{Kind: store.Delete, Key: i.partKey(n), IfMatch: store.AnyTag})
	}
	return ops
}

// decode reads a letter's row; the body of a large one lies elsewhere.
func decode(row store.Row) (record, error) {
	i, ok := idOfKey(row.Key)
	if !ok {
		return record{}, fmt.Errorf("%w: key %q", ErrCorrupt, row.Key)
	}
	if f := row.Int("format"); f > format {
		return record{}, fmt.Errorf("%w: %d of %s, this version reads up to %d", ErrFormat, f, i, format)
	}
	r := record{
		Letter: Letter{
			ID:       i.String(),
			Reason:   telemetry.Refusal{Code: telemetry.Code(row.Text("code")), Message: row.Text("message")},
			Rejected: int(row.Int("rejected")),
			Received: time.UnixMilli(row.Int("received")).UTC(),
			Source: Source{
				Hub: row.Text("hub"), Partition: row.Text("partition"),
				Sequence: row.Int("sequence"), Enqueued: time.UnixMilli(row.Int("enqueued")).UTC(),
			},
			Device: row.Text("device"), PartitionKey: row.Text("partitionKey"),
			ContentType: row.Text("contentType"), ContentEncoding: row.Text("contentEncoding"),
			Body: row.Bytes("body"), Size: int(row.Int("size")),
		},
		state: state(row.Text("state")), parts: int(row.Int("parts")),
		accepted: int(row.Int("accepted")), etag: row.ETag,
	}
	r.Cut = r.Size > MaxBody || row.Int("cut") != 0 // older letters only have the size
	return r, nil
}
