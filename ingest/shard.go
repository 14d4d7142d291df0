package ingest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sluice/telemetry"
)

// shard is the queue of a shard.
type shard struct {
	mu     sync.Mutex
	queue  turns
	busy   bool // a goroutine flushes it
	closed bool
	last   time.Time // when its last flush began; the goroutine's
}

// rest says that nothing waits, and then that the goroutine ends.
func (s *shard) rest() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy = !s.queue.empty()
	return !s.busy
}

func (s *shard) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
}

// leave is the end of parts that waited: there is room again for their sources.
func (s *shard) leave(parts ...part) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range parts {
		s.queue.leave(p.source, p.bytes)
	}
}

// part is what a request has for one shard and one flush.
type part struct {
	shard    int
	readings []telemetry.Reading
	bytes    int64
	cost     int64 // what it takes of a flush: of FlushBytes, or so many of FlushReadings
	source   *source
	ticket   *ticket
}

// share is what an error of a flush means for the part: nothing, if others were
// refused.
func (p *part) share(err error) error {
	var refuser Refuser
	if !errors.As(err, &refuser) {
		return err
	}
	for i := range p.readings {
		if r := &p.readings[i]; refuser.Refused(r.Device, r.Stamp) {
			return refuser
		}
	}
	return nil
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

// split cuts a request's readings into parts, none larger than a turn, in
// their order within each shard.
func (g *Group) split(readings []telemetry.Reading) []part {
	shards, counts := g.assign(readings)
	if counts[shards[0]] == len(readings) {
		return g.cut(nil, int(shards[0]), readings)
	}
	sorted, next := make([]telemetry.Reading, len(readings)), make([]int, len(counts))
	for n := 1; n < len(counts); n++ {
		next[n] = next[n-1] + counts[n-1]
	}
	for i, n := range shards {
		sorted[next[n]] = readings[i]
		next[n]++
	}
	parts := make([]part, 0, len(counts))
	for n, count := range counts {
		if count > 0 {
			parts = g.cut(parts, n, sorted[next[n]-count:next[n]])
		}
	}
	return parts
}

// assign tells each reading's shard, and how many each shard has.
func (g *Group) assign(readings []telemetry.Reading) (shards []int32, counts []int) {
	shards, counts = make([]int32, len(readings)), make([]int, len(g.shards))
	n := 0
	for i := range readings {
		if i == 0 || readings[i].Device != readings[i-1].Device {
			n = g.appender.Shard(readings[i].Device)
		}
		shards[i] = int32(n)
		counts[n]++
	}
	return shards, counts
}

// turnsOfFlush is how many turns fill a flush. The more there are, the more sources
// find room in the next one, and the more parts a large request has.
const turnsOfFlush = 8

// quantum is the cost that a source may have flushed in a turn.
func (c *GroupConfig) quantum() int64 {
	return max(c.FlushBytes/turnsOfFlush, c.readingCost())
}

// readingCost is the least cost of a reading: a flush is full with FlushReadings,
// however small they are.
func (c *GroupConfig) readingCost() int64 { return c.FlushBytes / int64(c.FlushReadings) }

// cut appends a shard's readings to parts. One that alone costs more than a turn is
// a part of its own.
func (g *Group) cut(parts []part, n int, readings []telemetry.Reading) []part {
	p, start := part{shard: n}, 0
	quantum, least := g.cfg.quantum(), g.cfg.readingCost()
	for i := range readings {
		size := sizeOf(&readings[i])
		cost := max(p.bytes+size, int64(i+1-start)*least)
		if i > start && cost > quantum {
			p.readings = readings[start:i]
			parts = append(parts, p)
			p, start = part{shard: n}, i
			cost = max(size, least)
		}
		p.bytes += size
		p.cost = cost
	}
	p.readings = readings[start:]
	return append(parts, p)
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
	queued atomic.Bool  // a part is in the queue
	trace  string       // the request's traceparent; "" if it has none
	err    error        // why, set before done is closed
	done   chan struct{}

	mu      sync.Mutex
	refused refusals // by the store, of parts that are durable otherwise
}

// refusals are the Refusers of several flushes.
type refusals []Refuser

func (r refusals) Error() string { return r[0].Error() }

func (r refusals) Unwrap() error { return r[0] }

// Refused implements Refuser.
func (r refusals) Refused(device string, stamp telemetry.Stamp) bool {
	return slices.ContainsFunc(r, func(one Refuser) bool { return one.Refused(device, stamp) })
}

func newTicket(parts int, trace string) *ticket {
	t := &ticket{trace: trace, done: make(chan struct{})}
	t.left.Store(int32(parts))
	return t
}

// settle counts a part that is durable, or ends the wait with an error.
func (t *ticket) settle(err error) {
	if refuser, ok := err.(Refuser); ok { //nolint:errorlint // as share returned it
		t.mu.Lock()
		t.refused = append(t.refused, refuser)
		t.mu.Unlock()
		err = nil
	}
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
		if t.err == nil && len(t.refused) > 0 {
			return t.refused
		}
		return t.err
	case <-ctx.Done():
		t.failed.CompareAndSwap(false, true)
		return ctx.Err()
	}
}
