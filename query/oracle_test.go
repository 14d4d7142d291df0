package query

import (
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sluice/telemetry"
)

// sample is a value as the oracle knows it.
type sample struct {
	device string
	time   int64
	value  telemetry.Value
}

// oracle recomputes a bucket from its samples, given in order of (time,
// device), in the plainest way; before has each device's sample before the
// first one in the bucket that is a number, if it is in the range.
func oracle(samples []sample, before map[string]float64, seconds float64) map[string]any {
	var numbers []float64
	increase := new(big.Float).SetPrec(300)
	for _, s := range samples {
		x, ok := s.value.Float()
		if !ok {
			continue
		}
		numbers = append(numbers, x)
		if former, ok := before[s.device]; ok && x >= former {
			increase.Add(increase, big.NewFloat(x))
			increase.Sub(increase, big.NewFloat(former))
		} else if ok {
			increase.Add(increase, big.NewFloat(x))
		}
		before[s.device] = x
	}
	result := map[string]any{
		"count": float64(len(samples)), "first": plain(samples[0].value), "last": plain(samples[len(samples)-1].value),
		"sum": nil, "avg": nil, "min": nil, "max": nil, "stddev": nil, "increase": nil, "rate": nil,
	}
	if len(numbers) == 0 {
		return result
	}
	n := big.NewFloat(float64(len(numbers))).SetPrec(300)
	sum := new(big.Float).SetPrec(300)
	for _, x := range numbers {
		sum.Add(sum, big.NewFloat(x))
	}
	mean := new(big.Float).Quo(sum, n)
	squares := new(big.Float).SetPrec(300)
	for _, x := range numbers {
		d := new(big.Float).SetPrec(300).SetFloat64(x)
		d.Sub(d, mean)
		squares.Add(squares, d.Mul(d, d))
	}
	float := func(x *big.Float) float64 { f, _ := x.Float64(); return f }
	total := 0.0
	for _, x := range numbers {
		total += math.Abs(x)
	}
	result[magnitude] = total
	result["sum"], result["avg"] = float(sum), float(mean)
	result["min"], result["max"] = slices.Min(numbers), slices.Max(numbers)
	result["stddev"] = math.Sqrt(float(squares.Quo(squares, n)))
	result["increase"], result["rate"] = float(increase), float(increase)/seconds
	return result
}

// magnitude is the sum of the numbers' sizes among an oracle's results.
const magnitude = "magnitude"

func plain(v telemetry.Value) any {
	if x, ok := v.Float(); ok {
		return x
	}
	return v.Text
}

// recompute groups samples of [from, to) by key and bucket.
func recompute(samples []sample, from, to, step int64, key func(sample) string) map[string]map[string]any {
	before := map[string]map[string]float64{}
	type place struct {
		key   string
		start int64
	}
	grouped, order := map[place][]sample{}, []place{}
	for _, s := range samples {
		if s.time < from || s.time >= to {
			continue
		}
		p := place{key(s), from}
		if step > 0 {
			p.start = s.time - s.time%step
		}
		if grouped[p] == nil {
			order = append(order, p)
		}
		grouped[p] = append(grouped[p], s)
	}
	length := step
	if step == 0 {
		length = to - from
	}
	result := map[string]map[string]any{}
	for _, p := range order { // in order of time, so that before is right
		if before[p.key] == nil {
			before[p.key] = map[string]float64{}
		}
		result[p.key+" "+telemetry.FormatTime(p.start)] = oracle(grouped[p], before[p.key], float64(length)/1e9)
	}
	return result
}

type aggregateAnswer struct {
	From, To time.Time
	Step     string
	Series   []struct {
		DeviceID string
		Group    map[string]*string
		Metric   string
		Buckets  []map[string]any
	}
}

const every = "count,sum,avg,min,max,first,last,stddev,rate,increase"

// flatten keys the buckets of an answer like recompute does.
func flatten(t fataler, body string) map[string]map[string]any {
	var answer aggregateAnswer
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	result := map[string]map[string]any{}
	for _, s := range answer.Series {
		key := s.DeviceID
		for _, name := range sortedKeys(s.Group) {
			if v := s.Group[name]; v != nil {
				key += name + "=" + *v
			}
		}
		for _, b := range s.Buckets {
			k := fmt.Sprintf("%s/%s %s", key, s.Metric, b["start"])
			if result[k] != nil {
				t.Fatalf("bucket %s twice", k)
			}
			delete(b, "start")
			delete(b, "end")
			delete(b, "final")
			result[k] = b
		}
	}
	return result
}

func sortedKeys(m map[string]*string) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

type fataler interface{ Fatalf(string, ...any) }

// agree compares to 1e-9, of what cancels to 1e-24 of what went into it.
func agree(t fataler, what string, got, want map[string]map[string]any) {
	if len(got) != len(want) {
		t.Fatalf("%s: %d buckets, want %d\n%v\n%v", what, len(got), len(want), got, want)
	}
	for key, w := range want {
		g, ok := got[key]
		if !ok {
			t.Fatalf("%s: no bucket %s", what, key)
		}
		size, _ := w[magnitude].(float64)
		for name, a := range w {
			if name == magnitude {
				continue
			}
			b, ok := g[name]
			if !ok {
				t.Fatalf("%s: %s has no %s", what, key, name)
			}
			x, isNumber := a.(float64)
			y, same := b.(float64)
			if !isNumber || !same {
				if a != b {
					t.Fatalf("%s: %s %s = %v, want %v", what, key, name, b, a)
				}
				continue
			}
			if math.Abs(x-y) > 1e-9*math.Abs(x)+1e-24*size {
				t.Fatalf("%s: %s %s = %v, want %v", what, key, name, y, x)
			}
		}
	}
}

const midnight = int64(1_795_392_000_000_000_000)

var someValue = rapid.Custom(func(t *rapid.T) telemetry.Value {
	switch rapid.IntRange(0, 11).Draw(t, "kind") {
	case 0:
		return telemetry.TextValue(rapid.StringN(0, 3, 9).Draw(t, "text"))
	case 1:
		return telemetry.BoolValue(rapid.Bool().Draw(t, "bool"))
	case 2:
		return telemetry.IntValue(rapid.Int64().Draw(t, "integer"))
	case 3, 4, 5:
		return telemetry.IntValue(int64(rapid.IntRange(-5, 5).Draw(t, "small")))
	default:
		return telemetry.FloatValue(rapid.Float64Range(-1e9, 1e9).Draw(t, "number"))
	}
})

// someReadings draws readings of two days, some of the same device and time
// under other stamps and with other metrics.
var someReadings = rapid.Custom(func(t *rapid.T) []telemetry.Reading {
	unit := rapid.SampledFrom([]int64{1, 1e9, 30e9, 900e9, 3600e9}).Draw(t, "unit")
	n := rapid.IntRange(1, 40).Draw(t, "readings")
	most := min(int(2*day/unit), 1<<40)
	readings := make([]telemetry.Reading, n)
	for i := range readings {
		r := telemetry.Reading{
			Device: rapid.SampledFrom([]string{"a", "b", "b-1", "c"}).Draw(t, "device"),
			Time:   midnight + unit*int64(rapid.IntRange(0, most).Draw(t, "time")),
			Stamp:  telemetry.Stamp(i + 1),
		}
		for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"x", "y", "ü \"z"}), 1, 3, rapid.ID).Draw(t, "metrics") {
			r.Metrics = append(r.Metrics, telemetry.Metric{Name: name, Value: someValue.Draw(t, "value")})
		}
		readings[i] = r
	}
	return readings
})

// samplesOf is what the readings amount to: of the same device, time and metric
// the last one (they have rising stamps), in order of (time, device).
func samplesOf(readings []telemetry.Reading) map[string][]sample {
	type place struct {
		device string
		time   int64
		metric string
	}
	values := map[place]telemetry.Value{}
	for _, r := range readings {
		for _, m := range r.Metrics {
			values[place{r.Device, r.Time, m.Name}] = m.Value
		}
	}
	result := map[string][]sample{}
	for p, v := range values {
		result[p.metric] = append(result[p.metric], sample{p.device, p.time, v})
	}
	for _, samples := range result {
		slices.SortFunc(samples, func(a, b sample) int {
			if a.time != b.time {
				return int(max(-1, min(1, a.time-b.time)))
			}
			return strings.Compare(a.device, b.device)
		})
	}
	return result
}

// someRange draws a range around the readings and a step that divides it into
// not too many buckets, in ns; 0 for all.
func someRange(t *rapid.T) (from, to int64, step time.Duration) {
	from = midnight + rapid.Int64Range(-2*day, 2*day).Draw(t, "from")
	to = from + 1 + rapid.Int64Range(0, 4*day).Draw(t, "length")
	if rapid.Bool().Draw(t, "round") {
		from, to = floorTo(from, window), ceilTo(to, window)
	}
	if rapid.IntRange(0, 5).Draw(t, "all") == 0 {
		return from, to, 0
	}
	least := max(10, (to-from)/10_000/1e9+1)
	seconds := rapid.OneOf(rapid.Int64Range(least, 86400), rapid.SampledFrom([]int64{900, 3600, 1800, 86400, 21600, 2700})).Draw(t, "step")
	return from, to, time.Duration(max(seconds, least)) * time.Second
}

func rangeQuery(from, to int64, step time.Duration) string {
	text := "all"
	if step > 0 {
		text = fmt.Sprintf("%ds", step/time.Second)
	}
	return fmt.Sprintf("from=%s&to=%s&step=%s&agg=%s&metric=x,y,%s", telemetry.FormatTime(from), telemetry.FormatTime(to), text, every, url.QueryEscape("ü \"z"))
}

// Any range, any step, every aggregate, one device or a fleet grouped in any
// way: as if recomputed from raw.
func TestAggregatesAreAsRecomputed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		readings := someReadings.Draw(t, "readings")
		from, to, step := someRange(t)
		m := newMemory(append(readings, telemetry.Reading{Device: "b", Stamp: 1, Tags: []telemetry.Tag{{Key: "site", Value: "1"}}},
			telemetry.Reading{Device: "c", Stamp: 1, Tags: []telemetry.Tag{{Key: "site", Value: "1"}}})...)
		m.rows = rapid.IntRange(1, 7).Draw(t, "rows")
		e := server(m, Options{Now: at("2026-12-23T06:00:00Z"), Workers: 3})
		all := samplesOf(readings)
		ask := func(path, extra string, key func(sample) string, keep func(string) bool) {
			want := map[string]map[string]any{}
			for metric, samples := range all {
				kept := slices.DeleteFunc(slices.Clone(samples), func(s sample) bool { return !keep(s.device) })
				for k, b := range recompute(kept, from, to, int64(step), func(s sample) string { return key(s) + "/" + metric }) {
					want[k] = b
				}
			}
			w := request(e, "GET", path+"?"+rangeQuery(from, to, step)+extra)
			if w.Code != 200 {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
			agree(t, path+extra, flatten(t, w.Body.String()), want)
		}
		byDevice := func(s sample) string { return s.device }
		bySite := func(s sample) string {
			if s.device == "b" || s.device == "c" {
				return "site=1"
			}
			return ""
		}
		if _, ok := m.devices["b"]; ok {
			ask("/api/v1/devices/b/aggregates", "", byDevice, func(id string) bool { return id == "b" })
		}
		everyone := func(string) bool { return true }
		ask("/api/v1/aggregates", "", func(sample) string { return "" }, everyone)
		ask("/api/v1/aggregates", "&groupBy=device", byDevice, everyone)
		ask("/api/v1/aggregates", "&groupBy=tag:site", bySite, everyone)
		ask("/api/v1/aggregates", "&device=b*", func(sample) string { return "" }, func(id string) bool { return id[0] == 'b' })
		ask("/api/v1/aggregates", "&device=c,a&groupBy=device", byDevice, func(id string) bool { return id == "a" || id == "c" })
		ask("/api/v1/aggregates", "&tag=site:1", func(sample) string { return "" }, func(id string) bool { return id == "b" || id == "c" })
	})
}
