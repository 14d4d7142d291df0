package telemetry

import (
	"math"
	"math/big"
	"strconv"
)

// maxNumber bounds a number's text: no sensor sends one as long, and reading it
// takes time.
const maxNumber = 1024

// ParseNumber reads a JSON number. An integer (no fraction, no exponent) that a
// float64 holds exactly is a Number, another one that an int64 holds an
// Integer, and one beyond both is refused: rounding an id or a counter would
// lose it. With a fraction or exponent it is the nearest float64; beyond the
// largest is refused, too small for any is zero. The integer -0 is 0.
func ParseNumber[T text](s T) (Value, *Refusal) {
	if f, ok := shortNumber(s); ok {
		return FloatValue(f), nil
	}
	if len(s) > maxNumber {
		return Value{}, Refuse(InvalidValue, "number of %d bytes: at most %d", len(s), maxNumber)
	}
	integer, ok := numberSyntax(s)
	switch {
	case !ok:
		return Value{}, Refuse(InvalidValue, "%s is not a number", Quote(s))
	case integer:
		return longInteger(string(s))
	}
	f, err := strconv.ParseFloat(string(s), 64)
	if err != nil {
		return Value{}, refuseLarge(s)
	}
	return FloatValue(f), nil
}

func refuseLarge[T text](s T) *Refusal {
	return Refuse(InvalidValue, "number %s is beyond the largest, %g", Quote(s), math.MaxFloat64)
}

// powersOfTen are those that a float64 holds exactly and shortNumber needs.
var powersOfTen = [...]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15}

// shortNumber reads what nearly all sensors send: up to 15 digits and perhaps a
// dot among them. Digits and power of ten are exact then, so that the one
// division rounds correctly (Clinger, How to Read Floating Point Numbers
// Accurately, 1990).
func shortNumber[T text](s T) (f float64, ok bool) {
	i, negative := 0, false
	if len(s) > 0 && s[0] == '-' {
		i, negative = 1, true
	}
	if len(s)-i > 16 || i < len(s)-1 && s[i] == '0' && s[i+1] != '.' {
		return 0, false
	}
	start, dot, n := i, -1, uint64(0)
	for ; i < len(s); i++ {
		if s[i] == '.' && dot < 0 && i > start {
			dot = i
			continue
		}
		c := s[i] - '0'
		if c > 9 {
			return 0, false
		}
		n = n*10 + uint64(c)
	}
	last := len(s) - 1
	if last < start || dot == last || dot < 0 && last-start >= 15 {
		return 0, false
	}
	if f = float64(n); dot >= 0 {
		f /= powersOfTen[last-dot]
	}
	if negative && (n != 0 || dot >= 0) {
		f = -f
	}
	return f, true
}

// numberSyntax checks the grammar of RFC 8259 section 6, and says whether it is
// an integer's.
func numberSyntax[T text](s T) (integer, ok bool) {
	i := 0
	if i < len(s) && s[i] == '-' {
		i++
	}
	start := i
	if i = skipDigits(s, i); i == start || s[start] == '0' && i > start+1 {
		return false, false
	}
	if i == len(s) {
		return true, true
	}
	if s[i] == '.' {
		dot := i + 1
		if i = skipDigits(s, dot); i == dot {
			return false, false
		}
	}
	_, ok = parseExponent(s[i:])
	return false, ok
}

func skipDigits[T text](s T, i int) int {
	for i < len(s) && s[i]-'0' <= 9 {
		i++
	}
	return i
}

// longInteger reads an integer of any size.
func longInteger(s string) (Value, *Refusal) {
	if i, err := strconv.ParseInt(s, 10, 64); err == nil {
		return IntValue(i), nil
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return Value{}, refuseLarge(s)
	}
	exact, _ := new(big.Float).SetFloat64(f).Int(nil)
	if sent, ok := new(big.Int).SetString(s, 10); !ok || sent.Cmp(exact) != 0 {
		return Value{}, Refuse(InvalidValue, "integer %s would lose digits: send it as a string, or with an exponent if rounding is fine", Quote(s))
	}
	return FloatValue(f), nil
}
