package fenced_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sluice/store"
	"sluice/store/fenced"
	"sluice/store/storetest"
)

// TestInterleaved interleaves writers and compactors, each a process with a
// journal and a clock of its own, call by call, with calls that land late,
// answers that are lost, throttling, cut pages, processes that sleep and die,
// and days that pass. Whatever happens: what was acknowledged is in an epoch
// that a head names, or was shown by a whole scan of a sealed epoch before the
// head lost it.
func TestInterleaved(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) { newWorld(rt).run() })
}

const worldShards = 2

// world is the rows, who works on them, and what must be true.
type world struct {
	rt     *rapid.T
	rows   *storetest.FaultyRows
	actors *storetest.Actors
	view   store.Journal // sees the rows as they are
	seed   uint64
	day    int
	faults int // in 100 calls
	names  int

	sent   map[string]bool
	acked  map[string]bool
	merged map[string]bool                 // shown by a whole scan of a sealed epoch
	sealed map[store.Epoch]map[string]bool // what such a scan showed
}

func newWorld(rt *rapid.T) *world {
	w := &world{
		rt: rt, actors: storetest.NewActors(rt.Context()), seed: rapid.Uint64().Draw(rt, "seed"), faults: rapid.SampledFrom([]int{0, 5, 20, 40}).Draw(rt, "faults"),
		sent: map[string]bool{}, acked: map[string]bool{}, merged: map[string]bool{}, sealed: map[store.Epoch]map[string]bool{},
	}
	memory := &storetest.Memory{}
	w.rows = storetest.NewFaultyRows(memory, w.actors.Hook)
	w.view = w.journal(memory, 1, 0)
	return w
}

// journal is that of another process.
func (w *world) journal(rows store.Rows, fences, skew int) store.Journal {
	w.seed++
	var seed [32]byte
	binary.LittleEndian.PutUint64(seed[:], w.seed)
	j, err := fenced.New(func(int) store.Rows { return rows }, fenced.Options{
		Fences: fences, Attempts: 4, Random: rand.NewChaCha8(seed),
		Now:   func() time.Time { return time.Date(2026, 11, 24+w.day+skew, 12, 0, 0, 0, time.UTC) },
		Sleep: func(ctx context.Context, _ time.Duration) error { return ctx.Err() },
	})
	if err != nil {
		w.rt.Fatal(err)
	}
	return j
}

func (w *world) process() (string, store.Journal) {
	w.names++
	fences := rapid.IntRange(1, 3).Draw(w.rt, "fences")
	skew := rapid.IntRange(-1, 1).Draw(w.rt, "clock")
	return fmt.Sprint("process", w.names), w.journal(w.rows, fences, skew)
}

// run lets one actor go on for some calls, then another one: so that some sleep
// while others do a lot.
func (w *world) run() {
	defer w.actors.Stop()
	for shard := range rapid.IntRange(0, worldShards).Draw(w.rt, "shards with a head") {
		if _, err := w.view.Open(w.rt.Context(), shard, store.Head{}); err != nil {
			w.rt.Fatal(err)
		}
	}
	for range rapid.IntRange(10, 60).Draw(w.rt, "turns") {
		w.turn()
		w.check()
	}
	for w.rows.Len() > 0 {
		_ = w.rows.Land(0)
	}
	w.check()
}

func (w *world) turn() {
	waiting := w.actors.Waiting()
	switch n := rapid.IntRange(0, 19).Draw(w.rt, "turn"); {
	case n >= 18 && w.rows.Len() > 0:
		_ = w.rows.Land(rapid.IntRange(0, w.rows.Len()-1).Draw(w.rt, "late call"))
	case n == 17:
		w.day++
	case len(waiting) < 2 || n >= 14 && len(waiting) < 5:
		w.hire()
	default:
		w.let(waiting[rapid.IntRange(0, len(waiting)-1).Draw(w.rt, "who")])
	}
}

// hire starts a process. One that is never let on again has died.
func (w *world) hire() {
	name, j := w.process()
	if rapid.Bool().Draw(w.rt, "compacts") {
		w.actors.Go(name, func(ctx context.Context) { w.compact(ctx, j) })
		return
	}
	w.actors.Go(name, func(ctx context.Context) { w.write(ctx, name, j) })
}

func (w *world) let(x *storetest.Actor) {
	for range rapid.SampledFrom([]int{1, 1, 2, 4, 8, 30}).Draw(w.rt, "calls") {
		if !w.actors.Step(x, w.verdict()) {
			return
		}
	}
}

func (w *world) verdict() storetest.Verdict {
	if rapid.IntRange(0, 99).Draw(w.rt, "fault") >= w.faults {
		return storetest.Pass()
	}
	return rapid.SampledFrom([]storetest.Verdict{
		storetest.Float(), storetest.Float(), storetest.Lose(), storetest.Twin(), storetest.Twin(), storetest.Cut(0), storetest.Cut(1),
		storetest.Fail(store.ErrThrottled), storetest.Fail(store.ErrUnavailable),
	}).Draw(w.rt, "verdict")
}

// write appends for ever, under one goroutine at a time as all actors do.
func (w *world) write(ctx context.Context, name string, j store.Journal) {
	for i := 0; ctx.Err() == nil; i++ {
		shard := i / 4 % worldShards
		var flush []store.Entry
		for part := range 1 + i%2 {
			text := fmt.Sprintf("shard %d %s flush %d part %d", shard, name, i, part)
			w.sent[text] = true
			flush = append(flush, store.Entry{Bucket: part, Data: []byte(text)})
		}
		if j.Append(ctx, shard, flush) == nil {
			for _, e := range flush {
				w.acked[string(e.Data)] = true
			}
		}
	}
}

// compact opens, seals, scans and removes epochs for ever, as the engine does.
func (w *world) compact(ctx context.Context, j store.Journal) {
	for i := 0; ctx.Err() == nil; i++ {
		shard := i % worldShards
		head, err := j.Head(ctx, shard)
		if err == nil && len(head.Epochs) < 3 {
			head, err = j.Open(ctx, shard, head)
		}
		if err == nil && len(head.Epochs) > 1 {
			_ = w.merge(ctx, j, shard, head)
		}
		_ = j.Drop(ctx, worldShards)
	}
}

func (w *world) merge(ctx context.Context, j store.Journal, shard int, head store.Head) error {
	e := head.Epochs[0]
	if err := j.Seal(ctx, shard, e); err != nil {
		return err
	}
	got, err := scan(ctx, j, shard, e)
	if err != nil {
		return err
	}
	for text := range got {
		w.merged[text] = true
	}
	if w.sealed[e] == nil { // else check compares
		w.sealed[e] = got
	}
	return j.Update(ctx, shard, head, store.Head{Epochs: head.Epochs[1:], State: head.State})
}

func scan(ctx context.Context, j store.Journal, shard int, e store.Epoch) (map[string]bool, error) {
	got := map[string]bool{}
	for token := ""; ; {
		page, err := j.Scan(ctx, shard, e, token)
		if err != nil {
			return nil, err
		}
		for _, e := range page.Entries {
			got[string(e.Data)] = true
		}
		if token = page.Next; token == "" {
			return got, nil
		}
	}
}

// check looks at everything in one instant.
func (w *world) check() {
	shown := map[string]bool{}
	for shard := range worldShards {
		head, err := w.view.Head(w.rt.Context(), shard)
		if err != nil {
			w.rt.Fatalf("head: %v", err)
		}
		for _, e := range head.Epochs {
			got, err := scan(w.rt.Context(), w.view, shard, e)
			if err != nil {
				w.rt.Fatalf("epoch %d at %s, which the head names: %v", e.Number, e.Place, err)
			}
			w.wantSame(shard, e, got)
			for text := range got {
				shown[text] = true
			}
		}
	}
	for text := range w.acked {
		if !shown[text] && !w.merged[text] {
			w.rt.Fatalf("%q was acknowledged and is nowhere", text)
		}
	}
}

// wantSame checks that a sealed epoch has not grown, and holds what was sent to
// its shard.
func (w *world) wantSame(shard int, e store.Epoch, got map[string]bool) {
	before, ok := w.sealed[e]
	for text := range got {
		if ok && !before[text] {
			w.rt.Fatalf("%q landed in epoch %d after its seal", text, e.Number)
		}
		if !w.sent[text] || !strings.HasPrefix(text, fmt.Sprintf("shard %d ", shard)) {
			w.rt.Fatalf("epoch %d of shard %d shows %q", e.Number, shard, text)
		}
	}
	if ok && len(before) != len(got) {
		w.rt.Fatalf("sealed epoch %d shows %d entries, formerly %d", e.Number, len(got), len(before))
	}
}

// TestInterleavedReaches counts what the interleavings reach, so that
// TestInterleaved cannot pass by doing nothing.
func TestInterleavedReaches(t *testing.T) {
	var acked, merged, dropped int
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(rt)
		w.run()
		acked, merged = acked+len(w.acked), merged+len(w.sealed)
		tables, _, _ := w.rows.Tables(rt.Context(), "sluicejournal", "")
		if len(tables) > 0 && !slices.Contains(tables, "sluicejournal20261124") {
			dropped++
		}
	})
	t.Logf("acknowledged %d, sealed epochs merged %d, first table dropped %d", acked, merged, dropped)
	if acked < 500 || merged < 50 || dropped < 2 {
		t.Fatalf("acknowledged %d, sealed epochs merged %d, first table dropped %d: too few", acked, merged, dropped)
	}
}
