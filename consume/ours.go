package consume

import (
	"errors"
	"slices"
	"time"

	"sluice/telemetry"
	"sluice/telemetry/block"
	"sluice/telemetry/event"
)

// What a block may have beyond what the hub's clock says. Readings are judged by
// the clock of the instance that accepts them, which may differ, and stamps go on
// from where the store had come to after that clock went back, by up to a day.
const (
	blockClocks = 5 * time.Minute
	blockStamps = 25 * time.Hour
)

// blockMetrics is how many metrics a reading may have whatever is set: the most
// that SLUICE_MAX_METRICS takes. Another instance may allow more than this one.
const blockMetrics = 100_000

// readOurs reads a block. Its readings were judged when they were accepted; but
// whoever may send to the hub may send a block, so that whatever no ingest accepts is
// refused, one by one. Devices have no business with blocks.
func (c *Consumer) readOurs(j *judged) *telemetry.Refusal {
	if sender := senderOf(j.event); sender != "" {
		return telemetry.Refuse(telemetry.ForbiddenDevice, "%s sent a block of the service's own: a device sends JSON", telemetry.Quote(sender))
	}
	devices, err := event.Decode(j.event.Body)
	switch {
	case errors.Is(err, event.ErrVersion):
		return telemetry.Refuse(telemetry.UnsupportedVersion, "%v: replay it after an upgrade", err)
	case err != nil:
		return telemetry.Refuse(telemetry.CorruptEvent, "%v", err)
	}
	came := j.event.Enqueued
	if came.IsZero() {
		came = c.cfg.Now()
	}
	kept, row := devices[:0], 0
	for i := range devices {
		d := &devices[i]
		if d.Cut != 0 {
			return telemetry.Refuse(telemetry.CorruptEvent, "the block deletes %s: deletions do not come through the hub", telemetry.Quote(d.ID))
		}
		n := count(d)
		if bad := checkBlock(d, came.UnixNano()); bad == nil {
			j.readings += n
			kept = append(kept, *d)
		} else if rest := j.without(d, row, bad); count(&rest) > 0 {
			kept = append(kept, rest)
		}
		row += n
	}
	j.devices = kept
	return nil
}

// without refuses the bad readings of a device, whose first row is one of all rows
// of the event, and returns the others. Tags without a row count as one.
func (j *judged) without(d *block.Device, first int, bad map[telemetry.Stamp]*telemetry.Refusal) block.Device {
	good := func(stamp telemetry.Stamp) bool { return bad[stamp] == nil }
	rest := block.Device{ID: d.ID, Readings: d.Readings.Where(good)}
	alone := false
	for _, t := range d.Tags {
		switch {
		case good(t.Stamp):
			rest.Tags = append(rest.Tags, t)
		case !alone && !slices.Contains(d.Readings.Stamps, t.Stamp):
			alone = true
			j.reject(first, bad[t.Stamp])
		}
	}
	for i, stamp := range d.Readings.Stamps {
		if !good(stamp) {
			j.reject(first+i, bad[stamp])
		}
	}
	j.readings += count(&rest)
	return rest
}

// blockCheck looks for what no ingest accepts in what a block has of a device.
type blockCheck struct {
	device    *block.Device
	came      int64                                  // when the hub had it
	lastStamp telemetry.Stamp                        // that it may have
	bad       map[telemetry.Stamp]*telemetry.Refusal // why readings are refused, by their stamps; nil: none is
}

// checkBlock says which readings of a device are bad, by their stamps; nil: none.
func checkBlock(d *block.Device, came int64) map[telemetry.Stamp]*telemetry.Refusal {
	b := &blockCheck{device: d, came: came, lastStamp: telemetry.Stamp(came + int64(blockStamps))}
	name := telemetry.CheckDevice(d.ID)
	for i, stamp := range d.Readings.Stamps {
		b.refuse(stamp, name)
		b.check(stamp, d.Readings.Times[i])
	}
	for i := range d.Tags {
		b.refuse(d.Tags[i].Stamp, name)
		b.tag(&d.Tags[i])
	}
	b.tags()
	for i := range d.Readings.Columns {
		b.column(&d.Readings.Columns[i])
	}
	b.metrics()
	return b.bad
}

// refuse refuses a reading, if there is a reason.
func (b *blockCheck) refuse(stamp telemetry.Stamp, refusal *telemetry.Refusal) {
	if refusal == nil || b.bad[stamp] != nil {
		return
	}
	if b.bad == nil {
		b.bad = map[telemetry.Stamp]*telemetry.Refusal{}
	}
	b.bad[stamp] = refusal
}

// check judges when a reading was accepted, and its time. The stamp is never before
// the clock by which its time was judged.
func (b *blockCheck) check(stamp telemetry.Stamp, at int64) {
	newest := max(b.came, int64(stamp)) + int64(telemetry.MaxAhead+blockClocks)
	switch {
	case stamp <= 0 || stamp > b.lastStamp:
		b.refuse(stamp, telemetry.Refuse(telemetry.CorruptEvent, "the block has a reading of %s accepted at %s, which cannot be: the hub had it at %s",
			telemetry.Quote(b.device.ID), telemetry.FormatTime(int64(stamp)), telemetry.FormatTime(b.came)))
	case at < telemetry.Year2000 || at >= newest:
		b.refuse(stamp, telemetry.Window{Oldest: telemetry.Year2000, Newest: newest - 1}.Check(at))
	}
}

func (b *blockCheck) tag(t *block.TagChange) {
	b.check(t.Stamp, t.Time)
	b.refuse(t.Stamp, telemetry.CheckTagKey(t.Key))
	b.refuse(t.Stamp, telemetry.CheckTagValue(t.Value))
}

// tags counts those of each reading, if they may be too many.
func (b *blockCheck) tags() {
	if len(b.device.Tags) <= telemetry.MaxTags {
		return
	}
	counts := map[telemetry.Stamp]int{}
	for i := range b.device.Tags {
		stamp := b.device.Tags[i].Stamp
		if counts[stamp]++; counts[stamp] == telemetry.MaxTags+1 {
			b.refuse(stamp, telemetry.Refuse(telemetry.InvalidTags, "over %d tags in one reading", telemetry.MaxTags))
		}
	}
}

// metrics counts those of each reading, if they may be too many.
func (b *blockCheck) metrics() {
	f := &b.device.Readings
	if len(f.Columns) <= blockMetrics {
		return
	}
	counts := make([]int, f.Len())
	for i := range f.Columns {
		for k := range f.Columns[i].Len() {
			row := f.Columns[i].Row(k)
			if counts[row]++; counts[row] == blockMetrics+1 {
				b.refuse(f.Stamps[row], telemetry.Refuse(telemetry.TooManyMetrics, "over %d metrics in one reading", blockMetrics))
			}
		}
	}
}

// column judges a metric's name and values.
func (b *blockCheck) column(c *block.Column) {
	name, stamps := telemetry.CheckMetric(c.Name), b.device.Readings.Stamps
	for i, bits := range c.Bits {
		switch {
		case name != nil:
			b.refuse(stamps[c.Row(i)], name)
		case c.Kinds == nil || c.Kinds[i] == telemetry.Number:
			if bits&infinite == infinite {
				b.refuse(stamps[c.Row(i)], telemetry.Refuse(telemetry.InvalidValue, "metric %s is not a number, or infinite", telemetry.Quote(c.Name)))
			}
		case c.Kinds[i] == telemetry.String:
			b.refuse(stamps[c.Row(i)], telemetry.CheckText(c.Texts[i]))
		}
	}
}

// infinite is the exponent of float64s that are not finite.
const infinite = 0x7ff << 52
