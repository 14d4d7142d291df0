package operations

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sluice/engine"
	"sluice/store"
	"sluice/store/fenced"
	"sluice/telemetry"
	"sluice/telemetry/block"
)

// Noon is when simulations begin.
var Noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// Settings are what is varied.
type Settings struct {
	Shards, Buckets int
	Merge, Linger   time.Duration
	// Commit is how long a transaction takes: what paces commits without a linger.
	Commit time.Duration
}

// Store says over what an engine works (Accounts, Journal and what belongs to
// them), with its operations counted by counter.
type Store func(counter *Counter, now func() time.Time) (engine.Config, error)

// Tables is a fenced journal over rows in memory, as on Azure Tables.
func Tables(counter *Counter, now func() time.Time) (engine.Config, error) {
	return engine.Config{
		Accounts: []store.Rows{counter.Rows(&partitions{})},
		Journal: func(rows func(shard int) store.Rows) (store.Journal, error) {
			return fenced.New(rows, fenced.Options{Now: now})
		},
	}, nil
}

// World is an engine over a store that counts, in simulated time. It is used by
// one goroutine.
type World struct {
	Engine         *engine.Engine
	Append, Merge  Counts // what appends and merges did so far
	Readings       int    // that were appended
	Now            time.Time
	settings       Settings
	counter        Counter
	stamp          telemetry.Stamp
	groups         []group
	fleet          *arrivals
	began          time.Time
	passed, merged time.Duration // since began; merged: at the last merge
	waits          []time.Duration
}

// Open makes a world at Noon.
func Open(ctx context.Context, s Settings, open Store) (*World, error) {
	w := &World{Now: Noon, stamp: telemetry.Stamp(Noon.UnixNano()), settings: s, groups: make([]group, s.Shards)}
	for i := range w.groups {
		w.groups[i] = group{linger: s.Linger, commit: s.Commit}
	}
	clock := func() time.Time { return w.Now }
	config, err := open(&w.counter, clock)
	if err != nil {
		return nil, err
	}
	config.Now, config.NewID = clock, func() string { return "counted" }
	config.Shards, config.Buckets, config.MergeBytes = s.Shards, s.Buckets, 1<<40
	w.Engine, err = engine.Open(ctx, config)
	w.counter.Take()
	return w, err
}

// Flush appends readings, a transaction a shard as the group commit does.
func (w *World) Flush(ctx context.Context, readings []telemetry.Reading) error {
	for shard, part := range w.split(readings) {
		if err := w.append(ctx, shard, part); err != nil {
			return err
		}
	}
	return nil
}

// split sorts readings by shard.
func (w *World) split(readings []telemetry.Reading) [][]telemetry.Reading {
	byShard := make([][]telemetry.Reading, w.Engine.Shards())
	for _, r := range readings {
		shard := w.Engine.Shard(r.Device)
		byShard[shard] = append(byShard[shard], r)
	}
	return byShard
}

func (w *World) append(ctx context.Context, shard int, readings []telemetry.Reading) error {
	if len(readings) == 0 {
		return nil
	}
	for i := range readings {
		w.stamp++
		readings[i].Stamp = w.stamp
	}
	if err := w.Engine.Append(ctx, shard, block.FromReadings(readings)); err != nil {
		return err
	}
	w.Readings += len(readings)
	w.Append.Add(w.counter.Take())
	return nil
}

// Compact merges all shards and keeps retention.
func (w *World) Compact(ctx context.Context) error {
	if err := w.Engine.Compact(ctx); err != nil {
		return err
	}
	w.Merge.Add(w.counter.Take())
	return nil
}

// Forget begins the counting anew.
func (w *World) Forget() {
	w.Append, w.Merge, w.Readings, w.waits = Counts{}, Counts{}, 0, nil
}

// Run has a fleet send for as long as that, and merges follow each other as
// the settings say; a merge that is due at the end is left to the next Run.
// Later calls go on with the same fleet.
func (w *World) Run(ctx context.Context, f Fleet, length time.Duration) error {
	if w.fleet == nil {
		w.fleet, w.began = f.arrivals(), w.Now
	}
	for end := w.passed + length; w.passed < end; {
		until := min(end, w.merged+w.settings.Merge)
		if w.passed == until {
			if err := w.MergeDue(ctx); err != nil {
				return err
			}
			continue
		}
		if err := w.receive(ctx, until); err != nil {
			return err
		}
		w.passed = until
	}
	return nil
}

// MergeDue makes the merge that is due at the end of a Run.
func (w *World) MergeDue(ctx context.Context) error {
	w.Now, w.merged = w.began.Add(w.passed), w.passed
	return w.Compact(ctx)
}

// receive takes the bodies that come before a time, and flushes what is due by
// then.
func (w *World) receive(ctx context.Context, until time.Duration) error {
	for at := w.fleet.peek(); at < until; at = w.fleet.peek() {
		r := &request{at: at}
		for shard, part := range w.split(w.fleet.take(w.began)) {
			if len(part) == 0 {
				continue
			}
			if err := w.flushDue(ctx, shard, at); err != nil {
				return err
			}
			w.groups[shard].put(r, part)
		}
	}
	for shard := range w.groups {
		if err := w.flushDue(ctx, shard, until); err != nil {
			return err
		}
	}
	return nil
}

// flushDue makes a shard's flush that is due before a time.
func (w *World) flushDue(ctx context.Context, shard int, before time.Duration) error {
	g := &w.groups[shard]
	at, any := g.due()
	if !any || at >= before {
		return nil
	}
	readings, waits := g.take(at)
	w.waits = append(w.waits, waits...)
	w.Now = w.began.Add(at)
	return w.append(ctx, shard, readings)
}

// ErrIncomplete says that a world has lost readings, so that its counts are
// worth nothing.
var ErrIncomplete = errors.New("what was appended is not all there")

// Complete checks that devices have as many readings as were appended since the
// counting began: what is counted must have done the work.
func (w *World) Complete(ctx context.Context, devices int) error {
	n := 0
	for i := range devices {
		err := w.Engine.View().Read(ctx, Sensor(i), engine.Span{From: 0, To: 1 << 62}, func(f *block.Frame) error {
			n += f.Readings()
			return nil
		})
		if err != nil {
			return err
		}
	}
	w.counter.Take()
	if n != w.Readings {
		return fmt.Errorf("%w: %d readings of %d", ErrIncomplete, n, w.Readings)
	}
	return nil
}
