package main

import (
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"sluice/consume"
	"sluice/internal/httperr"
	"sluice/internal/settings"
)

// eventsCall is what a call that brings events may take at worst: host.json's 64
// events of 1 MiB, as they come, decoded, and as they are appended.
const eventsCall = 3 * 64 * settings.MiB

// turns is how many calls that bring events may be under way at a time.
func turns(s settings.Settings) int { return int(max(1, s.Memory/eventsCall)) }

// takeTurns has calls that bring events, of which there may be one for each
// partition, wait before they are read, so that no more than n are in memory. Who
// waits until the call's time is over fails, and the host calls again. read is the
// time to read one when it is its turn.
func takeTurns(n int, read time.Duration) echo.MiddlewareFunc {
	free := make(chan struct{}, n)
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			r := c.Request()
			if r.Method != http.MethodPost || r.URL.EscapedPath() != "/"+consume.Name {
				return next(c)
			}
			select {
			case free <- struct{}{}:
				defer func() { <-free }()
			case <-r.Context().Done():
				return httperr.New(httperr.InvocationFailed, "%d calls with events are under way, as many as there is memory for (SLUICE_MEMORY): try again", n)
			}
			// The server's own began when the request came.
			_ = http.NewResponseController(c.Response()).SetReadDeadline(time.Now().Add(read))
			return next(c)
		}
	}
}
