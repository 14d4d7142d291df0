package main

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync/atomic"

	"sluice/engine"
	"sluice/store"
	"sluice/telemetry"
	"sluice/telemetry/block"
)

// late is the engine as the write side sees it, which is there before a store is
// open, while it is opened again, and after that. It may be used concurrently.
type late struct {
	shards int
	log    *slog.Logger
	now    atomic.Pointer[present]
	floor  atomic.Int64 // as the engine said last
}

// present is an engine, until gone is closed.
type present struct {
	engine *engine.Engine
	gone   chan struct{}
}

// errAway is why nothing can be appended. It says of the store what a store says
// of itself.
var errAway = fmt.Errorf("%w: it is not open", store.ErrUnavailable)

func newLate(shards int, log *slog.Logger) *late { return &late{shards: shards, log: log} }

// come makes e the engine.
func (l *late) come(e *engine.Engine) {
	l.floor.Store(e.Floor())
	l.now.Store(&present{e, make(chan struct{})})
}

// leave sends home whoever waits for the engine: calls inside of it may never
// return.
func (l *late) leave() {
	if p := l.now.Swap(nil); p != nil {
		l.floor.Store(max(l.floor.Load(), p.engine.Floor()))
		close(p.gone)
	}
}

// Shards is the number of shards, which no store is opened that has not.
func (l *late) Shards() int { return l.shards }

// Shard is the shard of a device.
func (l *late) Shard(device string) int { return engine.ShardOf(device, l.shards) }

// Floor is the oldest time that may be accepted, as an engine said last;
// nanoseconds since the Unix epoch.
func (l *late) Floor() int64 {
	if p := l.now.Load(); p != nil {
		return p.engine.Floor()
	}
	return l.floor.Load()
}

// Append is engine.Engine's; errAway without one.
func (l *late) Append(ctx context.Context, shard int, devices []block.Device) error {
	return l.do(ctx, func(e *engine.Engine) error { return e.Append(ctx, shard, devices) })
}

// Delete is engine.Engine's; errAway without one.
func (l *late) Delete(ctx context.Context, device string, stamp telemetry.Stamp) error {
	return l.do(ctx, func(e *engine.Engine) error { return e.Delete(ctx, device, stamp) })
}

// do calls the engine, and does not wait for it longer than ctx or the engine
// lasts: what is under way in a store that broke may never return, and the next
// call is for the store that is opened in its place.
func (l *late) do(ctx context.Context, call func(*engine.Engine) error) error {
	p := l.now.Load()
	if p == nil {
		return errAway
	}
	done := make(chan error, 1)
	go func() {
		defer func() {
			if r := recover(); r != nil {
				l.log.Error("panic", "error", fmt.Sprint(r), "stack", string(debug.Stack()))
				done <- fmt.Errorf("the store panicked: %v", r)
			}
		}()
		done <- call(p.engine)
	}()
	select {
	case err := <-done:
		return err
	case <-p.gone:
		return fmt.Errorf("%w meanwhile", errAway)
	case <-ctx.Done():
		return ctx.Err()
	}
}
