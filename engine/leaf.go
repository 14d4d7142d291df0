package engine

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"sluice/store"
	"sluice/telemetry/block"
)

// propertyBytes is what one of a row's properties may hold.
const propertyBytes = 60 << 10

// leaf is a row with a device's readings in (low, high], merged.
type leaf struct {
	key       string
	low, high position
	etag      store.ETag // "" for one that is not there yet
	frame     block.Frame
}

// The properties of a leaf's row. A metric whose name is a plain identifier
// has a property of that name; others are numbered, and "_names" tells their
// names. Wide leaves are one block, cut over "_data" properties.
const (
	propFormat = "_format"
	propLow    = "_low"
	propCount  = "_readings"
	propIndex  = "_index"
	propNames  = "_names"
	propData   = "_data"
)

// leafMemory bounds what a leaf takes when it is decoded: texts that compress
// well would else make small rows of huge ones.
const leafMemory = block.MaxDecoded / 4

// encodeLeaf makes the properties of a leaf's row.
func (c *limits) encodeLeaf(low position, f *block.Frame) ([]store.Property, error) {
	if f.Size() > leafMemory {
		return nil, errTooWide
	}
	props := []store.Property{
		{Name: propFormat, Value: int64(Format)},
		{Name: propLow, Value: string(low)},
		{Name: propCount, Value: int64(f.Readings())},
	}
	if len(f.Columns) <= c.leafColumns {
		if narrow, ok := encodeNarrow(f); ok {
			props = append(props, narrow...)
			sortProperties(props)
			return props, nil
		}
	}
	data, err := c.encodeBlob([]block.Device{{Readings: *f}})
	if err != nil {
		return nil, fmt.Errorf("encode a leaf: %w", err)
	}
	props = append(props, data...)
	sortProperties(props)
	return props, nil
}

// encodeNarrow makes a property a metric, false if one would be too large.
func encodeNarrow(f *block.Frame) ([]store.Property, bool) {
	columns := block.EncodeColumns(f)
	if len(columns.Index) > propertyBytes {
		return nil, false
	}
	props := []store.Property{{Name: propIndex, Value: columns.Index}}
	var numbered []string
	for _, m := range columns.Metrics {
		if len(m.Data) > propertyBytes {
			return nil, false
		}
		name := m.Name
		if !plainName(name) {
			name = fmt.Sprintf("_%d", len(numbered))
			numbered = append(numbered, m.Name)
		}
		props = append(props, store.Property{Name: name, Value: m.Data})
	}
	if numbered != nil { // no name has a comma
		names := strings.Join(numbered, ",")
		if len(names) > store.MaxPropertyText/2 {
			return nil, false
		}
		props = append(props, store.Property{Name: propNames, Value: names})
	}
	return props, true
}

// encodeBlob cuts one block over properties.
func (c *limits) encodeBlob(devices []block.Device) ([]store.Property, error) {
	blocks, err := block.Encode(devices, max(c.leafMaxBytes, block.MinLimit))
	if err != nil {
		return nil, err
	}
	if len(blocks) != 1 {
		return nil, errTooWide
	}
	return dataProperties(blocks[0]), nil
}

var errTooWide = errors.New("does not fit into a row")

func dataProperties(data []byte) []store.Property {
	var props []store.Property
	for i := 0; len(data) > 0; i++ {
		n := min(len(data), propertyBytes)
		props = append(props, store.Property{Name: fmt.Sprintf("%s%02d", propData, i), Value: data[:n]})
		data = data[n:]
	}
	return props
}

func joinData(row store.Row) []byte {
	var data []byte
	for _, p := range row.Properties {
		if b, ok := p.Value.([]byte); ok && strings.HasPrefix(p.Name, propData) {
			data = append(data, b...)
		}
	}
	return data
}

// plainName tells whether a metric's name can be a property's: an ASCII
// identifier that neither the store nor we use.
func plainName(name string) bool {
	if len(name) == 0 || len(name) > 128 || name == "PartitionKey" || name == "RowKey" || name == "Timestamp" {
		return false
	}
	for i := range len(name) {
		c := name[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || c != '_' && (c < '0' || c > '9')) {
			return false
		}
	}
	return true
}

func sortProperties(props []store.Property) {
	slices.SortFunc(props, func(a, b store.Property) int { return strings.Compare(a.Name, b.Name) })
}

// checkFormat refuses what a newer version has written, and what no version
// has.
func checkFormat(row store.Row) error {
	switch v := row.Int(propFormat); {
	case v < 1:
		return fmt.Errorf("%w: a row without its format: none of a store's", ErrCorrupt)
	case v > Format:
		return fmt.Errorf("%w: %d, this version reads up to %d", ErrFormat, v, Format)
	}
	return nil
}

// decodeLeaf reads a leaf's row, of its columns those of metrics (nil: all).
func decodeLeaf(row store.Row, high position, metrics []string) (leaf, error) {
	l := leaf{key: row.Key, low: position(row.Text(propLow)), high: high, etag: row.ETag}
	if err := checkFormat(row); err != nil {
		return l, fmt.Errorf("leaf %s: %w", row.Key, err)
	}
	var err error
	if index := row.Bytes(propIndex); index != nil {
		l.frame, err = decodeNarrow(row, index, metrics)
	} else {
		l.frame, err = decodeWide(row)
		if metrics != nil {
			l.frame = l.frame.Only(metrics)
		}
	}
	if err != nil {
		return l, fmt.Errorf("decode leaf %s: %w", row.Key, err)
	}
	return l, nil
}

func decodeNarrow(row store.Row, index []byte, metrics []string) (block.Frame, error) {
	columns := block.Columns{Index: index}
	numbered := strings.Split(row.Text(propNames), ",")
	for _, p := range row.Properties {
		data, ok := p.Value.([]byte)
		if !ok || p.Name == propIndex {
			continue
		}
		name := p.Name
		if name[0] == '_' {
			var i int
			if _, err := fmt.Sscanf(name, "_%d", &i); err != nil || i >= len(numbered) {
				return block.Frame{}, fmt.Errorf("%w: property %s", ErrCorrupt, name)
			}
			name = numbered[i]
		}
		if metrics == nil || slices.Contains(metrics, name) {
			columns.Metrics = append(columns.Metrics, block.MetricColumn{Name: name, Data: data})
		}
	}
	slices.SortFunc(columns.Metrics, func(a, b block.MetricColumn) int { return strings.Compare(a.Name, b.Name) })
	f, err := block.DecodeColumns(columns)
	if metrics != nil && err == nil {
		f = f.Only(metrics)
	}
	return f, err
}

func decodeWide(row store.Row) (block.Frame, error) {
	devices, err := block.Decode(joinData(row))
	switch {
	case err != nil:
		return block.Frame{}, err
	case len(devices) == 0: // an empty frame
		return block.Frame{}, nil
	case len(devices) > 1:
		return block.Frame{}, fmt.Errorf("%w: a leaf of %d devices", ErrCorrupt, len(devices))
	}
	return devices[0].Readings, nil
}

// piece is a part of a frame, encoded, up to a bound.
type piece struct {
	high  position
	props []store.Property
}

// cutLeaf cuts a frame into pieces of at most about leafRows rows and leafBytes
// bytes, the last of which keeps the bound high. It is called with what is
// above low.
func (c *limits) cutLeaf(low, high position, f block.Frame) ([]piece, error) {
	var pieces []piece
	for {
		n := f.Len()
		if n > c.leafRows {
			n = wholeTimes(&f, c.leafRows)
		}
		head := f.Slice(0, n)
		props, err := c.encodeLeaf(low, &head)
		switch size := propsSize(props); {
		case errors.Is(err, errTooWide) || err == nil && size > c.leafMaxBytes:
			if n = wholeTimes(&f, n/2); n >= head.Len() {
				n = lastTime(&head)
			}
			if n == 0 {
				return c.cutWide(pieces, low, high, f)
			}
			head = f.Slice(0, n)
			sub, err := c.cutLeaf(low, upTo(head.Times[n-1]), head)
			if err != nil {
				return nil, err
			}
			pieces = append(pieces, sub...)
		case err != nil:
			return nil, err
		case size > c.leafBytes && wholeTimes(&f, n*c.leafBytes/size) < n:
			n = wholeTimes(&f, n*c.leafBytes/size)
			head = f.Slice(0, n)
			if props, err = c.encodeLeaf(low, &head); err != nil {
				return nil, err
			}
			pieces = append(pieces, piece{upTo(head.Times[n-1]), props})
		case n == f.Len():
			return append(pieces, piece{high, props}), nil
		default:
			pieces = append(pieces, piece{upTo(head.Times[n-1]), props})
		}
		low = upTo(f.Times[n-1])
		f = f.Slice(n, f.Len())
	}
}

// wholeTimes is the number of rows, about n but at least one time's, after
// which a time ends.
func wholeTimes(f *block.Frame, n int) int {
	n = max(n, 1)
	for n < f.Len() && f.Times[n] == f.Times[n-1] {
		n++
	}
	return min(n, f.Len())
}

// lastTime is the row with which a frame's last time begins.
func lastTime(f *block.Frame) int {
	n, _ := slices.BinarySearch(f.Times, f.Times[f.Len()-1])
	return n
}

// cutWide cuts a frame whose first time alone does not fit into a row, between
// that time's metrics.
func (c *limits) cutWide(pieces []piece, low, high position, f block.Frame) ([]piece, error) {
	n := wholeTimes(&f, 1)
	first, rest := f.Slice(0, n), f.Slice(n, f.Len())
	time := first.Times[0]
	if len(first.Columns) < 2 { // limits at the door keep a value far below a row
		return nil, fmt.Errorf("encode a leaf: a value at %d %w", time, errTooWide)
	}
	left, right := first.SplitMetrics()
	middle := upToMetric(time, left.Columns[len(left.Columns)-1].Name)
	last := upTo(time)
	if rest.Len() == 0 {
		last = high
	}
	for _, part := range []struct {
		high  position
		frame block.Frame
	}{{middle, left}, {last, right}, {high, rest}} {
		if part.frame.Len() == 0 {
			continue
		}
		more, err := c.cutLeaf(low, part.high, part.frame)
		if err != nil {
			return nil, err
		}
		pieces, low = append(pieces, more...), part.high
	}
	return pieces, nil
}

func propsSize(props []store.Property) int {
	n := 0
	for _, p := range props {
		n += 8 + 2*len(p.Name)
		switch v := p.Value.(type) {
		case []byte:
			n += len(v)
		case string:
			n += 2 * len(v)
		}
	}
	return n
}

// split cuts a frame at a bound: what is in (.., at] and what is above.
func split(f block.Frame, at position) (block.Frame, block.Frame, error) {
	if at == end {
		return f, block.Frame{}, nil
	}
	time, metric, whole, err := at.parts()
	if err != nil {
		return f, f, err
	}
	first, _ := slices.BinarySearchFunc(f.Times, time, cmp.Compare)
	last := first
	for last < f.Len() && f.Times[last] == time {
		last++
	}
	if whole || first == last {
		return f.Slice(0, last), f.Slice(last, f.Len()), nil
	}
	var below, above []string
	for _, c := range f.Columns {
		if c.Name <= metric {
			below = append(below, c.Name)
		} else {
			above = append(above, c.Name)
		}
	}
	middle := f.Slice(first, last)
	left, right := f.Slice(0, first), f.Slice(last, f.Len())
	return block.Merge(left, middle.Only(below)), block.Merge(middle.Only(above), right), nil
}

// sameFrame compares frames, which have one normal form.
func sameFrame(a, b *block.Frame) bool {
	return slices.Equal(a.Times, b.Times) && slices.Equal(a.Stamps, b.Stamps) &&
		slices.EqualFunc(a.Columns, b.Columns, func(x, y block.Column) bool {
			return x.Name == y.Name && slices.Equal(x.Rows, y.Rows) && slices.Equal(x.Bits, y.Bits) &&
				slices.Equal(x.Kinds, y.Kinds) && slices.Equal(x.Texts, y.Texts)
		})
}
