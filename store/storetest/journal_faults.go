package storetest

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"sluice/store"
)

// The shards of the random cases: as many as every journal has.
const (
	firstFaultShard = 10
	lastFaultShard  = 9999
)

func runJournalFaults(t *testing.T, journal store.Journal) {
	t.Run("LateAppend", func(t *testing.T) { lateAppend(t, journal, 0) })
	t.Run("LateOpen", func(t *testing.T) { lateOpen(t, journal, 1) })
	t.Run("LateUpdate", func(t *testing.T) { lateUpdate(t, journal, 2) })
	t.Run("LostAnswers", func(t *testing.T) { lostAnswers(t, journal, 3) })
	t.Run("LateDrop", func(t *testing.T) { lateDrop(t, journal, 4) })
	t.Run("Random", func(t *testing.T) {
		n := firstFaultShard
		rapid.Check(t, func(rt *rapid.T) {
			if n <= lastFaultShard {
				newJournalOracle(t, rt, journal, n).run()
			}
			n++
		})
	})
}

// byMethod gives every call of a method a verdict.
func byMethod(method string, v Verdict) Hook {
	return func(c Call) Verdict {
		if c.Method == method {
			return v
		}
		return Pass()
	}
}

// lateAppend: an append that its caller gave up lands after the epoch was
// sealed: not in that epoch.
func lateAppend(t *testing.T, journal store.Journal, shard int) {
	appendTo(t, journal, shard, entry(1, "early"))
	late := NewFaultyJournal(journal, byMethod("Append", Float()))
	wantErr(t, late.Append(t.Context(), shard, []store.Entry{entry(1, "late")}), store.ErrNoAnswer, "append")
	h := openNext(t, journal, shard)
	must(t, journal.Seal(t.Context(), shard, h.Epochs[0]), "seal")
	wantScan(t, journal, shard, h.Epochs[0], entry(1, "early"))
	must(t, late.Land(0), "the late append")
	wantScan(t, journal, shard, h.Epochs[0], entry(1, "early"))
	wantScan(t, journal, shard, h.Epochs[1], entry(1, "late"))
}

// lateOpen: of two openers the one that wrote first wins, also where it began
// last.
func lateOpen(t *testing.T, journal store.Journal, shard int) {
	late := NewFaultyJournal(journal, byMethod("Open", Float()))
	for i := range 3 {
		before := headOf(t, journal, shard)
		_, err := late.Open(t.Context(), shard, before)
		wantErr(t, err, store.ErrNoAnswer, "open")
		wantSameHead(t, headOf(t, journal, shard), before)
		h := openNext(t, journal, shard)
		for _, e := range before.Epochs {
			must(t, journal.Seal(t.Context(), shard, e), "seal") // another process may still append there
		}
		appendTo(t, journal, shard, entry(0, "%d", i))
		wantErr(t, late.Land(0), store.ErrStale, "the late open")
		wantSameHead(t, headOf(t, journal, shard), h)
		wantScan(t, journal, shard, newestOf(t, journal, shard), entry(0, "%d", i))
	}
}

func lateUpdate(t *testing.T, journal store.Journal, shard int) {
	appendTo(t, journal, shard, entry(0, "x"))
	late := NewFaultyJournal(journal, byMethod("Update", Float()))
	h := openNext(t, journal, shard)
	to := store.Head{Epochs: h.Epochs[1:], State: []byte("late")}
	wantErr(t, late.Update(t.Context(), shard, h, to), store.ErrNoAnswer, "update")
	wantErr(t, late.Update(t.Context(), shard, h, to), store.ErrNoAnswer, "update again")
	must(t, late.Land(0), "the late update, nobody else came first")
	got := headOf(t, journal, shard)
	if !slices.Equal(got.Epochs, to.Epochs) || string(got.State) != "late" {
		t.Fatalf("head %+v, want %+v", got, to)
	}
	wantErr(t, late.Land(0), store.ErrStale, "its twin")
	wantSameHead(t, headOf(t, journal, shard), got)
}

// lostAnswers: each call is done and its answer lost; done again it says so or
// does no harm.
func lostAnswers(t *testing.T, journal store.Journal, shard int) {
	lossy := NewFaultyJournal(journal, func(c Call) Verdict {
		if c.Write {
			return Lose()
		}
		return Pass()
	})
	_, err := lossy.Open(t.Context(), shard, store.Head{})
	wantErr(t, err, store.ErrNoAnswer, "open")
	_, err = journal.Open(t.Context(), shard, store.Head{})
	wantErr(t, err, store.ErrStale, "open again")
	wantErr(t, lossy.Append(t.Context(), shard, []store.Entry{entry(2, "lost")}), store.ErrNoAnswer, "append")
	h := openNext(t, journal, shard)
	wantErr(t, lossy.Seal(t.Context(), shard, h.Epochs[0]), store.ErrNoAnswer, "seal")
	must(t, journal.Seal(t.Context(), shard, h.Epochs[0]), "seal again")
	wantScan(t, journal, shard, h.Epochs[0], entry(2, "lost"))
	to := store.Head{Epochs: h.Epochs[1:], State: []byte("x")}
	wantErr(t, lossy.Update(t.Context(), shard, h, to), store.ErrNoAnswer, "update")
	wantErr(t, journal.Update(t.Context(), shard, h, to), store.ErrStale, "update again")
	wantErr(t, lossy.Drop(t.Context(), shard+1), store.ErrNoAnswer, "drop")
	appendTo(t, journal, shard, entry(2, "on"))
	wantScan(t, journal, shard, newestOf(t, journal, shard), entry(2, "on"))
}

// lateDrop: a drop that lands late drops nothing that was opened since.
func lateDrop(t *testing.T, journal store.Journal, shard int) {
	appendTo(t, journal, shard, entry(0, "x"))
	openNext(t, journal, shard)
	mergeOldest(t, journal, shard)
	late := NewFaultyJournal(journal, byMethod("Drop", Float()))
	for range 2 {
		wantErr(t, late.Drop(t.Context(), shard+1), store.ErrNoAnswer, "drop")
	}
	appendTo(t, journal, shard, entry(0, "kept"))
	e := newestOf(t, journal, shard)
	openNext(t, journal, shard)
	must(t, late.Land(1), "the late drop")
	wantScan(t, journal, shard, e, entry(0, "kept"))
	mergeOldest(t, journal, shard)
	appendTo(t, journal, shard, entry(0, "on"))
	must(t, late.Land(0), "the late drop")
	wantScan(t, journal, shard, newestOf(t, journal, shard), entry(0, "on"))
}

// journalOracle knows what was sent, acknowledged and merged of one shard.
type journalOracle struct {
	t     *testing.T
	rt    *rapid.T
	j     *FaultyJournal
	shard int
	calm  bool

	sent   map[string]bool
	acked  map[string]bool
	merged map[string]bool          // shown by a whole scan of a sealed epoch
	sealed map[store.Epoch][]string // what a sealed epoch showed first
	heads  []store.Head             // that were read
}

func newJournalOracle(t *testing.T, rt *rapid.T, journal store.Journal, shard int) *journalOracle {
	o := &journalOracle{
		t: t, rt: rt, shard: shard, sealed: map[store.Epoch][]string{},
		sent: map[string]bool{}, acked: map[string]bool{}, merged: map[string]bool{},
	}
	o.j = NewFaultyJournal(journal, func(Call) Verdict {
		if o.calm {
			return Pass()
		}
		return anyVerdict(rt)
	})
	return o
}

func (o *journalOracle) run() {
	o.rt.Repeat(map[string]func(*rapid.T){
		"append":  func(*rapid.T) { o.append() },
		"append2": func(*rapid.T) { o.append() },
		"open":    func(*rapid.T) { o.open() },
		"merge":   func(*rapid.T) { o.merge() },
		"merge2":  func(*rapid.T) { o.merge() },
		"state":   func(*rapid.T) { o.state() },
		"drop":    func(*rapid.T) { _ = o.j.Drop(o.t.Context(), o.shard+1) },
		"land":    func(*rapid.T) { o.land() },
		"":        func(*rapid.T) { o.check() },
	})
	for o.j.Len() > 0 {
		_ = o.j.Land(0)
	}
	o.check()
}

func (o *journalOracle) append() {
	var flush []store.Entry
	for range rapid.IntRange(1, 3).Draw(o.rt, "entries") {
		e := entry(rapid.IntRange(0, 2).Draw(o.rt, "bucket"), "%d", len(o.sent))
		flush = append(flush, e)
		o.sent[texts([]store.Entry{e})[0]] = true
	}
	if o.j.Append(o.t.Context(), o.shard, flush) == nil {
		for _, text := range texts(flush) {
			o.acked[text] = true
		}
	}
}

// head is the head now, or one that was read formerly.
func (o *journalOracle) head() (store.Head, bool) {
	if i := rapid.IntRange(-2, len(o.heads)-1).Draw(o.rt, "old head"); i >= 0 {
		return o.heads[i], true
	}
	h, err := o.j.Head(o.t.Context(), o.shard)
	if err == nil {
		o.heads = append(o.heads, h)
	}
	return h, err == nil
}

func (o *journalOracle) open() {
	if h, ok := o.head(); ok {
		_, _ = o.j.Open(o.t.Context(), o.shard, h)
	}
}

func (o *journalOracle) state() {
	if h, ok := o.head(); ok && len(h.Epochs) > 0 {
		_ = o.j.Update(o.t.Context(), o.shard, h, store.Head{Epochs: h.Epochs, State: fmt.Append(nil, len(o.sent))})
	}
}

// merge seals an epoch of a head, reads it whole, and removes it.
func (o *journalOracle) merge() {
	h, ok := o.head()
	if !ok || len(h.Epochs) < 2 {
		return
	}
	i := rapid.IntRange(0, len(h.Epochs)-2).Draw(o.rt, "epoch")
	if o.j.Seal(o.t.Context(), o.shard, h.Epochs[i]) != nil {
		return
	}
	entries, err := scanEpoch(o.t.Context(), o.j, o.shard, h.Epochs[i])
	if err != nil {
		return
	}
	o.sealedAs(h.Epochs[i], texts(entries))
	to := store.Head{Epochs: slices.Delete(slices.Clone(h.Epochs), i, i+1), State: h.State}
	_ = o.j.Update(o.t.Context(), o.shard, h, to)
}

// sealedAs notes what a sealed epoch shows, which stays the same for ever.
func (o *journalOracle) sealedAs(e store.Epoch, got []string) {
	if first, ok := o.sealed[e]; ok {
		wantTexts(o.rt, fmt.Sprintf("sealed epoch %d", e.Number), got, first)
	}
	o.sealed[e] = got
	for _, text := range got {
		o.merged[text] = true
	}
}

func (o *journalOracle) land() {
	if i := rapid.IntRange(-1, o.j.Len()-1).Draw(o.rt, "floating call"); i >= 0 {
		_ = o.j.Land(i)
	}
}

// check: everything that was acknowledged is in the epochs that the head names,
// or was shown by a scan of a sealed one.
func (o *journalOracle) check() {
	o.calm = true
	defer func() { o.calm = false }()
	shown := map[string]bool{}
	for _, e := range headOf(o.rt, o.j, o.shard).Epochs {
		entries, err := scanEpoch(o.t.Context(), o.j, o.shard, e)
		must(o.rt, err, "scan epoch %d, which the head names", e.Number)
		o.wantTails(e, entries)
		if _, ok := o.sealed[e]; ok {
			o.sealedAs(e, texts(entries))
		}
		for _, text := range texts(entries) {
			if shown[text] = true; !o.sent[text] {
				o.rt.Fatalf("epoch %d shows %q, which was never sent", e.Number, text)
			}
		}
	}
	for text := range o.acked {
		if !shown[text] && !o.merged[text] {
			o.rt.Fatalf("%q was acknowledged and is nowhere", text)
		}
	}
}

func (o *journalOracle) wantTails(e store.Epoch, want []store.Entry) {
	var got []store.Entry
	for bucket := range 3 {
		tail, err := tailEpoch(o.t.Context(), o.j, o.shard, e, bucket)
		if errors.Is(err, store.ErrGone) {
			o.rt.Fatalf("epoch %d is gone and the head names it", e.Number)
		}
		must(o.rt, err, "tail")
		got = append(got, tail...)
	}
	wantTexts(o.rt, "tails", texts(got), texts(want))
}
