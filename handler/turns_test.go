package main

import (
	"context"
	"log/slog"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"sluice/internal/settings"
)

// unread is a body that says when it is read.
type unread struct {
	*strings.Reader
	read *atomic.Int64
	once sync.Once
}

func (u *unread) Read(p []byte) (int, error) {
	u.once.Do(func() { u.read.Add(1) })
	return u.Reader.Read(p)
}

// Of many calls that bring events as many are read at a time as there is memory
// for; who never gets a turn fails, so that the host calls again.
func TestTurns(t *testing.T) {
	e := newEcho(slog.New(slog.DiscardHandler), impatient)
	e.Use(takeTurns(2, time.Minute))
	var read atomic.Int64
	held, leave := make(chan struct{}, 5), make(chan struct{})
	e.POST("/consume", func(c echo.Context) error {
		_, _ = c.Request().Body.Read(make([]byte, 1))
		held <- struct{}{}
		<-leave
		return c.NoContent(200)
	})
	e.POST("/other", func(c echo.Context) error { return c.NoContent(204) })
	call := func(ctx context.Context, path string) int {
		w := httptest.NewRecorder()
		e.ServeHTTP(w, httptest.NewRequestWithContext(ctx, "POST", path, &unread{Reader: strings.NewReader("{}"), read: &read}))
		return w.Code
	}
	var calls sync.WaitGroup
	for range 2 {
		calls.Go(func() {
			if code := call(context.Background(), "/consume"); code != 200 {
				t.Error(code)
			}
		})
	}
	<-held
	<-held
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if code := call(over, "/consume"); code != 500 || read.Load() != 2 {
		t.Errorf("a third call: %d, %d bodies were read", code, read.Load())
	}
	if code := call(t.Context(), "/other"); code != 204 {
		t.Error(code)
	}
	close(leave)
	calls.Wait()
	if code := call(t.Context(), "/consume"); code != 200 || read.Load() != 3 {
		t.Errorf("afterwards: %d, %d", code, read.Load())
	}
	for memory, want := range map[settings.Size]int{64 * settings.MiB: 1, settings.GiB: 5, 16 * settings.GiB: 85} {
		if n := turns(settings.Settings{Memory: memory}); n != want {
			t.Errorf("%d calls in %d bytes, want %d", n, memory, want)
		}
	}
}
