package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"sluice/store"
)

var journalCases = []journalCase{
	{"HeadAbsent", headAbsent},
	{"AppendOpensFirst", appendOpensFirst},
	{"OpenFirst", openFirst},
	{"OpenNext", openNextEpoch},
	{"OpenStale", openStale},
	{"Tail", tailByBucket},
	{"Scan", scanByBucket},
	{"AfterSeal", afterSeal},
	{"SealNewest", sealNewest},
	{"Update", update},
	{"UpdateStale", updateStale},
	{"UpdateRefused", updateRefused},
	{"State", stateKept},
	{"Drop", drop},
	{"DropKeepsNamed", dropKeepsNamed},
	{"DropOften", dropOften},
	{"AppendRefused", appendRefused},
	{"BigEntries", bigEntries},
	{"ManyEntries", manyEntries},
	{"ManyBytes", manyBytes},
	{"Shards", shardsApart},
	{"Cancelled", journalCancelled},
	{"RaceOpen", raceOpen},
	{"RaceFirstAppend", raceFirstAppend},
	{"RaceUpdate", raceUpdate},
	{"RaceSeal", raceSeal},
	{"RaceSealAlone", raceSealAlone},
	{"TailSeesAppended", tailSeesAppended},
}

func headAbsent(t *testing.T, j store.Journal) {
	h := headOf(t, j, 0)
	if h.Version != "" || len(h.Epochs) != 0 || len(h.State) != 0 {
		t.Fatalf("head of a new shard: %+v, want the zero Head", h)
	}
}

func appendOpensFirst(t *testing.T, j store.Journal) {
	e := entry(3, "first")
	appendTo(t, j, 0, e)
	h := headOf(t, j, 0)
	if len(h.Epochs) != 1 || h.Version == "" || h.Epochs[0].Place == "" || h.Epochs[0].Opened == 0 {
		t.Fatalf("head after the first append: %+v, want one epoch and a version", h)
	}
	wantScan(t, j, 0, h.Epochs[0], e)
}

func openFirst(t *testing.T, j store.Journal) {
	h, err := j.Open(t.Context(), 2, store.Head{})
	must(t, err, "open the first epoch")
	if len(h.Epochs) != 1 || h.Version == "" {
		t.Fatalf("opened head: %+v, want one epoch and a version", h)
	}
	wantSameHead(t, headOf(t, j, 2), h)
	wantScan(t, j, 2, h.Epochs[0])
	_, err = j.Open(t.Context(), 2, store.Head{})
	wantErr(t, err, store.ErrStale, "open the first epoch again")
	wantSameHead(t, headOf(t, j, 2), h)
}

func wantSameHead(t *testing.T, got, want store.Head) {
	t.Helper()
	if !slices.Equal(got.Epochs, want.Epochs) || !bytes.Equal(got.State, want.State) || got.Version != want.Version {
		t.Fatalf("head %+v, want %+v", got, want)
	}
}

func openNextEpoch(t *testing.T, j store.Journal) {
	a, b := entry(1, "in the first"), entry(1, "in the second")
	appendTo(t, j, 0, a)
	before := headOf(t, j, 0)
	h := openNext(t, j, 0)
	if len(h.Epochs) != 2 || h.Epochs[0] != before.Epochs[0] || h.Version == before.Version {
		t.Fatalf("opened after %+v: %+v, want one epoch more and another version", before, h)
	}
	if h.Epochs[1].Number <= h.Epochs[0].Number || h.Epochs[1].Place == h.Epochs[0].Place {
		t.Fatalf("epochs %+v: numbers ascend, places differ", h.Epochs)
	}
	wantSameHead(t, headOf(t, j, 0), h)
	must(t, j.Seal(t.Context(), 0, h.Epochs[0]), "seal the first")
	appendTo(t, j, 0, b)
	wantScan(t, j, 0, h.Epochs[0], a)
	wantScan(t, j, 0, h.Epochs[1], b)
}

func openStale(t *testing.T, j store.Journal) {
	appendTo(t, j, 0, entry(0, "x"))
	old := headOf(t, j, 0)
	h := openNext(t, j, 0)
	_, err := j.Open(t.Context(), 0, old)
	wantErr(t, err, store.ErrStale, "open after a head that has changed")
	wantSameHead(t, headOf(t, j, 0), h)
}

func tailByBucket(t *testing.T, j store.Journal) {
	want := map[int][]store.Entry{}
	for i := range 12 {
		var flush []store.Entry
		for _, b := range []int{0, 1, 10, 31}[:1+i%4] {
			e := entry(b, "flush %d bucket %d", i, b)
			flush, want[b] = append(flush, e), append(want[b], e)
		}
		appendTo(t, j, 0, flush...)
	}
	e := newestOf(t, j, 0)
	for _, b := range []int{0, 1, 2, 10, 31} {
		got, err := tailEpoch(t.Context(), j, 0, e, b)
		must(t, err, "tail of bucket %d", b)
		wantTexts(t, fmt.Sprint("tail of bucket ", b), texts(got), texts(want[b]))
	}
}

func scanByBucket(t *testing.T, j store.Journal) {
	var want []store.Entry
	for i := range 40 {
		e := entry((i*7)%32, "entry %d", i)
		want = append(want, e)
		appendTo(t, j, 0, e, entry(i%32, "second %d", i))
		want = append(want, entry(i%32, "second %d", i))
	}
	h := openNext(t, j, 0)
	wantScan(t, j, 0, h.Epochs[0], want...)
	must(t, j.Seal(t.Context(), 0, h.Epochs[0]), "seal")
	wantScan(t, j, 0, h.Epochs[0], want...)
}

func afterSeal(t *testing.T, j store.Journal) {
	a := entry(5, "before")
	appendTo(t, j, 0, a)
	h := openNext(t, j, 0)
	for range 3 {
		must(t, j.Seal(t.Context(), 0, h.Epochs[0]), "seal, also again")
	}
	var later []store.Entry
	for i := range 5 {
		later = append(later, entry(5, "after %d", i))
		appendTo(t, j, 0, later[i])
	}
	wantScan(t, j, 0, h.Epochs[0], a)
	wantScan(t, j, 0, h.Epochs[1], later...)
	wantSameHead(t, headOf(t, j, 0), h)
}

// sealNewest: what is appended while the newest epoch is sealed goes elsewhere
// or nowhere.
func sealNewest(t *testing.T, j store.Journal) {
	a, b := entry(1, "a"), entry(1, "b")
	appendTo(t, j, 0, a)
	first := newestOf(t, j, 0)
	must(t, j.Seal(t.Context(), 0, first), "seal the newest")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	acked := j.Append(ctx, 0, []store.Entry{b}) == nil
	wantScan(t, j, 0, first, a)
	if !acked {
		openNext(t, j, 0)
		appendTo(t, j, 0, b)
	}
	wantScan(t, j, 0, newestOf(t, j, 0), b)
}

func update(t *testing.T, j store.Journal) {
	for i := range 3 {
		appendTo(t, j, 0, entry(0, "%d", i))
		must(t, j.Seal(t.Context(), 0, openNext(t, j, 0).Epochs[i]), "seal")
	}
	h := headOf(t, j, 0)
	to := store.Head{Epochs: []store.Epoch{h.Epochs[0], h.Epochs[3]}, State: []byte("two gone")}
	must(t, j.Update(t.Context(), 0, h, to), "update")
	got := headOf(t, j, 0)
	if !slices.Equal(got.Epochs, to.Epochs) || string(got.State) != "two gone" || got.Version == h.Version || got.Version == "" {
		t.Fatalf("head after update %+v, want %+v under another version than %q", got, to, h.Version)
	}
	wantScan(t, j, 0, got.Epochs[0], entry(0, "0"))
	appendTo(t, j, 0, entry(9, "on"))
	wantScan(t, j, 0, got.Epochs[1], entry(9, "on"))
}

func updateStale(t *testing.T, j store.Journal) {
	appendTo(t, j, 0, entry(0, "x"))
	old := headOf(t, j, 0)
	must(t, j.Update(t.Context(), 0, old, store.Head{Epochs: old.Epochs, State: []byte("1")}), "update")
	h := headOf(t, j, 0)
	err := j.Update(t.Context(), 0, old, store.Head{Epochs: old.Epochs, State: []byte("2")})
	wantErr(t, err, store.ErrStale, "update a head that an update has changed")
	wantSameHead(t, headOf(t, j, 0), h)
	opened := openNext(t, j, 0)
	err = j.Update(t.Context(), 0, h, store.Head{Epochs: h.Epochs, State: []byte("3")})
	wantErr(t, err, store.ErrStale, "update a head that an open has changed")
	wantSameHead(t, headOf(t, j, 0), opened)
	_, err = j.Open(t.Context(), 0, h)
	wantErr(t, err, store.ErrStale, "open after a head that an open has changed")
}

func updateRefused(t *testing.T, j store.Journal) {
	appendTo(t, j, 0, entry(0, "x"))
	h := openNext(t, j, 0)
	other := store.Epoch{Number: h.Epochs[1].Number + 1, Place: h.Epochs[1].Place + "x"}
	for name, to := range map[string]store.Head{
		"without the newest": {Epochs: h.Epochs[:1]},
		"without any":        {},
		"with another":       {Epochs: []store.Epoch{other, h.Epochs[1]}},
	} {
		wantErr(t, j.Update(t.Context(), 0, h, to), store.ErrInvalid, "update %s", name)
	}
	big := store.Head{Epochs: h.Epochs, State: make([]byte, 1<<10+1)}
	wantErr(t, j.Update(t.Context(), 0, h, big), store.ErrTooLarge, "update with a state over 1 KiB")
	if err := j.Update(t.Context(), 5, store.Head{}, store.Head{}); err == nil {
		t.Fatal("update of a shard without a head: no error")
	}
	wantSameHead(t, headOf(t, j, 0), h)
	big.State = bytes.Repeat([]byte{0, 0xFF, '"', '\n'}, 1<<8)
	must(t, j.Update(t.Context(), 0, h, big), "update with a state of 1 KiB")
	if got := headOf(t, j, 0); !bytes.Equal(got.State, big.State) {
		t.Fatalf("state %q, want %q", got.State, big.State)
	}
}

func stateKept(t *testing.T, j store.Journal) {
	appendTo(t, j, 0, entry(0, "x"))
	h := headOf(t, j, 0)
	must(t, j.Update(t.Context(), 0, h, store.Head{Epochs: h.Epochs, State: []byte("kept")}), "update")
	h = openNext(t, j, 0)
	if string(h.State) != "kept" || string(headOf(t, j, 0).State) != "kept" {
		t.Fatalf("state after open: %q, want it kept", h.State)
	}
	must(t, j.Update(t.Context(), 0, h, store.Head{Epochs: h.Epochs}), "clear the state")
	if h = headOf(t, j, 0); len(h.State) != 0 {
		t.Fatalf("state %q, want none", h.State)
	}
}

// wantGoneOr checks an epoch that no head names: gone, or as it was.
func wantGoneOr(t *testing.T, j store.Journal, e store.Epoch, bucket int, want ...store.Entry) {
	t.Helper()
	scanned, err := scanEpoch(t.Context(), j, 0, e)
	if !errors.Is(err, store.ErrGone) {
		must(t, err, "scan of a removed epoch")
		wantTexts(t, "scan of a removed epoch", texts(scanned), texts(want))
	}
	tail, err := tailEpoch(t.Context(), j, 0, e, bucket)
	if !errors.Is(err, store.ErrGone) {
		must(t, err, "tail of a removed epoch")
		wantTexts(t, "tail of a removed epoch", texts(tail), texts(want))
	}
}

func drop(t *testing.T, j store.Journal) {
	a := entry(4, "merged")
	appendTo(t, j, 0, a)
	openNext(t, j, 0)
	e := mergeOldest(t, j, 0)
	wantGoneOr(t, j, e, 4, a)
	must(t, j.Drop(t.Context(), 1), "drop")
	wantGoneOr(t, j, e, 4, a)
	must(t, j.Seal(t.Context(), 0, e), "seal an epoch that may be gone")
	must(t, j.Drop(t.Context(), 1), "drop again")
}

func dropKeepsNamed(t *testing.T, j store.Journal) {
	kept := entry(7, "of an idle shard")
	appendTo(t, j, 1, kept)
	appendTo(t, j, 2, entry(0, "sealed, not merged"))
	h2 := openNext(t, j, 2)
	must(t, j.Seal(t.Context(), 2, h2.Epochs[0]), "seal")
	for i := range 4 {
		appendTo(t, j, 0, entry(0, "%d", i))
		openNext(t, j, 0)
		mergeOldest(t, j, 0)
		must(t, j.Drop(t.Context(), 4), "drop, shard 3 has no head")
		must(t, j.Drop(t.Context(), 3), "drop")
	}
	wantScan(t, j, 1, newestOf(t, j, 1), kept)
	wantScan(t, j, 2, h2.Epochs[0], entry(0, "sealed, not merged"))
	for shard := range 4 {
		e := entry(1, "still takes commits")
		appendTo(t, j, shard, e)
		got, err := tailEpoch(t.Context(), j, shard, newestOf(t, j, shard), 1)
		must(t, err, "tail")
		wantTexts(t, "tail", texts(got), texts([]store.Entry{e}))
	}
}

func dropOften(t *testing.T, j store.Journal) {
	must(t, j.Drop(t.Context(), 3), "drop in a new journal")
	for i := range 6 {
		for shard := range 3 {
			e := entry(i, "round %d", i)
			appendTo(t, j, shard, e)
			must(t, j.Drop(t.Context(), 3), "drop")
			wantScan(t, j, shard, newestOf(t, j, shard), e)
			openNext(t, j, shard)
			mergeOldest(t, j, shard)
		}
	}
}

func appendRefused(t *testing.T, j store.Journal) {
	must(t, j.Append(t.Context(), 0, []store.Entry{entry(1, "good")}), "append")
	good := entry(1, "never")
	wantErr(t, j.Append(t.Context(), 0, nil), store.ErrInvalid, "append no entry")
	wantErr(t, j.Append(t.Context(), 0, []store.Entry{good, {Bucket: 1}}), store.ErrInvalid, "append an empty entry")
	wantErr(t, j.Append(t.Context(), 0, []store.Entry{{Bucket: -1, Data: []byte("x")}}), store.ErrInvalid, "append to bucket -1")
	big := store.Entry{Bucket: 1, Data: make([]byte, store.MaxEntry+1)}
	wantErr(t, j.Append(t.Context(), 0, []store.Entry{good, big}), store.ErrTooLarge, "append an entry over MaxEntry")
	wantScan(t, j, 0, newestOf(t, j, 0), entry(1, "good"))
}
