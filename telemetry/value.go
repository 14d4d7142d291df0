package telemetry

import (
	"cmp"
	"math"
	"strconv"
	"strings"
)

// Kind says what a Value holds.
type Kind uint8

// The kinds of a value, in the order in which Compare ranks them.
const (
	None    Kind = iota // no value
	Number              // a float64
	Integer             // an int64 that no float64 holds exactly
	Bool                // true or false
	String              // UTF-8 text
)

// Value is one metric's value. Numbers are exact to the bit, integers that no
// float64 holds are kept as int64. The zero Value is None. Values are compared
// with ==, except that == tells nothing of order: see Compare.
type Value struct {
	Kind Kind
	Bits uint64 // float64 bits, two's complement or 0/1
	Text string // of a String
}

// FloatValue holds f, which must be finite.
func FloatValue(f float64) Value { return Value{Kind: Number, Bits: math.Float64bits(f)} }

// IntValue holds i: as a Number where a float64 holds it exactly, so that the
// same number is the same value however it was written.
func IntValue(i int64) Value {
	if f := float64(i); f < math.MaxInt64 && int64(f) == i {
		return FloatValue(f)
	}
	return Value{Kind: Integer, Bits: uint64(i)}
}

// BoolValue holds b.
func BoolValue(b bool) Value {
	if b {
		return Value{Kind: Bool, Bits: 1}
	}
	return Value{Kind: Bool}
}

// TextValue holds s.
func TextValue(s string) Value { return Value{Kind: String, Text: s} }

// Float returns the value as aggregates see it: numbers as they are, booleans
// as 0 and 1; false for strings and for no value.
func (v Value) Float() (float64, bool) {
	switch v.Kind {
	case Number:
		return math.Float64frombits(v.Bits), true
	case Integer:
		return float64(int64(v.Bits)), true
	case Bool:
		return float64(v.Bits), true
	default:
		return 0, false
	}
}

// Compare orders values by kind, then by bits, then by text. It decides between
// values with equal stamps ("the greater bytes" of rule 1) and means nothing
// else: it is no numeric order.
func Compare(a, b Value) int {
	if c := cmp.Compare(a.Kind, b.Kind); c != 0 {
		return c
	}
	if c := cmp.Compare(a.Bits, b.Bits); c != 0 {
		return c
	}
	return strings.Compare(a.Text, b.Text)
}

// AppendNumber appends a decimal that ParseNumber and every other reader take
// for the same number: plain from 1e-6 up to 1e21, else with an exponent. It is
// the shortest, but integers from 2^53 on have all their digits, as who reads
// them as integers would get others from fewer, and the float64 -0 is -0.0. It
// is for Number and Integer.
func (v Value) AppendNumber(dst []byte) []byte {
	if v.Kind == Integer {
		return strconv.AppendInt(dst, int64(v.Bits), 10)
	}
	return AppendFloat(dst, math.Float64frombits(v.Bits))
}

// AppendFloat appends f as AppendNumber does.
func AppendFloat(dst []byte, f float64) []byte {
	switch abs := math.Abs(f); {
	case abs == 0 && math.Signbit(f):
		return append(dst, "-0.0"...)
	case abs != 0 && abs < 1e-6, abs >= 1e21:
		return strconv.AppendFloat(dst, f, 'e', -1, 64)
	case abs >= 1<<53:
		return strconv.AppendFloat(dst, f, 'f', 0, 64)
	default:
		return strconv.AppendFloat(dst, f, 'f', -1, 64)
	}
}
