package httperr_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"sluice/internal/httperr"
	"sluice/store"
)

func serve(err error, method, path string) (*httptest.ResponseRecorder, string) {
	var log bytes.Buffer
	e := echo.New()
	e.HTTPErrorHandler = httperr.Handler(slog.New(slog.NewTextHandler(&log, nil)))
	e.Use(func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			c.Response().Header().Set(echo.HeaderXRequestID, "r1")
			return next(c)
		}
	})
	e.GET("/x", func(echo.Context) error { return err })
	e.HEAD("/x", func(echo.Context) error { return err })
	w := httptest.NewRecorder()
	e.ServeHTTP(w, httptest.NewRequest(method, path, nil))
	return w, log.String()
}

func TestAnswers(t *testing.T) {
	secret := errors.New("key=hunter2")
	for _, c := range []struct {
		name         string
		err          error
		method, path string
		status       int
		body, retry  string
	}{
		{"own", fmt.Errorf("reading: %w", httperr.New(httperr.InvalidParameter, "limit %d: 1 to 10000", 0)), "GET", "/x",
			400, `{"error":{"code":"invalid_parameter","message":"limit 0: 1 to 10000"}}`, ""},
		{"own without status", &httperr.Error{Code: httperr.UnknownDevice, Message: "no device x"}, "GET", "/x",
			404, `{"error":{"code":"unknown_device","message":"no device x"}}`, ""},
		{"retry", httperr.Retry(httperr.Overloaded, 1500*time.Millisecond, secret, "queue is full"), "GET", "/x",
			503, `{"error":{"code":"overloaded","message":"queue is full"}}`, "2"},
		{"deadline", fmt.Errorf("reading: %w", context.DeadlineExceeded), "GET", "/x",
			503, `{"error":{"code":"timeout","message":"the service took too long: try again"}}`, "1"},
		{"large", &http.MaxBytesError{Limit: 7}, "GET", "/x",
			413, `{"error":{"code":"body_too_large","message":"body is over 7 bytes"}}`, ""},
		{"store throttles", fmt.Errorf("scan: %w: %w", store.ErrThrottled, secret), "GET", "/x",
			503, `{"error":{"code":"throttled","message":"the store does not answer as it should: try again"}}`, "5"},
		{"store refuses", fmt.Errorf("scan: %w: %w", store.ErrDenied, secret), "GET", "/x",
			503, `{"error":{"code":"unavailable","message":"the store does not answer as it should: try again"}}`, "30"},
		{"store away", fmt.Errorf("scan: %w", store.ErrNoAnswer), "GET", "/x",
			503, `{"error":{"code":"unavailable","message":"the store does not answer as it should: try again"}}`, "2"},
		{"unknown", secret, "GET", "/x",
			500, `{"error":{"code":"internal","message":"internal error, request r1"}}`, ""},
		{"echo's own 500", echo.NewHTTPError(500, "key=hunter2"), "GET", "/x",
			500, `{"error":{"code":"internal","message":"internal error, request r1"}}`, ""},
		{"path", nil, "GET", "/y", 404, `{"error":{"code":"not_found","message":"no such path"}}`, ""},
		{"method", nil, "DELETE", "/x",
			405, `{"error":{"code":"method_not_allowed","message":"the path does not take this method, see Allow"}}`, ""},
		{"head", secret, "HEAD", "/x", 500, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, log := serve(c.err, c.method, c.path)
			if got := strings.TrimSpace(w.Body.String()); w.Code != c.status || got != c.body {
				t.Errorf("got %d %s\nwant %d %s", w.Code, got, c.status, c.body)
			}
			if got := w.Header().Get("Retry-After"); got != c.retry {
				t.Errorf("Retry-After %q, want %q", got, c.retry)
			}
			if logged := strings.Contains(log, "request=r1"); logged != (c.status >= 500) {
				t.Errorf("status %d, log: %q", c.status, log)
			}
		})
	}
}

func TestAllowComesFromTheRouter(t *testing.T) {
	w, _ := serve(nil, "DELETE", "/x")
	if got := w.Header().Get("Allow"); !strings.Contains(got, "GET") {
		t.Errorf("Allow %q", got)
	}
}

func TestCommittedAnswersStay(t *testing.T) {
	e := echo.New()
	w := httptest.NewRecorder()
	c := e.NewContext(httptest.NewRequest("GET", "/", nil), w)
	if err := c.String(200, "half"); err != nil {
		t.Fatal(err)
	}
	failed := errors.New("midway")
	if err := httperr.Write(c, failed); !errors.Is(err, failed) || w.Body.String() != "half" {
		t.Errorf("err %v, body %q", err, w.Body.String())
	}
}
