package pebble

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"sluice/store"
)

func openReal(tb testing.TB, dir string, o Options) *Store {
	tb.Helper()
	o.OnFatal = func(err error) { tb.Errorf("store failed: %v", err) }
	s, err := Open(dir, o)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func mustDo(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// BenchmarkAppend appends blocks of 20 to 60 KB to the journal, each answered
// before the next one of its writer; fsyncs/append shows what they share.
func BenchmarkAppend(b *testing.B) {
	for _, writers := range []int{1, 8} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) { benchAppend(b, writers) })
	}
}

func benchAppend(b *testing.B, writers int) {
	var syncs atomic.Int64
	s := openReal(b, b.TempDir(), Options{FS: countingFS{vfs.Default, &syncs}})
	ctx, j := context.Background(), s.Journal()
	var left, bytes atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	for w := range writers {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(1, uint64(w)))
			data := made(rng, 60<<10)
			for left.Add(-1) >= 0 {
				d := data[:20<<10+rng.IntN(40<<10)]
				if err := j.Append(ctx, w, []store.Entry{{Data: d}}); err != nil {
					b.Error(err)
					return
				}
				bytes.Add(int64(len(d)))
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.SetBytes(bytes.Load() / int64(b.N))
	b.ReportMetric(float64(b.Elapsed().Microseconds())*float64(writers)/float64(b.N), "µs/append")
	b.ReportMetric(float64(syncs.Load())/float64(b.N), "fsyncs/append")
	mustDo(b, s.Close())
}

// countingFS counts the syncs of logs.
type countingFS struct {
	vfs.FS
	syncs *atomic.Int64
}

type countingFile struct {
	vfs.File
	syncs *atomic.Int64
}

func (f countingFile) Sync() error     { f.syncs.Add(1); return f.File.Sync() }
func (f countingFile) SyncData() error { f.syncs.Add(1); return f.File.SyncData() }

func (c countingFS) wrap(name string, f vfs.File, err error) (vfs.File, error) {
	if err != nil || filepath.Ext(name) != ".log" {
		return f, err
	}
	return countingFile{f, c.syncs}, nil
}

func (c countingFS) Create(name string, k vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := c.FS.Create(name, k)
	return c.wrap(name, f, err)
}

func (c countingFS) ReuseForWrite(from, to string, k vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := c.FS.ReuseForWrite(from, to, k)
	return c.wrap(to, f, err)
}

// fill writes a store with leaves of devices on days, a few KB each, and an
// unmerged tail.
func fill(tb testing.TB, s *Store, devices, days, tailBytes int) {
	ctx := context.Background()
	rng := rand.New(rand.NewPCG(3, 3))
	data := made(rng, 256<<10)
	for day := range days {
		table := fmt.Sprintf("leaves%d", day)
		mustDo(tb, s.Rows().CreateTable(ctx, table))
		for first := 0; first < devices; first += 100 {
			ops := make([]store.Op, 0, 100)
			for d := first; d < min(devices, first+100); d++ {
				ops = append(ops, store.Op{Kind: store.Put, Key: fmt.Sprintf("device-%05d!1", d), Properties: []store.Property{
					{Name: "Stamps", Value: data[rng.IntN(128<<10):][:512]},
					{Name: "Times", Value: data[rng.IntN(128<<10):][:1024]},
					{Name: "temperature", Value: data[rng.IntN(128<<10):][:4096]},
				}})
			}
			mustDo(tb, s.Rows().Commit(ctx, table, "shard-0", ops))
		}
	}
	for n := 0; n < tailBytes; n += 40 << 10 {
		mustDo(tb, s.Journal().Append(ctx, n/(40<<10)%8, []store.Entry{{Data: data[:40<<10]}}))
	}
}

// BenchmarkScanDevice reads one device's leaves of one day among 1,000 devices
// and 30 days: it must not depend on the days.
func BenchmarkScanDevice(b *testing.B) {
	for _, days := range []int{1, 30} {
		b.Run(fmt.Sprintf("days=%d", days), func(b *testing.B) {
			s := openReal(b, b.TempDir(), Options{})
			fill(b, s, 1000, days, 0)
			rng := rand.New(rand.NewPCG(1, 1))
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				from := fmt.Sprintf("device-%05d!", rng.IntN(1000))
				p, err := s.Rows().Scan(context.Background(), "leaves0", store.InPartition("shard-0", from, from+"~"), "")
				if err != nil || len(p.Rows) != 1 || len(p.Rows[0].Properties) != 3 {
					b.Fatal(err, len(p.Rows))
				}
			}
			b.StopTimer()
			mustDo(b, s.Close())
		})
	}
}

// BenchmarkOpen opens a store of 300 MB with 32 MiB of unmerged journal, appends
// once and reads one row, after a clean close and as a killed process leaves it
// (a copy of the files of an open store).
func BenchmarkOpen(b *testing.B) {
	for _, mem := range []int64{8, 16, 32} {
		b.Run(fmt.Sprintf("memtable=%dMiB", mem), func(b *testing.B) {
			o := Options{MemTableBytes: mem << 20}
			dir := b.TempDir()
			s := openReal(b, filepath.Join(dir, "a"), o)
			fill(b, s, 1000, 50, 32<<20)
			mustDo(b, cloneFolder(filepath.Join(dir, "a"), filepath.Join(dir, "killed")))
			mustDo(b, s.Close())
			mustDo(b, os.Rename(filepath.Join(dir, "a"), filepath.Join(dir, "clean")))
			for _, how := range []string{"clean", "killed"} {
				b.Run(how, func(b *testing.B) { benchOpen(b, filepath.Join(dir, how), o) })
			}
		})
	}
}

func benchOpen(b *testing.B, from string, o Options) {
	var opened, appended time.Duration
	b.StopTimer()
	for range b.N {
		dir := filepath.Join(b.TempDir(), "copy")
		mustDo(b, cloneFolder(from, dir))
		syscall.Sync() // else the first fsync pays for the copy
		b.StartTimer()
		start := time.Now()
		s := openReal(b, dir, o)
		opened += time.Since(start)
		mustDo(b, s.Journal().Append(context.Background(), 1, []store.Entry{{Data: []byte("first")}}))
		appended += time.Since(start)
		if _, err := s.Rows().Get(context.Background(), "leaves3", "shard-0", "device-00003!1"); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		mustDo(b, s.Close())
	}
	b.ReportMetric(float64(opened.Microseconds())/1000/float64(b.N), "ms-open")
	b.ReportMetric(float64(appended.Microseconds())/1000/float64(b.N), "ms-first-append")
}

// cloneFolder links the files that are never written again and copies the
// others.
func cloneFolder(from, to string) error {
	files, err := os.ReadDir(from)
	err = errors.Join(err, os.MkdirAll(to, 0o755))
	for _, f := range files {
		a, b := filepath.Join(from, f.Name()), filepath.Join(to, f.Name())
		if ext := filepath.Ext(a); ext == ".sst" || ext == ".blob" {
			err = errors.Join(err, os.Link(a, b))
			continue
		}
		data, errRead := os.ReadFile(a)
		err = errors.Join(err, errRead, os.WriteFile(b, data, 0o644))
	}
	return err
}
