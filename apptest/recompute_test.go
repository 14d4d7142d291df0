package apptest

import (
	"fmt"
	"math"
	"math/big"
	"slices"
	"time"
)

// fleet is what the devices have: device, time (nanoseconds since the Unix
// epoch), value of the one metric.
type fleet map[string]map[int64]float64

// point is a reading of a device.
type point struct {
	device string
	at     int64
	value  float64
}

// wanted is a bucket as it must be.
type wanted struct {
	count  int64
	values map[string]float64 // by aggregate
}

// aggregateNames are all aggregates that this version has, but for count.
var aggregateNames = []string{"sum", "avg", "min", "max", "first", "last", "stddev", "increase", "rate"}

// recompute folds the readings of devices in [from, to) into buckets of step
// (0: one), by start. It knows nothing of the service's code: sums are exact
// (400 bits hold any sum of numbers of these magnitudes).
func (f fleet) recompute(devices []string, from, to int64, step time.Duration) map[int64]*wanted {
	points, rises := map[int64][]point{}, map[int64]*big.Float{}
	for _, device := range devices {
		f.spread(device, from, to, step, points, rises)
	}
	buckets := map[int64]*wanted{}
	for start, in := range points {
		seconds := step.Seconds()
		if step == 0 {
			seconds = time.Duration(to - from).Seconds()
		}
		buckets[start] = fold(in, rises[start], seconds)
	}
	return buckets
}

// spread puts a device's readings into their buckets, and what each adds to
// the increase: over the former reading that is not before from.
func (f fleet) spread(device string, from, to int64, step time.Duration, points map[int64][]point, rises map[int64]*big.Float) {
	var times []int64
	for at := range f[device] {
		if at >= from && at < to {
			times = append(times, at)
		}
	}
	slices.Sort(times)
	for i, at := range times {
		start := from
		if step > 0 {
			start = at - at%int64(step) // times are after 1970
		}
		value := f[device][at]
		points[start] = append(points[start], point{device, at, value})
		if rises[start] == nil {
			rises[start] = exact(0)
		}
		if i == 0 {
			continue
		}
		rise := exact(value)
		if before := f[device][times[i-1]]; value >= before {
			rise.Sub(rise, exact(before))
		}
		rises[start].Add(rises[start], rise)
	}
}

func exact(x float64) *big.Float { return new(big.Float).SetPrec(400).SetFloat64(x) }

func fold(points []point, rise *big.Float, seconds float64) *wanted {
	sum, low, high := exact(0), math.Inf(1), math.Inf(-1)
	first, last := points[0], points[0]
	for _, p := range points {
		sum.Add(sum, exact(p.value))
		low, high = min(low, p.value), max(high, p.value)
		if p.at < first.at || p.at == first.at && p.device < first.device {
			first = p
		}
		if p.at > last.at || p.at == last.at && p.device > last.device {
			last = p
		}
	}
	n := exact(float64(len(points)))
	mean := exact(0).Quo(sum, n)
	squares := exact(0)
	for _, p := range points {
		d := exact(p.value)
		d.Sub(d, mean)
		squares.Add(squares, d.Mul(d, d))
	}
	deviation := exact(0).Sqrt(squares.Quo(squares, n))
	return &wanted{count: int64(len(points)), values: map[string]float64{
		"sum": rounded(sum), "avg": rounded(mean), "min": low, "max": high, "first": first.value, "last": last.value,
		"stddev": rounded(deviation), "increase": rounded(rise), "rate": rounded(exact(0).Quo(rise, exact(seconds))),
	}}
}

func rounded(x *big.Float) float64 {
	f, _ := x.Float64()
	return f
}

// differs compares relatively, to 1e-9.
func differs(got, want float64) bool {
	return math.Abs(got-want) > 1e-9*max(math.Abs(got), math.Abs(want)) || math.IsNaN(got)
}

// span is the range of whole days that has all readings.
func (f fleet) span() (from, to int64) {
	from, to = math.MaxInt64, math.MinInt64
	for _, readings := range f {
		for at := range readings {
			from, to = min(from, at), max(to, at+1)
		}
	}
	day := int64(24 * time.Hour)
	return from - from%day, to - to%day + day
}

// count is the number of readings.
func (f fleet) count() (n int) {
	for _, readings := range f {
		n += len(readings)
	}
	return n
}

func instant(at int64) string { return time.Unix(0, at).UTC().Format(time.RFC3339Nano) }

func (w *wanted) String() string { return fmt.Sprintf("count %d %v", w.count, w.values) }
