package engine

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"sluice/store"
	"sluice/telemetry/block"
)

// The floor of retention is a row of the first account's config table: no
// reading before "floor" is made or read. It only rises, and by time that
// passed: "trusted" is the store's own idea of now, which follows the clock of
// whoever raises the floor, but by at most twice the time since somebody did, of
// which at most an hour counts. A clock that jumps a year ahead thus deletes two
// hours more, not a year; a store that slept for a day catches up in a day.
// Where clocks disagree, one that is behind "trusted" takes up to two hours off it:
// else one that is a year ahead would gain two hours each time it follows one that
// is right.
//
// A rise is announced first. From then on nothing below "announced" is accepted,
// by any instance, once it has read the row again, which it does before it
// appends. The floor itself follows when all that may have been accepted before
// is merged: when the oldest epoch that is not merged was opened a while after
// the announcement. So what was acknowledged is in the leaves before retention
// takes it, whatever the clocks of instances say, and also where the settings ask
// for a shorter retention.
//
// Where readings wait in a hub (Config.Consumed), what was accepted before the
// announcement may be long on its way. So the floor waits in two stages: until all
// that the hub had confirmed a while after the announcement is in the journal, of
// which "drained" is the time when that was first seen, and then for the oldest
// epoch that is not merged to be one opened a while after that.
const (
	floorKey     = "floor"
	floorGap     = time.Hour
	oldestFloor  = int64(946684800) * int64(time.Second) // 2000-01-01
	floorCadence = time.Minute
	// stampGap is how far ahead the latest use may be of a clock that is believed:
	// where it went back by less, stamps go on from there, at every start; by more, it
	// was wrong before.
	stampGap = int64(24 * time.Hour)
	// floorFresh is how old the row may be, as last read, when something is
	// appended, and how long an append may take before it is looked at again.
	// floorNotice is twice that, and what the clocks of instances may differ by.
	floorFresh  = time.Minute
	floorNotice = int64(5 * time.Minute)
	// askWithin bounds the question how far the hub is consumed.
	askWithin = 10 * time.Second
	// queueGap is how long the floor waits for a hub of which only other instances
	// know, or knew: settings differ while they are being changed.
	queueGap = int64(24 * time.Hour)
)

// floorRow is the row; all in nanoseconds since the Unix epoch.
type floorRow struct {
	floor, trusted, seen int64
	latest               int64 // the highest "seen" that the store has come to
	announced, since     int64 // what the floor is to be, and since when that is known
	drained              int64 // since when all that was accepted before is known to be in the journal; 0: not yet
	queued               int64 // when an instance that has a hub last wrote the row; 0: none has
	etag                 store.ETag
}

// queue is what an instance knows of readings that were accepted and wait in a
// hub.
type queue struct {
	any  bool  // there is a hub
	upTo int64 // all that it had confirmed before is in the journal; 0: not known
}

func readFloor(ctx context.Context, rows store.Rows) (floorRow, error) {
	row, err := rows.Get(ctx, configTable, configPartition, floorKey)
	if err != nil {
		return floorRow{}, fmt.Errorf("read the floor of retention: %w", err)
	}
	f := floorRow{floor: row.Int("floor"), trusted: row.Int("trusted"), seen: row.Int("seen"), etag: row.ETag}
	// 0 where an older version wrote it
	f.latest, f.announced, f.since = max(f.seen, row.Int("latest")), row.Int("announced"), row.Int("since")
	f.drained, f.queued = row.Int("drained"), row.Int("queued")
	return f, nil
}

// accepts is the oldest time that may be accepted.
func (f floorRow) accepts() int64 { return max(f.floor, f.announced) }

// next is the row after now was seen. Everything that is not merged yet lies in
// epochs of the journal that were opened at oldest or later; both q and oldest
// were looked up before now.
func (f floorRow) next(now, oldest int64, q queue, retention time.Duration) floorRow {
	passed := min(max(now-f.seen, 0), int64(floorGap))
	trusted := max(f.trusted-2*int64(floorGap), min(now, f.trusted+2*passed))
	f.trusted, f.seen, f.latest = trusted, now, max(now, f.latest)
	if f.latest-now > stampGap {
		f.latest = now
	}
	if f.queued = min(f.queued, now); q.any {
		f.queued = now
	}
	if retention == 0 {
		return f
	}
	if to := day(trusted-int64(retention)) * nanosPerDay; to > f.accepts() {
		f.announced, f.since, f.drained = to, now, 0
	}
	f.since, f.drained = min(f.since, now), min(f.drained, now) // else a clock that was ahead would hold it up
	return f.follow(now, oldest, q)
}

// follow lets the floor follow what is announced, if it is time.
func (f floorRow) follow(now, oldest int64, q queue) floorRow {
	after := f.since
	if q.any || f.queued > 0 && now-f.queued < queueGap {
		if f.drained == 0 && min(q.upTo, now) > f.since+floorNotice {
			f.drained = now
		}
		if after = f.drained; after == 0 {
			return f
		}
	}
	if oldest > after+floorNotice {
		f.floor = f.accepts()
	}
	return f
}

// makeFloor makes the floor of a store that is made. One that is there stays as
// it is: whoever raises it must know what is not merged.
func makeFloor(ctx context.Context, c Config) error {
	_, err := readFloor(ctx, c.Accounts[0])
	if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	now := c.Now().UnixNano()
	f := floorRow{floor: oldestFloor, trusted: now, seen: now}.next(now, now, queue{}, c.Retention)
	f.floor = f.accepts() // there is nothing yet
	if err = f.write(ctx, c.Accounts[0], store.Op{Kind: store.Insert}); refused(err) {
		return nil // somebody else made it
	}
	return err
}

// raiseFloor announces and raises the floor, if it is time, and returns the row.
func raiseFloor(ctx context.Context, c Config, oldest int64) (floorRow, error) {
	row, err := readFloor(ctx, c.Accounts[0])
	if err != nil {
		return row, err
	}
	q := c.askQueue(ctx, row)
	next := row.next(c.Now().UnixNano(), oldest, q, c.Retention)
	unchanged := next.floor == row.floor && next.announced == row.announced && next.drained == row.drained
	known := next.seen-row.seen < int64(floorCadence) && next.seen >= row.seen && next.queued-row.queued < int64(floorGap)
	if unchanged && known {
		return row, nil
	}
	err = next.write(ctx, c.Accounts[0], store.Op{Kind: store.Replace, IfMatch: row.etag})
	if refused(err) { // somebody else raised it
		return readFloor(ctx, c.Accounts[0])
	}
	return next, err
}

// askQueue asks how far the hub is consumed, if a floor waits for that. One that
// cannot be asked holds the floor up, nothing else.
func (c Config) askQueue(ctx context.Context, row floorRow) queue {
	q := queue{any: c.Consumed != nil}
	if !q.any || row.announced <= row.floor || row.drained != 0 {
		return q
	}
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	upTo, err := c.Consumed(ctx)
	if err != nil {
		c.Logger.Debug("the floor of retention waits: it is not known how far the hub is consumed", "error", err)
		return q
	}
	q.upTo = upTo.UnixNano()
	return q
}

func (f floorRow) write(ctx context.Context, rows store.Rows, op store.Op) error {
	op.Key, op.Properties = floorKey, []store.Property{
		{Name: "announced", Value: f.announced}, {Name: "drained", Value: f.drained},
		{Name: "floor", Value: f.floor}, {Name: "latest", Value: f.latest},
		{Name: "queued", Value: f.queued}, {Name: "seen", Value: f.seen},
		{Name: "since", Value: f.since}, {Name: "trusted", Value: f.trusted},
	}
	if err := rows.Commit(ctx, configTable, configPartition, []store.Op{op}); err != nil {
		return fmt.Errorf("write the floor of retention: %w", err)
	}
	return nil
}

// floorCache is the row as an engine last read it.
type floorCache struct {
	floor   atomic.Int64
	accepts atomic.Int64
	read    atomic.Int64 // when that began, by the engine's clock
}

// keep keeps a row of which the reading began at a time. Of several that are
// under way the highest counts, in whichever order they end; the time may be that
// of an earlier one, which only means that the row is read again sooner (and must
// be able to fall, where the clock was ahead).
func (c *floorCache) keep(row floorRow, begun time.Time) {
	raise(&c.floor, row.floor)
	raise(&c.accepts, row.accepts())
	c.read.Store(begun.UnixNano())
}

func raise(v *atomic.Int64, to int64) {
	for old := v.Load(); old < to && !v.CompareAndSwap(old, to); old = v.Load() {
	}
}

// fresh says whether the row was read within floorFresh.
func (c *floorCache) fresh(now time.Time) bool {
	age := now.UnixNano() - c.read.Load()
	return age >= 0 && age < int64(floorFresh)
}

// RefreshFloor reads the floor again if that was over a minute ago. Whoever
// appends does so by itself; it is for those who judge readings by Floor and send
// them elsewhere.
func (e *Engine) RefreshFloor(ctx context.Context) error {
	if e.floor.fresh(e.now()) {
		return nil
	}
	_, err := e.readFloor(ctx)
	return err
}

// checkAccepted makes sure that what is appended was accepted under the floor
// that is announced by now. Appends to several shards may then read the row at the
// same time.
func (e *Engine) checkAccepted(ctx context.Context, devices []block.Device) error {
	if err := e.RefreshFloor(ctx); err != nil {
		return err
	}
	return checkFloor(devices, e.Floor())
}

// checkQueued makes sure that what is appended is not below the floor itself. What
// is below an announcement is held against the row as it is now: the floor may be
// about to follow.
func (e *Engine) checkQueued(ctx context.Context, devices []block.Device) error {
	if err := e.RefreshFloor(ctx); err != nil {
		return err
	}
	if checkFloor(devices, e.Floor()) == nil {
		return nil
	}
	if _, err := e.readFloor(ctx); err != nil {
		return err
	}
	return checkFloor(devices, e.floor.floor.Load())
}

func checkFloor(devices []block.Device, floor int64) error {
	for i := range devices {
		if f := &devices[i].Readings; f.Len() > 0 && f.Times[0] < floor {
			return fmt.Errorf("readings of %s: %w", devices[i].ID, &FloorError{Floor: floor})
		}
	}
	return nil
}
