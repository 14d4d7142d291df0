package main

import (
	"context"
	_ "embed"
	"errors"
	"net/http"

	"github.com/labstack/echo/v4"
)

//go:embed home.html
var home []byte

// readiness is the answer of /readyz.
type readiness struct {
	Status string `json:"status"` // ready, starting, stopping, unready
	Reason string `json:"reason,omitempty"`
}

// routes adds the start page and the probes. ready says why readings cannot be
// accepted, if so.
func (l *life) routes(e *echo.Echo, ready func(context.Context) error) {
	get := []string{http.MethodGet, http.MethodHead}
	e.Match(get, "/", func(c echo.Context) error { return c.HTMLBlob(http.StatusOK, home) })
	e.Match(get, "/healthz", func(c echo.Context) error { return c.JSON(http.StatusOK, readiness{Status: "ok"}) })
	e.Match(get, "/readyz", func(c echo.Context) error {
		r := l.readiness(c.Request().Context(), ready)
		c.Response().Header().Set("Cache-Control", "no-store")
		if r.Status != "ready" {
			return c.JSON(http.StatusServiceUnavailable, r)
		}
		return c.JSON(http.StatusOK, r)
	})
}

func (l *life) readiness(ctx context.Context, ready func(context.Context) error) readiness {
	if l.stopping.Load() {
		return readiness{"stopping", "the process was asked to stop"}
	}
	switch err := ready(ctx); {
	case err == nil:
		return readiness{Status: "ready"}
	case errors.Is(err, errStarting):
		return readiness{"starting", err.Error()}
	default:
		return readiness{"unready", err.Error()}
	}
}
