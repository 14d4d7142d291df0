package storetest

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"

	"sluice/store"
)

// oddValues are values that an encoding might bend.
var oddValues = []any{
	"", "x", "NaN", "null", "20", "20.0", "true", " spaces ", "\x00\x01\x1f", "\"quotes\" \\ / <&>", "line\nline\r\n\t", "Grüße, 温度 🌡", "\u2028\u2029\ufeff\ufffd",
	true, false,
	int64(0), int64(1), int64(-1), int64(20), int64(math.MaxInt64), int64(math.MinInt64), int64(1<<53 + 1), int64(math.MaxInt32) + 1,
	0.0, math.Copysign(0, -1), 20.0, -20.0, 0.1, 1e15, 1e16, 1e21, 1e300, 1.0 / 3, float64(1<<53 + 2), math.MaxFloat64, -math.MaxFloat64,
	math.SmallestNonzeroFloat64, 2.2250738585072011e-308, math.Nextafter(1, 2), math.Float64frombits(0x7FEFFFFFFFFFFFFE),
	[]byte{}, []byte{0}, []byte("text"), []byte{0xFF, 0xFE, 0x00, 0x80},
}

func rowsTypes(t *testing.T, rows store.Rows) {
	newTable(t, rows, testTable)
	for i, v := range oddValues {
		commit(t, rows, "p", op(store.Put, fmt.Sprintf("v%03d", i), "", store.Property{Name: "V", Value: v}))
	}
	var all []store.Property
	for i, v := range oddValues {
		all = append(all, store.Property{Name: fmt.Sprintf("V%03d", i), Value: v})
		wantRow(t, rows, "p", fmt.Sprintf("v%03d", i), store.Property{Name: "V", Value: v})
	}
	commit(t, rows, "q", op(store.Insert, "all", "", all...))
	wantRow(t, rows, "q", "all", all...)
	got, err := scanRows(t, rows, testTable, store.InPartition("q", "", ""))
	if err != nil || len(got) != 1 || !sameProperties(got[0].Properties, all) {
		t.Fatalf("scan: %+v, %v, want %+v", got, err, all)
	}
}

// rowsOwned: store and caller share no bytes.
func rowsOwned(t *testing.T, rows store.Rows) {
	newTable(t, rows, testTable)
	b := []byte("mine")
	p := []store.Property{{Name: "B", Value: b}}
	commit(t, rows, "p", op(store.Insert, "a", "", p...))
	copy(b, "XXXX")
	p[0].Name = "C"
	want := store.Property{Name: "B", Value: []byte("mine")}
	wantRow(t, rows, "p", "a", want)
	copy(get(t, rows, "p", "a").Properties[0].Value.([]byte), "YYYY")
	wantRow(t, rows, "p", "a", want)
	page, err := scanRows(t, rows, testTable, store.Range{})
	must(t, err, "scan")
	copy(page[0].Properties[0].Value.([]byte), "ZZZZ")
	wantRow(t, rows, "p", "a", want)
}

// rowsKeys: keys keep their bytes and sort by them.
func rowsKeys(t *testing.T, rows store.Rows) {
	newTable(t, rows, testTable)
	keys := []string{
		" ", "!", "!a", "!open0", "%2F", "'", "''quoted''", "(", "+", "-", "0", "00", "01", "1", "10", "2", ":", "A", "Z", "[", "_", "a", "a b", "a!", "a!b", "aa", "b", "z", "~",
		"\u00a0", "é", "日本", "\ufffd", strings.Repeat("\uffff", store.MaxKey),
	}
	for _, k := range keys {
		commit(t, rows, k, op(store.Insert, k, "", value(k)...))
		commit(t, rows, "all", op(store.Insert, k, "", value(k)...))
	}
	var all []string
	for _, k := range keys {
		wantRow(t, rows, k, k, value(k)...)
		all = append(all, "all/"+k)
		wantKeys(t, rows, store.InPartition("all", k, store.After(k)), "all/"+k)
		wantKeys(t, rows, store.InPartition(k, "", ""), k+"/"+k)
	}
	wantKeys(t, rows, store.InPartition("all", "", ""), all...)
	commit(t, rows, "all", op(store.Delete, "a", store.AnyTag))
	for _, k := range keys {
		commit(t, rows, "all", op(store.Put, k, "", value("again")...))
	}
	commit(t, rows, "z", op(store.Delete, "z", store.AnyTag))
	wantKeys(t, rows, store.Range{PartitionFrom: "z", PartitionTo: "~"})
	must(t, rows.DropTable(t.Context(), testTable), "drop table")
}

func wantLimit(t *testing.T, rows store.Rows, want error, what string, partition string, ops ...store.Op) {
	t.Helper()
	wantErr(t, rows.Commit(t.Context(), testTable, partition, ops), want, "commit %s", what)
}

func puts(n int, properties ...store.Property) []store.Op {
	var ops []store.Op
	for i := range n {
		ops = append(ops, op(store.Put, fmt.Sprintf("k%03d", i), "", properties...))
	}
	return ops
}

func properties(n int, v any) []store.Property {
	var out []store.Property
	for i := range n {
		out = append(out, store.Property{Name: fmt.Sprintf("P%03d", i), Value: v})
	}
	return out
}

// rowsLimits: the largest that is allowed is kept whole, one more is refused
// and leaves nothing.
func rowsLimits(t *testing.T, rows store.Rows) {
	newTable(t, rows, testTable)
	long, text, blob := strings.Repeat("k", store.MaxKey), strings.Repeat("ü", store.MaxPropertyText), bytes.Repeat([]byte{0xA5}, store.MaxPropertyBytes)
	for what, ops := range map[string][]store.Op{
		"101 operations":     puts(store.MaxOps + 1),
		"no operation":       {},
		"a row twice":        {put("a", "1"), put("b", "1"), put("a", "2")},
		"a value of no type": puts(1, store.Property{Name: "A", Value: 1}),
		"NaN":                puts(1, store.Property{Name: "A", Value: math.NaN()}),
		"a bad string":       puts(1, store.Property{Name: "A", Value: "\xff"}),
		"a bad name":         puts(1, store.Property{Name: "A-B", Value: true}),
		"a taken name":       puts(1, store.Property{Name: "RowKey", Value: "x"}),
		"names twice":        puts(1, store.Property{Name: "A", Value: true}, store.Property{Name: "A", Value: true}),
		"names descending":   puts(1, store.Property{Name: "B", Value: true}, store.Property{Name: "A", Value: true}),
	} {
		wantLimit(t, rows, store.ErrInvalid, what, "p", ops...)
	}
	for what, ops := range map[string][]store.Op{
		"a long key":                 {put(long+"k", "")},
		"253 properties":             puts(1, properties(store.MaxProperties+1, true)...),
		"a long string":              puts(1, store.Property{Name: "A", Value: text + "x"}),
		"long bytes":                 puts(1, store.Property{Name: "A", Value: append(blob, 0)}),
		"a row over 1 MiB":           puts(1, properties(16, strings.Repeat("x", store.MaxPropertyText))...),
		"a row over 1 MiB as JSON":   puts(1, properties(12, blob)...),
		"a transaction over 4 MiB":   puts(40, properties(2, blob)...),
		"a transaction of big texts": puts(40, properties(2, text)...),
	} {
		wantLimit(t, rows, store.ErrTooLarge, what, "p", ops...)
	}
	wantKeys(t, rows, store.Range{})
	commit(t, rows, "p", puts(store.MaxOps)...)
	commit(t, rows, long, put(long, "long"))
	commit(t, rows, "q", puts(1, properties(store.MaxProperties, "x")...)...)
	commit(t, rows, "r", puts(1, properties(11, blob)...)...)
	commit(t, rows, "s", puts(15, properties(1, text)...)...)
	wantRow(t, rows, long, long, value("long")...)
	wantRow(t, rows, "q", "k000", properties(store.MaxProperties, "x")...)
	wantRow(t, rows, "r", "k000", properties(11, blob)...)
	wantRow(t, rows, "s", "k014", properties(1, text)...)
}

func rowsTouchTooLarge(t *testing.T, rows store.Rows) {
	newTable(t, rows, testTable)
	blob := make([]byte, store.MaxPropertyBytes)
	commit(t, rows, "p", op(store.Insert, "bytes", "", properties(10, blob)...), op(store.Insert, "many", "", properties(store.MaxProperties, true)...))
	more := []store.Property{{Name: "Q1", Value: blob}, {Name: "Q2", Value: blob}}
	wantRefused(t, rows, store.ErrTooLarge, 1, "p", put("other", "x"), op(store.Touch, "bytes", store.AnyTag, more...))
	wantRefused(t, rows, store.ErrTooLarge, 0, "p", op(store.Touch, "many", store.AnyTag, more[0]))
	wantRow(t, rows, "p", "bytes", properties(10, blob)...)
	wantNoRow(t, rows, "p", "other")
	commit(t, rows, "p", op(store.Touch, "many", store.AnyTag, properties(3, "other type")...))
}

func rowsRefused(t *testing.T, rows store.Rows) {
	newTable(t, rows, testTable)
	for _, k := range []string{"", "a/b", "a\\b", "a#", "a?", "a\x00", "\t", "\n", "\x1f", "\x7f", "\u0080", "\u009f", "\xff", "🌡"} {
		wantLimit(t, rows, store.ErrInvalid, fmt.Sprintf("key %q", k), "p", put(k, "x"))
		wantLimit(t, rows, store.ErrInvalid, fmt.Sprintf("partition %q", k), k, put("a", "x"))
	}
	for what, o := range map[string]store.Op{
		"insert with an ETag": op(store.Insert, "a", "x"), "put with an ETag": op(store.Put, "a", store.AnyTag),
		"replace without one": op(store.Replace, "a", ""), "touch without one": op(store.Touch, "a", ""), "delete without one": op(store.Delete, "a", ""),
		"delete with properties": op(store.Delete, "a", store.AnyTag, value("x")...), "no such kind": op(99, "a", ""),
	} {
		wantLimit(t, rows, store.ErrInvalid, what, "p", o)
	}
	for _, name := range []string{"", "ab", "Upper", "1abc", "a_b", "a-b", "tables", strings.Repeat("a", 64)} {
		wantErr(t, rows.CreateTable(t.Context(), name), store.ErrInvalid, "create table %q", name)
	}
	wantKeys(t, rows, store.Range{})
}
