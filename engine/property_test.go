package engine_test

import (
	"flag"
	"os"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestProperty holds answers against an oracle while writers, compactors,
// readers, retention and deletions run interleaved call by call, over a store
// that fails. SLUICE_PROPERTY_CASES sets the number of cases of each journal.
func TestProperty(t *testing.T) {
	total := &counts{}
	for _, c := range []struct {
		journal string
		share   int // of the cases, one in
	}{{embedded, 1}, {fencedOnMemory, 1}, {fencedOnPebble, 10}} {
		t.Run(c.journal, func(t *testing.T) { property(t, c.journal, max(cases(200)/c.share, 10), total) })
	}
	if t.Failed() {
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
	c.steps += w.step
	return w.failure
}

func (s *sim) close() {
	for _, a := range s.actors {
		a.crash()
	}
	s.disk.close()
}
