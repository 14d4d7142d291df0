package main

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"sluice/access"
	"sluice/access/limit"
	"sluice/engine"
	"sluice/hub"
	"sluice/ingest"
	"sluice/internal/settings"
	"sluice/telemetry"
)

// ground is what a process has whether its store is open or not, and what one
// house hands on to the next: the clock of stamps, which never goes back, and the
// write side with what waits in it.
type ground struct {
	settings settings.Settings
	storage  storage
	log      *slog.Logger
	clock    *telemetry.Clock
	inflight *inflight
	calls    *limit.Concurrency
	late     *late
	ingest   *ingest.Ingest
	gate     *access.Gate
	blocked  *access.Blocked
	shown    *certificate // nil: plain HTTP

	hub       *hub.Hub // nil: there is none
	hubProber *prober
	hubDenied atomic.Pointer[error] // why it refuses questions; nil: it does not
}

func newGround(s settings.Settings, storage storage, h *hub.Hub, keys access.Keys, log *slog.Logger) *ground {
	g := &ground{
		settings: s, storage: storage, log: log, hub: h,
		clock: telemetry.NewClock(storage.now), inflight: newInflight(s), calls: newConcurrency(s), late: newLate(s.Shards, log),
		blocked: access.NewBlocked(log),
	}
	g.gate = newGate(s, keys, g.blocked, storage.now, log)
	if h != nil {
		g.hubProber = hubProber(h, &g.hubDenied)
	}
	config, floor := ingestConfig(s), g.late.Floor
	config.Devices = g.gate.Writer
	if h != nil {
		config.Group.Queue, floor = h, g.queuedFloor
	}
	g.ingest = ingest.New(config, g.late, g.clock, floor)
	return g
}

// announcedAhead is how much earlier than retention asks for readings are refused
// that go to the hub: what is announced of the floor may come before this
// instance knows of it, by what clocks may differ and rows may be old.
const announcedAhead = 5 * time.Minute

// queuedFloor is the oldest time of readings that the hub is given. Nobody holds
// them against the store's floor, which may not be there to be read: so it is never
// below what that could be announced to be.
func (g *ground) queuedFloor() int64 {
	floor := g.late.Floor()
	if g.settings.Retention == settings.Forever {
		return floor
	}
	oldest := g.clock.Now().Add(announcedAhead - time.Duration(g.settings.Retention)).UTC()
	return max(floor, oldest.Truncate(24*time.Hour).UnixNano())
}

// bear makes e the engine that the write side appends to.
func (g *ground) bear(e *engine.Engine) {
	adjustClock(g.clock, e.LastSeen(), apart(g.settings), g.log)
	g.late.come(e)
}

// flush makes durable what waits, and takes nothing more.
func (g *ground) flush(ctx context.Context) error { return g.ingest.Close(ctx) }

// close lets go of the hub, which nobody sends to or reads any more.
func (g *ground) close(ctx context.Context) error {
	if g.hub == nil {
		return nil
	}
	return g.hub.Close(ctx)
}
