package block

import "sluice/telemetry"

// mixed marks a series whose values are of several kinds. Others begin with
// their telemetry.Kind.
const mixed = 0x0F

// series is the values of a metric, of one device or of several after each
// other, laid out as in a Column.
type series struct {
	bits  []uint64
	kinds []telemetry.Kind
	texts []string
}

// kind is that of all values, mixed if they differ.
func (s series) kind() byte {
	if s.kinds == nil {
		return byte(telemetry.Number)
	}
	if !same(s.kinds) {
		return mixed
	}
	return byte(s.kinds[0])
}

// series writes at least one value.
func (w *writer) series(s series, starts []int) {
	kind := s.kind()
	w.byte(kind)
	if kind != mixed {
		w.uniform(telemetry.Kind(kind), s, starts)
		return
	}
	w.values = grown(w.values, len(s.kinds))
	for i, k := range s.kinds {
		w.values[i] = int64(k)
	}
	w.ints(w.values, starts)
	for k := telemetry.Number; k <= telemetry.String; k++ {
		if part := s.of(k); len(part.bits) > 0 {
			w.uniform(k, part, nil)
		}
	}
}

// of picks the values of one kind.
func (s series) of(kind telemetry.Kind) series {
	var part series
	for i, k := range s.kinds {
		if k != kind {
			continue
		}
		part.bits = append(part.bits, s.bits[i])
		if kind == telemetry.String {
			part.texts = append(part.texts, s.texts[i])
		}
	}
	return part
}

func (w *writer) uniform(kind telemetry.Kind, s series, starts []int) {
	switch kind {
	case telemetry.Number:
		w.floats(s.bits, starts)
	case telemetry.String:
		w.texts(s.texts, starts)
	default:
		w.values = grown(w.values, len(s.bits))
		for i, b := range s.bits {
			w.values[i] = int64(b)
		}
		w.ints(w.values, starts)
	}
}

// values reads a series of n values, at least one.
func (r *reader) values(n int, starts []int) series {
	if !r.spend(n, 8) {
		return series{}
	}
	s := series{bits: make([]uint64, n)}
	kind := r.byte()
	switch {
	case kind == mixed:
		r.mixed(&s, starts)
	case kind == byte(telemetry.Number):
		r.floats(s.bits, starts)
	case kind > byte(telemetry.Number) && kind <= byte(telemetry.String):
		r.other(&s, telemetry.Kind(kind), starts)
	default:
		r.fail("series of kind %d", kind)
	}
	return s
}

// other reads values of a kind other than Number.
func (r *reader) other(s *series, kind telemetry.Kind, starts []int) {
	n := len(s.bits)
	if !r.spend(n, 1) {
		return
	}
	s.kinds = make([]telemetry.Kind, n)
	for i := range s.kinds {
		s.kinds[i] = kind
	}
	if kind != telemetry.String {
		r.whole(s.bits, kind, starts)
		return
	}
	if r.spend(n, 16) {
		s.texts = make([]string, n)
		r.texts(s.texts, starts)
	}
}

// whole reads integers or booleans.
func (r *reader) whole(dst []uint64, kind telemetry.Kind, starts []int) {
	v := r.ints(len(dst))
	r.series(v, starts)
	for i, x := range v {
		dst[i] = uint64(x)
		if kind == telemetry.Bool && x>>1 != 0 {
			r.fail("boolean %d", x)
			return
		}
	}
}

func (r *reader) mixed(s *series, starts []int) {
	n := len(s.bits)
	v := r.ints(n)
	r.series(v, starts)
	if r.err != nil || !r.spend(n, 1) {
		return
	}
	s.kinds = make([]telemetry.Kind, n)
	var count [telemetry.String + 1]int
	for i, k := range v {
		if k < int64(telemetry.Number) || k > int64(telemetry.String) {
			r.fail("value of kind %d", k)
			return
		}
		s.kinds[i] = telemetry.Kind(k)
		count[k]++
	}
	if n > 0 && count[s.kinds[0]] == n { // one kind is written as such: there is one normal form
		r.fail("values of one kind as of several")
		return
	}
	for k := telemetry.Number; k <= telemetry.String; k++ {
		if count[k] > 0 && r.err == nil {
			r.part(s, k, count[k])
		}
	}
}

// part reads the values of one kind into their places.
func (r *reader) part(s *series, kind telemetry.Kind, n int) {
	var bits []uint64
	var texts []string
	switch kind {
	case telemetry.String:
		if !r.spend(len(s.bits), 16) {
			return
		}
		s.texts = make([]string, len(s.bits))
		texts = make([]string, n)
		r.texts(texts, nil)
	case telemetry.Number:
		bits = make([]uint64, n)
		r.floats(bits, nil)
	default:
		bits = make([]uint64, n)
		r.whole(bits, kind, nil)
	}
	if r.err != nil {
		return
	}
	next := 0
	for i, k := range s.kinds {
		if k != kind {
			continue
		}
		if kind == telemetry.String {
			s.texts[i] = texts[next]
		} else {
			s.bits[i] = bits[next]
		}
		next++
	}
}
