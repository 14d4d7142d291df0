package storetest

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"sluice/store"
)

// wantOneCommit checks that one racer won and all others lost for the reason
// that is given.
func wantOneCommit(t *testing.T, errs []error, want error) int {
	t.Helper()
	winner := -1
	for i, err := range errs {
		switch {
		case err == nil && winner >= 0:
			t.Fatalf("racers %d and %d both won", winner, i)
		case err == nil:
			winner = i
		case !errors.Is(err, want):
			t.Fatalf("racer %d lost: %v, want %v", i, err, want)
		}
	}
	if winner < 0 {
		t.Fatalf("no winner: %v", errs)
	}
	return winner
}

func rowsRaceInsert(t *testing.T, rows store.Rows) {
	newTable(t, rows, testTable)
	for round := range 10 {
		p, errs := fmt.Sprint("round", round), make([]error, 6)
		together(len(errs), func(i int) {
			errs[i] = rows.Commit(t.Context(), testTable, p, []store.Op{
				put(fmt.Sprint("own", i), "x"), op(store.Insert, "prize", "", value(fmt.Sprint(i))...),
			})
		})
		w := wantOneCommit(t, errs, store.ErrExists)
		wantRow(t, rows, p, "prize", value(fmt.Sprint(w))...)
		wantKeys(t, rows, store.InPartition(p, "", ""), fmt.Sprintf("%s/own%d", p, w), p+"/prize")
	}
}

func rowsRaceReplace(t *testing.T, rows store.Rows) {
	newTable(t, rows, testTable)
	commit(t, rows, "p", put("prize", "x"))
	for range 10 {
		tag, errs := get(t, rows, "p", "prize").ETag, make([]error, 6)
		together(len(errs), func(i int) {
			kind := []store.OpKind{store.Replace, store.Touch}[i%2]
			errs[i] = rows.Commit(t.Context(), testTable, "p", []store.Op{op(kind, "prize", tag, value(fmt.Sprint(i))...)})
		})
		w := wantOneCommit(t, errs, store.ErrStale)
		wantRow(t, rows, "p", "prize", value(fmt.Sprint(w))...)
	}
}

// rowsRaceFence: once a row is deleted, no transaction lands that touches it.
func rowsRaceFence(t *testing.T, rows store.Rows) {
	newTable(t, rows, testTable)
	for round := range 10 {
		p, acked := fmt.Sprint("round", round), make([]bool, 5)
		commit(t, rows, p, put("!fence", "x"))
		var before []store.Row
		together(len(acked)+1, func(i int) {
			if i == len(acked) {
				if err := rows.Commit(t.Context(), testTable, p, []store.Op{op(store.Delete, "!fence", store.AnyTag)}); err != nil {
					t.Errorf("delete the fence: %v", err)
				}
				var err error
				if before, err = scanRows(t, rows, testTable, store.InPartition(p, "", "")); err != nil {
					t.Errorf("scan: %v", err)
				}
				return
			}
			err := rows.Commit(t.Context(), testTable, p, []store.Op{op(store.Touch, "!fence", store.AnyTag), put(fmt.Sprint("w", i), "x")})
			if acked[i] = err == nil; err != nil && !errors.Is(err, store.ErrNotFound) {
				t.Errorf("commit: %v", err)
			}
		})
		var want []string
		for i, ok := range acked {
			if ok {
				want = append(want, fmt.Sprintf("%s/w%d", p, i))
			}
		}
		wantTexts(t, "rows right after the fence fell", names(before), want)
		wantKeys(t, rows, store.InPartition(p, "", ""), want...)
	}
}

// rowsRaceCount: a counter under If-Match loses nothing.
func rowsRaceCount(t *testing.T, rows store.Rows) {
	newTable(t, rows, testTable)
	commit(t, rows, "p", op(store.Insert, "n", "", store.Property{Name: "N", Value: int64(0)}))
	const workers, rounds = 4, 15
	together(workers, func(int) {
		for done := 0; done < rounds && !t.Failed(); {
			row, err := rows.Get(t.Context(), testTable, "p", "n")
			if err != nil {
				t.Errorf("get: %v", err)
				return
			}
			n := store.Property{Name: "N", Value: row.Properties[0].Value.(int64) + 1}
			err = rows.Commit(t.Context(), testTable, "p", []store.Op{op(store.Replace, "n", row.ETag, n)})
			if err == nil {
				done++
			} else if !errors.Is(err, store.ErrStale) {
				t.Errorf("replace: %v", err)
			}
		}
	})
	wantRow(t, rows, "p", "n", store.Property{Name: "N", Value: int64(workers * rounds)})
}

// rowsRaceWhole: readers see each row whole, and of a transaction that was
// seen in one row, the others.
func rowsRaceWhole(t *testing.T, rows store.Rows) {
	newTable(t, rows, testTable)
	write := func(i int) error {
		p := []store.Property{{Name: "A", Value: int64(i)}, {Name: "B", Value: fmt.Sprint(i)}}
		return rows.Commit(t.Context(), testTable, "p", []store.Op{op(store.Put, "first", "", p...), op(store.Put, "second", "", p...)})
	}
	must(t, write(0), "commit")
	var stop atomic.Bool
	together(3, func(i int) {
		if i == 0 {
			defer stop.Store(true)
			for n := range 60 {
				if err := write(n + 1); err != nil {
					t.Errorf("commit: %v", err)
				}
			}
			return
		}
		for !stop.Load() && !t.Failed() {
			a, err := number(t, rows, "second")
			b, err2 := number(t, rows, "first")
			if err != nil || err2 != nil || b < a {
				t.Errorf("second row %d, then first row %d: %v, %v", a, b, err, err2)
			}
		}
	})
}

func number(t *testing.T, rows store.Rows, key string) (int64, error) {
	row, err := rows.Get(t.Context(), testTable, "p", key)
	if err != nil {
		return 0, err
	}
	n := row.Properties[0].Value.(int64)
	if len(row.Properties) != 2 || row.Properties[1].Value != fmt.Sprint(n) {
		return n, fmt.Errorf("row %+v is of two writes", row)
	}
	return n, nil
}

// rowsRaceTables: making, dropping and writing at once ends in one of their
// orders.
func rowsRaceTables(t *testing.T, rows store.Rows) {
	for range 5 {
		together(6, func(i int) {
			var err error
			switch i % 3 {
			case 0:
				err = rows.CreateTable(t.Context(), testTable)
			case 1:
				err = rows.DropTable(t.Context(), testTable)
			case 2:
				err = rows.Commit(t.Context(), testTable, "p", []store.Op{put("k", "x")})
			}
			if err != nil && !errors.Is(err, store.ErrTableNotFound) && !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("%v", err)
			}
		})
		must(t, rows.DropTable(t.Context(), testTable), "drop")
		again(t, rows)
		wantKeys(t, rows, store.Range{})
		must(t, rows.DropTable(t.Context(), testTable), "drop")
	}
}
