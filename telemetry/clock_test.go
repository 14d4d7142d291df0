package telemetry

import (
	"slices"
	"sync"
	"testing"
	"time"
)

// A clock never gives a stamp twice nor goes back, whatever the wall clock
// does.
func TestClock(t *testing.T) {
	wall := time.Unix(1000, 0)
	c := NewClock(func() time.Time { return wall })
	first := c.Take(3)
	if first != Stamp(wall.UnixNano()) {
		t.Fatalf("first stamp %d, the wall clock says %d", first, wall.UnixNano())
	}
	if next := c.Take(1); next != first+3 {
		t.Fatalf("after 3 stamps from %d comes %d", first, next)
	}
	wall = time.Unix(500, 0)
	if next := c.Take(1); next != first+4 {
		t.Fatalf("after the wall clock went back comes %d, want %d", next, first+4)
	}
	c.After(first + 1000)
	c.After(first)
	if next := c.Take(1); next != first+1001 {
		t.Fatalf("after %d comes %d", first+1000, next)
	}
	wall = time.Unix(2000, 0)
	if next := c.Take(1); next != Stamp(wall.UnixNano()) {
		t.Fatalf("once the wall clock is ahead again comes %d, want %d", next, wall.UnixNano())
	}
}

func TestClockConcurrently(t *testing.T) {
	c := NewClock(func() time.Time { return time.Unix(1, 0) })
	var mu sync.Mutex
	var got []Stamp
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 200 {
				first := c.Take(5)
				mu.Lock()
				for i := range Stamp(5) {
					got = append(got, first+i)
				}
				mu.Unlock()
			}
		})
	}
	group.Wait()
	slices.Sort(got)
	if n := len(slices.Compact(got)); n != 8*200*5 {
		t.Fatalf("%d different stamps of %d", n, 8*200*5)
	}
}
