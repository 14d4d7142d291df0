package pebble

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"unsafe"

	"sluice/store"
)

// The spaces of keys, each with its first byte:
//
//	m                                      the format and the number of starts
//	t name                                 a table: its id
//	r id(8) partition 00 01 key            a row; in the partition 00 is 00 ff
//	h shard(4)                             a shard's head
//	j shard(4) place(8) sequence(8)        what one Append brought
//
// Numbers are big-endian. Ids and places are never used again. Values begin
// with the version of their encoding, 1.
const (
	spaceMeta    = 'm'
	spaceTable   = 't'
	spaceRow     = 'r'
	spaceHead    = 'h'
	spaceJournal = 'j'
)

const valueVersion = 1

func tableKey(name string) []byte { return append([]byte{spaceTable}, name...) }

// tablePrefix is what a table's rows begin with.
func tablePrefix(id uint64) []byte { return binary.BigEndian.AppendUint64([]byte{spaceRow}, id) }

const tablePrefixLen = 1 + 8

// appendPartition appends a partition so that bytes order as partitions do.
// Partitions have no zero bytes, bounds of ranges may.
func appendPartition(b []byte, partition string) []byte {
	for {
		i := bytes.IndexByte(unsafe.Slice(unsafe.StringData(partition), len(partition)), 0) //nolint:gosec // the text is only read, while this function has it
		if i < 0 {
			return append(b, partition...)
		}
		b = append(append(b, partition[:i]...), 0, 0xff)
		partition = partition[i+1:]
	}
}

func rowKey(table uint64, partition, key string) []byte {
	b := make([]byte, 0, tablePrefixLen+len(partition)+2+len(key))
	b = binary.BigEndian.AppendUint64(append(b, spaceRow), table)
	return append(append(appendPartition(b, partition), 0, 1), key...)
}

// splitRowKey returns the parts of a row's key after the table's prefix; they
// share its bytes.
func splitRowKey(suffix []byte) (partition, key []byte, ok bool) {
	return bytes.Cut(suffix, []byte{0, 1})
}

func headKey(shard int) []byte {
	return binary.BigEndian.AppendUint32([]byte{spaceHead}, uint32(shard))
}

func epochPrefix(shard int, place uint64) []byte {
	b := make([]byte, 0, 1+4+8+8)
	b = binary.BigEndian.AppendUint32(append(b, spaceJournal), uint32(shard))
	return binary.BigEndian.AppendUint64(b, place)
}

func entryKey(shard int, place, sequence uint64) []byte {
	return binary.BigEndian.AppendUint64(epochPrefix(shard, place), sequence)
}

// The kinds of a property.
const (
	kindFalse = iota
	kindTrue
	kindInt
	kindFloat
	kindText
	kindBytes
)

// encodeRow: version, ETag, number of properties, and of each the length of its
// name, the name, kind and value; integers are (zigzag) varints, floats their
// 8 bytes, little-endian.
func encodeRow(tag uint64, properties []store.Property) ([]byte, error) {
	n := 1 + 2*binary.MaxVarintLen64
	for _, p := range properties {
		n += len(p.Name) + 16
		switch v := p.Value.(type) {
		case string:
			n += len(v)
		case []byte:
			n += len(v)
		}
	}
	b := append(make([]byte, 0, n), valueVersion)
	b = binary.AppendUvarint(b, tag)
	b = binary.AppendUvarint(b, uint64(len(properties)))
	var err error
	for _, p := range properties {
		b = append(binary.AppendUvarint(b, uint64(len(p.Name))), p.Name...)
		if b, err = appendValue(b, p.Value); err != nil {
			return nil, fmt.Errorf("property %q: %w", p.Name, err)
		}
	}
	return b, nil
}

func appendValue(b []byte, value any) ([]byte, error) {
	switch v := value.(type) {
	case bool:
		if v {
			return append(b, kindTrue), nil
		}
		return append(b, kindFalse), nil
	case int64:
		return binary.AppendVarint(append(b, kindInt), v), nil
	case float64:
		return binary.LittleEndian.AppendUint64(append(b, kindFloat), math.Float64bits(v)), nil
	case string:
		return append(binary.AppendUvarint(append(b, kindText), uint64(len(v))), v...), nil
	case []byte:
		return append(binary.AppendUvarint(append(b, kindBytes), uint64(len(v))), v...), nil
	default:
		return nil, fmt.Errorf("a value of type %T: %w", value, store.ErrInvalid)
	}
}

// rowTag reads the ETag of an encoded row.
func rowTag(data []byte) (uint64, error) {
	r := reader{data: data}
	tag := r.header()
	if r.bad {
		return 0, fmt.Errorf("row: %w", store.ErrCorrupt)
	}
	return tag, nil
}

// decodeRow decodes those properties that wanted accepts (nil: all). names
// keeps the names that were met, so that a page shares them. The result shares
// nothing with data.
func decodeRow(data []byte, wanted func(name string) bool, names map[string]string) (uint64, []store.Property, error) {
	r := reader{data: data}
	tag := r.header()
	count := r.uvarint()
	if r.bad || count > uint64(len(r.data)) {
		return 0, nil, fmt.Errorf("row: %w", store.ErrCorrupt)
	}
	properties := make([]store.Property, 0, count)
	for range count {
		name := r.bytes()
		known, ok := names[string(name)]
		if !ok {
			known = string(name)
			names[known] = known
		}
		keep := wanted == nil || wanted(known)
		if v := r.value(keep); keep {
			properties = append(properties, store.Property{Name: known, Value: v})
		}
	}
	if r.bad || len(r.data) > 0 {
		return 0, nil, fmt.Errorf("row: %w", store.ErrCorrupt)
	}
	return tag, properties, nil
}

// reader reads an encoded value; bad is set for good by the first thing that
// does not decode.
type reader struct {
	data []byte
	bad  bool
}

// header reads the version and the number after it.
func (r *reader) header() uint64 {
	if r.byte() != valueVersion {
		r.bad = true
	}
	return r.uvarint()
}

func (r *reader) byte() byte {
	if len(r.data) == 0 {
		r.bad = true
		return 0
	}
	b := r.data[0]
	r.data = r.data[1:]
	return b
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.data)
	if n <= 0 {
		r.bad, r.data = true, nil
		return 0
	}
	r.data = r.data[n:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.data)
	if n <= 0 {
		r.bad, r.data = true, nil
		return 0
	}
	r.data = r.data[n:]
	return v
}

// take shares its bytes with the data.
func (r *reader) take(n uint64) []byte {
	if n > uint64(len(r.data)) {
		r.bad, r.data = true, nil
		return nil
	}
	b := r.data[:n:n]
	r.data = r.data[n:]
	return b
}

func (r *reader) bytes() []byte { return r.take(r.uvarint()) }

// value reads a kind and a value, which is made only if it is to be kept.
func (r *reader) value(keep bool) any {
	switch r.byte() {
	case kindFalse:
		return false
	case kindTrue:
		return true
	case kindInt:
		return r.varint()
	case kindFloat:
		if b := r.take(8); b != nil {
			return math.Float64frombits(binary.LittleEndian.Uint64(b))
		}
	case kindText:
		if b := r.bytes(); keep {
			return string(b)
		}
	case kindBytes:
		if b := r.bytes(); keep {
			return append(make([]byte, 0, len(b)), b...)
		}
	default:
		r.bad = true
	}
	return nil
}
