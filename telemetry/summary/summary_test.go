package summary

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"sluice/telemetry"
)

// exactly computes sum and deviation with 400 bits.
func exactly(values []float64) (sum, deviation float64) {
	number := func(x float64) *big.Float { return new(big.Float).SetPrec(400).SetFloat64(x) }
	total := number(0)
	for _, x := range values {
		total.Add(total, number(x))
	}
	mean := new(big.Float).SetPrec(400).Quo(total, number(float64(len(values))))
	squares := number(0)
	for _, x := range values {
		d := number(x)
		d.Sub(d, mean)
		squares.Add(squares, d.Mul(d, d))
	}
	sum, _ = total.Float64()
	deviation, _ = squares.Quo(squares, number(float64(len(values)))).Sqrt(squares).Float64()
	return sum, deviation
}

func near(t testing.TB, what string, got, want, relative float64) {
	t.Helper()
	if math.Abs(got-want) > relative*math.Abs(want) {
		t.Errorf("%s = %v, want %v within %v", what, got, want, relative)
	}
}

func TestAMillionReadingsNearABillionKeepTheirDeviation(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	values := make([]float64, 1_000_000)
	for i := range values {
		values[i] = 1e9 + 1e-3*random.NormFloat64()
	}
	sum, deviation := exactly(values)

	var one, merged Summary
	for i, x := range values {
		one.Add(int64(i), telemetry.FloatValue(x))
	}
	for i := 0; i < len(values); i += 15 {
		var window Summary
		for j := i; j < min(i+15, len(values)); j++ {
			window.Add(int64(j), telemetry.FloatValue(values[j]))
		}
		merged.Append(&window)
	}
	for name, s := range map[string]Summary{"one": one, "merged": merged} {
		near(t, name+" deviation", s.Deviation(), deviation, 1e-9)
		near(t, name+" sum", s.Sum.Float(), sum, 1e-15)
		near(t, name+" mean", s.Mean(), sum/1e6, 1e-15)
	}
	if deviation < 0.99e-3 || deviation > 1.01e-3 {
		t.Errorf("the test's own deviation is %v", deviation)
	}
}

// An outlier first must not cost the rest its digits.
func TestDeviationAfterAnOutlier(t *testing.T) {
	values := []float64{0}
	for i := range 100_000 {
		values = append(values, 1e9+float64(i%3)*1e-3)
	}
	_, deviation := exactly(values)
	var s Summary
	for i, x := range values {
		s.Add(int64(i), telemetry.FloatValue(x))
	}
	near(t, "deviation", s.Deviation(), deviation, 1e-12)
}

func TestSumKeepsWhatCancels(t *testing.T) {
	var s Summary
	for i, x := range []float64{1, 1e100, 1, -1e100} {
		s.Add(int64(i), telemetry.FloatValue(x))
	}
	// 106 bits do not hold 1e100+1: a double-double is no arbitrary precision.
	if got := s.Sum.Float(); got != 0 && got != 2 {
		t.Errorf("sum = %v", got)
	}
	s = Summary{}
	for i, x := range []float64{1, 1e20, 1, -1e20} {
		s.Add(int64(i), telemetry.FloatValue(x))
	}
	if got := s.Sum.Float(); got != 2 {
		t.Errorf("sum = %v, want 2", got)
	}
}

func TestStringsHaveCountFirstAndLastOnly(t *testing.T) {
	var s Summary
	s.Add(1, telemetry.TextValue("on"))
	s.Add(2, telemetry.FloatValue(4))
	s.Add(3, telemetry.BoolValue(true))
	s.Add(4, telemetry.TextValue("off"))
	if s.Count != 4 || s.Numbers != 2 {
		t.Errorf("count %d, numbers %d", s.Count, s.Numbers)
	}
	if s.First.Value.Text != "on" || s.Last.Value.Text != "off" {
		t.Errorf("first %v, last %v", s.First, s.Last)
	}
	if s.Min != 1 || s.Max != 4 || s.Mean() != 2.5 || s.Increase.Float() != 1 {
		t.Errorf("min %v max %v mean %v increase %v", s.Min, s.Max, s.Mean(), s.Increase)
	}
}

func TestPoolBreaksTiesByDevice(t *testing.T) {
	var a, b Summary
	a.Add(1, telemetry.FloatValue(10))
	a.Add(9, telemetry.FloatValue(11))
	b.Add(1, telemetry.FloatValue(20))
	b.Add(9, telemetry.FloatValue(26))
	a.Pool(&b)
	if x, _ := a.First.Value.Float(); x != 10 {
		t.Errorf("first = %v, want the lower id's", x)
	}
	if x, _ := a.Last.Value.Float(); x != 26 {
		t.Errorf("last = %v, want the greater id's", x)
	}
	if a.Increase.Float() != 7 {
		t.Errorf("increase = %v, want 7", a.Increase.Float())
	}
}

// However a series is cut, the merged summary says what the whole one says.
func TestAppendIsTheWhole(t *testing.T) {
	values := rapid.Custom(func(t *rapid.T) telemetry.Value {
		switch rapid.IntRange(0, 9).Draw(t, "kind") {
		case 0:
			return telemetry.TextValue(rapid.StringN(0, 3, 3).Draw(t, "text"))
		case 1:
			return telemetry.BoolValue(rapid.Bool().Draw(t, "bool"))
		default:
			return telemetry.FloatValue(rapid.Float64Range(-1e6, 1e6).Draw(t, "number"))
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		series := rapid.SliceOfN(values, 1, 40).Draw(t, "series")
		var whole, merged, part Summary
		for i, v := range series {
			whole.Add(int64(i), v)
			part.Add(int64(i), v)
			if rapid.Bool().Draw(t, "cut") {
				merged.Append(&part)
				part = Summary{}
			}
		}
		merged.Append(&part)
		same(t, &merged, &whole)
	})
}

func same(t *rapid.T, got, want *Summary) {
	t.Helper()
	if got.Count != want.Count || got.Numbers != want.Numbers || got.First != want.First || got.Last != want.Last {
		t.Fatalf("got %+v, want %+v", got, want)
	}
	if got.Numbers == 0 {
		return
	}
	if got.Min != want.Min || got.Max != want.Max || got.FirstNumber != want.FirstNumber || got.LastNumber != want.LastNumber {
		t.Fatalf("got %+v, want %+v", got, want)
	}
	for _, pair := range [][2]Exact{{got.Sum, want.Sum}, {got.Squares, want.Squares}, {got.Increase, want.Increase}} {
		a, b := pair[0].Float(), pair[1].Float()
		if math.Abs(a-b) > 1e-12*max(math.Abs(a), math.Abs(b), 1) {
			t.Fatalf("got %v, want %v", a, b)
		}
	}
}

func BenchmarkAddNumbers(b *testing.B) {
	bits := make([]uint64, 1440)
	for i := range bits {
		bits[i] = math.Float64bits(20 + math.Sin(float64(i)))
	}
	b.ReportAllocs()
	var s Summary
	for b.Loop() {
		s = Summary{}
		s.AddNumbers(0, 1, bits)
	}
	if s.Count != 1440 || s.Max < 20.9 {
		b.Fatal("wrong summary")
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1440, "ns/value")
}
