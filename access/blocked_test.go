package access

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"sluice/devtools/azurite"
	"sluice/store"
	"sluice/store/pebble"
	"sluice/store/storetest"
	"sluice/store/tables"
)

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

func over(t *testing.T, rows store.Rows) *Blocked {
	t.Helper()
	b := NewBlocked(slog.New(slog.DiscardHandler))
	if err := b.Use(t.Context(), rows); err != nil {
		t.Fatal(err)
	}
	return b
}

func change(t *testing.T, b *Blocked, device string, blocked bool) {
	t.Helper()
	if err := b.change(t.Context(), device, blocked); err != nil {
		t.Fatal(err)
	}
}

// Who changes the list knows at once, others when they look, whoever starts later at
// the start; each change may be made again.
func TestEveryInstanceObeys(t *testing.T) {
	onEachStore(t, func(t *testing.T, rows store.Rows) {
		a, b := over(t, rows), over(t, rows)
		look := func() {
			if err := b.look(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		want := func(who *Blocked, devices ...string) {
			t.Helper()
			for _, id := range devices {
				if !who.Has(id) {
					t.Errorf("%s is not blocked", id)
				}
			}
			if who.Len() != len(devices) {
				t.Errorf("%d are blocked, want %q", who.Len(), devices)
			}
		}
		change(t, a, "never-blocked", false)
		const odd = "Z:=@~._-z" // all that ids may have
		for range 2 {
			change(t, a, "pump-1", true)
			change(t, a, "pump-10", true)
			change(t, a, odd, true)
			want(a, "pump-1", "pump-10", odd)
		}
		want(b)
		look()
		want(b, "pump-1", "pump-10", odd)
		for range 2 {
			change(t, b, "pump-1", false)
			want(b, "pump-10", odd)
		}
		look()
		want(b, "pump-10", odd)
		want(over(t, rows), "pump-10", odd)
		change(t, a, "pump-10", false)
		change(t, a, odd, false)
		look()
		want(b)
	})
}

// Changes by many at once all count, and the list's length is what is on it.
func TestChangesAtOnce(t *testing.T) {
	onEachStore(t, func(t *testing.T, rows store.Rows) {
		var all sync.WaitGroup
		for n := range 6 {
			b := over(t, rows)
			all.Go(func() {
				for _, blocked := range []bool{true, false, true} {
					for {
						err := b.change(t.Context(), fmt.Sprint("pump-", n), blocked)
						if err == nil {
							break
						}
						if !errors.Is(err, store.ErrStale) {
							t.Error(err)
							return
						}
					}
				}
			})
		}
		all.Wait()
		b := over(t, rows)
		h, err := b.list.head(t.Context())
		if err != nil || h.count != 6 || b.Len() != 6 {
			t.Errorf("%+v, %d on the list, %v", h, b.Len(), err)
		}
	})
}

// The list is as long as may be, and no longer.
func TestTooMany(t *testing.T) {
	rows := &storetest.Memory{}
	b := over(t, rows)
	change(t, b, "a", true)
	h, err := b.list.head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	h.count = MaxBlocked - 2
	if err := rows.Commit(t.Context(), blockedTable, blockedPartition, b.list.ops(h, "b", true)); err != nil {
		t.Fatal(err)
	}
	change(t, b, "c", true)
	if err := b.Block(t.Context(), "d"); !errors.Is(err, ErrTooMany) {
		t.Error(err)
	}
	change(t, b, "c", true) // is on it
	change(t, b, "c", false)
	change(t, b, "d", true)
}

// A look whose store does not answer leaves the list as it is, and the log says so
// once; within a minute of the store's return, all is known.
func TestOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var fault error
		hang := false
		memory := &storetest.Memory{}
		rows := storetest.NewFaultyRows(memory, func(c storetest.Call) storetest.Verdict {
			mu.Lock()
			err, hangs := fault, hang
			mu.Unlock()
			if hangs {
				<-c.Context.Done()
				return storetest.Fail(c.Context.Err())
			}
			if err != nil {
				return storetest.Fail(err)
			}
			return storetest.Pass()
		})
		set := func(err error, hangs bool) {
			mu.Lock()
			defer mu.Unlock()
			fault, hang = err, hangs
		}
		var log bytes.Buffer
		b := NewBlocked(slog.New(slog.NewTextHandler(&log, nil)))
		if err := b.Block(t.Context(), "x"); !errors.Is(err, store.ErrUnavailable) {
			t.Error("without a store:", err)
		}
		other := over(t, memory)
		change(t, other, "pump-1", true)
		if err := b.Use(t.Context(), rows); err != nil || !b.Has("pump-1") {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { b.Run(ctx) })
		set(store.ErrUnavailable, false)
		change(t, other, "pump-2", true)
		change(t, other, "pump-1", false)
		time.Sleep(5 * time.Minute)
		set(nil, true) // now it hangs
		time.Sleep(5 * time.Minute)
		if !b.Has("pump-1") || b.Has("pump-2") {
			t.Error("the list changed without a store")
		}
		if err := b.Use(ctx2(t, time.Second), rows); err == nil || !b.Has("pump-1") {
			t.Error("a store that hangs is used:", err)
		}
		set(nil, false)
		time.Sleep(time.Minute)
		synctest.Wait()
		if b.Has("pump-1") || !b.Has("pump-2") {
			t.Error("a minute after the store's return the list is the old one")
		}
		stop()
		running.Wait()
		if n := strings.Count(log.String(), "cannot be read"); n != 1 {
			t.Errorf("%d lines:\n%s", n, log.String())
		}
	})
}

func ctx2(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// A look that is under way while this instance changes the list does not take the
// change back; a store that hangs keeps nobody from asking, nor from another store.
func TestLookAndChangeAtOnce(t *testing.T) {
	memory := &storetest.Memory{}
	scanning, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	rows := storetest.NewFaultyRows(memory, func(c storetest.Call) storetest.Verdict {
		if c.Method == "Scan" && c.Context.Value(slowLook{}) != nil {
			once.Do(func() { close(scanning); <-goOn })
		}
		return storetest.Pass()
	})
	other, b := over(t, memory), over(t, rows)
	change(t, other, "pump-1", true)
	var looking sync.WaitGroup
	looking.Go(func() {
		if err := b.look(context.WithValue(t.Context(), slowLook{}, true)); err != nil {
			t.Error(err)
		}
	})
	<-scanning
	change(t, b, "pump-2", true)
	change(t, b, "pump-2", false)
	change(t, b, "pump-3", true)
	if !b.Has("pump-3") {
		t.Error("what this instance changed is not known at once")
	}
	close(goOn)
	looking.Wait()
	if !b.Has("pump-3") || b.Has("pump-2") {
		t.Error("the look took the change back")
	}
	if err := b.look(t.Context()); err != nil || !b.Has("pump-1") || !b.Has("pump-3") || b.Len() != 2 {
		t.Error(b.Len(), err)
	}
	b.Leave()
	if err := b.Block(t.Context(), "x"); !errors.Is(err, store.ErrUnavailable) || !b.Has("pump-1") {
		t.Error(err)
	}
}

type slowLook struct{}

func TestNewerFormatOfTheList(t *testing.T) {
	rows := &storetest.Memory{}
	if err := rows.CreateTable(t.Context(), blockedTable); err != nil {
		t.Fatal(err)
	}
	if err := rows.Commit(t.Context(), blockedTable, blockedPartition, []store.Op{{Kind: store.Insert, Key: headKey,
		Properties: []store.Property{{Name: "format", Value: int64(blockedFormat + 1)}}}}); err != nil {
		t.Fatal(err)
	}
	if err := NewBlocked(nil).Use(t.Context(), rows); !errors.Is(err, store.ErrFormat) {
		t.Error(err)
	}
}
