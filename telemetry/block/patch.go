package block

import "math/bits"

// A pack with a few integers that are far above the rest keeps the low bits of
// all in the width of the rest, and the high bits of those few apart: the jumps
// from one body's stamps to the next's. After PFOR (Zukowski et al., ICDE 2006).
const (
	patched    = 0x80 // set in the width
	patchMost  = 8    // in a pack
	patchOver  = 16   // bits; narrower packs are not worth the search
	packHead   = 2    // bytes for width and least value, about
	patchBytes = 2    // for the number of patches, and for the place of each
)

// shortest returns the width, size and number of patches that make the pack of
// v shortest.
func shortest(v []int64, s span) (width uint, size, patches int) {
	full := s.width()
	width, size = full, packHead+packedSize(len(v), full)
	if full <= patchOver {
		return width, size, 0
	}
	var count [65]int
	for _, x := range v {
		count[bits.Len64(uint64(x)-uint64(s.min))]++
	}
	over, high := 0, uint(0) // how many are wider than w, and by how many bits in all
	for w := full; w > 0; {
		over += count[w]
		w--
		high += uint(over)
		if over > patchMost {
			break
		}
		bytes := packHead + 1 + packedSize(len(v), w) + over*patchBytes + int(high)/7
		if bytes < size {
			width, size, patches = w, bytes, over
		}
	}
	return width, size, patches
}

// patched writes packed bits, the number of patches, and of each its place and
// its high bits. It changes v.
func (w *writer) patched(v []int64, base int64, width uint, patches int) {
	type patch struct {
		at   int
		high uint64
	}
	list := make([]patch, 0, patchMost)
	for i, x := range v {
		u := uint64(x) - uint64(base)
		if high := u >> width; high != 0 {
			list = append(list, patch{i, high})
			v[i] = int64(u - high<<width + uint64(base))
		}
	}
	w.num = appendPacked(w.num, v, base, width)
	w.byte(byte(patches))
	for _, p := range list {
		w.byte(byte(p.at))
		w.uvarint(p.high)
	}
}

func (r *reader) patches(dst []int64, width uint) {
	for n := r.byte(); n > 0; n-- {
		at, high := r.byte(), r.uvarint()
		if int(at) >= len(dst) {
			r.fail("patch %d of %d integers", at, len(dst))
			return
		}
		dst[at] += int64(high << width)
	}
}
