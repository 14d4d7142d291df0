package storetest

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"sluice/store"
)

const testTable = "conformance1"

func newTable(t tester, rows store.Rows, name string) {
	t.Helper()
	must(t, rows.CreateTable(t.Context(), name), "create table %s", name)
}

// value is the property that most cases write.
func value(s string) []store.Property { return []store.Property{{Name: "Value", Value: s}} }

func op(kind store.OpKind, key string, tag store.ETag, properties ...store.Property) store.Op {
	return store.Op{Kind: kind, Key: key, IfMatch: tag, Properties: properties}
}

func put(key, v string) store.Op { return op(store.Put, key, "", value(v)...) }

func commit(t tester, rows store.Rows, partition string, ops ...store.Op) {
	t.Helper()
	must(t, rows.Commit(t.Context(), testTable, partition, ops), "commit %d operations to %q", len(ops), partition)
}

// wantRefused checks that a transaction fails for an operation's sake.
func wantRefused(t tester, rows store.Rows, want error, index int, partition string, ops ...store.Op) {
	t.Helper()
	err := rows.Commit(t.Context(), testTable, partition, ops)
	var at *store.OpError
	if !errors.Is(err, want) || !errors.As(err, &at) || at.Index != index {
		t.Fatalf("commit: error %v, want %v in an OpError of operation %d", err, want, index)
	}
}

func get(t tester, rows store.Rows, partition, key string) store.Row {
	t.Helper()
	row, err := rows.Get(t.Context(), testTable, partition, key)
	must(t, err, "get %q %q", partition, key)
	return row
}

// wantRow checks a row and returns its ETag.
func wantRow(t tester, rows store.Rows, partition, key string, want ...store.Property) store.ETag {
	t.Helper()
	row := get(t, rows, partition, key)
	if row.Partition != partition || row.Key != key || row.ETag == "" || row.ETag == store.AnyTag || !sameProperties(row.Properties, want) {
		t.Fatalf("row %q %q: %+v, want properties %+v and an ETag", partition, key, row, want)
	}
	return row.ETag
}

func wantNoRow(t tester, rows store.Rows, partition, key string) {
	t.Helper()
	_, err := rows.Get(t.Context(), testTable, partition, key)
	wantErr(t, err, store.ErrNotFound, "get %q %q", partition, key)
}

// sameProperties compares types and values, floats by their bits but for the
// sign of zero.
func sameProperties(a, b []store.Property) bool {
	return slices.EqualFunc(a, b, func(a, b store.Property) bool {
		if x, ok := a.Value.([]byte); ok {
			y, ok := b.Value.([]byte)
			return ok && a.Name == b.Name && slices.Equal(x, y)
		}
		if x, ok := a.Value.(float64); ok {
			y, ok := b.Value.(float64)
			return ok && a.Name == b.Name && (x == y || math.Float64bits(x) == math.Float64bits(y))
		}
		return a == b
	})
}

// scanRows reads a range page by page, and checks each page's bounds and the
// order.
func scanRows(t tester, rows store.Rows, table string, r store.Range) ([]store.Row, error) {
	t.Helper()
	var all []store.Row
	for token := ""; ; {
		p, err := rows.Scan(t.Context(), table, r, token)
		if err != nil {
			return all, err
		}
		if err := checkPage(p.Rows, r); err != nil {
			return all, err
		}
		all = append(all, p.Rows...)
		if token = p.Next; token == "" {
			break
		}
	}
	if !slices.IsSortedFunc(all, func(a, b store.Row) int { return compare(a, [2]string{b.Partition, b.Key}) }) {
		return all, errors.New("scan: rows do not ascend")
	}
	return all, nil
}

func checkPage(rows []store.Row, r store.Range) error {
	size := 0
	for i, row := range rows {
		if !r.Contains(row.Partition, row.Key) {
			return fmt.Errorf("scan: row %q %q is outside of %+v", row.Partition, row.Key, r)
		}
		if size += row.Size(); i < len(rows)-1 && size >= store.MaxPageBytes {
			return fmt.Errorf("scan: a page of more than %d bytes", size)
		}
	}
	if len(rows) > r.PageLimit() {
		return fmt.Errorf("scan: a page of %d rows, limit %d", len(rows), r.PageLimit())
	}
	return nil
}

// wantKeys checks which rows, as partition/key, a range has.
func wantKeys(t tester, rows store.Rows, r store.Range, want ...string) {
	t.Helper()
	got, err := scanRows(t, rows, testTable, r)
	must(t, err, "scan %+v", r)
	wantTexts(t, fmt.Sprintf("scan %+v", r), names(got), want)
}

func names(rows []store.Row) []string {
	var out []string
	for _, row := range rows {
		out = append(out, row.Partition+"/"+row.Key)
	}
	return out
}
