package ingest

import (
	"fmt"
	"testing"

	"sluice/telemetry"
)

func named(device string, names ...string) *telemetry.Reading {
	r := &telemetry.Reading{Device: device}
	for _, n := range names {
		r.Metrics = append(r.Metrics, telemetry.Metric{Name: n, Value: telemetry.FloatValue(1)})
	}
	return r
}

func TestNamesOfADevice(t *testing.T) {
	b := newNameBound(3)
	for i, c := range []struct {
		reading *telemetry.Reading
		taken   bool
	}{
		{named("a", "x", "y"), true},
		{named("a", "y", "x"), true},
		{named("a", "z", "w"), false}, // 4 in all: none of them is learnt
		{named("a", "w"), true},
		{named("a", "z"), false},
		{named("a", "w", "x", "y"), true},
		{named("b", "z"), true},
		{named("a"), true},
		{named("c", "1", "2", "3", "4"), false},
	} {
		if got := b.check(c.reading) == nil; got != c.taken {
			t.Errorf("reading %d: taken %v", i, got)
		}
	}
}

// However many devices come, what is remembered is bounded; a device that keeps
// coming is not forgotten.
func TestNamesAreForgottenInTime(t *testing.T) {
	b := newNameBound(2)
	b.check(named("loyal", "x", "y"))
	for i := range 4 * stripes * stripeBudget / deviceCost {
		b.check(named(fmt.Sprintf("d%d", i), "x", "y"))
		if i%1000 == 0 && b.check(named("loyal", "z")) == nil {
			t.Fatalf("device forgotten after %d others", i)
		}
	}
	for i := range b.stripes {
		s := &b.stripes[i]
		if most := stripeBudget/deviceCost + 1; len(s.young) > most || len(s.old) > most {
			t.Errorf("stripe remembers %d and %d devices", len(s.young), len(s.old))
		}
	}
}
