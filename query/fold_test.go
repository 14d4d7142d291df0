package query

import (
	"math/rand/v2"
	"testing"

	"sluice/telemetry"
	"sluice/telemetry/block"
	"sluice/telemetry/summary"
)

// Buckets are made of the summaries that will be stored, in their order, to the
// bit: an answer must not move when its windows come from storage.
func TestBucketsAreMadeOfStoredWindows(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	var readings []telemetry.Reading
	for at := midnight + 7e9; at < midnight+3*day; at += 40e9 + random.Int64N(200e9) {
		readings = append(readings, reading("a", at, "x", 1e6*random.NormFloat64()))
	}
	frame := block.FromReadings(readings)[0].Readings
	for text, tiers := range map[string][]int64{"all": {window, day}, "1d": {window}, "6h": {window}, "45m": {window}, "15m": nil, "20m": nil} {
		p, err := newPlan(instant{at: midnight}, instant{at: midnight + 3*day}, text)
		if err != nil {
			t.Fatal(err)
		}
		f := newFolder(p, &budget{maxValues: 1 << 40, maxBuckets: 1 << 40})
		if err := f.add(&frame, &frame.Columns[0]); err != nil {
			t.Fatal(err)
		}
		got, err := f.finish()
		if err != nil {
			t.Fatal(err)
		}
		want := byHand(readings, tiers, func(at int64) int64 { start, _ := p.bucket(at); return start })
		if len(got) != len(want) {
			t.Fatalf("%s: %d buckets, want %d", text, len(got), len(want))
		}
		for i := range want {
			if got[i].Squares != want[i].Squares || got[i].Sum != want[i].Sum || got[i].Count != want[i].Count {
				t.Errorf("%s: bucket %d is %+v, want %+v", text, i, got[i].Summary, want[i])
			}
		}
	}
}

// byHand summarizes each stretch of the first tier, puts those together that
// lie in one of the next, and so on up to the buckets.
func byHand(readings []telemetry.Reading, tiers []int64, bucket func(int64) int64) []summary.Summary {
	starts := []func(int64) int64{}
	for _, length := range tiers {
		starts = append(starts, func(at int64) int64 { return at - at%length })
	}
	var parts []summary.Summary
	for i, start := range append(starts, bucket) {
		if i == 0 {
			for j, r := range readings {
				if j == 0 || start(r.Time) != start(readings[j-1].Time) {
					parts = append(parts, summary.Summary{})
				}
				parts[len(parts)-1].Add(r.Time, r.Metrics[0].Value)
			}
			continue
		}
		var merged []summary.Summary
		for j := range parts {
			if j == 0 || start(parts[j].First.Time) != start(parts[j-1].First.Time) {
				merged = append(merged, summary.Summary{})
			}
			merged[len(merged)-1].Append(&parts[j])
		}
		parts = merged
	}
	return parts
}
