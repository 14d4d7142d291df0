package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"sluice/access"
	"sluice/compact"
	"sluice/consume"
	"sluice/consume/progress"
	"sluice/deadletters"
	"sluice/engine"
	"sluice/ingest"
	"sluice/internal/settings"
	"sluice/query"
	"sluice/telemetry"
)

// house is everything that stands on an open store.
type house struct {
	*ground
	store   backend
	engine  *engine.Engine
	query   *query.Service
	compact *compact.Trigger

	deadletters *deadletters.Store
	consumer    *consume.Consumer
	trigger     *consume.Trigger
	frontier    *consume.Frontier // nil without a hub

	work     sync.WaitGroup // compactor, consumer
	stopWork context.CancelFunc
	broken   chan error // the store cannot go on: it must be opened again
}

// openHouse opens the store and what stands on it.
func openHouse(ctx context.Context, g *ground) (*house, error) {
	h := &house{ground: g, broken: make(chan error, 1)}
	var err error
	if h.store, err = g.storage.open(func(err error) { h.broken <- err }); err != nil {
		return nil, err
	}
	config := engineConfig(g.settings, g.storage, g.log)
	h.store.configure(&config)
	positions := progress.New(config.Accounts[0], g.settings.EventHubName, g.settings.ConsumerGroup, g.storage.now)
	if g.hub != nil {
		h.frontier = consume.NewFrontier(g.hub, positions, g.storage.now)
		config.Consumed = h.frontier.Consumed
	}
	if h.engine, err = engine.Open(ctx, config); err != nil {
		return nil, errors.Join(g.storage.explain(err), h.store.close())
	}
	h.store.opened(h.engine)
	if err := g.blocked.Use(ctx, config.Accounts[0]); err != nil {
		return nil, errors.Join(err, h.store.close())
	}
	h.deadletters = deadletters.New(config.Accounts[0], g.storage.now)
	h.consumer = consume.New(h.consumeConfig(positions, config.Retention))
	h.trigger = consume.NewTrigger(h.consumer, g.settings.EventHubName, g.settings.ConsumerGroup)
	h.query = query.New(func() query.Reader { return h.engine.View() }, query.Options{Lateness: atLeast(g.settings.Lateness), Consumed: config.Consumed, Prefix: readable, Log: g.log})
	h.compact = compact.New(tidy{h.engine, h.deadletters, g.log}, compact.Options{Rest: restOf(g.settings), Log: g.log})
	g.bear(h.engine)
	h.start()
	return h, nil
}

// start starts what runs by itself.
func (h *house) start() {
	ctx, stop := context.WithCancel(context.Background())
	h.stopWork = stop
	run := func(work func(context.Context)) {
		h.work.Go(func() { keepRunning(ctx, work, h.log) })
	}
	run(h.blocked.Run)
	if hasTicker(h.settings) {
		run(h.engine.Run)
		run(func(ctx context.Context) {
			purge(ctx, h.deadletters, h.log)
			pause(ctx, purgeEvery)
		})
	}
	if h.hub != nil {
		run(h.refreshFloor)
	}
	if h.hub != nil && h.settings.Consume == settings.BySelf {
		run(h.consume)
	}
}

// keepRunning runs what must not end before ctx does: again after a panic, which
// would end the process.
func keepRunning(ctx context.Context, run func(context.Context), log *slog.Logger) {
	once := func() {
		defer func() {
			if r := recover(); r != nil {
				log.Error("panic", "error", fmt.Sprint(r), "stack", string(debug.Stack()))
			}
		}()
		run(ctx)
	}
	for ctx.Err() == nil {
		once()
		pause(ctx, time.Second)
	}
}

// hasTicker says whether the process merges by its own clock. On tables under
// the host the timer's function does, once for all instances.
func hasTicker(s settings.Settings) bool { return !s.UnderHost() || !s.OnTables() }

// restOf is how long the trigger leaves a shard alone. Alone, whoever calls the
// trigger means now.
func restOf(s settings.Settings) time.Duration {
	if s.UnderHost() {
		return s.Merge
	}
	return 0
}

// atLeast says no lateness as query has it: there 0 is the default.
func atLeast(lateness time.Duration) time.Duration {
	if lateness == 0 {
		return -1
	}
	return lateness
}

// adjustClock readies the clock of stamps for a store. They order what was
// accepted, deletions too, so after a clock went back they go on from where the
// store had come to;
// one that is off by more than a day is left to be put right by hand, since
// readings without a time get it from here.
// A store that several instances share may have been in use by one whose clock is
// a little ahead, up to apart: stamps that went on from there would be minutes
// ahead of everybody else's, who could neither overwrite nor delete what has them.
func adjustClock(clock *telemetry.Clock, lastSeen int64, apart time.Duration, log *slog.Logger) {
	back := time.Duration(lastSeen - clock.Now().UnixNano())
	switch {
	case back > 24*time.Hour:
		log.Warn("the clock is far behind the store's last use: until it is set, new readings may lose against old ones", "behind", back.String())
	case back > apart:
		log.Warn("the clock is behind the store's last use: stamps go on from there", "behind", back.String())
		clock.After(telemetry.Stamp(lastSeen + int64(2*time.Minute)))
	}
}

// apart is what the clocks of instances may differ by, each being tolerated to
// differ from the store's, whose answers have whole seconds.
func apart(s settings.Settings) time.Duration {
	if s.OnTables() {
		return 2*tolerated + 2*time.Second
	}
	return 0
}

func engineConfig(s settings.Settings, storage storage, log *slog.Logger) engine.Config {
	c := engine.Config{
		Now: storage.now, NewID: newID,
		Shards: s.Shards, Merge: s.Merge, Logger: log,
		TailBytes: share(s, 8, 128*settings.MiB),
		Parallel:  max(runtime.GOMAXPROCS(0)/2, 1),
	}
	if s.Retention != settings.Forever {
		c.Retention = time.Duration(s.Retention)
	}
	return c
}

func ingestConfig(s settings.Settings) ingest.Config {
	return ingest.Config{
		MaxBody: int64(s.MaxBody), MaxDecoded: int64(s.MaxDecoded), MaxMetrics: s.MaxMetrics,
		DecodeBytes: int64(s.MaxInflight), Rate: newRate(s),
		Group: ingest.GroupConfig{Linger: s.Linger, QueueBytes: int64(s.MaxInflight) / 2},
	}
}

// share is a part of the memory there is, up to most.
func share(s settings.Settings, part int64, most settings.Size) int64 {
	return min(int64(s.Memory)/part, int64(most))
}

func (h *house) routes(e *echo.Echo) {
	h.ingest.Register(e)
	h.query.Register(e)
	deadletters.NewAPI(h.deadletters, h.consumer).Register(e)
	access.NewAPI(h.blocked).Register(e)
}

// ready says whether readings can be accepted.
func (h *house) ready(ctx context.Context) readiness {
	return h.ground.ready(ctx, h.store.ready(ctx), true)
}

// close makes durable what waits for a flush, ends the consumer, the compactor,
// and then the store. A store that breaks meanwhile is left as it is: calls inside of it may
// never return.
func (h *house) close(ctx context.Context) error {
	done := make(chan error, 1)
	go func() {
		err := h.flush(ctx)
		h.late.leave()
		h.stopWork()
		h.work.Wait()
		done <- errors.Join(err, h.store.close())
	}()
	select {
	case err := <-done:
		return err
	case err := <-h.broken:
		return fmt.Errorf("the store broke: %w", err)
	}
}

// abandon lets go of a house whose store is broken: whoever is in it gets errors,
// or no answer until the request's deadline.
func (h *house) abandon() {
	h.late.leave()
	h.stopWork()
}
