// Package summary has what is kept of a metric's values over a stretch of time
// so that aggregates of longer stretches can be made of it. It does no I/O.
//
// Summaries of adjacent stretches of one device are merged with Append, those
// of the same stretch of several devices with Pool. A merge in the same order
// of the same parts gives the same bits: who folds raw readings in the windows
// in which summaries are stored gets the answer that the stored ones give.
package summary

import (
	"math"

	"sluice/telemetry"
)

// Point is a value and its time (nanoseconds since the Unix epoch).
type Point struct {
	Time  int64
	Value telemetry.Value
}

// Summary is what is kept of a metric's values. The zero Summary is that of no
// values. Those fields that speak of numbers (booleans are 0 and 1) leave
// strings out.
type Summary struct {
	Count       int64 // of all values
	First, Last Point // of all values

	Numbers                 int64
	Sum                     Exact
	Squares                 Exact // of the deviations from the mean, summed
	Min, Max                float64
	FirstNumber, LastNumber float64
	// Increase is that between consecutive numbers within the stretch: the
	// difference, after a fall the later one.
	Increase Exact
}

// Add adds a value later than those before.
func (s *Summary) Add(time int64, v telemetry.Value) {
	point := Point{time, v}
	if s.Count == 0 {
		s.First = point
	}
	s.Count++
	s.Last = point
	if x, ok := v.Float(); ok {
		s.number(x)
	}
}

// AddNumbers adds values of kind telemetry.Number, given by their bits, later
// than those before; first and last are the times of the first and last of
// them. No values: nothing.
func (s *Summary) AddNumbers(first, last int64, bits []uint64) {
	if len(bits) == 0 {
		return
	}
	if s.Count == 0 {
		s.First = Point{first, telemetry.Value{Kind: telemetry.Number, Bits: bits[0]}}
	}
	s.Count += int64(len(bits))
	s.Last = Point{last, telemetry.Value{Kind: telemetry.Number, Bits: bits[len(bits)-1]}}
	for _, b := range bits {
		s.number(math.Float64frombits(b))
	}
}

// number adds to what speaks of numbers. The deviations follow Youngs and
// Cramer, "Some results relevant to choice of sum and sum-of-product
// algorithms" (1971), with n*x - sum computed exactly where it cancels.
func (s *Summary) number(x float64) {
	s.Numbers++
	if s.Numbers == 1 {
		s.Sum = Exact{Hi: x}
		s.Min, s.Max, s.FirstNumber, s.LastNumber = x, x, x, x
		return
	}
	n := float64(s.Numbers)
	s.Sum = s.Sum.Add(x)
	product, lost := twoProduct(n, x)
	d := (product - s.Sum.Hi) + (lost - s.Sum.Lo)
	s.Squares = s.Squares.Add(d * d / (n * (n - 1)))
	s.Rise(s.LastNumber, x)
	s.LastNumber = x
	if x < s.Min {
		s.Min = x
	}
	if x > s.Max {
		s.Max = x
	}
}

// Rise adds the increase from a number to the next one: the difference, or the
// later one if it fell, as a counter that began again at 0 does. It is for the
// number before the stretch and its first; those within are added already.
func (s *Summary) Rise(former, later float64) {
	if later < former {
		s.Increase = s.Increase.Add(later)
		return
	}
	difference, lost := twoSum(later, -former)
	sum, e := twoSum(s.Increase.Hi, difference)
	s.Increase = renormal(sum, e+s.Increase.Lo+lost)
}

// Append adds the summary of a later stretch of the same device: the increase
// across the border is added.
func (s *Summary) Append(later *Summary) {
	if later.Count == 0 {
		return
	}
	if s.Count == 0 {
		*s = *later
		return
	}
	if s.Numbers > 0 && later.Numbers > 0 {
		s.Rise(s.LastNumber, later.FirstNumber)
	}
	s.Last = later.Last
	s.merge(later)
	if later.Numbers > 0 {
		s.LastNumber = later.LastNumber
	}
}

// Pool adds the summary of another device, whose id is greater, over the same
// stretch. Of equal times the first value is that of the lower id, the last one
// that of the greater; nothing can be appended to a pooled summary.
func (s *Summary) Pool(other *Summary) {
	if other.Count == 0 {
		return
	}
	if s.Count == 0 {
		*s = *other
		return
	}
	if other.First.Time < s.First.Time {
		s.First = other.First
	}
	if other.Last.Time >= s.Last.Time {
		s.Last = other.Last
	}
	s.merge(other)
}

// merge adds what has no order. The deviations follow Chan, Golub and LeVeque,
// "Updating formulae and a pairwise algorithm for computing sample variances"
// (1979).
func (s *Summary) merge(other *Summary) {
	s.Count += other.Count
	s.Increase = s.Increase.Plus(other.Increase)
	switch {
	case other.Numbers == 0:
		return
	case s.Numbers == 0:
		s.Numbers, s.Sum, s.Squares = other.Numbers, other.Sum, other.Squares
		s.Min, s.Max = other.Min, other.Max
		s.FirstNumber, s.LastNumber = other.FirstNumber, other.LastNumber
		return
	}
	a, b := float64(s.Numbers), float64(other.Numbers)
	d := s.Sum.Times(b).Plus(other.Sum.Times(a).negative()).Float()
	s.Squares = s.Squares.Plus(other.Squares).Add(d / a / b * d / (a + b))
	s.Sum = s.Sum.Plus(other.Sum)
	s.Numbers += other.Numbers
	s.Min, s.Max = min(s.Min, other.Min), max(s.Max, other.Max)
}

// Mean is the mean of the numbers, NaN without any.
func (s *Summary) Mean() float64 { return s.Sum.Float() / float64(s.Numbers) }

// Deviation is the standard deviation of the population, NaN without numbers.
func (s *Summary) Deviation() float64 {
	return math.Sqrt(s.Squares.Float() / float64(s.Numbers))
}
