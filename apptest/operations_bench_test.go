package apptest

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"sluice/devtools/load/operations"
	"sluice/engine"
	"sluice/store"
	"sluice/store/pebble"
	"sluice/telemetry"
)

// embeddedStore is the embedded store on a file system in memory: what is
// counted does not depend on the disk.
func embeddedStore(b *testing.B) operations.Store {
	return func(counter *operations.Counter, now func() time.Time) (engine.Config, error) {
		s, err := pebble.Open("data", pebble.Options{FS: vfs.NewMem(), Now: now})
		if err != nil {
			return engine.Config{}, err
		}
		b.Cleanup(func() { _ = s.Close() })
		return engine.Config{
			Accounts: []store.Rows{counter.Rows(s.Rows())}, Journal: engine.Given(counter.Journal(s.Journal())),
		}, nil
	}
}

// report tells journal and compactor apart, a reading each.
func report(b *testing.B, w *operations.World) {
	n := float64(w.Readings)
	for name, c := range map[string]operations.Counts{"append": w.Append, "merge": w.Merge} {
		b.ReportMetric(float64(c.Writes)/n, name+"-writes/reading")
		b.ReportMetric(float64(c.RowsWritten)/n, name+"-rows-written/reading")
		b.ReportMetric(float64(c.BytesWritten)/n, name+"-B-written/reading")
		b.ReportMetric(float64(c.Reads)/n, name+"-reads/reading")
		b.ReportMetric(float64(c.RowsRead)/n, name+"-rows-read/reading")
		b.ReportMetric(float64(c.BytesRead)/n, name+"-B-read/reading")
	}
	b.ReportMetric(0, "ns/op")
}

// backfill appends a year of readings of devices, each an interval apart, in
// random order, in bodies of 5,000, and merges after every 50,000.
func backfill(b *testing.B, w *operations.World, devices int, interval time.Duration) error {
	dice := rand.New(rand.NewPCG(5, 6))
	each := int(365 * 24 * time.Hour / interval)
	begin := w.Now.Add(-time.Duration(each) * interval)
	order := dice.Perm(devices * each)
	for i := 0; i < len(order); i += 5000 {
		var readings []telemetry.Reading
		for _, n := range order[i:min(i+5000, len(order))] {
			readings = append(readings, operations.Reading(n%devices, begin.Add(time.Duration(n/devices)*interval), dice))
		}
		if err := w.Flush(b.Context(), readings); err != nil {
			return err
		}
		if (i/5000+1)%10 == 0 {
			if err := w.Compact(b.Context()); err != nil {
				return err
			}
		}
	}
	return w.Compact(b.Context())
}

// BenchmarkOperations counts what the journal and the compactor ask of a store
// for a reading: "tables" is the fenced journal over rows in memory with the 16
// buckets of Azure Tables, "embedded" the embedded store. The clock is
// simulated. devtools/load -store simulated varies the settings.
func BenchmarkOperations(b *testing.B) {
	for kind, settings := range map[string]operations.Settings{
		"tables":   {Shards: 8, Buckets: 16, Merge: time.Minute},
		"embedded": {Shards: 8, Buckets: 1, Merge: 30 * time.Second},
	} {
		settings.Linger, settings.Commit = 100*time.Millisecond, 10*time.Millisecond
		steady := func(f operations.Fleet) func(*testing.B, *operations.World) error {
			return func(b *testing.B, w *operations.World) error {
				if err := w.Run(b.Context(), f, 10*time.Minute); err != nil {
					return err
				}
				return w.MergeDue(b.Context())
			}
		}
		seldom := settings
		seldom.Merge = 5 * time.Minute
		minutely := operations.Fleet{Devices: 10_000, Every: time.Minute, Batch: 1}
		for _, scenario := range []struct {
			name     string
			devices  int
			settings operations.Settings
			run      func(*testing.B, *operations.World) error
		}{
			{"10000-devices-a-minute", 10_000, settings, steady(minutely)},
			{"10000-devices-merge-5m", 10_000, seldom, steady(minutely)},
			{"1-device-10-a-second", 1, settings, steady(operations.Fleet{Devices: 1, Every: 100 * time.Millisecond, Batch: 1})},
			{"backfill-of-a-year", 20, settings, func(b *testing.B, w *operations.World) error { return backfill(b, w, 20, 30*time.Minute) }},
		} {
			b.Run(strings.Join([]string{kind, scenario.name}, "/"), func(b *testing.B) {
				open := operations.Tables
				if kind == "embedded" {
					open = embeddedStore(b)
				}
				for range b.N {
					w, err := operations.Open(b.Context(), scenario.settings, open)
					if err == nil {
						err = scenario.run(b, w)
					}
					if err == nil {
						err = w.Complete(b.Context(), scenario.devices)
					}
					if err != nil {
						b.Fatal(err)
					}
					report(b, w)
				}
			})
		}
	}
}
