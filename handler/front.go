package main

import (
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"

	"sluice/internal/httperr"
)

// life is what the process can say of itself at any time.
type life struct {
	started  time.Time
	stopping atomic.Bool
}

// front answers from the first moment on: the probes and the start page by
// itself, everything else waits, bounded, until the store is open.
type front struct {
	life   *life
	wait   time.Duration
	stall  time.Duration
	early  http.Handler
	app    atomic.Pointer[echo.Echo]
	change chan struct{} // closed when the store is open, or will not be
}

func newFront(log *slog.Logger, p patience) *front {
	f := &front{life: &life{started: time.Now()}, wait: p.opening, stall: p.stall, change: make(chan struct{})}
	early := newEcho(log, p)
	f.life.routes(early, nil)
	early.Any("/*", func(echo.Context) error {
		return httperr.Retry(httperr.Unavailable, time.Second, nil, "the store is not open: try again")
	})
	f.early = early
	return f
}

// open lets requests through to app. It is called at most once.
func (f *front) open(app *echo.Echo) {
	f.app.Store(app)
	close(f.change)
}

// stop makes the process unready, and sends home who waits for the store.
func (f *front) stop() {
	f.life.stopping.Store(true)
	if f.app.Load() == nil {
		close(f.change)
	}
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w = &pacedWriter{ResponseWriter: w, stall: f.stall, moved: time.Now()}
	app := f.app.Load()
	if app == nil && !isProbe(r.URL.Path) {
		app = f.await(r)
	}
	if app == nil {
		f.early.ServeHTTP(w, r)
		return
	}
	app.ServeHTTP(w, r)
}

// await returns the app as soon as there is one; nil if that takes too long.
func (f *front) await(r *http.Request) *echo.Echo {
	timer := time.NewTimer(f.wait)
	defer timer.Stop()
	select {
	case <-f.change:
	case <-timer.C:
	case <-r.Context().Done():
	}
	return f.app.Load()
}

func isProbe(path string) bool {
	return path == "/" || path == "/healthz" || path == "/readyz"
}
