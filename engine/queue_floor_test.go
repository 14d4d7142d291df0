package engine_test

import (
	"context"
	"errors"
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

// behind is an instance behind a hub of which a test says how far it is consumed.
func behind(t *testing.T, memory store.Rows, now time.Time, retention time.Duration, consumed func(context.Context) (time.Time, error)) *instance {
	t.Helper()
	i := &instance{clock: &clock{now}, t: t}
	var err error
	i.Engine, err = engine.Open(t.Context(), engine.Config{
		Accounts: []store.Rows{memory}, Shards: 1, Now: i.Now, NewID: func() string { return "floor" }, Retention: retention, Consumed: consumed,
		Journal: func(rows func(int) store.Rows) (store.Journal, error) {
			return fenced.New(rows, fenced.Options{Now: i.Now})
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func (i *instance) queued(at time.Time) error {
	r := reading("a", at, number("x", 1))
	r.Stamp = telemetry.Stamp(i.now.UnixNano())
	return i.AppendQueued(i.t.Context(), 0, block.FromReadings([]telemetry.Reading{r}))
}

// round is what the timer does, and what keeps epochs coming.
func (i *instance) round() {
	i.t.Helper()
	if err := i.send(i.now); err != nil {
		i.t.Fatal(err)
	}
	i.merge()
	i.retain()
}

// What waits in the hub when a rise is announced is taken days later, and is there
// until the floor follows, which it does soon after.
func TestFloorWaitsForTheHub(t *testing.T) {
	var upTo time.Time
	var away error
	memory := &storetest.Memory{}
	one := behind(t, memory, noon, 10*days, func(ctx context.Context) (time.Time, error) {
		if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) > 10*time.Second {
			t.Error("the hub is asked without a deadline")
		}
		return upTo, away
	})
	waits := noon.Add(-10 * days) // acceptable until midnight
	before := one.Floor()
	rounds := func(hours int) {
		t.Helper()
		for range hours {
			one.now = one.now.Add(time.Hour)
			one.round()
		}
	}
	rounds(13)
	announced := one.Floor()
	if announced <= waits.UnixNano() || storedFloor(memory) != before {
		t.Fatalf("announced is %s, the floor %s", clockText(announced), clockText(storedFloor(memory)))
	}
	for _, c := range []struct {
		name  string
		upTo  time.Time
		err   error
		hours int
	}{
		{"consumed as far as before the announcement", noon.Add(11 * time.Hour), nil, 3},
		{"nobody knows", noon.Add(20 * time.Hour), store.ErrUnavailable, 5},
		{"consumed as far as some minutes after the announcement", noon.Add(12*time.Hour + 5*time.Minute), nil, 2},
	} {
		upTo, away = c.upTo, c.err
		rounds(c.hours)
		if floor := storedFloor(memory); floor != before {
			t.Fatalf("%s: the floor is %s", c.name, clockText(floor))
		}
	}
	if err := one.send(waits); !errors.Is(err, engine.ErrFloor) {
		t.Errorf("accepted below what is announced: %v", err)
	}
	if err := one.queued(waits); err != nil {
		t.Fatalf("what waited in the hub: %v", err)
	}
	upTo, away = one.now, nil
	one.retain() // the hub is drained, the journal is not
	if n := one.readings(); n != 25-1 {
		t.Errorf("%d readings, want 24", n)
	}
	if floor := storedFloor(memory); floor != before {
		t.Fatalf("the floor is %s as soon as the hub is drained", clockText(floor))
	}
	rounds(3)
	if floor := storedFloor(memory); floor != announced {
		t.Errorf("the floor is %s, want %s", clockText(floor), clockText(announced))
	}
	var below *engine.FloorError
	if err := one.queued(waits); !errors.As(err, &below) || below.Floor != announced || !errors.Is(err, engine.ErrFloor) {
		t.Errorf("below the floor: %v", err)
	}
}

// The question how far the hub is consumed may take long: what is consumed meanwhile
// lies in epochs that are opened meanwhile, and they are waited for.
func TestFloorIsDrainedAfterTheQuestion(t *testing.T) {
	memory := &storetest.Memory{}
	waits := noon.Add(-10 * days)
	var one, other *instance
	slow := false
	consumed := func(context.Context) (time.Time, error) {
		if !slow {
			return time.Time{}, nil
		}
		slow = false
		one.now = one.now.Add(10 * time.Minute)
		other.now = one.now
		if err := other.send(other.now); err != nil {
			t.Error(err)
		}
		other.merge() // opens an epoch
		if err := other.queued(waits); err != nil {
			t.Error(err)
		}
		return one.now, nil
	}
	one = behind(t, memory, noon, 10*days, consumed)
	other = behind(t, memory, noon, 10*days, consumed)
	for range 13 {
		one.now = one.now.Add(time.Hour)
		one.round()
	}
	before := storedFloor(memory)
	if one.Floor() == before {
		t.Fatal("nothing is announced")
	}
	slow = true
	one.retain()
	one.retain()
	if floor := storedFloor(memory); slow || floor != before {
		t.Errorf("the floor passes what is not merged: %s", clockText(floor))
	}
}

// The floor that counts for what waited in the hub is the one of now, not of the
// last minute; and the row is read again in good time.
func TestQueuedIsHeldAgainstTheRow(t *testing.T) {
	for _, age := range []time.Duration{0, 2 * time.Minute} {
		memory := &storetest.Memory{}
		one := behind(t, memory, noon, 10*days, nil)
		now := raiseFloorBy(t, memory, noon, 2*days)
		if age == 0 { // it knows of the announcement, and no more
			fresh := &storetest.Memory{}
			one = behind(t, fresh, noon, 10*days, nil)
			other := newInstance(t, fresh, noon, 2*days)
			other.retain()
			one.now = noon.Add(10 * time.Minute)
			if err := one.RefreshFloor(t.Context()); err != nil {
				t.Fatal(err)
			}
			raiseFloorBy(t, fresh, noon, 2*days)
			one.now = one.now.Add(30 * time.Second)
		} else {
			one.now = now.Add(age)
		}
		if err := one.queued(noon.Add(-5 * days)); !errors.Is(err, engine.ErrFloor) {
			t.Errorf("%v after it read the floor: %v", age, err)
		}
	}
}

// A shard may begin its first epoch while retention looks for the oldest one.
func TestFloorWaitsForAFirstEpoch(t *testing.T) {
	memory := &storetest.Memory{}
	writer := newInstance(t, memory, noon, 10*days)
	raising := false
	var raiser *instance
	rows := storetest.NewFaultyRows(memory, func(c storetest.Call) storetest.Verdict {
		if raising && c.Method == "Get" && c.Key == engine.FloorKey { // the heads are read
			raising = false
			other := newInstance(t, memory, noon.Add(time.Second), 2*days)
			other.retain()
			if err := writer.send(noon.Add(-5 * days)); err != nil { // it does not know yet
				t.Error(err)
			}
			raiser.now = raiser.now.Add(10 * time.Minute)
		}
		return storetest.Pass()
	})
	raiser = behind(t, rows, noon, 10*days, nil)
	raising = true
	raiser.retain()
	if floor := storedFloor(memory); raising || floor > noon.Add(-5*days).UnixNano() {
		t.Errorf("the floor passes what is not merged: %s", clockText(floor))
	}
}

// An instance whose settings lack the hub lets the floor wait while others have it,
// and for a day after.
func TestFloorWaitsForTheHubOfOthers(t *testing.T) {
	memory := &storetest.Memory{}
	with := behind(t, memory, noon, 10*days, func(context.Context) (time.Time, error) { return time.Time{}, nil })
	without := behind(t, memory, noon, 10*days, nil)
	with.round()
	before := storedFloor(memory)
	for hour := range 60 {
		without.now = without.now.Add(time.Hour)
		without.round()
		if floor := storedFloor(memory); hour < 23 && floor != before {
			t.Fatalf("the floor is %s after %d hours", clockText(floor), hour+1)
		}
	}
	if storedFloor(memory) == before {
		t.Error("the floor waits for a hub that nobody has had for days")
	}
}

// A row of an older version is read, and what an older version writes only makes
// the floor wait anew.
func TestFloorRowOfAnOlderVersion(t *testing.T) {
	memory := &storetest.Memory{}
	var upTo time.Time
	one := behind(t, memory, noon, 10*days, func(context.Context) (time.Time, error) { return upTo, nil })
	before := one.Floor()
	older := func() { // what it knows of the row
		row, err := memory.Get(t.Context(), engine.ConfigTable, "config", engine.FloorKey)
		if err != nil {
			t.Fatal(err)
		}
		properties := slices.DeleteFunc(row.Properties, func(p store.Property) bool { return p.Name == "drained" || p.Name == "queued" })
		op := store.Op{Kind: store.Replace, Key: engine.FloorKey, IfMatch: row.ETag, Properties: properties}
		if err := memory.Commit(t.Context(), engine.ConfigTable, "config", []store.Op{op}); err != nil {
			t.Fatal(err)
		}
	}
	for range 20 {
		older()
		one.now = one.now.Add(time.Hour)
		one.round()
	}
	if storedFloor(memory) != before {
		t.Fatal("the floor does not wait")
	}
	upTo = one.now
	one.retain() // drained
	older()
	one.now = one.now.Add(time.Hour)
	one.merge()
	one.retain()
	if storedFloor(memory) != before {
		t.Fatal("the floor follows what the row does not say")
	}
	for range 3 {
		one.now = one.now.Add(time.Hour)
		one.round()
	}
	if storedFloor(memory) == before {
		t.Error("the floor stays")
	}
}

// What is refused in part, or overtaken, is told of what waited in the hub too.
func TestQueuedThatIsOvertaken(t *testing.T) {
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
	if err := e.AppendQueued(t.Context(), 0, block.FromReadings([]telemetry.Reading{old})); !raised || !errors.Is(err, engine.ErrFloor) {
		t.Fatalf("raised: %v, error %v", raised, err)
	}
}
