package ingest

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"sluice/telemetry"
	"sluice/telemetry/block"
)

// recorder is a store that keeps what it is given, takes time over it and fails
// on request.
type recorder struct {
	mu      sync.Mutex
	shards  int
	took    time.Duration              // of each append
	fail    func(shard, nth int) error // nil: never
	hook    func(shard int)            // called within each append
	flushes []flushed
	deleted []string
	active  map[int]int
}

type flushed struct {
	shard    int
	at       time.Time
	readings []string // device@stamp
	stamps   []telemetry.Stamp
	err      error
}

func newRecorder(shards int) *recorder { return &recorder{shards: shards, active: map[int]int{}} }

func (r *recorder) Shards() int { return r.shards }

func (r *recorder) Shard(device string) int {
	if n := int(device[len(device)-1] - '0'); n >= 0 && n < r.shards {
		return n // tests name shards: pump-0 … pump-7
	}
	h := fnv.New32a()
	h.Write([]byte(device))
	return int(h.Sum32() % uint32(r.shards))
}

func (r *recorder) Append(ctx context.Context, shard int, devices []block.Device) error {
	r.mu.Lock()
	if r.active[shard]++; r.active[shard] > 1 {
		panic("two appends of a shard at once")
	}
	f := flushed{shard: shard, at: time.Now()}
	last := ""
	for _, d := range devices {
		if d.ID <= last {
			panic("devices out of order")
		}
		last = d.ID
		for _, s := range d.Readings.Stamps {
			f.readings = append(f.readings, fmt.Sprintf("%s@%d", d.ID, s))
			f.stamps = append(f.stamps, s)
		}
		for _, t := range d.Tags {
			f.readings = append(f.readings, fmt.Sprintf("%s#%s", d.ID, t.Key))
		}
	}
	nth := len(r.flushes)
	if r.fail != nil {
		f.err = r.fail(shard, nth)
	}
	r.flushes = append(r.flushes, f)
	hook := r.hook
	r.mu.Unlock()
	if hook != nil {
		hook(shard)
	}
	var err error
	if r.took > 0 {
		select {
		case <-time.After(r.took):
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	r.mu.Lock()
	r.active[shard]--
	if err != nil {
		r.flushes[nth].err = err
	}
	r.mu.Unlock()
	return errors.Join(f.err, err)
}

func (r *recorder) Delete(_ context.Context, device string, stamp telemetry.Stamp) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fail != nil {
		if err := r.fail(-1, 0); err != nil {
			return err
		}
	}
	r.deleted = append(r.deleted, fmt.Sprintf("%s@%d", device, stamp))
	return nil
}

func (r *recorder) log() []flushed {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.flushes)
}

var stamps = telemetry.NewClock(time.Now)

// some makes n readings of a device.
func some(device string, n int) []telemetry.Reading {
	first := stamps.Take(n)
	readings := make([]telemetry.Reading, n)
	for i := range readings {
		s := first + telemetry.Stamp(i)
		readings[i] = telemetry.Reading{Device: device, Time: int64(s), Stamp: s,
			Metrics: []telemetry.Metric{{Name: "x", Value: telemetry.FloatValue(1)}}}
	}
	return readings
}

func TestIdleAddsNoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newRecorder(8)
		store.took = 5 * time.Millisecond
		g := NewGroup(store, GroupConfig{Linger: time.Hour})
		began := time.Now()
		if _, err := g.Put(t.Context(), some("pump-1", 3)); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took != store.took {
			t.Errorf("took %v, the append alone %v", took, store.took)
		}
		began = time.Now() // another shard is idle, whatever the first does
		if _, err := g.Put(t.Context(), some("pump-2", 1)); err != nil || time.Since(began) != store.took {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

func TestRequestsShareFlushes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newRecorder(8)
		store.took = 10 * time.Millisecond
		g := NewGroup(store, GroupConfig{})
		var wg sync.WaitGroup
		began := time.Now()
		for range 100 {
			wg.Go(func() {
				if _, err := g.Put(t.Context(), some("pump-1", 2)); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		log := store.log()
		if len(log) != 2 || time.Since(began) != 2*store.took {
			t.Errorf("%d flushes in %v, want 2: the first request's, and all others'", len(log), time.Since(began))
		}
		if n := len(log[0].readings) + len(log[1].readings); n != 200 {
			t.Errorf("%d readings appended", n)
		}
	})
}

func TestLinger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newRecorder(1)
		g := NewGroup(store, GroupConfig{Linger: 100 * time.Millisecond})
		began := time.Now()
		var wg sync.WaitGroup
		for i := range 50 { // a request every 10 ms
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 10 * time.Millisecond)
				if _, err := g.Put(t.Context(), some("pump-0", 1)); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		var at []time.Duration
		for _, f := range store.log() {
			at = append(at, f.at.Sub(began))
		}
		ms := time.Millisecond
		if want := []time.Duration{0, 100 * ms, 200 * ms, 300 * ms, 400 * ms, 500 * ms}; !slices.Equal(at, want) {
			t.Errorf("flushes at %v, want %v", at, want)
		}
		time.Sleep(time.Second)
		began = time.Now()
		if _, err := g.Put(t.Context(), some("pump-0", 1)); err != nil || time.Since(began) != 0 {
			t.Errorf("idle again: %v after %v", err, time.Since(began))
		}
	})
}

func TestFullQueueRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newRecorder(2)
		store.took = time.Second
		one := sizeOf(&some("pump-0", 1)[0])
		g := NewGroup(store, GroupConfig{QueueBytes: 10 * one})
		var wg sync.WaitGroup
		put := func(device string, n int) { wg.Go(func() { _, _ = g.Put(t.Context(), some(device, n)) }) }
		put("pump-0", 6)
		put("pump-1", 4)
		synctest.Wait()
		if !g.Full() {
			t.Error("not full")
		}
		began := time.Now()
		if _, err := g.Put(t.Context(), some("pump-1", 1)); !errors.Is(err, ErrFull) || time.Since(began) != 0 {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		wg.Wait()
		if g.Full() || g.queued.Load() != 0 {
			t.Errorf("%d bytes left in the queue", g.queued.Load())
		}
		// What is larger than the whole queue goes alone.
		if _, err := g.Put(t.Context(), some("pump-1", 100)); err != nil {
			t.Error(err)
		}
		if n := len(store.log()); n != 3 {
			t.Errorf("%d flushes", n)
		}
	})
}

func TestOneShardFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newRecorder(4)
		broken := errors.New("disk on fire")
		store.fail = func(shard, _ int) error {
			if shard == 2 {
				return broken
			}
			return nil
		}
		g := NewGroup(store, GroupConfig{})
		for _, c := range []struct {
			devices []string
			want    error
		}{{[]string{"pump-0", "pump-1", "pump-3"}, nil}, {[]string{"pump-2"}, broken}, {[]string{"pump-1", "pump-2"}, broken}, {[]string{"pump-1"}, nil}} {
			var readings []telemetry.Reading
			for _, d := range c.devices {
				readings = append(readings, some(d, 2)...)
			}
			if _, err := g.Put(t.Context(), readings); !errors.Is(err, c.want) {
				t.Errorf("%v: %v, want %v", c.devices, err, c.want)
			}
		}
		if g.queued.Load() != 0 {
			t.Errorf("%d bytes left in the queue", g.queued.Load())
		}
	})
}

func TestPanicsFailTheFlushAlone(t *testing.T) {
	store := newRecorder(1)
	g := NewGroup(panicking{store}, GroupConfig{})
	if _, err := g.Put(t.Context(), some("pump-0", 1)); err == nil || !strings.Contains(err.Error(), "panicked: ouch") {
		t.Error(err)
	}
	if err := g.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

type panicking struct{ *recorder }

func (panicking) Append(context.Context, int, []block.Device) error { panic("ouch") }

func TestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newRecorder(1)
		store.took = time.Second
		g := NewGroup(store, GroupConfig{})
		deadline := func() context.Context {
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			t.Cleanup(cancel)
			return ctx
		}
		began := time.Now()
		var wg sync.WaitGroup
		wg.Go(func() { // its flush lands all the same
			if _, err := g.Put(deadline(), some("pump-0", 1)); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 300*time.Millisecond {
				t.Errorf("%v after %v", err, time.Since(began))
			}
		})
		synctest.Wait()
		wg.Go(func() { // waits for the first flush: dropped
			if _, err := g.Put(deadline(), some("pump-0", 10)); !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
		})
		synctest.Wait()
		if _, err := g.Put(t.Context(), some("pump-0", 1)); err != nil {
			t.Error(err)
		}
		wg.Wait()
		log := store.log()
		if len(log) != 2 || len(log[0].readings) != 1 || len(log[1].readings) != 1 || log[0].err != nil {
			t.Errorf("flushes %+v: want the first's and the last's, and the first not cut off", log)
		}
		if g.queued.Load() != 0 {
			t.Errorf("%d bytes left in the queue", g.queued.Load())
		}
	})
}

func TestFlushesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newRecorder(1)
		store.took = time.Millisecond
		g := NewGroup(store, GroupConfig{FlushReadings: 100})
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = g.Put(t.Context(), some("pump-0", 1)) })
		synctest.Wait()
		for _, n := range []int{60, 30, 20, 250} {
			wg.Go(func() {
				if _, err := g.Put(t.Context(), some("pump-0", n)); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		wg.Wait()
		var sizes []int
		for _, f := range store.log() {
			sizes = append(sizes, len(f.readings))
		}
		// A turn is 12 readings, and a part no more: 90 are 60 and 30, then 20 + 6 × 12, and so on.
		if want := []int{1, 90, 92, 96, 82}; !slices.Equal(sizes, want) {
			t.Errorf("flushes of %v readings, want %v", sizes, want)
		}
	})
}

func TestCloseFlushesWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newRecorder(1)
		store.took = time.Second
		g := NewGroup(store, GroupConfig{Linger: time.Hour})
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				if _, err := g.Put(t.Context(), some("pump-0", 2)); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		began := time.Now()
		if err := g.Close(t.Context()); err != nil || time.Since(began) != 2*time.Second {
			t.Errorf("%v after %v: the linger must not be waited for", err, time.Since(began))
		}
		wg.Wait()
		if _, err := g.Put(t.Context(), some("pump-0", 1)); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
		if n := len(store.log()); n != 2 {
			t.Errorf("%d flushes", n)
		}
	})
}

func TestCloseGivesUpWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newRecorder(1)
		store.took = time.Hour
		g := NewGroup(store, GroupConfig{FlushTimeout: 2 * time.Hour})
		failed := make(chan error)
		go func() {
			_, err := g.Put(context.Background(), some("pump-0", 2))
			failed <- err
		}()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := g.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if err := <-failed; !errors.Is(err, context.Canceled) {
			t.Errorf("request got %v", err)
		}
	})
}

// Whatever comes together and fails: what is acknowledged was appended, by a
// flush that was answered with success, once; and in order of stamps.
func TestAcknowledgedMeansAppended(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		type request struct {
			after    time.Duration
			patience time.Duration
			devices  []int
			readings []telemetry.Reading
			err      error
		}
		requests := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) *request {
			return &request{
				after:    time.Duration(rapid.IntRange(0, 20).Draw(rt, "after")) * time.Millisecond,
				patience: time.Duration(rapid.IntRange(1, 60).Draw(rt, "patience")) * time.Millisecond,
				devices:  rapid.SliceOfN(rapid.IntRange(0, 3), 1, 12).Draw(rt, "devices"),
			}
		}), 1, 30).Draw(rt, "requests")
		failing := rapid.SliceOfN(rapid.Bool(), 64, 64).Draw(rt, "failing")
		cfg := GroupConfig{
			Linger:        time.Duration(rapid.IntRange(0, 15).Draw(rt, "linger")) * time.Millisecond,
			FlushReadings: rapid.IntRange(1, 40).Draw(rt, "flush"),
			QueueBytes:    rapid.Int64Range(100, 20_000).Draw(rt, "queue"),
		}
		took := time.Duration(rapid.IntRange(0, 10).Draw(rt, "took")) * time.Millisecond
		problem := ""
		synctest.Test(t, func(*testing.T) {
			fail := func(format string, args ...any) { problem = fmt.Sprintf(format, args...) }
			store := newRecorder(3)
			store.took = took
			store.fail = func(_, nth int) error {
				if nth%3 == 0 && failing[nth%len(failing)] {
					return errors.New("no")
				}
				return nil
			}
			g := NewGroup(store, cfg)
			var wg sync.WaitGroup
			for _, r := range requests {
				wg.Go(func() {
					time.Sleep(r.after)
					for _, d := range r.devices {
						r.readings = append(r.readings, some(fmt.Sprintf("pump-%d", d), 1)...)
					}
					ctx, cancel := context.WithTimeout(context.Background(), r.patience)
					defer cancel()
					_, r.err = g.Put(ctx, r.readings)
				})
			}
			wg.Wait()
			if err := g.Close(context.Background()); err != nil {
				fail("%v", err)
			}
			good, tries := map[string]int{}, map[string]int{}
			for _, f := range store.log() {
				if len(f.readings) > cfg.FlushReadings {
					fail("flush of %d readings", len(f.readings))
				}
				for _, id := range f.readings {
					if tries[id]++; f.err == nil {
						good[id]++
					}
				}
			}
			for _, r := range requests {
				for _, x := range r.readings {
					id := fmt.Sprintf("%s@%d", x.Device, x.Stamp)
					if tries[id] > 1 || r.err == nil && good[id] != 1 || errors.Is(r.err, ErrFull) && tries[id] > 0 {
						fail("%s: appended %d times, %d with success, answer %v", id, tries[id], good[id], r.err)
					}
				}
			}
			if g.queued.Load() != 0 {
				fail("%d bytes left in the queue", g.queued.Load())
			}
		})
		if problem != "" {
			rt.Fatal(problem)
		}
	})
}

func TestStampsOfARequestRiseWithinAShard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newRecorder(2)
		store.took = time.Millisecond
		g := NewGroup(store, GroupConfig{FlushReadings: 7})
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() {
				_, _ = g.Put(t.Context(), slices.Concat(some("pump-0", 10), some("pump-1", 3), some("pump-0", 10)))
			})
			synctest.Wait()
		}
		wg.Wait()
		last := map[int]telemetry.Stamp{}
		for _, f := range store.log() {
			for _, s := range f.stamps {
				if s <= last[f.shard] {
					t.Fatalf("stamp %d after %d in shard %d", s, last[f.shard], f.shard)
				}
				last[f.shard] = s
			}
		}
	})
}
