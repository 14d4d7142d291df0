// Package httperr is the one shape of error answers:
//
//	{"error":{"code":"…","message":"…"}}
//
// Handlers return errors; the server's error handler (Handler) writes them.
// What is not an *Error says nothing of itself to clients: 500 and the id of
// the request, under which the log has the cause.
package httperr

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"sluice/store"
)

// Error is an answer that is an error as a whole.
type Error struct {
	Status  int    // HTTP status; 0: the code's
	Code    string // for programs, see the constants
	Message string // for people: names the input and what would be right
	// RetryAfter is when to try again; of a fraction of a second the answer says
	// one second. 0: no header.
	RetryAfter time.Duration
	// Cause is for the log and errors.Is; clients do not see it.
	Cause error
}

// New makes an error of a code with the code's status.
func New(code, format string, args ...any) *Error {
	return &Error{Status: status(code), Code: code, Message: fmt.Sprintf(format, args...)}
}

// Retry is New for what is worth trying again after a while; the log sees cause.
func Retry(code string, after time.Duration, cause error, format string, args ...any) *Error {
	e := New(code, format, args...)
	e.RetryAfter, e.Cause = after, cause
	return e
}

// Error is the code, the message and the cause.
func (e *Error) Error() string {
	if e.Cause != nil {
		return e.Code + ": " + e.Message + ": " + e.Cause.Error()
	}
	return e.Code + ": " + e.Message
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

func status(code string) int {
	if s, ok := statuses[code]; ok {
		return s
	}
	return http.StatusInternalServerError
}

// From tells what a client is told of err: an *Error as it is, the router's
// errors by their status, a body over http.MaxBytesReader's bound 413, a
// deadline or a cancelled context and a store that is away 503, anything else
// 500 with the id of the request.
func From(err error, requestID string) *Error {
	var own *Error
	var router *echo.HTTPError
	var large *http.MaxBytesError
	code, after := StoreCode(err)
	switch {
	case errors.As(err, &own):
		return complete(own)
	case code != "":
		return Retry(code, after, err, "the store does not answer as it should: try again")
	case errors.As(err, &large):
		return New(BodyTooLarge, "body is over %d bytes", large.Limit)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return Retry(Timeout, time.Second, err, "the service took too long: try again")
	case errors.As(err, &router) && router.Code != http.StatusInternalServerError:
		return fromRouter(router)
	default:
		e := New(Internal, "internal error, request %s", requestID)
		e.Cause = err
		return e
	}
}

// StoreCode is the code of an answer that is an error because of the store, and
// when to try again; "" if err does not say that the store is away.
func StoreCode(err error) (code string, after time.Duration) {
	switch {
	case errors.Is(err, store.ErrThrottled):
		return Throttled, 5 * time.Second
	case errors.Is(err, store.ErrDenied):
		return Unavailable, 30 * time.Second // until somebody changes a key or a role
	case errors.Is(err, store.ErrUnavailable), errors.Is(err, store.ErrNoAnswer):
		return Unavailable, 2 * time.Second
	}
	return "", 0
}

func complete(e *Error) *Error {
	if e.Status != 0 {
		return e
	}
	c := *e
	c.Status = status(c.Code)
	return &c
}

func fromRouter(err *echo.HTTPError) *Error {
	code, ok := codes[err.Code]
	if !ok {
		code = "http_" + strconv.Itoa(err.Code)
	}
	message := http.StatusText(err.Code)
	switch err.Code {
	case http.StatusNotFound:
		message = "no such path"
	case http.StatusMethodNotAllowed:
		message = "the path does not take this method, see Allow"
	}
	return &Error{Status: err.Code, Code: code, Message: message, Cause: err.Internal}
}

type envelope struct {
	Error body `json:"error"`
}

type body struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// Body is what an answer says of e, as JSON has it.
func Body(e *Error) any { return envelope{body{e.Code, e.Message}} }

// Write answers with err. An answer that has begun cannot be taken back: then
// Write returns err, unwritten.
func Write(c echo.Context, err error) error {
	if c.Response().Committed {
		return err
	}
	e := From(err, c.Response().Header().Get(echo.HeaderXRequestID))
	header := c.Response().Header()
	if e.RetryAfter > 0 {
		header.Set(echo.HeaderRetryAfter, RetryAfter(e.RetryAfter))
	}
	header.Set("Cache-Control", "no-store")
	if c.Request().Method == http.MethodHead {
		return c.NoContent(e.Status)
	}
	return c.JSON(e.Status, Body(e))
}

// RetryAfter is the header's text: whole seconds, rounded up, at least 1.
func RetryAfter(d time.Duration) string {
	seconds := max(1, (d+time.Second-1)/time.Second)
	return strconv.FormatInt(int64(seconds), 10)
}

// Handler is the server's error handler. It logs what is the service's fault
// (500 and above) with its cause; as a warning what only asks to come again.
func Handler(log *slog.Logger) echo.HTTPErrorHandler {
	return func(err error, c echo.Context) {
		id := c.Response().Header().Get(echo.HeaderXRequestID)
		e := From(err, id)
		if e.Status >= http.StatusInternalServerError {
			level := slog.LevelError
			if e.RetryAfter > 0 {
				level = slog.LevelWarn
			}
			log.LogAttrs(c.Request().Context(), level, "request failed",
				slog.String("request", id), slog.String("method", c.Request().Method),
				slog.String("route", c.Path()), slog.Int("status", e.Status),
				slog.String("code", e.Code), slog.Any("error", err))
		}
		if writeErr := Write(c, err); writeErr != nil && !errors.Is(writeErr, err) {
			log.Debug("error answer not written", "request", id, "error", writeErr)
		}
	}
}
