package main

import (
	"context"
	_ "embed"
	"errors"
	"net/http"

	"github.com/labstack/echo/v4"

	"sluice/engine"
	"sluice/store"
)

//go:embed home.html
var home []byte

// readiness is the answer of /readyz.
type readiness struct {
	Status string `json:"status"` // ready, degraded, starting, stopping, unready
	Reason string `json:"reason,omitempty"`
	// Degraded has what is away while readings can be accepted without it (store,
	// eventhub or consuming), and why.
	Degraded map[string]string `json:"degraded,omitempty"`
}

// accepts says whether readings can be accepted.
func (r readiness) accepts() bool { return r.Status == "ready" || r.Status == "degraded" }

// routes adds the start page and the probes. ready says whether readings can be
// accepted.
func (l *life) routes(e *echo.Echo, ready func(context.Context) readiness) {
	get := []string{http.MethodGet, http.MethodHead}
	e.Match(get, "/", func(c echo.Context) error { return c.HTMLBlob(http.StatusOK, home) })
	e.Match(get, "/healthz", func(c echo.Context) error { return c.JSON(http.StatusOK, readiness{Status: "ok"}) })
	e.Match(get, "/readyz", func(c echo.Context) error {
		r := readiness{Status: "stopping", Reason: "the process was asked to stop"}
		if !l.stopping.Load() {
			r = ready(c.Request().Context())
		}
		c.Response().Header().Set("Cache-Control", "no-store")
		if !r.accepts() {
			return c.JSON(http.StatusServiceUnavailable, r)
		}
		return c.JSON(http.StatusOK, r)
	})
}

// judge says whether readings can be accepted, by what is away: the store, the
// hub (errNoHub where there is none), or nothing. Without a store they wait in the
// hub, if it may be the one for what the store is (see mayQueue).
func judge(store, hub error, mayQueue bool) readiness {
	noHub := errors.Is(hub, errNoHub)
	switch {
	case store == nil && (hub == nil || noHub):
		return readiness{Status: "ready"}
	case store == nil:
		return readiness{
			"degraded", "the Event Hub is away, readings go straight to the store: " + hub.Error(),
			map[string]string{"eventhub": hub.Error()},
		}
	case hub == nil && mayQueue:
		return readiness{
			"degraded", "the store is away, readings wait in the Event Hub: " + store.Error(),
			map[string]string{"store": store.Error()},
		}
	case errors.Is(store, errStarting):
		return readiness{Status: "starting", Reason: store.Error()}
	case hub == nil || noHub:
		return readiness{Status: "unready", Reason: store.Error()}
	default:
		return readiness{Status: "unready", Reason: store.Error() + "; and the Event Hub is away: " + hub.Error()}
	}
}

var errNoHub = errors.New("there is no Event Hub")

// mayQueue says whether readings may wait in the hub for a store that cannot be
// opened for the reason err. What passes by itself is no reason not to; settings of
// another store are: nobody would take the readings out again. was says that the
// store was open before in this process, so that it is the right one.
func mayQueue(err error, was bool) bool {
	for _, wrong := range []error{store.ErrDenied, store.ErrFormat, store.ErrCorrupt, engine.ErrMismatch, engine.ErrFormat, engine.ErrCorrupt} {
		if errors.Is(err, wrong) {
			return false
		}
	}
	if was {
		return true
	}
	for _, passes := range []error{store.ErrUnavailable, store.ErrNoAnswer, store.ErrThrottled, context.DeadlineExceeded, context.Canceled} {
		if errors.Is(err, passes) {
			return true
		}
	}
	return false
}
