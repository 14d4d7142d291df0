package telemetry

import (
	"sync/atomic"
	"time"
)

// Clock gives stamps: the wall clock's nanoseconds, but never the same twice
// and never going back, whatever the wall clock does. It may be used
// concurrently.
type Clock struct {
	now  func() time.Time
	last atomic.Int64
}

// NewClock makes a clock over now.
func NewClock(now func() time.Time) *Clock { return &Clock{now: now} }

// Now is the wall clock's time, which may go back.
func (c *Clock) Now() time.Time { return c.now() }

// Take gives n stamps, n ≥ 1, and returns the first: the others follow, one
// apart.
func (c *Clock) Take(n int) Stamp {
	for {
		last := c.last.Load()
		first := max(c.now().UnixNano(), last+1)
		if c.last.CompareAndSwap(last, first+int64(n)-1) {
			return Stamp(first)
		}
	}
}

// After makes all stamps that are given from now on greater than last.
func (c *Clock) After(last Stamp) {
	for {
		now := c.last.Load()
		if now >= int64(last) || c.last.CompareAndSwap(now, int64(last)) {
			return
		}
	}
}
