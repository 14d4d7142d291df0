package block

import (
	"math"
	"math/bits"
)

// Layouts of a series of integers. The number of integers is known to the
// reader. Differences wrap around, so every int64 is exact.
const (
	intConstant = 0 // one varint
	intPlain    = 1 // packs of the integers
	intDelta    = 2 // the first; packs of the differences
	intDelta2   = 3 // the first, the first difference; packs of the differences' differences
	intSplit    = 4 // a series of the first of each device, a series of the differences within devices
)

// intPlan is how a series is going to be written, and about how long it gets.
type intPlan struct {
	layout byte
	size   int
	parts  [2]byte // layouts of the two series of intSplit
}

// ints writes a series. starts has the index at which each device's integers
// begin; nil if they are of one device.
func (w *writer) ints(v []int64, starts []int) {
	if len(v) > 0 {
		w.planned(v, starts, w.plan(v, starts))
	}
}

// plan finds the shortest layout.
func (w *writer) plan(v []int64, starts []int) intPlan {
	best := planOne(v)
	if best.layout == intConstant || len(starts) < 2 || len(starts) == len(v) {
		return best
	}
	w.split(v, starts)
	firsts, rest := planOne(w.firsts), planOne(w.rest)
	if size := firsts.size + rest.size + 1; size < best.size {
		best = intPlan{layout: intSplit, size: size, parts: [2]byte{firsts.layout, rest.layout}}
	}
	return best
}

func (w *writer) planned(v []int64, starts []int, p intPlan) {
	if p.layout != intSplit {
		w.one(v, p.layout)
		return
	}
	w.byte(intSplit)
	w.split(v, starts)
	w.one(w.firsts, p.parts[0])
	w.one(w.rest, p.parts[1])
}

// split fills firsts and rest.
func (w *writer) split(v []int64, starts []int) {
	w.firsts, w.rest = grown(w.firsts, len(starts)), grown(w.rest, len(v)-len(starts))
	rest := w.rest[:0]
	for d, from := range starts {
		to := len(v)
		if d+1 < len(starts) {
			to = starts[d+1]
		}
		w.firsts[d] = v[from]
		for i := from + 1; i < to; i++ {
			rest = append(rest, v[i]-v[i-1])
		}
	}
}

// span is the range of a pack's integers.
type span struct{ min, max int64 }

func (s *span) add(v int64) {
	s.min = min(s.min, v)
	s.max = max(s.max, v)
}

func (s *span) width() uint { return uint(bits.Len64(uint64(s.max) - uint64(s.min))) }

// emptySpan takes any first integer.
func emptySpan() span { return span{math.MaxInt64, math.MinInt64} }

// planOne finds the shortest layout but intSplit. The sizes of the packs are
// computed as if each layout left out the first two integers.
func planOne(v []int64) intPlan {
	if len(v) <= 2 {
		return planFew(v)
	}
	all := span{min(v[0], v[1]), max(v[0], v[1])}
	before, step := v[1], v[1]-v[0]
	size := [3]int{2 * varintSize(v[0]), varintSize(v[0]) + varintSize(step), varintSize(v[0]) + varintSize(step)}
	for tail := v[2:]; len(tail) > 0; {
		n := min(pack, len(tail))
		s0, s1, s2 := emptySpan(), emptySpan(), emptySpan()
		for _, x := range tail[:n] {
			d := x - before
			s0.add(x)
			s1.add(d)
			s2.add(d - step)
			before, step = x, d
		}
		all.add(s0.min)
		all.add(s0.max)
		at := len(v) - len(tail)
		for order, s := range [...]span{s0, s1, s2} {
			size[order] += packSize(v, at, n, order, s)
		}
		tail = tail[n:]
	}
	if all.min == all.max {
		return intPlan{layout: intConstant, size: 1 + varintSize(all.min)}
	}
	best := intPlan{layout: intPlain, size: size[0] + 1}
	for order := 1; order <= 2; order++ {
		if size[order]+1 < best.size {
			best = intPlan{layout: byte(intPlain + order), size: size[order] + 1}
		}
	}
	return best
}

func planFew(v []int64) intPlan {
	switch {
	case len(v) == 0:
		return intPlan{layout: intConstant}
	case len(v) == 1 || v[0] == v[1]:
		return intPlan{layout: intConstant, size: 1 + varintSize(v[0])}
	default:
		return intPlan{layout: intDelta, size: 2 + varintSize(v[0]) + varintSize(v[1]-v[0])}
	}
}

// packSize is the size of the pack of n differences of an order from v[at] on,
// whose range is s.
func packSize(v []int64, at, n, order int, s span) int {
	if s.width() <= patchOver {
		return packHead + packedSize(n, s.width())
	}
	var buf [pack]int64
	differences(buf[:n], v, at, order)
	_, size, _ := shortest(buf[:n], s)
	return size
}

func varintSize(v int64) int { return (bits.Len64(zigzag(v)|1) + 6) / 7 }

// one writes a series in a layout other than intSplit.
func (w *writer) one(v []int64, layout byte) {
	if len(v) == 0 {
		return
	}
	w.byte(layout)
	switch layout {
	case intConstant:
		w.varint(v[0])
	case intPlain:
		w.packs(v, 0)
	case intDelta:
		w.varint(v[0])
		w.packs(v, 1)
	case intDelta2:
		w.varint(v[0])
		w.varint(v[1] - v[0])
		w.packs(v, 2)
	}
}

// packs writes v, its differences or their differences (order 0, 1, 2), from
// the order-th on, in packs: width, least value as the difference to the former
// pack's, packed bits.
func (w *writer) packs(v []int64, order int) {
	var buf [pack]int64
	least := int64(0)
	for at := order; at < len(v); at += pack {
		n := min(pack, len(v)-at)
		s := differences(buf[:n], v, at, order)
		width, _, outliers := shortest(buf[:n], s)
		if outliers > 0 {
			w.byte(byte(width) | patched)
		} else {
			w.byte(byte(width))
		}
		w.varint(s.min - least)
		least = s.min
		if outliers > 0 {
			w.patched(buf[:n], s.min, width, outliers)
		} else {
			w.num = appendPacked(w.num, buf[:n], s.min, width)
		}
	}
}

// differences fills dst with those that end at v[at], v[at+1], …
func differences(dst, v []int64, at, order int) span {
	s := emptySpan()
	switch order {
	case 0:
		copy(dst, v[at:])
		for _, d := range dst {
			s.add(d)
		}
	case 1:
		before := v[at-1]
		for i, x := range v[at : at+len(dst)] {
			d := x - before
			dst[i], before = d, x
			s.add(d)
		}
	default:
		before, step := v[at-1], v[at-1]-v[at-2]
		for i, x := range v[at : at+len(dst)] {
			d := x - before
			dst[i] = d - step
			s.add(d - step)
			before, step = x, d
		}
	}
	return s
}

// series reads what writer.ints wrote into dst.
func (r *reader) series(dst []int64, starts []int) {
	if len(dst) == 0 || r.err != nil {
		return
	}
	if layout := r.byte(); layout != intSplit {
		r.one(dst, layout)
		return
	}
	if len(starts) < 2 || len(starts) >= len(dst) {
		r.fail("series split by device without devices")
		return
	}
	r.firsts, r.rest = grown(r.firsts, len(starts)), grown(r.rest, len(dst)-len(starts))
	r.one(r.firsts, r.byte())
	r.one(r.rest, r.byte())
	if r.err == nil {
		r.join(dst, starts)
	}
}

func (r *reader) join(dst []int64, starts []int) {
	rest := r.rest
	for d, from := range starts {
		to := len(dst)
		if d+1 < len(starts) {
			to = starts[d+1]
		}
		v := r.firsts[d]
		dst[from] = v
		part := dst[from+1 : to]
		for i, step := range rest[:len(part)] {
			v += step
			part[i] = v
		}
		rest = rest[len(part):]
	}
}

func (r *reader) one(dst []int64, layout byte) {
	switch layout {
	case intConstant:
		v := r.varint()
		for i := range dst {
			dst[i] = v
		}
	case intPlain:
		r.packs(dst)
	case intDelta:
		dst[0] = r.varint()
		r.packs(dst[1:])
		sum(dst)
	case intDelta2:
		if len(dst) < 2 {
			r.fail("series of %d in second differences", len(dst))
			return
		}
		dst[0], dst[1] = r.varint(), r.varint()
		r.packs(dst[2:])
		sum(dst[1:])
		sum(dst)
	default:
		r.fail("series of layout %d", layout)
	}
}

func sum(v []int64) {
	at := int64(0)
	for i, d := range v {
		at += d
		v[i] = at
	}
}

func (r *reader) packs(dst []int64) {
	least := int64(0)
	for len(dst) > 0 && r.err == nil {
		n := min(pack, len(dst))
		head := r.byte()
		width, patches := uint(head&^patched), head&patched != 0
		least += r.varint()
		size := packedSize(n, width)
		if width > 64 || size > len(r.num) {
			r.fail("%d integers of %d bits in %d bytes", n, width, len(r.num))
			return
		}
		unpack(dst[:n], r.num, least, width)
		r.num = r.num[size:]
		if patches {
			r.patches(dst[:n], width)
		}
		dst = dst[n:]
	}
}
