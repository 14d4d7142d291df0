package engine

import (
	"context"
	"errors"
	"fmt"

	"sluice/store"
	"sluice/telemetry"
	"sluice/telemetry/block"
)

const (
	// maxRefused is how many parts of a flush may be refused at the same time. Where
	// it is more, the store refuses everything rather than something.
	maxRefused = 64
	// maxCarried is the same of devices that cannot be merged.
	maxCarried = 16
)

// RefusedError says which readings of an Append the store refuses for good,
// however often they are sent. All others are durable.
type RefusedError struct {
	readings map[readingID]struct{}
	err      error
}

// readingID names a reading by what no other reading of its device has.
type readingID struct {
	device string
	stamp  telemetry.Stamp
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("the store refuses %d readings for good, the others are durable: %v", len(e.readings), e.err)
}

// Unwrap returns the store's reason.
func (e *RefusedError) Unwrap() error { return e.err }

// Refused says whether the reading of a device with that stamp was refused.
func (e *RefusedError) Refused(device string, stamp telemetry.Stamp) bool {
	_, refused := e.readings[readingID{device, stamp}]
	return refused
}

func (e *RefusedError) add(d *block.Device) {
	for _, s := range d.Readings.Stamps {
		e.readings[readingID{d.ID, s}] = struct{}{}
	}
	for _, t := range d.Tags {
		e.readings[readingID{d.ID, t.Stamp}] = struct{}{}
	}
	if d.Cut > 0 {
		e.readings[readingID{d.ID, d.Cut}] = struct{}{}
	}
}

// appendEntries makes entries durable. A *RefusedError if the store refuses some
// readings for good, however small the entries that have them are cut.
func (e *Engine) appendEntries(ctx context.Context, shard int, entries []store.Entry) error {
	err := e.journal.Append(ctx, shard, entries)
	var refused *store.RefusedError
	if errors.As(err, &refused) {
		return e.isolate(ctx, shard, entries, refused)
	}
	return err
}

// isolate cuts entries that were refused smaller and smaller, until those are
// alone that the store refuses: the others become durable.
func (e *Engine) isolate(ctx context.Context, shard int, entries []store.Entry, refused *store.RefusedError) error {
	out := &RefusedError{readings: map[readingID]struct{}{}}
	for refused != nil {
		out.err = refused.Err
		var smaller []store.Entry
		for _, i := range refused.Entries {
			parts, err := e.halveEntry(entries[i], out)
			if err != nil {
				return err
			}
			smaller = append(smaller, parts...)
		}
		if len(smaller) > 2*maxRefused {
			return fmt.Errorf("over %d parts of a flush are refused: %w", maxRefused, refused.Err)
		}
		if entries = smaller; len(entries) == 0 {
			break
		}
		err := e.journal.Append(ctx, shard, entries)
		if refused = nil; err != nil && !errors.As(err, &refused) {
			return err
		}
	}
	if len(out.readings) == 0 {
		return nil
	}
	e.log.Error("the store refuses readings for good, they are rejected", "shard", shard, "readings", len(out.readings), "error", out.err.Error())
	return out
}

// halveEntry makes two entries of one, or tells whose the single thing is that
// it holds.
func (e *Engine) halveEntry(entry store.Entry, refused *RefusedError) ([]store.Entry, error) {
	devices, err := block.Decode(entry.Data)
	if err != nil {
		return nil, fmt.Errorf("%w: a block that was encoded here: %w", ErrCorrupt, err)
	}
	first, rest := halveDevices(devices)
	if len(rest) == 0 {
		for i := range devices {
			refused.add(&devices[i])
		}
		return nil, nil
	}
	var entries []store.Entry
	for _, part := range [][]block.Device{first, rest} {
		blocks, err := block.Encode(part, store.MaxEntry)
		if err != nil {
			return nil, fmt.Errorf("encode a block: %w", err)
		}
		for _, data := range blocks {
			entries = append(entries, store.Entry{Bucket: entry.Bucket, Data: data})
		}
	}
	return entries, nil
}

// halveDevices cuts between devices, else between tags and readings, else
// between readings; nothing is left for the second part of a single one.
func halveDevices(devices []block.Device) (first, rest []block.Device) {
	if n := len(devices); n != 1 {
		return devices[:n/2], devices[n/2:]
	}
	d := devices[0]
	part := func(cut telemetry.Stamp, tags []block.TagChange, f block.Frame) []block.Device {
		return []block.Device{{ID: d.ID, Cut: cut, Tags: tags, Readings: f}}
	}
	tags, rows := len(d.Tags), d.Readings.Len()
	switch {
	case rows > 0 && (tags > 0 || d.Cut > 0):
		return part(d.Cut, d.Tags, block.Frame{}), part(0, nil, d.Readings)
	case rows > 1:
		return part(0, nil, d.Readings.Slice(0, rows/2)), part(0, nil, d.Readings.Slice(rows/2, rows))
	case tags > 0 && d.Cut > 0:
		return part(d.Cut, nil, block.Frame{}), part(0, d.Tags, block.Frame{})
	case tags > 1:
		return part(0, d.Tags[:tags/2], block.Frame{}), part(0, d.Tags[tags/2:], block.Frame{})
	}
	return devices, nil
}

// errUnwritable says that the store refuses a row of leaves or lists for good.
var errUnwritable = errors.New("store refuses a row for good")

// unmergeable tells whether merging again would fail alike.
func unmergeable(err error) bool {
	return errors.Is(err, errUnwritable) || errors.Is(err, errTooWide)
}

// mergeOrCarry merges devices. One whose leaves or list the store refuses for
// good is found by halving and carried: what there is to be merged of it is
// appended to the journal again, before the epoch that has it is given up. So it
// stays readable, is tried again with the next merge, and holds up nobody else.
func (e *Engine) mergeOrCarry(ctx context.Context, shard int, floor int64, ids []string, parts map[string][]*block.Device, carried *int) error {
	m := merge{engine: e, rows: e.rows(shard), shard: partition(shard), floor: floor}
	err := m.devices(ctx, ids, parts)
	switch {
	case err == nil || !unmergeable(err):
		return err
	case len(ids) > 1:
		half := len(ids) / 2
		if err := e.mergeOrCarry(ctx, shard, floor, ids[:half], parts, carried); err != nil {
			return err
		}
		return e.mergeOrCarry(ctx, shard, floor, ids[half:], parts, carried)
	}
	if *carried++; *carried > maxCarried {
		return fmt.Errorf("over %d devices cannot be merged: %w", maxCarried, err)
	}
	e.log.Error("a device cannot be merged: it stays in the journal", "device", ids[0], "shard", shard, "error", err.Error())
	return e.carry(ctx, shard, floor, gatherDevice(ids[0], parts[ids[0]]))
}

// gatherDevice is what blocks say of one device, as one.
func gatherDevice(id string, parts []*block.Device) block.Device {
	t := gather(parts)
	return block.Device{ID: id, Cut: t.cut, Tags: t.tags, Readings: t.frame}
}

func (e *Engine) carry(ctx context.Context, shard int, floor int64, d block.Device) error {
	d.Readings = above(d.Readings, floor)
	entries, _, err := e.encode([]block.Device{d})
	if err != nil || len(entries) == 0 {
		return err
	}
	if err := e.appendEntries(ctx, shard, entries); err != nil {
		return fmt.Errorf("carry %s over: %w", d.ID, err)
	}
	return nil
}
