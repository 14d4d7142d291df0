package pebble

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"

	"sluice/store"
)

// The world of the crash tests: writers append to the journal, a compactor
// moves sealed epochs into rows, others change pairs of rows. At a random
// moment the file system is cloned without (some of) what was not synced, the
// store is opened on the clone, and what was answered before must be there,
// each append whole or not at all.
type world struct {
	seed    uint64
	shards  int
	writers int
	ops     int

	mu      sync.Mutex
	acked   map[uint64]bool // appends
	tried   map[uint64]int  // appends: number of entries
	pairs   map[string]int  // the last answered value of each pair
	pending map[string]int  // the last tried one
	tags    map[string]string
	answers int
	wake    *sync.Cond
	say     func(what byte, id uint64, entries int) // 't' before an append, 'a' after its answer
}

func newWorld(seed uint64, shards, writers, ops int) *world {
	w := &world{seed: seed, shards: shards, writers: writers, ops: ops, acked: map[uint64]bool{}, tried: map[uint64]int{},
		pairs: map[string]int{}, pending: map[string]int{}, tags: map[string]string{}}
	w.wake = sync.NewCond(&w.mu)
	w.say = func(byte, uint64, int) {}
	return w
}

func (w *world) note(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

func (w *world) answered() {
	w.answers++
	w.wake.Broadcast()
}

// life runs the store on fs and returns what a crash after so many answers
// leaves of the file system, and what was answered by then.
func (w *world) life(fs *vfs.MemFS, wrapped vfs.FS, answers, keep int) (*vfs.MemFS, *world, error) {
	s, err := Open("data", Options{FS: wrapped, MemTableBytes: 256 << 10, OnFatal: func(error) {}})
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var wg sync.WaitGroup
	errs := make(chan error, w.writers+3)
	run := func(f func() error) {
		wg.Go(func() {
			if err := f(); err != nil && !errors.Is(err, context.Canceled) {
				errs <- err
			}
			w.note(func() { w.answers += 1 << 30; w.wake.Broadcast() })
		})
	}
	start := w.answers
	for i := range w.writers {
		run(func() error { return w.write(ctx, s.Journal(), rand.New(rand.NewPCG(w.seed, uint64(i)))) })
	}
	run(func() error { return w.compact(ctx, s) })
	run(func() error { return w.change(ctx, s.Rows()) })

	w.mu.Lock()
	for w.answers < start+answers {
		w.wake.Wait()
	}
	before := w.copyAcked()
	w.mu.Unlock()
	crashed := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: keep, RNG: rand.New(rand.NewPCG(w.seed, 99))})
	cancel()
	wg.Wait()
	w.answers &= 1<<30 - 1
	before.tried, before.pending = w.tried, w.pending
	err = s.Close()
	select {
	case err = <-errs:
	default:
	}
	return crashed, before, err
}

func (w *world) copyAcked() *world {
	c := newWorld(w.seed, w.shards, w.writers, w.ops)
	for k := range w.acked {
		c.acked[k] = true
	}
	for k, v := range w.pairs {
		c.pairs[k] = v
	}
	return c
}

// write appends entries that carry the append's number and their place in it.
func (w *world) write(ctx context.Context, j store.Journal, rng *rand.Rand) error {
	for range w.ops {
		id := rng.Uint64()
		n := 1 + rng.IntN(3)
		entries := make([]store.Entry, n)
		for i := range entries {
			entries[i] = store.Entry{Bucket: rng.IntN(3), Data: crashData(id, i, 9+rng.IntN(6000))}
		}
		w.note(func() { w.tried[id] = n })
		w.say('t', id, n)
		if err := j.Append(ctx, rng.IntN(w.shards), entries); err != nil {
			return err
		}
		w.note(func() { w.acked[id] = true; w.answered() })
		w.say('a', id, n)
	}
	return nil
}

// crashData is a number, a place and bytes that follow from both.
func crashData(id uint64, place, n int) []byte {
	b := append(binary.BigEndian.AppendUint64(nil, id), byte(place))
	for len(b) < n {
		b = append(b, byte(id>>(len(b)%8*8))^byte(len(b)*7))
	}
	return b
}

func checkData(b []byte) (id uint64, place int, err error) {
	if len(b) < 9 {
		return 0, 0, fmt.Errorf("entry of %d bytes", len(b))
	}
	id, place = binary.BigEndian.Uint64(b), int(b[8])
	if string(crashData(id, place, len(b))) != string(b) {
		return 0, 0, fmt.Errorf("entry %x/%d is not what was appended", id, place)
	}
	return id, place, nil
}

const leaves = "leaves1"

// compact moves epochs into rows as the engine does: open, seal, scan, write,
// and only then let go.
func (w *world) compact(ctx context.Context, s *Store) error {
	if err := s.Rows().CreateTable(ctx, leaves); err != nil {
		return err
	}
	for i := range w.ops {
		shard := i % w.shards
		h, err := s.Journal().Head(ctx, shard)
		if err != nil {
			return err
		}
		if h, err = s.Journal().Open(ctx, shard, h); errors.Is(err, store.ErrStale) {
			continue // the first append was first
		}
		if err != nil {
			return err
		}
		if len(h.Epochs) < 2 {
			continue
		}
		if err := w.merge(ctx, s, shard, h); err != nil {
			return err
		}
		w.note(w.answered)
	}
	return nil
}

func (w *world) merge(ctx context.Context, s *Store, shard int, h store.Head) error {
	old := h.Epochs[0]
	if err := s.Journal().Seal(ctx, shard, old); err != nil {
		return err
	}
	var ops []store.Op
	err := eachEntry(ctx, s.Journal(), shard, old, func(b []byte) error {
		ops = append(ops, store.Op{Kind: store.Put, Key: fmt.Sprintf("%x!%d", b[:8], b[8]), Properties: []store.Property{{Name: "Data", Value: b}}})
		return nil
	})
	if err != nil {
		return err
	}
	for len(ops) > 0 {
		n := min(len(ops), 40)
		// As the engine does: the sync of Update has these on the disk too.
		if err := s.Rows().(store.LazyRows).CommitLater(ctx, leaves, fmt.Sprint(shard), ops[:n]); err != nil {
			return err
		}
		ops = ops[n:]
	}
	to := h
	to.Epochs = h.Epochs[1:]
	return s.Journal().Update(ctx, shard, h, to)
}

func eachEntry(ctx context.Context, j store.Journal, shard int, e store.Epoch, visit func([]byte) error) error {
	for token := ""; ; {
		p, err := j.Scan(ctx, shard, e, token)
		if err != nil {
			return err
		}
		for _, en := range p.Entries {
			if err := visit(en.Data); err != nil {
				return err
			}
		}
		if token = p.Next; token == "" {
			return nil
		}
	}
}

// change counts pairs of rows up, both in one transaction, conditioned on the
// ETag of one.
func (w *world) change(ctx context.Context, rows store.Rows) error {
	if err := rows.CreateTable(ctx, "pairs1"); err != nil {
		return err
	}
	for i := range w.ops {
		pair := fmt.Sprint("pair-", i%5)
		if err := w.count(ctx, rows, pair); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) count(ctx context.Context, rows store.Rows, pair string) error {
	row, err := rows.Get(ctx, "pairs1", pair, "a")
	kind, value := store.Replace, int64(0)
	switch {
	case errors.Is(err, store.ErrNotFound):
		kind = store.Insert
	case err != nil:
		return err
	default:
		value = row.Properties[0].Value.(int64)
		if err := w.seen(row.ETag, fmt.Sprint(pair, value)); err != nil {
			return err
		}
	}
	value++
	p := []store.Property{{Name: "Value", Value: value}}
	w.note(func() { w.pending[pair] = int(value) })
	err = rows.Commit(ctx, "pairs1", pair, []store.Op{{Kind: kind, Key: "a", IfMatch: row.ETag, Properties: p}, {Kind: store.Put, Key: "b", Properties: p}})
	if err != nil {
		return err
	}
	w.note(func() { w.pairs[pair] = int(value); w.answered() })
	return nil
}

func (w *world) seen(tag store.ETag, what string) error {
	if was, ok := w.tags[string(tag)]; ok && was != what {
		return fmt.Errorf("ETag %s stood for %s and now for %s", tag, was, what)
	}
	w.tags[string(tag)] = what
	return nil
}

// check compares what a store has with what was answered and tried.
func (w *world) check(s *Store) error {
	found := map[uint64]map[int]bool{}
	add := func(b []byte) error {
		id, place, err := checkData(b)
		if err != nil {
			return err
		}
		if found[id] == nil {
			found[id] = map[int]bool{}
		}
		found[id][place] = true
		return nil
	}
	if err := w.collect(s, add); err != nil {
		return err
	}
	for id := range w.acked {
		if found[id] == nil {
			return fmt.Errorf("append %x was answered and is gone", id)
		}
	}
	for id, places := range found {
		if w.tried[id] != len(places) {
			return fmt.Errorf("append %x has %d entries, of %d", id, len(places), w.tried[id])
		}
	}
	return w.checkPairs(s.Rows())
}

func (w *world) collect(s *Store, add func([]byte) error) error {
	ctx := context.Background()
	for shard := range w.shards {
		h, err := s.Journal().Head(ctx, shard)
		if err != nil {
			return err
		}
		for _, e := range h.Epochs {
			if err := eachEntry(ctx, s.Journal(), shard, e, add); err != nil {
				return err
			}
		}
	}
	for token := ""; ; {
		p, err := s.Rows().Scan(ctx, leaves, store.Range{}, token)
		if errors.Is(err, store.ErrTableNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, r := range p.Rows {
			if err := add(r.Properties[0].Value.([]byte)); err != nil {
				return err
			}
		}
		if token = p.Next; token == "" {
			return nil
		}
	}
}

func (w *world) checkPairs(rows store.Rows) error {
	for pair, tried := range w.pending {
		var values []int64
		for _, key := range []string{"a", "b"} {
			row, err := rows.Get(context.Background(), "pairs1", pair, key)
			if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrTableNotFound) {
				values = append(values, 0)
				continue
			}
			if err != nil {
				return err
			}
			values = append(values, row.Properties[0].Value.(int64))
		}
		if values[0] != values[1] {
			return fmt.Errorf("half a transaction: %s is %v", pair, values)
		}
		if v := int(values[0]); v < w.pairs[pair] || v > tried {
			return fmt.Errorf("%s is %d, answered %d, tried %d", pair, v, w.pairs[pair], tried)
		}
	}
	return nil
}

// lives runs a world through crashes; a checked store is the next life's.
func lives(seed uint64, crashes []int, keep int, wrap func(vfs.FS) vfs.FS) error {
	fs := vfs.NewCrashableMem()
	w := newWorld(seed, 2, 3, 25)
	for i, answers := range crashes {
		w.seed = seed + uint64(i)
		crashed, before, err := w.life(fs, wrap(fs), answers, keep)
		if err != nil {
			return fmt.Errorf("life %d: %w", i, err)
		}
		s, err := Open("data", Options{FS: crashed, OnFatal: func(error) {}})
		if err != nil {
			return fmt.Errorf("open after crash %d: %w", i, err)
		}
		if err := errors.Join(before.check(s), s.Close()); err != nil {
			return fmt.Errorf("after crash %d: %w", i, err)
		}
		// What the check has found is there from now on, also what was not answered.
		fs, w.acked, w.pairs = crashed, before.acked, before.pairs
	}
	return nil
}

func TestCrash(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seed := rapid.Uint64().Draw(t, "seed")
		crashes := rapid.SliceOfN(rapid.IntRange(0, 90), 1, 4).Draw(t, "answers before each crash")
		keep := rapid.SampledFrom([]int{0, 0, 30, 90}).Draw(t, "percent of unsynced data kept")
		if err := lives(seed, crashes, keep, func(fs vfs.FS) vfs.FS { return fs }); err != nil {
			t.Fatal(err)
		}
	})
}

// A disk that does not sync the log must be noticed, else the tests above
// prove nothing.
func TestCrashNoticesMissingSync(t *testing.T) {
	for seed := range uint64(20) {
		err := lives(seed, []int{30}, 0, func(fs vfs.FS) vfs.FS { return lyingFS{fs} })
		if err != nil {
			t.Logf("seed %d: %v", seed, err)
			return
		}
	}
	t.Error("20 crashes on a disk that does not sync the log lost nothing that was answered")
}

// lyingFS does not sync logs.
type lyingFS struct{ vfs.FS }

type lyingFile struct{ vfs.File }

func (lyingFile) Sync() error                { return nil }
func (lyingFile) SyncData() error            { return nil }
func (lyingFile) SyncTo(int64) (bool, error) { return true, nil }

func lying(name string, f vfs.File) vfs.File {
	if f != nil && strings.HasSuffix(name, ".log") {
		return lyingFile{f}
	}
	return f
}

func (l lyingFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := l.FS.Create(name, c)
	return lying(name, f), err
}

func (l lyingFS) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := l.FS.ReuseForWrite(from, to, c)
	return lying(to, f), err
}
