package block

import (
	"errors"
	"fmt"
	"math/bits"
	"slices"

	"sluice/telemetry"
)

// plainKinds is kinds, nil if all are Number.
func plainKinds(kinds []telemetry.Kind) []telemetry.Kind {
	for _, k := range kinds {
		if k != telemetry.Number {
			return kinds
		}
	}
	return nil
}

// plainTexts is texts, nil if no value is a string.
func plainTexts(kinds []telemetry.Kind, texts []string) []string {
	if slices.Contains(kinds, telemetry.String) {
		return texts
	}
	return nil
}

// cut returns the values from…to-1, in normal form but for Rows.
func (c *Column) cut(from, to int) Column {
	part := Column{Name: c.Name, Bits: c.Bits[from:to:to]}
	if c.Kinds != nil {
		part.Kinds = plainKinds(c.Kinds[from:to:to])
	}
	if c.Texts != nil {
		part.Texts = plainTexts(part.Kinds, c.Texts[from:to:to])
	}
	return part
}

// rowSet is a set of rows.
type rowSet []uint64

func newRowSet(n int) rowSet { return make(rowSet, (n+63)/64) }

func (s rowSet) add(row int)      { s[row>>6] |= 1 << (row & 63) }
func (s rowSet) has(row int) bool { return s[row>>6]>>(row&63)&1 != 0 }

func (s rowSet) len() int {
	n := 0
	for _, word := range s {
		n += bits.OnesCount64(word)
	}
	return n
}

// used returns the rows that have a value; nil if all have.
func (f *Frame) used() rowSet {
	for i := range f.Columns {
		if f.Columns[i].Rows == nil {
			return nil
		}
	}
	used := newRowSet(f.Len())
	for i := range f.Columns {
		for _, row := range f.Columns[i].Rows {
			used.add(int(row))
		}
	}
	if used.len() == f.Len() {
		return nil
	}
	return used
}

// withValues returns the frame without the rows that have no value.
func (f *Frame) withValues() Frame {
	if f.Len() == 0 {
		return Frame{}
	}
	if used := f.used(); used != nil {
		return f.pick(used)
	}
	return *f
}

// pick returns the rows of a set.
func (f *Frame) pick(rows rowSet) Frame {
	n := rows.len()
	switch n {
	case 0:
		return Frame{}
	case f.Len():
		return *f
	}
	picked := Frame{Times: make([]int64, 0, n), Stamps: make([]telemetry.Stamp, 0, n)}
	moved := make([]int32, f.Len())
	for row := range f.Times {
		if rows.has(row) {
			moved[row] = int32(len(picked.Times))
			picked.Times = append(picked.Times, f.Times[row])
			picked.Stamps = append(picked.Stamps, f.Stamps[row])
		}
	}
	for i := range f.Columns {
		if c := f.Columns[i].pick(rows, moved, n); c.Len() > 0 {
			picked.Columns = append(picked.Columns, c)
		}
	}
	return picked
}

// pick returns the values of the rows of a set, at the places where those moved
// in a frame of n rows.
func (c *Column) pick(rows rowSet, moved []int32, n int) Column {
	b := newColumnBuilder(c.Name, min(n, c.Len()), c.Kinds != nil, c.Texts != nil)
	for i := range c.Bits {
		if row := c.Row(i); rows.has(row) {
			b.push(moved[row], c, i)
		}
	}
	return b.column(n)
}

// columnBuilder appends values in ascending order of rows.
type columnBuilder struct{ c Column }

func newColumnBuilder(name string, size int, kinds, texts bool) columnBuilder {
	c := Column{Name: name, Rows: make([]int32, 0, size), Bits: make([]uint64, 0, size)}
	if kinds {
		c.Kinds = make([]telemetry.Kind, 0, size)
	}
	if texts {
		c.Texts = make([]string, 0, size)
	}
	return columnBuilder{c}
}

// push appends the i-th value of from.
func (b *columnBuilder) push(row int32, from *Column, i int) {
	c := &b.c
	c.Rows = append(c.Rows, row)
	c.Bits = append(c.Bits, from.Bits[i])
	if c.Kinds != nil {
		kind := telemetry.Number
		if from.Kinds != nil {
			kind = from.Kinds[i]
		}
		c.Kinds = append(c.Kinds, kind)
	}
	if c.Texts != nil {
		text := ""
		if from.Texts != nil {
			text = from.Texts[i]
		}
		c.Texts = append(c.Texts, text)
	}
}

// drop takes the last value back.
func (b *columnBuilder) drop() {
	c := &b.c
	n := len(c.Rows) - 1
	c.Rows, c.Bits = c.Rows[:n], c.Bits[:n]
	if c.Kinds != nil {
		c.Kinds = c.Kinds[:n]
	}
	if c.Texts != nil {
		c.Texts = c.Texts[:n]
	}
}

// column returns what was built, in normal form for a frame of n rows.
func (b *columnBuilder) column(n int) Column {
	c := b.c.cut(0, len(b.c.Bits))
	if c.Len() != n {
		c.Rows = b.c.Rows
	}
	return c
}

var errOrder = errors.New("not in ascending order")

// validate checks the rules of Device and Frame.
func validate(devices []Device) error {
	for i := range devices {
		d := &devices[i]
		if i > 0 && devices[i-1].ID >= d.ID {
			return fmt.Errorf("device %q after %q: %w", d.ID, devices[i-1].ID, errOrder)
		}
		for k := 1; k < len(d.Tags); k++ {
			if d.Tags[k-1].Compare(d.Tags[k]) >= 0 {
				return fmt.Errorf("device %q: tag %q: %w", d.ID, d.Tags[k].Key, errOrder)
			}
		}
		if err := d.Readings.validate(); err != nil {
			return fmt.Errorf("device %q: %w", d.ID, err)
		}
	}
	return nil
}

func (f *Frame) validate() error {
	if len(f.Times) != len(f.Stamps) {
		return fmt.Errorf("%d times and %d stamps", len(f.Times), len(f.Stamps))
	}
	for i := 1; i < f.Len(); i++ {
		if f.Times[i] < f.Times[i-1] || f.Times[i] == f.Times[i-1] && f.Stamps[i] <= f.Stamps[i-1] {
			return fmt.Errorf("row %d: %w", i, errOrder)
		}
	}
	for i := range f.Columns {
		c := &f.Columns[i]
		if i > 0 && f.Columns[i-1].Name >= c.Name {
			return fmt.Errorf("metric %q after %q: %w", c.Name, f.Columns[i-1].Name, errOrder)
		}
		if err := c.validate(f.Len()); err != nil {
			return fmt.Errorf("metric %q: %w", c.Name, err)
		}
	}
	return nil
}

// validate checks the rules of Column, in a frame of n rows.
func (c *Column) validate(n int) error {
	switch size := c.Len(); {
	case size == 0:
		return errors.New("no values")
	case c.Rows == nil && size != n, c.Rows != nil && (len(c.Rows) != size || size >= n):
		return fmt.Errorf("%d values at %d of %d rows", size, len(c.Rows), n)
	case c.Kinds != nil && len(c.Kinds) != size:
		return fmt.Errorf("%d values and %d kinds", size, len(c.Kinds))
	case c.Texts != nil && len(c.Texts) != size:
		return fmt.Errorf("%d values and %d texts", size, len(c.Texts))
	case (c.Texts != nil) != slices.Contains(c.Kinds, telemetry.String):
		return errors.New("texts do not go with kinds")
	}
	for i, row := range c.Rows {
		if row < 0 || int(row) >= n || i > 0 && row <= c.Rows[i-1] {
			return fmt.Errorf("row %d of the values: %w", i, errOrder)
		}
	}
	return c.validateKinds()
}

func (c *Column) validateKinds() error {
	if c.Kinds != nil && plainKinds(c.Kinds) == nil {
		return errors.New("kinds of numbers only")
	}
	for i, k := range c.Kinds {
		v := c.Value(i)
		if k == telemetry.None || k > telemetry.String ||
			k == telemetry.Bool && v.Bits > 1 ||
			k == telemetry.String && v.Bits != 0 ||
			k != telemetry.String && v.Text != "" {
			return fmt.Errorf("value %d is not one: %+v", i, v)
		}
	}
	return nil
}
