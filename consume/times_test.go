package consume_test

import (
	"strings"
	"testing"
	"time"

	"sluice/consume"
	"sluice/hub"
)

// A time that no hub can have given keeps no partition, is not taken for how far
// it is, and does not make the hub another one.
func TestBrokenTimes(t *testing.T) {
	for name, c := range map[string]struct {
		at     time.Time
		buried string // the second event, if a device sent it
	}{
		"none":                  {time.Time{}, "1 corrupt_event 1"},
		"before nanoseconds":    {time.Date(1601, 1, 1, 0, 0, 0, 0, time.UTC), "1 corrupt_event 1"},
		"before all hubs":       {time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC), "1 corrupt_event 1"},
		"after nanoseconds":     {time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), "1 corrupt_event 1"},
		"more than JSON writes": {time.Date(20000, 1, 1, 0, 0, 0, 0, time.UTC), "1 corrupt_event 1"},
		"in two days":           {noon.Add(48 * time.Hour), ""},
	} {
		for _, own := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				w := newWorld(t, options{retention: 30 * 24 * time.Hour})
				events := numbered(0, 5)
				if own {
					events[1], c.buried = ours(t, 1, reading("a", noon.Add(time.Second), 1, 1)), ""
				}
				events[1].Enqueued = c.at
				w.hub.send(events...)
				w.now = noon.Add(time.Minute)
				w.take(events[0])
				w.take(events[1])
				equal(t, "buried", w.buried(), c.buried)
				if p := w.at(); p.Sequence != 1 || !p.Enqueued.Equal(noon) {
					t.Errorf("%+v", p)
				}
				if upTo, err := consume.NewFrontier(w.hub, w.progress, func() time.Time { return w.now }).Consumed(t.Context()); err != nil || upTo.After(noon) {
					t.Errorf("consumed up to %v, %v", upTo, err)
				}
				w.take(events[1]) // comes again, alone
				w.take(events[4:]...)
				w.take(events...)
				if p := w.at(); p.Sequence != 5 || p.Generation != 0 || p.Lost != 0 || !p.Enqueued.Equal(events[5].Enqueued) {
					t.Errorf("%+v", p)
				}
				equal(t, "buried", w.buried(), c.buried)
				want := len(events) - strings.Count(c.buried, "corrupt")
				if got := strings.Count(w.readings(), "x="); got != want {
					t.Errorf("%d readings, want %d:\n%s", got, want, w.readings())
				}
				for _, l := range w.list() {
					if v, err := w.consumer.Replay(t.Context(), l); err != nil || v.Rejected != 1 {
						t.Errorf("replay: %+v, %v", v, err)
					}
				}
			})
		}
	}
}

// A partition all of whose events have such times is consumed, too.
func TestNothingButBrokenTimes(t *testing.T) {
	w := newWorld(t, options{})
	events := numbered(0, 3)
	for i := range events {
		events[i].Enqueued = time.Date(2300, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	w.hub.send(events...)
	for _, call := range [][]hub.Event{events[:1], events[3:], events} {
		w.take(call...)
	}
	if p := w.at(); p.Sequence != 3 || p.Generation != 0 || !p.Enqueued.IsZero() {
		t.Errorf("%+v", p)
	}
	if n := len(w.list()); n != 4 {
		t.Errorf("%d dead letters", n)
	}
}
