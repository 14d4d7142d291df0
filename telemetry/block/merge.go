package block

import (
	"cmp"
	"slices"
	"strings"

	"sluice/telemetry"
)

// Merge returns the resolved union: for each time and metric the value with the
// highest stamp, of equal stamps the greater as telemetry.Compare says. It is
// commutative, associative and idempotent. Neither frame need be resolved.
func Merge(a, b Frame) Frame {
	a, b = Resolve(a), Resolve(b)
	switch {
	case a.Len() == 0:
		return b
	case b.Len() == 0:
		return a
	case before(&a, &b):
		return concat([]Frame{a, b})
	case before(&b, &a):
		return concat([]Frame{b, a})
	default:
		return interleave(&a, &b)
	}
}

// before says whether all times of a are before all of b.
func before(a, b *Frame) bool { return a.Times[a.Len()-1] < b.Times[0] }

// Resolve returns the frame with one value for each time and metric, and no row
// without any.
func Resolve(f Frame) Frame {
	for i := 1; i < f.Len(); i++ {
		if f.Times[i] == f.Times[i-1] {
			return f.resolve()
		}
	}
	return f.withValues()
}

// resolve is Resolve for a frame with several rows of one time.
func (f *Frame) resolve() Frame {
	m := merger{times: f.Times, stamps: f.Stamps}
	rows := make([]int32, f.Len())
	for i := range rows {
		rows[i] = int32(i)
	}
	for i := range f.Columns {
		m.add(&f.Columns[i], &Column{}, rows, nil)
	}
	return m.frame()
}

// interleave merges two resolved frames row by row.
func interleave(a, b *Frame) Frame {
	var m merger
	rowsA, rowsB := m.rows(a, b)
	eachName(a.Columns, b.Columns, func(ca, cb *Column) { m.add(ca, cb, rowsA, rowsB) })
	return m.frame()
}

// eachName calls add with the columns of each name; one may be empty.
func eachName(a, b []Column, add func(a, b *Column)) {
	for len(a) > 0 || len(b) > 0 {
		order := 0
		switch {
		case len(a) == 0:
			order = 1
		case len(b) == 0:
			order = -1
		default:
			order = strings.Compare(a[0].Name, b[0].Name)
		}
		ca, cb := &Column{}, &Column{}
		if order <= 0 {
			ca, a = &a[0], a[1:]
		}
		if order >= 0 {
			cb, b = &b[0], b[1:]
		}
		add(ca, cb)
	}
}

// merger is a frame under construction: rows first, then columns.
type merger struct {
	times   []int64
	stamps  []telemetry.Stamp
	columns []columnBuilder
}

// rows merges the rows of two frames, and returns where those of each are now.
func (m *merger) rows(a, b *Frame) (rowsA, rowsB []int32) {
	n := a.Len() + b.Len()
	m.times, m.stamps = make([]int64, 0, n), make([]telemetry.Stamp, 0, n)
	rows := make([]int32, n)
	rowsA, rowsB = rows[:a.Len()], rows[a.Len():]
	i, j := 0, 0
	for i < a.Len() || j < b.Len() {
		order := compareRows(a, i, b, j)
		row := int32(len(m.times))
		if order <= 0 {
			m.times, m.stamps = append(m.times, a.Times[i]), append(m.stamps, a.Stamps[i])
			rowsA[i] = row
			i++
		} else {
			m.times, m.stamps = append(m.times, b.Times[j]), append(m.stamps, b.Stamps[j])
		}
		if order >= 0 {
			rowsB[j] = row
			j++
		}
	}
	return rowsA, rowsB
}

// compareRows orders two rows by time and stamp; the end is after all.
func compareRows(a *Frame, i int, b *Frame, j int) int {
	switch {
	case i == a.Len():
		return 1
	case j == b.Len():
		return -1
	case a.Times[i] != b.Times[j]:
		return order(a.Times[i] < b.Times[j])
	case a.Stamps[i] != b.Stamps[j]:
		return order(a.Stamps[i] < b.Stamps[j])
	default:
		return 0
	}
}

func order(less bool) int {
	if less {
		return -1
	}
	return 1
}

// add merges the values of two columns of one name, whose rows are now at rowsA
// and rowsB.
func (m *merger) add(a, b *Column, rowsA, rowsB []int32) {
	name := a.Name
	if a.Len() == 0 {
		name = b.Name
	}
	c := newColumnBuilder(name, a.Len()+b.Len(), a.Kinds != nil || b.Kinds != nil, a.Texts != nil || b.Texts != nil)
	i, j := 0, 0
	for i < a.Len() || j < b.Len() {
		fromA := j == b.Len()
		if i < a.Len() && j < b.Len() {
			ra, rb := rowsA[a.Row(i)], rowsB[b.Row(j)]
			if ra == rb {
				if telemetry.Compare(a.Value(i), b.Value(j)) < 0 {
					i++
				} else {
					j++
				}
				continue
			}
			fromA = ra < rb
		}
		if fromA {
			m.push(&c, rowsA[a.Row(i)], a, i)
			i++
		} else {
			m.push(&c, rowsB[b.Row(j)], b, j)
			j++
		}
	}
	m.columns = append(m.columns, c)
}

// push appends a value; a former one of the same time has a lower stamp and
// goes.
func (m *merger) push(c *columnBuilder, row int32, from *Column, i int) {
	if n := len(c.c.Rows); n > 0 && m.times[c.c.Rows[n-1]] == m.times[row] {
		c.drop()
	}
	c.push(row, from, i)
}

// frame returns the result, without the rows whose values all lost.
func (m *merger) frame() Frame {
	f := Frame{Times: m.times, Stamps: m.stamps, Columns: make([]Column, len(m.columns))}
	for i := range m.columns {
		f.Columns[i] = m.columns[i].column(len(m.times))
	}
	return f.withValues()
}

// MergeAll merges any number of frames.
func MergeAll(frames []Frame) Frame {
	rest := make([]Frame, 0, len(frames))
	for _, f := range frames {
		if f = Resolve(f); f.Len() > 0 {
			rest = append(rest, f)
		}
	}
	rest = chained(rest)
	for len(rest) > 1 {
		half := rest[:0]
		for i := 0; i < len(rest); i += 2 {
			if i+1 == len(rest) {
				half = append(half, rest[i])
			} else {
				half = append(half, Merge(rest[i], rest[i+1]))
			}
		}
		rest = half
	}
	if len(rest) == 0 {
		return Frame{}
	}
	return rest[0]
}

// chains is how many chains are looked at for one that a frame continues.
const chains = 4

// chained puts frames together that follow one another, so that many small ones
// cost one copy.
func chained(frames []Frame) []Frame {
	if len(frames) < 2 {
		return frames
	}
	byStart := func(a, b Frame) int { return cmp.Compare(a.Times[0], b.Times[0]) }
	if !slices.IsSortedFunc(frames, byStart) {
		slices.SortFunc(frames, byStart)
	}
	var links [][]Frame
	for _, f := range frames {
		links = link(links, f)
	}
	whole := make([]Frame, len(links))
	for i, l := range links {
		whole[i] = concat(l)
	}
	return whole
}

// link appends f to one of the last chains that ends before it, else begins
// one.
func link(links [][]Frame, f Frame) [][]Frame {
	for i := len(links) - 1; i >= max(0, len(links)-chains); i-- {
		if l := links[i]; before(&l[len(l)-1], &f) {
			links[i] = append(l, f)
			return links
		}
	}
	return append(links, []Frame{f})
}
