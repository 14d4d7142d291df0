package telemetry

import "math/bits"

// maxUnixText bounds the text of a Unix number.
const maxUnixText = 64

// ParseUnix reads a Unix number, a JSON number in any of its forms, as
// nanoseconds since the Unix epoch. The unit is told by the size: below 5e9
// seconds, below 5e12 milliseconds, below 5e15 microseconds, else nanoseconds.
// It is decimal arithmetic throughout: no digit is rounded, and what is finer
// than a nanosecond is cut off (toward the past: the time is that of the
// nanosecond in which it lies).
func ParseUnix[T text](s T) (int64, *Refusal) {
	d, ok := parseDecimal(s)
	if !ok {
		return 0, Refuse(InvalidTimestamp, "%s is not a Unix number: send digits, as 1763870400.25", Quote(s))
	}
	t := d.nanoseconds()
	if !d.negative {
		return t, nil
	}
	return -t, nil
}

// decimal is ±0.d1d2d3… × 10^point, d1 not 0 unless all are.
type decimal struct {
	negative bool
	digits   [maxUnixText]byte // values 0 to 9
	n        int
	point    int
}

// parseDecimal reads -?int(.frac)?([eE][+-]?exp)? of RFC 8259 section 6.
func parseDecimal[T text](s T) (d decimal, ok bool) {
	if len(s) == 0 || len(s) > maxUnixText {
		return d, false
	}
	i := 0
	if s[0] == '-' {
		d.negative, i = true, 1
	}
	start := i
	i = take(&d, s, i)
	whole := i - start
	if whole == 0 || whole > 1 && s[start] == '0' {
		return d, false
	}
	d.point = whole
	if i < len(s) && s[i] == '.' {
		dot := i + 1
		if i = take(&d, s, dot); i == dot {
			return d, false
		}
	}
	exponent, ok := parseExponent(s[i:])
	d.point += exponent
	d.trim()
	return d, ok
}

// take appends the digits of s from i on to d and returns where they end.
func take[T text](d *decimal, s T, i int) int {
	for ; i < len(s) && s[i]-'0' <= 9; i++ {
		d.digits[d.n] = s[i] - '0'
		d.n++
	}
	return i
}

// parseExponent reads an exponent or nothing. Far ones are cut: they are out of
// every range.
func parseExponent[T text](s T) (int, bool) {
	if len(s) == 0 {
		return 0, true
	}
	if s[0]|0x20 != 'e' || len(s) == 1 {
		return 0, false
	}
	i, sign := 1, 1
	switch s[1] {
	case '-':
		i, sign = 2, -1
	case '+':
		i = 2
	}
	e, ok := 0, i < len(s)
	for ; i < len(s); i++ {
		c := s[i] - '0'
		if c > 9 {
			return 0, false
		}
		e = min(e*10+int(c), 10_000)
	}
	return sign * e, ok
}

// trim drops leading and trailing zeros.
func (d *decimal) trim() {
	zeros := 0
	for zeros < d.n && d.digits[zeros] == 0 {
		zeros++
	}
	copy(d.digits[:], d.digits[zeros:d.n])
	d.n -= zeros
	d.point -= zeros
	for d.n > 0 && d.digits[d.n-1] == 0 {
		d.n--
	}
	if d.n == 0 {
		d.point, d.negative = 0, false
	}
}

// nanoseconds is the size of d as time, in the unit that its size tells; of a
// negative one rounded up, so that the negated result lies before it.
func (d *decimal) nanoseconds() int64 {
	shift := 0
	for _, unit := range [...]struct{ digits, shift int }{{10, 9}, {13, 6}, {16, 3}} {
		if d.below(unit.digits) {
			shift = unit.shift
			break
		}
	}
	return d.scaled(shift)
}

// below says whether |d| < 5 × 10^(digits-1).
func (d *decimal) below(digits int) bool {
	return d.n == 0 || d.point < digits || d.point == digits && d.digits[0] < 5
}

// scaled is |d| × 10^shift, cut to whole numbers (of a negative d: rounded up),
// or maxTime if it is more.
func (d *decimal) scaled(shift int) int64 {
	point := d.point + shift
	if point > 19 {
		return maxTime
	}
	var u uint64
	for i := range max(point, 0) {
		hi, lo := bits.Mul64(u, 10)
		digit := uint64(0)
		if i < d.n {
			digit = uint64(d.digits[i])
		}
		sum, carry := bits.Add64(lo, digit, 0)
		if hi != 0 || carry != 0 {
			return maxTime
		}
		u = sum
	}
	if d.negative && d.n > max(point, 0) {
		u++
	}
	if u > uint64(maxTime) {
		return maxTime
	}
	return int64(u)
}
