package apptest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"sluice/devtools/azurite"
	"sluice/devtools/load/body"
	"sluice/devtools/load/operations"
	"sluice/devtools/load/service"
	"sluice/engine"
	"sluice/ingest"
	"sluice/store"
	"sluice/store/fenced"
	"sluice/store/tables"
	"sluice/telemetry"
)

// tablesHouse is the write path of the service in this process on Azurite,
// which is another one: a profile has the service only.
type tablesHouse struct {
	engine  *engine.Engine
	server  *echo.Echo
	counter operations.Counter
	close   func() error
}

func newTablesHouse(b *testing.B, server *azurite.Server, buckets int) *tablesHouse {
	b.Helper()
	s, err := tables.Open(server.Account().ConnectionString(), tables.Options{})
	if err != nil {
		b.Fatal(err)
	}
	h := &tablesHouse{server: echo.New()}
	h.engine, err = engine.Open(b.Context(), engine.Config{
		Accounts: []store.Rows{h.counter.Rows(s)}, Buckets: buckets, Now: time.Now, NewID: func() string { return "bench" }, Merge: 5 * time.Second,
		Journal: func(rows func(shard int) store.Rows) (store.Journal, error) {
			return fenced.New(rows, fenced.Options{})
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	in := ingest.New(ingest.Config{}, h.engine, telemetry.NewClock(time.Now), h.engine.Floor)
	in.Register(h.server)
	ctx, stop := context.WithCancel(context.Background())
	var compactor sync.WaitGroup
	compactor.Go(func() { h.engine.Run(ctx) })
	h.close = func() error {
		err := in.Close(context.Background())
		stop()
		compactor.Wait()
		return errors.Join(err)
	}
	return h
}

// BenchmarkPostTables is the write path without HTTP's network over Azurite: 16
// clients post arrays of 500 readings of 500 devices while the compactor runs,
// and what is left is merged. Repeat it with -cpuprofile to see what the service
// itself costs; what Azurite costs is another process's and a metric here.
func BenchmarkPostTables(b *testing.B) {
	for _, buckets := range []int{1, 8, 16, 32} {
		b.Run(fmt.Sprintf("buckets=%d", buckets), func(b *testing.B) { benchmarkPostTables(b, buckets) })
	}
}

func benchmarkPostTables(b *testing.B, buckets int) {
	const clients, devices = 16, 500
	server := azurite.ForTest(b)
	h := newTablesHouse(b, server, buckets)
	begin := time.Now().Add(-80 * 24 * time.Hour).Truncate(time.Hour)
	h.counter.Take()
	before, err := service.UsageOf(server.PID())
	if err != nil {
		b.Fatal(err)
	}
	var left atomic.Int64
	left.Store(int64(b.N))
	b.ReportAllocs()
	b.ResetTimer()
	var all sync.WaitGroup
	for client := range clients {
		all.Go(func() {
			t := body.New(client*devices, devices, 1, time.Minute)
			for at := begin; left.Add(-1) >= 0; at = at.Add(t.Span()) {
				t.At(at)
				postOnce(b, h.server, t)
			}
		})
	}
	all.Wait()
	if err := h.engine.Compact(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	after, err := service.UsageOf(server.PID())
	if err != nil {
		b.Fatal(err)
	}
	n, counts := float64(b.N*devices), h.counter.Take()
	b.ReportMetric(n/b.Elapsed().Seconds(), "readings/s")
	b.ReportMetric(float64(counts.RowsWritten)/n*1e6, "rows/Mreadings")
	b.ReportMetric(float64(counts.Writes)/n*1e6, "transactions/Mreadings")
	b.ReportMetric((after.CPU()-before.CPU()).Seconds()/n*1e6, "azurite-CPU-s/Mreadings")
	b.ReportMetric(0, "ns/op")
	if err := h.close(); err != nil {
		b.Fatal(err)
	}
}
