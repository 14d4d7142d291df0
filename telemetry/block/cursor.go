package block

import (
	"iter"

	"sluice/telemetry"
)

// Cell is a value of a reading and the index of its column.
type Cell struct {
	Column int
	Value  telemetry.Value
}

// Each yields each reading: its time, and its values in ascending order of
// columns (of several rows of one time those with the highest stamps). The
// cells are overwritten by the next step. A step costs a comparison a column.
func (f *Frame) Each(descending bool) iter.Seq2[int64, []Cell] {
	return func(yield func(int64, []Cell) bool) {
		c := cursor{frame: f, next: make([]int, len(f.Columns)), cells: make([]Cell, 0, len(f.Columns))}
		if descending {
			c.descend(yield)
		} else {
			c.ascend(yield)
		}
	}
}

// cursor keeps of each sparse column the value that comes next.
type cursor struct {
	frame *Frame
	next  []int
	cells []Cell
}

func (c *cursor) ascend(yield func(int64, []Cell) bool) {
	times := c.frame.Times
	for from := 0; from < len(times); {
		to := from + 1
		for to < len(times) && times[to] == times[from] {
			to++
		}
		c.cells = c.cells[:0]
		for i := range c.frame.Columns {
			c.last(i, to)
		}
		if len(c.cells) > 0 && !yield(times[from], c.cells) {
			return
		}
		from = to
	}
}

// last adds the last value of column i that is before row to and was not passed
// yet.
func (c *cursor) last(i, to int) {
	column := &c.frame.Columns[i]
	if column.Rows == nil {
		c.cells = append(c.cells, Cell{i, column.Value(to - 1)})
		return
	}
	at := c.next[i]
	for at < len(column.Rows) && int(column.Rows[at]) < to {
		at++
	}
	if at > c.next[i] {
		c.cells = append(c.cells, Cell{i, column.Value(at - 1)})
		c.next[i] = at
	}
}

func (c *cursor) descend(yield func(int64, []Cell) bool) {
	for i := range c.frame.Columns {
		c.next[i] = len(c.frame.Columns[i].Rows)
	}
	times := c.frame.Times
	for to := len(times); to > 0; {
		from := to - 1
		for from > 0 && times[from-1] == times[from] {
			from--
		}
		c.cells = c.cells[:0]
		for i := range c.frame.Columns {
			c.first(i, from, to)
		}
		if len(c.cells) > 0 && !yield(times[from], c.cells) {
			return
		}
		to = from
	}
}

// first adds the last value of column i in the rows from…to-1 and passes the
// others.
func (c *cursor) first(i, from, to int) {
	column := &c.frame.Columns[i]
	if column.Rows == nil {
		c.cells = append(c.cells, Cell{i, column.Value(to - 1)})
		return
	}
	at := c.next[i]
	for at > 0 && int(column.Rows[at-1]) >= from {
		at--
	}
	if at < c.next[i] {
		c.cells = append(c.cells, Cell{i, column.Value(c.next[i] - 1)})
		c.next[i] = at
	}
}
