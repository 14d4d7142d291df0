package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"sluice/store"
)

var rowsCases = []rowsCase{
	{"Insert", rowsInsert},
	{"Put", rowsPut},
	{"Replace", rowsReplace},
	{"Touch", rowsTouch},
	{"Delete", rowsDelete},
	{"AnyTag", rowsAnyTag},
	{"ETags", rowsETags},
	{"ETagOfDeleted", rowsETagOfDeleted},
	{"Mixed", rowsMixed},
	{"Atomic", rowsAtomic},
	{"Partitions", rowsPartitions},
	{"Types", rowsTypes},
	{"Owned", rowsOwned},
	{"Keys", rowsKeys},
	{"Limits", rowsLimits},
	{"TouchTooLarge", rowsTouchTooLarge},
	{"Refused", rowsRefused},
	{"Ranges", rowsRanges},
	{"Pages", rowsPages},
	{"PagesAmongChanges", rowsPagesAmongChanges},
	{"PageBytes", rowsPageBytes},
	{"ManyRows", rowsManyRows},
	{"Select", rowsSelect},
	{"Tables", rowsTables},
	{"TablesPages", rowsTablesPages},
	{"TableNotFound", rowsTableNotFound},
	{"TableAgain", rowsTableAgain},
	{"TablesApart", rowsTablesApart},
	{"Cancelled", rowsCancelled},
	{"RaceInsert", rowsRaceInsert},
	{"RaceReplace", rowsRaceReplace},
	{"RaceFence", rowsRaceFence},
	{"RaceCount", rowsRaceCount},
	{"RaceWhole", rowsRaceWhole},
	{"RaceTables", rowsRaceTables},
}

func rowsInsert(t *testing.T, rows store.Rows) {
	newTable(t, rows, testTable)
	commit(t, rows, "p", op(store.Insert, "a", "", value("first")...))
	wantRow(t, rows, "p", "a", value("first")...)
	wantRefused(t, rows, store.ErrExists, 0, "p", op(store.Insert, "a", "", value("second")...))
	wantRow(t, rows, "p", "a", value("first")...)
	commit(t, rows, "p", op(store.Insert, "bare", ""))
	wantRow(t, rows, "p", "bare")
}

func rowsPut(t *testing.T, rows store.Rows) {
	newTable(t, rows, testTable)
	commit(t, rows, "p", op(store.Put, "a", "", store.Property{Name: "Old", Value: true}))
	commit(t, rows, "p", put("a", "second"))
	wantRow(t, rows, "p", "a", value("second")...)
	commit(t, rows, "p", op(store.Put, "a", ""))
	wantRow(t, rows, "p", "a")
}

func rowsReplace(t *testing.T, rows store.Rows) {
	newTable(t, rows, testTable)
	wantRefused(t, rows, store.ErrNotFound, 0, "p", op(store.Replace, "a", "W/\"none\"", value("x")...))
	wantNoRow(t, rows, "p", "a")
	commit(t, rows, "p", op(store.Put, "a", "", store.Property{Name: "Old", Value: "x"}))
	old := get(t, rows, "p", "a").ETag
	commit(t, rows, "p", op(store.Replace, "a", old, value("second")...))
	wantRow(t, rows, "p", "a", value("second")...)
	wantRefused(t, rows, store.ErrStale, 0, "p", op(store.Replace, "a", old, value("third")...))
	wantRow(t, rows, "p", "a", value("second")...)
}

func rowsTouch(t *testing.T, rows store.Rows) {
	newTable(t, rows, testTable)
	wantRefused(t, rows, store.ErrNotFound, 0, "p", op(store.Touch, "a", store.AnyTag))
	wantNoRow(t, rows, "p", "a")
	b, d := store.Property{Name: "B", Value: int64(1)}, store.Property{Name: "D", Value: "kept"}
	commit(t, rows, "p", op(store.Insert, "a", "", b, d))
	old := get(t, rows, "p", "a").ETag
	commit(t, rows, "p", op(store.Touch, "a", store.AnyTag))
	bare := wantRow(t, rows, "p", "a", b, d)
	if bare == old {
		t.Fatal("a touch without properties left the ETag as it was")
	}
	wantRefused(t, rows, store.ErrStale, 0, "p", op(store.Touch, "a", old, b))
	a, c, e := store.Property{Name: "A", Value: 1.5}, store.Property{Name: "C", Value: true}, store.Property{Name: "E", Value: []byte("e")}
	b.Value = "another type"
	commit(t, rows, "p", op(store.Touch, "a", bare, a, b, c, e))
	wantRow(t, rows, "p", "a", a, b, c, d, e)
}

func rowsDelete(t *testing.T, rows store.Rows) {
	newTable(t, rows, testTable)
	wantRefused(t, rows, store.ErrNotFound, 0, "p", op(store.Delete, "a", store.AnyTag))
	commit(t, rows, "p", put("a", "x"), put("b", "y"))
	old := get(t, rows, "p", "a").ETag
	commit(t, rows, "p", put("a", "z"))
	wantRefused(t, rows, store.ErrStale, 0, "p", op(store.Delete, "a", old))
	commit(t, rows, "p", op(store.Delete, "a", get(t, rows, "p", "a").ETag))
	wantNoRow(t, rows, "p", "a")
	wantRefused(t, rows, store.ErrNotFound, 0, "p", op(store.Delete, "a", store.AnyTag))
	wantRow(t, rows, "p", "b", value("y")...)
	wantKeys(t, rows, store.Range{}, "p/b")
	commit(t, rows, "p", op(store.Insert, "a", "", value("again")...))
	wantRow(t, rows, "p", "a", value("again")...)
}

func rowsAnyTag(t *testing.T, rows store.Rows) {
	newTable(t, rows, testTable)
	for _, kind := range []store.OpKind{store.Replace, store.Touch, store.Delete} {
		wantRefused(t, rows, store.ErrNotFound, 0, "p", op(kind, "a", store.AnyTag))
		commit(t, rows, "p", put("a", "x"))
		commit(t, rows, "p", op(kind, "a", store.AnyTag))
		commit(t, rows, "p", put("a", "x"), op(store.Insert, fmt.Sprint("other", kind), ""))
		commit(t, rows, "p", op(store.Delete, "a", store.AnyTag))
	}
}

// rowsETags: every write gives an ETag that the row never had, also one that
// changes nothing.
func rowsETags(t *testing.T, rows store.Rows) {
	newTable(t, rows, testTable)
	commit(t, rows, "p", op(store.Insert, "a", "", value("x")...))
	seen := map[store.ETag]bool{}
	for i := range 40 {
		tag := wantRow(t, rows, "p", "a", value("x")...)
		if seen[tag] {
			t.Fatalf("ETag %q twice, after %d writes", tag, i)
		}
		if again := get(t, rows, "p", "a").ETag; again != tag {
			t.Fatalf("ETag %q, then %q, and nothing was written", tag, again)
		}
		page, err := scanRows(t, rows, testTable, store.Range{})
		if err != nil || len(page) != 1 || page[0].ETag != tag {
			t.Fatalf("scan: %+v, %v, want ETag %q as get said", page, err, tag)
		}
		seen[tag] = true
		switch i % 4 {
		case 0:
			commit(t, rows, "p", put("a", "x"))
		case 1:
			commit(t, rows, "p", op(store.Replace, "a", tag, value("x")...))
		case 2:
			commit(t, rows, "p", op(store.Touch, "a", tag, value("x")...))
		case 3:
			commit(t, rows, "p", op(store.Touch, "a", store.AnyTag))
		}
	}
}

// rowsETagOfDeleted: a row that was deleted and inserted again is another
// version.
func rowsETagOfDeleted(t *testing.T, rows store.Rows) {
	newTable(t, rows, testTable)
	commit(t, rows, "p", put("a", "x"))
	old := get(t, rows, "p", "a").ETag
	commit(t, rows, "p", op(store.Delete, "a", old))
	commit(t, rows, "p", op(store.Insert, "a", "", value("x")...))
	for _, kind := range []store.OpKind{store.Replace, store.Touch, store.Delete} {
		wantRefused(t, rows, store.ErrStale, 0, "p", op(kind, "a", old))
	}
	wantRow(t, rows, "p", "a", value("x")...)
}

func rowsMixed(t *testing.T, rows store.Rows) {
	newTable(t, rows, testTable)
	commit(t, rows, "p", put("put", "1"), put("replace", "1"), put("touch", "1"), put("delete", "1"), put("any", "1"), put("other", "1"))
	commit(t, rows, "p",
		op(store.Insert, "insert", "", value("2")...),
		put("put", "2"), put("new", "2"),
		op(store.Replace, "replace", get(t, rows, "p", "replace").ETag, value("2")...),
		op(store.Touch, "touch", get(t, rows, "p", "touch").ETag, store.Property{Name: "More", Value: int64(2)}),
		op(store.Delete, "delete", get(t, rows, "p", "delete").ETag),
		op(store.Touch, "any", store.AnyTag, value("2")...))
	for key, want := range map[string]string{"insert": "2", "put": "2", "new": "2", "replace": "2", "any": "2", "other": "1"} {
		wantRow(t, rows, "p", key, value(want)...)
	}
	wantRow(t, rows, "p", "touch", store.Property{Name: "More", Value: int64(2)}, store.Property{Name: "Value", Value: "1"})
	wantNoRow(t, rows, "p", "delete")
}

// rowsAtomic: an operation that fails, wherever it stands, leaves nothing of
// its transaction.
func rowsAtomic(t *testing.T, rows store.Rows) {
	newTable(t, rows, testTable)
	commit(t, rows, "p", put("there", "old"), put("gone", "old"), put("kept", "old"))
	old := get(t, rows, "p", "there").ETag
	commit(t, rows, "p", put("there", "new"))
	failing := map[error][]store.Op{
		store.ErrExists:   {op(store.Insert, "there", "", value("x")...)},
		store.ErrNotFound: {op(store.Touch, "none", store.AnyTag), op(store.Delete, "none", store.AnyTag), op(store.Replace, "none", old)},
		store.ErrStale:    {op(store.Replace, "there", old), op(store.Touch, "there", old), op(store.Delete, "there", old)},
	}
	good := []store.Op{
		op(store.Insert, "insert", "", value("x")...), put("put", "x"), put("kept", "x"), op(store.Delete, "gone", store.AnyTag),
	}
	for want, ops := range failing {
		for _, bad := range ops {
			for i := range len(good) + 1 {
				all := append(append(append([]store.Op{}, good[:i]...), bad), good[i:]...)
				wantRefused(t, rows, want, i, "p", all...)
				wantKeys(t, rows, store.Range{}, "p/gone", "p/kept", "p/there")
				wantRow(t, rows, "p", "kept", value("old")...)
				wantRow(t, rows, "p", "there", value("new")...)
			}
		}
	}
	commit(t, rows, "p", good...)
	wantKeys(t, rows, store.Range{}, "p/insert", "p/kept", "p/put", "p/there")
}

func rowsPartitions(t *testing.T, rows store.Rows) {
	newTable(t, rows, testTable)
	for _, p := range []string{"a", "ab", "b"} {
		commit(t, rows, p, op(store.Insert, "same", "", value(p)...), op(store.Insert, "bsame", "", value(p)...))
	}
	commit(t, rows, "ab", op(store.Delete, "same", store.AnyTag))
	wantRow(t, rows, "a", "same", value("a")...)
	wantRow(t, rows, "b", "same", value("b")...)
	wantNoRow(t, rows, "ab", "same")
	wantNoRow(t, rows, "a", "same2")
	wantKeys(t, rows, store.Range{}, "a/bsame", "a/same", "ab/bsame", "b/bsame", "b/same")
}

func rowsCancelled(t *testing.T, rows store.Rows) {
	newTable(t, rows, testTable)
	commit(t, rows, "p", put("a", "x"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, getErr := rows.Get(ctx, testTable, "p", "a")
	_, scanErr := rows.Scan(ctx, testTable, store.Range{}, "")
	_, _, listErr := rows.Tables(ctx, "", "")
	for name, err := range map[string]error{
		"Get": getErr, "Scan": scanErr, "Tables": listErr, "CreateTable": rows.CreateTable(ctx, "conformance2"),
		"DropTable": rows.DropTable(ctx, testTable), "Commit": rows.Commit(ctx, testTable, "p", []store.Op{put("a", "y")}),
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s with a cancelled context: %v", name, err)
		}
	}
}
