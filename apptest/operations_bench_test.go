package apptest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"sluice/engine"
	"sluice/store"
	"sluice/store/fenced"
	"sluice/store/pebble"
	"sluice/store/storetest"
	"sluice/telemetry"
	"sluice/telemetry/block"
)

// counts are a store's operations: what Azure bills by, and what its limits
// are in.
type counts struct {
	writes, rowsWritten, bytesWritten atomic.Int64
	reads, rowsRead, bytesRead        atomic.Int64
}

// countingRows counts the operations of rows. It offers no lazy commits: each
// is counted, and rows of Azure have none.
type countingRows struct {
	rows  store.Rows
	count *counts
}

func (c *countingRows) CreateTable(ctx context.Context, table string) error {
	return c.rows.CreateTable(ctx, table)
}

func (c *countingRows) DropTable(ctx context.Context, table string) error {
	return c.rows.DropTable(ctx, table)
}

func (c *countingRows) Tables(ctx context.Context, prefix, token string) ([]string, string, error) {
	c.count.reads.Add(1)
	return c.rows.Tables(ctx, prefix, token)
}

func (c *countingRows) Get(ctx context.Context, table, partition, key string) (store.Row, error) {
	row, err := c.rows.Get(ctx, table, partition, key)
	c.count.reads.Add(1)
	if err == nil {
		c.count.rowsRead.Add(1)
		c.count.bytesRead.Add(int64(row.Size()))
	}
	return row, err
}

func (c *countingRows) Scan(ctx context.Context, table string, r store.Range, token string) (store.Page, error) {
	page, err := c.rows.Scan(ctx, table, r, token)
	c.count.reads.Add(1)
	c.count.rowsRead.Add(int64(len(page.Rows)))
	for i := range page.Rows {
		c.count.bytesRead.Add(int64(page.Rows[i].Size()))
	}
	return page, err
}

func (c *countingRows) Commit(ctx context.Context, table, partition string, ops []store.Op) error {
	err := c.rows.Commit(ctx, table, partition, ops)
	c.count.writes.Add(1)
	if err == nil {
		c.count.rowsWritten.Add(int64(len(ops)))
		c.count.bytesWritten.Add(int64(store.WireSize(partition, ops)))
	}
	return err
}

// countingJournal counts the operations of the embedded journal: an Append is a
// transaction of a row.
type countingJournal struct {
	store.Journal
	count *counts
}

func (c *countingJournal) wrote(rows, size int, err error) error {
	c.count.writes.Add(1)
	if err == nil {
		c.count.rowsWritten.Add(int64(rows))
		c.count.bytesWritten.Add(int64(size))
	}
	return err
}

func (c *countingJournal) Head(ctx context.Context, shard int) (store.Head, error) {
	c.count.reads.Add(1)
	c.count.rowsRead.Add(1)
	return c.Journal.Head(ctx, shard)
}

func (c *countingJournal) Append(ctx context.Context, shard int, entries []store.Entry) error {
	size := 0
	for _, e := range entries {
		size += len(e.Data)
	}
	return c.wrote(1, size, c.Journal.Append(ctx, shard, entries))
}

func (c *countingJournal) Open(ctx context.Context, shard int, head store.Head) (store.Head, error) {
	h, err := c.Journal.Open(ctx, shard, head)
	return h, c.wrote(1, 0, err)
}

func (c *countingJournal) Seal(ctx context.Context, shard int, e store.Epoch) error {
	return c.wrote(1, 0, c.Journal.Seal(ctx, shard, e))
}

func (c *countingJournal) Update(ctx context.Context, shard int, from, to store.Head) error {
	return c.wrote(1, 0, c.Journal.Update(ctx, shard, from, to))
}

func (c *countingJournal) Scan(ctx context.Context, shard int, e store.Epoch, token string) (store.EntryPage, error) {
	page, err := c.Journal.Scan(ctx, shard, e, token)
	c.count.reads.Add(1)
	c.count.rowsRead.Add(int64(len(page.Entries)))
	for _, entry := range page.Entries {
		c.count.bytesRead.Add(int64(len(entry.Data)))
	}
	return page, err
}

// countedStore is an engine over a store that counts; append has what appends
// did, merge what the compactor did.
type countedStore struct {
	engine        *engine.Engine
	counted       counts
	append, merge counts
	now           time.Time
	stamp         telemetry.Stamp
	readings      int
}

// add moves what was counted since to a sum.
func (s *countedStore) add(to *counts) {
	for _, c := range []struct{ from, to *atomic.Int64 }{
		{&s.counted.writes, &to.writes}, {&s.counted.rowsWritten, &to.rowsWritten}, {&s.counted.bytesWritten, &to.bytesWritten},
		{&s.counted.reads, &to.reads}, {&s.counted.rowsRead, &to.rowsRead}, {&s.counted.bytesRead, &to.bytesRead},
	} {
		c.to.Add(c.from.Swap(0))
	}
}

func openCounted(b *testing.B, kind string, now time.Time) *countedStore {
	b.Helper()
	s := &countedStore{now: now, stamp: telemetry.Stamp(now.UnixNano())}
	clock := func() time.Time { return s.now }
	config := engine.Config{Now: clock, NewID: func() string { return "counted" }, MergeBytes: 1 << 40}
	var rows store.Rows = &storetest.Memory{}
	var embedded *pebble.Store
	if kind != "tables" {
		var err error
		if embedded, err = pebble.Open("data", pebble.Options{FS: vfs.NewMem(), Now: clock}); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = embedded.Close() })
		rows = embedded.Rows()
	}
	counting := &countingRows{rows, &s.counted}
	config.Accounts = []store.Rows{counting}
	if kind == "embedded" {
		config.Journal, config.Buckets = engine.Given(&countingJournal{embedded.Journal(), &s.counted}), 1
	} else {
		config.Buckets = 32
		config.Journal = func(rows func(int) store.Rows) (store.Journal, error) {
			return fenced.New(rows, fenced.Options{Now: clock})
		}
	}
	var err error
	if s.engine, err = engine.Open(b.Context(), config); err != nil {
		b.Fatal(err)
	}
	s.counted = counts{}
	return s
}

// flush appends readings, a transaction a shard as the group commit does.
func (s *countedStore) flush(b *testing.B, readings []telemetry.Reading) {
	b.Helper()
	byShard := make([][]telemetry.Reading, s.engine.Shards())
	for _, r := range readings {
		s.stamp++
		r.Stamp = s.stamp
		shard := s.engine.Shard(r.Device)
		byShard[shard] = append(byShard[shard], r)
	}
	for shard, part := range byShard {
		if len(part) == 0 {
			continue
		}
		if err := s.engine.Append(b.Context(), shard, block.FromReadings(part)); err != nil {
			b.Fatal(err)
		}
	}
	s.readings += len(readings)
	s.add(&s.append)
}

func (s *countedStore) compact(b *testing.B) {
	b.Helper()
	if err := s.engine.Compact(b.Context()); err != nil {
		b.Fatal(err)
	}
	s.add(&s.merge)
}

func (s *countedStore) report(b *testing.B) {
	n := float64(s.readings)
	for name, c := range map[string]*counts{"append": &s.append, "merge": &s.merge} {
		b.ReportMetric(float64(c.writes.Load())/n, name+"-writes/reading")
		b.ReportMetric(float64(c.rowsWritten.Load())/n, name+"-rows-written/reading")
		b.ReportMetric(float64(c.bytesWritten.Load())/n, name+"-B-written/reading")
		b.ReportMetric(float64(c.reads.Load())/n, name+"-reads/reading")
		b.ReportMetric(float64(c.rowsRead.Load())/n, name+"-rows-read/reading")
		b.ReportMetric(float64(c.bytesRead.Load())/n, name+"-B-read/reading")
	}
	b.ReportMetric(0, "ns/op")
}

// complete checks that nothing is missing: what is counted must have done the
// work.
func (s *countedStore) complete(b *testing.B, devices int) {
	b.Helper()
	n := 0
	for i := range devices {
		err := s.engine.View().Read(b.Context(), sensor(i), engine.Span{From: 0, To: 1 << 62}, func(f *block.Frame) error {
			n += f.Readings()
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	if n != s.readings {
		b.Fatalf("%d readings are there, %d were appended", n, s.readings)
	}
}

func sensor(i int) string { return fmt.Sprintf("sensor-%05d", i) }

func readingOf(device int, at time.Time, dice *rand.Rand) telemetry.Reading {
	return telemetry.Reading{Device: sensor(device), Time: at.UnixNano(), Metrics: []telemetry.Metric{
		{Name: "humidity", Value: telemetry.FloatValue(40 + float64(dice.IntN(40)))},
		{Name: "running", Value: telemetry.BoolValue(dice.IntN(10) > 0)},
		{Name: "state", Value: telemetry.TextValue([]string{"OK", "WARN", "FAIL"}[dice.IntN(3)])},
		{Name: "temperature", Value: telemetry.FloatValue(20 + float64(dice.IntN(100))/10)},
	}}
}

const linger = 100 * time.Millisecond

// steady has devices that send a reading each interval, spread evenly, for as
// long as that; commits are paced, and merges follow each other every so often.
func (s *countedStore) steady(b *testing.B, devices int, interval, length, merge time.Duration) {
	b.Helper()
	dice := rand.New(rand.NewPCG(3, 4))
	begin, sent := s.now, 0
	perReading := interval / time.Duration(devices)
	for at := linger; at <= length; at += linger {
		s.now = begin.Add(at)
		var due []telemetry.Reading
		for ; time.Duration(sent)*perReading < at; sent++ {
			due = append(due, readingOf(sent%devices, begin.Add(time.Duration(sent)*perReading), dice))
		}
		s.flush(b, due)
		if at%merge == 0 {
			s.compact(b)
		}
	}
}

// backfill appends a year of readings of devices, each an interval apart, in
// random order, in bodies of 5,000, and merges after every 50,000.
func (s *countedStore) backfill(b *testing.B, devices int, interval time.Duration) {
	b.Helper()
	dice := rand.New(rand.NewPCG(5, 6))
	each := int(365 * 24 * time.Hour / interval)
	begin := s.now.Add(-time.Duration(each) * interval)
	order := dice.Perm(devices * each)
	for i := 0; i < len(order); i += 5000 {
		var readings []telemetry.Reading
		for _, n := range order[i:min(i+5000, len(order))] {
			readings = append(readings, readingOf(n%devices, begin.Add(time.Duration(n/devices)*interval), dice))
		}
		s.flush(b, readings)
		if (i/5000+1)%10 == 0 {
			s.compact(b)
		}
	}
	s.compact(b)
}

// BenchmarkOperations counts what the journal and the compactor ask of a store
// for a reading: "tables" is the fenced journal over rows in memory with the 32
// buckets of Azure Tables, "embedded" the embedded store (on a file system in
// memory: what is counted does not depend on the disk). The clock is simulated.
func BenchmarkOperations(b *testing.B) {
	noon := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	for _, kind := range []string{"tables", "embedded"} {
		merge := time.Minute
		if kind == "embedded" {
			merge = 30 * time.Second
		}
		scenarios := []struct {
			name    string
			devices int
			run     func(*testing.B, *countedStore)
		}{
			{"10000-devices-a-minute", 10_000, func(b *testing.B, s *countedStore) { s.steady(b, 10_000, time.Minute, 10*time.Minute, merge) }},
			{"10000-devices-merge-5m", 10_000, func(b *testing.B, s *countedStore) { s.steady(b, 10_000, time.Minute, 10*time.Minute, 5*time.Minute) }},
			{"1-device-10-a-second", 1, func(b *testing.B, s *countedStore) { s.steady(b, 1, 100*time.Millisecond, 10*time.Minute, merge) }},
			{"backfill-of-a-year", 20, func(b *testing.B, s *countedStore) { s.backfill(b, 20, 30*time.Minute) }},
		}
		for _, scenario := range scenarios {
			b.Run(strings.Join([]string{kind, scenario.name}, "/"), func(b *testing.B) {
				for range b.N {
					s := openCounted(b, kind, noon)
					scenario.run(b, s)
					b.StopTimer()
					s.complete(b, scenario.devices)
					s.report(b)
					b.StartTimer()
				}
			})
		}
	}
}
