package block

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// Why bytes do not decode.
var (
	// ErrCorrupt says that the bytes are not what this codec wrote.
	ErrCorrupt = errors.New("corrupt block")
	// ErrVersion says that a newer version of the codec wrote the bytes.
	ErrVersion = errors.New("block of a newer version")
)

// MaxDecoded bounds the memory that one block or one leaf takes when decoded, in
// bytes as Frame.Size counts them. Encode cuts before it; a leaf must stay
// below it.
const MaxDecoded = 32 << 20

const version = 1

// What the bytes hold, the first byte of a block and of a leaf's index.
const (
	blockMark = 0xB7
	indexMark = 0xB8
)

// A text is compressed only if it is long enough and shrinks by an eighth:
// below that the time is worth more than the bytes.
const (
	textMin     = 256
	textMinGain = 8
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Encoder and decoder of zstd are costly to make and safe to share (only
// EncodeAll and DecodeAll are used), so there is one of each, made when first
// needed.
var (
	compressor = sync.OnceValue(func() *zstd.Encoder {
		e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedDefault),
			zstd.WithEncoderConcurrency(0), zstd.WithWindowSize(1<<20), zstd.WithLowerEncoderMem(true),
			zstd.WithEncoderCRC(false))
		if err != nil {
			panic(err) // the options are constants
		}
		return e
	})
	decompressor = sync.OnceValue(func() *zstd.Decoder {
		d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxMemory(MaxDecoded), zstd.WithDecodeAllCapLimit(true))
		if err != nil {
			panic(err)
		}
		return d
	})
)

// writer gathers a section: numbers, and the text that they refer to. It keeps
// the scratch space of the series.
type writer struct {
	num []byte
	txt []byte

	values  []int64
	rows    []int64
	after   []int64
	indices []int64
	starts  []int
	all     series
	firsts  []int64
	rest    []int64
	outlier outliers
	words   map[string]int64
	run     runs
}

var writers = sync.Pool{New: func() any { return &writer{words: map[string]int64{}} }}

func newWriter() *writer {
	w := writers.Get().(*writer)
	w.num, w.txt = w.num[:0], w.txt[:0]
	return w
}

func (w *writer) free() { writers.Put(w) }

func (w *writer) byte(b byte)      { w.num = append(w.num, b) }
func (w *writer) uvarint(v uint64) { w.num = binary.AppendUvarint(w.num, v) }
func (w *writer) varint(v int64)   { w.num = binary.AppendVarint(w.num, v) }
func (w *writer) count(n int)      { w.uvarint(uint64(n)) }
func (w *writer) bits(b uint64)    { w.num = binary.LittleEndian.AppendUint64(w.num, b) }

// section appends the gathered: the length of the text, if there is any its
// length as stored (0: as it is), then numbers and text.
func (w *writer) section(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(w.txt)))
	if len(w.txt) == 0 {
		return append(dst, w.num...)
	}
	if len(w.txt) >= textMin {
		small := compressor().EncodeAll(w.txt, nil)
		if len(small) <= len(w.txt)-len(w.txt)/textMinGain {
			dst = binary.AppendUvarint(dst, uint64(len(small)))
			dst = append(dst, w.num...)
			return append(dst, small...)
		}
	}
	dst = append(dst, 0)
	dst = append(dst, w.num...)
	return append(dst, w.txt...)
}

// reader reads a section. Its first error stays; what is read after it is zero,
// so callers check before they allocate or loop.
type reader struct {
	num    []byte
	txt    string
	budget *budget
	err    error

	firsts  []int64
	rest    []int64
	scratch []int64
}

var readers = sync.Pool{New: func() any { return new(reader) }}

// budget is what may still be allocated for decoded data, in bytes.
type budget struct{ left int }

func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrCorrupt, fmt.Sprintf(format, args...))
}

func newReader(data []byte, b *budget) *reader {
	r := readers.Get().(*reader)
	r.budget = b
	r.open(data)
	return r
}

// free gives the scratch space back.
func (r *reader) free() {
	r.num, r.txt, r.budget, r.err = nil, "", nil, nil
	readers.Put(r)
}

// open begins to read the section that fills data.
func (r *reader) open(data []byte) {
	r.num, r.txt, r.err = data, "", nil
	size := r.count(1)
	if size == 0 || r.err != nil {
		return
	}
	stored := r.uvarint()
	inNum := stored
	if stored == 0 {
		inNum = uint64(size)
	}
	if inNum > uint64(len(r.num)) {
		r.fail("text of %d bytes in %d", inNum, len(r.num))
		return
	}
	cut := len(r.num) - int(inNum)
	text := r.num[cut:]
	r.num = r.num[:cut]
	if stored != 0 {
		text = r.decompress(text, size)
	}
	if r.err == nil {
		r.txt = string(text)
	}
}

func (r *reader) decompress(small []byte, size int) []byte {
	text, err := decompressor().DecodeAll(small, make([]byte, 0, size))
	if err != nil {
		r.fail("text: %v", err)
		return nil
	}
	if len(text) != size {
		r.fail("text of %d bytes, %d announced", len(text), size)
		return nil
	}
	return text
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = corrupt(format, args...)
		r.num, r.txt = nil, ""
	}
}

// end reports the first error; whatever was not read is one.
func (r *reader) end() error {
	if r.err == nil && len(r.num)+len(r.txt) != 0 {
		r.fail("%d bytes left over", len(r.num)+len(r.txt))
	}
	return r.err
}

// spend takes n units of size bytes from the budget; false (and an error) if it
// does not hold so much.
func (r *reader) spend(n, size int) bool {
	if r.err != nil {
		return false
	}
	if n < 0 || n > r.budget.left/size {
		r.fail("more than %d bytes decoded", MaxDecoded)
		return false
	}
	r.budget.left -= n * size
	return true
}

// count reads a number of things that take size bytes each and spends them.
func (r *reader) count(size int) int {
	v := r.uvarint()
	if v > MaxDecoded {
		r.fail("count of %d", v)
		return 0
	}
	if !r.spend(int(v), size) {
		return 0
	}
	return int(v)
}

func (r *reader) byte() byte {
	if len(r.num) == 0 {
		r.fail("cut short")
		return 0
	}
	b := r.num[0]
	r.num = r.num[1:]
	return b
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.num)
	if n <= 0 {
		r.fail("bad varint")
		return 0
	}
	r.num = r.num[n:]
	return v
}

func (r *reader) varint() int64 { return unzigzag(r.uvarint()) }

func (r *reader) bits() uint64 {
	if len(r.num) < 8 {
		r.fail("cut short")
		return 0
	}
	v := binary.LittleEndian.Uint64(r.num)
	r.num = r.num[8:]
	return v
}

// text takes the next n bytes of the text.
func (r *reader) text(n int64) string {
	if n < 0 || n > int64(len(r.txt)) {
		r.fail("text cut short")
		return ""
	}
	s := r.txt[:n]
	r.txt = r.txt[n:]
	return s
}

// ints returns scratch space for n integers, valid until the next call.
func (r *reader) ints(n int) []int64 {
	r.scratch = grown(r.scratch, n)
	return r.scratch
}

// grown returns a slice of n elements with any content, s itself if it is large
// enough.
func grown[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}
