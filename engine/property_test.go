package engine_test

import (
	"errors"
	"flag"
	"os"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sluice/engine"
)

// TestProperty holds answers against an oracle while writers, compactors,
// readers, retention and deletions run interleaved call by call, over a store
// that fails. SLUICE_PROPERTY_CASES sets the number of cases of each journal.
func TestProperty(t *testing.T) {
	total, ran := &counts{}, 0
	for _, c := range []struct {
		journal string
		share   int // of the cases, one in
	}{{embedded, 1}, {fencedOnMemory, 1}, {fencedOnPebble, 10}} {
		t.Run(c.journal, func(t *testing.T) {
			ran++
			property(t, c.journal, max(cases(200)/c.share, 10), total)
		})
	}
	if t.Failed() || ran < 3 {
		return
	}
	text, zero := total.table()
	t.Logf("what happened:\n%s", text)
	if len(zero) > 0 {
		t.Errorf("these never happened, so that the test says less than it should: %v", zero)
	}
}

func cases(otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv("SLUICE_PROPERTY_CASES")); err == nil && n > 0 {
		return n
	}
	return otherwise
}

func property(t *testing.T, journal string, cases int, total *counts) {
	setFlag(t, "rapid.checks", strconv.Itoa(cases))
	setFlag(t, "rapid.nofailfile", "true")
	begun := time.Now()
	rapid.Check(t, func(t *rapid.T) {
		d := rapidDice{t}
		p := plan{at: 1 + d.pick(400), kind: fault(d.pick(int(faults))), bits: []int{0, 6, 4, 3}[d.pick(4)]}
		if err := live(d, t.Logf, total, drawSetup(d, journal), p, 150+d.pick(500)); err != nil {
			t.Fatal(err)
		}
	})
	t.Logf("%d cases in %v", cases, time.Since(begun).Round(time.Millisecond))
}

func setFlag(t *testing.T, name, value string) {
	t.Helper()
	f := flag.Lookup(name)
	old := f.Value.String()
	if err := f.Value.Set(value); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Value.Set(old) })
}

// TestEveryCall runs small worlds once without a fault, and then again and
// again, with a fault at every call of the store in turn. SLUICE_PROPERTY_CASES
// makes it 100 worlds, with every kind of fault at every call.
func TestEveryCall(t *testing.T) {
	worlds, total := 2, &counts{}
	all := cases(0) > 0
	if all {
		worlds = 100
	}
	runs := 0
	for seed := range worlds {
		journal := []string{embedded, fencedOnMemory}[seed%2]
		calls := everyCall(t, journal, seed, plan{}, total)
		for at := 1; at <= calls; at++ {
			for kind := range faults {
				if all || int(kind) == (at+seed)%int(faults) {
					everyCall(t, journal, seed, plan{at: at, kind: kind}, total)
					runs++
				}
			}
			if t.Failed() {
				return
			}
		}
	}
	t.Logf("%d worlds, %d runs with a fault", worlds, runs)
}

// everyCall returns how many calls there were.
func everyCall(t *testing.T, journal string, seed int, p plan, total *counts) int {
	t.Helper()
	before := total.calls
	d := newSeededDice(uint64(seed))
	if err := live(d, discard, total, drawSetup(d, journal), p, 80); err != nil {
		t.Errorf("%s, seed %d, %v at call %d: %v", journal, seed, p.kind, p.at, err)
	}
	return total.calls - before
}

func discard(string, ...any) {}

// TestLostEpoch damages a store: an epoch that is gone and that the head still
// names is no empty one.
func TestLostEpoch(t *testing.T) {
	w, err := newSim(newSeededDice(1), discard, &counts{}, setup{journal: fencedOnMemory, accounts: 1, shards: 2, buckets: 1, fences: 1, metrics: 1, days: 1, slots: 3}, plan{})
	if err != nil {
		t.Fatal(err)
	}
	e, err := engine.Open(t.Context(), w.processes[0].config())
	if err != nil {
		t.Fatal(err)
	}
	o := w.newOp(w.processes[0])
	if err := e.Append(t.Context(), o.shard, o.devices); err != nil {
		t.Fatal(err)
	}
	tables, _, err := w.disk.raw[0].Tables(t.Context(), "sluicejournal", "")
	if err != nil || len(tables) != 1 {
		t.Fatalf("tables of the journal: %v %v", tables, err)
	}
	if err := w.disk.raw[0].DropTable(t.Context(), tables[0]); err != nil {
		t.Fatal(err)
	}
	if _, _, err := e.View().Device(t.Context(), o.devices[0].ID); !errors.Is(err, engine.ErrCorrupt) {
		t.Errorf("a device whose epoch was lost: %v", err)
	}
}

// live runs one world from its beginning to its rest.
func live(d dice, logf func(string, ...any), c *counts, s setup, p plan, steps int) error {
	w, err := newSim(d, logf, c, s, p)
	if err != nil {
		return err
	}
	defer w.close()
	logf("%+v", s)
	w.run(steps)
	if w.failure == nil {
		w.rest()
	}
	c.steps, c.calls = c.steps+w.step, c.calls+w.calls
	return w.failure
}

func (s *sim) close() {
	for _, a := range s.actors {
		a.crash()
	}
	s.disk.close()
}
