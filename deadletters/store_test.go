package deadletters_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"sluice/deadletters"
	"sluice/devtools/azurite"
	"sluice/store"
	"sluice/store/pebble"
	"sluice/store/storetest"
	"sluice/store/tables"
	"sluice/telemetry"
)

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// clock is a clock that a test sets.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// onEachStore runs a test over rows in memory, in the embedded store and in Azurite.
func onEachStore(t *testing.T, test func(t *testing.T, rows store.Rows)) {
	t.Run("memory", func(t *testing.T) {
		turn := 0
		test(t, &storetest.Memory{Pages: func(n int) int { turn++; return min(n, turn%4) }})
	})
	t.Run("embedded", func(t *testing.T) {
		s, err := pebble.Open("data", pebble.Options{FS: vfs.NewMem(), Now: time.Now, MinFree: -1})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		test(t, s.Rows())
	})
	t.Run("azurite", func(t *testing.T) {
		rows, err := tables.Open(azurite.ForTest(t).Account().ConnectionString(), tables.Options{})
		if err != nil {
			t.Fatal(err)
		}
		test(t, rows)
	})
}

// event is the n-th event of a partition, with a body of its own.
func event(n int, size int) deadletters.Letter {
	body := make([]byte, size)
	source := rand.NewChaCha8([32]byte{byte(n), byte(n >> 8), 1})
	_, _ = source.Read(body)
	return deadletters.Letter{
		Reason:   telemetry.Refusal{Code: telemetry.InvalidJSON, Message: fmt.Sprint("event ", n, " is none")},
		Rejected: n % 3, Device: "pump-7", PartitionKey: "s03", ContentType: "application/json", ContentEncoding: "gzip", Body: body,
		Source: deadletters.Source{Hub: "telemetry", Partition: "1", Sequence: int64(n), Enqueued: noon.Add(time.Duration(n) * 7 * time.Minute)},
	}
}

func put(t *testing.T, s *deadletters.Store, letters ...deadletters.Letter) {
	t.Helper()
	if err := s.Put(t.Context(), letters); err != nil {
		t.Fatal(err)
	}
}

// list reads all pages.
func list(t *testing.T, s *deadletters.Store, limit int) (letters []deadletters.Letter) {
	t.Helper()
	for cursor, first := "", true; first || cursor != ""; first = false {
		page, next, err := s.List(t.Context(), limit, cursor)
		if err != nil || len(page) > limit || next != "" && next == cursor {
			t.Fatalf("a page of %d, limit %d, after %q comes %q: %v", len(page), limit, cursor, next, err)
		}
		letters, cursor = append(letters, page...), next
	}
	return letters
}

func ids(letters []deadletters.Letter) (ids []string) {
	for _, l := range letters {
		ids = append(ids, l.ID)
	}
	return ids
}

// What is kept comes back as it was, to 1 MiB and beyond.
func TestLettersComeBack(t *testing.T) {
	onEachStore(t, func(t *testing.T, rows store.Rows) {
		now := &clock{now: noon.Add(time.Hour)}
		s := deadletters.New(rows, now.Now)
		sizes := []int{0, 1, 60 << 10, 60<<10 + 1, 640 << 10, 640<<10 + 1, 1 << 20, deadletters.MaxBody, deadletters.MaxBody + 1}
		var letters []deadletters.Letter
		for n, size := range sizes {
			letters = append(letters, event(n, size))
		}
		put(t, s, letters...)
		found := list(t, s, 2)
		if len(found) != len(sizes) {
			t.Fatalf("%d letters, want %d", len(found), len(sizes))
		}
		for n, size := range sizes {
			listed := found[len(sizes)-1-n] // the newest first
			want := letters[n]
			want.ID, want.Received, want.Size, want.Body = listed.ID, noon.Add(time.Hour), size, want.Body[:min(size, deadletters.MaxBody)]
			want.Cut = size > deadletters.MaxBody
			got, err := s.Get(t.Context(), listed.ID)
			if err != nil || !bytes.Equal(got.Body, want.Body) {
				t.Fatalf("body of %d bytes: got %d: %v", size, len(got.Body), err)
			}
			got.Body, want.Body = nil, nil
			if fmt.Sprint(got) != fmt.Sprint(want) || fmt.Sprint(listed) != fmt.Sprint(want) {
				t.Errorf("got  %v\nlist %v\nwant %v", got, listed, want)
			}
		}
	})
}

// An event is kept once, however it is delivered, and not again when its letter is
// done.
func TestOnce(t *testing.T) {
	onEachStore(t, func(t *testing.T, rows store.Rows) {
		s := deadletters.New(rows, func() time.Time { return noon })
		letters := make([]deadletters.Letter, 9)
		for n := range letters {
			letters[n] = event(n, 100<<10*(n%3))
		}
		put(t, s, letters[:3]...)
		put(t, s, letters[2], letters[1], letters[1], letters[4])
		put(t, s, letters...)
		all := list(t, s, 4)
		if len(all) != len(letters) {
			t.Fatalf("%d letters of %d events", len(all), len(letters))
		}
		drop(t, s, all[3].ID)
		drop(t, s, all[4].ID)
		if _, err := s.Replay(t.Context(), judge(func(deadletters.Letter) deadletters.Verdicts { return deadletters.Verdicts{Accepted: 5} }), all[5].ID); err != nil {
			t.Fatal(err)
		}
		put(t, s, letters...)
		left := list(t, s, 1000)
		if want := append(ids(all[:3]), ids(all[6:])...); !slices.Equal(ids(left), want) {
			t.Errorf("%v, want %v", ids(left), want)
		}
		for _, l := range all[3:6] {
			if _, err := s.Get(t.Context(), l.ID); !errors.Is(err, deadletters.ErrUnknown) {
				t.Errorf("a letter that is done: %v", err)
			}
			drop(t, s, l.ID)
		}
		if n, more, err := s.Count(t.Context()); n != 6 || more || err != nil {
			t.Errorf("counts %d, %v, %v", n, more, err)
		}
		if rows := bodyRows(t, rows); rows != 4 { // of six; those of all[3] and all[4] went
			t.Errorf("%d rows of bodies", rows)
		}
	})
}

// bodyRows counts the rows that have parts of bodies.
func bodyRows(t *testing.T, rows store.Rows) int {
	t.Helper()
	n := 0
	for token, first := "", true; first || token != ""; first = false {
		page, err := rows.Scan(t.Context(), "sluicedeadletters", store.Range{KeyFrom: "p!"}, token)
		if err != nil {
			t.Fatal(err)
		}
		n, token = n+len(page.Rows), page.Next
	}
	return n
}

func drop(t *testing.T, s *deadletters.Store, id string) {
	t.Helper()
	if err := s.Drop(t.Context(), id); err != nil {
		t.Fatalf("drop %s: %v", id, err)
	}
}

// judge is a Replayer.
type judge func(deadletters.Letter) deadletters.Verdicts

func (j judge) Replay(_ context.Context, l deadletters.Letter) (deadletters.Verdicts, error) {
	return j(l), nil
}

// Events that differ in anything are different ones; the hub's name and what it was
// refused for tell nothing.
func TestIdentity(t *testing.T) {
	s := deadletters.New(&storetest.Memory{}, func() time.Time { return noon })
	same := event(1, 10)
	same.Source.Hub, same.Reason.Message, same.Source.Enqueued = "TELEMETRY", "another", same.Source.Enqueued.Add(999*time.Microsecond)
	put(t, s, event(1, 10), same)
	if n := len(list(t, s, 10)); n != 1 {
		t.Errorf("%d letters of one event", n)
	}
	others := make([]deadletters.Letter, 4)
	for n := range others {
		others[n] = event(1, 10)
	}
	others[0].Source.Partition = "2"
	others[1].Source.Sequence++
	others[2].Source.Enqueued = others[2].Source.Enqueued.Add(time.Millisecond)
	others[3].Body = append(others[3].Body, 0)
	put(t, s, others...)
	if n := len(list(t, s, 10)); n != 5 {
		t.Errorf("%d letters of 5 events", n)
	}
}

// Sources as no hub has them are kept all the same.
func TestStrangeSources(t *testing.T) {
	onEachStore(t, func(t *testing.T, rows store.Rows) {
		s := deadletters.New(rows, func() time.Time { return noon })
		var letters []deadletters.Letter
		for _, enqueued := range []time.Time{{}, time.UnixMilli(-1), time.UnixMilli(1 << 50), time.Unix(1<<40, 0)} {
			for _, sequence := range []int64{-1, 0, 1<<63 - 1, -1 << 63} {
				l := event(1, 3)
				l.Source.Enqueued, l.Source.Sequence = enqueued, sequence
				letters = append(letters, l)
			}
		}
		put(t, s, letters...)
		all := list(t, s, 3)
		for _, l := range all {
			if _, err := s.Get(t.Context(), l.ID); err != nil {
				t.Errorf("%s: %v", l.ID, err)
			}
		}
		if len(all) != len(letters) {
			t.Errorf("%d letters of %d", len(all), len(letters))
		}
	})
}

// Whatever stands in an event's properties, its letter is kept.
func TestHostileTexts(t *testing.T) {
	onEachStore(t, func(t *testing.T, rows store.Rows) {
		s := deadletters.New(rows, func() time.Time { return noon })
		for n, text := range []string{"a\x00b\x1f\u0085", "\xff\xfe\xed\xa0\x80", strings.Repeat("ü🌡", 100_000), strings.Repeat("\xf0\x9f\x8c", 1000), "\ufffe\uffff", "<&\"'\u2028>"} {
			l := event(n, 5)
			l.Device, l.PartitionKey, l.ContentType, l.ContentEncoding, l.Source.Hub, l.Source.Partition = text, text, text, text, text, text
			l.Reason = telemetry.Refusal{Code: telemetry.Code(text), Message: text}
			put(t, s, l)
			put(t, s, l)
		}
		all := list(t, s, 100)
		if len(all) != 6 {
			t.Fatalf("%d letters", len(all))
		}
		for _, l := range all {
			if len(l.Reason.Message) > 1000 || len(l.PartitionKey) > 1000 || len(l.Device) == 0 {
				t.Errorf("kept %d bytes of the reason, %d and %d of other texts", len(l.Reason.Message), len(l.PartitionKey), len(l.Device))
			}
		}
	})
}

// A row that the store refuses for good loses its texts; its neighbours keep theirs.
func TestRefusedRows(t *testing.T) {
	rows := storetest.NewFaultyRows(&storetest.Memory{}, func(c storetest.Call) storetest.Verdict {
		for n, op := range c.Ops {
			for _, p := range op.Properties {
				if p.Value == "poison" {
					return storetest.Fail(&store.OpError{Index: n, Err: store.ErrInvalid})
				}
			}
		}
		return storetest.Pass()
	})
	s := deadletters.New(rows, func() time.Time { return noon })
	var letters []deadletters.Letter
	for n := range 9 {
		l := event(n, 70<<10)
		if n%4 == 1 {
			l.Device = "poison"
		}
		letters = append(letters, l)
	}
	put(t, s, letters...)
	all := list(t, s, 100)
	if len(all) != 9 {
		t.Fatalf("%d letters", len(all))
	}
	for n, l := range all {
		n = 8 - n
		got, err := s.Get(t.Context(), l.ID)
		if err != nil || !bytes.Equal(got.Body, letters[n].Body) || got.Reason.Code != letters[n].Reason.Code || (got.Device == "pump-7") == (n%4 == 1) {
			t.Errorf("letter %d: %d bytes of %q, %v: %v", n, len(got.Body), got.Device, got.Reason, err)
		}
	}
}

// A store that does not say which row it refuses is asked in halves.
func TestRefusedWithoutSayingWhich(t *testing.T) {
	s := deadletters.New(mute{&storetest.Memory{}}, func() time.Time { return noon })
	var letters []deadletters.Letter
	for n := range 9 {
		l := event(n, n%2*70<<10)
		l.Source.Enqueued = noon.Add(time.Duration(n) * time.Second)
		letters = append(letters, l)
	}
	put(t, s, letters[2:5]...)
	put(t, s, letters...)
	put(t, s, letters...)
	if all := list(t, s, 100); len(all) != 9 {
		t.Errorf("%d letters", len(all))
	}
}

// mute hides which operation was refused, and that rows are there.
type mute struct{ *storetest.Memory }

func (m mute) Commit(ctx context.Context, table, partition string, ops []store.Op) error {
	err := m.Memory.Commit(ctx, table, partition, ops)
	if errors.Is(err, store.ErrExists) {
		return store.ErrExists
	}
	return err
}

func (m mute) Scan(ctx context.Context, table string, r store.Range, token string) (store.Page, error) {
	if len(r.Select) == 1 {
		return store.Page{}, nil // as Put looks for letters
	}
	return m.Memory.Scan(ctx, table, r, token)
}

// Pages are in order and whole, whatever is done between them.
func TestPages(t *testing.T) {
	onEachStore(t, func(t *testing.T, rows store.Rows) {
		s := deadletters.New(rows, func() time.Time { return noon })
		dice := rand.New(rand.NewPCG(1, 2))
		var letters []deadletters.Letter
		for n := range 60 {
			l := event(n, dice.IntN(3)*40<<10)
			l.Source.Enqueued = noon.Add(time.Duration(dice.IntN(8)) * 20 * time.Minute)
			letters = append(letters, l)
		}
		put(t, s, letters...)
		all := list(t, s, 1000)
		for n := 1; n < len(all); n++ {
			a, b := all[n-1].Source, all[n].Source
			if a.Enqueued.Before(b.Enqueued) || a.Enqueued.Equal(b.Enqueued) && a.Sequence <= b.Sequence {
				t.Errorf("%v before %v", a, b)
			}
		}
		for _, n := range dice.Perm(len(all))[:25] {
			drop(t, s, all[n].ID)
			all[n].ID = ""
		}
		all = slices.DeleteFunc(all, func(l deadletters.Letter) bool { return l.ID == "" })
		for _, limit := range []int{1, 2, 7, 34, 35, 36, 1000} {
			if got := list(t, s, limit); !slices.Equal(ids(got), ids(all)) {
				t.Errorf("limit %d: %d letters, want %d", limit, len(got), len(all))
			}
		}
		page, next, err := s.List(t.Context(), 5, "")
		if err != nil || len(page) != 5 || next != page[4].ID {
			t.Fatalf("%d letters, next %q: %v", len(page), next, err)
		}
		put(t, s, event(1000, 10)) // the newest, before the cursor
		drop(t, s, all[5].ID)
		page, _, err = s.List(t.Context(), 5, next)
		if err != nil || !slices.Equal(ids(page), ids(all[6:11])) {
			t.Errorf("after the cursor: %v: %v", ids(page), err)
		}
	})
}

// A page of long texts is cut by its size, whatever its limit.
func TestPagesAreBounded(t *testing.T) {
	s := deadletters.New(&storetest.Memory{}, func() time.Time { return noon })
	var letters []deadletters.Letter
	for n := range 1000 {
		l := event(n, 1)
		l.Device, l.PartitionKey, l.ContentType, l.ContentEncoding = strings.Repeat("d", 5000), strings.Repeat("k", 5000), strings.Repeat("t", 5000), strings.Repeat("e", 5000)
		l.Reason.Message = strings.Repeat("m", 5000)
		letters = append(letters, l)
	}
	put(t, s, letters...)
	page, next, err := s.List(t.Context(), 10_000, "")
	if err != nil || next == "" || len(page) < 500 || len(page) > 900 {
		t.Errorf("a page of %d letters, next %q: %v", len(page), next, err)
	}
	if all := list(t, s, 10_000); len(all) != 1000 {
		t.Errorf("%d letters", len(all))
	}
}

// Before the first letter there is no table, and nothing is wrong.
func TestNothingYet(t *testing.T) {
	onEachStore(t, func(t *testing.T, rows store.Rows) {
		s := deadletters.New(rows, func() time.Time { return noon })
		if all := list(t, s, 10); len(all) != 0 {
			t.Error(all)
		}
		if n, more, err := s.Count(t.Context()); n != 0 || more || err != nil {
			t.Error(n, more, err)
		}
		if n, err := s.Purge(t.Context()); n != 0 || err != nil {
			t.Error(n, err)
		}
		id := "019ab3c4d5e6-2a-0123456789abcdef01234567"
		for _, err := range []error{s.Drop(t.Context(), id), s.Drop(t.Context(), "x"), second(s.Get(t.Context(), id)), second(s.Replay(t.Context(), nil, id))} {
			if !errors.Is(err, deadletters.ErrUnknown) {
				t.Error(err)
			}
		}
		if _, _, err := s.List(t.Context(), 1, "x"); !errors.Is(err, deadletters.ErrCursor) {
			t.Error(err)
		}
	})
}

func second[T any](_ T, err error) error { return err }

// Letters go 30 days after they were received, those that are done too, with the
// parts of their bodies; a bounded number a run.
func TestPurge(t *testing.T) {
	onEachStore(t, func(t *testing.T, rows store.Rows) {
		now := &clock{now: noon}
		s := deadletters.New(rows, now.Now)
		var old []deadletters.Letter
		for n := range 30 {
			l := event(n, n%3*70<<10)
			l.Source.Enqueued = noon.Add(-time.Duration(n) * time.Hour)
			old = append(old, l)
		}
		put(t, s, old...)
		first := list(t, s, 100)
		drop(t, s, first[0].ID)
		now.pass(20 * 24 * time.Hour)
		late := event(99, 10)
		late.Source.Enqueued = noon.Add(-time.Hour) // the hub had it for long
		put(t, s, late)
		now.pass(10*24*time.Hour - time.Millisecond)
		if n, err := s.Purge(t.Context()); n != 0 || err != nil {
			t.Fatalf("purged %d after less than 30 days: %v", n, err)
		}
		now.pass(time.Millisecond)
		if n, err := s.Purge(t.Context()); n != 0 || err != nil {
			t.Fatalf("purged %d at once again: %v", n, err)
		}
		now.pass(10 * time.Minute)
		if n, err := s.Purge(t.Context()); n != 30 || err != nil {
			t.Fatalf("purged %d, want 30: %v", n, err)
		}
		if left := list(t, s, 100); len(left) != 1 || left[0].Source.Sequence != 99 {
			t.Errorf("left: %v", left)
		}
		if n := bodyRows(t, rows); n != 0 {
			t.Errorf("%d rows of bodies are left", n)
		}
	})
}

// What a call costs: a redelivery is one read, a flood some transactions.
func TestCosts(t *testing.T) {
	reads, writes := 0, 0
	rows := storetest.NewFaultyRows(&storetest.Memory{}, func(c storetest.Call) storetest.Verdict {
		if c.Write {
			writes++
		} else {
			reads++
		}
		return storetest.Pass()
	})
	s := deadletters.New(rows, func() time.Time { return noon })
	put(t, s, event(-1, 1)) // makes the table
	var flood []deadletters.Letter
	for n := range 1000 {
		l := event(n, 100)
		l.Source.Enqueued = noon.Add(time.Duration(n) * time.Millisecond)
		flood = append(flood, l)
	}
	for _, c := range []struct {
		name          string
		letters       []deadletters.Letter
		reads, writes int
	}{
		{"one", flood[:1], 1, 1},
		{"one again", flood[:1], 1, 0},
		{"a hundred, one of them again", flood[:100], 1, 1},
		{"a hundred again", flood[:100], 1, 0},
		{"a thousand", flood, 1, 9},
		{"a thousand again", flood, 1, 0},
	} {
		reads, writes = 0, 0
		put(t, s, c.letters...)
		if reads != c.reads || writes != c.writes {
			t.Errorf("%s: %d reads, %d writes, want %d, %d", c.name, reads, writes, c.reads, c.writes)
		}
	}
}

// Two calls that keep the same events at the same time keep each once.
func TestPutsAtOnce(t *testing.T) {
	onEachStore(t, func(t *testing.T, rows store.Rows) {
		s := deadletters.New(rows, time.Now)
		var letters []deadletters.Letter
		for n := range 30 {
			l := event(n, n%2*70<<10)
			l.Source.Enqueued = noon.Add(time.Duration(n) * time.Second)
			letters = append(letters, l)
		}
		var group sync.WaitGroup
		for n := range 4 {
			group.Go(func() {
				if err := s.Put(t.Context(), letters[n*3:n*3+20]); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		all := list(t, s, 100)
		if len(all) != 29 {
			t.Errorf("%d letters, want 29", len(all))
		}
		for _, l := range all {
			if _, err := s.Get(t.Context(), l.ID); err != nil {
				t.Errorf("%s: %v", l.ID, err)
			}
		}
	})
}

// dice are the decisions of a test.
type dice struct{ *rand.Rand }

func newDice(seed uint64) *dice { return &dice{rand.New(rand.NewPCG(seed, 7))} }
