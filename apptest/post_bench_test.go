package apptest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"sluice/devtools/load/body"
	"sluice/devtools/load/service"
	"sluice/engine"
	"sluice/ingest"
	"sluice/store"
	"sluice/store/pebble"
	"sluice/telemetry"
)

// postHouse is the write path of the service in this process, on a real disk,
// with its compactor: what a profile and the counts of allocations are of.
type postHouse struct {
	store  *pebble.Store
	engine *engine.Engine
	server *echo.Echo
	close  func() error
}

func newPostHouse(b *testing.B) *postHouse {
	b.Helper()
	s, err := pebble.Open(b.TempDir(), pebble.Options{})
	if err != nil {
		b.Fatal(err)
	}
	e, err := engine.Open(b.Context(), engine.Config{
		Accounts: []store.Rows{s.Rows()}, Journal: engine.Given(s.Journal()), Now: time.Now, NewID: func() string { return "bench" },
		Merge: 5 * time.Second, Parallel: max(runtime.GOMAXPROCS(0)/2, 1),
	})
	if err != nil {
		b.Fatal(err)
	}
	in := ingest.New(ingest.Config{}, e, telemetry.NewClock(time.Now), e.Floor)
	server := echo.New()
	in.Register(server)
	ctx, stop := context.WithCancel(context.Background())
	var compactor sync.WaitGroup
	compactor.Go(func() { e.Run(ctx) })
	return &postHouse{s, e, server, func() error {
		err := in.Close(context.Background())
		stop()
		compactor.Wait()
		return errors.Join(err, s.Close())
	}}
}

// BenchmarkPost is the write path without the network: 8 clients post arrays
// of readings of 4 metrics while the compactor runs, and what is left is merged.
// Repeat it with -cpuprofile to see what limits the service.
func BenchmarkPost(b *testing.B) {
	for _, c := range []struct{ devices, each int }{{50, 10}, {2500, 2}} {
		b.Run(fmt.Sprintf("readings=%d/devices=%d", c.devices*c.each, c.devices), func(b *testing.B) {
			h := newPostHouse(b)
			begin := time.Now().Add(-80 * 24 * time.Hour).Truncate(time.Hour)
			var posted atomic.Int64
			b.SetParallelism((8 + runtime.GOMAXPROCS(0) - 1) / runtime.GOMAXPROCS(0))
			b.ReportAllocs()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			b.ResetTimer()
			var clients atomic.Int64
			b.RunParallel(func(pb *testing.PB) {
				t := body.New(int(clients.Add(1))*c.devices, c.devices, c.each, time.Minute)
				at := begin
				for pb.Next() {
					t.At(at)
					at = at.Add(t.Span())
					if at.After(begin.Add(79 * 24 * time.Hour)) {
						at = begin
					}
					postOnce(b, h.server, t)
					posted.Add(int64(t.Readings))
				}
			})
			if err := h.engine.Compact(context.Background()); err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			runtime.ReadMemStats(&after)
			n := float64(posted.Load())
			b.ReportMetric(n/b.Elapsed().Seconds(), "readings/s")
			b.ReportMetric(float64(after.Mallocs-before.Mallocs)/n, "allocs/reading")
			b.ReportMetric(float64(after.TotalAlloc-before.TotalAlloc)/n, "B/reading")
			b.ReportMetric(0, "ns/op")
			if err := h.close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

func postOnce(b *testing.B, server *echo.Echo, t *body.Template) {
	request := httptest.NewRequest(http.MethodPost, "/api/v1/telemetry", bytes.NewReader(t.Bytes))
	request.Header.Set("Content-Type", "application/json")
	answer := httptest.NewRecorder()
	server.ServeHTTP(answer, request)
	var v service.Verdict
	if err := json.Unmarshal(answer.Body.Bytes(), &v); err != nil || v.Accepted != t.Readings {
		b.Fatalf("status %d: %s", answer.Code, answer.Body.Bytes())
	}
}
