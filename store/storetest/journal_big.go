package storetest

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"testing"

	"sluice/store"
)

// noise is data that does not compress.
func noise(n int, seed uint64) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	_, _ = r.Read(b) // never fails
	return b
}

func wantData(t *testing.T, j store.Journal, want []store.Entry) {
	t.Helper()
	got, err := scanEpoch(t.Context(), j, 0, newestOf(t, j, 0))
	must(t, err, "scan")
	if len(got) != len(want) {
		t.Fatalf("%d entries, want %d", len(got), len(want))
	}
	for _, w := range want {
		n := 0
		for _, g := range got {
			if g.Bucket == w.Bucket && bytes.Equal(g.Data, w.Data) {
				n++
			}
		}
		if n != 1 {
			t.Fatalf("entry of %d bytes in bucket %d is there %d times", len(w.Data), w.Bucket, n)
		}
	}
}

func bigEntries(t *testing.T, j store.Journal) {
	var want []store.Entry
	for i, n := range []int{1, 60<<10 - 1, 60 << 10, 60<<10 + 1, 64 << 10, 64<<10 + 1, 300000, store.MaxEntry - 1, store.MaxEntry} {
		e := store.Entry{Bucket: i, Data: noise(n, uint64(i))}
		appendTo(t, j, 0, e)
		want = append(want, e)
	}
	wantData(t, j, want)
	got, err := tailEpoch(t.Context(), j, 0, newestOf(t, j, 0), len(want)-1)
	must(t, err, "tail")
	if len(got) != 1 || !bytes.Equal(got[0].Data, want[len(want)-1].Data) {
		t.Fatalf("tail: %d entries, want the one of MaxEntry", len(got))
	}
}

func manyEntries(t *testing.T, j store.Journal) {
	var want []store.Entry
	for i := range 317 {
		want = append(want, entry(i%32, "entry %d", i))
	}
	appendTo(t, j, 0, want...)
	wantScan(t, j, 0, newestOf(t, j, 0), want...)
}

func manyBytes(t *testing.T, j store.Journal) {
	var want []store.Entry
	for i := range 7 {
		want = append(want, store.Entry{Bucket: i % 2, Data: noise(store.MaxEntry-i, uint64(i))})
	}
	appendTo(t, j, 0, want...)
	wantData(t, j, want)
}

func shardsApart(t *testing.T, j store.Journal) {
	for shard := range 12 {
		appendTo(t, j, shard, entry(shard, "of shard %d", shard))
	}
	for shard := range 12 {
		wantScan(t, j, shard, newestOf(t, j, shard), entry(shard, "of shard %d", shard))
	}
	openNext(t, j, 1)
	for shard := range 12 {
		if n := len(headOf(t, j, shard).Epochs); shard != 1 && n != 1 {
			t.Fatalf("shard %d: %d epochs after an open of shard 1", shard, n)
		}
	}
}

func journalCancelled(t *testing.T, j store.Journal) {
	appendTo(t, j, 0, entry(0, "x"))
	h := headOf(t, j, 0)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, headErr := j.Head(ctx, 0)
	_, openErr := j.Open(ctx, 0, h)
	_, tailErr := j.Tail(ctx, 0, h.Epochs[0], 0, "")
	_, scanErr := j.Scan(ctx, 0, h.Epochs[0], "")
	for name, err := range map[string]error{
		"Head": headErr, "Open": openErr, "Tail": tailErr, "Scan": scanErr,
		"Append": j.Append(ctx, 0, []store.Entry{entry(0, "y")}), "Seal": j.Seal(ctx, 0, h.Epochs[0]),
		"Update": j.Update(ctx, 0, h, h), "Drop": j.Drop(ctx, 1),
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s with a cancelled context: %v", name, err)
		}
	}
}
