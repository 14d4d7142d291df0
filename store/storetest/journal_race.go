package storetest

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"sluice/store"
)

// together runs n functions at once and waits for them.
func together(n int, run func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { run(i) })
	}
	wg.Wait()
}

// wantOneWinner checks that one call succeeded and all others were stale.
func wantOneWinner(t *testing.T, errs []error) {
	t.Helper()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		} else if !errors.Is(err, store.ErrStale) {
			t.Errorf("a loser: %v, want %v", err, store.ErrStale)
		}
	}
	if won != 1 {
		t.Errorf("%d winners of %d", won, len(errs))
	}
}

func raceOpen(t *testing.T, j store.Journal) {
	for round := range 8 {
		before := headOf(t, j, 0)
		errs := make([]error, 6)
		together(len(errs), func(i int) { _, errs[i] = j.Open(t.Context(), 0, before) })
		wantOneWinner(t, errs)
		if n := len(headOf(t, j, 0).Epochs); n != round+1 {
			t.Fatalf("round %d: %d epochs", round, n)
		}
	}
}

func raceFirstAppend(t *testing.T, j store.Journal) {
	const n = 8
	var want []store.Entry
	for i := range n {
		want = append(want, entry(i, "racer %d", i))
	}
	errs := make([]error, n)
	together(n, func(i int) { errs[i] = j.Append(t.Context(), 0, want[i:i+1]) })
	for i, err := range errs {
		must(t, err, "append %d", i)
	}
	if h := headOf(t, j, 0); len(h.Epochs) != 1 {
		t.Fatalf("%d epochs after the first appends, want 1", len(h.Epochs))
	}
	wantScan(t, j, 0, newestOf(t, j, 0), want...)
}

func raceUpdate(t *testing.T, j store.Journal) {
	appendTo(t, j, 0, entry(0, "x"))
	for range 8 {
		h := headOf(t, j, 0)
		errs := make([]error, 6)
		together(len(errs), func(i int) {
			if i == 0 {
				_, errs[i] = j.Open(t.Context(), 0, h)
				return
			}
			errs[i] = j.Update(t.Context(), 0, h, store.Head{Epochs: h.Epochs, State: fmt.Append(nil, i)})
		})
		wantOneWinner(t, errs)
		if headOf(t, j, 0).Version == h.Version {
			t.Fatal("the version did not change")
		}
	}
}

// crowd is some appenders, each with texts of its own.
type crowd struct {
	stop  chan struct{}
	wg    sync.WaitGroup
	mu    sync.Mutex
	acked []store.Entry // what was acknowledged
}

// len is the number of acknowledged entries.
func (c *crowd) len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.acked)
}

// more waits for some more appends.
func (c *crowd) more(t *testing.T) {
	for until := c.len() + 10; c.len() < until && !t.Failed(); {
		time.Sleep(50 * time.Microsecond)
	}
}

// end stops the appenders and returns what was acknowledged.
func (c *crowd) end() []store.Entry {
	close(c.stop)
	c.wg.Wait()
	return c.acked
}

func appenders(t *testing.T, j store.Journal, n int) *crowd {
	c := &crowd{stop: make(chan struct{})}
	for w := range n {
		c.wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-c.stop:
					return
				default:
				}
				flush := []store.Entry{entry(w, "writer %d flush %d", w, i), entry(w+n, "writer %d flush %d", w, i)}
				if err := j.Append(t.Context(), 0, flush); err != nil {
					if t.Context().Err() != nil {
						return // the test has failed
					}
					t.Errorf("append: %v", err)
					return
				}
				c.mu.Lock()
				c.acked = append(c.acked, flush...)
				c.mu.Unlock()
				time.Sleep(200 * time.Microsecond) // a fast store would gather more than can be scanned
			}
		})
	}
	return c
}

// raceSeal: what was acknowledged is, exactly, in what scans of sealed epochs
// show, and a sealed epoch never grows.
func raceSeal(t *testing.T, j store.Journal) {
	writers := appenders(t, j, 4)
	shown := map[store.Epoch][]string{}
	var got []store.Entry
	seal := func(e store.Epoch) {
		must(t, j.Seal(t.Context(), 0, e), "seal")
		entries, err := scanEpoch(t.Context(), j, 0, e)
		must(t, err, "scan")
		shown[e] = texts(entries)
		got = append(got, entries...)
	}
	for range 12 {
		writers.more(t)
		h := headOf(t, j, 0)
		opened, err := j.Open(t.Context(), 0, h)
		if errors.Is(err, store.ErrStale) {
			continue // the first append has opened
		}
		must(t, err, "open")
		for _, e := range opened.Epochs[:len(opened.Epochs)-1] {
			if shown[e] == nil {
				seal(e)
			}
		}
	}
	acked := writers.end()
	for _, e := range headOf(t, j, 0).Epochs {
		if shown[e] == nil {
			seal(e)
		}
		again, err := scanEpoch(t.Context(), j, 0, e)
		must(t, err, "scan again")
		wantTexts(t, fmt.Sprintf("epoch %d scanned again", e.Number), texts(again), shown[e])
	}
	wantTexts(t, "all epochs", texts(got), texts(acked))
}

// raceSealAlone seals the newest epoch under appenders, without opening the
// next one: they may fail, but nothing acknowledged may be missing.
func raceSealAlone(t *testing.T, j store.Journal) {
	for round := range 10 {
		first := openNext(t, j, 0)
		e := first.Epochs[len(first.Epochs)-1]
		errs, flush := make([]error, 6), make([]store.Entry, 6)
		together(len(errs)+1, func(i int) {
			if i == len(errs) {
				if err := j.Seal(t.Context(), 0, e); err != nil {
					t.Errorf("seal: %v", err)
				}
				return
			}
			flush[i] = entry(i, "round %d", round)
			errs[i] = j.Append(t.Context(), 0, flush[i:i+1])
		})
		shown := map[string]bool{}
		for _, e := range headOf(t, j, 0).Epochs {
			entries, err := scanEpoch(t.Context(), j, 0, e)
			must(t, err, "scan")
			for _, text := range texts(entries) {
				shown[text] = true
			}
		}
		for i, err := range errs {
			if err == nil && !shown[texts(flush[i : i+1])[0]] {
				t.Fatalf("round %d: an acknowledged entry is nowhere", round)
			}
		}
	}
}

func tailSeesAppended(t *testing.T, j store.Journal) {
	appendTo(t, j, 0, entry(0, "x"))
	e := newestOf(t, j, 0)
	together(4, func(w int) {
		var want []store.Entry
		for i := range 25 {
			want = append(want, entry(w+1, "writer %d flush %d", w, i))
			if err := j.Append(t.Context(), 0, want[i:]); err != nil {
				t.Errorf("append: %v", err)
				return
			}
			got, err := tailEpoch(t.Context(), j, 0, e, w+1)
			if err != nil || len(got) != len(want) {
				t.Errorf("tail after %d appends: %d entries, %v", len(want), len(got), err)
				return
			}
		}
	})
}
