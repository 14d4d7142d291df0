package consume_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sluice/consume"
	"sluice/hub"
	"sluice/store"
	"sluice/store/storetest"
)

// margin is what the frontier keeps from what it knows.
const margin = 10 * time.Second

func (w *world) frontier() *consume.Frontier {
	return consume.NewFrontier(w.hub, w.progress, func() time.Time { return w.now })
}

func TestFrontier(t *testing.T) {
	all := numbered(0, 19)
	for name, c := range map[string]struct {
		hub, taken int // events that are in the hub, and that were taken
		then       func(w *world)
		want       time.Time // zero: not known
		lag        int64
	}{
		"an empty hub":              {0, 0, nil, noon.Add(time.Hour), 0},
		"nothing consumed yet":      {5, 0, nil, time.Time{}, 5},
		"caught up":                 {20, 20, nil, noon.Add(time.Hour), 0},
		"behind":                    {20, 8, nil, all[7].Enqueued, 12},
		"behind, but it expired":    {20, 8, func(w *world) { w.hub.expire(20) }, noon.Add(time.Hour), 0},
		"some of that expired":      {20, 8, func(w *world) { w.hub.expire(15) }, all[7].Enqueued, 5},
		"caught up, and expired":    {20, 20, func(w *world) { w.hub.expire(20) }, noon.Add(time.Hour), 0},
		"made anew":                 {20, 20, func(w *world) { w.hub.events = renewed(0, 4, time.Hour); w.hub.next = 5 }, all[19].Enqueued, 5},
		"made anew, as many events": {20, 20, func(w *world) { w.hub.events = renewed(0, 19, time.Hour) }, all[19].Enqueued, 20},
		"made anew, empty":          {20, 20, func(w *world) { w.hub.events, w.hub.next = nil, 0 }, noon.Add(time.Hour), 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, options{})
			if c.hub > 0 {
				w.hub.send(all[:c.hub]...)
			}
			if c.taken > 0 {
				w.take(all[:c.taken]...)
			}
			if c.then != nil {
				c.then(w)
			}
			w.now = noon.Add(time.Hour)
			f := w.frontier()
			got, err := f.Consumed(t.Context())
			switch {
			case c.want.IsZero() && !errors.Is(err, consume.ErrUnknown):
				t.Errorf("%v, %v, want no answer", got, err)
			case !c.want.IsZero() && (err != nil || !got.Equal(c.want.Add(-margin))):
				t.Errorf("%v, %v, want %v", got, err, c.want.Add(-margin))
			}
			lags, _, err := f.Lags(t.Context())
			if err != nil || len(lags) != 1 || lags[0].Events != c.lag || lags[0].CaughtUp != (c.lag == 0) {
				t.Errorf("%+v, %v", lags, err)
			}
		})
	}
}

// What was true once stays true: with hub or store away the answer is the last
// one, never a newer.
func TestFrontierAway(t *testing.T) {
	for name, away := range map[string]func(w *world, err error){
		"hub": func(w *world, err error) { w.hub.err = err },
		"store": func(w *world, err error) {
			w.hook = func(storetest.Call) storetest.Verdict {
				if err == nil {
					return storetest.Pass()
				}
				return storetest.Fail(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, options{})
			w.hub.send(numbered(0, 9)...)
			w.take(numbered(0, 9)...)
			f := w.frontier()
			away(w, store.ErrUnavailable)
			if got, err := f.Consumed(t.Context()); !errors.Is(err, consume.ErrUnknown) || !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("%v, %v", got, err)
			}
			ask := func() time.Time {
				t.Helper()
				w.now = w.now.Add(time.Minute)
				got, err := f.Consumed(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				return got
			}
			away(w, nil)
			known := ask()
			if !known.Equal(w.now.Add(-margin)) {
				t.Errorf("%v at %v", known, w.now)
			}
			away(w, store.ErrUnavailable)
			if got := ask(); !got.Equal(known) {
				t.Errorf("%v, want %v", got, known)
			}
			if lags, _, err := f.Lags(t.Context()); !errors.Is(err, store.ErrUnavailable) || len(lags) != 1 {
				t.Errorf("%+v, %v", lags, err)
			}
			away(w, nil)
			if got := ask(); !got.Equal(w.now.Add(-margin)) {
				t.Errorf("%v at %v", got, w.now)
			}
		})
	}
}

// What comes while hub and store are asked is not known to be consumed.
func TestFrontierIsOfWhenItAsked(t *testing.T) {
	w := newWorld(t, options{})
	w.hub.send(numbered(0, 9)...)
	w.take(numbered(0, 9)...)
	w.now = noon.Add(time.Hour)
	asked := w.now
	w.hook = func(c storetest.Call) storetest.Verdict {
		if c.Method == "Scan" {
			w.hub.send(renewed(10, 10, time.Hour)...)
			w.now = w.now.Add(time.Minute)
		}
		return storetest.Pass()
	}
	if got, err := w.frontier().Consumed(t.Context()); err != nil || !got.Equal(asked.Add(-margin)) {
		t.Errorf("%v, %v, want %v", got, err, asked.Add(-margin))
	}
}

// slowHub answers after a while.
type slowHub struct {
	*memoryHub
	takes time.Duration
	asked atomic.Int64
}

func (h *slowHub) Partitions(ctx context.Context) ([]hub.Partition, error) {
	h.asked.Add(1)
	select {
	case <-time.After(h.takes):
		return h.memoryHub.Partitions(ctx)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Hub and store are asked seldom, by one caller for all, and nobody waits long.
func TestFrontierIsCached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, options{})
		w.hub.send(numbered(0, 9)...)
		w.take(numbered(0, 9)...)
		h := &slowHub{memoryHub: w.hub}
		f := consume.NewFrontier(h, w.progress, time.Now)
		for range 100 {
			if _, err := f.Consumed(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if n := h.asked.Load(); n != 1 {
			t.Errorf("asked %d times", n)
		}
		time.Sleep(6 * time.Second)
		first, _ := f.Consumed(t.Context())
		h.takes = time.Hour
		time.Sleep(6 * time.Second)
		began := time.Now()
		for range 3 {
			got, err := f.Consumed(t.Context())
			if err != nil || !got.Equal(first) {
				t.Errorf("%v, %v, want %v", got, err, first)
			}
		}
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("waited %v", took)
		}
		if n := h.asked.Load(); n != 3 {
			t.Errorf("asked %d times", n)
		}
		time.Sleep(time.Minute) // the look ends
	})
}
