package main

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"syscall"
	"time"

	"sluice/engine"
	"sluice/internal/settings"
	"sluice/store"
	"sluice/store/pebble"
)

// embedded is a store in a folder of this machine.
type embedded struct {
	settings settings.Settings
	log      *slog.Logger
	last     *pebble.Store // as opened last
}

func (e *embedded) name() string { return e.settings.Data }

func (e *embedded) now() time.Time { return time.Now() }

func (e *embedded) open(broken func(error)) (_ backend, err error) {
	db := e.last
	if db == nil {
		db, err = e.openFolder(broken)
	} else {
		db, err = db.Reopen(broken)
	}
	if err != nil {
		return nil, err
	}
	e.last = db
	return folder{db, e}, nil
}

func (e *embedded) openFolder(broken func(error)) (*pebble.Store, error) {
	if err := os.MkdirAll(e.settings.Data, 0o750); err != nil {
		return nil, &settingError{"SLUICE_DATA", err}
	}
	db, err := pebble.Open(e.settings.Data, pebble.Options{
		Logger: e.log, OnFatal: broken,
		CacheBytes:    share(e.settings, 32, 32*settings.MiB),
		MemTableBytes: share(e.settings, 64, 16*settings.MiB),
		TailBytes:     share(e.settings, 8, 128*settings.MiB),
	})
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
		return nil, &settingError{"SLUICE_DATA", err}
	}
	return db, err
}

func (e *embedded) explain(err error) error {
	if errors.Is(err, engine.ErrMismatch) {
		return &settingError{"SLUICE_SHARDS", err}
	}
	return err
}

// isFinal: what a folder shows at the start is known, and whoever started the
// process learns it from the exit code. That reading it back took longer than a
// try says nothing of the folder.
func (e *embedded) isFinal(err error) bool { return !errors.Is(err, context.DeadlineExceeded) }

// folder is an open one.
type folder struct {
	*pebble.Store
	of *embedded
}

func (f folder) configure(c *engine.Config) {
	c.Accounts, c.Journal = []store.Rows{f.Rows()}, engine.Given(f.Journal())
}

func (f folder) opened(*engine.Engine) {}

func (f folder) ready(context.Context) error { return f.Ready() }

func (f folder) describe(_ context.Context, s *storeState) (err error) {
	s.Kind = "embedded"
	var used, free uint64
	used, free, err = f.DiskUsage()
	s.Bytes, s.Free = &used, &free
	return err
}

// close ends the store. One that failed keeps the folder until the process ends,
// or until it is opened again.
func (f folder) close() error {
	if f.Healthy() == nil {
		f.of.last = nil
	}
	return f.Close()
}
