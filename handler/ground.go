package main

import (
	"context"
	"log/slog"

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
	late     *late
	ingest   *ingest.Ingest

	hub       *hub.Hub // nil: there is none
	hubProber *prober
}

func newGround(s settings.Settings, storage storage, h *hub.Hub, log *slog.Logger) *ground {
	g := &ground{
		settings: s, storage: storage, log: log, hub: h,
		clock: telemetry.NewClock(storage.now), inflight: newInflight(s), late: newLate(s.Shards, log),
	}
	if h != nil {
		g.hubProber = hubProber(h)
	}
	g.ingest = ingest.New(ingestConfig(s), g.late, g.clock, g.late.Floor)
	return g
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
