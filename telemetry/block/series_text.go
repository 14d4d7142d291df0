package block

// Layouts of a series of strings. Their bytes lie in the section's text.
const (
	textPlain = 0 // lengths
	textWords = 1 // number of different strings, their lengths; the index of each value
)

func (w *writer) texts(v []string, starts []int) {
	if words, ok := w.dictionary(v); ok {
		w.byte(textWords)
		w.count(len(words))
		w.strings(words)
		w.ints(w.indices, starts)
		return
	}
	w.byte(textPlain)
	w.strings(v)
}

// strings writes the lengths, and the bytes into the text.
func (w *writer) strings(v []string) {
	w.values = grown(w.values, len(v))
	for i, s := range v {
		w.values[i] = int64(len(s))
		w.txt = append(w.txt, s...)
	}
	w.ints(w.values, nil)
}

// dictionary numbers the different strings in the order in which they come,
// into indices; false if too few are repeated.
func (w *writer) dictionary(v []string) ([]string, bool) {
	defer clear(w.words)
	const few = 16
	w.indices = grown(w.indices, len(v))
	var words []string
	for i, s := range v {
		if i > 0 && s == v[i-1] {
			w.indices[i] = w.indices[i-1]
			continue
		}
		index, ok := w.words[s]
		if !ok {
			index = int64(len(words))
			if index > few && index*2 > int64(i) {
				return nil, false
			}
			w.words[s] = index
			words = append(words, s)
		}
		w.indices[i] = index
	}
	return words, len(words)*2 <= len(v)
}

func (r *reader) texts(dst []string, starts []int) {
	switch layout := r.byte(); layout {
	case textPlain:
		r.strings(dst)
	case textWords:
		words := make([]string, r.count(16))
		r.strings(words)
		indices := r.ints(len(dst))
		r.series(indices, starts)
		if r.err == nil {
			r.look(dst, words, indices)
		}
	default:
		r.fail("strings of layout %d", layout)
	}
}

func (r *reader) look(dst, words []string, indices []int64) {
	for i, index := range indices {
		if uint64(index) >= uint64(len(words)) {
			r.fail("string %d of %d", index, len(words))
			return
		}
		dst[i] = words[index]
	}
}

func (r *reader) strings(dst []string) {
	lengths := r.ints(len(dst))
	r.series(lengths, nil)
	if r.err != nil {
		return
	}
	for i, n := range lengths {
		dst[i] = r.text(n)
	}
}

// sorted writes strings in ascending order: how many bytes each shares with the
// former, and the rest.
func (w *writer) sorted(v []string) {
	w.values = grown(w.values, 2*len(v))
	shared, rest := w.values[:len(v)], w.values[len(v):]
	before := ""
	for i, s := range v {
		n := sharedPrefix(before, s)
		shared[i], rest[i] = int64(n), int64(len(s)-n)
		w.txt = append(w.txt, s[n:]...)
		before = s
	}
	w.ints(shared, nil)
	w.ints(rest, nil)
}

func sharedPrefix(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// sorted reads what writer.sorted wrote; strings that do not ascend are an
// error.
func (r *reader) sorted(dst []string) {
	v := r.ints(2 * len(dst))
	shared, rest := v[:len(dst)], v[len(dst):]
	r.series(shared, nil)
	r.series(rest, nil)
	size := r.sortedSize(shared, rest)
	if !r.spend(size, 1) {
		return
	}
	all := make([]byte, 0, size)
	for i := range dst {
		before := len(all)
		if i > 0 {
			before -= int(shared[i-1] + rest[i-1])
		}
		all = append(all, all[before:before+int(shared[i])]...)
		all = append(all, r.text(rest[i])...)
	}
	whole := string(all)
	for i := range dst {
		if r.err != nil {
			return
		}
		n := int(shared[i] + rest[i])
		dst[i], whole = whole[:n], whole[n:]
		if i > 0 && dst[i] <= dst[i-1] {
			r.fail("%q after %q", dst[i], dst[i-1])
		}
	}
}

// sortedSize checks that each string has as much before it as it shares, and
// the text as much as all have of their own; and adds up the lengths.
func (r *reader) sortedSize(shared, rest []int64) int {
	if r.err != nil {
		return 0
	}
	size, before, text := 0, int64(0), int64(len(r.txt))
	for i := range shared {
		if shared[i] < 0 || shared[i] > before || rest[i] < 0 || rest[i] > text {
			r.fail("string %d shares %d of %d bytes, and has %d more", i, shared[i], before, rest[i])
			return 0
		}
		before = shared[i] + rest[i]
		text -= rest[i]
		size += int(before)
		if size > MaxDecoded {
			r.fail("strings of more than %d bytes", MaxDecoded)
			return 0
		}
	}
	return size
}
