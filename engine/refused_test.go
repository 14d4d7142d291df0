package engine_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sluice/engine"
	"sluice/store"
	"sluice/store/fenced"
	"sluice/store/storetest"
	"sluice/telemetry"
	"sluice/telemetry/block"
)

// picky are rows that take everything but what a test chooses, as a service does
// whose limits nobody knows.
type picky struct {
	storetest.Memory
	refuses func(table string, op store.Op) error // nil error: it takes it
	commits int
}

func (p *picky) Commit(ctx context.Context, table, partition string, ops []store.Op) error {
	p.commits++
	for i, op := range ops {
		if p.refuses == nil {
			break
		}
		if err := p.refuses(table, op); err != nil {
			return &store.OpError{Index: i, Err: err}
		}
	}
	return p.Memory.Commit(ctx, table, partition, ops)
}

func openPicky(t testing.TB, rows *picky, now func() time.Time) *engine.Engine {
	t.Helper()
	e, err := engine.Open(t.Context(), engine.Config{
		Accounts: []store.Rows{rows}, Shards: 1, Buckets: 4, Now: now, NewID: func() string { return "picky" },
		Journal: func(rows func(int) store.Rows) (store.Journal, error) {
			return fenced.New(rows, fenced.Options{Now: now, Sleep: func(context.Context, time.Duration) error { return nil }})
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// entryOf decodes a journal's row, nil for others.
func entryOf(table string, op store.Op) []block.Device {
	if !strings.HasPrefix(table, "sluicejournal") || strings.HasPrefix(op.Key, "!") {
		return nil
	}
	var data []byte
	for _, p := range op.Properties {
		if b, ok := p.Value.([]byte); ok {
			data = append(data, b...)
		}
	}
	devices, err := block.Decode(data)
	if err != nil {
		panic(err)
	}
	return devices
}

// refuseStamps refuses journal rows that hold a reading of some stamps.
func refuseStamps(poison map[telemetry.Stamp]bool, err error) func(string, store.Op) error {
	return func(table string, op store.Op) error {
		for _, d := range entryOf(table, op) {
			if slices.ContainsFunc(d.Readings.Stamps, func(s telemetry.Stamp) bool { return poison[s] }) ||
				slices.ContainsFunc(d.Tags, func(c block.TagChange) bool { return poison[c.Stamp] }) {
				return err
			}
		}
		return nil
	}
}

func noonNow() time.Time { return noon }

// Of a flush the readings that the store refuses for good are refused, and all
// others are durable, whoever's they are; not too many transactions are sent.
func TestRefusedReadingsAreAlone(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		rows := &picky{}
		e := openPicky(t, rows, noonNow)
		n := rapid.IntRange(1, 60).Draw(rt, "readings")
		poison := map[telemetry.Stamp]bool{}
		var readings []telemetry.Reading
		for i := range n {
			r := telemetry.Reading{
				Device: fmt.Sprint("d", rapid.IntRange(0, 9).Draw(rt, "device")), Time: noon.Add(time.Duration(i%20) * time.Second).UnixNano(),
				Stamp: telemetry.Stamp(i + 1), Metrics: []telemetry.Metric{number("x", float64(i))},
			}
			if rapid.IntRange(0, 9).Draw(rt, "tags") == 0 {
				r.Tags = []telemetry.Tag{{Key: "site", Value: "oslo"}}
			}
			if rapid.IntRange(0, 14).Draw(rt, "poison") == 0 {
				poison[r.Stamp] = true
			}
			readings = append(readings, r)
		}
		why := rapid.SampledFrom([]error{store.ErrInvalid, store.ErrTooLarge}).Draw(rt, "why")
		rows.refuses, rows.commits = refuseStamps(poison, why), 0
		err := e.Append(t.Context(), 0, block.FromReadings(readings))
		var refused *engine.RefusedError
		if len(poison) == 0 && err != nil || len(poison) > 0 && !errors.As(err, &refused) {
			rt.Fatalf("%d poisonous readings: %v", len(poison), err)
		}
		if most := 8 + 30*len(poison); rows.commits > most {
			rt.Fatalf("%d transactions for %d poisonous readings of %d, want at most %d", rows.commits, len(poison), n, most)
		}
		shown := stampsOf(rt, e)
		for _, r := range readings {
			if refused != nil && refused.Refused(r.Device, r.Stamp) != poison[r.Stamp] {
				rt.Fatalf("reading %d refused: %v", r.Stamp, !poison[r.Stamp])
			}
			newest := !slices.ContainsFunc(readings, func(o telemetry.Reading) bool {
				return o.Device == r.Device && o.Time == r.Time && o.Stamp > r.Stamp && !poison[o.Stamp]
			})
			if !poison[r.Stamp] && newest && !shown[r.Stamp] || poison[r.Stamp] && shown[r.Stamp] {
				rt.Fatalf("reading %d shown: %v", r.Stamp, shown[r.Stamp])
			}
		}
	})
}

type fataler interface {
	Context() context.Context
	Fatal(args ...any)
}

func stampsOf(t fataler, e *engine.Engine) map[telemetry.Stamp]bool {
	shown := map[telemetry.Stamp]bool{}
	for i := range 10 {
		err := e.View().Read(t.Context(), fmt.Sprint("d", i), all, func(f *block.Frame) error {
			for _, s := range f.Stamps {
				shown[s] = true
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return shown
}

// What is refused only because it is large is cut, and nothing is refused.
func TestLargeRowsThatAreRefusedAreCut(t *testing.T) {
	rows := &picky{}
	e := openPicky(t, rows, noonNow)
	rows.refuses = func(table string, op store.Op) error {
		n := 0
		for _, d := range entryOf(table, op) {
			n += d.Readings.Len()
		}
		if n > 3 {
			return store.ErrTooLarge
		}
		return nil
	}
	var readings []telemetry.Reading
	for i := range 40 {
		r := reading(fmt.Sprint("d", i%10), noon.Add(time.Duration(i)*time.Second), number("x", 1))
		r.Stamp = telemetry.Stamp(i + 1)
		readings = append(readings, r)
	}
	if err := e.Append(t.Context(), 0, block.FromReadings(readings)); err != nil {
		t.Fatal(err)
	}
	if shown := stampsOf(t, e); len(shown) != 40 {
		t.Errorf("%d of 40 readings are there", len(shown))
	}
}

// Where everything is refused it is not the readings' fault: nobody is told not
// to send them again.
func TestStoreThatRefusesEverything(t *testing.T) {
	for name, refuses := range map[string]func(string, store.Op) error{
		"every transaction": func(table string, _ store.Op) error {
			if strings.HasPrefix(table, "sluicejournal") {
				return store.ErrInvalid
			}
			return nil
		},
		"every row of a block": func(table string, op store.Op) error {
			if entryOf(table, op) != nil {
				return store.ErrInvalid
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			rows := &picky{}
			e := openPicky(t, rows, noonNow)
			if err := appendOne(t.Context(), e, "d0"); err != nil { // the epoch is open
				t.Fatal(err)
			}
			rows.refuses, rows.commits = refuses, 0
			var readings []telemetry.Reading
			for i := range 2000 {
				r := reading(fmt.Sprint("d", i%100), noon.Add(time.Duration(i)*time.Second), number("x", 1))
				r.Stamp = telemetry.Stamp(i + 1)
				readings = append(readings, r)
			}
			err := e.Append(t.Context(), 0, block.FromReadings(readings))
			var refused *engine.RefusedError
			if errors.As(err, &refused) || !errors.Is(err, store.ErrInvalid) {
				t.Errorf("%v", err)
			}
			if rows.commits > 1000 {
				t.Errorf("%d transactions", rows.commits)
			}
		})
	}
}

// A device whose leaf, or entry in the list, is refused for good stays readable,
// holds up nobody, and is merged once its rows are taken.
func TestDeviceThatCannotBeMerged(t *testing.T) {
	leaf := func(table string, op store.Op) error {
		if strings.HasPrefix(table, "sluiceleaves") && strings.HasSuffix(op.Key, "!d3") {
			return store.ErrTooLarge
		}
		return nil
	}
	for name, refuses := range map[string]func(string, store.Op) error{
		"leaf": leaf,
		"leaf, and block of all that there is of the device": func(table string, op store.Op) error {
			for _, d := range entryOf(table, op) {
				if d.Readings.Len() > 2 {
					return store.ErrTooLarge
				}
			}
			return leaf(table, op)
		},
		"list": func(table string, op store.Op) error {
			if table == engine.ListTable {
				_, _, entries, err := engine.DecodeStoredPage(store.Row{Key: op.Key, Properties: op.Properties})
				if err != nil || slices.ContainsFunc(entries, func(e engine.StoredEntry) bool { return e.ID == "d3" }) {
					return store.ErrInvalid
				}
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			clock, rows := &clock{noon}, &picky{refuses: refuses}
			e := openPicky(t, rows, clock.Now)
			stamp := telemetry.Stamp(0)
			send := func() {
				var readings []telemetry.Reading
				for i := range 10 {
					stamp++
					r := reading(fmt.Sprint("d", i), noon.Add(time.Duration(stamp)*time.Second), number("x", 1))
					r.Stamp = stamp
					readings = append(readings, r)
				}
				if err := e.Append(t.Context(), 0, block.FromReadings(readings)); err != nil {
					t.Fatal(err)
				}
			}
			for round := range 5 {
				send()
				clock.now = clock.now.Add(time.Minute)
				if err := e.Compact(t.Context()); err != nil {
					t.Fatal(err)
				}
				if n := len(stampsOf(t, e)); n != int(stamp) {
					t.Fatalf("round %d: %d of %d readings are shown", round, n, stamp)
				}
				status, err := e.Status(t.Context())
				if err != nil || status.Shards[0].Epochs != 1 || status.Shards[0].Carried != 1 {
					t.Fatalf("round %d: %+v %v", round, status.Shards, err)
				}
				for i := range 10 {
					id := fmt.Sprint("d", i)
					if _, unmerged, err := e.View().Unmerged(t.Context(), id); err != nil || unmerged != (id == "d3") {
						t.Fatalf("round %d: %s unmerged: %v %v", round, id, unmerged, err)
					}
				}
			}
			rows.refuses = nil
			clock.now = clock.now.Add(time.Minute)
			if err := e.Compact(t.Context()); err != nil {
				t.Fatal(err)
			}
			_, unmerged, err := e.View().Unmerged(t.Context(), "d3")
			if n := len(stampsOf(t, e)); err != nil || unmerged || n != int(stamp) {
				t.Errorf("once it is taken: unmerged %v, %d of %d readings, %v", unmerged, n, stamp, err)
			}
		})
	}
}
