package main

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/labstack/echo/v4"

	"sluice/engine"
	"sluice/ingest"
	"sluice/internal/settings"
	"sluice/query"
	"sluice/store"
	"sluice/store/pebble"
	"sluice/telemetry"
)

// house is everything that stands on an open store. This is the only place
// that names a concrete store.
type house struct {
	store  *pebble.Store
	engine *engine.Engine
	ingest *ingest.Ingest
	query  *query.Service

	inflight      *inflight
	compactor     sync.WaitGroup
	stopCompactor context.CancelFunc
}

// openHouse opens the store and what stands on it. fatal is called when the
// store cannot go on.
func openHouse(ctx context.Context, s settings.Settings, log *slog.Logger, fatal func(error)) (*house, error) {
	db, err := openStore(s, log, fatal)
	if err != nil {
		return nil, err
	}
	e, err := engine.Open(ctx, engineConfig(s, db, log))
	if err != nil {
		if errors.Is(err, engine.ErrMismatch) {
			err = &settingError{"SLUICE_SHARDS", err}
		}
		return nil, errors.Join(err, db.Close())
	}
	h := &house{store: db, engine: e, inflight: newInflight(s)}
	h.ingest = ingest.New(ingestConfig(s), e, newClock(e.LastSeen(), log), e.Floor)
	h.query = query.New(func() query.Reader { return e.View() }, query.Options{Lateness: atLeast(s.Lateness), Log: log})
	compacting, stop := context.WithCancel(context.Background())
	h.stopCompactor = stop
	h.compactor.Go(func() { e.Run(compacting) })
	return h, nil
}

// atLeast says no lateness as query has it: there 0 is the default.
func atLeast(lateness time.Duration) time.Duration {
	if lateness == 0 {
		return -1
	}
	return lateness
}

// newClock makes the clock of stamps. They order what was accepted, deletions
// too, so after a clock went back they go on from where the store had come to;
// one that is off by more than a day is left to be put right by hand, since
// readings without a time get it from here.
func newClock(lastSeen int64, log *slog.Logger) *telemetry.Clock {
	clock := telemetry.NewClock(time.Now)
	back := time.Duration(lastSeen - time.Now().UnixNano())
	switch {
	case back > 24*time.Hour:
		log.Warn("the clock is far behind the store's last use: until it is set, new readings may lose against old ones", "behind", back.String())
	case back > 0:
		log.Warn("the clock is behind the store's last use: stamps go on from there", "behind", back.String())
		clock.After(telemetry.Stamp(lastSeen + int64(2*time.Minute)))
	}
	return clock
}

func openStore(s settings.Settings, log *slog.Logger, fatal func(error)) (*pebble.Store, error) {
	if err := os.MkdirAll(s.Data, 0o755); err != nil {
		return nil, &settingError{"SLUICE_DATA", err}
	}
	db, err := pebble.Open(s.Data, pebble.Options{
		Logger: log, OnFatal: fatal,
		CacheBytes:    share(s, 32, 32*settings.MiB),
		MemTableBytes: share(s, 64, 16*settings.MiB),
		TailBytes:     share(s, 8, 128*settings.MiB),
	})
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
		return nil, &settingError{"SLUICE_DATA", err}
	}
	return db, err
}

func engineConfig(s settings.Settings, db *pebble.Store, log *slog.Logger) engine.Config {
	c := engine.Config{
		Accounts: []store.Rows{db.Rows()}, Journal: engine.Given(db.Journal()), Now: time.Now, NewID: rand.Text,
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
		DecodeBytes: int64(s.MaxInflight),
		Group:       ingest.GroupConfig{Linger: s.Linger, QueueBytes: int64(s.MaxInflight) / 2},
	}
}

// share is a part of the memory there is, up to most.
func share(s settings.Settings, part int64, most settings.Size) int64 {
	return min(int64(s.Memory)/part, int64(most))
}

func (h *house) routes(e *echo.Echo) {
	h.ingest.Register(e)
	h.query.Register(e)
}

// ready says why readings cannot be accepted, if so.
func (h *house) ready(context.Context) error { return h.store.Ready() }

// close makes durable what waits for a flush, ends the compactor, and then the
// store.
func (h *house) close(ctx context.Context) error {
	err := h.ingest.Close(ctx)
	h.stopCompactor()
	h.compactor.Wait()
	return errors.Join(err, h.store.Close())
}
