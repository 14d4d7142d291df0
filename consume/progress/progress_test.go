package progress_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sluice/consume/progress"
	"sluice/devtools/azurite"
	"sluice/store"
	"sluice/store/storetest"
	"sluice/store/tables"
)

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func open(rows store.Rows) *progress.Store {
	return progress.New(rows, "Telemetry", "$Default", func() time.Time { return noon })
}

// event is an event's place; its time follows from its number.
func event(n int64) progress.Event {
	return progress.Event{Sequence: n, Offset: fmt.Sprint(n * 56), Enqueued: noon.Add(time.Duration(n) * time.Second)}
}

// tester is a *testing.T or a *rapid.T.
type tester interface {
	Helper()
	Fatal(args ...any)
	Context() context.Context
}

func read(t tester, s *progress.Store, partition string) progress.Position {
	t.Helper()
	p, err := s.Read(t.Context(), partition)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// stores runs a test over a store in memory and over Azurite.
func stores(t *testing.T, test func(t *testing.T, rows store.Rows)) {
	t.Run("memory", func(t *testing.T) { test(t, &storetest.Memory{}) })
	t.Run("azurite", func(t *testing.T) {
		rows, err := tables.Open(azurite.ForTest(t).Account().ConnectionString(), tables.Options{})
		if err != nil {
			t.Fatal(err)
		}
		test(t, rows)
	})
}

func TestMovesForwardOnly(t *testing.T) {
	stores(t, func(t *testing.T, rows store.Rows) {
		s, ctx := open(rows), t.Context()
		p := read(t, s, "0")
		if p.Stored() || p.Partition != "0" {
			t.Fatalf("%+v", p)
		}
		p.Sequence = 9
		if _, err := s.Advance(ctx, p, event(20)); err != nil {
			t.Fatal(err)
		}
		twenty := read(t, s, "0")
		if twenty.Sequence != 20 || twenty.Offset != "1120" || !twenty.Enqueued.Equal(event(20).Enqueued) || !twenty.Written.Equal(noon) || !twenty.Stored() {
			t.Fatalf("%+v", twenty)
		}
		got, err := s.Advance(ctx, twenty, event(15))
		if err != nil || got.Sequence != 20 {
			t.Errorf("an older event: %+v, %v", got, err)
		}
		got, err = s.Advance(ctx, got, event(30))
		if err != nil || got.Sequence != 30 {
			t.Errorf("%+v, %v", got, err)
		}
		// What an instance goes on from may be what it wrote itself.
		got, err = s.Advance(ctx, got, event(31))
		if err != nil || got.Sequence != 31 || read(t, s, "0").Sequence != 31 {
			t.Errorf("%+v, %v", got, err)
		}
		// Somebody else wrote since twenty was read.
		got, err = s.Advance(ctx, twenty, event(25))
		if err != nil || got.Sequence != 31 || read(t, s, "0").Sequence != 31 {
			t.Errorf("%+v, %v", got, err)
		}
		got, err = s.Advance(ctx, twenty, event(40))
		if err != nil || got.Sequence != 40 || read(t, s, "0").Sequence != 40 {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

// Whoever says "durable from 100 on" says nothing of a row that is at 20.
func TestRestsOnWhatWasRead(t *testing.T) {
	s, ctx := open(&storetest.Memory{}), t.Context()
	if _, err := s.Advance(ctx, progress.Position{Partition: "0", Sequence: 9}, event(20)); err != nil {
		t.Fatal(err)
	}
	for name, move := range map[string]func(progress.Position) (progress.Position, error){
		"advance": func(p progress.Position) (progress.Position, error) { return s.Advance(ctx, p, event(200)) },
		"skip":    func(p progress.Position) (progress.Position, error) { return s.Skip(ctx, p, 200) },
		"reread":  func(p progress.Position) (progress.Position, error) { return s.Reread(ctx, p, 200) },
	} {
		if _, err := move(progress.Position{Partition: "0", Sequence: 99}); !errors.Is(err, progress.ErrMoved) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if p := read(t, s, "0"); p.Sequence != 20 || p.Lost != 0 || p.Until != 0 {
		t.Errorf("%+v", p)
	}
}

func TestLostCountsOnce(t *testing.T) {
	stores(t, func(t *testing.T, rows store.Rows) {
		s, ctx := open(rows), t.Context()
		from, err := s.Advance(ctx, progress.Position{Partition: "0", Sequence: -1}, event(10))
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // as two instances that read the same
			if p, err := s.Skip(ctx, from, 15); err != nil || p.Sequence != 14 || p.Lost != 4 {
				t.Errorf("%+v, %v", p, err)
			}
		}
		// More expired before the third asked the hub.
		if p, err := s.Skip(ctx, from, 17); err != nil || p.Sequence != 16 || p.Lost != 6 {
			t.Errorf("%+v, %v", p, err)
		}
		if p := read(t, s, "0"); p.Sequence != 16 || p.Lost != 6 || p.Offset != "" || !p.Enqueued.Equal(event(10).Enqueued) {
			t.Errorf("%+v", p)
		}
	})
}

func TestGapEndsWithIt(t *testing.T) {
	s, ctx := open(&storetest.Memory{}), t.Context()
	p, err := s.Reread(ctx, progress.Position{Partition: "0", Sequence: -1}, 100)
	if err != nil || p.Until != 100 || p.Sequence != -1 || !read(t, s, "0").Stored() {
		t.Fatalf("%+v, %v", p, err)
	}
	for _, n := range []int64{50, 99} {
		if got, err := s.Advance(ctx, p, event(n)); err != nil || n == 50 && got.Until != 100 {
			t.Errorf("%+v, %v", got, err)
		}
	}
	if p := read(t, s, "0"); p.Until != 0 || p.Sequence != 99 {
		t.Errorf("%+v", p)
	}
}

// A hub that was made anew begins anew, once, and what rests on the former one
// moves nothing any more.
func TestAnew(t *testing.T) {
	s, ctx := open(&storetest.Memory{}), t.Context()
	old, err := s.Advance(ctx, progress.Position{Partition: "0", Sequence: -1}, event(1000))
	if err != nil {
		t.Fatal(err)
	}
	anew, err := s.Anew(ctx, old, 0)
	if err != nil || anew.Sequence != -1 || anew.Generation != 1 || !anew.Enqueued.IsZero() || anew.Offset != "" {
		t.Fatalf("%+v, %v", anew, err)
	}
	if anew, err = s.Advance(ctx, anew, event(5)); err != nil {
		t.Fatal(err)
	}
	if again, err := s.Anew(ctx, old, 0); err != nil || again.Sequence != 5 || again.Generation != 1 {
		t.Errorf("noticed again: %+v, %v", again, err)
	}
	if _, err := s.Advance(ctx, old, event(1001)); !errors.Is(err, progress.ErrMoved) {
		t.Errorf("the former hub's events: %v", err)
	}
	if p := read(t, s, "0"); p.Sequence != 5 {
		t.Errorf("%+v", p)
	}
}

func TestAllAndApart(t *testing.T) {
	stores(t, func(t *testing.T, rows store.Rows) {
		s, ctx := open(rows), t.Context()
		if all, err := s.All(ctx); err != nil || len(all) != 0 {
			t.Fatal(all, err)
		}
		other := progress.New(rows, "telemetry", "second", func() time.Time { return noon })
		same := progress.New(rows, "TELEMETRY", "$default", func() time.Time { return noon })
		for i := range int64(12) {
			if _, err := s.Advance(ctx, progress.Position{Partition: fmt.Sprint(i), Sequence: -1}, event(i)); err != nil {
				t.Fatal(err)
			}
		}
		all, err := same.All(ctx)
		if err != nil || len(all) != 12 {
			t.Fatal(all, err)
		}
		for _, p := range all {
			if fmt.Sprint(p.Sequence) != p.Partition {
				t.Errorf("%+v", p)
			}
		}
		if p := read(t, other, "3"); p.Stored() {
			t.Errorf("%+v", p)
		}
	})
}

func TestNewerFormat(t *testing.T) {
	rows := &storetest.Memory{}
	s := open(rows)
	if _, err := s.Advance(t.Context(), progress.Position{Partition: "0", Sequence: -1}, event(5)); err != nil {
		t.Fatal(err)
	}
	row, err := rows.Scan(t.Context(), progress.Table, store.Range{}, "")
	if err != nil || len(row.Rows) != 1 {
		t.Fatal(err)
	}
	for i := range row.Rows[0].Properties {
		if p := &row.Rows[0].Properties[i]; p.Name == "format" {
			p.Value = int64(2)
		}
	}
	op := store.Op{Kind: store.Put, Key: row.Rows[0].Key, Properties: row.Rows[0].Properties}
	if err := rows.Commit(t.Context(), progress.Table, row.Rows[0].Partition, []store.Op{op}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Read(t.Context(), "0"); !errors.Is(err, store.ErrFormat) {
		t.Error(err)
	}
	if _, err := s.All(t.Context()); !errors.Is(err, store.ErrFormat) {
		t.Error(err)
	}
}

// TestInterleaved lets instances consume one partition call by call, with
// answers that are lost, writes that land late or twice, and events that expire.
// Whatever happens: the row goes one way, passes only what somebody has made
// durable or found lost, and counts each loss once.
func TestInterleaved(t *testing.T) {
	total := &counts{}
	rapid.Check(t, func(rt *rapid.T) { newWorld(rt, total).run() })
	t.Logf("%+v", *total)
	if total.advances == 0 || total.skips == 0 || total.anew == 0 || total.moved == 0 || total.landed == 0 {
		t.Errorf("some of these never happened, so that the test says less than it should: %+v", *total)
	}
}

type counts struct{ advances, skips, anew, moved, landed int }

// world is a partition that some instances consume.
type world struct {
	rt     *rapid.T
	total  *counts
	actors *storetest.Actors
	rows   *storetest.FaultyRows
	view   *progress.Store
	row    progress.Position // as it was last seen

	done map[[2]int64]int // of each (generation, event): 1 durable, 2 found lost, 3 both
}

func newWorld(rt *rapid.T, total *counts) *world {
	memory := &storetest.Memory{}
	w := &world{rt: rt, total: total, actors: storetest.NewActors(rt.Context()), view: open(memory), done: map[[2]int64]int{}}
	w.rows = storetest.NewFaultyRows(memory, w.actors.Hook)
	w.row = progress.Position{Partition: "0", Sequence: -1}
	return w
}

func (w *world) run() {
	defer w.actors.Stop()
	faults := rapid.SampledFrom([]int{0, 10, 40}).Draw(w.rt, "faults")
	for range rapid.IntRange(10, 120).Draw(w.rt, "steps") {
		waiting := w.actors.Waiting()
		if len(waiting) < 3 && rapid.IntRange(0, 2).Draw(w.rt, "start") == 0 {
			w.start()
			continue
		}
		if n := w.rows.Len(); n > 0 && rapid.IntRange(0, 9).Draw(w.rt, "land") == 0 {
			if w.rows.Land(rapid.IntRange(0, n-1).Draw(w.rt, "which")) == nil {
				w.total.landed++
			}
			w.check()
			continue
		}
		if len(waiting) > 0 {
			w.actors.Step(rapid.SampledFrom(waiting).Draw(w.rt, "actor"), w.verdict(faults))
			w.check()
		}
	}
}

func (w *world) verdict(faults int) storetest.Verdict {
	if rapid.IntRange(1, 100).Draw(w.rt, "fault") > faults {
		return storetest.Pass()
	}
	return rapid.SampledFrom([]storetest.Verdict{
		storetest.Lose(), storetest.Float(), storetest.Twin(), storetest.Fail(store.ErrThrottled),
	}).Draw(w.rt, "verdict")
}

// start starts an instance that makes a few moves.
func (w *world) start() {
	moves := rapid.SliceOfN(rapid.IntRange(0, 19), 1, 4).Draw(w.rt, "moves")
	s := open(w.rows)
	w.actors.Go("instance", func(ctx context.Context) {
		p, err := s.Read(ctx, "0")
		if err == nil && !p.Stored() {
			p.Sequence = -1
		}
		for _, m := range moves {
			if err != nil {
				break
			}
			p, err = w.move(ctx, s, p, m)
		}
		if errors.Is(err, progress.ErrMoved) {
			w.total.moved++
		}
	})
}

func (w *world) move(ctx context.Context, s *progress.Store, p progress.Position, m int) (progress.Position, error) {
	to := p.Sequence + int64(m%5) + 1
	switch {
	case m < 12:
		w.claim(p, to, 1)
		return s.Advance(ctx, p, event(to))
	case m < 17:
		w.claim(p, to, 2)
		return s.Skip(ctx, p, to+1)
	case m < 19:
		return s.Reread(ctx, p, to+3)
	default:
		return s.Anew(ctx, p, 0)
	}
}

func (w *world) claim(p progress.Position, to int64, what int) {
	for n := p.Sequence + 1; n <= to; n++ {
		w.done[[2]int64{p.Generation, n}] |= what
	}
}

// check compares the row with what it was one write ago.
func (w *world) check() {
	was, now := w.row, read(w.rt, w.view, "0")
	if !now.Stored() {
		return
	}
	w.row = now
	passed, lost := now.Sequence-was.Sequence, now.Lost-was.Lost
	switch {
	case now.Generation == was.Generation+1:
		w.total.anew++
		if lost != 0 || now.Sequence != -1 {
			w.rt.Fatalf("anew: %+v, was %+v", now, was)
		}
		return
	case now.Generation != was.Generation || passed < 0 || lost != 0 && lost != passed:
		w.rt.Fatalf("%+v, was %+v", now, was)
	case lost > 0:
		w.total.skips++
	case passed > 0:
		w.total.advances++
	}
	what := 1
	if lost > 0 {
		what = 2
	}
	for n := was.Sequence + 1; n <= now.Sequence; n++ {
		if w.done[[2]int64{now.Generation, n}]&what == 0 {
			w.rt.Fatalf("passed %d, which is %d to nobody: %+v, was %+v", n, what, now, was)
		}
	}
}
