package main

import (
	"compress/gzip"
	"context"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"

	"sluice/internal/httperr"
)

// compressFrom is the size from which answers are compressed if the client asks.
const compressFrom = 1 << 10

// newEcho makes a server with what holds for every request, and no routes.
func newEcho(log *slog.Logger, p patience) *echo.Echo {
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.Logger.SetOutput(slogWriter{log})
	e.IPExtractor = echo.ExtractIPDirect()
	e.HTTPErrorHandler = errorHandler(log)
	e.Use(
		requestID,
		accessLog(log),
		middleware.RecoverWithConfig(middleware.RecoverConfig{DisableStackAll: true, LogErrorFunc: logPanic(log)}),
		safeHeaders,
		middleware.GzipWithConfig(middleware.GzipConfig{Skipper: staysPlain, MinLength: compressFrom, Level: gzip.BestSpeed}),
		deadline(p),
	)
	return e
}

// newApp makes the server of an open house.
func newApp(h *house, l *life, log *slog.Logger, p patience) *echo.Echo {
	e := newEcho(log, p)
	e.Use(crossOrigin(h.settings.CORS))
	e.Use(admit(h.gate, h.settings.UnderHost()), h.inflight.limit, boundCallers(h.calls), takeTurns(turns(h.settings), p.read))
	l.routes(e, h.ready)
	registerTriggers(e, h.compact.Run, h.take, h.takes, h.settings.UnderHost(), log)
	e.Match(statusMethods, statusPath, statusHandler(h.status, l))
	h.routes(e)
	return e
}

// errorHandler writes errors in their one shape. An answer that has begun is
// broken off instead, so that the client sees that it is not whole.
func errorHandler(log *slog.Logger) echo.HTTPErrorHandler {
	write := httperr.Handler(log)
	return func(err error, c echo.Context) {
		if c.Response().Committed {
			log.Warn("answer broken off", "request", id(c), "route", c.Path(), "error", err.Error())
			panic(http.ErrAbortHandler)
		}
		write(err, c)
	}
}

// deadline ends a request's context before anyone else's patience does.
// Answers that stream a whole range get longer, as long as they move; so do
// triggers.
func deadline(p patience) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			long := p.request
			switch {
			case isTrigger(c.Request()):
				long = p.trigger
			case isExport(c.Request()):
				long = p.export
				// The time to read the request would end the context, too.
				_ = http.NewResponseController(c.Response()).SetReadDeadline(time.Time{})
			}
			ctx, cancel := context.WithTimeout(c.Request().Context(), long)
			defer cancel()
			c.SetRequest(c.Request().WithContext(ctx))
			return next(c)
		}
	}
}

func isExport(r *http.Request) bool {
	if r.Method != http.MethodGet || !strings.Contains(r.URL.RawQuery, "format") {
		return false
	}
	format := r.URL.Query().Get("format")
	return format == "csv" || format == "ndjson"
}

// staysPlain says whether an answer must not be compressed: the host takes
// those of triggers only as they are.
func staysPlain(c echo.Context) bool { return isTrigger(c.Request()) || refusesGzip(c) }

// refusesGzip knows gzip;q=0 (RFC 9110 section 12.4.2), which echo takes for a
// wish.
func refusesGzip(c echo.Context) bool {
	for item := range strings.SplitSeq(c.Request().Header.Get(echo.HeaderAcceptEncoding), ",") {
		coding, weight, _ := strings.Cut(item, ";")
		if strings.TrimSpace(coding) != "gzip" {
			continue
		}
		q, isNumber := strings.CutPrefix(strings.ReplaceAll(weight, " ", ""), "q=")
		if isNumber && strings.Trim(q, "0.") == "" {
			return true
		}
	}
	return false
}
