package pebble

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	pebbledb "github.com/cockroachdb/pebble/v2"
	"go.etcd.io/bbolt"
)

// The benchmarks of this file compare the two candidates for the embedded
// store, without our layer above them, under the load that the engine makes
// (see docs/adr/0003-embedded-store.md):
//
//	go test -run '^$' -bench 'Engine' -benchtime 1x ./store/pebble
//
// bbolt is a dependency of this test only.

// candidate is an embedded engine reduced to what the load needs.
type candidate interface {
	put(key, value []byte) error                                  // durable
	change(keys [][]byte, f func(i int, old []byte) []byte) error // one durable transaction
	scan(from, to []byte, visit func(key, value []byte)) error    // ascending
	drop(prefix []byte) error                                     // all keys with the prefix, durable
	settle() error                                                // ends what runs in the background
	close() error
}

type pebbleCandidate struct{ db *pebbledb.DB }

func openPebble(dir string) (candidate, error) {
	opts := tuned(Options{}.withDefaults())
	opts.Logger = silent{}
	db, err := pebbledb.Open(dir, opts)
	return pebbleCandidate{db}, err
}

func (c pebbleCandidate) put(key, value []byte) error { return c.db.Set(key, value, pebbledb.Sync) }

func (c pebbleCandidate) change(keys [][]byte, f func(int, []byte) []byte) error {
	b := c.db.NewBatch()
	defer b.Close()
	for i, k := range keys {
		old, closer, err := c.db.Get(k)
		if err != nil && err != pebbledb.ErrNotFound {
			return err
		}
		if err := b.Set(k, f(i, old), nil); err != nil {
			return err
		}
		if closer != nil {
			closer.Close()
		}
	}
	return b.Commit(pebbledb.Sync)
}

func (c pebbleCandidate) scan(from, to []byte, visit func(k, v []byte)) error {
	it, err := c.db.NewIter(&pebbledb.IterOptions{LowerBound: from, UpperBound: to})
	if err != nil {
		return err
	}
	for ok := it.First(); ok; ok = it.Next() {
		visit(it.Key(), it.Value())
	}
	return it.Close()
}

func (c pebbleCandidate) drop(prefix []byte) error {
	end := after(prefix)
	if err := c.db.DeleteRange(prefix, end, pebbledb.Sync); err != nil {
		return err
	}
	return c.db.Compact(context.Background(), prefix, end, false)
}

func (c pebbleCandidate) settle() error { return c.db.Flush() }
func (c pebbleCandidate) close() error  { return c.db.Close() }

// bboltCandidate keeps a bucket a table, the first byte of the key; so does
// bbolt's own advice, and a table's drop is its cheapest.
type bboltCandidate struct{ db *bbolt.DB }

func openBbolt(dir string) (candidate, error) {
	db, err := bbolt.Open(filepath.Join(dir, "db"), 0o600, &bbolt.Options{FreelistType: bbolt.FreelistMapType, NoFreelistSync: true})
	if err == nil {
		// Concurrent transactions share a commit; alone they must not wait for others.
		db.MaxBatchDelay = 200 * time.Microsecond
	}
	return bboltCandidate{db}, err
}

func (c bboltCandidate) put(key, value []byte) error {
	return c.db.Batch(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists(key[:1])
		if err != nil {
			return err
		}
		return b.Put(key, value)
	})
}

func (c bboltCandidate) change(keys [][]byte, f func(int, []byte) []byte) error {
	return c.db.Update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists(keys[0][:1])
		if err != nil {
			return err
		}
		for i, k := range keys {
			if err := b.Put(k, f(i, b.Get(k))); err != nil {
				return err
			}
		}
		return nil
	})
}

func (c bboltCandidate) scan(from, to []byte, visit func(k, v []byte)) error {
	return c.db.View(func(tx *bbolt.Tx) error {
		cur := tx.Bucket(from[:1]).Cursor()
		for k, v := cur.Seek(from); k != nil && bytes.Compare(k, to) < 0; k, v = cur.Next() {
			visit(k, v)
		}
		return nil
	})
}

func (c bboltCandidate) drop(prefix []byte) error {
	return c.db.Update(func(tx *bbolt.Tx) error { return tx.DeleteBucket(prefix[:1]) })
}

func (c bboltCandidate) settle() error { return nil }
func (c bboltCandidate) close() error  { return c.db.Close() }

var candidates = []struct {
	name string
	open func(dir string) (candidate, error)
}{{"pebble", openPebble}, {"bbolt", openBbolt}}

// each runs f over every candidate in a fresh folder.
func each(b *testing.B, f func(b *testing.B, dir string, c candidate)) {
	for _, cand := range candidates {
		b.Run(cand.name, func(b *testing.B) {
			dir := b.TempDir()
			c, err := cand.open(dir)
			if err != nil {
				b.Fatal(err)
			}
			f(b, dir, c)
			if err := c.close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// made is incompressible data, as blocks and leaves are.
func made(rng *rand.Rand, n int) []byte {
	p := make([]byte, n+8)
	for i := 0; i < n; i += 8 {
		binary.LittleEndian.PutUint64(p[i:], rng.Uint64())
	}
	return p[:n]
}

func folderBytes(tb testing.TB, dir string) (n int64) {
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			n += diskBytes(info)
		}
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	return n
}

// BenchmarkEngineAppend appends values of 20 to 60 KB, each durable before the
// next one of its writer.
func BenchmarkEngineAppend(b *testing.B) {
	for _, writers := range []int{1, 8} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			each(b, func(b *testing.B, dir string, c candidate) {
				const each = 400
				var total, bytesIn atomic.Int64
				b.ResetTimer()
				for b.Loop() {
					var wg sync.WaitGroup
					for w := range writers {
						wg.Go(func() {
							rng := rand.New(rand.NewPCG(1, uint64(w)))
							data := made(rng, 60<<10)
							for range each {
								n := total.Add(1)
								v := data[:20<<10+rng.IntN(40<<10)]
								key := binary.BigEndian.AppendUint64([]byte{'j', byte(w)}, uint64(n))
								if err := c.put(key, v); err != nil {
									b.Error(err)
									return
								}
								bytesIn.Add(int64(len(v)))
							}
						})
					}
					wg.Wait()
				}
				perOp := float64(b.Elapsed().Microseconds()) / float64(total.Load())
				b.ReportMetric(perOp*float64(writers), "µs/append")
				b.ReportMetric(1e6/perOp, "appends/s")
				b.ReportMetric(float64(folderBytes(b, dir))/float64(bytesIn.Load()), "disk/data")
			})
		})
	}
}

func leafKey(day, device, leaf int) []byte {
	return fmt.Appendf(nil, "%cdevice-%05d!%03d", byte('0'+day), device, leaf)
}

// BenchmarkEngineLeaves is a compactor's day: transactions of 100 rows of 2 to
// 10 KB that are read, changed and written, until each of 10,000 devices has
// its leaf rewritten five times and closed once; then scans of devices, and
// the day is dropped.
func BenchmarkEngineLeaves(b *testing.B) {
	const devices, rounds, scans = 10_000, 6, 2_000
	each(b, func(b *testing.B, dir string, c candidate) {
		rng := rand.New(rand.NewPCG(2, 2))
		data := made(rng, 32<<10)
		for b.Loop() {
			start := time.Now()
			var written int64
			for round := range rounds {
				for first := 0; first < devices; first += 100 {
					keys := make([][]byte, 100)
					for i := range keys {
						keys[i] = leafKey(0, first+i, round/5)
					}
					err := c.change(keys, func(i int, old []byte) []byte {
						v := data[rng.IntN(20<<10):][:2<<10+rng.IntN(8<<10)]
						written += int64(len(v))
						return v
					})
					if err != nil {
						b.Fatal(err)
					}
				}
			}
			took := time.Since(start)
			b.ReportMetric(float64(took.Microseconds())/(rounds*devices/100), "µs/transaction")
			if err := c.settle(); err != nil {
				b.Fatal(err)
			}
			full := folderBytes(b, dir)

			start = time.Now()
			found := 0
			for range scans {
				d := rng.IntN(devices)
				if err := c.scan(leafKey(0, d, 0), leafKey(0, d, 999), func(_, v []byte) { found++ }); err != nil {
					b.Fatal(err)
				}
			}
			if found != 2*scans {
				b.Fatalf("%d leaves found, want %d", found, 2*scans)
			}
			b.ReportMetric(float64(time.Since(start).Microseconds())/scans, "µs/scan")

			start = time.Now()
			if err := c.drop([]byte{'0'}); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(time.Since(start).Milliseconds()), "ms/drop")
			time.Sleep(200 * time.Millisecond) // pebble removes files behind us
			b.ReportMetric(float64(full)/(1<<20), "MiB-full")
			b.ReportMetric(float64(folderBytes(b, dir))/(1<<20), "MiB-dropped")
		}
	})
}

type silent struct{}

func (silent) Infof(string, ...any)      {}
func (silent) Errorf(string, ...any)     {}
func (silent) Fatalf(f string, a ...any) { panic(fmt.Sprintf(f, a...)) }
