package main

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"

	"sluice/internal/httperr"
	"sluice/internal/invoke"
)

// life is what the process can say of itself at any time.
type life struct {
	started  time.Time
	stopping atomic.Bool
}

// front answers from the first moment on: the probes and the start page by
// itself, everything else by the app of an open house. While there is none, calls
// wait, bounded, for the first try to open one; after that they are sent home at
// once, as nobody knows how long it takes.
type front struct {
	life  *life
	wait  time.Duration
	stall time.Duration
	early http.Handler
	state atomic.Pointer[frontState]
}

// frontState is followed by another one when changed is closed.
type frontState struct {
	app     *echo.Echo // nil while the store is not open
	reason  string     // why it is not; "" while that is not known
	changed chan struct{}
}

var (
	errStarting = errors.New("the store is being opened")
	errNotOpen  = errors.New("the store is not open")
)

// retryOpen is how long clients are asked to wait while the store is away.
const retryOpen = 5 * time.Second

func newFront(g *ground, p patience) *front {
	f := &front{life: &life{started: time.Now()}, wait: p.opening, stall: p.stall}
	f.state.Store(&frontState{changed: make(chan struct{})})
	early := newEcho(g.log, p)
	f.life.routes(early, func(context.Context) error { return f.whyNotOpen() })
	registerTriggers(early, f.notMerged, g.settings.UnderHost(), g.log)
	early.Any("/*", func(echo.Context) error {
		return httperr.Retry(httperr.Unavailable, retryOpen, nil, "the store is not open, /readyz says why: try again")
	})
	f.early = early
	return f
}

// whyNotOpen is errStarting during the first try to open the store.
func (f *front) whyNotOpen() error {
	switch s := f.state.Load(); {
	case s.app != nil:
		return nil // just now
	case s.reason != "":
		return &notOpenError{s.reason}
	}
	return errStarting
}

// notMerged is what a trigger does without a store; the work is not done either
// if the store has been opened just now.
func (f *front) notMerged(context.Context, invoke.Envelope) ([]string, error) {
	if err := f.whyNotOpen(); err != nil {
		return nil, err
	}
	return nil, errStarting
}

type notOpenError struct{ reason string }

func (e *notOpenError) Error() string { return errNotOpen.Error() + ": " + e.reason }
func (e *notOpenError) Unwrap() error { return errNotOpen }

// open lets requests through to app.
func (f *front) open(app *echo.Echo) { f.change(app, "") }

// shut keeps requests away from the store, and says why.
func (f *front) shut(reason string) { f.change(nil, reason) }

// stop makes the process unready, and sends home who waits for the store.
func (f *front) stop() {
	f.life.stopping.Store(true)
	f.change(f.state.Load().app, "the process was asked to stop")
}

// change may be called concurrently: each state is followed by one other.
func (f *front) change(app *echo.Echo, reason string) {
	before := f.state.Swap(&frontState{app: app, reason: reason, changed: make(chan struct{})})
	close(before.changed)
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w = &pacedWriter{ResponseWriter: w, stall: f.stall, moved: time.Now()}
	app := f.state.Load().app
	if app == nil && !isProbe(r.URL.Path) {
		app = f.await(r)
	}
	if app == nil {
		f.early.ServeHTTP(w, r)
		return
	}
	app.ServeHTTP(w, r)
}

// await returns the app as soon as there is one; nil if that takes too long, or
// the first try failed.
func (f *front) await(r *http.Request) *echo.Echo {
	timer := time.NewTimer(f.wait)
	defer timer.Stop()
	for {
		s := f.state.Load()
		if s.app != nil || s.reason != "" {
			return s.app
		}
		select {
		case <-s.changed:
		case <-timer.C:
			return nil
		case <-r.Context().Done():
			return nil
		}
	}
}

func isProbe(path string) bool {
	return path == "/" || path == "/healthz" || path == "/readyz"
}
