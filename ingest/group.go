package ingest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"sluice/telemetry"
	"sluice/telemetry/block"
)

// Appender makes readings durable, a shard at a time. It is used concurrently,
// but for one shard by one goroutine only.
type Appender interface {
	// Shards is the number of shards, Shard the one of a device, from 0.
	Shards() int
	Shard(device string) int
	// Append returns nil once devices, all of one shard, ascending by ID, are
	// durable. After an error parts may be; after one that is a Refuser all are but
	// those that it names.
	Append(ctx context.Context, shard int, devices []block.Device) error
}

// Refuser is an error that says which readings cannot be made durable, however
// often they are sent.
type Refuser interface {
	error
	Refused(device string, stamp telemetry.Stamp) bool
}

// Why Put did not make readings durable.
var (
	// ErrFull says that the queue has no room: nothing was taken.
	ErrFull = errors.New("queue of readings is full")
	// ErrClosed says that the group was closed.
	ErrClosed = errors.New("shutting down")
)

// GroupConfig is what a Group needs to know; zero fields get their defaults.
type GroupConfig struct {
	// Now is the wall clock (default time.Now): what is stamped far ahead of it is not
	// sent to the queue.
	Now func() time.Time
	// Linger is the shortest time between the beginnings of two flushes of a
	// shard. A shard that has been idle for as long flushes at once.
	Linger time.Duration
	// FlushReadings (default 20,000) and FlushBytes (8 MiB in memory) bound a
	// flush: a longer queue becomes several.
	FlushReadings int
	FlushBytes    int64
	// QueueBytes (64 MiB) bounds what waits and what is being flushed, in memory,
	// over all shards.
	QueueBytes int64
	// FlushTimeout (30 s) bounds one flush.
	FlushTimeout time.Duration
	// Queue, if not nil, takes flushes in the appender's place as long as it can.
	Queue Queue
}

func (c GroupConfig) withDefaults() GroupConfig {
	if c.Now == nil {
		c.Now = time.Now
	}
	c.FlushReadings = orDefault(c.FlushReadings, 20_000)
	c.FlushBytes = orDefault(c.FlushBytes, 8<<20)
	c.QueueBytes = orDefault(c.QueueBytes, 64<<20)
	c.FlushTimeout = orDefault(c.FlushTimeout, 30*time.Second)
	return c
}

func orDefault[T int | int64 | time.Duration](v, otherwise T) T {
	if v <= 0 {
		return otherwise
	}
	return v
}

// Group is the group commit: requests that come while a shard's flush is under
// way share the next one. A shard at rest flushes at once and has no goroutine.
// It may be used concurrently.
type Group struct {
	appender Appender
	sink     sink
	cfg      GroupConfig
	shards   []shard
	queued   atomic.Int64 // bytes waiting and being flushed
	flushes  context.Context
	abandon  context.CancelFunc // ends the flushes under way
	closing  chan struct{}      // closed: no lingering any more
	once     sync.Once
	running  sync.WaitGroup
}

// NewGroup makes a group over an appender and, if there is one, a queue.
func NewGroup(appender Appender, cfg GroupConfig) *Group {
	cfg = cfg.withDefaults()
	g := &Group{
		appender: appender, sink: sink{cfg.Queue, appender, cfg.Now}, cfg: cfg,
		shards: make([]shard, appender.Shards()), closing: make(chan struct{}),
	}
	for i := range g.shards {
		g.shards[i].queue.quantum = g.cfg.quantum()
	}
	g.flushes, g.abandon = context.WithCancel(context.Background())
	return g
}

// Full says that Put would return ErrFull now.
func (g *Group) Full() bool { return g.queued.Load() >= g.cfg.QueueBytes }

// Put returns nil once all readings are durable; queued, if some of them are so
// in the queue. Within a shard they are appended in their order. ErrFull and ErrClosed; the context's error when it
// ended first; a Refuser when all are durable but those that it names; else what
// Append said. After an error other than ErrFull some of
// them may be durable or become so. The group keeps readings until they are
// flushed: they must not be changed.
func (g *Group) Put(ctx context.Context, readings []telemetry.Reading) (queued bool, err error) {
	if len(readings) == 0 {
		return false, nil
	}
	parts := g.split(readings)
	if !g.reserve(parts) {
		return false, ErrFull
	}
	t := newTicket(len(parts), traceOf(ctx))
	for i := range parts {
		parts[i].ticket = t
		g.enqueue(parts[i])
	}
	err = t.wait(ctx)
	return t.queued.Load(), err
}

// reserve makes room in the queue for a request, all or nothing, and tells its
// parts their sources. What is larger than the queue gets in when that is empty.
func (g *Group) reserve(parts []part) bool {
	size := int64(0)
	for i := range parts {
		size += parts[i].bytes
	}
	before := g.queued.Load()
	for {
		if before > 0 && before+size > g.cfg.QueueBytes {
			return false
		}
		if g.queued.CompareAndSwap(before, before+size) { // what does not fit is never counted, not for a moment
			break
		}
		before = g.queued.Load()
	}
	if !g.letIn(parts, g.cfg.QueueBytes-before) {
		g.queued.Add(-size)
		return false
	}
	return true
}

// letIn asks each shard for room for its parts.
func (g *Group) letIn(parts []part, free int64) bool {
	for i := 0; i < len(parts); {
		end, bytes := i, int64(0)
		for ; end < len(parts) && parts[end].shard == parts[i].shard; end++ {
			bytes += parts[end].bytes
		}
		s := &g.shards[parts[i].shard]
		s.mu.Lock()
		from, ok := s.queue.letIn(parts[i].readings[0].Device, bytes, free)
		s.mu.Unlock()
		if !ok {
			for _, p := range parts[:i] {
				g.shards[p.shard].leave(p)
			}
			return false
		}
		for ; i < end; i++ {
			parts[i].source = from
		}
	}
	return true
}

func (g *Group) enqueue(p part) {
	s := &g.shards[p.shard]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		s.queue.leave(p.source, p.bytes)
		g.settle(p, ErrClosed)
		return
	}
	s.queue.add(p)
	if !s.busy {
		s.busy = true
		g.running.Go(func() { g.run(p.shard) })
	}
}

// settle tells a part's request how it went.
func (g *Group) settle(p part, err error) {
	g.queued.Add(-p.bytes)
	p.ticket.settle(err)
}

// run flushes a shard until nothing waits.
func (g *Group) run(n int) {
	s := &g.shards[n]
	for !s.rest() {
		g.linger(s.last)
		parts := g.take(s)
		if len(parts) == 0 {
			continue
		}
		s.last = time.Now()
		queued, err := g.flush(n, parts)
		s.leave(parts...)
		for _, p := range parts {
			if queued {
				p.ticket.queued.Store(true)
			}
			g.settle(p, p.share(err))
		}
	}
}

// linger waits until a flush may follow the last.
func (g *Group) linger(last time.Time) {
	wait := time.Until(last.Add(g.cfg.Linger))
	if last.IsZero() || wait <= 0 {
		return
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-g.closing:
	}
}

// take takes a flush's parts from the queue, by turns. Those of requests that have
// gone are dropped: their clients send them again.
func (g *Group) take(s *shard) []part {
	s.mu.Lock()
	defer s.mu.Unlock()
	var taken []part
	readings, size := 0, int64(0)
	for next := s.queue.next(); next != nil; next = s.queue.next() {
		p := *next
		if p.ticket.over() {
			s.queue.drop()
			s.queue.leave(p.source, p.bytes)
			g.settle(p, context.Canceled)
			continue
		}
		if len(taken) > 0 && (readings+len(p.readings) > g.cfg.FlushReadings || size+p.bytes > g.cfg.FlushBytes) {
			break
		}
		s.queue.shift()
		taken = append(taken, p)
		readings, size = readings+len(p.readings), size+p.bytes
	}
	return taken
}

// flush appends parts in one go. Its context is no request's: the requests
// share its fate.
func (g *Group) flush(n int, parts []part) (queued bool, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("flush of shard %d panicked: %v", n, r)
		}
	}()
	ctx, cancel := context.WithTimeout(g.flushes, g.cfg.FlushTimeout)
	defer cancel()
	queued, err = g.sink.append(ctx, n, block.FromReadings(join(parts)), traceIn(parts))
	if err != nil {
		return false, fmt.Errorf("appending to shard %d: %w", n, err)
	}
	return queued, nil
}

// traceIn is the first trace that a flush's requests have.
func traceIn(parts []part) string {
	for i := range parts {
		if trace := parts[i].ticket.trace; trace != "" {
			return trace
		}
	}
	return ""
}

// Close flushes what waits, then returns nil; Put returns ErrClosed from now
// on. When ctx ends first, the flushes under way are abandoned and the context's
// error is returned.
func (g *Group) Close(ctx context.Context) error {
	g.once.Do(func() {
		for i := range g.shards {
			g.shards[i].close()
		}
		close(g.closing)
	})
	done := make(chan struct{})
	go func() {
		g.running.Wait()
		close(done)
	}()
	select {
	case <-done:
		g.abandon()
		return nil
	case <-ctx.Done():
		g.abandon()
		return fmt.Errorf("flushing what waits: %w", ctx.Err())
	}
}
