package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"sluice/store"
	"sluice/telemetry"
	"sluice/telemetry/block"
)

// Engine is the engine over one store, in one account or several. Its methods may be called concurrently.
type Engine struct {
	config  Config
	journal store.Journal
	now     func() time.Time
	log     *slog.Logger
	limits  *limits

	id              string
	shards, buckets int
	places          []int // of each shard: its account

	tails    *tailCache
	merging  []sync.Mutex   // of each shard
	appended []atomic.Int64 // bytes of each shard since its last merge
	hurry    chan struct{}  // a shard has appended MergeBytes
	status   []shardStatus
	floor    floorCache
	seen     int64 // when the store was last in use, by the clock of then
}

// Open makes the store if it is new, checks that it was made with the same
// settings and that its accounts are those of then, and returns the engine over
// it. ErrFormat, ErrMismatch, ErrCorrupt, and the store's errors. Failed, it may
// be called again.
func Open(ctx context.Context, config Config) (*Engine, error) {
	config = config.withDefaults()
	id, err := identify(ctx, config)
	if err != nil {
		return nil, err
	}
	e := &Engine{
		config: config, now: config.Now, log: config.Logger, limits: config.limits,
		id: id.id, shards: id.shards, buckets: id.buckets, places: id.places,
		tails:    newTailCache(config.TailBytes),
		merging:  make([]sync.Mutex, id.shards),
		appended: make([]atomic.Int64, id.shards),
		hurry:    make(chan struct{}, 1),
		status:   make([]shardStatus, id.shards),
	}
	if e.journal, err = config.Journal(e.rows); err != nil {
		return nil, fmt.Errorf("open the journal: %w", err)
	}
	begun := e.now()
	row, err := readFloor(ctx, config.Accounts[0])
	if err != nil {
		return nil, err
	}
	e.floor.keep(row, begun)
	e.seen = row.latest
	return e, nil
}

// rows is the account in which a shard lies.
func (e *Engine) rows(shard int) store.Rows { return e.config.Accounts[e.places[shard]] }

// View begins an answer.
func (e *Engine) View() *View { return &View{engine: e, shards: map[int]*shardView{}} }

// ID is the store's id, given when it was made.
func (e *Engine) ID() string { return e.id }

// Shards is the number of shards.
func (e *Engine) Shards() int { return e.shards }

// Shard is the shard of a device.
func (e *Engine) Shard(device string) int {
	shard, _ := place(device, e.shards, e.buckets)
	return shard
}

// Floor is the oldest time that may be accepted, in nanoseconds since the Unix
// epoch, as this engine last read it: the floor of retention, or what it is
// announced to be. Append makes sure that it still holds.
func (e *Engine) Floor() int64 { return e.floor.accepts.Load() }

// LastSeen is when the store was last in use before it was opened, give or take
// some minutes, in nanoseconds since the Unix epoch: a clock that is behind it
// went back.
func (e *Engine) LastSeen() int64 { return e.seen }

// readFloor reads the floor of retention.
func (e *Engine) readFloor(ctx context.Context) (int64, error) {
	begun := e.now()
	row, err := readFloor(ctx, e.config.Accounts[0])
	if err == nil {
		e.floor.keep(row, begun)
	}
	return row.floor, err
}

// Append makes devices' readings, all of one shard and in ascending order of
// ids, durable. Failed, parts may be durable or become so; appending the same
// again is safe. ErrFloor if some are older than what is accepted by now, of
// which this engine learns within a minute; a *RefusedError if the store refuses
// some for good and has all others.
func (e *Engine) Append(ctx context.Context, shard int, devices []block.Device) error {
	return e.appendChecked(ctx, shard, devices, e.checkAccepted)
}

// AppendQueued is Append for readings that were accepted earlier and have waited
// in a hub: it refuses only what is older than the floor of retention itself, with
// a *FloorError that says where that is. The floor waits for what was accepted
// before its rise was announced (Config.Consumed), so that what is refused here
// came to the hub too late, or comes again.
func (e *Engine) AppendQueued(ctx context.Context, shard int, devices []block.Device) error {
	return e.appendChecked(ctx, shard, devices, e.checkQueued)
}

// appendChecked appends what check allows before, and still allows after an append
// that took long.
func (e *Engine) appendChecked(ctx context.Context, shard int, devices []block.Device, check func(context.Context, []block.Device) error) error {
	begun := e.now()
	err := check(ctx, devices)
	if err == nil {
		err = e.append(ctx, shard, devices)
	}
	var partly *RefusedError
	if (err == nil || errors.As(err, &partly)) && e.now().Sub(begun) > floorFresh { // it may have been overtaken
		if late := check(ctx, devices); late != nil {
			err = late
		}
	}
	if err != nil {
		return fmt.Errorf("append to shard %d: %w", shard, err)
	}
	return nil
}

func (e *Engine) append(ctx context.Context, shard int, devices []block.Device) error {
	entries, size, err := e.encode(devices)
	if err != nil || len(entries) == 0 {
		return err
	}
	err = e.appendEntries(ctx, shard, entries)
	var partly *RefusedError
	if err != nil && !errors.As(err, &partly) {
		return err
	}
	if before := e.appended[shard].Add(size) - size; before < e.config.MergeBytes && before+size >= e.config.MergeBytes {
		select {
		case e.hurry <- struct{}{}:
		default:
		}
	}
	return err
}

// encode cuts devices by bucket and into entries.
func (e *Engine) encode(devices []block.Device) ([]store.Entry, int64, error) {
	byBucket := map[int][]block.Device{0: devices}
	if e.buckets > 1 {
		clear(byBucket)
		for _, d := range devices {
			_, bucket := place(d.ID, e.shards, e.buckets)
			byBucket[bucket] = append(byBucket[bucket], d)
		}
	}
	var entries []store.Entry
	var size int64
	for bucket := range e.buckets {
		part := byBucket[bucket]
		if len(part) == 0 {
			continue
		}
		blocks, err := block.Encode(part, store.MaxEntry)
		if err != nil {
			return nil, 0, fmt.Errorf("encode a block: %w", err)
		}
		for _, data := range blocks {
			entries = append(entries, store.Entry{Bucket: bucket, Data: data})
			size += int64(len(data))
		}
	}
	return entries, size, nil
}

// Delete deletes a device: once it has returned nil, nothing that was accepted
// under stamp or a lower one is in any answer.
func (e *Engine) Delete(ctx context.Context, device string, stamp telemetry.Stamp) error {
	return e.Append(ctx, e.Shard(device), []block.Device{{ID: device, Cut: stamp}})
}

// Run merges and keeps retention until ctx ends.
func (e *Engine) Run(ctx context.Context) {
	tick := time.NewTicker(e.config.Merge)
	defer tick.Stop()
	for {
		all := true
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-e.hurry:
			all = false
		}
		if err := e.mergeShards(ctx, all); err != nil && ctx.Err() == nil {
			e.log.Error("merge failed, it is tried again at the next round", "error", err)
		}
		if !all {
			continue
		}
		if err := e.Retain(ctx); err != nil && ctx.Err() == nil {
			e.log.Error("retention failed, it is tried again at the next round", "error", err)
		}
	}
}

// Compact merges all shards once and keeps retention: what Run does at each
// tick.
func (e *Engine) Compact(ctx context.Context) error {
	return errors.Join(e.mergeShards(ctx, true), e.Retain(ctx))
}

// mergeShards merges all shards, or those that have appended MergeBytes.
func (e *Engine) mergeShards(ctx context.Context, all bool) error {
	errs := make([]error, e.shards)
	e.eachShard(func(shard int) {
		if all || e.appended[shard].Load() >= e.config.MergeBytes {
			_, _, errs[shard] = e.mergeAndTell(ctx, shard, pace{})
		}
	})
	return errors.Join(errs...)
}

// eachShard does something for every shard, for Parallel of them at a time.
func (e *Engine) eachShard(do func(shard int)) {
	if e.config.Parallel == 1 {
		for shard := range e.shards {
			do(shard)
		}
		return
	}
	var group errgroup.Group
	group.SetLimit(e.config.Parallel)
	for shard := range e.shards {
		group.Go(func() error {
			do(shard)
			return nil
		})
	}
	_ = group.Wait()
}

func (e *Engine) mergeAndTell(ctx context.Context, shard int, p pace) (merged int, more bool, err error) {
	begun := e.now()
	size := e.appended[shard].Swap(0)
	e.status[shard].begin()
	merged, more, err = e.mergeSafely(ctx, shard, p)
	if more {
		e.appended[shard].Add(size)
	} else if merged > 0 {
		e.log.Debug("merged", "shard", shard, "entries", merged, "bytes", size, "took", e.now().Sub(begun))
	}
	e.status[shard].note(e.now(), err)
	return merged, more, err
}

// mergeSafely turns a panic into an error: a shard that cannot be merged must
// not end the process, which goes on taking and answering readings.
func (e *Engine) mergeSafely(ctx context.Context, shard int, p pace) (merged int, more bool, err error) {
	defer func() {
		if r := recover(); r != nil {
			e.log.Error("a merge panicked", "shard", shard, "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
			more, err = true, fmt.Errorf("merge of shard %d panicked: %v", shard, r)
		}
	}()
	return e.mergeShard(ctx, shard, p)
}
