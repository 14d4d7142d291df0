package block

import (
	"math"
	"math/bits"
)

// Layouts of a series of float64.
const (
	floatConstant = 0 // eight bytes
	// floatDecimal: scaled to integers by a power of ten, as most sensors count;
	// those that do not come back to the bit are outliers. After "ALP: Adaptive
	// Lossless floating-Point Compression" (Afroozeh, Kuffó, Boncz, SIGMOD 2023).
	floatDecimal = 1
	// floatXor: each XORed with the former, in packs without the bits that are
	// zero in all. After Gorilla (Pelkonen et al., VLDB 2015), by pack instead of
	// by value.
	floatXor = 2
)

// maxScale is the highest power of ten that is tried.
const maxScale = 17

// scales are exact as float64 up to 10^22.
var scales = [...]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17}

// outliers are the values that a scale does not hold exactly.
type outliers struct {
	at   []int64
	bits []uint64
}

// scaled returns the integer that divided by scale gives back the same bits, and
// whether there is one.
func scaled(b uint64, scale float64) (int64, bool) {
	x := math.RoundToEven(math.Float64frombits(b) * scale)
	if !(math.Abs(x) < 1<<62) {
		return 0, false
	}
	i := int64(x)
	return i, math.Float64bits(float64(i)/scale) == b
}

func (w *writer) floats(v []uint64, starts []int) {
	if same(v) {
		w.byte(floatConstant)
		w.bits(v[0])
		return
	}
	scale, ok := guessScale(v)
	if ok && w.decimal(v, scale, starts) {
		return
	}
	w.byte(floatXor)
	w.xors(v)
}

func same[T comparable](v []T) bool {
	for _, x := range v[1:] {
		if x != v[0] {
			return false
		}
	}
	return true
}

// samples is how many values guessScale looks at.
const samples = 32

// guessScale picks the power of ten that makes the series short, judged by a
// sample: each digit more makes every integer longer, each digit less makes
// outliers. False: few values are decimals at all.
func guessScale(v []uint64) (int, bool) {
	var need [maxScale + 2]int
	step := max(1, len(v)/samples)
	seen, scale := 0, 0
	for i := 0; i < len(v); i += step {
		scale = scaleOf(v[i], scale)
		need[scale]++
		seen++
		scale = min(scale, maxScale)
	}
	const outlierBits, digitBits = 76, 3.33
	best, bestCost := 0, math.Inf(1)
	over := seen
	for s := 0; s <= maxScale; s++ {
		over -= need[s]
		cost := float64(over)*outlierBits + float64(seen-over)*digitBits*float64(s)
		if cost < bestCost && over*2 <= seen {
			best, bestCost = s, cost
		}
	}
	return best, !math.IsInf(bestCost, 1)
}

// scaleOf returns the least power of ten that holds the value, maxScale+1
// without one. Values are alike, so the search begins around the former's.
func scaleOf(b uint64, near int) int {
	if _, ok := scaled(b, scales[near]); ok {
		for near > 0 {
			if _, ok := scaled(b, scales[near-1]); !ok {
				break
			}
			near--
		}
		return near
	}
	for near++; near <= maxScale; near++ {
		if _, ok := scaled(b, scales[near]); ok {
			return near
		}
	}
	return maxScale + 1
}

// decimal writes the series as integers; false if that would not be shorter
// than XORs.
func (w *writer) decimal(v []uint64, scale int, starts []int) bool {
	w.scale(v, scales[scale])
	out := len(w.outlier.at)
	p := w.plan(w.values, starts)
	if size := p.size + 10*out; size > 3*len(v) && size >= xorSize(v) {
		return false
	}
	w.byte(floatDecimal)
	w.byte(byte(scale))
	w.planned(w.values, starts, p)
	w.count(out)
	if out > 0 {
		w.ints(w.outlier.at, nil)
		w.xors(w.outlier.bits)
	}
	return true
}

// scale fills values and outlier. In the place of an outlier stands the former
// integer, which costs least.
func (w *writer) scale(v []uint64, scale float64) {
	w.values = grown(w.values, len(v))
	w.outlier.at, w.outlier.bits = w.outlier.at[:0], w.outlier.bits[:0]
	before := int64(0)
	for i, b := range v {
		x, ok := scaled(b, scale)
		if !ok {
			w.outlier.at = append(w.outlier.at, int64(i))
			w.outlier.bits = append(w.outlier.bits, b)
			x = before
		}
		w.values[i] = x
		before = x
	}
}

// xorSize is what xors writes, without its layout byte.
func xorSize(v []uint64) int {
	size, before := 0, uint64(0)
	for len(v) > 0 {
		n := min(pack, len(v))
		var or uint64
		for _, b := range v[:n] {
			or |= b ^ before
			before = b
		}
		width, _ := significant(or)
		size += 2 + packedSize(n, width)
		v = v[n:]
	}
	return size
}

// significant returns how many bits lie between the highest and the lowest set
// one, and how many below those.
func significant(or uint64) (width, low uint) {
	if or == 0 {
		return 0, 0
	}
	low = uint(bits.TrailingZeros64(or))
	return uint(bits.Len64(or)) - low, low
}

// xors writes packs: width, the number of zero bits below, packed bits. The
// first value is XORed with 0.
func (w *writer) xors(v []uint64) {
	var buf [pack]int64
	before := uint64(0)
	for len(v) > 0 {
		n := min(pack, len(v))
		var or uint64
		for i, b := range v[:n] {
			x := b ^ before
			or |= x
			before = b
			buf[i] = int64(x)
		}
		width, low := significant(or)
		for i := range buf[:n] {
			buf[i] = int64(uint64(buf[i]) >> low)
		}
		w.byte(byte(width))
		w.byte(byte(low))
		w.num = appendPacked(w.num, buf[:n], 0, width)
		v = v[n:]
	}
}

func (r *reader) floats(dst []uint64, starts []int) {
	switch layout := r.byte(); layout {
	case floatConstant:
		b := r.bits()
		for i := range dst {
			dst[i] = b
		}
	case floatDecimal:
		r.decimal(dst, starts)
	case floatXor:
		r.xors(dst)
	default:
		r.fail("floats of layout %d", layout)
	}
}

func (r *reader) decimal(dst []uint64, starts []int) {
	at := r.byte()
	if at > maxScale {
		r.fail("scale of %d digits", at)
		return
	}
	v := r.ints(len(dst))
	r.series(v, starts)
	if r.err != nil {
		return
	}
	if scale := scales[at]; scale == 1 {
		for i, x := range v {
			dst[i] = math.Float64bits(float64(x))
		}
	} else {
		for i, x := range v {
			dst[i] = math.Float64bits(float64(x) / scale)
		}
	}
	r.outliers(dst)
}

func (r *reader) outliers(dst []uint64) {
	n := r.uvarint()
	if n == 0 || r.err != nil {
		return
	}
	if n > uint64(len(dst)) {
		r.fail("%d outliers in %d values", n, len(dst))
		return
	}
	at := r.ints(int(n))
	r.series(at, nil)
	odd := make([]uint64, n)
	r.xors(odd)
	for i, x := range at {
		if x < 0 || x >= int64(len(dst)) {
			r.fail("outlier %d in %d values", x, len(dst))
			return
		}
		dst[x] = odd[i]
	}
}

func (r *reader) xors(dst []uint64) {
	var buf [pack]int64
	before := uint64(0)
	for len(dst) > 0 && r.err == nil {
		n := min(pack, len(dst))
		width, low := uint(r.byte()), uint(r.byte())
		size := packedSize(n, width)
		if width+low > 64 || size > len(r.num) {
			r.fail("%d floats of %d bits in %d bytes", n, width, len(r.num))
			return
		}
		unpack(buf[:n], r.num, 0, width)
		for i, x := range buf[:n] {
			before ^= uint64(x) << low
			dst[i] = before
		}
		r.num = r.num[size:]
		dst = dst[n:]
	}
}
