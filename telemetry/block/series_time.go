package block

import "sluice/telemetry"

// units are the steps in which times are counted if all are multiples: devices
// have clocks of minutes, seconds, milli- or microseconds. Each divides the
// next.
var units = [...]int64{1, 1e3, 1e6, 1e9, 60e9}

// Stamps are written as they are, or as what they are after the times of their
// rows: of readings that arrive one by one as they are measured, that is the
// way they took.
const (
	stampsPlain = 0
	stampsAfter = 1
)

// times writes nanoseconds: the unit, then the series of multiples.
func (w *writer) times(v []int64, starts []int) {
	if len(v) == 0 {
		return
	}
	w.byte(byte(w.scaleTimes(v)))
	w.ints(w.values, starts)
}

// scaleTimes fills values with multiples of the unit that it returns.
func (w *writer) scaleTimes(v []int64) int {
	unit := commonUnit(v)
	w.values = grown(w.values, len(v))
	if step := units[unit]; step == 1 {
		copy(w.values, v)
	} else {
		for i, t := range v {
			w.values[i] = t / step
		}
	}
	return unit
}

func commonUnit(v []int64) int {
	unit := len(units) - 1
	for _, t := range v {
		for t%units[unit] != 0 {
			unit--
		}
		if unit == 0 {
			break
		}
	}
	return unit
}

// stamps writes the stamps of rows with these times.
func (w *writer) stamps(stamps []telemetry.Stamp, times []int64, starts []int) {
	if len(stamps) == 0 {
		return
	}
	plain, after := grown(w.rows, len(stamps)), grown(w.after, len(stamps))
	w.rows, w.after = plain, after
	for i, s := range stamps {
		plain[i], after[i] = int64(s), int64(s)-times[i]
	}
	w.scaleTimes(plain)
	size := w.plan(w.values, starts).size
	w.scaleTimes(after)
	if w.plan(w.values, starts).size < size {
		w.byte(stampsAfter)
		w.times(after, starts)
		return
	}
	w.byte(stampsPlain)
	w.times(plain, starts)
}

func (r *reader) times(dst []int64, starts []int) {
	if len(dst) == 0 {
		return
	}
	unit := r.byte()
	if int(unit) >= len(units) {
		r.fail("times in unit %d", unit)
		return
	}
	r.series(dst, starts)
	if step := units[unit]; step != 1 {
		for i := range dst {
			dst[i] *= step
		}
	}
}

func (r *reader) stamps(dst []telemetry.Stamp, times []int64, starts []int) {
	if len(dst) == 0 {
		return
	}
	layout := r.byte()
	v := r.ints(len(dst))
	r.times(v, starts)
	switch {
	case r.err != nil:
	case layout == stampsPlain:
		for i, s := range v {
			dst[i] = telemetry.Stamp(s)
		}
	case layout == stampsAfter:
		for i, s := range v {
			dst[i] = telemetry.Stamp(s + times[i])
		}
	default:
		r.fail("stamps of layout %d", layout)
	}
}
