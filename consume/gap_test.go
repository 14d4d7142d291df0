package consume_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/consume"
	"sluice/hub"
	"sluice/store/storetest"
)

// numbered are events from first on, each a reading of its own.
func numbered(first, last int64) (events []hub.Event) {
	for n := first; n <= last; n++ {
		events = append(events, foreign(n, fmt.Sprintf(`{"deviceId":"a","metrics":{"x":%d}}`, n)))
	}
	return events
}

// values are the values of all readings.
func (w *world) values() string {
	w.t.Helper()
	var all []string
	for line := range strings.SplitSeq(w.readings(), "\n") {
		if _, x, ok := strings.Cut(line, "x="); ok {
			all = append(all, x)
		}
	}
	return strings.Join(all, " ")
}

// What a call leaves out is reread from the hub first.
func TestGap(t *testing.T) {
	for name, c := range map[string]struct {
		calls  [][2]int64
		reread int
	}{
		"none":                 {[][2]int64{{0, 9}, {10, 19}}, 0},
		"between calls":        {[][2]int64{{0, 4}, {15, 19}}, 10},
		"inside of a call":     {[][2]int64{{0, 2}}, 0},
		"before the first":     {[][2]int64{{12, 19}}, 12},
		"redelivered":          {[][2]int64{{0, 9}, {3, 14}, {2, 5}, {12, 19}}, 0},
		"redelivered, then on": {[][2]int64{{0, 9}, {3, 4}, {17, 19}}, 7},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, options{config: func(c *consume.Config) { c.Page = 3 }})
			all := numbered(0, 19)
			w.hub.send(all...)
			reread := 0
			for _, call := range c.calls {
				reread += w.take(all[call[0] : call[1]+1]...).Reread
			}
			if name == "inside of a call" {
				reread += w.take(all[3], all[7], all[19]).Reread
				c.reread = 14
			}
			equal(t, "values", w.values(), "0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19")
			if p := w.at(); reread != c.reread || p.Sequence != 19 || p.Lost != 0 || p.Until != 0 {
				t.Errorf("%d reread, want %d, %+v", reread, c.reread, p)
			}
		})
	}
}

// Without a hub of its own, a partition that is not known begins where the call
// does, and a gap is an error that says what to do.
func TestGapWithoutHub(t *testing.T) {
	w := newWorld(t, options{config: func(c *consume.Config) { c.Hub = nil }})
	all := numbered(0, 19)
	w.take(all[5:8]...)
	if _, err := w.consumer.Take(t.Context(), "0", all[9:]); err == nil || !strings.Contains(err.Error(), "events 8 to 8 were not given") {
		t.Error(err)
	}
	w.take(all[8:]...)
	equal(t, "values", w.values(), "5 6 7 8 9 10 11 12 13 14 15 16 17 18 19")
}

// What has expired before it was consumed counts as lost, once.
func TestLostToRetention(t *testing.T) {
	w := newWorld(t, options{})
	all := numbered(0, 29)
	w.hub.send(all...)
	w.take(all[:5]...)
	w.hub.expire(12)
	for try := range 2 {
		r := w.take(all[20:]...)
		if lost := []int64{7, 0}[try]; r.Lost != lost {
			t.Errorf("%+v, want %d lost", r, lost)
		}
	}
	equal(t, "values", w.values(), "0 1 2 3 4 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29")
	if p := w.at(); p.Sequence != 29 || p.Lost != 7 {
		t.Errorf("%+v", p)
	}
	// All of a gap.
	w.hub.send(numbered(30, 39)...)
	w.hub.expire(36)
	r := w.take(numbered(36, 39)...)
	if r.Lost != 6 || r.Reread != 0 || w.at().Lost != 13 {
		t.Errorf("%+v, %+v", r, w.at())
	}
}

// Nothing that nobody knew of is lost: a new service begins with what there is.
func TestBeginsWithTheOldest(t *testing.T) {
	w := newWorld(t, options{})
	all := numbered(0, 19)
	w.hub.send(all...)
	w.hub.expire(8)
	r := w.take(all[15:]...)
	if r.Lost != 0 || r.Reread != 7 || w.at().Lost != 0 {
		t.Errorf("%+v", r)
	}
	equal(t, "values", w.values(), "8 9 10 11 12 13 14 15 16 17 18 19")
}

// A hole in a hub that is compacted is passed over; one that the hub says it has
// not is not.
func TestHoles(t *testing.T) {
	w := newWorld(t, options{})
	all := numbered(0, 19)
	w.hub.send(all[:5]...)
	w.hub.send(all[7:9]...)
	w.hub.send(all[12:]...)
	w.take(all[:2]...)
	r := w.take(all[15:]...)
	if r.Lost != 5 || w.at().Sequence != 19 {
		t.Errorf("%+v, %+v", r, w.at())
	}
	silent := newWorld(t, options{})
	silent.hub.send(all...)
	silent.take(all[:2]...)
	silent.hub.events = silent.hub.events[:5] // it lies about the others
	if _, err := silent.consumer.Take(t.Context(), "0", all[15:]); err == nil || silent.at().Sequence != 4 || silent.at().Lost != 0 {
		t.Errorf("%v, %+v", err, silent.at())
	}
}

// A reread that breaks off goes on where it was.
func TestGapGoesOn(t *testing.T) {
	w := newWorld(t, options{config: func(c *consume.Config) { c.Page = 4 }})
	all := numbered(0, 29)
	w.hub.send(all...)
	w.take(all[0])
	w.hub.cut = 8
	want := []int64{7, 14, 21}
	for _, at := range want {
		_, err := w.consumer.Take(t.Context(), "0", all[25:])
		if !errors.Is(err, errCut) || !strings.Contains(err.Error(), "events, goes on at the next try") {
			t.Fatal(err)
		}
		if p := w.at(); p.Sequence != at || p.Until != 25 {
			t.Errorf("%+v, want %d", p, at)
		}
	}
	w.hub.cut = 0
	w.take(all[25:]...)
	if p := w.at(); p.Sequence != 29 || p.Until != 0 {
		t.Errorf("%+v", p)
	}
	if got := strings.Count(w.values(), " ") + 1; got != 30 {
		t.Errorf("%d values", got)
	}
}

// A reread that takes longer than the host's patience ends before that with an
// error, and goes on at the next try.
func TestGapOutlastsACall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, options{config: func(c *consume.Config) { c.Page, c.Deadline = 5, 10*time.Minute }})
		all := numbered(0, 99)
		w.hub.send(all...)
		w.hook = func(c storetest.Call) storetest.Verdict {
			if strings.HasPrefix(c.Table, "sluicejournal") && c.Write { // a slow store
				time.Sleep(45 * time.Second) // less than what is kept of the time
			}
			return storetest.Pass()
		}
		began := time.Now()
		_, err := w.consumer.Take(t.Context(), "0", all[90:])
		if err == nil || !strings.Contains(err.Error(), "of 90 events, goes on at the next try: time is over") {
			t.Error(err)
		}
		if took := time.Since(began); took < 2*time.Minute || took > 5*time.Minute {
			t.Error(took)
		}
		at := w.at().Sequence
		if at < 4 || at > 80 {
			t.Errorf("%+v", w.at())
		}
		tries := 0
		for ; err != nil && tries < 20; tries++ {
			_, err = w.consumer.Take(t.Context(), "0", all[90:])
		}
		if err != nil || tries == 0 || w.at().Sequence != 99 {
			t.Errorf("%v after %d tries, %+v", err, tries, w.at())
		}
		w.hook = nil
		if got := strings.Count(w.values(), " ") + 1; got != 100 {
			t.Errorf("%d values", got)
		}
	})
}

// Hub or store away during a gap: the call fails, and nothing is passed over.
func TestGapNeedsTheHub(t *testing.T) {
	w := newWorld(t, options{})
	all := numbered(0, 19)
	w.hub.send(all...)
	w.hub.err = hub.ErrUnavailable
	if _, err := w.consumer.Take(t.Context(), "0", all[:5]); !errors.Is(err, hub.ErrUnavailable) {
		t.Error("an unknown partition:", err)
	}
	w.hub.err = nil
	w.take(all[:5]...)
	w.hub.err = hub.ErrUnavailable
	w.take(all[5:8]...) // no gap: no hub
	if _, err := w.consumer.Take(t.Context(), "0", all[15:]); !errors.Is(err, hub.ErrUnavailable) || w.at().Sequence != 7 {
		t.Errorf("%v, %+v", err, w.at())
	}
	w.hub.err = nil
	w.take(all[15:]...)
	if w.at().Sequence != 19 || w.at().Lost != 0 {
		t.Errorf("%+v", w.at())
	}
}

// older are events of a hub that was made anew, so much later.
func renewed(first, last int64, later time.Duration) []hub.Event {
	events := numbered(first, last)
	for i := range events {
		events[i].Enqueued = events[i].Enqueued.Add(later)
		events[i].Body = fmt.Appendf(nil, `{"deviceId":"b","metrics":{"x":%d}}`, first+int64(i))
	}
	return events
}

// A hub that was made anew is consumed from its beginning, wherever it is by the
// time at which that is noticed.
func TestHubMadeAnew(t *testing.T) {
	for name, c := range map[string]struct {
		hub   int64 // its last event
		later time.Duration
		calls [][2]int64
	}{
		"from its first event":          {9, time.Hour, [][2]int64{{0, 9}}},
		"within a moment":               {9, 30 * time.Second, [][2]int64{{0, 9}}},
		"in the middle":                 {15, time.Hour, [][2]int64{{5, 9}, {10, 15}}},
		"beyond the former":             {60, time.Hour, [][2]int64{{50, 60}}},
		"just at the former":            {40, time.Hour, [][2]int64{{19, 30}, {31, 40}}},
		"just behind the former":        {40, time.Hour, [][2]int64{{20, 30}, {31, 40}}},
		"within a moment, but way past": {90, 30 * time.Second, [][2]int64{{0, 50}, {51, 90}}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, options{})
			old := numbered(0, 19)
			w.hub.send(old...)
			w.take(old...)
			w.hub.events, w.hub.next = nil, 0
			anew := renewed(0, c.hub, c.later)
			w.hub.send(anew...)
			w.now = noon.Add(3 * time.Hour)
			for _, call := range c.calls {
				for try := range 3 {
					_, err := w.consumer.Take(t.Context(), "0", anew[call[0]:call[1]+1])
					if err == nil {
						break
					}
					if try == 2 {
						t.Fatal(err)
					}
				}
			}
			got := strings.Count(w.readings(), "b ")
			if name == "just behind the former" {
				// The host's call goes on where the former hub ended: nothing tells that it is
				// another, until one is reread or redelivered. Alone this process begins with the
				// last durable one, as "just at the former".
				if got != 21 {
					t.Errorf("%d readings of the new hub", got)
				}
				return
			}
			if got != int(c.hub)+1 || w.at().Sequence != c.hub || w.at().Lost != 0 {
				t.Errorf("%d readings of the new hub, %+v", got, w.at())
			}
		})
	}
}

// An instance that slept consumes the former hub's events when the new one's
// progress is on: they land, and the progress stays.
func TestLateEventsOfAFormerHub(t *testing.T) {
	w := newWorld(t, options{})
	old := numbered(0, 19)
	w.hub.send(old...)
	w.take(old[:10]...)
	w.hub.events, w.hub.next = nil, 0
	anew := renewed(0, 3, time.Hour)
	w.hub.send(anew...)
	w.take(anew...)
	if p := w.at(); p.Sequence != 3 || p.Generation != 1 {
		t.Fatalf("%+v", p)
	}
	w.take(old[:3]...)
	if p := w.at(); p.Sequence != 3 || p.Generation != 1 {
		t.Errorf("%+v", p)
	}
}

// A batch of the former hub that comes again when the hub was made anew, beyond all
// that the new one has, lands and blocks nothing, once the new one is read.
func TestBatchOfAFormerHubBeyondTheNewOne(t *testing.T) {
	for name, known := range map[string]bool{"the new hub's progress is on": true, "the new hub is not known": false} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, options{})
			old := numbered(0, 49)
			w.hub.send(old...)
			w.take(old[:20]...)
			w.hub.events, w.hub.next = nil, 0
			anew := renewed(0, 9, time.Hour)
			w.hub.send(anew...)
			if known {
				w.take(anew[:5]...)
			}
			late := append(slices.Clone(old[40:45]), old[47], foreign(49, "{"))
			r := w.take(late...)
			if r.Events != map[bool]int{true: 12, false: 7}[known] || r.Letters != 1 {
				t.Errorf("%+v", r)
			}
			if p := w.at(); p.Sequence != map[bool]int64{true: 9, false: 19}[known] || p.Until != 0 || p.Lost != 0 {
				t.Errorf("%+v", p)
			}
			w.take(late...)
			w.take(anew...)
			more := renewed(10, 12, time.Hour)
			w.hub.send(more...)
			w.take(more...)
			if p := w.at(); p.Sequence != 12 || p.Until != 0 || p.Lost != 0 {
				t.Errorf("%+v", p)
			}
			equal(t, "buried", w.buried(), "49 invalid_json 1")
			if a, b := strings.Count(w.readings(), "a "), strings.Count(w.readings(), "b "); a != 20+6 || b != 13 {
				t.Errorf("%d readings of the former hub, %d of the new one", a, b)
			}
		})
	}
}

// A hub whose answer to which is its last event is old is not taken for another
// one: the call fails, and the next one rereads the gap.
func TestHubIsBehindWithItsAnswers(t *testing.T) {
	w := newWorld(t, options{})
	all := numbered(0, 99)
	w.hub.send(all...)
	w.take(all[:10]...)
	for _, behind := range []int{90, 95} { // up to the last durable one, and before it
		w.hub.behind = behind
		if r, err := w.consumer.Take(t.Context(), "0", all[90:]); err == nil || !strings.Contains(err.Error(), "event 90 was given: it is behind, or another one") {
			t.Errorf("%d behind: %+v, %v", behind, r, err)
		}
		if p := w.at(); p.Sequence != 9 {
			t.Errorf("%d behind: %+v", behind, p)
		}
	}
	w.hub.behind = 0
	w.take(all[90:]...)
	if p := w.at(); p.Sequence != 99 || p.Lost != 0 {
		t.Errorf("%+v", p)
	}
	if got := strings.Count(w.values(), " ") + 1; got != 100 {
		t.Errorf("%d values", got)
	}
}

// Two instances that take the same partition at the same time do each other no
// harm; one that rests on a row that is gone fails and is called again.
func TestProgressMovedMeanwhile(t *testing.T) {
	w := newWorld(t, options{})
	all := numbered(0, 19)
	w.hub.send(all...)
	other := *w
	other.open(options{}, w.rows)
	var once bool
	w.hook = func(c storetest.Call) storetest.Verdict {
		if strings.HasPrefix(c.Table, "sluicejournal") && c.Write && !once {
			once = true
			if _, err := other.consumer.Take(context.Background(), "0", all[:15]); err != nil {
				t.Error(err)
			}
		}
		return storetest.Pass()
	}
	w.take(all[:10]...)
	if p := w.at(); p.Sequence != 14 {
		t.Errorf("%+v", p)
	}
	w.hook = nil
	w.take(all[10:]...)
	if got := strings.Count(w.values(), " ") + 1; got != 20 || w.at().Sequence != 19 {
		t.Errorf("%d values, %+v", got, w.at())
	}
}
