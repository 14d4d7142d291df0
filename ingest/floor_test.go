package ingest

import (
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"sluice/engine"
	"sluice/internal/httperr"
	"sluice/telemetry"
)

// A floor that was raised after a body was decoded costs the readings below it,
// not the others of the body, and asks nobody to send again what stays too old.
func TestFloorRaisedMeanwhile(t *testing.T) {
	const (
		old    = `{"deviceId":"pump-0","ts":"2026-10-01T00:00:00Z","metrics":{"a":1}}`
		recent = `{"deviceId":"pump-1","ts":"2026-11-23T04:00:00Z","metrics":{"a":1}}`
		tooOld = `"code":"timestamp_too_old"`
	)
	for _, c := range []struct {
		name, body string
		times      int // that the store says so
		status     int
		want       string
		appends    int
	}{
		{"one of two", "[" + old + "," + recent + "]", 1, 200, `{"accepted":1,"rejected":1,"errors":[{"index":0,` + tooOld, 2},
		{"all of it", old, 1, 400, `{"accepted":0,"rejected":1,"errors":[{"index":0,` + tooOld, 1},
		{"another body's", recent, 1, 200, `{"accepted":1,"rejected":0,"errors":[]}`, 2},
		{"and again", recent, 2, 503, `"code":"unavailable"`, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			store := newRecorder(1)
			var floor atomic.Int64
			store.fail = func(_, nth int) error {
				if nth >= c.times {
					return nil
				}
				floor.Store(fixedNow.AddDate(0, 0, -7).UnixNano())
				return fmt.Errorf("readings of a device: %w", engine.ErrFloor)
			}
			in := New(Config{}, store, telemetry.NewClock(func() time.Time { return fixedNow }), floor.Load)
			e := echo.New()
			e.HTTPErrorHandler = httperr.Handler(slog.New(slog.DiscardHandler))
			in.Register(e)
			w := do(e, "POST", "", "", strings.NewReader(c.body))
			if w.Code != c.status || !strings.Contains(w.Body.String(), c.want) {
				t.Errorf("got  %d %s\nwant %d %s", w.Code, w.Body, c.status, c.want)
			}
			if len(store.flushes) != c.appends {
				t.Fatalf("%d appends, want %d", len(store.flushes), c.appends)
			}
			first, last := store.flushes[0], store.flushes[len(store.flushes)-1]
			if stamp := last.stamps[len(last.stamps)-1]; stamp != first.stamps[len(first.stamps)-1] {
				t.Error("sent again with another stamp")
			}
		})
	}
}
