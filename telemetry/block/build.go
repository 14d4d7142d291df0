package block

import (
	"cmp"
	"slices"
	"strings"

	"sluice/telemetry"
)

// Compare orders changes of tags by key, time and stamp. Between equal ones it
// decides which wins: a removal is less than any value.
func (t TagChange) Compare(o TagChange) int {
	if c := strings.Compare(t.Key, o.Key); c != 0 {
		return c
	}
	if c := cmp.Compare(t.Time, o.Time); c != 0 {
		return c
	}
	if c := cmp.Compare(t.Stamp, o.Stamp); c != 0 {
		return c
	}
	if t.Removed != o.Removed {
		return order(t.Removed)
	}
	return strings.Compare(t.Value, o.Value)
}

// FromReadings groups readings, in any order, by device, ascending by ID. The
// frames need not be resolved: the same time under another stamp is another
// row. The same time and stamp twice is one row, of two values the greater as
// telemetry.Compare says. A reading without metrics makes no row. Strings are
// shared with the readings, slices are not.
func FromReadings(readings []telemetry.Reading) []Device {
	if len(readings) == 0 {
		return nil
	}
	b := newBuilder(readings)
	devices := make([]Device, 0, len(b.ends))
	from := int32(0)
	for _, to := range b.ends {
		devices = append(devices, b.device(b.sorted[from:to]))
		from = to
	}
	return devices
}

// builder makes frames out of readings. Metrics are numbered once for the whole
// call, so that a value needs a look-up only where the names of a reading
// differ from the former's.
type builder struct {
	readings []telemetry.Reading
	sorted   []int32 // readings in order of device, time, stamp
	ends     []int32 // of each device in sorted

	names   []string         // of metrics, by number
	numbers map[string]int32 // of metrics, by name
	usual   []int32          // numbers of the former reading's metrics

	at     []int32 // metric number of each value of the device at hand, in order of readings
	tally  []tally // of each metric, for the device at hand
	used   []int32 // metrics of the device at hand, in the order in which they come
	former []int32 // those of the former device
	layout []int32 // used, in order of names
	rows   int     // of the device at hand
	twice  bool    // some of its readings have the same time and stamp

	// Slabs that frames are cut from.
	times   []int64
	stamps  []telemetry.Stamp
	bits    []uint64
	rowsOf  []int32
	kinds   []telemetry.Kind
	texts   []string
	columns []Column
	chunk   int // size of slabs that may not be needed
}

// tally counts the values of a metric in a device.
type tally struct {
	values int
	kinds  bool // some are not numbers
	texts  bool // some are strings
	column int  // place among the columns
}

func newBuilder(readings []telemetry.Reading) *builder {
	b := &builder{readings: readings, numbers: map[string]int32{}}
	b.sort()
	values := 0
	for i := range readings {
		values += len(readings[i].Metrics)
	}
	b.times, b.stamps = make([]int64, len(readings)), make([]telemetry.Stamp, len(readings))
	b.bits = make([]uint64, values)
	b.chunk = min(values, maxChunk)
	return b
}

// sort fills sorted and ends: devices by counting, the readings of a device
// where they do not ascend already.
func (b *builder) sort() {
	of := make([]int32, len(b.readings)) // device of each reading
	var ids []string
	var counts []int32
	numbers := make(map[string]int32, 64)
	for i := range b.readings {
		id := b.readings[i].Device
		if i > 0 && id == b.readings[i-1].Device {
			of[i] = of[i-1]
		} else if n, ok := numbers[id]; ok {
			of[i] = n
		} else {
			n = int32(len(ids))
			numbers[id], of[i] = n, n
			ids, counts = append(ids, id), append(counts, 0)
		}
		counts[of[i]]++
	}
	byID := make([]int32, len(ids))
	for i := range byID {
		byID[i] = int32(i)
	}
	compare := func(x, y int32) int { return strings.Compare(ids[x], ids[y]) }
	if !slices.IsSortedFunc(byID, compare) {
		slices.SortFunc(byID, compare)
	}
	b.ends = make([]int32, len(ids))
	next := make([]int32, len(ids)) // where the next reading of each device goes
	end := int32(0)
	for i, n := range byID {
		next[n] = end
		end += counts[n]
		b.ends[i] = end
	}
	b.sorted = make([]int32, len(b.readings))
	for i, n := range of {
		b.sorted[next[n]] = int32(i)
		next[n]++
	}
	from := int32(0)
	for _, to := range b.ends {
		b.sortDevice(b.sorted[from:to])
		from = to
	}
}

func (b *builder) sortDevice(rows []int32) {
	compare := func(x, y int32) int {
		p, q := &b.readings[x], &b.readings[y]
		if c := cmp.Compare(p.Time, q.Time); c != 0 {
			return c
		}
		return cmp.Compare(p.Stamp, q.Stamp)
	}
	if !slices.IsSortedFunc(rows, compare) {
		slices.SortFunc(rows, compare)
	}
}

// device makes a device of its readings, in order.
func (b *builder) device(rows []int32) Device {
	d := Device{ID: b.readings[rows[0]].Device}
	b.count(rows)
	if len(b.used) > 0 {
		d.Readings = b.frame(rows)
	}
	for _, i := range rows {
		r := &b.readings[i]
		for _, t := range r.Tags {
			d.Tags = append(d.Tags, TagChange{Tag: t, Time: r.Time, Stamp: r.Stamp})
		}
	}
	if len(d.Tags) > 1 {
		d.Tags = sortTags(d.Tags)
	}
	return d
}

// sortTags sorts, and keeps the greatest of those with the same key, time and
// stamp.
func sortTags(tags []TagChange) []TagChange {
	slices.SortFunc(tags, TagChange.Compare)
	kept := tags[:1]
	for _, t := range tags[1:] {
		if last := &kept[len(kept)-1]; t.Key == last.Key && t.Time == last.Time && t.Stamp == last.Stamp {
			*last = t
			continue
		}
		kept = append(kept, t)
	}
	return kept
}

// count numbers the metrics of a device's values, counts rows and values, and
// lays out the columns.
func (b *builder) count(rows []int32) {
	b.at, b.rows, b.twice = b.at[:0], 0, false
	b.used, b.former = b.former[:0], b.used
	var last *telemetry.Reading
	for _, i := range rows {
		r := &b.readings[i]
		if !b.countValues(r.Metrics) {
			continue
		}
		if last != nil && sameRow(last, r) {
			b.twice = true
		} else {
			b.rows++
		}
		last = r
	}
	if len(b.layout) != len(b.used) || !slices.Equal(b.used, b.former) {
		b.layout = append(b.layout[:0], b.used...)
		slices.SortFunc(b.layout, func(x, y int32) int { return strings.Compare(b.names[x], b.names[y]) })
	}
}

func sameRow(a, b *telemetry.Reading) bool { return a.Time == b.Time && a.Stamp == b.Stamp }

// countValues says whether there is any.
func (b *builder) countValues(metrics []telemetry.Metric) bool {
	some := false
	for k := range metrics {
		n := b.number(k, metrics[k].Name)
		b.at = append(b.at, n)
		kind := metrics[k].Value.Kind
		if kind == telemetry.None {
			continue
		}
		some = true
		t := &b.tally[n]
		if t.values == 0 {
			b.used = append(b.used, n)
		}
		t.values++
		t.kinds = t.kinds || kind != telemetry.Number
		t.texts = t.texts || kind == telemetry.String
	}
	return some
}

// number returns that of a metric, which is the k-th of its reading: mostly the
// former reading's k-th.
func (b *builder) number(k int, name string) int32 {
	if k < len(b.usual) && b.names[b.usual[k]] == name {
		return b.usual[k]
	}
	n, ok := b.numbers[name]
	if !ok {
		n = int32(len(b.names))
		b.numbers[name] = n
		b.names, b.tally = append(b.names, name), append(b.tally, tally{})
	}
	b.usual = append(b.usual[:min(k, len(b.usual))], n)
	return n
}

// frame makes the frame of the device that was counted.
func (b *builder) frame(rows []int32) Frame {
	f := Frame{
		Times:   take(&b.times, b.rows, 0)[:0],
		Stamps:  take(&b.stamps, b.rows, 0)[:0],
		Columns: take(&b.columns, len(b.layout), min(64, len(b.ends))*len(b.layout)),
	}
	for i, n := range b.layout {
		t := &b.tally[n]
		t.column = i
		f.Columns[i] = b.column(n, t)
	}
	b.fill(&f, rows)
	for i, n := range b.layout {
		b.tally[n] = tally{}
		if b.twice {
			f.Columns[i] = (&columnBuilder{f.Columns[i]}).column(b.rows)
		}
	}
	return f
}

// column has room for the values of a metric.
func (b *builder) column(n int32, t *tally) Column {
	c := Column{Name: b.names[n], Bits: take(&b.bits, t.values, 0)[:0]}
	if b.twice || t.values < b.rows {
		c.Rows = take(&b.rowsOf, t.values, b.chunk)[:0]
	}
	if t.kinds {
		c.Kinds = take(&b.kinds, t.values, b.chunk)[:0]
	}
	if t.texts {
		c.Texts = take(&b.texts, t.values, b.chunk)[:0]
	}
	return c
}

const maxChunk = 1024

// take cuts n elements off a slab; a used up one is replaced by one of at least
// size.
func take[T any](slab *[]T, n, size int) []T {
	if len(*slab) < n {
		*slab = make([]T, max(n, size))
	}
	part := (*slab)[:n:n]
	*slab = (*slab)[n:]
	return part
}

func (b *builder) fill(f *Frame, rows []int32) {
	at := b.at
	for _, i := range rows {
		r := &b.readings[i]
		own := at[:len(r.Metrics)]
		at = at[len(r.Metrics):]
		if !hasValue(r.Metrics) {
			continue
		}
		if n := len(f.Times); n == 0 || f.Times[n-1] != r.Time || f.Stamps[n-1] != r.Stamp {
			f.Times, f.Stamps = append(f.Times, r.Time), append(f.Stamps, r.Stamp)
		}
		row := int32(len(f.Times) - 1)
		for k := range r.Metrics {
			if v := &r.Metrics[k].Value; v.Kind != telemetry.None {
				f.Columns[b.tally[own[k]].column].put(row, v)
			}
		}
	}
}

func hasValue(metrics []telemetry.Metric) bool {
	for k := range metrics {
		if metrics[k].Value.Kind != telemetry.None {
			return true
		}
	}
	return false
}

// put appends a value, or unifies it with the one that the row has already.
func (c *Column) put(row int32, v *telemetry.Value) {
	if c.Rows != nil {
		if n := len(c.Rows); n > 0 && c.Rows[n-1] == row {
			c.unify(n-1, v)
			return
		}
		c.Rows = append(c.Rows, row)
	}
	c.Bits = append(c.Bits, v.Bits)
	if c.Kinds != nil {
		c.Kinds = append(c.Kinds, v.Kind)
	}
	if c.Texts != nil {
		c.Texts = append(c.Texts, v.Text)
	}
}

// unify leaves the greater of the i-th value and v.
func (c *Column) unify(i int, v *telemetry.Value) {
	if telemetry.Compare(c.Value(i), *v) >= 0 {
		return
	}
	c.Bits[i] = v.Bits
	if c.Kinds != nil {
		c.Kinds[i] = v.Kind
	}
	if c.Texts != nil {
		c.Texts[i] = v.Text
	}
}
