package block

import (
	"fmt"

	"sluice/telemetry"
)

// Decode decodes one block. What it returns takes at most MaxDecoded bytes and
// shares memory: who keeps a string or a frame for long copies it. It may be
// used concurrently. Errors: ErrCorrupt, ErrVersion.
func Decode(data []byte) ([]Device, error) {
	r, err := unseal(data, blockMark, &budget{left: MaxDecoded})
	if err != nil {
		return nil, fmt.Errorf("block: %w", err)
	}
	defer r.free()
	devices := r.block()
	if err := r.end(); err != nil {
		return nil, fmt.Errorf("block: %w", err)
	}
	return devices, nil
}

func (r *reader) block() []Device {
	n := r.count(deviceSize)
	devices := make([]Device, n)
	ids := make([]string, n)
	r.sorted(ids)
	for i, id := range ids {
		devices[i].ID = id
	}
	r.cuts(devices)
	r.tags(devices)
	groups := r.schemas()
	r.members(groups, devices)
	for _, g := range groups {
		if r.err != nil {
			break
		}
		r.group(g)
	}
	return devices
}

func (r *reader) cuts(devices []Device) {
	v := r.ints(len(devices))
	r.series(v, nil)
	for i := range devices {
		devices[i].Cut = telemetry.Stamp(v[i])
	}
}

func (r *reader) tags(devices []Device) {
	counts := make([]int64, len(devices))
	r.series(counts, nil)
	total := r.total(counts, tagSize)
	if total == 0 || r.err != nil {
		return
	}
	all := r.tagColumns(total)
	for i, n := range counts {
		if r.err != nil {
			return
		}
		if n > 0 {
			devices[i].Tags, all = all[:n:n], all[n:]
		}
		r.tagOrder(devices[i].Tags)
	}
}

// total adds up counts of things of size bytes each, and spends them.
func (r *reader) total(counts []int64, size int) int {
	total := int64(0)
	for _, n := range counts {
		if n < 0 || n > MaxDecoded {
			r.fail("count of %d", n)
			return 0
		}
		total += n
	}
	if !r.spend(int(total), size) {
		return 0
	}
	return int(total)
}

func (r *reader) tagColumns(n int) []TagChange {
	keys, values := make([]string, n), make([]string, n)
	times, stamps := make([]int64, n), make([]telemetry.Stamp, n)
	r.texts(keys, nil)
	r.texts(values, nil)
	removed := make([]int64, n)
	r.series(removed, nil)
	r.times(times, nil)
	r.stamps(stamps, times, nil)
	tags := make([]TagChange, n)
	for i := range tags {
		if removed[i]>>1 != 0 {
			r.fail("tag removed %d times", removed[i])
			break
		}
		tag := telemetry.Tag{Key: keys[i], Value: values[i], Removed: removed[i] == 1}
		tags[i] = TagChange{Tag: tag, Time: times[i], Stamp: stamps[i]}
	}
	return tags
}

func (r *reader) tagOrder(tags []TagChange) {
	for i := 1; i < len(tags); i++ {
		if tags[i-1].Compare(tags[i]) >= 0 {
			r.fail("tag %q out of order", tags[i].Key)
			return
		}
	}
}

// members is a group while it is read.
type members struct {
	names   []string
	devices []*Device
}

func (r *reader) schemas() []*members {
	names := make([]string, r.count(stringSize))
	r.sorted(names)
	groups := make([]*members, 0, 8)
	for n := r.count(deviceSize); n > 0 && r.err == nil; n-- {
		groups = append(groups, &members{names: r.schema(names)})
	}
	return groups
}

func (r *reader) schema(names []string) []string {
	own := make([]string, r.count(stringSize))
	v := r.ints(len(own))
	r.series(v, nil)
	if r.err != nil {
		return nil
	}
	for i, at := range v {
		if at < 0 || at >= int64(len(names)) || i > 0 && at <= v[i-1] {
			r.fail("metric %d of %d", at, len(names))
			return nil
		}
		own[i] = names[at]
	}
	return own
}

func (r *reader) members(groups []*members, devices []Device) {
	of := r.ints(len(devices))
	r.series(of, nil)
	if r.err != nil {
		return
	}
	for i, at := range of {
		if at < 0 || at >= int64(len(groups)) {
			r.fail("group %d of %d", at, len(groups))
			return
		}
		groups[at].devices = append(groups[at].devices, &devices[i])
	}
}

func (r *reader) group(g *members) {
	counts := make([]int64, len(g.devices))
	r.series(counts, nil)
	total := r.total(counts, rowSize)
	if r.err != nil {
		return
	}
	times, stamps := make([]int64, total), make([]telemetry.Stamp, total)
	starts := firstRows(counts)
	r.times(times, starts)
	r.stamps(stamps, times, starts)
	r.frames(g, counts, times, stamps)
	if len(g.names) == 0 || r.err != nil {
		return
	}
	r.columns(g, total)
}

// firstRows returns where the rows of each device that has some begin, nil if
// there is only one device.
func firstRows(counts []int64) []int {
	if len(counts) < 2 {
		return nil
	}
	starts := make([]int, 0, len(counts))
	at := 0
	for _, n := range counts {
		if n > 0 {
			starts = append(starts, at)
		}
		at += int(n)
	}
	return starts
}

// frames gives each device its rows.
func (r *reader) frames(g *members, counts, times []int64, stamps []telemetry.Stamp) {
	for i, d := range g.devices {
		n := counts[i]
		if n == 0 {
			if len(g.names) > 0 {
				r.fail("device %q has metrics and no rows", d.ID)
			}
			continue
		}
		d.Readings.Times, times = times[:n:n], times[n:]
		d.Readings.Stamps, stamps = stamps[:n:n], stamps[n:]
		r.ascending(&d.Readings)
	}
}

func (r *reader) columns(g *members, total int) {
	wide := len(g.names)
	if len(g.devices) > 0 && wide > MaxDecoded/len(g.devices) || !r.spend(wide*len(g.devices), columnSize) {
		r.fail("%d columns of %d devices", wide, len(g.devices))
		return
	}
	all := make([]Column, wide*len(g.devices))
	for i, d := range g.devices {
		d.Readings.Columns = all[i*wide : (i+1)*wide : (i+1)*wide]
	}
	starts := make([]int, len(g.devices))
	for i, name := range g.names {
		rows := r.presence(total)
		n := total
		if rows != nil {
			n = len(rows)
		}
		r.cutRows(g, rows, starts, i)
		if r.err != nil {
			return
		}
		s := r.values(n, oneOrMore(starts))
		if r.err != nil {
			return
		}
		for at, d := range g.devices {
			d.Readings.Columns[i].take(name, s, starts, at)
		}
	}
}

// oneOrMore is nil for a single device, which is written without starts.
func oneOrMore(starts []int) []int {
	if len(starts) < 2 {
		return nil
	}
	return starts
}

// cutRows gives each device its rows of the i-th column, counted from its own
// first, and fills in where its values begin.
func (r *reader) cutRows(g *members, rows []int32, starts []int, i int) {
	base, at := 0, 0
	for k, d := range g.devices {
		n := d.Readings.Len()
		starts[k] = at
		base += n
		if rows == nil {
			at += n
			continue
		}
		for at < len(rows) && int(rows[at]) < base {
			rows[at] -= int32(base - n)
			at++
		}
		own := rows[starts[k]:at:at]
		if len(own) == 0 {
			r.fail("device %q has no value of %q", d.ID, g.names[i])
			return
		}
		if len(own) < n {
			d.Readings.Columns[i].Rows = own
		}
	}
}

// take takes the values of the at-th device.
func (c *Column) take(name string, s series, starts []int, at int) {
	from, to := starts[at], len(s.bits)
	if at+1 < len(starts) {
		to = starts[at+1]
	}
	c.Name = name
	c.Bits = s.bits[from:to:to]
	if s.kinds != nil {
		c.Kinds = plainKinds(s.kinds[from:to:to])
	}
	if s.texts != nil && c.Kinds != nil {
		c.Texts = plainTexts(c.Kinds, s.texts[from:to:to])
	}
}
