package main

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"strings"
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

// front answers from the first moment on: the probes, the start page and a short
// status by itself, everything else by the app of an open house. While there is none, calls
// wait, bounded, for the first try to open one; after that they are sent home at
// once, as nobody knows how long it takes. Readings do not wait for it where there
// is a hub: they are taken without a house.
type front struct {
	ground *ground
	life   *life
	wait   time.Duration
	queue  time.Duration // the same for readings that a hub takes
	stall  time.Duration
	early  http.Handler
	state  atomic.Pointer[frontState]
}

// frontState is followed by another one when changed is closed.
type frontState struct {
	app     *echo.Echo // nil while the store is not open
	reason  error      // why it is not; nil while that is not known
	was     bool       // it was open before
	changed chan struct{}
}

var (
	errStarting = errors.New("the store is being opened")
	errNotOpen  = errors.New("the store is not open")
	errStopping = errors.New("the process was asked to stop")
)

// retryOpen is how long clients are asked to wait while the store is away.
const retryOpen = 5 * time.Second

func newFront(g *ground, p patience) *front {
	f := &front{ground: g, life: &life{started: time.Now()}, wait: p.opening, queue: p.queue, stall: p.stall}
	f.state.Store(&frontState{changed: make(chan struct{})})
	early := newEcho(g.log, p)
	early.Use(crossOrigin(g.settings.CORS))
	early.Use(admit(g.gate, g.settings.UnderHost()))
	f.life.routes(early, func(ctx context.Context) readiness { return g.ready(ctx, f.whyNotOpen(), f.mayQueue()) })
	registerTriggers(early, f.notDone, f.notDone, f.whyNotDone, g.settings.UnderHost(), g.log)
	early.Match(statusMethods, statusPath, statusHandler(f.status, f.life))
	if g.hasHub() {
		g.ingest.Register(early.Group("", g.inflight.limit, boundCallers(g.calls), f.onlyQueued))
	}
	early.Any(anyPath, func(echo.Context) error { return errShut })
	f.early = early
	return f
}

// anyPath is the route of whatever there may be once the store is open.
const anyPath = "/*"

var errShut = httperr.Retry(httperr.Unavailable, retryOpen, nil, "the store is not open, /readyz says why: try again")

// onlyQueued takes readings while there is no house, if they may wait in the hub.
func (f *front) onlyQueued(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if c.Request().Method != http.MethodPost || !f.mayQueue() {
			return errShut
		}
		return next(c)
	}
}

// mayQueue says whether readings may wait in the hub for the store. Before the
// first try to open it has ended they may, once it takes long.
func (f *front) mayQueue() bool {
	switch s := f.state.Load(); {
	case f.life.stopping.Load():
		return false
	case s.app != nil: // just now
		return true
	case s.reason == nil:
		return time.Since(f.life.started) >= f.queue
	default:
		return mayQueue(s.reason, s.was)
	}
}

// whyNotOpen is errStarting during the first try to open the store.
func (f *front) whyNotOpen() error {
	switch s := f.state.Load(); {
	case s.app != nil:
		return nil // just now
	case s.reason != nil:
		return &notOpenError{s.reason}
	}
	return errStarting
}

// notDone is what a trigger does without a store; the work is not done either
// if the store has been opened just now.
func (f *front) notDone(context.Context, invoke.Envelope) ([]string, error) {
	return nil, f.whyNotDone()
}

func (f *front) whyNotDone() error { return cmp.Or(f.whyNotOpen(), errStarting) }

type notOpenError struct{ reason error }

func (e *notOpenError) Error() string   { return errNotOpen.Error() + ": " + e.reason.Error() }
func (e *notOpenError) Unwrap() []error { return []error{errNotOpen, e.reason} }

// open lets requests through to app.
func (f *front) open(app *echo.Echo) { f.change(app, nil) }

// shut keeps requests away from the store, and says why.
func (f *front) shut(reason error) { f.change(nil, reason) }

// stop makes the process unready, and sends home who waits for the store.
func (f *front) stop() {
	f.life.stopping.Store(true)
	f.change(f.state.Load().app, errStopping)
}

// change may be called concurrently: each state is followed by one other.
func (f *front) change(app *echo.Echo, reason error) {
	next := &frontState{app: app, reason: reason, changed: make(chan struct{})}
	for {
		before := f.state.Load()
		next.was = before.was || before.app != nil
		if f.state.CompareAndSwap(before, next) {
			close(before.changed)
			return
		}
	}
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w = &pacedWriter{ResponseWriter: w, stall: f.stall, moved: time.Now()}
	app := f.state.Load().app
	if app == nil && !isProbe(r.URL.Path) && mayWait(f.ground.gate, r, f.ground.settings.UnderHost()) {
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
	wait := f.wait
	if f.ground.hasHub() && r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/telemetry") {
		wait = max(f.queue-time.Since(f.life.started), 0)
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		s := f.state.Load()
		if s.app != nil || s.reason != nil {
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
	return path == "/" || path == "/healthz" || path == "/readyz" || path == statusPath
}
