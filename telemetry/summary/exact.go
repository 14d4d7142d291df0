package summary

import "math"

// Exact is a number of about 106 bits as the unevaluated sum of two float64
// (double-double): Hi is the float64 nearest to it, Lo what is left. Sums are
// kept like this because the deviation of a million readings of 1e9 that
// differ by 1e-3 drowns in the rounding of a plain sum. T. J. Dekker, "A
// floating-point technique for extending the available precision" (1971).
type Exact struct {
	Hi, Lo float64
}

// Add adds a float64.
func (a Exact) Add(x float64) Exact {
	s, e := twoSum(a.Hi, x)
	return renormal(s, e+a.Lo)
}

// Plus adds another one.
func (a Exact) Plus(b Exact) Exact {
	s, e := twoSum(a.Hi, b.Hi)
	t, f := twoSum(a.Lo, b.Lo)
	c := renormal(s, e+t)
	return renormal(c.Hi, c.Lo+f)
}

// Times multiplies with a float64.
func (a Exact) Times(x float64) Exact {
	p, e := twoProduct(a.Hi, x)
	return renormal(p, e+a.Lo*x)
}

// Float is the nearest float64.
func (a Exact) Float() float64 { return a.Hi + a.Lo }

func (a Exact) negative() Exact { return Exact{-a.Hi, -a.Lo} }

// twoSum is a+b and what its rounding lost.
func twoSum(a, b float64) (sum, lost float64) {
	sum = a + b
	bb := sum - a
	return sum, (a - (sum - bb)) + (b - bb)
}

// twoProduct is a*b and what its rounding lost.
func twoProduct(a, b float64) (product, lost float64) {
	product = a * b
	return product, math.FMA(a, b, -product)
}

// renormal is twoSum for |a| >= |b|.
func renormal(a, b float64) Exact {
	s := a + b
	return Exact{Hi: s, Lo: b - (s - a)}
}
