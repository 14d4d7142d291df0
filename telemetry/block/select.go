package block

import (
	"slices"
	"sort"

	"sluice/telemetry"
)

// Above returns the rows with stamps above stamp.
func (f *Frame) Above(stamp telemetry.Stamp) Frame {
	return f.Where(func(s telemetry.Stamp) bool { return s > stamp })
}

// Where returns the rows whose stamps a function keeps.
func (f *Frame) Where(keep func(telemetry.Stamp) bool) Frame {
	rows := newRowSet(f.Len())
	for i, s := range f.Stamps {
		if keep(s) {
			rows.add(i)
		}
	}
	return f.pick(rows)
}

// Slice returns the rows from…to-1.
func (f *Frame) Slice(from, to int) Frame {
	if from == 0 && to == f.Len() {
		return *f
	}
	if from >= to {
		return Frame{}
	}
	part := Frame{Times: f.Times[from:to:to], Stamps: f.Stamps[from:to:to]}
	for i := range f.Columns {
		if c := f.Columns[i].slice(from, to); c.Len() > 0 {
			part.Columns = append(part.Columns, c)
		}
	}
	return part
}

// slice returns the values of the rows from…to-1.
func (c *Column) slice(from, to int) Column {
	if c.Rows == nil {
		return c.cut(from, to)
	}
	lo, _ := slices.BinarySearch(c.Rows, int32(from))
	hi, _ := slices.BinarySearch(c.Rows, int32(to))
	part := c.cut(lo, hi)
	if hi-lo == to-from || lo == hi {
		return part
	}
	part.Rows = c.Rows[lo:hi:hi]
	if from > 0 {
		part.Rows = make([]int32, hi-lo)
		for i, row := range c.Rows[lo:hi] {
			part.Rows[i] = row - int32(from)
		}
	}
	return part
}

// Between returns the rows with times in [from, to).
func (f *Frame) Between(from, to int64) Frame {
	lo, _ := slices.BinarySearch(f.Times, from)
	hi, _ := slices.BinarySearch(f.Times, to)
	return f.Slice(lo, hi)
}

// Only returns the columns of these metrics (in any order) and the rows that
// have a value in one of them.
func (f *Frame) Only(metrics []string) Frame {
	part := Frame{Times: f.Times, Stamps: f.Stamps}
	if len(metrics) > 8 {
		metrics = slices.Sorted(slices.Values(metrics))
	}
	for _, c := range f.Columns {
		if contains(metrics, c.Name) {
			part.Columns = append(part.Columns, c)
		}
	}
	return part.withValues()
}

// contains searches names, which are sorted if they are many.
func contains(names []string, name string) bool {
	if len(names) <= 8 {
		return slices.Contains(names, name)
	}
	_, ok := slices.BinarySearch(names, name)
	return ok
}

// Readings is the number of different times.
func (f *Frame) Readings() int {
	n := 0
	for i, t := range f.Times {
		if i == 0 || t != f.Times[i-1] {
			n++
		}
	}
	return n
}

// SplitMetrics cuts the frame between two columns so that both parts are about
// the same size; rows that are left without a value are dropped. The frame must
// have at least two columns.
func (f *Frame) SplitMetrics() (Frame, Frame) {
	sizes := make([]int, len(f.Columns)+1)
	for i := range f.Columns {
		sizes[i+1] = sizes[i] + f.Columns[i].size()
	}
	half := sizes[len(f.Columns)] / 2
	at := sort.Search(len(f.Columns), func(i int) bool { return sizes[i] > half }) - 1
	at = min(max(at, 1), len(f.Columns)-1)
	a, b := *f, *f
	a.Columns, b.Columns = f.Columns[:at:at], f.Columns[at:]
	return a.withValues(), b.withValues()
}
