package invoke

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/labstack/echo/v4"

	"sluice/internal/httperr"
)

// Function is what a trigger calls.
type Function struct {
	// Name is the function's folder, and so the path of its calls.
	Name string
	// Limit bounds the bytes of an envelope.
	Limit int64
	// Events bounds those of an envelope. 0: the trigger has none.
	Events int
	// Ready says why no work can be done now, before an envelope is read: nobody
	// need hold one for that. Nil: it always can.
	Ready func() error
	// Run does the work. Its lines tell what was done and go into the host's log.
	// After an error the work must be done again, by whatever makes the trigger
	// call again.
	Run func(ctx context.Context, e Envelope) (lines []string, err error)
}

// Register adds the function's path. Under the host nobody else's calls reach
// it: they get what any unknown path gets, whatever their method.
func (f Function) Register(e *echo.Echo, underHost bool, log *slog.Logger) {
	if !underHost {
		e.POST("/"+f.Name, f.handle(log))
		return
	}
	e.Any("/"+f.Name, OnlyHost(f.Name, f.handle(log)))
}

// OnlyHost lets the host's own calls of a function through.
func OnlyHost(function string, next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if !FromHost(c.Request(), function) {
			return echo.ErrNotFound
		}
		return next(c)
	}
}

// handle answers 200 when the work is done, and 500 with the reason when it is
// not: every other answer is a failure to the host, too, but tells less.
func (f Function) handle(log *slog.Logger) echo.HandlerFunc {
	return func(c echo.Context) error {
		if err := f.ready(); err != nil {
			// To its end, as a host may take an answer before that for a broken connection.
			_, _ = io.Copy(io.Discard, io.LimitReader(c.Request().Body, f.Limit))
			return failed(httperr.InvocationFailed, err)
		}
		envelope, err := Read(c.Request().Body, f.Limit, f.Events)
		if err != nil {
			return failed(httperr.InvalidEnvelope, err)
		}
		// The time to read the request, which is here, would end the context, too.
		_ = http.NewResponseController(c.Response()).SetReadDeadline(time.Time{})
		lines, err := f.run(c.Request().Context(), envelope, log)
		if err != nil {
			return failed(httperr.InvocationFailed, err)
		}
		return c.JSON(http.StatusOK, Done(lines...))
	}
}

func (f Function) ready() error {
	if f.Ready == nil {
		return nil
	}
	return f.Ready()
}

// run contains panics: what ends the process ends all other calls, too, and the
// third time the host.
func (f Function) run(ctx context.Context, e Envelope, log *slog.Logger) (lines []string, err error) {
	defer func() {
		if r := recover(); r != nil {
			log.Error("panic", "function", f.Name, "error", fmt.Sprint(r), "stack", string(debug.Stack()))
			err = fmt.Errorf("%s panicked: %v", f.Name, r)
		}
	}()
	return f.Run(ctx, e)
}

// maxReason bounds the text of a reason, as errors may hold many.
const maxReason = 2 << 10

func failed(code string, err error) error { return httperr.New(code, "%.*s", maxReason, err.Error()) }
