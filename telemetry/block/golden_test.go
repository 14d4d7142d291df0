package block

import (
	"encoding/hex"
	"flag"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"

	"sluice/telemetry"
)

var update = flag.Bool("update", false, "write testdata/v1.txt anew: only for a version that nobody has stored yet")

// goldenDevices use every layout of version 1.
func goldenDevices() []Device {
	var readings []telemetry.Reading
	add := func(device string, time int64, metrics ...telemetry.Metric) {
		readings = append(readings, telemetry.Reading{Device: device, Time: time, Stamp: telemetry.Stamp(time + 40_000_123), Metrics: metrics})
	}
	float := func(name string, f float64) telemetry.Metric {
		return telemetry.Metric{Name: name, Value: telemetry.FloatValue(f)}
	}
	text := func(name, s string) telemetry.Metric {
		return telemetry.Metric{Name: name, Value: telemetry.TextValue(s)}
	}
	for i := range 150 {
		at := 1_780_000_020e9 + int64(i)*60e9
		add("one", at, float("constant", 21.5), float("decimal", float64(i%7)/10), float("irrational", math.Sqrt(float64(i))),
			text("state", []string{"OK", "error"}[i/60%2]), text("unique", fmt.Sprint("value ", i, " of some length that compresses")),
			telemetry.Metric{Name: "on", Value: telemetry.BoolValue(i%9 == 0)},
			telemetry.Metric{Name: "counter", Value: telemetry.IntValue(1<<60 + 1 + int64(i*i*3))})
		if i%3 == 0 {
			add("sparse", at, float("a", float64(i)))
			add("sparse", at+1, float("b", math.Copysign(0, -1)), float("c", 0.1*float64(i)))
		}
	}
	for i := range 40 {
		device := fmt.Sprintf("pump-%02d", i)
		add(device, int64(i*1000), float("t", float64(i)), float("u", 1e300))
		add(device, int64(i*1000+500), float("t", float64(i)+0.5), float("u", 5))
		readings[len(readings)-1].Stamp += telemetry.Stamp(i / 30 * 1e12)
	}
	add("mixed", -5, float("m", 1))
	add("mixed", -4, text("m", "x"))
	add("mixed", -3, telemetry.Metric{Name: "m", Value: telemetry.BoolValue(true)})
	readings[len(readings)-1].Tags = []telemetry.Tag{{Key: "line", Removed: true}, {Key: "site", Value: "berlin"}}
	devices := FromReadings(readings)
	devices[0].Cut = 77
	return devices
}

// TestGolden decodes what the first release wrote.
func TestGolden(t *testing.T) {
	const path = "testdata/v1.txt"
	devices := goldenDevices()
	if *update {
		lines := []string{hex.EncodeToString(mustEncode(t, devices, 1<<20)[0])}
		for i := range devices[:3] {
			c := EncodeColumns(&devices[i].Readings)
			lines = append(lines, hex.EncodeToString(c.Index))
			for _, m := range c.Metrics {
				lines = append(lines, hex.EncodeToString(m.Data))
			}
		}
		if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Fields(string(content))
	next := func() []byte {
		data, err := hex.DecodeString(lines[0])
		if err != nil {
			t.Fatal(err)
		}
		lines = lines[1:]
		return data
	}
	got, err := Decode(next())
	if err != nil {
		t.Fatal(err)
	}
	mustEqual(t, got, devices)
	for i := range devices[:3] {
		c := Columns{Index: next()}
		for k := range devices[i].Readings.Columns {
			c.Metrics = append(c.Metrics, MetricColumn{devices[i].Readings.Columns[k].Name, next()})
		}
		f, err := DecodeColumns(c)
		if err != nil {
			t.Fatal(err)
		}
		mustEqual(t, f, devices[i].Readings)
	}
}

// TestExactFloats puts values that decimals do not hold among those that they
// do.
func TestExactFloats(t *testing.T) {
	odd := []float64{
		math.Copysign(0, -1), math.SmallestNonzeroFloat64, -math.SmallestNonzeroFloat64, math.MaxFloat64, -math.MaxFloat64,
		0.1 + 0.2, math.Pi, 1 << 53, 1<<53 + 2, 1 << 62, 1 << 63, -1 << 63, 1e22, 1e23, 74.93588199999998, math.Nextafter(21.5, 22),
		math.Inf(1), math.NaN(),
	}
	for _, usual := range []float64{0, 21.5, 1234.56789, 1e9, math.E} {
		for _, o := range odd {
			for _, every := range []int{1, 2, 7, 100} {
				f := constantFrame(130, 1)
				bits := make([]uint64, f.Len())
				for i := range bits {
					bits[i] = math.Float64bits(usual + float64(i))
					if i%every == every-1 {
						bits[i] = math.Float64bits(o)
					}
				}
				f.Columns[0].Bits = bits
				got, err := DecodeColumns(EncodeColumns(&f))
				if err != nil {
					t.Fatal(err)
				}
				mustEqual(t, got, f)
			}
		}
	}
}

// TestExactIntegers has series with the ends of int64 and every number of bits.
func TestExactIntegers(t *testing.T) {
	for width := range 64 {
		for n := 1; n < 200; n += 13 {
			v := make([]int64, n)
			for i := range v {
				v[i] = int64(uint64(i*2654435761+n)*0x9E3779B97F4A7C15) >> width
				switch {
				case i%50 == 49:
					v[i] = math.MaxInt64
				case i%70 == 69:
					v[i] = math.MinInt64
				}
			}
			starts := []int{0, n / 3, n / 2}
			if n < 4 {
				starts = nil
			}
			mustRoundTrip(t, v, starts)
			mustRoundTrip(t, v, nil)
		}
	}
}

func mustRoundTrip(t *testing.T, v []int64, starts []int) {
	t.Helper()
	for layout := byte(intConstant); layout <= intSplit; layout++ {
		w := newWriter()
		p := w.plan(v, starts)
		if layout != intConstant && layout != intSplit && len(v) > 2 {
			p = intPlan{layout: layout}
		}
		w.planned(v, starts, p)
		got := make([]int64, len(v))
		r := &reader{num: w.num, budget: &budget{MaxDecoded}}
		r.series(got, starts)
		if err := r.end(); err != nil {
			t.Fatal(err)
		}
		mustEqual(t, got, v)
		w.free()
	}
}
