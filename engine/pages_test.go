package engine_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"sluice/engine"
	"sluice/store"
	"sluice/store/fenced"
	"sluice/store/storetest"
	"sluice/telemetry"
	"sluice/telemetry/block"
)

// Only an empty continuation ends a scan: here every first page is
// empty, of whatever is read.
func TestEmptyPages(t *testing.T) {
	rows := storetest.NewFaultyRows(&storetest.Memory{}, func(c storetest.Call) storetest.Verdict {
		if c.Token == "" {
			return storetest.Cut(0)
		}
		return storetest.Pass()
	})
	now := simStart
	clock := func() time.Time { return now }
	journal, err := fenced.New(func(int) store.Rows { return rows }, fenced.Options{Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	c := engine.Config{
		Accounts: []store.Rows{rows}, Journal: engine.Given(journal), Now: clock, NewID: func() string { return "store" },
		Shards: 2, Buckets: 2, Parallel: 1, Retention: 60 * 24 * time.Hour,
	}
	c.SetLimits(engine.TestLimits{LeafRows: 3, PageBytes: 64})
	e, err := engine.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	var want []int64
	for i := range 12 {
		at := now.Add(-time.Duration(i%2)*50*24*time.Hour - time.Duration(i)*time.Minute).UnixNano()
		want = append(want, at)
		for d := range 6 {
			id := fmt.Sprintf("pump-%d", d)
			r := telemetry.Reading{
				Device: id, Time: at, Stamp: telemetry.Stamp(i + 1),
				Metrics: []telemetry.Metric{{Name: "x", Value: telemetry.FloatValue(1)}},
			}
			if err := e.Append(t.Context(), e.Shard(id), block.FromReadings([]telemetry.Reading{r})); err != nil {
				t.Fatal(err)
			}
		}
		if err := e.Compact(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(want)
	check := func(want []int64) {
		t.Helper()
		for _, down := range []bool{false, true} {
			var got []int64
			span := engine.Span{To: now.AddDate(1, 0, 0).UnixNano(), Descending: down}
			err := e.View().Read(t.Context(), "pump-3", span, func(f *block.Frame) error {
				for at := range f.Each(down) {
					got = append(got, at)
				}
				return nil
			})
			slices.Sort(got)
			if err != nil || !slices.Equal(got, want) {
				t.Fatalf("descending %v: %d readings, want %d, %v", down, len(got), len(want), err)
			}
		}
		devices := 0
		err := e.View().Devices(t.Context(), "", "", func(engine.Info) bool { devices++; return true })
		if err != nil || devices != 6 {
			t.Fatalf("%d devices, %v", devices, err)
		}
	}
	check(want)
	oldest := want[0]
	for end := now.AddDate(0, 0, 20); now.Before(end); now = now.Add(time.Hour) {
		if err := e.Retain(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := e.Retain(t.Context()); err != nil {
		t.Fatal(err)
	}
	check(slices.DeleteFunc(want, func(at int64) bool { return at < e.Floor() }))
	if at := e.Floor(); at <= oldest {
		t.Fatalf("the floor %d did not come to %d", at, oldest)
	}
	tables := 0
	for token, first := "", true; first || token != ""; first = false {
		names, next, err := rows.Tables(t.Context(), "sluiceleaves", token)
		if err != nil {
			t.Fatal(err)
		}
		tables, token = tables+len(names), next
	}
	if tables > 2 {
		t.Fatalf("%d tables of days are left", tables)
	}
}
