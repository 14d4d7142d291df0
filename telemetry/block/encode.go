package block

import (
	"encoding/binary"
	"fmt"
	"slices"

	"sluice/telemetry"
)

// MinLimit is the least limit that Encode takes, in bytes.
const MinLimit = 64 << 10

// Encode encodes devices, ascending by ID, as blocks of at most limit bytes
// each, which decode to at most MaxDecoded. What does not fit into one block is
// cut: between devices, then between rows of a device, a single row between its
// metrics (merging the blocks puts it together again). No device is in a block
// twice. It may be used concurrently. An error says that the input breaks the
// rules of Device or Frame, or that a single value does not fit.
func Encode(devices []Device, limit int) ([][]byte, error) {
	if limit < MinLimit {
		return nil, fmt.Errorf("block limit of %d bytes is below %d", limit, MinLimit)
	}
	if err := validate(devices); err != nil {
		return nil, err
	}
	w := newWriter()
	defer w.free()
	return w.blocks(nil, devices, limit)
}

func (w *writer) blocks(dst [][]byte, devices []Device, limit int) ([][]byte, error) {
	if len(devices) == 0 {
		return dst, nil
	}
	size := 0
	for i := range devices {
		size += devices[i].Size()
	}
	parts := size/MaxDecoded + 1
	if parts == 1 {
		data := w.block(devices)
		if len(data) <= limit {
			return append(dst, data), nil
		}
		// An eighth more, so that parts of unlike content fit at once too.
		parts = (len(data)+len(data)/8)/limit + 1
	}
	cut := split(devices, size/max(parts, 2))
	if len(cut) == 1 {
		return nil, fmt.Errorf("one value of device %q does not fit in a block of %d bytes", devices[0].ID, limit)
	}
	var err error
	for _, part := range cut {
		if dst, err = w.blocks(dst, part, limit); err != nil {
			return nil, err
		}
	}
	return dst, nil
}

// group is devices with the same metrics.
type group struct {
	columns []Column // of the first device, for the names
	devices []*Device
}

// grouped returns the groups in the order in which they come, and that of each
// device.
func grouped(devices []Device) ([]*group, []int64) {
	var groups []*group
	of := make([]int64, len(devices))
	byNames := map[string]int64{}
	var key []byte
	for i := range devices {
		columns := devices[i].Readings.Columns
		if i > 0 && sameNames(columns, devices[i-1].Readings.Columns) {
			of[i] = of[i-1]
		} else {
			key = appendNames(key[:0], columns)
			at, ok := byNames[string(key)]
			if !ok {
				at = int64(len(groups))
				byNames[string(key)] = at
				groups = append(groups, &group{columns: columns})
			}
			of[i] = at
		}
		g := groups[of[i]]
		g.devices = append(g.devices, &devices[i])
	}
	return groups, of
}

func sameNames(a, b []Column) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].Name != b[i].Name {
			return false
		}
	}
	return true
}

func appendNames(key []byte, columns []Column) []byte {
	for i := range columns {
		key = binary.AppendUvarint(key, uint64(len(columns[i].Name)))
		key = append(key, columns[i].Name...)
	}
	return key
}

// block encodes devices as one block.
func (w *writer) block(devices []Device) []byte {
	w.num, w.txt = w.num[:0], w.txt[:0]
	groups, of := grouped(devices)
	w.count(len(devices))
	ids := make([]string, len(devices))
	for i := range devices {
		ids[i] = devices[i].ID
	}
	w.sorted(ids)
	w.cuts(devices)
	w.tags(devices)
	w.schemas(groups)
	w.ints(of, nil)
	for _, g := range groups {
		w.group(g)
	}
	return w.sealed(blockMark)
}

func (w *writer) cuts(devices []Device) {
	w.values = grown(w.values, len(devices))
	for i := range devices {
		w.values[i] = int64(devices[i].Cut)
	}
	w.ints(w.values, nil)
}

// tags writes how many each device has, then all of them as columns.
func (w *writer) tags(devices []Device) {
	w.values = grown(w.values, len(devices))
	var all []TagChange
	for i := range devices {
		w.values[i] = int64(len(devices[i].Tags))
		all = append(all, devices[i].Tags...)
	}
	w.ints(w.values, nil)
	if len(all) == 0 {
		return
	}
	keys, values := make([]string, len(all)), make([]string, len(all))
	removed, times, stamps := make([]int64, len(all)), make([]int64, len(all)), make([]telemetry.Stamp, len(all))
	for i, t := range all {
		keys[i], values[i], times[i], stamps[i] = t.Key, t.Value, t.Time, t.Stamp
		if t.Removed {
			removed[i] = 1
		}
	}
	w.texts(keys, nil)
	w.texts(values, nil)
	w.ints(removed, nil)
	w.times(times, nil)
	w.stamps(stamps, times, nil)
}

// schemas writes all names of metrics, sorted, and of each group which of them
// it has.
func (w *writer) schemas(groups []*group) {
	var names []string
	for _, g := range groups {
		for i := range g.columns {
			names = append(names, g.columns[i].Name)
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	w.count(len(names))
	w.sorted(names)
	w.count(len(groups))
	for _, g := range groups {
		w.values = grown(w.values, len(g.columns))
		for i := range g.columns {
			at, _ := slices.BinarySearch(names, g.columns[i].Name)
			w.values[i] = int64(at)
		}
		w.count(len(g.columns))
		w.ints(w.values, nil)
	}
}

// group writes the rows of its devices after each other: how many each has,
// times, stamps, and column by column which rows have a value, and the values.
func (w *writer) group(g *group) {
	w.rows = w.rows[:0]
	total := 0
	for _, d := range g.devices {
		w.rows = append(w.rows, int64(d.Readings.Len()))
		total += d.Readings.Len()
	}
	w.ints(w.rows, nil)
	if len(g.devices) == 1 {
		w.single(&g.devices[0].Readings)
		return
	}
	w.rowIndex(g, total)
	for i := range g.columns {
		w.joined(g, i, total)
	}
}

// single writes the rows of the only device of a group.
func (w *writer) single(f *Frame) {
	w.times(f.Times, nil)
	w.stamps(f.Stamps, f.Times, nil)
	for i := range f.Columns {
		c := &f.Columns[i]
		w.run.reset()
		w.run.addColumn(c, 0, f.Len())
		w.presence(&w.run, f.Len())
		w.series(series{c.Bits, c.Kinds, c.Texts}, nil)
	}
}

// rowIndex writes times and stamps of a group.
func (w *writer) rowIndex(g *group, total int) {
	times, stamps := make([]int64, 0, total), make([]telemetry.Stamp, 0, total)
	w.starts = w.starts[:0]
	for _, d := range g.devices {
		if d.Readings.Len() > 0 {
			w.starts = append(w.starts, len(times))
		}
		times = append(times, d.Readings.Times...)
		stamps = append(stamps, d.Readings.Stamps...)
	}
	w.times(times, w.starts)
	w.stamps(stamps, times, w.starts)
}

// joined writes the i-th column of a group.
func (w *writer) joined(g *group, i, total int) {
	s := &w.all
	s.bits, s.kinds, s.texts = s.bits[:0], s.kinds[:0], s.texts[:0]
	w.starts = w.starts[:0]
	w.run.reset()
	base := 0
	plain, words := true, false
	for _, d := range g.devices {
		c := &d.Readings.Columns[i]
		w.starts = append(w.starts, len(s.bits))
		w.run.addColumn(c, base, d.Readings.Len())
		base += d.Readings.Len()
		s.bits = append(s.bits, c.Bits...)
		plain = plain && c.Kinds == nil
		words = words || c.Texts != nil
	}
	v := series{bits: s.bits}
	if !plain {
		for _, d := range g.devices {
			s.kinds = appendKinds(s.kinds, &d.Readings.Columns[i])
		}
		v.kinds = s.kinds
	}
	if words {
		for _, d := range g.devices {
			s.texts = appendTexts(s.texts, &d.Readings.Columns[i])
		}
		v.texts = s.texts
		defer clear(s.texts)
	}
	w.presence(&w.run, total)
	w.series(v, w.starts)
}
