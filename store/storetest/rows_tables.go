package storetest

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"sluice/store"
)

func listTables(t tester, rows store.Rows, prefix string) []string {
	t.Helper()
	var all []string
	for token := ""; ; {
		names, next, err := rows.Tables(t.Context(), prefix, token)
		must(t, err, "list tables")
		all = append(all, names...)
		if token = next; token == "" {
			break
		}
	}
	if !slices.IsSorted(all) {
		t.Fatalf("tables do not ascend: %q", all)
	}
	return all
}

func rowsTables(t *testing.T, rows store.Rows) {
	wantTexts(t, "tables of a new store", listTables(t, rows, "suite"), nil)
	for _, name := range []string{"suiteb", "suitea2", "suitea10", "suitea1", "other", "suitea1"} {
		newTable(t, rows, name)
	}
	wantTexts(t, "tables", listTables(t, rows, "suitea"), []string{"suitea1", "suitea10", "suitea2"})
	wantTexts(t, "tables", listTables(t, rows, "suiteb"), []string{"suiteb"})
	if all := listTables(t, rows, ""); !slices.Contains(all, "other") || !slices.Contains(all, "suiteb") {
		t.Fatalf("all tables: %q", all)
	}
	must(t, rows.DropTable(t.Context(), "suitea1"), "drop")
	must(t, rows.DropTable(t.Context(), "suitea1"), "drop again")
	must(t, rows.DropTable(t.Context(), "suitenone"), "drop one that never was")
	wantTexts(t, "tables", listTables(t, rows, "suitea"), []string{"suitea10", "suitea2"})
}

func rowsTablesPages(t *testing.T, rows store.Rows) {
	var want []string
	for i := range 40 {
		want = append(want, fmt.Sprintf("suite%03d", i))
		newTable(t, rows, want[i])
	}
	wantTexts(t, "tables", listTables(t, rows, "suite"), want)
}

func rowsTableNotFound(t *testing.T, rows store.Rows) {
	_, err := rows.Get(t.Context(), testTable, "p", "k")
	wantErr(t, err, store.ErrTableNotFound, "get")
	if errors.Is(err, store.ErrNotFound) {
		t.Fatalf("get of a table that does not exist: %v says that a row was not found", err)
	}
	_, err = rows.Scan(t.Context(), testTable, store.Range{}, "")
	wantErr(t, err, store.ErrTableNotFound, "scan")
	for _, o := range []store.Op{put("k", "x"), op(store.Insert, "k", ""), op(store.Touch, "k", store.AnyTag), op(store.Delete, "k", store.AnyTag)} {
		err := rows.Commit(t.Context(), testTable, "p", []store.Op{o})
		wantErr(t, err, store.ErrTableNotFound, "commit")
		if errors.Is(err, store.ErrNotFound) {
			t.Fatalf("commit to a table that does not exist: %v says that a row was not found", err)
		}
	}
	wantTexts(t, "tables", listTables(t, rows, testTable), nil)
}

func rowsTableAgain(t *testing.T, rows store.Rows) {
	newTable(t, rows, testTable)
	commit(t, rows, "p", puts(10, value("x")...)...)
	tag := get(t, rows, "p", "k001").ETag
	page, err := rows.Scan(t.Context(), testTable, store.Range{Limit: 2}, "")
	must(t, err, "scan")
	newTable(t, rows, testTable) // one that exists is left as it is
	wantRow(t, rows, "p", "k009", value("x")...)
	must(t, rows.DropTable(t.Context(), testTable), "drop")
	_, err = rows.Scan(t.Context(), testTable, store.Range{Limit: 2}, page.Next)
	wantErr(t, err, store.ErrTableNotFound, "the second page of a scan whose table was dropped")
	rowsTableNotFound(t, rows)
	again(t, rows)
	wantKeys(t, rows, store.Range{})
	wantNoRow(t, rows, "p", "k001")
	wantRefused(t, rows, store.ErrNotFound, 0, "p", op(store.Touch, "k001", store.AnyTag))
	commit(t, rows, "p", puts(10, value("x")...)...) // the same again, under other ETags
	wantRefused(t, rows, store.ErrStale, 0, "p", op(store.Replace, "k001", tag))
	wantRow(t, rows, "p", "k001", value("x")...)
}

// again makes a table that is being deleted, when that is done.
func again(t *testing.T, rows store.Rows) {
	t.Helper()
	for {
		err := rows.CreateTable(t.Context(), testTable)
		if err == nil {
			return
		}
		wantErr(t, err, store.ErrUnavailable, "create a table that was dropped")
	}
}

func rowsTablesApart(t *testing.T, rows store.Rows) {
	for _, name := range []string{testTable, testTable + "0", "conformance"} {
		newTable(t, rows, name)
		must(t, rows.Commit(t.Context(), name, "p", []store.Op{put("k", name)}), "commit")
	}
	must(t, rows.DropTable(t.Context(), testTable), "drop")
	for _, name := range []string{testTable + "0", "conformance"} {
		row, err := rows.Get(t.Context(), name, "p", "k")
		must(t, err, "get of table %s", name)
		if !sameProperties(row.Properties, value(name)) {
			t.Fatalf("row of table %s: %+v", name, row)
		}
	}
}
