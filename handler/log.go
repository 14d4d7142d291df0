package main

import (
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"

	"sluice/access"
)

// slow is from when on a request is worth a line of the log by itself.
const slow = 5 * time.Second

// requestID gives each request an id: the client's, if it is one that does no
// harm in logs and headers, else a random one.
func requestID(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		rid := c.Request().Header.Get(echo.HeaderXRequestID)
		if !isSane(rid) {
			rid = rand.Text()
		}
		c.Response().Header().Set(echo.HeaderXRequestID, rid)
		return next(c)
	}
}

func isSane(id string) bool {
	const allowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.:=+/@"
	return id != "" && len(id) <= 128 && strings.Trim(id, allowed) == ""
}

func id(c echo.Context) string { return c.Response().Header().Get(echo.HeaderXRequestID) }

// accessLog writes a line for each request at level debug, because at a
// thousand a second nobody reads them and they cost as much as the work; slow
// ones at level info. The error handler logs failures, with their cause.
func accessLog(log *slog.Logger) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			began := time.Now()
			if err := next(c); err != nil {
				c.Error(err)
			}
			took, level := time.Since(began), slog.LevelDebug
			if took >= slow {
				level = slog.LevelInfo
			}
			r, ctx := c.Request(), c.Request().Context()
			if !log.Enabled(ctx, level) {
				return nil
			}
			log.LogAttrs(ctx, level, "request", slog.String("request", id(c)), slog.String("method", r.Method),
				slog.String("path", access.HidePath(r.URL.Path)), slog.Int("status", c.Response().Status),
				slog.Int64("bytes", c.Response().Size), slog.String("took", took.String()), slog.String("from", c.RealIP()))
			return nil
		}
	}
}

// logPanic keeps the stack for the log; the client sees the request's id.
func logPanic(log *slog.Logger) middleware.LogErrorFunc {
	return func(c echo.Context, err error, stack []byte) error {
		log.Error("panic", "request", id(c), "route", c.Path(), "error", err.Error(), "stack", string(stack))
		return echo.NewHTTPError(http.StatusInternalServerError).SetInternal(fmt.Errorf("panic: %w", err))
	}
}

// slogWriter takes the lines that echo logs by itself.
type slogWriter struct{ log *slog.Logger }

func (w slogWriter) Write(line []byte) (int, error) {
	w.log.Warn("echo", "line", strings.TrimSpace(string(line)))
	return len(line), nil
}
