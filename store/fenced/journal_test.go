package fenced_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/store"
	"sluice/store/fenced"
	"sluice/store/storetest"
)

// rig is a journal of one process over rows whose calls a test sees.
type rig struct {
	t      *testing.T
	memory *storetest.Memory
	rows   *storetest.FaultyRows
	calls  []storetest.Call
	hook   storetest.Hook
	now    time.Time
	slept  []time.Duration
	store.Journal
}

func newRig(t *testing.T, fences int) *rig {
	t.Helper()
	r := &rig{t: t, memory: &storetest.Memory{}, now: time.Date(2026, 11, 24, 23, 0, 0, 0, time.UTC)}
	r.hook = func(storetest.Call) storetest.Verdict { return storetest.Pass() }
	r.rows = storetest.NewFaultyRows(r.memory, func(c storetest.Call) storetest.Verdict {
		r.calls = append(r.calls, c)
		return r.hook(c)
	})
	var err error
	r.Journal, err = fenced.New(func(int) store.Rows { return r.rows }, fenced.Options{
		Fences: fences, Now: func() time.Time { return r.now },
		Sleep: func(ctx context.Context, d time.Duration) error { r.slept = append(r.slept, d); return ctx.Err() },
	})
	r.must(err)
	return r
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) want(err, want error) {
	r.t.Helper()
	if !errors.Is(err, want) {
		r.t.Fatalf("error %v, want %v", err, want)
	}
}

func (r *rig) append(text string) error {
	return r.Append(r.t.Context(), 0, []store.Entry{{Bucket: 1, Data: []byte(text)}})
}

func (r *rig) head() store.Head {
	r.t.Helper()
	h, err := r.Head(r.t.Context(), 0)
	r.must(err)
	return h
}

func (r *rig) open() store.Head {
	r.t.Helper()
	h, err := r.Open(r.t.Context(), 0, r.head())
	r.must(err)
	return h
}

func (r *rig) texts(e store.Epoch) string {
	r.t.Helper()
	got, err := scan(r.t.Context(), r.Journal, 0, e)
	r.must(err)
	var all []string
	for text := range got {
		all = append(all, text)
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// place takes the table and the partition from an epoch's place.
func place(e store.Epoch) (table, partition string) {
	parts := strings.Split(e.Place, "/")
	return parts[0], parts[1]
}

// opens returns the partitions into which fences were inserted, in order of
// calls.
func (r *rig) opens() (partitions []string) {
	for _, c := range r.calls {
		if c.Method == "Commit" && c.Ops[0].Kind == store.Insert && strings.HasPrefix(c.Ops[0].Key, "!open") {
			partitions = append(partitions, c.Partition)
		}
	}
	return partitions
}

// TestOpenUnanswered: an insert of fences is sent once, under a nonce of its
// own, and only one that was answered is named.
func TestOpenUnanswered(t *testing.T) {
	for _, v := range []storetest.Verdict{
		storetest.Float(), storetest.Lose(), storetest.Fail(store.ErrThrottled), storetest.Fail(store.ErrUnavailable),
	} {
		r := newRig(t, 3)
		r.must(r.append("x"))
		before := r.head()
		r.hook = func(c storetest.Call) storetest.Verdict {
			if c.Method == "Commit" && strings.HasPrefix(c.Ops[0].Key, "!open") && len(r.opens()) == 3 {
				return v // the first was refused for want of a table
			}
			return storetest.Pass()
		}
		h, err := r.Open(t.Context(), 0, before)
		if err == nil && slices.Contains(r.opens()[2:3], partitionOf(h.Epochs[1])) {
			t.Fatalf("%v was named and its insert was not answered", h.Epochs[1])
		}
		if err != nil && r.head().Version != before.Version {
			t.Fatalf("open failed, %v, and the head is %+v", err, r.head())
		}
		if err != nil {
			r.open()
		}
		partitions := r.opens()
		slices.Sort(partitions)
		if len(slices.Compact(slices.Clone(partitions))) != len(partitions) {
			t.Fatalf("fences were inserted twice into a partition: %q", partitions)
		}
	}
}

func partitionOf(e store.Epoch) string { _, p := place(e); return p }

// TestOpenTableMissing: the insert that made the journal notice that the table
// is missing is not sent again under its nonce.
func TestOpenTableMissing(t *testing.T) {
	r := newRig(t, 2)
	r.open()
	r.now = r.now.AddDate(0, 0, 1)
	r.open()
	partitions := r.opens()
	if slices.Sort(partitions); len(partitions) != 4 || len(slices.Compact(partitions)) != 4 {
		t.Fatalf("fences were inserted into %q, want 4 partitions", partitions)
	}
}

// TestOpenNameUnanswered: the head's write is not answered, and lands late or
// never; the caller reads the head again.
func TestOpenNameUnanswered(t *testing.T) {
	r := newRig(t, 2)
	r.must(r.append("x"))
	before := r.head()
	r.hook = func(c storetest.Call) storetest.Verdict {
		if c.Method == "Commit" && c.Table == "sluiceheads" {
			return storetest.Float()
		}
		return storetest.Pass()
	}
	_, err := r.Open(t.Context(), 0, before)
	r.want(err, store.ErrNoAnswer)
	r.must(r.append("y"))
	if got := r.texts(before.Epochs[0]); got != "x y" {
		t.Fatalf("epoch 1: %q", got)
	}
	r.must(r.rows.Land(0))
	if h := r.head(); len(h.Epochs) != 2 {
		t.Fatalf("head %+v, want two epochs", h)
	}
}

// TestOpenChangedSince: the head is changed between its write and the reading
// that learns its version.
func TestOpenChangedSince(t *testing.T) {
	r := newRig(t, 2)
	r.must(r.append("x"))
	other, err := fenced.New(func(int) store.Rows { return r.memory }, fenced.Options{})
	r.must(err)
	before := r.head()
	r.hook = func(c storetest.Call) storetest.Verdict {
		if c.Method == "Get" {
			h, err := other.Head(t.Context(), 0)
			r.must(err)
			r.must(other.Update(t.Context(), 0, h, store.Head{Epochs: h.Epochs, State: []byte("changed")}))
		}
		return storetest.Pass()
	}
	_, err = r.Open(t.Context(), 0, before)
	r.want(err, store.ErrStale)
	r.hook = func(c storetest.Call) storetest.Verdict {
		if c.Method == "Get" {
			return storetest.Fail(store.ErrUnavailable)
		}
		return storetest.Pass()
	}
	h, err := other.Head(t.Context(), 0)
	r.must(err)
	_, err = r.Open(t.Context(), 0, h)
	r.want(err, store.ErrNoAnswer)
}

// TestSealPartly: a seal that finds some fences gone deletes the others.
func TestSealPartly(t *testing.T) {
	for gone := range 4 {
		r := newRig(t, 4)
		r.must(r.append("x"))
		e := r.open().Epochs[0]
		table, partition := place(e)
		del := []store.Op{{Kind: store.Delete, Key: "!open" + string(rune('0'+gone)), IfMatch: store.AnyTag}}
		r.must(r.rows.Commit(t.Context(), table, partition, del))
		r.must(r.Seal(t.Context(), 0, e))
		left, err := r.rows.Scan(t.Context(), table, store.InPartition(partition, "!", "0"), "")
		r.must(err)
		if len(left.Rows) != 0 {
			t.Fatalf("fences after the seal: %+v", left.Rows)
		}
	}
}

// TestAppendFences: appends spread over all fences, each touches one, and one
// that is refused for another reason than a missing row is tried on another.
func TestAppendFences(t *testing.T) {
	r := newRig(t, 4)
	touched := map[string]int{}
	for range 100 {
		r.must(r.append("x"))
	}
	for _, c := range r.calls {
		if c.Method == "Commit" && c.Ops[0].Kind == store.Touch {
			touched[c.Ops[0].Key]++
		}
	}
	if len(touched) != 4 {
		t.Fatalf("100 appends touched %v, want 4 fences", touched)
	}
	r.calls = nil
	r.hook = func(storetest.Call) storetest.Verdict {
		if len(r.calls) < 4 {
			return storetest.Fail(store.ErrStale) // as where two transactions of one fence fail each other
		}
		return storetest.Pass()
	}
	r.must(r.append("y"))
	tried := map[string]bool{}
	for _, c := range r.calls {
		tried[c.Ops[0].Key] = true
	}
	if len(r.calls) != 4 || len(tried) != 4 {
		t.Fatalf("%d calls touched %v, want 4 fences in turn", len(r.calls), tried)
	}
}

// TestAppendResends: without an answer the same rows go, under the same id,
// into the epoch that the head names then; both copies are durable.
func TestAppendResends(t *testing.T) {
	r := newRig(t, 2)
	r.must(r.append("x"))
	r.calls = nil
	lost := false
	r.hook = func(c storetest.Call) storetest.Verdict {
		if c.Method == "Commit" && !lost {
			lost = true
			return storetest.Lose()
		}
		return storetest.Pass()
	}
	r.must(r.append("y"))
	if got := r.texts(r.head().Epochs[0]); got != "x y" {
		t.Fatalf("epoch 1: %q", got)
	}
	first, second := r.calls[0], r.calls[2] // between them the head is read
	if first.Ops[1].Key != second.Ops[1].Key || r.calls[1].Method != "Get" {
		t.Fatalf("sent as %q, then %s, then as %q", first.Ops[1].Key, r.calls[1].Method, second.Ops[1].Key)
	}
	if r.must(r.append("z")); r.calls[len(r.calls)-1].Ops[1].Key == first.Ops[1].Key {
		t.Fatal("other content under the same id")
	}
}

// TestAppendGivesUp: attempts are bounded, pauses grow and are cut by the
// context, and what cannot succeed is not tried again.
func TestAppendGivesUp(t *testing.T) {
	r := newRig(t, 2)
	r.must(r.append("x"))
	r.calls = nil
	r.hook = func(storetest.Call) storetest.Verdict { return storetest.Fail(store.ErrStale) }
	r.want(r.append("y"), store.ErrStale)
	if len(r.calls) != 8 || len(r.slept) != 7 {
		t.Fatalf("%d calls and %d pauses, want 8 and 7", len(r.calls), len(r.slept))
	}
	for i, d := range r.slept {
		if most := min(time.Second, 20*time.Millisecond<<i); d < most/2 || d > most {
			t.Fatalf("pause %d: %v, want %v to %v", i, d, most/2, most)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	r.calls = nil
	r.hook = func(storetest.Call) storetest.Verdict { cancel(); return storetest.Fail(store.ErrStale) }
	if err := r.Append(ctx, 0, []store.Entry{{Data: []byte("y")}}); !errors.Is(err, store.ErrStale) || len(r.calls) != 1 {
		t.Fatalf("%v after %d calls, want one", err, len(r.calls))
	}
}

// TestAppendLeavesRetriesToTheStore: what the store gave up is not tried again,
// so that tries do not multiply and an outage ends with the caller's deadline;
// what it did not answer is sent again once, for it may have been sealed.
func TestAppendLeavesRetriesToTheStore(t *testing.T) {
	for _, c := range []struct {
		err   error
		sends int
	}{{store.ErrThrottled, 1}, {store.ErrUnavailable, 1}, {store.ErrDenied, 1}, {store.ErrNoAnswer, 2}} {
		r := newRig(t, 2)
		r.must(r.append("x"))
		r.calls = nil
		r.hook = func(c2 storetest.Call) storetest.Verdict {
			if c2.Method == "Commit" {
				return storetest.Fail(c.err)
			}
			return storetest.Pass()
		}
		r.want(r.append("y"), c.err)
		sends := 0
		for _, call := range r.calls {
			if call.Method == "Commit" {
				sends++
			}
		}
		if sends != c.sends {
			t.Errorf("%v: sent %d times, want %d", c.err, sends, c.sends)
		}
	}
}

// TestAppendCalls: an append is one transaction and nothing else, of a shard
// whose newest epoch is known.
func TestAppendCalls(t *testing.T) {
	r := newRig(t, 8)
	r.must(r.append("x"))
	r.calls = nil
	for range 10 {
		r.must(r.append("y"))
	}
	if len(r.calls) != 10 {
		t.Fatalf("%d calls for 10 appends", len(r.calls))
	}
	e := r.open().Epochs[0]
	r.must(r.Seal(t.Context(), 0, e))
	r.calls = nil
	r.must(r.append("z"))
	if len(r.calls) > 3 {
		t.Fatalf("%d calls for an append after a seal: %v", len(r.calls), r.calls)
	}
}

// TestTransactionsFull: flushes are cut to 100 rows with the fence, and to what
// fits on the wire.
func TestTransactionsFull(t *testing.T) {
	r := newRig(t, 8)
	r.must(r.append("x"))
	for _, tt := range []struct{ entries, bytes, want int }{{99, 1, 1}, {100, 1, 2}, {198, 1, 2}, {199, 1, 3}, {4, store.MaxEntry, 1}, {5, store.MaxEntry, 2}, {99, 28 << 10, 1}, {99, 40 << 10, 2}} {
		var flush []store.Entry
		for i := range tt.entries {
			flush = append(flush, store.Entry{Bucket: i, Data: make([]byte, tt.bytes)})
		}
		r.calls = nil
		r.must(r.Append(t.Context(), 0, flush))
		if len(r.calls) != tt.want {
			t.Errorf("%d entries of %d bytes: %d transactions, want %d", tt.entries, tt.bytes, len(r.calls), tt.want)
		}
	}
}

// TestNeverBack: an opener whose clock is behind opens in the table of the
// newest epoch.
func TestNeverBack(t *testing.T) {
	r := newRig(t, 1)
	for i, tt := range []struct {
		days int
		want string
	}{{0, "sluicejournal20261124"}, {1, "sluicejournal20261125"}, {-3, "sluicejournal20261125"}, {0, "sluicejournal20261125"}, {40, "sluicejournal20270103"}} {
		r.now = time.Date(2026, 11, 24+tt.days, 1, 0, 0, 0, time.UTC)
		if table, _ := place(r.open().Epochs[i]); table != tt.want {
			t.Fatalf("opened on day %d in %s, want %s", tt.days, table, tt.want)
		}
	}
}

// TestDropTables: tables go when every epoch that any head names lies in a
// later one, and not while a shard has no head: it might open its first epoch
// in any table.
func TestDropTables(t *testing.T) {
	r := newRig(t, 2)
	tables := func() string {
		names, _, err := r.rows.Tables(t.Context(), "sluicejournal", "")
		r.must(err)
		return strings.ReplaceAll(strings.Join(names, " "), "sluicejournal202611", "")
	}
	remove := func(shard int) {
		h, err := r.Head(t.Context(), shard)
		r.must(err)
		r.must(r.Update(t.Context(), shard, h, store.Head{Epochs: h.Epochs[len(h.Epochs)-1:]}))
	}
	next := func(shard int) store.Epoch {
		h, err := r.Head(t.Context(), shard)
		r.must(err)
		h, err = r.Open(t.Context(), shard, h)
		r.must(err)
		return h.Epochs[0]
	}
	first := next(0)
	r.now = r.now.AddDate(0, 0, 1)
	next(0)
	r.must(r.Drop(t.Context(), 1))
	if got := tables(); got != "24 25" {
		t.Fatalf("tables %s: one is named", got)
	}
	remove(0)
	r.must(r.Drop(t.Context(), 2))
	if got := tables(); got != "24 25" {
		t.Fatalf("tables %s: shard 1 has no head", got)
	}
	next(1)
	r.now = r.now.AddDate(0, 0, 1)
	next(0)
	remove(0)
	r.must(r.Drop(t.Context(), 2))
	if got := tables(); got != "25 26" {
		t.Fatalf("tables %s, want 25, which shard 1 names, and 26", got)
	}
	_, err := r.Scan(t.Context(), 0, first, "")
	r.want(err, store.ErrGone)
	_, err = r.Tail(t.Context(), 0, first, 3, "")
	r.want(err, store.ErrGone)
	r.must(r.Seal(t.Context(), 0, first))
}

// TestNewerFormat: what a newer version wrote is refused, not misread.
func TestNewerFormat(t *testing.T) {
	r := newRig(t, 2)
	r.must(r.append("x"))
	e := r.head().Epochs[0]
	table, partition := place(e)
	page, err := r.rows.Scan(t.Context(), table, store.InPartition(partition, "0", ""), "")
	r.must(err)
	newer := func(table, partition, key string) {
		r.must(r.rows.Commit(t.Context(), table, partition, []store.Op{{
			Kind: store.Touch, Key: key, IfMatch: store.AnyTag, Properties: []store.Property{{Name: "Format", Value: int64(2)}},
		}}))
	}
	newer(table, partition, page.Rows[0].Key)
	_, err = r.Scan(t.Context(), 0, e, "")
	r.want(err, store.ErrFormat)
	newer("sluiceheads", "0000", "head")
	_, err = r.Head(t.Context(), 0)
	r.want(err, store.ErrFormat)
	_, err = r.Open(t.Context(), 1, store.Head{})
	r.must(err)
	other, err := fenced.New(func(int) store.Rows { return r.rows }, fenced.Options{})
	r.must(err)
	r.want(other.Append(t.Context(), 0, []store.Entry{{Data: []byte("y")}}), store.ErrFormat)
	r.want(r.Drop(t.Context(), 2), store.ErrFormat)
}

// TestSealedNewest: an append that finds the newest epoch sealed, with nothing
// opened after it, opens the next one.
func TestSealedNewest(t *testing.T) {
	r := newRig(t, 2)
	r.must(r.append("x"))
	e := r.head().Epochs[0]
	other, err := fenced.New(func(int) store.Rows { return r.memory }, fenced.Options{})
	r.must(err)
	r.must(other.Seal(t.Context(), 0, e))
	r.must(r.append("y"))
	h := r.head()
	if len(h.Epochs) != 2 || r.texts(h.Epochs[0]) != "x" || r.texts(h.Epochs[1]) != "y" {
		t.Fatalf("head %+v", h)
	}
}

// TestWrongInput names what is wrong.
func TestWrongInput(t *testing.T) {
	r := newRig(t, 2)
	r.must(r.append("x"))
	e := r.head().Epochs[0]
	for _, p := range []string{"", "x", "a/b/c", e.Place + "/1", strings.TrimSuffix(e.Place, "2") + "0", strings.TrimSuffix(e.Place, "2") + "65", strings.Replace(e.Place, "/0000-", "/0001-", 1), strings.Replace(e.Place, "sluicejournal", "sluiceheads", 1)} {
		r.want(r.Seal(t.Context(), 0, store.Epoch{Number: 1, Place: p}), store.ErrInvalid)
		_, err := r.Scan(t.Context(), 0, store.Epoch{Number: 1, Place: p}, "")
		r.want(err, store.ErrInvalid)
	}
	for _, shard := range []int{-1, 10000} {
		_, err := r.Head(t.Context(), shard)
		r.want(err, store.ErrInvalid)
		r.want(r.Append(t.Context(), shard, []store.Entry{{Data: []byte("x")}}), store.ErrInvalid)
	}
	_, err := r.Open(t.Context(), 0, store.Head{Version: "*", Epochs: []store.Epoch{e}})
	r.want(err, store.ErrInvalid)
	_, err = fenced.New(func(int) store.Rows { return r.rows }, fenced.Options{Fences: 65})
	r.want(err, store.ErrInvalid)
	_, err = fenced.New(func(int) store.Rows { return r.rows }, fenced.Options{Random: strings.NewReader("short")})
	if err == nil {
		t.Fatal("no randomness, and no error")
	}
}

// TestManyEpochs: a head is bounded, and merging makes room again.
func TestManyEpochs(t *testing.T) {
	r := newRig(t, 1)
	for range 200 {
		r.open()
	}
	h := r.head()
	_, err := r.Open(t.Context(), 0, h)
	r.want(err, store.ErrTooLarge)
	r.must(r.Update(t.Context(), 0, h, store.Head{Epochs: h.Epochs[1:], State: make([]byte, 1<<10)}))
	r.open()
}

// TestAppendIsolates: of a flush the entries that the store refuses for good
// come back alone, all others are durable, and the number of transactions is
// bounded. Where the fence alone is refused too, no entry is at fault.
func TestAppendIsolates(t *testing.T) {
	r := newRig(t, 2)
	r.must(r.append("x"))
	var flush []store.Entry
	for i := range 150 {
		flush = append(flush, store.Entry{Bucket: i % 7, Data: []byte(fmt.Sprintf("entry %d", i))})
	}
	bad := []int{3, 98, 99, 149}
	r.calls = nil
	r.hook = func(c storetest.Call) storetest.Verdict {
		for _, i := range bad {
			for _, op := range c.Ops {
				if len(op.Properties) > 0 && string(op.Properties[0].Value.([]byte)) == string(flush[i].Data) {
					return storetest.Fail(store.ErrTooLarge)
				}
			}
		}
		return storetest.Pass()
	}
	err := r.Append(t.Context(), 0, flush)
	var refused *store.RefusedError
	if !errors.As(err, &refused) || !slices.Equal(refused.Entries, bad) || !errors.Is(err, store.ErrTooLarge) {
		t.Fatalf("refused %v, want %v: %v", refused, bad, err)
	}
	if len(r.calls) > 60 {
		t.Errorf("%d calls to find %d of 150", len(r.calls), len(bad))
	}
	r.hook = func(storetest.Call) storetest.Verdict { return storetest.Pass() }
	texts := r.texts(r.head().Epochs[0])
	for i, e := range flush {
		if there := slices.Contains(strings.Split(texts, " "), strings.Split(string(e.Data), " ")[1]); there == slices.Contains(bad, i) {
			t.Errorf("%s is there: %v", e.Data, there)
		}
	}
	r.calls = nil
	r.hook = func(c storetest.Call) storetest.Verdict {
		if c.Method == "Commit" {
			return storetest.Fail(store.ErrInvalid)
		}
		return storetest.Pass()
	}
	err = r.Append(t.Context(), 0, flush[:99])
	if errors.As(err, &refused) || !errors.Is(err, store.ErrInvalid) || len(r.calls) > 2*99 {
		t.Fatalf("a store that refuses everything: %v after %d calls", err, len(r.calls))
	}
	passed := 0
	r.hook = func(c storetest.Call) storetest.Verdict {
		if passed++; passed > 1 && c.Method == "Commit" {
			return storetest.Fail(store.ErrInvalid)
		}
		return storetest.Pass()
	}
	err = r.Append(t.Context(), 0, flush)
	if errors.As(err, &refused) || !errors.Is(err, store.ErrInvalid) {
		t.Fatalf("a store that begins to refuse everything after the first transaction: %v", err)
	}
}
