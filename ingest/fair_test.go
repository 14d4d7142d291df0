package ingest

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// However much loud sources have waiting, and in whatever pieces it comes: what
// another one sends is refused never, and flushed in one of the next
// ceil(2 × loud / 7) flushes: in the very next one beside up to three of them. (Who
// is ahead has less than two turns, and a flush is full with more than seven.)
func TestLoudSourcesDelayNobody(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		const flushReadings = 80
		loud := rapid.IntRange(1, 9).Draw(rt, "loud sources")
		bodies := rapid.SliceOfN(rapid.IntRange(1, 6*flushReadings), 20, 60).Draw(rt, "their bodies")
		quiet := rapid.SliceOfN(rapid.IntRange(1, flushReadings/turnsOfFlush), 1, 12).Draw(rt, "quiet bodies")
		pauses := rapid.SliceOfN(rapid.IntRange(0, 30), len(quiet), len(quiet)).Draw(rt, "pauses")
		problem := ""
		synctest.Test(t, func(t *testing.T) {
			store := newRecorder(1)
			store.took = 10 * time.Millisecond
			begun := 0
			store.hook = func(int) { begun++ }
			one := sizeOf(&some("quiet-0", 1)[0])
			g := NewGroup(store, GroupConfig{
				FlushReadings: flushReadings, FlushBytes: flushReadings * one, QueueBytes: 100 * flushReadings * one,
			})
			end := make(chan struct{})
			var clients sync.WaitGroup
			for i, n := range bodies { // so many clients send one body after the other
				clients.Go(func() {
					for {
						select {
						case <-end:
							return
						default:
						}
						if _, err := g.Put(t.Context(), some(fmt.Sprintf("loud-%d-0", i%loud), n)); errors.Is(err, ErrFull) {
							time.Sleep(time.Millisecond)
						}
					}
				})
			}
			time.Sleep(25*time.Millisecond + time.Microsecond) // never when a flush begins
			for i, n := range quiet {
				before := begun
				device := fmt.Sprintf("quiet-%d-0", i)
				if _, err := g.Put(t.Context(), some(device, n)); err != nil {
					problem = fmt.Sprintf("a quiet body of %d: %v", n, err)
				}
				if nth, most := flushOf(store, device)-before, (2*loud+6)/7; nth > most {
					problem = fmt.Sprintf("beside %d loud sources a body of %d came with the %dth flush, at most the %dth may be", loud, n, nth, most)
				}
				time.Sleep(time.Duration(pauses[i])*time.Millisecond + time.Microsecond)
			}
			close(end)
			clients.Wait()
			if err := g.Close(t.Context()); err != nil {
				problem = err.Error()
			}
			if s := &g.shards[0].queue; len(s.sources) != 0 || len(s.ring) != 0 || g.queued.Load() != 0 {
				problem = fmt.Sprintf("%d sources and %d bytes are left of an empty queue", len(s.sources), g.queued.Load())
			}
		})
		if problem != "" {
			rt.Fatal(problem)
		}
	})
}

// flushOf is the place among all flushes of the one that a device's readings came
// with, from 1.
func flushOf(store *recorder, device string) int {
	for i, f := range store.log() {
		for _, id := range f.readings {
			if strings.HasPrefix(id, device+"@") {
				return i + 1
			}
		}
	}
	return -1
}

// Sources with much share what there is evenly, whatever the size of their bodies.
func TestTurnsAreEven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newRecorder(1)
		store.took = time.Millisecond
		g := NewGroup(store, GroupConfig{FlushReadings: 800})
		var wg sync.WaitGroup
		put := func(device string, n int) {
			wg.Go(func() {
				if _, err := g.Put(t.Context(), some(device, n)); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		put("first-0", 1) // the flush that the others wait for
		for range 10 {
			put("large-0", 400)
		}
		for range 400 {
			put("small-0", 10)
		}
		wg.Wait()
		large, small := 0, 0
		for _, f := range store.log() {
			for _, id := range f.readings {
				large += strings.Count(id, "large-0@")
				small += strings.Count(id, "small-0@")
			}
			if small < 4000 && large < 4000 && (large > small+200 || small > large+200) {
				t.Fatalf("%d readings of large bodies were flushed and %d of small ones", large, small)
			}
		}
		if large != 4000 || small != 4000 {
			t.Errorf("%d and %d of 4000", large, small)
		}
	})
}

// A source has as much of the queue as is free, so that there is always some left.
func TestNoSourceFillsTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newRecorder(2)
		store.took = time.Hour
		one := sizeOf(&some("pump-0", 1)[0])
		g := NewGroup(store, GroupConfig{QueueBytes: 120 * one, FlushTimeout: 2 * time.Hour})
		taken := map[string]int{}
		var wg sync.WaitGroup
		fill := func(device string) {
			for range 200 {
				refused := make(chan error, 1)
				wg.Go(func() {
					_, err := g.Put(t.Context(), some(device, 1))
					refused <- err
				})
				synctest.Wait()
				select {
				case err := <-refused:
					if !errors.Is(err, ErrFull) {
						t.Error(err)
					}
					return
				default:
					taken[device]++
				}
			}
		}
		fill("loud-0")
		fill("louder-1") // of another shard
		fill("loudest-0")
		if taken["loud-0"] != 60 || taken["louder-1"] != 30 || taken["loudest-0"] != 15 {
			t.Errorf("%v of 120", taken)
		}
		fill("quiet-1")
		if taken["quiet-1"] == 0 || g.Full() {
			t.Errorf("%v of 120: nothing is left for others", taken)
		}
		wg.Wait()
	})
}

// A request that does not get in at one shard holds nothing at another.
func TestAllOrNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newRecorder(2)
		store.took = time.Second
		one := sizeOf(&some("pump-0", 1)[0])
		g := NewGroup(store, GroupConfig{QueueBytes: 100 * one})
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = g.Put(t.Context(), some("pump-1", 50)) })
		synctest.Wait()
		both := append(some("pump-0", 1), some("pump-1", 10)...)
		if _, err := g.Put(t.Context(), both); !errors.Is(err, ErrFull) {
			t.Error(err)
		}
		if n := len(g.shards[0].queue.sources); n != 0 {
			t.Errorf("%d sources hold room that they were not given", n)
		}
		wg.Wait()
		if _, err := g.Put(t.Context(), both); err != nil || g.queued.Load() != 0 {
			t.Error(err, g.queued.Load())
		}
	})
}
