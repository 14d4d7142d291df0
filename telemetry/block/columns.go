package block

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"slices"
	"strings"

	"sluice/telemetry"
)

// Columns is a frame of one device, a byte string a metric: what a leaf's row
// keeps, a property each.
type Columns struct {
	Index   []byte // version, number of rows, times, stamps
	Metrics []MetricColumn
}

// MetricColumn has the values of one metric, and the rows that have one. It
// decodes only with the index that it was made with.
type MetricColumn struct {
	Name string
	Data []byte
}

// EncodeColumns encodes a frame in normal form, whose Size is at most
// MaxDecoded. It may be used concurrently.
func EncodeColumns(f *Frame) Columns {
	w := newWriter()
	defer w.free()
	index := w.index(f)
	metrics := make([]MetricColumn, len(f.Columns))
	for i := range f.Columns {
		c := &f.Columns[i]
		metrics[i] = MetricColumn{Name: c.Name, Data: w.column(c, f.Len(), index)}
	}
	return Columns{Index: index, Metrics: metrics}
}

// headSize is that of mark, version and checksum.
const headSize = 6

// index writes mark, version, checksum of the rest, and a section: number of
// rows, times, stamps.
func (w *writer) index(f *Frame) []byte {
	w.num, w.txt = w.num[:0], w.txt[:0]
	w.count(f.Len())
	w.times(f.Times, nil)
	w.stamps(f.Stamps, f.Times, nil)
	return w.sealed(indexMark)
}

// sealed returns the section with a head before it.
func (w *writer) sealed(mark byte) []byte {
	data := make([]byte, headSize, headSize+len(w.num)+len(w.txt)+16)
	data[0], data[1] = mark, version
	data = w.section(data)
	binary.LittleEndian.PutUint32(data[2:], crc32.Checksum(data[headSize:], castagnoli))
	return data
}

// unseal checks the head and opens the section.
func unseal(data []byte, mark byte, b *budget) (*reader, error) {
	switch {
	case len(data) < headSize:
		return nil, corrupt("%d bytes", len(data))
	case data[0] != mark:
		return nil, corrupt("begins with %#x instead of %#x", data[0], mark)
	case data[1] > version:
		return nil, fmt.Errorf("%w: %d, this one reads up to %d", ErrVersion, data[1], version)
	case data[1] == 0:
		return nil, corrupt("version 0")
	case crc32.Checksum(data[headSize:], castagnoli) != binary.LittleEndian.Uint32(data[2:]):
		return nil, corrupt("checksum")
	}
	return newReader(data[headSize:], b), nil
}

// column writes a checksum and a section: rows, values. The checksum covers the
// index's own and the name, so that a column of another leaf, of another
// version of this leaf or of another metric is noticed.
func (w *writer) column(c *Column, rows int, index []byte) []byte {
	w.num, w.txt = w.num[:0], w.txt[:0]
	w.run.reset()
	w.run.addColumn(c, 0, rows)
	w.presence(&w.run, rows)
	w.series(series{c.Bits, c.Kinds, c.Texts}, nil)
	data := make([]byte, 4, 4+len(w.num)+len(w.txt)+8)
	data = w.section(data)
	binary.LittleEndian.PutUint32(data, columnSum(index, c.Name, data[4:]))
	return data
}

func columnSum(index []byte, name string, data []byte) uint32 {
	var buf [4 + 128]byte
	sum := crc32.Update(0, castagnoli, append(append(buf[:0], index[2:headSize]...), name...))
	return crc32.Update(sum, castagnoli, data)
}

// DecodeColumns decodes what EncodeColumns made. Metrics may be given in any
// order and may be a subset: the frame then has only those columns, and its
// rows may lack any value (Only drops such rows). It may be used concurrently.
// Errors: ErrCorrupt, ErrVersion.
func DecodeColumns(c Columns) (Frame, error) {
	b := &budget{left: MaxDecoded}
	r, err := unseal(c.Index, indexMark, b)
	if err != nil {
		return Frame{}, fmt.Errorf("index: %w", err)
	}
	defer r.free()
	f, err := r.index()
	if err != nil {
		return Frame{}, fmt.Errorf("index: %w", err)
	}
	metrics, err := inOrder(c.Metrics)
	if err != nil || len(metrics) == 0 {
		return f, err
	}
	if len(f.Times) == 0 {
		return Frame{}, corrupt("columns of no rows")
	}
	if len(metrics) > b.left/columnSize {
		return Frame{}, corrupt("%d columns", len(metrics))
	}
	b.left -= len(metrics) * columnSize
	f.Columns = make([]Column, len(metrics))
	for i, m := range metrics {
		if f.Columns[i], err = r.column(m, len(f.Times), c.Index); err != nil {
			return Frame{}, fmt.Errorf("metric %q: %w", m.Name, err)
		}
	}
	return f, nil
}

// inOrder returns the metrics in ascending order of names, which must differ.
func inOrder(metrics []MetricColumn) ([]MetricColumn, error) {
	byName := func(a, b MetricColumn) int { return strings.Compare(a.Name, b.Name) }
	if !slices.IsSortedFunc(metrics, byName) {
		metrics = slices.Clone(metrics)
		slices.SortFunc(metrics, byName)
	}
	for i := 1; i < len(metrics); i++ {
		if metrics[i].Name == metrics[i-1].Name {
			return nil, corrupt("metric %q twice", metrics[i].Name)
		}
	}
	return metrics, nil
}

func (r *reader) index() (Frame, error) {
	n := r.count(rowSize)
	if n == 0 {
		return Frame{}, r.end()
	}
	f := Frame{Times: make([]int64, n), Stamps: make([]telemetry.Stamp, n)}
	r.times(f.Times, nil)
	r.stamps(f.Stamps, f.Times, nil)
	r.ascending(&f)
	return f, r.end()
}

// ascending checks the order of rows.
func (r *reader) ascending(f *Frame) {
	before, stamp := int64(math.MinInt64), telemetry.Stamp(math.MinInt64)
	for i, t := range f.Times {
		if t < before || t == before && f.Stamps[i] <= stamp && i > 0 {
			r.fail("row %d is not after the former", i)
			return
		}
		before, stamp = t, f.Stamps[i]
	}
}

// column reads one metric. It reuses the scratch space of the index's reader.
func (r *reader) column(m MetricColumn, rows int, index []byte) (Column, error) {
	if len(m.Data) < 4 {
		return Column{}, corrupt("%d bytes", len(m.Data))
	}
	if binary.LittleEndian.Uint32(m.Data) != columnSum(index, m.Name, m.Data[4:]) {
		return Column{}, corrupt("checksum: damaged, or of another leaf or metric")
	}
	r.open(m.Data[4:])
	c := Column{Name: m.Name, Rows: r.presence(rows)}
	n := rows
	if c.Rows != nil {
		n = len(c.Rows)
	}
	s := r.values(n, nil)
	c.Bits, c.Kinds, c.Texts = s.bits, s.kinds, s.texts
	return c, r.end()
}
