package limit

import (
	"sync"
	"sync/atomic"
)

// Concurrency bounds the calls of one caller that are under way. It remembers
// only callers that have some. It may be used concurrently.
type Concurrency struct {
	most int
	mu   sync.Mutex
	now  map[string]int

	refused atomic.Int64
}

// NewConcurrency lets each caller have most calls under way.
func NewConcurrency(most int) *Concurrency {
	return &Concurrency{most: most, now: make(map[string]int)}
}

// Most is how many a caller may have.
func (c *Concurrency) Most() int { return c.most }

// Enter counts a call, unless its caller has too many. Who entered leaves.
func (c *Concurrency) Enter(key string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.now[key] >= c.most {
		c.refused.Add(1)
		return false
	}
	c.now[key]++
	return true
}

// Refused counts the calls that did not enter.
func (c *Concurrency) Refused() int64 { return c.refused.Load() }

// Leave ends a call.
func (c *Concurrency) Leave(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.now[key]--; c.now[key] <= 0 {
		delete(c.now, key)
	}
}
