package ingest

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"sluice/telemetry"
)

// shard is the queue of a shard.
type shard struct {
	mu     sync.Mutex
	queue  []part
	busy   bool // a goroutine flushes it
	closed bool
	last   time.Time // when its last flush began; the goroutine's
}

// rest says that nothing waits, and then that the goroutine ends.
func (s *shard) rest() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy = len(s.queue) > 0
	return !s.busy
}

func (s *shard) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
}

// drop drops the first n parts.
func (s *shard) drop(n int) {
	left := copy(s.queue, s.queue[n:])
	clear(s.queue[left:])
	s.queue = s.queue[:left]
}

// part is what a request has for one shard and one flush.
type part struct {
	shard    int
	readings []telemetry.Reading
	bytes    int64
	ticket   *ticket
}

// What a reading takes in memory besides its texts.
const (
	readingBytes = 88
	metricBytes  = 48
	tagBytes     = 40
)

func sizeOf(r *telemetry.Reading) int64 {
	n := readingBytes + metricBytes*len(r.Metrics) + tagBytes*len(r.Tags)
	for i := range r.Metrics {
		n += len(r.Metrics[i].Value.Text)
	}
	for i := range r.Tags {
		n += len(r.Tags[i].Key) + len(r.Tags[i].Value)
	}
	return int64(n)
}

// split cuts a request's readings into parts, none larger than a flush, in
// their order.
func (g *Group) split(readings []telemetry.Reading) []part {
	var parts []part
	open := make([]int, len(g.shards)) // the part of each shard that takes more, from 1
	device, n := "", 0
	for i := range readings {
		r := &readings[i]
		if i == 0 || r.Device != device {
			device, n = r.Device, g.appender.Shard(r.Device)
		}
		size := sizeOf(r)
		if o := open[n]; o == 0 || len(parts[o-1].readings) >= g.cfg.FlushReadings || parts[o-1].bytes+size > g.cfg.FlushBytes {
			parts = append(parts, part{shard: n})
			open[n] = len(parts)
		}
		p := &parts[open[n]-1]
		p.readings, p.bytes = append(p.readings, *r), p.bytes+size
	}
	return parts
}

// join puts the readings of parts together.
func join(parts []part) []telemetry.Reading {
	if len(parts) == 1 {
		return parts[0].readings
	}
	n := 0
	for i := range parts {
		n += len(parts[i].readings)
	}
	all := make([]telemetry.Reading, 0, n)
	for i := range parts {
		all = append(all, parts[i].readings...)
	}
	return all
}

// ticket is a request that waits for its parts.
type ticket struct {
	left   atomic.Int32 // parts that are not durable yet
	failed atomic.Bool  // a part failed, or the request has gone
	err    error        // why, set before done is closed
	done   chan struct{}
}

func newTicket(parts int) *ticket {
	t := &ticket{done: make(chan struct{})}
	t.left.Store(int32(parts))
	return t
}

// settle counts a part that is durable, or ends the wait with an error.
func (t *ticket) settle(err error) {
	switch {
	case err == nil:
		if t.left.Add(-1) == 0 {
			close(t.done)
		}
	case t.failed.CompareAndSwap(false, true):
		t.err = err
		close(t.done)
	}
}

// over says that nobody waits for the parts any more.
func (t *ticket) over() bool { return t.failed.Load() }

func (t *ticket) wait(ctx context.Context) error {
	select {
	case <-t.done:
		return t.err
	case <-ctx.Done():
		t.failed.CompareAndSwap(false, true)
		return ctx.Err()
	}
}
