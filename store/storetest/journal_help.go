package storetest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"sluice/store"
)

func must(t tester, err error, action string, args ...any) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", fmt.Sprintf(action, args...), err)
	}
}

func wantErr(t tester, err, want error, action string, args ...any) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("%s: error %v, want %v", fmt.Sprintf(action, args...), err, want)
	}
}

// entry makes an entry of a bucket whose data is a text.
func entry(bucket int, format string, args ...any) store.Entry {
	return store.Entry{Bucket: bucket, Data: fmt.Appendf(nil, format, args...)}
}

// pages reads entries page by page, and checks that a journal's ids differ.
func pages(fetch func(token string) (store.EntryPage, error)) ([]store.Entry, error) {
	var all []store.Entry
	ids := map[string]bool{}
	for token := ""; ; {
		p, err := fetch(token)
		if err != nil {
			return all, err
		}
		for _, e := range p.Entries {
			if e.ID == "" || ids[e.ID] {
				return all, fmt.Errorf("entry id %q is empty or given twice", e.ID)
			}
			ids[e.ID] = true
		}
		all = append(all, p.Entries...)
		if token = p.Next; token == "" {
			return all, nil
		}
	}
}

func scanEpoch(ctx context.Context, j store.Journal, shard int, e store.Epoch) ([]store.Entry, error) {
	all, err := pages(func(token string) (store.EntryPage, error) { return j.Scan(ctx, shard, e, token) })
	if err == nil && !slices.IsSortedFunc(all, func(a, b store.Entry) int { return cmp.Compare(a.Bucket, b.Bucket) }) {
		return all, errors.New("scan: buckets do not ascend")
	}
	return all, err
}

func tailEpoch(ctx context.Context, j store.Journal, shard int, e store.Epoch, bucket int) ([]store.Entry, error) {
	all, err := pages(func(token string) (store.EntryPage, error) { return j.Tail(ctx, shard, e, bucket, token) })
	for _, e := range all {
		if e.Bucket != bucket {
			return all, fmt.Errorf("tail of bucket %d has an entry of %d", bucket, e.Bucket)
		}
	}
	return all, err
}

// texts are the entries as bucket:data, sorted.
func texts(entries []store.Entry) []string {
	out := []string{}
	for _, e := range entries {
		out = append(out, fmt.Sprintf("%d:%s", e.Bucket, e.Data))
	}
	slices.Sort(out)
	return out
}

func wantScan(t tester, j store.Journal, shard int, e store.Epoch, want ...store.Entry) {
	t.Helper()
	got, err := scanEpoch(t.Context(), j, shard, e)
	must(t, err, "scan epoch %d", e.Number)
	wantTexts(t, "scan", texts(got), texts(want))
}

func wantTexts(t tester, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("%s: %d entries %.300q, want %d: %.300q", what, len(got), got, len(want), want)
	}
}

func headOf(t tester, j store.Journal, shard int) store.Head {
	t.Helper()
	h, err := j.Head(t.Context(), shard)
	must(t, err, "head of shard %d", shard)
	return h
}

// newestOf is the newest epoch of a shard that has a head.
func newestOf(t tester, j store.Journal, shard int) store.Epoch {
	t.Helper()
	h := headOf(t, j, shard)
	if len(h.Epochs) == 0 {
		t.Fatalf("shard %d: a head without epochs", shard)
	}
	return h.Epochs[len(h.Epochs)-1]
}

func openNext(t tester, j store.Journal, shard int) store.Head {
	t.Helper()
	h, err := j.Open(t.Context(), shard, headOf(t, j, shard))
	must(t, err, "open")
	return h
}

func appendTo(t tester, j store.Journal, shard int, entries ...store.Entry) {
	t.Helper()
	must(t, j.Append(t.Context(), shard, entries), "append %d entries", len(entries))
}

// merged removes the oldest epoch from a shard's head.
func mergeOldest(t tester, j store.Journal, shard int) store.Epoch {
	t.Helper()
	h := headOf(t, j, shard)
	must(t, j.Seal(t.Context(), shard, h.Epochs[0]), "seal")
	must(t, j.Update(t.Context(), shard, h, store.Head{Epochs: h.Epochs[1:], State: h.State}), "update")
	return h.Epochs[0]
}
