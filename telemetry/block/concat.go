package block

import (
	"slices"

	"sluice/telemetry"
)

// concat joins frames each of which begins after the former ends.
func concat(frames []Frame) Frame {
	if len(frames) == 1 {
		return frames[0]
	}
	n := 0
	for i := range frames {
		n += frames[i].Len()
	}
	f := Frame{Times: make([]int64, 0, n), Stamps: make([]telemetry.Stamp, 0, n)}
	for i := range frames {
		f.Times = append(f.Times, frames[i].Times...)
		f.Stamps = append(f.Stamps, frames[i].Stamps...)
	}
	names := namesOf(frames)
	f.Columns = make([]Column, len(names))
	next := make([]int, len(frames)) // of each frame, the first column that is not joined yet
	for i, name := range names {
		f.Columns[i] = joinColumn(name, frames, next, n)
	}
	return f
}

// namesOf returns the names of all columns, ascending.
func namesOf(frames []Frame) []string {
	var names []string
	for i := range frames {
		columns := frames[i].Columns
		if i > 0 && sameNames(columns, frames[i-1].Columns) {
			continue
		}
		for k := range columns {
			names = append(names, columns[k].Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// joinColumn joins the columns of one name, and moves on in next. n is the
// number of rows of the whole.
func joinColumn(name string, frames []Frame, next []int, n int) Column {
	size, kinds, texts := 0, false, false
	for i := range frames {
		if c := columnAt(&frames[i], next[i], name); c != nil {
			size += c.Len()
			kinds, texts = kinds || c.Kinds != nil, texts || c.Texts != nil
		}
	}
	whole := Column{Name: name, Bits: make([]uint64, 0, size)}
	if size < n {
		whole.Rows = make([]int32, 0, size)
	}
	if kinds {
		whole.Kinds = make([]telemetry.Kind, 0, size)
	}
	if texts {
		whole.Texts = make([]string, 0, size)
	}
	base := 0
	for i := range frames {
		f := &frames[i]
		if c := columnAt(f, next[i], name); c != nil {
			whole.join(c, base, f.Len())
			next[i]++
		}
		base += f.Len()
	}
	return whole
}

// columnAt is the i-th column if it has that name.
func columnAt(f *Frame, i int, name string) *Column {
	if i < len(f.Columns) && f.Columns[i].Name == name {
		return &f.Columns[i]
	}
	return nil
}

// join appends the values of a frame's column, whose n rows begin at base.
func (c *Column) join(part *Column, base, n int) {
	c.Bits = append(c.Bits, part.Bits...)
	if c.Rows != nil {
		c.joinRows(part, base, n)
	}
	if c.Kinds != nil {
		c.Kinds = appendKinds(c.Kinds, part)
	}
	if c.Texts != nil {
		c.Texts = appendTexts(c.Texts, part)
	}
}

func (c *Column) joinRows(part *Column, base, n int) {
	if part.Rows == nil {
		for row := range n {
			c.Rows = append(c.Rows, int32(base+row))
		}
		return
	}
	for _, row := range part.Rows {
		c.Rows = append(c.Rows, int32(base)+row)
	}
}

func appendKinds(kinds []telemetry.Kind, c *Column) []telemetry.Kind {
	if c.Kinds != nil {
		return append(kinds, c.Kinds...)
	}
	for range c.Bits {
		kinds = append(kinds, telemetry.Number)
	}
	return kinds
}

func appendTexts(texts []string, c *Column) []string {
	if c.Texts != nil {
		return append(texts, c.Texts...)
	}
	for range c.Bits {
		texts = append(texts, "")
	}
	return texts
}
