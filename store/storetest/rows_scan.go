package storetest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"sluice/store"
)

func rowsRanges(t *testing.T, rows store.Rows) {
	newTable(t, rows, testTable)
	wantKeys(t, rows, store.Range{})
	for _, p := range []string{"p1", "p1x", "p2", "p3"} {
		commit(t, rows, p, put("a", ""), put("b", ""), put("b!1", ""), put("b!2", ""), put("c", ""))
	}
	wantKeys(t, rows, store.InPartition("p1", "", ""), "p1/a", "p1/b", "p1/b!1", "p1/b!2", "p1/c")
	wantKeys(t, rows, store.InPartition("p1", "b", "c"), "p1/b", "p1/b!1", "p1/b!2")
	wantKeys(t, rows, store.InPartition("p1", "b!", store.PrefixEnd("b!")), "p1/b!1", "p1/b!2")
	wantKeys(t, rows, store.InPartition("p1", "b", store.After("b")), "p1/b")
	wantKeys(t, rows, store.InPartition("p1", "bb", "bc"))
	wantKeys(t, rows, store.InPartition("p1", "c", "b"))
	wantKeys(t, rows, store.InPartition("p0", "", ""))
	wantKeys(t, rows, store.InPartition("p9", "", ""))
	wantKeys(t, rows, store.InPartition("p3", "c", ""), "p3/c")
	wantKeys(t, rows, store.Range{PartitionFrom: "p1x", PartitionTo: "p3", KeyFrom: "b!2"}, "p1x/b!2", "p1x/c", "p2/b!2", "p2/c")
	wantKeys(t, rows, store.Range{KeyFrom: "c"}, "p1/c", "p1x/c", "p2/c", "p3/c")
	wantKeys(t, rows, store.Range{KeyTo: "b"}, "p1/a", "p1x/a", "p2/a", "p3/a")
	wantKeys(t, rows, store.Range{PartitionFrom: "p3", KeyFrom: "b", KeyTo: "b!2"}, "p3/b", "p3/b!1")
	wantKeys(t, rows, store.Range{PartitionTo: "p1"})
	wantKeys(t, rows, store.Range{PartitionFrom: "p2", PartitionTo: "p1"})
	all, err := scanRows(t, rows, testTable, store.Range{})
	if err != nil || len(all) != 20 {
		t.Fatalf("scan of all: %d rows, %v, want 20", len(all), err)
	}
}

func rowsPages(t *testing.T, rows store.Rows) {
	newTable(t, rows, testTable)
	var want []string
	for _, p := range []string{"a", "b", "c"} {
		for i := range 7 {
			commit(t, rows, p, put(fmt.Sprint("k", i), p))
			want = append(want, fmt.Sprintf("%s/k%d", p, i))
		}
	}
	for _, limit := range []int{0, 1, 2, 3, 5, 7, 20, 21, 22, store.MaxPage, store.MaxPage + 1} {
		wantKeys(t, rows, store.Range{Limit: limit}, want...)
		wantKeys(t, rows, store.Range{PartitionFrom: "b", PartitionTo: "c", KeyFrom: "k2", KeyTo: "k6", Limit: limit}, "b/k2", "b/k3", "b/k4", "b/k5")
	}
	page, err := rows.Scan(t.Context(), testTable, store.Range{Limit: 4}, "")
	must(t, err, "scan")
	for range 3 { // a token may be used again
		next, err := rows.Scan(t.Context(), testTable, store.Range{Limit: 4}, page.Next)
		must(t, err, "scan on")
		wantTexts(t, "the page that follows", names(next.Rows), want[len(page.Rows):len(page.Rows)+len(next.Rows)])
	}
}

// rowsPagesAmongChanges: rows that are there all the time are seen once, what
// comes and goes between pages may or may not be, and what was there behind the
// token is not seen again.
func rowsPagesAmongChanges(t *testing.T, rows store.Rows) {
	newTable(t, rows, testTable)
	for i := range 20 {
		commit(t, rows, "p", put(fmt.Sprintf("k%02d", i), "stays"), put(fmt.Sprintf("k%02dx", i), "goes"))
	}
	var seen []string
	token := ""
	for {
		p, err := rows.Scan(t.Context(), testTable, store.Range{Limit: 3}, token)
		must(t, err, "scan")
		for _, row := range p.Rows {
			seen = append(seen, row.Key)
		}
		if token = p.Next; token == "" {
			break
		}
		last := ""
		if len(seen) > 0 {
			last = seen[len(seen)-1]
		}
		commit(t, rows, "p", put("a", "before"), put(last+"!", "just behind"), put("z", "at the end"))
		commit(t, rows, "p", op(store.Delete, last+"!", store.AnyTag))
		if len(p.Rows) > 0 && strings.HasSuffix(last, "x") { // the row that the page ended with
			commit(t, rows, "p", op(store.Delete, last, store.AnyTag))
		}
	}
	if !slices.IsSorted(seen) || len(slices.Compact(slices.Clone(seen))) != len(seen) {
		t.Fatalf("rows seen twice or out of order: %q", seen)
	}
	for i := range 20 {
		if key := fmt.Sprintf("k%02d", i); !slices.Contains(seen, key) {
			t.Fatalf("row %s was there all the time and was not seen: %q", key, seen)
		}
	}
	if slices.Contains(seen, "a") || !slices.Contains(seen, "z") {
		t.Fatalf("seen %q: want z, which came before the scan was there, and not a, which came behind it", seen)
	}
}

// rowsPageBytes: pages are bounded by bytes too (checkPage).
func rowsPageBytes(t *testing.T, rows store.Rows) {
	newTable(t, rows, testTable)
	var want []string
	for i := range 12 {
		key := fmt.Sprintf("k%02d", i)
		commit(t, rows, "p", op(store.Put, key, "", properties(11, noise(store.MaxPropertyBytes, uint64(i)))...))
		want = append(want, "p/"+key)
	}
	wantKeys(t, rows, store.Range{}, want...)
}

func rowsManyRows(t *testing.T, rows store.Rows) {
	newTable(t, rows, testTable)
	for i := range 23 {
		commit(t, rows, fmt.Sprintf("p%02d", i), puts(store.MaxOps, value("x")...)...)
	}
	all, err := scanRows(t, rows, testTable, store.Range{})
	if err != nil || len(all) != 2300 {
		t.Fatalf("scan: %d rows, %v, want 2300", len(all), err)
	}
	some, err := scanRows(t, rows, testTable, store.Range{KeyFrom: "k050", KeyTo: "k052", Limit: 5})
	if err != nil || len(some) != 46 {
		t.Fatalf("scan of two keys in all partitions: %d rows, %v, want 46", len(some), err)
	}
}

func rowsSelect(t *testing.T, rows store.Rows) {
	newTable(t, rows, testTable)
	a, b, c := store.Property{Name: "A", Value: int64(1)}, store.Property{Name: "B", Value: "b"}, store.Property{Name: "C", Value: []byte("c")}
	commit(t, rows, "p", op(store.Insert, "k", "", a, b, c))
	for _, tt := range []struct {
		names []string
		want  []store.Property
	}{
		{nil, []store.Property{a, b, c}}, {[]string{"C", "A"}, []store.Property{a, c}}, {[]string{"B", "None"}, []store.Property{b}}, {[]string{"None"}, nil},
	} {
		got, err := scanRows(t, rows, testTable, store.Range{Select: tt.names})
		must(t, err, "scan")
		if len(got) != 1 || got[0].Key != "k" || got[0].Partition != "p" || got[0].ETag == "" || !sameProperties(got[0].Properties, tt.want) {
			t.Fatalf("select %q: %+v, want one row with %+v", tt.names, got, tt.want)
		}
	}
	wantRow(t, rows, "p", "k", a, b, c)
}
