package block

import (
	"encoding/binary"
	"slices"
)

// pack is how many integers share one bit width. 64 of any width fill whole
// 64-bit words.
const pack = 64

// appendPacked appends v[i]-base, each in width bits, the lowest bit first,
// padded to whole bytes. Every difference must fit.
func appendPacked(dst []byte, v []int64, base int64, width uint) []byte {
	if width == 0 {
		return dst
	}
	at := len(dst)
	end := at + packedSize(len(v), width)
	dst = slices.Grow(dst, end-at+8)[:end+8]
	var word uint64
	var used uint
	for _, x := range v {
		u := uint64(x) - uint64(base)
		word |= u << used
		used += width
		if used >= 64 {
			binary.LittleEndian.PutUint64(dst[at:], word)
			at += 8
			used -= 64
			word = u >> (width - used)
		}
	}
	binary.LittleEndian.PutUint64(dst[at:], word)
	return dst[:end]
}

func packedSize(n int, width uint) int { return (n*int(width) + 7) / 8 }

// unpack is the inverse of appendPacked. src must hold the packed bytes; what
// follows them may be read too, but does not matter.
func unpack(dst []int64, src []byte, base int64, width uint) {
	if width == 0 {
		for i := range dst {
			dst[i] = base
		}
		return
	}
	i := 0
	if width <= 57 {
		i = unpackNarrow(dst, src, base, width)
	} else {
		i = unpackWide(dst, src, base, width)
	}
	for ; i < len(dst); i++ {
		dst[i] = int64(bitsAt(src, uint(i)*width, width) + uint64(base))
	}
}

// unpackNarrow reads each value with one load of eight bytes as long as so many
// are there, and returns how many it read.
func unpackNarrow(dst []int64, src []byte, base int64, width uint) int {
	mask := uint64(1)<<width - 1
	bit := uint(0)
	for i := range dst {
		at := bit >> 3
		if at+8 > uint(len(src)) {
			return i
		}
		word := binary.LittleEndian.Uint64(src[at:])
		dst[i] = int64(word>>(bit&7)&mask + uint64(base))
		bit += width
	}
	return len(dst)
}

// unpackWide is unpackNarrow for values that may reach into a ninth byte.
func unpackWide(dst []int64, src []byte, base int64, width uint) int {
	mask := ^uint64(0) >> (64 - width)
	bit := uint(0)
	for i := range dst {
		at := bit >> 3
		if at+9 > uint(len(src)) {
			return i
		}
		word := binary.LittleEndian.Uint64(src[at:])>>(bit&7) | uint64(src[at+8])<<(64-(bit&7))
		dst[i] = int64(word&mask + uint64(base))
		bit += width
	}
	return len(dst)
}

// bitsAt reads width bits from a bit position, byte by byte.
func bitsAt(src []byte, bit, width uint) uint64 {
	var v uint64
	for have := uint(0); have < width; {
		part := uint64(src[bit>>3]) >> (bit & 7)
		v |= part << have
		step := 8 - bit&7
		have += step
		bit += step
	}
	if width < 64 {
		v &= 1<<width - 1
	}
	return v
}

func zigzag(v int64) uint64   { return uint64(v)<<1 ^ uint64(v>>63) }
func unzigzag(u uint64) int64 { return int64(u>>1) ^ -int64(u&1) }
