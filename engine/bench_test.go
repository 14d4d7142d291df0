package engine_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"sluice/engine"
	"sluice/store"
	"sluice/store/pebble"
	"sluice/telemetry"
	"sluice/telemetry/block"
)

// fleet makes readings of 4 metrics: n for each device, a minute apart.
func fleet(devices, n int, from time.Time) []telemetry.Reading {
	rng := rand.New(rand.NewPCG(1, 2))
	readings := make([]telemetry.Reading, 0, devices*n)
	for i := range n {
		for d := range devices {
			readings = append(readings, telemetry.Reading{
				Device: fmt.Sprintf("device-%05d", d), Time: from.Add(time.Duration(i)*time.Minute + time.Duration(d)*time.Millisecond).UnixNano(),
				Metrics: []telemetry.Metric{
					{Name: "temperature", Value: telemetry.FloatValue(20 + float64(rng.IntN(100))/10)},
					{Name: "humidity", Value: telemetry.FloatValue(40 + float64(rng.IntN(40)))},
					{Name: "running", Value: telemetry.BoolValue(rng.IntN(10) > 0)},
					{Name: "state", Value: telemetry.TextValue([]string{"OK", "WARN", "FAIL"}[rng.IntN(3)])},
				},
			})
		}
	}
	return readings
}

// load appends readings in flushes of so many.
func load(b *testing.B, e *engine.Engine, readings []telemetry.Reading, flush int, stamp *telemetry.Stamp) {
	for len(readings) > 0 {
		n := min(flush, len(readings))
		byShard := make([][]telemetry.Reading, e.Shards())
		for _, r := range readings[:n] {
			*stamp++
			r.Stamp = *stamp
			shard := e.Shard(r.Device)
			byShard[shard] = append(byShard[shard], r)
		}
		for shard, part := range byShard {
			if len(part) == 0 {
				continue
			}
			if err := e.Append(b.Context(), shard, block.FromReadings(part)); err != nil {
				b.Fatal(err)
			}
		}
		readings = readings[n:]
	}
}

// BenchmarkMerge is the compactor alone: what was appended in flushes of 5,000
// readings is merged into leaves that exist.
func BenchmarkMerge(b *testing.B) {
	for _, c := range []struct{ devices, each int }{{10_000, 1}, {2500, 40}, {100, 1000}, {1, 100_000}} {
		b.Run(fmt.Sprintf("devices=%d/each=%d", c.devices, c.each), func(b *testing.B) {
			s, err := pebble.Open(b.TempDir(), pebble.Options{})
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = s.Close() }()
			e, err := engine.Open(b.Context(), engine.Config{
				Accounts: []store.Rows{s.Rows()}, Journal: engine.Given(s.Journal()), Now: func() time.Time { return noon }, NewID: func() string { return "bench" }, Parallel: 2,
			})
			if err != nil {
				b.Fatal(err)
			}
			stamp := telemetry.Stamp(noon.UnixNano())
			at := noon.Add(-10 * 24 * time.Hour)
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				b.StopTimer()
				readings := fleet(c.devices, c.each, at)
				at = at.Add(time.Duration(c.each) * time.Minute)
				load(b, e, readings, 5000, &stamp)
				b.StartTimer()
				if err := e.Compact(b.Context()); err != nil {
					b.Fatal(err)
				}
				n += len(readings)
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "readings/s")
			b.ReportMetric(0, "ns/op")
		})
	}
}
