package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"sluice/consume"
	"sluice/consume/progress"
	"sluice/deadletters"
	"sluice/engine"
	"sluice/internal/invoke"
	"sluice/internal/settings"
)

// consumeConfig is how events become readings.
func (h *house) consumeConfig(positions *progress.Store, retention time.Duration) consume.Config {
	c := consume.Config{
		Engine: h.engine, DeadLetters: h.deadletters, Progress: positions,
		Retention: retention, Refuse: h.blocked.Refuse,
		MaxDecoded: int64(h.settings.MaxDecoded), MaxMetrics: h.settings.MaxMetrics,
		RoundBytes: int(share(h.settings, 32, 32*settings.MiB)),
		Now:        h.storage.now, Log: h.log,
	}
	if h.hub != nil {
		c.Hub = h.hub
	}
	return c
}

// takes says why no events are taken from the host's trigger: another way is how
// the hub is consumed.
func (h *house) takes() error {
	if by := h.settings.Consume; by != settings.ByTrigger {
		return fmt.Errorf("SLUICE_CONSUME=%s: this process takes no events from a trigger: set it to trigger, or switch the function off (AzureWebJobs.consume.Disabled=true)", by)
	}
	return nil
}

// take consumes a batch of events that the host's trigger brings.
func (h *house) take(ctx context.Context, e invoke.Envelope) ([]string, error) {
	return h.trigger.Run(ctx, e)
}

// consume reads the hub's partitions until ctx ends.
func (h *house) consume(ctx context.Context) {
	if err := h.consumer.Run(ctx, h.hub); err != nil && ctx.Err() == nil {
		h.log.Error("the hub is not consumed, it is tried again", "error", err.Error())
	}
}

// refreshEvery is how often the floor of retention is looked at, by which readings
// are judged that the hub is given: the engine, which does so before it appends,
// sees them only when they are consumed.
const refreshEvery = 20 * time.Second

func (h *house) refreshFloor(ctx context.Context) {
	if err := h.engine.RefreshFloor(ctx); err != nil && ctx.Err() == nil {
		h.log.Debug("the floor of retention cannot be read", "error", err.Error())
	}
	pause(ctx, refreshEvery)
}

// purgeEvery is how often dead letters are looked through whose time is over.
const purgeEvery = 10 * time.Minute

func purge(ctx context.Context, letters *deadletters.Store, log *slog.Logger) {
	n, err := letters.Purge(ctx)
	if n > 0 {
		log.Info("dead letters whose time was over went", "letters", n)
	}
	if err != nil && ctx.Err() == nil {
		log.Warn("dead letters whose time is over stay for now", "error", err.Error())
	}
}

// tidy is an engine whose runs tidy up the dead letters, too: those of the timer,
// which comes each minute.
type tidy struct {
	*engine.Engine
	letters *deadletters.Store
	log     *slog.Logger
}

// Compact merges, and purges.
func (t tidy) Compact(ctx context.Context) error {
	defer purge(ctx, t.letters, t.log)
	return t.Engine.Compact(ctx)
}

// CompactDue merges what is due, and purges.
func (t tidy) CompactDue(ctx context.Context, rest, margin time.Duration) (engine.Compaction, error) {
	defer purge(ctx, t.letters, t.log)
	return t.Engine.CompactDue(ctx, rest, margin)
}
