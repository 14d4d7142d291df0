// Package block is the codec: readings of many devices as columns of times,
// stamps and values (a block, what a journal's entry holds) and readings of
// one device as separate columns (a leaf, what a row's properties hold).
package block

import "sluice/telemetry"

// Frame holds readings of one device as columns. A row is what was accepted
// for one time under one stamp; rows are in ascending order of (time, stamp),
// no two alike. In a *resolved* frame each (time, metric) has one value, that
// of the highest stamp; a reading whose metrics come from several stamps is
// several rows of the same time. Rows without any value do not occur in
// resolved frames.
//
// A frame is in normal form, so that equal content is reflect.DeepEqual: no
// slice is empty but not nil, no column is without values, and Rows, Kinds and
// Texts of a column are nil exactly when they may be. All functions here ask for
// it and return it.
//
// The slices of a frame may be shared with other frames: never change them in
// place.
type Frame struct {
	Times   []int64 // nanoseconds since the Unix epoch
	Stamps  []telemetry.Stamp
	Columns []Column // in ascending order of names, which differ
}

// Column holds the values of one metric.
type Column struct {
	Name  string
	Rows  []int32          // the row of each value, ascending; nil: one value for each row of the frame
	Bits  []uint64         // of each value, see telemetry.Value
	Kinds []telemetry.Kind // of each value; nil: all are telemetry.Number
	Texts []string         // of each value; nil: no value is a string
}

// Device is what a block says of one device.
type Device struct {
	ID string
	// Cut is the highest stamp of the device's deletions, 0 without: whatever
	// is not above it is gone.
	Cut telemetry.Stamp
	// Tags has the changes of tags, in ascending order of (key, time, stamp).
	Tags     []TagChange
	Readings Frame
}

// TagChange is a change of a tag with the time of its reading, by which the
// newest wins, and its stamp, which decides between equal times.
type TagChange struct {
	telemetry.Tag
	Time  int64
	Stamp telemetry.Stamp
}

// Len is the number of rows.
func (f *Frame) Len() int { return len(f.Times) }

// Len is the number of values.
func (c *Column) Len() int { return len(c.Bits) }

// Value returns the i-th value (not the value of the i-th row).
func (c *Column) Value(i int) telemetry.Value {
	v := telemetry.Value{Kind: telemetry.Number, Bits: c.Bits[i]}
	if c.Kinds != nil {
		v.Kind = c.Kinds[i]
	}
	if c.Texts != nil {
		v.Text = c.Texts[i]
	}
	return v
}

// Row returns the row of the i-th value.
func (c *Column) Row(i int) int {
	if c.Rows == nil {
		return i
	}
	return int(c.Rows[i])
}
