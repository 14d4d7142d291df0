package engine_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"sluice/engine"
	"sluice/store"
	"sluice/store/fenced"
	"sluice/store/storetest"
	"sluice/telemetry"
	"sluice/telemetry/block"
)

// under is a store in which something happens between two calls of a reader.
type under struct {
	t      *testing.T
	e      *engine.Engine
	stamp  telemetry.Stamp
	before func(storetest.Call) bool // tells at which call
	do     func()
}

const underDevice = "pump-1"

func newUnder(t *testing.T) *under {
	t.Helper()
	return newUnderOver(t, &storetest.Memory{})
}

func newUnderOver(t *testing.T, memory *storetest.Memory) *under {
	t.Helper()
	u := &under{t: t}
	rows := storetest.NewFaultyRows(memory, func(c storetest.Call) storetest.Verdict {
		if u.before != nil && u.before(c) {
			u.before = nil
			u.do()
		}
		return storetest.Pass()
	})
	now := func() time.Time { return simStart }
	j, err := fenced.New(func(int) store.Rows { return rows }, fenced.Options{Now: now})
	if err != nil {
		t.Fatal(err)
	}
	c := engine.Config{Accounts: []store.Rows{rows}, Journal: engine.Given(j), Now: now, NewID: func() string { return "store" }, Shards: 1, Parallel: 1}
	c.SetLimits(engine.TestLimits{LeafRows: 3})
	if u.e, err = engine.Open(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	return u
}

// send merges readings at minutes of the day.
func (u *under) send(minutes ...int) {
	u.t.Helper()
	var readings []telemetry.Reading
	for _, m := range minutes {
		u.stamp++
		readings = append(readings, telemetry.Reading{
			Device: underDevice, Time: simStart.Truncate(24 * time.Hour).Add(time.Duration(m) * time.Minute).UnixNano(), Stamp: u.stamp,
			Metrics: []telemetry.Metric{{Name: "a", Value: telemetry.FloatValue(float64(m))}},
		})
	}
	u.merged(u.e.Append(u.t.Context(), 0, block.FromReadings(readings)))
}

func (u *under) delete() {
	u.t.Helper()
	u.merged(u.e.Delete(u.t.Context(), underDevice, u.stamp))
}

func (u *under) merged(err error) {
	u.t.Helper()
	if err == nil {
		_, err = u.e.MergeShard(u.t.Context(), 0)
	}
	if err != nil {
		u.t.Fatal(err)
	}
}

// count reads all of the device and returns the number of values.
func (u *under) count(descending bool) (int, error) {
	u.t.Helper()
	got := collector{span: engine.Span{From: 0, To: simStart.Add(24 * time.Hour).UnixNano(), Descending: descending}}
	err := u.e.View().Read(context.Background(), underDevice, got.span, got.take)
	return len(got.cells), err
}

func get(prefix string) func(storetest.Call) bool {
	return func(c storetest.Call) bool { return c.Method == "Get" && strings.HasPrefix(c.Key, prefix) }
}

// A leaf is closed after a reader has read the closed ones and before it reads
// the open one, whose lower bound then does not fit.
func TestLeafClosedUnderReader(t *testing.T) {
	u := newUnder(t)
	u.send(1, 2, 3, 4)
	u.before, u.do = get("o!"), func() { u.send(5, 6, 7, 8, 9) }
	if n, err := u.count(false); err != nil || n < 4 {
		t.Errorf("%d values, want 4 at least: %v", n, err)
	}
	if n, err := u.count(false); err != nil || n != 9 {
		t.Errorf("%d values, want 9: %v", n, err)
	}
}

// Leaves are removed after a reader has given a part of the day: it must not
// take that for the end.
func TestLeavesRemovedUnderReader(t *testing.T) {
	u := newUnder(t)
	u.send(1, 2, 3, 4, 5, 6, 7, 8)
	u.before, u.do = get("c!"), func() {
		u.delete()
		u.send(1, 2, 3, 4, 5, 6, 7, 8)
	}
	if n, err := u.count(true); !errors.Is(err, engine.ErrAgain) && (err != nil || n != 8) {
		t.Errorf("%d values: %v, want 8 or ErrAgain", n, err)
	}
	u.before, u.do = get("c!"), u.delete
	if n, err := u.count(true); !errors.Is(err, engine.ErrAgain) {
		t.Errorf("%d values: %v, want ErrAgain", n, err)
	}
}

// The newest value is deleted after a reader has read the list that names it
// and before it is looked up, as it is too long for a list: the one before it
// is the newest then.
func TestLatestDeletedUnderReader(t *testing.T) {
	u := newUnder(t)
	day := simStart.Truncate(24 * time.Hour).UnixNano()
	long := telemetry.TextValue(strings.Repeat("long ", 20))
	at := func(minute int, stamp telemetry.Stamp) {
		u.merged(u.e.Append(t.Context(), 0, block.FromReadings([]telemetry.Reading{{
			Device: underDevice, Time: day + int64(minute)*int64(time.Minute), Stamp: stamp,
			Metrics: []telemetry.Metric{{Name: "a", Value: long}},
		}})))
	}
	at(9, 1)
	at(3, 5) // accepted later, of an earlier time
	// The first read of a leaf comes after the list, and after its own tail.
	u.before = func(c storetest.Call) bool { return c.Method == "Scan" && strings.HasPrefix(c.Key, "c!") }
	u.do = func() { u.merged(u.e.Delete(t.Context(), underDevice, 3)) }
	info, known, err := u.e.View().Device(t.Context(), underDevice)
	if errors.Is(err, engine.ErrAgain) {
		info, known, err = u.e.View().Device(t.Context(), underDevice)
	}
	if err != nil || !known || len(info.Latest) != 1 {
		t.Fatalf("latest %v, %v: %v", info.Latest, known, err)
	}
	if want := day + 3*int64(time.Minute); info.Latest[0].Time != want && info.Latest[0].Time != day+9*int64(time.Minute) {
		t.Errorf("latest of %s", clockText(info.Latest[0].Time))
	}
}

// another is a second engine over the same store.
func (u *under) another(rows store.Rows) *engine.Engine {
	u.t.Helper()
	now := func() time.Time { return simStart }
	j, err := fenced.New(func(int) store.Rows { return rows }, fenced.Options{Now: now})
	if err != nil {
		u.t.Fatal(err)
	}
	e, err := engine.Open(u.t.Context(), engine.Config{Accounts: []store.Rows{rows}, Journal: engine.Given(j), Now: now, NewID: func() string { return "store" }, Shards: 1, Parallel: 1})
	if err != nil {
		u.t.Fatal(err)
	}
	return e
}

// What another compactor merges into a leaf that a deletion leaves empty stays,
// though the leaf's row was about to be removed.
func TestMergeIntoLeafThatIsRemoved(t *testing.T) {
	rows := &storetest.Memory{}
	u := newUnderOver(t, rows)
	u.send(1)
	u.before = func(c storetest.Call) bool {
		return len(c.Ops) > 0 && c.Ops[0].Kind == store.Delete && strings.HasPrefix(c.Table, "sluiceleaves")
	}
	u.do = func() {
		other := &under{t: t, e: u.another(rows), stamp: u.stamp}
		other.send(2)
		u.stamp = other.stamp
	}
	u.delete()
	if u.before != nil {
		t.Fatal("no leaf was removed")
	}
	u.merged(nil)
	n := 0
	err := u.e.View().Read(t.Context(), underDevice, engine.Span{From: 0, To: simStart.AddDate(1, 0, 0).UnixNano()}, func(f *block.Frame) error {
		n += f.Readings()
		return nil
	})
	if err != nil || n != 1 {
		t.Fatalf("%d readings, want the one that came after the deletion: %v", n, err)
	}
}
