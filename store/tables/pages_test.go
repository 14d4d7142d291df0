package tables_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"sluice/devtools/azurite"
	"sluice/devtools/throttle"
	"sluice/store"
	"sluice/store/tables"
)

// TestPagesOfLargeRows: a service without a bound of its own does not make a
// page larger than its bound, and the pages that follow ask for as many rows as
// they may have, and for more again when rows get small.
func TestPagesOfLargeRows(t *testing.T) {
	a, p := throttled(t, azurite.ForTest(t).Account(), throttle.Options{})
	s := open(t, a, tables.Options{})
	w := &world{t: t, direct: s, faulty: s}
	w.must(s.CreateTable(t.Context(), "pages"))
	blob := bytes.Repeat([]byte("x"), store.MaxPropertyBytes)
	var want []string
	for _, partition := range []string{"a", "b"} {
		for i := range 12 {
			o := store.Op{Kind: store.Put, Key: fmt.Sprintf("k%03d", i)}
			for n := range 11 {
				o.Properties = append(o.Properties, store.Property{Name: fmt.Sprintf("P%02d", n), Value: blob})
			}
			w.must(s.Commit(t.Context(), "pages", partition, []store.Op{o}))
			want = append(want, partition+o.Key)
		}
	}
	for i := range 5 {
		var ops []store.Op
		for k := range store.MaxOps {
			ops = append(ops, store.Op{Kind: store.Put, Key: fmt.Sprintf("z%d%02d", i, k)})
			want = append(want, "b"+ops[k].Key)
		}
		w.must(s.Commit(t.Context(), "pages", "b", ops))
	}
	for _, r := range []store.Range{{}, {PartitionFrom: "b"}, store.InPartition("b", "k001", "")} {
		passed := p.Counts().Passed
		got, large := scanAll(t, s, r)
		if n := len(want) - len(got); fmt.Sprint(got) != fmt.Sprint(want[n:]) {
			t.Errorf("scan of %+v: %d rows", r, len(got))
		}
		if n := p.Counts().Passed - passed; n > 3*large+12 {
			t.Errorf("scan of %+v: %d requests for %d large pages", r, n, large)
		}
	}
}

// scanAll reads a range, and counts the pages of more than half the bound.
func scanAll(t *testing.T, s store.Rows, r store.Range) (keys []string, large int) {
	t.Helper()
	for token := ""; ; {
		page, err := s.Scan(t.Context(), "pages", r, token)
		if err != nil {
			t.Fatal(err)
		}
		size := 0
		for _, row := range page.Rows {
			keys, size = append(keys, row.Partition+row.Key), size+row.Size()
		}
		if size > store.MaxPageBytes+store.MaxRow {
			t.Fatalf("a page of %d bytes", size)
		}
		if size > store.MaxPageBytes/2 {
			large++
		}
		if token = page.Next; token == "" {
			return keys, large
		}
	}
}

// TestManyTables: more tables than a page of Azurite's has, and names that no
// store of ours gives are passed over.
func TestManyTables(t *testing.T) {
	s := open(t, azurite.ForTest(t).Account(), tables.Options{})
	for i := range 1003 {
		if err := s.CreateTable(t.Context(), fmt.Sprintf("many%04d", i)); err != nil {
			t.Fatal(err)
		}
	}
	n, pages, last := 0, 0, ""
	for token := ""; ; pages++ {
		names, next, err := s.Tables(t.Context(), "many", token)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if name <= last {
				t.Fatalf("table %q after %q", name, last)
			}
			last = name
		}
		if n, token = n+len(names), next; token == "" {
			break
		}
	}
	if n != 1003 {
		t.Errorf("%d tables on %d pages", n, pages)
	}
	if _, _, err := s.Tables(t.Context(), "many", "after:many"); !errors.Is(err, store.ErrInvalid) {
		t.Errorf("a token that is none: %v", err)
	}
}
