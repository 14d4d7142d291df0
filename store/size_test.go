package store_test

import (
	"encoding/json"
	"fmt"
	"math"
	"net/url"
	"strings"
	"testing"
	"unicode/utf16"

	"pgregory.net/rapid"

	"sluice/store"
)

func TestSize(t *testing.T) {
	props := func(v any) []store.Property { return []store.Property{{Name: "Name", Value: v}} }
	for _, tt := range []struct {
		row  store.Row
		want int
	}{
		{store.Row{Partition: "p", Key: "k"}, 4 + 4},
		{store.Row{Partition: "part", Key: "key"}, 4 + 14},
		{store.Row{Partition: "ü", Key: "日本"}, 4 + 6},
		{store.Row{Partition: "p", Key: "k", Properties: props(true)}, 8 + 16 + 1},
		{store.Row{Partition: "p", Key: "k", Properties: props(int64(1))}, 8 + 16 + 8},
		{store.Row{Partition: "p", Key: "k", Properties: props(1.5)}, 8 + 16 + 8},
		{store.Row{Partition: "p", Key: "k", Properties: props("Mountain View.")}, 8 + 16 + 32},
		{store.Row{Partition: "p", Key: "k", Properties: props("🌡")}, 8 + 16 + 8},
		{store.Row{Partition: "p", Key: "k", Properties: props([]byte{1, 2, 3})}, 8 + 16 + 7},
	} {
		op := store.Op{Key: tt.row.Key, Properties: tt.row.Properties}
		if got := tt.row.Size(); got != tt.want || op.Size(tt.row.Partition) != got {
			t.Errorf("size of %+v: %d, of its operation %d, want %d", tt.row, got, op.Size(tt.row.Partition), tt.want)
		}
	}
}

// body is a transaction as aztables writes it, with the longest address and
// ETags that the service gives.
func body(partition string, ops []store.Op) string {
	const boundary = "--changeset_3f1e6c1a-0f8b-4b6e-9a3d-1f5b7c2d9e10\r\n"
	account := "https://" + strings.Repeat("a", 24) + ".table.core.windows.net/" + strings.Repeat("t", 63)
	var b strings.Builder
	b.WriteString("--batch_3f1e6c1a-0f8b-4b6e-9a3d-1f5b7c2d9e10\r\nContent-Type: multipart/mixed; boundary=changeset_3f1e6c1a-0f8b-4b6e-9a3d-1f5b7c2d9e10\r\n\r\n")
	for _, o := range ops {
		entity, _ := json.Marshal(entity(partition, o))
		b.WriteString(boundary + "Content-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n")
		fmt.Fprintf(&b, "PATCH %s(PartitionKey='%s',RowKey='%s') HTTP/1.1\r\n", account, url.PathEscape(partition), url.PathEscape(o.Key))
		b.WriteString("Accept: application/json;odata=minimalmetadata\r\nContent-Type: application/json;odata=minimalmetadata\r\nDataServiceVersion: 3.0\r\nPrefer: return-no-content\r\n")
		fmt.Fprintf(&b, "x-ms-version: 2019-02-02\r\nIf-Match: W/\"datetime'2026-11-24T08:09:10.1234567Z'\"%s\r\nContent-Length: %d\r\n\r\n%s\r\n", o.IfMatch, len(entity), entity)
	}
	return b.String() + boundary + "--batch_3f1e6c1a-0f8b-4b6e-9a3d-1f5b7c2d9e10--\r\n"
}

func entity(partition string, o store.Op) map[string]any {
	m := map[string]any{"PartitionKey": partition, "RowKey": o.Key}
	for _, p := range o.Properties {
		switch v := p.Value.(type) {
		case []byte:
			m[p.Name], m[p.Name+"@odata.type"] = v, "Edm.Binary"
		case int64:
			m[p.Name], m[p.Name+"@odata.type"] = fmt.Sprint(v), "Edm.Int64"
		case float64:
			m[p.Name], m[p.Name+"@odata.type"] = v, "Edm.Double"
		default:
			m[p.Name] = v
		}
	}
	return m
}

func anyOps(rt *rapid.T) []store.Op {
	return rapid.SliceOfNDistinct(rapid.Custom(func(rt *rapid.T) store.Op {
		o := store.Op{Key: rapid.StringN(1, 40, -1).Draw(rt, "key")}
		for i := range rapid.IntRange(0, 5).Draw(rt, "properties") {
			o.Properties = append(o.Properties, store.Property{Name: fmt.Sprint("P", i), Value: anyValue(rt)})
		}
		return o
	}), 1, 20, func(o store.Op) string { return o.Key }).Draw(rt, "ops")
}

func anyValue(rt *rapid.T) any {
	return rapid.OneOf(
		rapid.String().AsAny(), rapid.Bool().AsAny(), rapid.Int64().AsAny(), rapid.SliceOf(rapid.Byte()).AsAny(),
		rapid.StringOf(rapid.RuneFrom([]rune("<>&\"\\\x00\x1f\x7f\u2028ü🌡"))).AsAny(),
		rapid.Float64().Filter(func(f float64) bool { return !math.IsNaN(f) && !math.IsInf(f, 0) }).AsAny(),
	).Draw(rt, "value")
}

// TestWireSize: no transaction is larger on the wire than is reckoned, and the
// reckoning does not waste much.
func TestWireSize(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		partition := rapid.StringN(1, 40, -1).Draw(rt, "partition")
		ops := anyOps(rt)
		got, want := store.WireSize(partition, ops), len(body(partition, ops))
		if got < want {
			rt.Fatalf("reckoned %d bytes, written %d", got, want)
		}
	})
	data := []store.Property{{Name: "Data", Value: make([]byte, store.MaxPropertyBytes)}}
	ops := []store.Op{{Key: "k", Properties: data}}
	if got, want := store.WireSize("p", ops), len(body("p", ops)); got > want+3000 {
		t.Errorf("reckoned %d bytes of one row, written %d", got, want)
	}
}

// TestUnits holds the counting of UTF-16 units against the library's.
func TestUnits(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := rapid.String().Draw(rt, "string")
		row := store.Row{Partition: s}
		if got, want := row.Size(), 4+2*len(utf16.Encode([]rune(s))); got != want {
			rt.Fatalf("size %d, want %d", got, want)
		}
	})
}
