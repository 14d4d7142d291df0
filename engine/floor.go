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
)

// floorRow is the row; all in nanoseconds since the Unix epoch.
type floorRow struct {
	floor, trusted, seen int64
	latest               int64 // the highest "seen" that the store has come to
	announced, since     int64 // what the floor is to be, and since when that is known
	etag                 store.ETag
}

func readFloor(ctx context.Context, rows store.Rows) (floorRow, error) {
	row, err := rows.Get(ctx, configTable, configPartition, floorKey)
	if err != nil {
		return floorRow{}, fmt.Errorf("read the floor of retention: %w", err)
	}
	f := floorRow{floor: intOf(row, "floor"), trusted: intOf(row, "trusted"), seen: intOf(row, "seen"), etag: row.ETag}
	// 0 where an older version wrote it
	f.latest, f.announced, f.since = max(f.seen, intOf(row, "latest")), intOf(row, "announced"), intOf(row, "since")
	return f, nil
}

// accepts is the oldest time that may be accepted.
func (f floorRow) accepts() int64 { return max(f.floor, f.announced) }

// next is the row after now was seen, with everything of the journal from
// oldest on not merged yet (0: nothing is waiting).
func (f floorRow) next(now, oldest int64, retention time.Duration) floorRow {
	passed := min(max(now-f.seen, 0), int64(floorGap))
	trusted := max(f.trusted-2*int64(floorGap), min(now, f.trusted+2*passed))
	f.trusted, f.seen, f.latest = trusted, now, max(now, f.latest)
	if f.latest-now > stampGap {
		f.latest = now
	}
	if retention == 0 {
		return f
	}
	if to := day(trusted-int64(retention)) * nanosPerDay; to > f.accepts() {
		f.announced, f.since = to, now
	}
	f.since = min(f.since, now) // else a clock that was ahead would hold it up
	if oldest == 0 {
		oldest = now
	}
	if oldest > f.since+floorNotice {
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
	f := floorRow{floor: oldestFloor, trusted: now, seen: now}.next(now, 0, c.Retention)
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
	next := row.next(c.Now().UnixNano(), oldest, c.Retention)
	if next.floor == row.floor && next.announced == row.announced && next.seen-row.seen < int64(floorCadence) && next.seen >= row.seen {
		return row, nil
	}
	err = next.write(ctx, c.Accounts[0], store.Op{Kind: store.Replace, IfMatch: row.etag})
	if refused(err) { // somebody else raised it
		return readFloor(ctx, c.Accounts[0])
	}
	return next, err
}

func (f floorRow) write(ctx context.Context, rows store.Rows, op store.Op) error {
	op.Key, op.Properties = floorKey, []store.Property{
		{Name: "announced", Value: f.announced}, {Name: "floor", Value: f.floor},
		{Name: "latest", Value: f.latest}, {Name: "seen", Value: f.seen},
		{Name: "since", Value: f.since}, {Name: "trusted", Value: f.trusted},
	}
	if err := rows.Commit(ctx, configTable, configPartition, []store.Op{op}); err != nil {
		return fmt.Errorf("write the floor of retention: %w", err)
	}
	return nil
}

// floorCache is the row as an engine last read it.
type floorCache struct {
	accepts atomic.Int64
	read    atomic.Int64 // when that began, by the engine's clock
}

// keep keeps a row of which the reading began at a time. Of several that are
// under way the highest counts, in whichever order they end; the time may be that
// of an earlier one, which only means that the row is read again sooner (and must
// be able to fall, where the clock was ahead).
func (c *floorCache) keep(row floorRow, begun time.Time) {
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

// refreshFloor reads the row if that was long ago. Appends to several shards
// may then read it at the same time.
func (e *Engine) refreshFloor(ctx context.Context) error {
	if e.floor.fresh(e.now()) {
		return nil
	}
	_, err := e.readFloor(ctx)
	return err
}

// checkAccepted makes sure that what is appended was accepted under the floor
// that is announced by now.
func (e *Engine) checkAccepted(ctx context.Context, devices []block.Device) error {
	if err := e.refreshFloor(ctx); err != nil {
		return err
	}
	floor := e.Floor()
	for i := range devices {
		if f := &devices[i].Readings; f.Len() > 0 && f.Times[0] < floor {
			return fmt.Errorf("readings of %s: %w", devices[i].ID, ErrFloor)
		}
	}
	return nil
}
