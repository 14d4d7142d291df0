package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sluice/store"
)

// The floor of retention is a row of the first account's config table: no reading before
// "floor" is accepted, made, or read. It only rises, and by time that passed:
// "trusted" is the store's own idea of now, which follows the clock of whoever
// raises the floor, but by at most twice the time since somebody did, of which
// at most an hour counts. A clock that jumps a year ahead thus deletes two
// hours more, not a year; a store that slept for a day catches up in a day.
// Shorter retention takes effect at once, as the settings ask for it.
const (
	floorKey     = "floor"
	floorGap     = time.Hour
	oldestFloor  = int64(946684800) * int64(time.Second) // 2000-01-01
	floorCadence = time.Minute
)

type floorRow struct {
	floor, trusted, seen int64
	etag                 store.ETag
}

func readFloor(ctx context.Context, rows store.Rows) (floorRow, error) {
	row, err := rows.Get(ctx, configTable, configPartition, floorKey)
	if err != nil {
		return floorRow{}, fmt.Errorf("read the floor of retention: %w", err)
	}
	return floorRow{intOf(row, "floor"), intOf(row, "trusted"), intOf(row, "seen"), row.ETag}, nil
}

// next is the row after now was seen, with everything of the journal from
// oldest on not merged yet (0: nothing is waiting).
func (f floorRow) next(now, oldest int64, retention time.Duration) floorRow {
	passed := min(max(now-f.seen, 0), int64(floorGap))
	trusted := max(f.trusted, min(now, f.trusted+2*passed))
	f.trusted, f.seen = trusted, now
	if retention > 0 {
		at := trusted
		if oldest > 0 {
			at = min(at, oldest)
		}
		f.floor = max(f.floor, day(at-int64(retention))*nanosPerDay)
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
	if err = f.write(ctx, c.Accounts[0], store.Op{Kind: store.Insert}); refused(err) {
		return nil // somebody else made it
	}
	return err
}

// raiseFloor raises the floor, if it is time, and returns it.
func raiseFloor(ctx context.Context, c Config, oldest int64) (int64, error) {
	row, err := readFloor(ctx, c.Accounts[0])
	if err != nil {
		return 0, err
	}
	next := row.next(c.Now().UnixNano(), oldest, c.Retention)
	if next.floor == row.floor && next.seen-row.seen < int64(floorCadence) && next.seen >= row.seen {
		return row.floor, nil
	}
	err = next.write(ctx, c.Accounts[0], store.Op{Kind: store.Replace, IfMatch: row.etag})
	if refused(err) { // somebody else raised it
		row, err = readFloor(ctx, c.Accounts[0])
		return row.floor, err
	}
	return next.floor, err
}

func (f floorRow) write(ctx context.Context, rows store.Rows, op store.Op) error {
	op.Key, op.Properties = floorKey, []store.Property{
		{Name: "floor", Value: f.floor}, {Name: "seen", Value: f.seen}, {Name: "trusted", Value: f.trusted},
	}
	if err := rows.Commit(ctx, configTable, configPartition, []store.Op{op}); err != nil {
		return fmt.Errorf("write the floor of retention: %w", err)
	}
	return nil
}
