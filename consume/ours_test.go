package consume_test

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"sluice/hub"
	"sluice/telemetry"
)

// forged are readings of a device that no ingest would have accepted.
func forged() map[string]struct {
	reading telemetry.Reading
	code    telemetry.Code
} {
	type entry = struct {
		reading telemetry.Reading
		code    telemetry.Code
	}
	at, stamp := noon.UnixNano(), telemetry.Stamp(noon.UnixNano())
	metric := func(name string, v telemetry.Value) telemetry.Reading {
		return telemetry.Reading{Device: "b", Time: at, Stamp: stamp, Metrics: []telemetry.Metric{{Name: name, Value: v}}}
	}
	value := func(f float64) telemetry.Reading { return metric("x", telemetry.FloatValue(f)) }
	when := func(at int64, stamp telemetry.Stamp) telemetry.Reading {
		r := value(1)
		r.Time, r.Stamp = at, stamp
		return r
	}
	tagged := func(tags ...telemetry.Tag) telemetry.Reading {
		return telemetry.Reading{Device: "b", Time: at, Stamp: stamp, Tags: tags}
	}
	both := value(1)
	both.Tags = []telemetry.Tag{{Key: "k", Value: "a\x00"}}
	late := tagged(telemetry.Tag{Key: "k", Value: "v"})
	late.Time = math.MaxInt64
	other := value(1)
	other.Device = "not legal"
	var many []telemetry.Tag
	for i := range telemetry.MaxTags + 1 {
		many = append(many, telemetry.Tag{Key: fmt.Sprint("k", i), Value: "v"})
	}
	crowded := value(1)
	crowded.Metrics = nil
	for i := range 100_001 {
		crowded.Metrics = append(crowded.Metrics, telemetry.Metric{Name: fmt.Sprintf("m%06d", i), Value: telemetry.FloatValue(1)})
	}
	return map[string]entry{
		"not a number":       {value(math.NaN()), telemetry.InvalidValue},
		"infinite":           {value(math.Inf(1)), telemetry.InvalidValue},
		"less than all":      {value(math.Inf(-1)), telemetry.InvalidValue},
		"long text":          {metric("x", telemetry.TextValue(strings.Repeat("x", telemetry.MaxText+1))), telemetry.InvalidValue},
		"no text":            {metric("x", telemetry.TextValue("a\xff")), telemetry.InvalidText},
		"metric":             {metric("a,b", telemetry.FloatValue(1)), telemetry.InvalidMetric},
		"metrics":            {crowded, telemetry.TooManyMetrics},
		"last time":          {when(math.MaxInt64, stamp), telemetry.TimestampInFuture},
		"in an hour":         {when(noon.Add(time.Hour).UnixNano(), stamp), telemetry.TimestampInFuture},
		"first time":         {when(math.MinInt64, stamp), telemetry.TimestampTooOld},
		"before 2000":        {when(telemetry.Year2000-1, stamp), telemetry.TimestampTooOld},
		"last stamp":         {when(at, math.MaxInt64), telemetry.CorruptEvent},
		"stamp in two days":  {when(at, stamp+telemetry.Stamp(48*time.Hour)), telemetry.CorruptEvent},
		"stamp 0":            {when(at, 0), telemetry.CorruptEvent},
		"stamp below 0":      {when(at, -5), telemetry.CorruptEvent},
		"tag":                {tagged(telemetry.Tag{Key: "k", Value: "a,b"}), telemetry.InvalidTags},
		"long tag":           {tagged(telemetry.Tag{Key: "k", Value: strings.Repeat("v", telemetry.MaxTagValue+1)}), telemetry.InvalidTags},
		"tag's key":          {tagged(telemetry.Tag{Key: "k\n", Value: "v"}), telemetry.InvalidTags},
		"tags":               {tagged(many...), telemetry.InvalidTags},
		"time of tags":       {late, telemetry.TimestampInFuture},
		"tag beside metrics": {both, telemetry.InvalidTags},
		"device":             {other, telemetry.InvalidDevice},
	}
}

// Of a block, too, what no ingest accepts is refused, and the rest lands.
func TestForgedBlock(t *testing.T) {
	for name, c := range forged() {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, options{})
			// The same device's others, and another one's, are right.
			good := reading("b", noon.Add(-time.Minute), 2, 2)
			good.Tags = []telemetry.Tag{{Key: "place", Value: "here"}}
			r := w.take(ours(t, 0, reading("a", noon, 1, 1), good, c.reading, reading("c", noon, 3, 3)))
			if r.Readings != 3 || r.Rejected != 1 || r.Letters != 1 {
				t.Errorf("%+v", r)
			}
			equal(t, "buried", w.buried(), fmt.Sprintf("0 %s 1", c.code))
			equal(t, "readings", w.readings(), "a 2026-11-24T12:00:00Z x=1\nb #place=here\nb 2026-11-24T11:59:00Z x=2\nc 2026-11-24T12:00:00Z x=3")
		})
	}
}

// What an ingest accepts by its own clock lands, whatever the hub's says.
func TestBlocksOfOtherClocks(t *testing.T) {
	second := int64(time.Second)
	for name, c := range map[string]struct{ clock, ahead int64 }{
		"the hub's":              {0, 0},
		"behind":                 {-300 * second, 0},
		"ahead":                  {300 * second, 0},
		"ahead, and the reading": {300 * second, 600*second - 1},
		"went back by a day":     {86400*second + 120*second, 600*second - 1},
		"the hub was away":       {-86400 * second, 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, options{})
			stamp := noon.UnixNano() + c.clock
			one := reading("a", time.Unix(0, stamp+c.ahead), stamp, 1)
			one.Metrics[0].Value = telemetry.TextValue(strings.Repeat("x", telemetry.MaxText))
			two := reading("a", time.Unix(0, telemetry.Year2000), stamp+1, math.MaxFloat64)
			two.Tags = []telemetry.Tag{{Key: "gone", Removed: true}, {Key: "k", Value: strings.Repeat("ü", telemetry.MaxTagValue/2)}}
			if r := w.take(ours(t, 0, one, two)); r.Readings != 2 || r.Rejected != 0 {
				t.Errorf("%+v\n%+v", r, w.list())
			}
		})
	}
}

// Judging what is right allocates nothing for each value.
func TestJudgingBlocksAllocatesLittle(t *testing.T) {
	judged := func(rows int) float64 {
		var all []telemetry.Reading
		for i := range rows {
			all = append(all, reading("a", noon.Add(time.Duration(i)*time.Millisecond), int64(i+1), float64(i)))
		}
		w, e := newWorld(t, options{}), []hub.Event{ours(t, 0, all...)}
		return testing.AllocsPerRun(5, func() { w.take(e...) })
	}
	if few, many := judged(100), judged(10_000); many-few > 1000 {
		t.Errorf("%v allocations for 100 readings, %v for 10000", few, many)
	}
}

// Of several spellings of a property the same one holds each time.
func TestPropertyInSeveralSpellings(t *testing.T) {
	const body = "[\n{\"deviceId\":\"a\",\"metrics\":{\"x\":1}}\n]"
	for name, c := range map[string]struct {
		properties map[string]any
		rejected   bool
	}{
		"as written first": {map[string]any{"content-type": "application/json", "Content-Type": "application/x-ndjson"}, false},
		"in order of bytes": {map[string]any{"Content-Type": "application/json", "Content-type": "application/x-ndjson",
			"CONTENT-TYPE": 7, "content-Type": "application/x-ndjson"}, false},
		"the first is other": {map[string]any{"CONTENT-TYPE": "application/x-ndjson", "Content-Type": "application/json"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			for range 20 {
				w := newWorld(t, options{})
				e := foreign(0, body)
				e.Properties = c.properties
				if r := w.take(e); (r.Rejected > 0) != c.rejected {
					t.Fatalf("%+v", r)
				}
			}
		})
	}
}

// A sender that IoT Hub's property does not name is nobody: nothing is taken that
// it sends, at a replay neither.
func TestSenderThatIsNone(t *testing.T) {
	for name, sender := range map[string]any{"empty": "", "null": nil, "a number": int64(7), "bytes": []byte("a")} {
		for _, body := range []string{`{"deviceId":"a","metrics":{"x":1}}`, string(ours(t, 0, reading("a", noon, 1, 1)).Body)} {
			t.Run(name, func(t *testing.T) {
				w := newWorld(t, options{})
				e := foreign(0, body)
				e.PartitionKey = "a"
				e.System["iothub-connection-device-id"] = sender
				w.take(e)
				equal(t, "buried", w.buried(), "0 forbidden_device 1")
				for _, l := range w.list() {
					if v, err := w.consumer.Replay(t.Context(), l); err != nil || v.Accepted != 0 || v.Reason.Code != telemetry.ForbiddenDevice {
						t.Errorf("%+v, %v", v, err)
					}
				}
				equal(t, "readings", w.readings(), "")
			})
		}
	}
}
