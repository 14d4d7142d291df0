package block

import (
	"cmp"
	"math"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"sluice/telemetry"
)

// The generators draw from few names, times and stamps, so that rows, columns
// and values collide.

func anyValue() *rapid.Generator[telemetry.Value] {
	nasty := []float64{
		0, math.Copysign(0, -1), 1, -1, 0.1, 0.2, 0.30000000000000004, 21.5, 21.55, 1e-300, 1e300,
		math.SmallestNonzeroFloat64, -math.SmallestNonzeroFloat64, math.MaxFloat64, -math.MaxFloat64,
		1 << 53, 1<<53 + 2, 1 << 62, 1 << 63, -(1 << 63), 1e22, 1e23, 4503599627370497.5, 74.93588199999998, math.Pi,
	}
	return rapid.OneOf(
		rapid.Map(rapid.IntRange(-500, 500), func(i int) telemetry.Value { return telemetry.FloatValue(float64(i) / 10) }),
		rapid.Map(rapid.SampledFrom(nasty), telemetry.FloatValue),
		rapid.Map(rapid.Float64Range(-math.MaxFloat64, math.MaxFloat64), telemetry.FloatValue),
		rapid.Map(rapid.Int64(), telemetry.IntValue),
		rapid.Map(rapid.Bool(), telemetry.BoolValue),
		rapid.Map(rapid.SampledFrom([]string{"", "OK", "error", "ä\x00"}), telemetry.TextValue),
		rapid.Map(rapid.String(), telemetry.TextValue),
	)
}

// likeValues draws values of one kind mostly, as real metrics have.
func likeValues(t *rapid.T) *rapid.Generator[telemetry.Value] {
	decimals := rapid.IntRange(0, 4).Draw(t, "decimals")
	switch rapid.IntRange(0, 5).Draw(t, "values") {
	case 0:
		return rapid.Map(rapid.Bool(), telemetry.BoolValue)
	case 1:
		return rapid.Map(rapid.SampledFrom([]string{"", "OK", "error"}), telemetry.TextValue)
	case 2:
		return rapid.Map(rapid.Int64(), telemetry.IntValue)
	case 3:
		return anyValue()
	default:
		return rapid.Map(rapid.IntRange(-9999, 9999), func(i int) telemetry.Value {
			return telemetry.FloatValue(float64(i) / math.Pow10(decimals))
		})
	}
}

var metricNames = []string{"", "a", "b", "°C", "temperature", "temperature-in"}

func anyReadings(devices []string, atMost int) *rapid.Generator[[]telemetry.Reading] {
	return rapid.Custom(func(t *rapid.T) []telemetry.Reading {
		values := map[string]*rapid.Generator[telemetry.Value]{}
		for _, name := range metricNames {
			values[name] = likeValues(t)
		}
		times := anyTimes(t)
		stamps := rapid.OneOf(rapid.Int64Range(0, 1), rapid.Int64Range(0, 3), rapid.Int64())
		atLeast := rapid.SampledFrom([]int{0, 1, 15}).Draw(t, "at least")
		return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) telemetry.Reading {
			r := telemetry.Reading{
				Device: rapid.SampledFrom(devices).Draw(t, "device"),
				Time:   times.Draw(t, "time"),
				Stamp:  telemetry.Stamp(stamps.Draw(t, "stamp")),
			}
			names := rapid.SliceOfNDistinct(rapid.SampledFrom(metricNames), 0, 4, rapid.ID[string]).Draw(t, "metrics")
			for _, name := range names {
				r.Metrics = append(r.Metrics, telemetry.Metric{Name: name, Value: values[name].Draw(t, "value")})
			}
			keys := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"site", "line"}), 0, 2, rapid.ID[string]).Draw(t, "tags")
			for _, key := range keys {
				tag := telemetry.Tag{Key: key, Removed: rapid.Bool().Draw(t, "removed")}
				if !tag.Removed {
					tag.Value = rapid.SampledFrom([]string{"", "x", "y"}).Draw(t, "tag")
				}
				r.Tags = append(r.Tags, tag)
			}
			return r
		}), atLeast, atMost).Draw(t, "readings")
	})
}

func anyTimes(t *rapid.T) *rapid.Generator[int64] {
	switch rapid.IntRange(0, 5).Draw(t, "times") {
	case 0, 1, 2:
		return rapid.Int64Range(0, 5)
	case 3:
		return rapid.Map(rapid.Int64Range(0, 100), func(i int64) int64 { return 1_700_000_000e9 + i*60e9 })
	case 4:
		return rapid.Map(rapid.Int64Range(-1e6, 1e6), func(i int64) int64 { return i * 1e6 })
	default:
		return rapid.Int64()
	}
}

func anyFrame() *rapid.Generator[Frame] {
	return rapid.Map(anyReadings([]string{"d"}, 150), func(readings []telemetry.Reading) Frame {
		for _, d := range FromReadings(readings) {
			return d.Readings
		}
		return Frame{}
	})
}

// point is where a value belongs, cell what an oracle keeps of it.
type point struct {
	time   int64
	metric string
}

type cell struct {
	stamp telemetry.Stamp
	value telemetry.Value
}

// oracle is a frame as a map: rule 1 and nothing else.
type oracle map[point]cell

func (o oracle) add(f *Frame) {
	for i := range f.Columns {
		c := &f.Columns[i]
		for k := range c.Bits {
			o.put(f.Times[c.Row(k)], f.Stamps[c.Row(k)], c.Name, c.Value(k))
		}
	}
}

func (o oracle) put(time int64, stamp telemetry.Stamp, metric string, v telemetry.Value) {
	p := point{time, metric}
	old, ok := o[p]
	if !ok || stamp > old.stamp || stamp == old.stamp && telemetry.Compare(v, old.value) > 0 {
		o[p] = cell{stamp, v}
	}
}

// frame builds the resolved frame by way of FromReadings.
func (o oracle) frame() Frame {
	var readings []telemetry.Reading
	for p, c := range o {
		readings = append(readings, telemetry.Reading{Device: "d", Time: p.time, Stamp: c.stamp,
			Metrics: []telemetry.Metric{{Name: p.metric, Value: c.value}}})
	}
	for _, d := range FromReadings(readings) {
		return d.Readings
	}
	return Frame{}
}

func mustBeNormal(t interface{ Fatalf(string, ...any) }, f *Frame) {
	if err := f.validate(); err != nil {
		t.Fatalf("not in normal form: %v\n%+v", err, f)
	}
	if f.Len() == 0 && !reflect.DeepEqual(*f, Frame{}) {
		t.Fatalf("empty frame has %+v", f)
	}
}

func mustEqual(t interface{ Fatalf(string, ...any) }, got, want any) {
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("got\n%+v\nwant\n%+v", got, want)
	}
}

func TestFromReadings(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		readings := anyReadings([]string{"a", "b", "pump-1", "pump-10"}, 60).Draw(t, "in")
		devices := FromReadings(readings)
		want := map[string]oracle{}
		type row struct {
			device string
			time   int64
			stamp  telemetry.Stamp
		}
		rows := map[row]map[string]telemetry.Value{}
		for _, r := range readings {
			if want[r.Device] == nil {
				want[r.Device] = oracle{}
			}
			for _, m := range r.Metrics {
				want[r.Device].put(r.Time, r.Stamp, m.Name, m.Value)
				at := row{r.Device, r.Time, r.Stamp}
				if rows[at] == nil {
					rows[at] = map[string]telemetry.Value{}
				}
				if old, ok := rows[at][m.Name]; !ok || telemetry.Compare(m.Value, old) > 0 {
					rows[at][m.Name] = m.Value
				}
			}
		}
		if len(devices) != len(want) {
			t.Fatalf("%d devices of %d", len(devices), len(want))
		}
		total := 0
		for i := range devices {
			d := &devices[i]
			if i > 0 && devices[i-1].ID >= d.ID {
				t.Fatalf("%q after %q", d.ID, devices[i-1].ID)
			}
			mustBeNormal(t, &d.Readings)
			total += d.Readings.Len()
			for k := range d.Readings.Columns {
				c := &d.Readings.Columns[k]
				for j := range c.Bits {
					at := row{d.ID, d.Readings.Times[c.Row(j)], d.Readings.Stamps[c.Row(j)]}
					if v, ok := rows[at][c.Name]; !ok || v != c.Value(j) {
						t.Fatalf("%+v %q is %+v, not %+v", at, c.Name, c.Value(j), v)
					}
					delete(rows[at], c.Name)
				}
			}
			got := oracle{}
			got.add(&d.Readings)
			mustEqual(t, got, want[d.ID])
		}
		if total != len(rows) {
			t.Fatalf("%d rows, not %d", total, len(rows))
		}
		for at, left := range rows {
			if len(left) > 0 {
				t.Fatalf("%+v lacks %+v", at, left)
			}
		}
	})
}

func TestFromReadingsTags(t *testing.T) {
	tag := func(key, value string) []telemetry.Tag { return []telemetry.Tag{{Key: key, Value: value}} }
	devices := FromReadings([]telemetry.Reading{
		{Device: "d", Time: 2, Stamp: 1, Tags: tag("site", "b")},
		{Device: "d", Time: 1, Stamp: 2, Tags: tag("site", "a")},
		{Device: "d", Time: 2, Stamp: 1, Tags: []telemetry.Tag{{Key: "site", Removed: true}}},
		{Device: "d", Time: 3, Stamp: 1, Tags: tag("line", "1")},
	})
	want := []Device{{ID: "d", Tags: []TagChange{
		{Tag: telemetry.Tag{Key: "line", Value: "1"}, Time: 3, Stamp: 1},
		{Tag: telemetry.Tag{Key: "site", Value: "a"}, Time: 1, Stamp: 2},
		{Tag: telemetry.Tag{Key: "site", Value: "b"}, Time: 2, Stamp: 1},
	}}}
	mustEqual(t, devices, want)
}

func TestMerge(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := anyFrame().Draw(t, "a"), anyFrame().Draw(t, "b"), anyFrame().Draw(t, "c")
		if rapid.Bool().Draw(t, "apart") {
			apart(&a, &b)
		}
		ab := Merge(a, b)
		mustBeNormal(t, &ab)
		want := oracle{}
		want.add(&a)
		want.add(&b)
		mustEqual(t, ab, want.frame())
		mustEqual(t, Merge(b, a), ab)
		mustEqual(t, Merge(ab, a), ab)
		mustEqual(t, Merge(ab, ab), ab)
		mustEqual(t, Merge(ab, c), Merge(a, Merge(b, c)))
		mustEqual(t, Resolve(ab), ab)
	})
}

// apart moves the halves of two frames' times so that one is before the other.
func apart(a, b *Frame) {
	shift := func(f *Frame, sign int64) {
		times := slices.Clone(f.Times)
		for i, t := range times {
			times[i] = t/4 + sign*(1<<61)
		}
		moved := *f
		moved.Times = times
		*f = rebuilt(moved)
	}
	shift(a, -1)
	shift(b, 1)
}

// rebuilt makes a frame again from its rows, whose times may collide.
func rebuilt(f Frame) Frame {
	var readings []telemetry.Reading
	for row := range f.Times {
		r := telemetry.Reading{Device: "d", Time: f.Times[row], Stamp: f.Stamps[row]}
		for i := range f.Columns {
			c := &f.Columns[i]
			for k := range c.Bits {
				if c.Row(k) == row {
					r.Metrics = append(r.Metrics, telemetry.Metric{Name: c.Name, Value: c.Value(k)})
				}
			}
		}
		readings = append(readings, r)
	}
	for _, d := range FromReadings(readings) {
		return d.Readings
	}
	return Frame{}
}

func TestMergeAll(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		frames := rapid.SliceOfN(anyFrame(), 0, 9).Draw(t, "frames")
		want := oracle{}
		for i := range frames {
			want.add(&frames[i])
		}
		mustEqual(t, MergeAll(frames), want.frame())
	})
}

func TestSelect(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := anyFrame().Draw(t, "frame")
		keep := func(rows func(i int) bool, columns func(string) bool) Frame {
			var readings []telemetry.Reading
			for row := range f.Times {
				if !rows(row) {
					continue
				}
				r := telemetry.Reading{Device: "d", Time: f.Times[row], Stamp: f.Stamps[row]}
				for i := range f.Columns {
					c := &f.Columns[i]
					for k := range c.Bits {
						if c.Row(k) == row && columns(c.Name) {
							r.Metrics = append(r.Metrics, telemetry.Metric{Name: c.Name, Value: c.Value(k)})
						}
					}
				}
				readings = append(readings, r)
			}
			for _, d := range FromReadings(readings) {
				return d.Readings
			}
			return Frame{}
		}
		all := func(string) bool { return true }
		from := rapid.IntRange(0, f.Len()).Draw(t, "from")
		to := rapid.IntRange(from, f.Len()).Draw(t, "to")
		mustEqual(t, f.Slice(from, to), keep(func(i int) bool { return from <= i && i < to }, all))
		if f.Len() > 0 {
			stamp := rapid.SampledFrom(f.Stamps).Draw(t, "stamp")
			mustEqual(t, f.Above(stamp), keep(func(i int) bool { return f.Stamps[i] > stamp }, all))
			low, high := rapid.SampledFrom(f.Times).Draw(t, "low"), rapid.SampledFrom(f.Times).Draw(t, "high")
			mustEqual(t, f.Between(low, high), keep(func(i int) bool { return low <= f.Times[i] && f.Times[i] < high }, all))
		}
		names := rapid.SliceOf(rapid.SampledFrom(metricNames)).Draw(t, "names")
		has := func(name string) bool { return slices.Contains(names, name) }
		mustEqual(t, f.Only(names), keep(func(int) bool { return true }, has))
		if len(f.Columns) > 1 {
			a, b := f.SplitMetrics()
			mustBeNormal(t, &a)
			mustBeNormal(t, &b)
			if len(a.Columns) == 0 || len(b.Columns) == 0 {
				t.Fatalf("split %d columns into %d and %d", len(f.Columns), len(a.Columns), len(b.Columns))
			}
			mustEqual(t, Merge(a, b), Resolve(f))
		}
	})
}

func TestEach(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := anyFrame().Draw(t, "frame")
		want := oracle{}
		want.add(&f)
		times := slices.Compact(slices.Clone(f.Times))
		if len(times) != f.Readings() {
			t.Fatalf("%d readings, not %d", f.Readings(), len(times))
		}
		for _, descending := range []bool{false, true} {
			var seen []int64
			count := 0
			for time, cells := range f.Each(descending) {
				seen = append(seen, time)
				for i, c := range cells {
					if i > 0 && cells[i-1].Column >= c.Column {
						t.Fatalf("columns out of order")
					}
					if got := want[point{time, f.Columns[c.Column].Name}].value; got != c.Value {
						t.Fatalf("%d %q is %+v, not %+v", time, f.Columns[c.Column].Name, c.Value, got)
					}
					count++
				}
			}
			if count != len(want) {
				t.Fatalf("%d values, not %d", count, len(want))
			}
			if descending {
				slices.Reverse(seen)
			}
			mustEqual(t, seen, times)
		}
	})
}

func TestEachStops(t *testing.T) {
	f := Frame{Times: []int64{1, 2, 3}, Stamps: []telemetry.Stamp{1, 1, 1}, Columns: []Column{{Name: "a", Bits: []uint64{1, 2, 3}}}}
	for _, descending := range []bool{false, true} {
		n := 0
		for range f.Each(descending) {
			n++
			if n == 2 {
				break
			}
		}
		if n != 2 {
			t.Fatalf("%d steps", n)
		}
	}
}

func sortByID(devices []Device) {
	slices.SortFunc(devices, func(a, b Device) int { return cmp.Compare(a.ID, b.ID) })
}
