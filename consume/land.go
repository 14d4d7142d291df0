package consume

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"runtime/debug"
	"slices"
	"sort"

	"golang.org/x/sync/errgroup"

	"sluice/deadletters"
	"sluice/engine"
	"sluice/hub"
	"sluice/store"
	"sluice/telemetry"
	"sluice/telemetry/block"
)

// take makes events durable that follow one another, in rounds: as many at a time
// as memory allows.
func (t *taking) take(ctx context.Context, events []hub.Event) error {
	for len(events) > 0 {
		n, err := t.round(ctx, events)
		if err != nil {
			return err
		}
		events = events[n:]
	}
	return nil
}

// round makes some events durable, at least one, and says how many.
func (t *taking) round(ctx context.Context, events []hub.Event) (int, error) {
	select {
	case t.slots <- struct{}{}:
		defer func() { <-t.slots }()
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	var list []judged
	for size := 0; len(list) < len(events) && size < t.cfg.RoundBytes; {
		j := t.judge(&events[len(list)])
		size += j.size()
		list = append(list, j)
	}
	r, err := t.land(ctx, list)
	if err == nil {
		err = t.bury(ctx, list, &r)
	}
	if err == nil {
		err = t.durable(ctx, list[len(list)-1].event)
	}
	if err != nil {
		t.result.Appends += r.Appends
		return 0, err
	}
	t.result.add(r)
	return len(list), nil
}

// land makes what is right of events durable, with as few appends as there are
// shards, and takes back what the store refuses.
func (c *Consumer) land(ctx context.Context, list []judged) (Result, error) {
	r := Result{Events: len(list)}
	parts := make([][]block.Device, len(list))
	for i := range list {
		parts[i] = list[i].devices
	}
	shards := map[int][]block.Device{}
	for _, d := range block.Union(parts) {
		n := c.cfg.Engine.Shard(d.ID)
		shards[n] = append(shards[n], d)
	}
	landings, err := c.appendAll(ctx, shards)
	for _, l := range landings {
		r.Appends += l.appends
	}
	if err != nil {
		return r, err
	}
	for _, l := range landings {
		for i := range list {
			l.takeBack(&list[i])
		}
	}
	for i := range list {
		r.Readings += list[i].readings
		r.Rejected += list[i].rejected
	}
	return r, nil
}

// appendAll appends to some shards at a time: a call waits as long as the store
// takes for one, not for all of its shards. The landings are in order of shards.
func (c *Consumer) appendAll(ctx context.Context, shards map[int][]block.Device) ([]*landing, error) {
	landings := make([]*landing, 0, len(shards))
	var group errgroup.Group
	group.SetLimit(c.cfg.Shards)
	for _, n := range slices.Sorted(maps.Keys(shards)) {
		l := &landing{Consumer: c, shard: n, floor: noFloor}
		landings = append(landings, l)
		group.Go(func() error { return l.safely(ctx, shards[n]) })
	}
	err := group.Wait()
	return landings, err
}

// safely contains a panic, which in a goroutine of its own would end the process.
func (l *landing) safely(ctx context.Context, devices []block.Device) (err error) {
	defer func() {
		if r := recover(); r != nil {
			l.log.Error("landing panicked", "shard", l.shard, "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
			err = fmt.Errorf("shard %d: %w: %v", l.shard, errPanicked, r)
		}
	}()
	return l.append(ctx, devices)
}

// landing is the append of one shard's readings.
type landing struct {
	*Consumer
	shard   int
	appends int
	floor   int64     // what is older is refused
	refused []Refuser // what else is
}

// noFloor is the floor where nothing was refused as too old. Nothing is below it:
// times before 1970, which no ingest accepts, are for the store to refuse, not to be
// passed over here.
const noFloor = math.MinInt64

// floors is how often the floor may rise in the course of one append.
const floors = 4

// append makes devices durable, but for what is refused for good.
func (l *landing) append(ctx context.Context, devices []block.Device) error {
	for range floors {
		if devices = above(devices, l.floor); len(devices) == 0 {
			return nil
		}
		err := l.try(ctx, devices)
		var old *engine.FloorError
		var refused Refuser
		switch {
		case errors.As(err, &old) && old.Floor > l.floor:
			l.floor = old.Floor
			continue
		case errors.As(err, &refused):
			l.refused = append(l.refused, refused)
			return nil
		case unstorable(err):
			return l.isolate(ctx, devices, err)
		default:
			return err
		}
	}
	return fmt.Errorf("shard %d: the floor rises faster than readings are appended: %w", l.shard, engine.ErrFloor)
}

// errPanicked says that an append panicked.
var errPanicked = errors.New("append panicked")

// try appends, and contains a panic.
func (l *landing) try(ctx context.Context, devices []block.Device) (err error) {
	defer func() {
		if r := recover(); r != nil {
			l.log.Error("an append panicked", "shard", l.shard, "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
			err = fmt.Errorf("%w: %v", errPanicked, r)
		}
	}()
	l.appends++
	return l.cfg.Engine.AppendQueued(ctx, l.shard, devices)
}

// unstorable says that appending the same again would fail alike, by what it is.
func unstorable(err error) bool {
	return errors.Is(err, store.ErrTooLarge) || errors.Is(err, store.ErrInvalid) || errors.Is(err, errPanicked)
}

// isolate appends halves of what failed, until those are alone that fail.
func (l *landing) isolate(ctx context.Context, devices []block.Device, err error) error {
	a, b := halves(devices)
	if len(b) == 0 {
		l.log.Error("a reading cannot be stored", "device", devices[0].ID, "error", err)
		l.refused = append(l.refused, alone{devices[0], err})
		return nil
	}
	if err := l.append(ctx, a); err != nil {
		return err
	}
	return l.append(ctx, b)
}

// halves cuts between devices, or of one between tags and readings, or between
// readings; the second is empty if there is nothing to cut.
func halves(devices []block.Device) (a, b []block.Device) {
	if n := len(devices); n > 1 {
		return devices[:n/2], devices[n/2:]
	}
	d := devices[0]
	switch n := d.Readings.Len(); {
	case n > 0 && len(d.Tags) > 0:
		return []block.Device{{ID: d.ID, Tags: d.Tags}}, []block.Device{{ID: d.ID, Readings: d.Readings}}
	case n > 1:
		return []block.Device{{ID: d.ID, Readings: d.Readings.Slice(0, n/2)}}, []block.Device{{ID: d.ID, Readings: d.Readings.Slice(n/2, n)}}
	case len(d.Tags) > 1:
		n = len(d.Tags) / 2
		return []block.Device{{ID: d.ID, Tags: d.Tags[:n:n]}}, []block.Device{{ID: d.ID, Tags: d.Tags[n:]}}
	default:
		return devices, nil
	}
}

// alone is a Refuser of one device's readings.
type alone struct {
	device block.Device
	error
}

// Refused implements Refuser.
func (a alone) Refused(device string, stamp telemetry.Stamp) bool {
	return device == a.device.ID &&
		(slices.Contains(a.device.Readings.Stamps, stamp) ||
			slices.ContainsFunc(a.device.Tags, func(t block.TagChange) bool { return t.Stamp == stamp }))
}

// above is what of devices is not older than a floor.
func above(devices []block.Device, floor int64) []block.Device {
	if !slices.ContainsFunc(devices, func(d block.Device) bool { return older(&d, floor) > 0 }) {
		return devices
	}
	kept := make([]block.Device, 0, len(devices))
	for _, d := range devices {
		d.Readings = d.Readings.Slice(older(&d, floor), d.Readings.Len())
		if d.Readings.Len() > 0 || len(d.Tags) > 0 {
			kept = append(kept, d)
		}
	}
	return kept
}

// older is how many rows of a device are older than a floor: its first ones.
func older(d *block.Device, floor int64) int {
	times := d.Readings.Times
	return sort.Search(len(times), func(i int) bool { return times[i] >= floor })
}

// takeBack judges the readings of an event that went to the shard by what became
// of them.
func (l *landing) takeBack(j *judged) {
	if l.floor == noFloor && len(l.refused) == 0 {
		return
	}
	row := 0
	for i := range j.devices {
		d := &j.devices[i]
		if l.cfg.Engine.Shard(d.ID) == l.shard {
			l.takeBackDevice(j, d, row)
		}
		row += count(d)
	}
	slices.SortStableFunc(j.errors, func(a, b deadletters.Verdict) int { return cmp.Compare(a.Index, b.Index) })
}

// takeBackDevice judges those of a device, whose first row is one of all rows of
// the event.
func (l *landing) takeBackDevice(j *judged, d *block.Device, first int) {
	old := older(d, l.floor)
	for i, stamp := range d.Readings.Stamps {
		switch {
		case i < old:
			j.old(j.place(first+i, stamp), d.Readings.Times[i], l.floor)
		case l.isRefused(d.ID, stamp):
			j.unstorable(j.place(first+i, stamp), d.ID)
		}
	}
	if d.Readings.Len() == 0 && len(d.Tags) > 0 && l.isRefused(d.ID, d.Tags[0].Stamp) {
		j.unstorable(j.place(first, d.Tags[0].Stamp), d.ID)
	}
}

func (l *landing) isRefused(device string, stamp telemetry.Stamp) bool {
	return slices.ContainsFunc(l.refused, func(r Refuser) bool { return r.Refused(device, stamp) })
}

// place is where in the body a reading stood, as far as that is known: of ours,
// its row.
func (j *judged) place(row int, stamp telemetry.Stamp) int {
	if j.first == 0 {
		return row
	}
	return int(stamp - j.first)
}

func (j *judged) old(index int, at, floor int64) {
	j.readings--
	j.outlived++
	j.reject(index, telemetry.Refuse(telemetry.TimestampTooOld, "time %s is before %s, the oldest that is kept by now",
		telemetry.FormatTime(at), telemetry.FormatTime(floor)))
}

func (j *judged) unstorable(index int, device string) {
	j.readings--
	j.reject(index, telemetry.Refuse(telemetry.NotStorable, "the store refuses this reading of %s for good", telemetry.Quote(device)))
}

// bury puts events that are not right, or not all of them, into the dead letters.
func (t *taking) bury(ctx context.Context, list []judged, r *Result) error {
	var letters []deadletters.Letter
	for i := range list {
		if j := &list[i]; j.rejected > 0 && !t.outlived(j) {
			letters = append(letters, t.letter(j))
		}
	}
	if len(letters) == 0 {
		return nil
	}
	if err := t.cfg.DeadLetters.Put(ctx, letters); err != nil {
		return fmt.Errorf("write dead letters: %w", err)
	}
	r.Letters = len(letters)
	return nil
}

// outlived says that nothing is wrong with an event but what has come since, its
// age or that a device is blocked, and that it was durable in its time.
func (t *taking) outlived(j *judged) bool {
	return j.outlived == j.rejected && t.at.Stored() && j.event.Sequence <= t.at.Sequence
}

// letter is an event as a dead letter.
func (t *taking) letter(j *judged) deadletters.Letter {
	e := j.event
	source := deadletters.Source{Partition: t.partition, Sequence: e.Sequence, Enqueued: e.Enqueued}
	if t.cfg.Hub != nil {
		source.Hub = t.cfg.Hub.Name()
	}
	return deadletters.Letter{
		Reason: j.errors[0].Refusal, Rejected: j.rejected, Source: source,
		Device: senderOf(e), PartitionKey: e.PartitionKey,
		ContentType: typeOf(e), ContentEncoding: headerOf(e),
		Body: e.Body, Size: len(e.Body),
	}
}
