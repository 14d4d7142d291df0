package engine

import (
	"math/rand/v2"
	"testing"
	"time"
)

// Whatever the clocks and settings of those who raise it, neither the floor nor
// what is announced ever falls, and the floor never passes what was announced.
func TestFloorRowOnlyRises(t *testing.T) {
	dice := rand.New(rand.NewPCG(1, 1))
	start := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC).UnixNano()
	rises := 0
	for range 200 {
		f := floorRow{floor: oldestFloor, trusted: start, seen: start}
		now := start
		for range 100 {
			now += dice.Int64N(int64(6*time.Hour)) - int64(time.Hour)
			clock := now + (dice.Int64N(3)-1)*dice.Int64N(int64(60*24*time.Hour))
			oldest := now - dice.Int64N(int64(2*time.Hour))
			next := f.next(clock, oldest, queue{}, time.Duration(dice.Int64N(4))*24*time.Hour)
			if next.floor < f.floor || next.announced < f.announced || next.floor > next.accepts() || next.trusted < f.trusted-2*int64(floorGap) {
				t.Fatalf("%+v after %+v", next, f)
			}
			if next.floor > f.floor {
				rises++
			}
			f = next
		}
	}
	if rises < 500 {
		t.Errorf("the floor rose %d times only", rises)
	}
}

// A clock that went back is told where the store had come to at every start, not
// only at the first one; one that was ahead by more than a day is forgotten.
func TestFloorRowKnowsTheLatest(t *testing.T) {
	noon := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC).UnixNano()
	hours := func(n int64) int64 { return noon + n*int64(time.Hour) }
	f := floorRow{floor: oldestFloor, trusted: noon, seen: noon, latest: noon}
	for _, step := range []struct{ now, latest int64 }{
		{hours(-2), noon}, {hours(-1), noon}, {hours(1), hours(1)}, {hours(-20), hours(1)}, {hours(24 * 365), hours(24 * 365)}, {hours(2), hours(2)},
	} {
		if f = f.next(step.now, 0, queue{}, 0); f.latest != step.latest || f.seen != step.now {
			t.Errorf("at %v: latest %v, want %v", time.Unix(0, step.now).UTC(), time.Unix(0, f.latest).UTC(), time.Unix(0, step.latest).UTC())
		}
	}
}

// A hub that is consumed up to next year, by somebody's clock, is not consumed up to
// what is announced only now.
func TestFloorRowBesideAClockOfTheFuture(t *testing.T) {
	noon := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC).UnixNano()
	minutes := func(n int64) int64 { return noon + n*int64(time.Minute) }
	f := floorRow{floor: oldestFloor, trusted: noon, seen: noon, latest: noon}
	ahead := queue{any: true, upTo: noon + 365*nanosPerDay}
	for _, step := range []struct {
		now, oldest int64
		drained     bool
		risen       bool
	}{
		{noon, noon, false, false}, {minutes(5), minutes(4), false, false}, {minutes(6), minutes(5), true, false},
		{minutes(11), minutes(11), true, false}, {minutes(12), minutes(12), true, true},
	} {
		f = f.next(step.now, step.oldest, ahead, 48*time.Hour)
		if (f.drained != 0) != step.drained || (f.floor > oldestFloor) != step.risen {
			t.Errorf("%v after noon: %+v", time.Duration(step.now-noon), f)
		}
	}
}
