package main

import (
	"context"
	"crypto/rand"
	"log/slog"
	"time"

	"sluice/engine"
	"sluice/internal/settings"
)

// storage is where the store is, as the settings say. This room is the only one
// that names concrete stores: embedded and tables.
type storage interface {
	// name is for the log, without secrets.
	name() string
	// now is the clock of whoever uses it: this machine's, put right by the store's
	// where that has one and was heard.
	now() time.Time
	// open opens it, without asking the network. broken is called at most once,
	// when what was opened cannot go on; then open opens it again.
	open(broken func(error)) (backend, error)
	// explain names the setting that an error of the engine's opening is about, if
	// it is one that the local disk shows to be wrong.
	explain(err error) error
	// isFinal says whether an error of the first opening ends the process.
	isFinal(err error) bool
}

// backend is an open store.
type backend interface {
	// configure says over what the engine works.
	configure(c *engine.Config)
	// opened tells it of the engine, before ready and describe are called.
	opened(e *engine.Engine)
	// ready says why readings cannot be accepted, if so. It is cheap.
	ready(ctx context.Context) error
	// describe adds what there is to say to a status.
	describe(ctx context.Context, s *storeState) error
	close() error
}

func chooseStorage(s settings.Settings, log *slog.Logger) (storage, error) {
	if s.OnTables() {
		return openTables(s.Tables, log)
	}
	return &embedded{settings: s, log: log}, nil
}

func newID() string { return rand.Text() }
