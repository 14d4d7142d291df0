package deadletters_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/deadletters"
	"sluice/store"
	"sluice/store/storetest"
	"sluice/telemetry"
)

var (
	fine    = deadletters.Verdicts{Accepted: 5}
	refusal = telemetry.Refusal{Code: telemetry.TimestampTooOld, Message: "too old by now"}
	worse   = deadletters.Verdicts{Accepted: 4, Rejected: 1, Reason: &refusal, Errors: []deadletters.Verdict{{Index: 3, Refusal: refusal}}}
)

// one keeps a single letter and returns its id.
func one(t *testing.T, s *deadletters.Store, size int) (deadletters.Letter, string) {
	t.Helper()
	l := event(1, size)
	put(t, s, l)
	return l, list(t, s, 1)[0].ID
}

func always(v deadletters.Verdicts) judge {
	return func(deadletters.Letter) deadletters.Verdicts { return v }
}

// A letter of which something fails again stays, with the new reason; one of which
// nothing does is done, and replaying it again only tells that.
func TestReplay(t *testing.T) {
	onEachStore(t, func(t *testing.T, rows store.Rows) {
		s := deadletters.New(rows, func() time.Time { return noon })
		l, id := one(t, s, 1<<20)
		v, err := s.Replay(t.Context(), always(worse), id)
		if err != nil || v.Accepted != 4 {
			t.Fatal(v, err)
		}
		got, err := s.Get(t.Context(), id)
		if err != nil || got.Reason != refusal || got.Rejected != 1 || !bytes.Equal(got.Body, l.Body) || got.Device != l.Device || !got.Received.Equal(noon) {
			t.Fatalf("%v %d: %v", got.Reason, got.Rejected, err)
		}
		judged := 0
		good := judge(func(got deadletters.Letter) deadletters.Verdicts {
			if judged++; !bytes.Equal(got.Body, l.Body) || got.ID != id || got.PartitionKey != l.PartitionKey || got.Source != l.Source {
				t.Errorf("replays %d bytes of %v", len(got.Body), got.Source)
			}
			return fine
		})
		for range 3 {
			if v, err := s.Replay(t.Context(), good, id); err != nil || v.Accepted != 5 || v.Rejected != 0 {
				t.Fatal(v, err)
			}
		}
		put(t, s, l)
		if judged != 1 || len(list(t, s, 10)) != 0 {
			t.Errorf("judged %d times, %d letters left", judged, len(list(t, s, 10)))
		}
	})
}

// A letter that could not be judged is as it was.
func TestReplayThatFails(t *testing.T) {
	s := deadletters.New(&storetest.Memory{}, func() time.Time { return noon })
	l, id := one(t, s, 100)
	if _, err := s.Replay(t.Context(), failing{store.ErrUnavailable}, id); !errors.Is(err, store.ErrUnavailable) {
		t.Error(err)
	}
	if got, err := s.Get(t.Context(), id); err != nil || got.Reason != l.Reason {
		t.Error(got.Reason, err)
	}
}

type failing struct{ err error }

func (f failing) Replay(context.Context, deadletters.Letter) (deadletters.Verdicts, error) {
	return deadletters.Verdicts{}, f.err
}

// What was cut is not replayed: half an event would be another one.
func TestReplayOfWhatWasCut(t *testing.T) {
	s := deadletters.New(&storetest.Memory{}, func() time.Time { return noon })
	_, id := one(t, s, deadletters.MaxBody+1)
	if _, err := s.Replay(t.Context(), always(fine), id); !errors.Is(err, deadletters.ErrCut) {
		t.Error(err)
	}
	_, id = one(t, deadletters.New(&storetest.Memory{}, func() time.Time { return noon }), deadletters.MaxBody)
	if _, err := s.Replay(t.Context(), always(fine), id); errors.Is(err, deadletters.ErrCut) {
		t.Error(err)
	}
}

// A content's type or encoding that is not kept as it came would change the verdict.
func TestReplayOfCutTexts(t *testing.T) {
	for name, c := range map[string]struct {
		kind, encoding string
		cut            bool
	}{
		"short":                {" application/json", "gzip\t", false},
		"longest":              {"", strings.Repeat("x", 1000), false},
		"many encodings":       {"", strings.Repeat("gzip,", 1000), true},
		"a long type":          {"application/json; x=" + strings.Repeat("x", 1000), "", true},
		"a control character":  {"", "gz\x01ip", true},
		"a type that is bytes": {"application/json; x=\xff", "", true},
	} {
		s := deadletters.New(&storetest.Memory{}, func() time.Time { return noon })
		l := event(1, 10)
		l.ContentType, l.ContentEncoding = c.kind, c.encoding
		put(t, s, l)
		found := list(t, s, 1)[0]
		_, err := s.Replay(t.Context(), always(worse), found.ID)
		if found.Cut != c.cut || errors.Is(err, deadletters.ErrCut) != c.cut || !c.cut && err != nil {
			t.Errorf("%s: cut %v, %v", name, found.Cut, err)
		}
	}
}

// A write whose answer is lost is looked for before anybody is told to try again:
// done or not, it succeeds.
func TestNoAnswer(t *testing.T) {
	for name, verdict := range map[string]storetest.Verdict{"done": storetest.Lose(), "done late": storetest.Float(), "not done": storetest.Fail(store.ErrNoAnswer)} {
		for what, do := range map[string]func(s *deadletters.Store, id string) error{
			"drop":   func(s *deadletters.Store, id string) error { return s.Drop(t.Context(), id) },
			"replay": func(s *deadletters.Store, id string) error { return second(s.Replay(t.Context(), always(fine), id)) },
			"keep":   func(s *deadletters.Store, id string) error { return second(s.Replay(t.Context(), always(worse), id)) },
		} {
			faults := 0
			rows := storetest.NewFaultyRows(&storetest.Memory{}, func(c storetest.Call) storetest.Verdict {
				if c.Method == "Commit" && faults > 0 {
					faults--
					return verdict
				}
				return storetest.Pass()
			})
			s := deadletters.New(rows, func() time.Time { return noon })
			_, id := one(t, s, 100)
			faults = 1
			if err := do(s, id); err != nil || faults != 0 {
				t.Errorf("%s, %s: %v, %d faults left", what, name, err, faults)
			}
			for rows.Len() > 0 {
				_ = rows.Land(0)
			}
			if left := list(t, s, 10); (len(left) > 0) != (what == "keep") || len(left) > 0 && left[0].Reason != refusal {
				t.Errorf("%s, %s: left %v", what, name, left)
			}
		}
	}
	s := deadletters.New(storetest.NewFaultyRows(&storetest.Memory{}, func(c storetest.Call) storetest.Verdict {
		if c.Method == "Commit" && len(c.Ops) > 0 && c.Ops[0].Kind != store.Insert {
			return storetest.Fail(store.ErrNoAnswer)
		}
		return storetest.Pass()
	}), func() time.Time { return noon })
	_, id := one(t, s, 100)
	if err := s.Drop(t.Context(), id); !errors.Is(err, store.ErrNoAnswer) {
		t.Error(err)
	}
}

// Whatever happens to a letter while it is judged: its verdicts are told, and what
// was done first stays done.
func TestWhileReplaying(t *testing.T) {
	for _, c := range []struct {
		name      string
		meanwhile func(t *testing.T, s *deadletters.Store, id string)
		verdicts  deadletters.Verdicts
		left      int
		reason    telemetry.Refusal
	}{
		{"dropped", func(t *testing.T, s *deadletters.Store, id string) { drop(t, s, id) }, fine, 0, telemetry.Refusal{}},
		{"dropped, and it fails", func(t *testing.T, s *deadletters.Store, id string) { drop(t, s, id) }, worse, 0, telemetry.Refusal{}},
		{"replayed by another one", func(t *testing.T, s *deadletters.Store, id string) { replay(t, s, id, fine) }, fine, 0, telemetry.Refusal{}},
		{"replayed by another one, and it fails", func(t *testing.T, s *deadletters.Store, id string) { replay(t, s, id, fine) }, worse, 0, telemetry.Refusal{}},
		{"failed for another one", func(t *testing.T, s *deadletters.Store, id string) { replay(t, s, id, worse) }, fine, 0, telemetry.Refusal{}},
		{"failed for another one, and it fails", func(t *testing.T, s *deadletters.Store, id string) { replay(t, s, id, worse) }, worse, 1, refusal},
		{"delivered again", func(t *testing.T, s *deadletters.Store, _ string) { put(t, s, event(1, 70<<10)) }, fine, 0, telemetry.Refusal{}},
		{"its time came", func(t *testing.T, s *deadletters.Store, _ string) { purgeAll(t, s) }, fine, 0, telemetry.Refusal{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			now := &clock{now: noon}
			s := deadletters.New(&storetest.Memory{}, now.Now)
			_, id := one(t, s, 70<<10)
			now.pass(deadletters.Keep)
			v, err := s.Replay(t.Context(), judge(func(deadletters.Letter) deadletters.Verdicts {
				c.meanwhile(t, s, id)
				return c.verdicts
			}), id)
			if err != nil || v.Accepted != c.verdicts.Accepted || v.Rejected != c.verdicts.Rejected {
				t.Error(v, err)
			}
			left := list(t, s, 10)
			if len(left) != c.left || len(left) == 1 && left[0].Reason != c.reason {
				t.Errorf("left: %v", left)
			}
		})
	}
}

func replay(t *testing.T, s *deadletters.Store, id string, v deadletters.Verdicts) {
	t.Helper()
	if _, err := s.Replay(t.Context(), always(v), id); err != nil {
		t.Error(err)
	}
}

func purgeAll(t *testing.T, s *deadletters.Store) {
	t.Helper()
	if n, err := s.Purge(t.Context()); n != 1 || err != nil {
		t.Errorf("purged %d: %v", n, err)
	}
}

// Anything may be done to letters at the same time: nothing comes back, no body is
// left without its letter.
func TestAllAtOnce(t *testing.T) {
	onEachStore(t, func(t *testing.T, rows store.Rows) {
		s := deadletters.New(rows, func() time.Time { return noon })
		var letters []deadletters.Letter
		for n := range 8 {
			letters = append(letters, event(n, n%2*70<<10))
		}
		put(t, s, letters...)
		all := ids(list(t, s, 100))
		var group sync.WaitGroup
		for turn := range 3 {
			for n, id := range all {
				group.Go(func() {
					var err error
					switch (n + turn) % 3 {
					case 0:
						err = s.Drop(t.Context(), id)
					case 1:
						_, err = s.Replay(t.Context(), always(fine), id)
					default:
						err = s.Put(t.Context(), letters)
					}
					if err != nil && !errors.Is(err, deadletters.ErrUnknown) {
						t.Error(err)
					}
				})
			}
		}
		group.Wait()
		if left := list(t, s, 100); len(left) != 0 || bodyRows(t, rows) != 0 {
			t.Errorf("left: %v and %d rows of bodies", ids(left), bodyRows(t, rows))
		}
	})
}

// TestFaults has letters kept, replayed, dropped and purged over a store that fails,
// answers late, and does writes a second time: what was answered holds.
func TestFaults(t *testing.T) {
	for seed := range uint64(60) {
		w := newFaulty(t, seed)
		for range 120 {
			w.step()
		}
		w.rest()
		if t.Failed() {
			t.Logf("seed %d", seed)
			return
		}
	}
}

// faulty is a store of letters over rows with faults, and what must hold of it.
type faulty struct {
	*dice
	t       *testing.T
	s       *deadletters.Store
	rows    *storetest.FaultyRows
	memory  *storetest.Memory
	calm    bool
	letters []deadletters.Letter
	ids     []string
	kept    map[int]bool // Put said so
	done    map[int]bool // Drop or Replay said so
	tried   map[int]bool // one of them was begun
}

func newFaulty(t *testing.T, seed uint64) *faulty {
	w := &faulty{dice: newDice(seed), t: t, memory: &storetest.Memory{}, kept: map[int]bool{}, done: map[int]bool{}, tried: map[int]bool{}}
	w.rows = storetest.NewFaultyRows(w.memory, func(storetest.Call) storetest.Verdict {
		if w.calm || w.IntN(3) > 0 {
			return storetest.Pass()
		}
		return []storetest.Verdict{
			storetest.Fail(store.ErrUnavailable), storetest.Fail(store.ErrThrottled), storetest.Lose(), storetest.Float(), storetest.Twin(), storetest.Cut(w.IntN(3)),
		}[w.IntN(6)]
	})
	w.s = deadletters.New(w.rows, func() time.Time { return noon })
	reference := deadletters.New(&storetest.Memory{}, func() time.Time { return noon })
	for n := range 12 {
		l := event(n, w.IntN(2)*70<<10+n)
		l.Source.Enqueued = noon.Add(time.Duration(w.IntN(3)) * time.Hour)
		put(t, reference, l)
		for _, found := range list(t, reference, 100) {
			if found.Source.Sequence == int64(n) {
				w.ids = append(w.ids, found.ID)
			}
		}
		w.letters = append(w.letters, l)
	}
	return w
}

func (w *faulty) step() {
	n := w.IntN(len(w.letters))
	ctx := w.t.Context()
	switch w.IntN(6) {
	case 0, 1:
		from := w.IntN(len(w.letters))
		to := from + 1 + w.IntN(len(w.letters)-from)
		if err := w.s.Put(ctx, w.letters[from:to]); err == nil {
			for n := from; n < to; n++ {
				w.kept[n] = true
			}
		}
	case 2:
		if w.kept[n] {
			w.judged(n, false, w.s.Drop(ctx, w.ids[n]))
		}
	case 3:
		if w.kept[n] {
			w.judged(n, w.tried[n], second(w.s.Replay(ctx, always(fine), w.ids[n])))
		}
	case 4:
		if w.rows.Len() > 0 {
			_ = w.rows.Land(w.IntN(w.rows.Len())) // late, or again
		}
	default:
		w.look(n)
	}
}

// judged notes what a Drop or Replay of a letter that was kept has said; it may be
// unknown only to a Replay after a Drop.
func (w *faulty) judged(n int, maybeGone bool, err error) {
	w.tried[n], w.done[n] = true, w.done[n] || err == nil
	if errors.Is(err, deadletters.ErrUnknown) && !maybeGone {
		w.t.Errorf("letter %d: %v", n, err)
	}
}

// look reads a letter.
func (w *faulty) look(n int) {
	got, err := w.s.Get(w.t.Context(), w.ids[n])
	switch {
	case err == nil && (w.done[n] || !bytes.Equal(got.Body, w.letters[n].Body)):
		w.t.Errorf("letter %d: done %v, %d bytes", n, w.done[n], len(got.Body))
	case errors.Is(err, deadletters.ErrUnknown) && w.kept[n] && !w.tried[n], errors.Is(err, deadletters.ErrCorrupt):
		w.t.Errorf("letter %d: %v", n, err)
	}
}

// rest lands whatever is late, keeps all events again, and looks at what is there.
func (w *faulty) rest() {
	w.calm = true
	for w.rows.Len() > 0 {
		_ = w.rows.Land(w.IntN(w.rows.Len()))
	}
	put(w.t, w.s, w.letters...)
	left, bodies := ids(list(w.t, w.s, 5)), 0
	for n, id := range w.ids {
		there := slices.Contains(left, id)
		if there && w.done[n] || !there && !w.tried[n] {
			w.t.Errorf("letter %d: there %v, done %v, kept %v", n, there, w.done[n], w.kept[n])
		}
		if there && len(w.letters[n].Body) > 60<<10 {
			bodies++
		}
		w.look(n)
	}
	if n := bodyRows(w.t, w.memory); n != bodies {
		w.t.Errorf("%d rows of bodies, want %d", n, bodies)
	}
}
