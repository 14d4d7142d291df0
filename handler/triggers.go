package main

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/labstack/echo/v4"

	"sluice/compact"
	"sluice/consume"
	"sluice/internal/invoke"
)

// The folders of the HTTP functions: where the host would call them if host.json
// did not tell it to pass requests on as they are.
var httpFunctions = []string{"ingest", "query"}

// work is what a trigger does.
type work func(context.Context, invoke.Envelope) (lines []string, err error)

// registerTriggers adds the paths by which the Functions host calls functions
// that are no HTTP triggers, and what stands there for whoever else comes. takes says
// why no events can be taken, which may be many MiB a call.
func registerTriggers(e *echo.Echo, merge, take work, takes func() error, underHost bool, log *slog.Logger) {
	invoke.Function{Name: compact.Name, Limit: compact.MaxEnvelope, Run: merge}.Register(e, underHost, log)
	invoke.Function{Name: consume.Name, Limit: invoke.EventsLimit(consume.MaxEvents), Events: consume.MaxEvents, Ready: takes, Run: take}.Register(e, underHost, log)
	if underHost {
		invoke.RefuseWrapped(e, log, httpFunctions...)
	}
}

// triggers are the paths that are the host's alone under the host.
var triggers = []string{"/" + compact.Name, "/" + consume.Name}

func isTrigger(r *http.Request) bool {
	path := r.URL.EscapedPath() // as the host writes it
	return r.Method == http.MethodPost && (path == "/"+compact.Name || path == "/"+consume.Name)
}
