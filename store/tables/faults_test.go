package tables_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"sluice/devtools/azurite"
	"sluice/devtools/netfault"
	"sluice/devtools/throttle"
	"sluice/store"
	"sluice/store/storetest"
	"sluice/store/tables"
)

func hostOf(t *testing.T, a azurite.Account) string {
	t.Helper()
	u, err := url.Parse(a.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}

// noSleep makes tests of retries quick.
func noSleep(ctx context.Context, _ time.Duration) error { return ctx.Err() }

func throttled(t *testing.T, a azurite.Account, o throttle.Options) (azurite.Account, *throttle.Proxy) {
	t.Helper()
	p, err := throttle.Start(hostOf(t, a), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return a.At(p.Address()), p
}

// TestConformanceThrottled: a service that answers 503 to 30% of the requests
// is slower, never wrong.
func TestConformanceThrottled(t *testing.T) {
	storetest.RunRows(t, func(t *testing.T) store.Rows {
		a, p := throttled(t, azurite.ForTest(t).Account(), throttle.Options{Seed: 1, Busy: 0.3})
		t.Cleanup(func() {
			if c := p.Counts(); c.Passed > 20 && c.Busy == 0 {
				t.Errorf("nothing was throttled: %+v", c)
			}
		})
		return open(t, a, tables.Options{Attempts: 30, Sleep: noSleep})
	})
}

// bystander is a case of a write that must succeed but for faults: how the
// world is made ready for it through a store without faults, the write, and
// whether it is done.
type bystander struct {
	name  string
	ready []store.Op
	op    func(tag store.ETag) store.Op
	done  func(store.Row, error, store.ETag) bool // given the row, and its ETag before
	twice bool                                    // may be sent twice: its condition holds after it was done too
}

var (
	before = []store.Property{{Name: "V", Value: "before"}}
	after  = []store.Property{{Name: "V", Value: "after"}}
)

func isAfter(row store.Row, err error) bool { return err == nil && row.Properties[0].Value == "after" }

func written(row store.Row, err error, _ store.ETag) bool { return isAfter(row, err) }

func bystanders() []bystander {
	there := []store.Op{{Kind: store.Put, Key: "k", Properties: before}}
	is := func(kind store.OpKind, tag func(store.ETag) store.ETag) func(store.ETag) store.Op {
		return func(e store.ETag) store.Op {
			o := store.Op{Kind: kind, Key: "k", IfMatch: tag(e), Properties: after}
			if kind == store.Delete || kind == store.Touch { // one with properties reads the row first
				o.Properties = nil
			}
			return o
		}
	}
	none := func(store.ETag) store.ETag { return "" }
	anyTag := func(store.ETag) store.ETag { return store.AnyTag }
	own := func(e store.ETag) store.ETag { return e }
	gone := func(_ store.Row, err error, _ store.ETag) bool { return errors.Is(err, store.ErrNotFound) }
	touched := func(row store.Row, err error, tag store.ETag) bool { return err == nil && row.ETag != tag }
	return []bystander{
		{"insert", nil, is(store.Insert, none), written, false},
		{"put", there, is(store.Put, none), written, true},
		{"replace", there, is(store.Replace, own), written, false},
		{"replace any", there, is(store.Replace, anyTag), written, true},
		{"touch", there, is(store.Touch, own), touched, false},
		{"touch any", there, is(store.Touch, anyTag), touched, true},
		{"delete", there, is(store.Delete, own), gone, false},
		{"delete any", there, is(store.Delete, anyTag), gone, false},
	}
}

// world is a table seen directly and through faults.
type world struct {
	t      *testing.T
	direct store.Rows
	faulty store.Rows
	rounds int
}

// try does a case in a partition of its own and returns what the faulty store
// said. What it said must fit what is there.
func (w *world) try(ctx context.Context, b bystander) (done bool, err error) {
	w.t.Helper()
	w.rounds++
	p := fmt.Sprint("p", w.rounds)
	var tag store.ETag
	if b.ready != nil {
		w.must(w.direct.Commit(w.t.Context(), "faults", p, b.ready))
		row, err := w.direct.Get(w.t.Context(), "faults", p, "k")
		w.must(err)
		tag = row.ETag
	}
	second := store.Op{Kind: store.Put, Key: "second", Properties: after}
	err = w.faulty.Commit(ctx, "faults", p, []store.Op{b.op(tag), second})
	row, err1 := w.direct.Get(w.t.Context(), "faults", p, "k")
	row2, err2 := w.direct.Get(w.t.Context(), "faults", p, "second")
	done = b.done(row, err1, tag)
	if done != isAfter(row2, err2) {
		w.t.Fatalf("%s: one of two rows was written: %+v %v, %+v %v", b.name, row, err1, row2, err2)
	}
	switch {
	case err == nil && !done:
		w.t.Fatalf("%s: answered with success, and not done", b.name)
	case errors.Is(err, store.ErrThrottled), errors.Is(err, store.ErrUnavailable):
		if done {
			w.t.Fatalf("%s: done, and answered with: %v", b.name, err)
		}
	case err != nil && !errors.Is(err, store.ErrNoAnswer):
		w.t.Fatalf("%s: %v", b.name, err)
	}
	return done, err
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func newWorld(t *testing.T, a azurite.Account, faulty store.Rows) *world {
	t.Helper()
	w := &world{t: t, direct: open(t, a, tables.Options{}), faulty: faulty}
	w.must(w.direct.CreateTable(t.Context(), "faults"))
	return w
}

// TestAmbiguity: the service answers 500 to a third of the requests, and has
// done half of those. No write is answered with success that was not done, none
// as not done that was, and none is refused for its own doing.
func TestAmbiguity(t *testing.T) {
	a := azurite.ForTest(t).Account()
	proxied, _ := throttled(t, a, throttle.Options{Seed: 7, Busy: 0.2, Internal: 0.35})
	w := newWorld(t, a, open(t, proxied, tables.Options{Attempts: 3, Sleep: noSleep}))
	unclear := 0
	for range 25 {
		for _, b := range bystanders() {
			if _, err := w.try(t.Context(), b); errors.Is(err, store.ErrNoAnswer) {
				unclear++
			}
			if _, err := w.try(store.Once(t.Context()), b); errors.Is(err, store.ErrNoAnswer) {
				unclear++
			}
		}
	}
	if unclear == 0 || unclear == w.rounds {
		t.Fatalf("%d of %d writes without an answer", unclear, w.rounds)
	}
}

// TestAnswerLost: the network loses the answer of a write that was done, and
// then works again. What may be sent twice succeeds, the rest has no answer.
func TestAnswerLost(t *testing.T) {
	a := azurite.ForTest(t).Account()
	p := newNetwork(t, a)
	sleep := func(ctx context.Context, _ time.Duration) error {
		return errors.Join(p.Set(netfault.Pass), ctx.Err())
	}
	w := newWorld(t, a, open(t, a.At(p.Address()), tables.Options{Sleep: sleep}))
	for _, b := range bystanders() {
		w.must(p.Set(netfault.AnswerLost))
		done, err := w.try(t.Context(), b)
		if !done || b.twice != (err == nil) {
			t.Errorf("%s: done: %v, error: %v", b.name, done, err)
		}
		w.must(p.Set(netfault.AnswerLost))
		if done, err := w.try(store.Once(t.Context()), b); !done || !errors.Is(err, store.ErrNoAnswer) {
			t.Errorf("%s, once: done: %v, error: %v", b.name, done, err)
		}
	}
	w.must(p.Set(netfault.AnswerLost))
	w.must(w.faulty.CreateTable(t.Context(), "made"))
	w.must(p.Set(netfault.AnswerLost))
	w.must(w.faulty.DropTable(t.Context(), "made"))
	w.must(p.Set(netfault.AnswerLost))
	if _, err := w.faulty.Get(t.Context(), "faults", "p1", "k"); err != nil {
		t.Errorf("get whose answer was lost: %v", err)
	}
}

func newNetwork(t *testing.T, a azurite.Account) *netfault.Proxy {
	t.Helper()
	p, err := netfault.Start(hostOf(t, a))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// TestOutage: a network that is away while a call is under way, and comes back,
// costs the call nothing but time, whatever the caller's deadline.
func TestOutage(t *testing.T) {
	a := azurite.ForTest(t).Account()
	p := newNetwork(t, a)
	for _, mode := range []netfault.Mode{netfault.Refuse, netfault.Reset, netfault.BlackHole} {
		t.Run(mode.String(), func(t *testing.T) {
			var pauses atomic.Int64
			sleep := func(ctx context.Context, _ time.Duration) error {
				if pauses.Add(1)%2 == 0 {
					return errors.Join(p.Set(netfault.Pass), ctx.Err())
				}
				return ctx.Err()
			}
			s := open(t, a.At(p.Address()), tables.Options{Sleep: sleep, TryTimeout: 300 * time.Millisecond})
			w := &world{t: t, direct: s, faulty: s}
			w.must(s.CreateTable(t.Context(), "outage"))
			w.must(p.Set(mode))
			w.must(s.Commit(t.Context(), "outage", "p", []store.Op{{Kind: store.Put, Key: "k", Properties: after}}))
			w.must(p.Set(mode))
			row, err := s.Get(t.Context(), "outage", "p", "k")
			if !isAfter(row, err) {
				t.Errorf("get: %+v, %v", row, err)
			}
			w.must(p.Set(netfault.Pass))
		})
	}
}

// TestOutageThatLasts: tries are bounded without a deadline too, and the error
// says whether anything may have been done.
func TestOutageThatLasts(t *testing.T) {
	a := azurite.ForTest(t).Account()
	p := newNetwork(t, a)
	o := tables.Options{Sleep: noSleep, TryTimeout: 200 * time.Millisecond, Attempts: 3, Silence: time.Hour}
	s := open(t, a.At(p.Address()), o)
	w := &world{t: t, direct: s, faulty: s}
	w.must(s.CreateTable(t.Context(), "outage"))
	ops := []store.Op{{Kind: store.Put, Key: "k", Properties: after}}
	for mode, want := range map[netfault.Mode]error{
		netfault.Refuse: store.ErrUnavailable, netfault.Reset: store.ErrNoAnswer, netfault.BlackHole: store.ErrNoAnswer,
	} {
		w.must(p.Set(mode))
		err := s.Commit(t.Context(), "outage", "p", ops)
		// A reset may come before the connection is there.
		either := mode == netfault.Reset && errors.Is(err, store.ErrUnavailable)
		if !errors.Is(err, want) && !either {
			t.Errorf("%v, commit: %v, want %v", mode, err, want)
		}
		if _, err := s.Get(t.Context(), "outage", "p", "k"); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%v, get: %v", mode, err)
		}
		if _, err := s.Scan(t.Context(), "outage", store.Range{}, ""); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%v, scan: %v", mode, err)
		}
		w.must(p.Set(netfault.Pass))
	}
}

// TestDeadline: a black hole never takes all of a caller's deadline, and a
// deadline that passes is the context's error.
func TestDeadline(t *testing.T) {
	a := azurite.ForTest(t).Account()
	p := newNetwork(t, a)
	tries := 0
	sleep := func(ctx context.Context, _ time.Duration) error {
		tries++
		return ctx.Err()
	}
	s := open(t, a.At(p.Address()), tables.Options{Sleep: sleep, FirstPause: time.Nanosecond, MaxPause: time.Nanosecond})
	w := &world{t: t, direct: s, faulty: s}
	w.must(s.CreateTable(t.Context(), "outage"))
	w.must(p.Set(netfault.BlackHole))
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	err := s.Commit(ctx, "outage", "p", []store.Op{{Kind: store.Put, Key: "k"}})
	if !errors.Is(err, context.DeadlineExceeded) || tries == 0 {
		t.Errorf("commit into a black hole: %d more tries, %v", tries, err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	if err := s.Commit(ctx, "outage", "p", []store.Op{{Kind: store.Put, Key: "k"}}); !errors.Is(err, context.Canceled) {
		t.Errorf("commit that is cancelled: %v", err)
	}
	w.must(p.Set(netfault.Pass))
}
