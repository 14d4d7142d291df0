package engine_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"sluice/engine"
	"sluice/store"
	"sluice/store/fenced"
	"sluice/store/storetest"
	"sluice/telemetry"
	"sluice/telemetry/block"
)

const days = 24 * time.Hour

// instance is an engine with a clock of its own over rows that it shares.
type instance struct {
	*engine.Engine
	*clock
	t     *testing.T
	reads *int // of the floor
}

func newInstance(t *testing.T, memory store.Rows, now time.Time, retention time.Duration) *instance {
	t.Helper()
	i := &instance{clock: &clock{now}, t: t, reads: new(int)}
	rows := storetest.NewFaultyRows(memory, func(c storetest.Call) storetest.Verdict {
		*i.reads += count(c.Method == "Get" && c.Key == engine.FloorKey)
		return storetest.Pass()
	})
	var err error
	i.Engine, err = engine.Open(t.Context(), engine.Config{
		Accounts: []store.Rows{rows}, Shards: 1, Now: i.Now, NewID: func() string { return "floor" }, Retention: retention,
		Journal: func(rows func(int) store.Rows) (store.Journal, error) {
			return fenced.New(rows, fenced.Options{Now: i.Now})
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func (i *instance) send(at time.Time) error {
	r := reading("a", at, number("x", 1))
	r.Stamp = telemetry.Stamp(i.now.UnixNano())
	return i.Append(i.t.Context(), 0, block.FromReadings([]telemetry.Reading{r}))
}

func (i *instance) readings() int {
	i.t.Helper()
	n := 0
	err := i.View().Read(i.t.Context(), "a", all, func(f *block.Frame) error { n += f.Readings(); return nil })
	if err != nil {
		i.t.Fatal(err)
	}
	return n
}

func (i *instance) retain() {
	i.t.Helper()
	if err := i.Retain(i.t.Context()); err != nil {
		i.t.Fatal(err)
	}
}

func (i *instance) merge() {
	i.t.Helper()
	if _, err := i.MergeShard(i.t.Context(), 0); err != nil {
		i.t.Fatal(err)
	}
}

// What an instance acknowledges while another one raises the floor is merged
// before retention takes it: at midnight, by clocks that differ, and where the
// settings of the other one ask for a shorter retention.
func TestFloorSparesTheAcknowledged(t *testing.T) {
	midnight := noon.Truncate(days).Add(days)
	for _, c := range []struct {
		name     string
		now      time.Time
		at       time.Time     // of a reading that is acceptable then
		ahead    time.Duration // the other one's clock
		shorter  time.Duration // its retention
		elapsing time.Duration // until it raises
	}{
		{"midnight", midnight.Add(-time.Second), midnight.Add(-11 * days), 0, 10 * days, 2 * time.Second},
		{"midnight by a clock that is ahead", midnight.Add(-3 * time.Second), midnight.Add(-11 * days), 5 * time.Second, 10 * days, 0},
		{"shorter retention", noon, noon.Add(-9 * days), 0, 2 * days, 10 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			memory := &storetest.Memory{}
			one := newInstance(t, memory, c.now, 10*days)
			if err := one.send(noon); err != nil { // the journal has an epoch from before
				t.Fatal(err)
			}
			one.merge()
			other := newInstance(t, memory, c.now.Add(c.ahead), c.shorter)
			pass := func(d time.Duration) { one.now, other.now = one.now.Add(d), other.now.Add(d) }
			pass(c.elapsing)
			other.retain()
			if floor := one.Floor(); c.at.UnixNano() < floor {
				t.Fatalf("not acceptable: the floor is %s", clockText(floor))
			}
			if err := one.send(c.at); err != nil {
				t.Fatal(err)
			}
			for range 20 { // not merged, however often the floor is raised
				pass(time.Minute)
				other.retain()
				if n := other.readings(); n != 2 { // the first one only writes
					t.Fatalf("%d readings after %v, want 2", n, one.now.Sub(c.now))
				}
			}
			if err := one.send(c.at); !errors.Is(err, engine.ErrFloor) {
				t.Fatalf("a reading below what is announced: %v", err)
			}
			if floor := one.Floor(); c.at.UnixNano() >= floor {
				t.Fatalf("the floor is %s", clockText(floor))
			}
			other.merge()
			if n := one.readings(); n != 2 {
				t.Fatalf("%d readings after the merge, want 2", n)
			}
			for range 3 {
				pass(time.Hour)
				other.merge()
				other.retain()
			}
			if n := one.readings(); n != 1 {
				t.Fatalf("%d readings after retention, want 1", n)
			}
		})
	}
}

// An instance that only writes learns of the floor, and asks once a minute.
func TestFloorIsReadOnceAMinute(t *testing.T) {
	one := newInstance(t, &storetest.Memory{}, noon, 10*days)
	*one.reads = 0
	for range 600 {
		one.now = one.now.Add(time.Second)
		if err := one.send(noon); err != nil {
			t.Fatal(err)
		}
	}
	if *one.reads < 9 || *one.reads > 10 {
		t.Errorf("%d reads of the floor in 10 minutes of appends, want one a minute", *one.reads)
	}
}

// Nor is it read with each append after a clock that was ahead was set right.
func TestFloorIsReadOnceAMinuteByAClockThatWasAhead(t *testing.T) {
	one := newInstance(t, &storetest.Memory{}, noon.Add(time.Hour), 10*days)
	one.now = noon
	*one.reads = 0
	for range 60 {
		one.now = one.now.Add(time.Second)
		if err := one.send(one.now); err != nil {
			t.Fatal(err)
		}
	}
	if *one.reads > 2 {
		t.Errorf("%d reads of the floor in a minute of appends", *one.reads)
	}
}

// An announcement by a clock that was far ahead does not hold the floor up.
func TestFloorAfterAnAnnouncementOfTheFuture(t *testing.T) {
	memory := &storetest.Memory{}
	one := newInstance(t, memory, noon, 10*days)
	mad := newInstance(t, memory, noon.AddDate(1, 0, 0), 9*days)
	mad.retain()
	before := one.Floor()
	for range 4 {
		one.now = one.now.Add(time.Hour)
		one.merge()
		one.retain()
	}
	status, err := one.Status(t.Context())
	if err != nil || status.Floor <= before {
		t.Errorf("the floor stays at %s: %v", clockText(status.Floor), err)
	}
}

// A clock that is a year ahead beside one that is right deletes some hours more
// than it should, however often they take turns.
func TestFloorBesideAClockOfTheFuture(t *testing.T) {
	memory := &storetest.Memory{}
	right, mad := newInstance(t, memory, noon, 10*days), newInstance(t, memory, noon.AddDate(1, 0, 0), 10*days)
	if err := right.send(noon.Add(-5 * days)); err != nil {
		t.Fatal(err)
	}
	for range 120 {
		for _, i := range []*instance{right, mad} {
			i.now = i.now.Add(time.Minute)
			i.merge()
			i.retain()
		}
	}
	if n := right.readings(); n != 1 {
		t.Errorf("after two hours a reading of 5 days ago is gone, of 10 that are kept: the floor is %s", clockText(right.Floor()))
	}
}

// Nor is what the floor overtook acknowledged where other readings of the same
// append were refused.
func TestFloorOvertakesWhatIsRefusedInPart(t *testing.T) {
	clock, rows := &clock{noon}, &picky{}
	e := openPicky(t, rows, clock.Now)
	old := reading("a", noon.Add(-5*days), number("x", 1))
	bad := reading("b", noon, number("x", 1))
	old.Stamp, bad.Stamp = 1, 2
	poison := refuseStamps(map[telemetry.Stamp]bool{bad.Stamp: true}, store.ErrInvalid)
	announced := false
	rows.refuses = func(table string, op store.Op) error {
		err := poison(table, op)
		if err != nil && !announced { // the append takes so long that another instance raises the floor
			announced = true
			clock.now = clock.now.Add(time.Hour)
			other := newInstance(t, &rows.Memory, clock.now, 2*days)
			other.retain()
		}
		return err
	}
	err := e.Append(t.Context(), 0, block.FromReadings([]telemetry.Reading{old, bad}))
	var refused *engine.RefusedError
	if !announced || !errors.Is(err, engine.ErrFloor) || errors.As(err, &refused) {
		t.Errorf("announced: %v, error %v", announced, err)
	}
}

// raiseFloorBy raises the floor as an instance does whose retention is shorter:
// it announces, waits, merges, and raises. It returns the time after that.
func raiseFloorBy(t *testing.T, rows store.Rows, now time.Time, retention time.Duration) time.Time {
	t.Helper()
	other := newInstance(t, rows, now, retention)
	other.retain()
	other.now = other.now.Add(10 * time.Minute)
	if err := other.send(other.now); err != nil { // so that an epoch is opened
		t.Fatal(err)
	}
	other.merge()
	_ = other.Retain(t.Context()) // the floor is raised also where no table can be dropped
	if floor := other.Floor(); floor < now.Add(-retention-days).UnixNano() {
		t.Fatalf("the floor is %s", clockText(floor))
	}
	return other.now
}

// undroppable are rows of which no table of leaves is dropped, as where an
// instance died between the rise of the floor and the drop.
type undroppable struct{ *storetest.Memory }

func (undroppable) DropTable(context.Context, string) error { return store.ErrUnavailable }

// What lies below the floor and is still there is not read.
func TestNothingIsReadBelowTheFloor(t *testing.T) {
	rows := undroppable{&storetest.Memory{}}
	one := newInstance(t, rows, noon, 10*days)
	if err := one.send(noon.Add(-5 * days)); err != nil {
		t.Fatal(err)
	}
	one.merge()
	if n := one.readings(); n != 1 {
		t.Fatalf("%d readings, want 1", n)
	}
	one.now = raiseFloorBy(t, rows, noon, 2*days)
	if n := one.readings(); n != 1 {
		t.Errorf("%d readings, want only the one above the floor", n)
	}
}

// What is in the journal below the floor, which rose while it was appended, is
// not merged: no table is made for it.
func TestNothingIsMadeBelowTheFloor(t *testing.T) {
	clock, rows := &clock{noon}, &picky{}
	e := openPicky(t, rows, clock.Now)
	old := reading("a", noon.Add(-5*days), number("x", 1))
	old.Stamp = 1
	raised := false
	rows.refuses = func(table string, op store.Op) error {
		if entryOf(table, op) != nil && !raised {
			raised = true
			clock.now = raiseFloorBy(t, &rows.Memory, noon.Add(time.Hour), 2*days)
		}
		return nil
	}
	if err := e.Append(t.Context(), 0, block.FromReadings([]telemetry.Reading{old})); !raised || !errors.Is(err, engine.ErrFloor) {
		t.Fatalf("raised: %v, error %v", raised, err)
	}
	clock.now = clock.now.Add(time.Minute)
	if merged, err := e.MergeShard(t.Context(), 0); err != nil || merged == 0 {
		t.Fatalf("%d entries merged: %v", merged, err)
	}
	table := "sluiceleaves" + time.Unix(0, old.Time).UTC().Format("20060102")
	if names, _, err := rows.Tables(t.Context(), table, ""); err != nil || len(names) != 0 {
		t.Errorf("made %q: %v", names, err)
	}
}
