package engine

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sluice/store"
	"sluice/telemetry"
	"sluice/telemetry/block"
)

func frameOf(readings []telemetry.Reading) block.Frame {
	devices := block.FromReadings(readings)
	if len(devices) == 0 {
		return block.Frame{}
	}
	return block.Resolve(devices[0].Readings)
}

// Positions sort as they compare.
func TestPositions(t *testing.T) {
	order := []position{"", before(5), upToMetric(5, "a"), upToMetric(5, "ab"), upToMetric(5, "b"), upTo(5), before(6), upTo(6), upTo(1 << 60), end}
	if !slices.IsSorted(order) {
		t.Fatalf("%q", order)
	}
	time, metric, whole, err := upToMetric(7, "°C").parts()
	if time != 7 || metric != "°C" || whole || err != nil {
		t.Fatal(time, metric, whole, err)
	}
	for _, bad := range []position{"", "7", "000000000000000000x~", upToMetric(1, "a") + "z"} {
		if _, _, _, err := bad.parts(); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// Leaves that are cut off a frame tile it: joined they are the frame, each
// within its bounds and small enough for a row.
func TestCutLeaf(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var readings []telemetry.Reading
		columns := rapid.SampledFrom([]int{1, 3, 260}).Draw(t, "columns")
		text := rapid.SampledFrom([]int{0, 10, 4096}).Draw(t, "text")
		for i := range rapid.IntRange(1, 2500/columns+3).Draw(t, "rows") {
			r := telemetry.Reading{Device: "a", Time: int64(1000 + i/2), Stamp: telemetry.Stamp(i + 1)}
			for c := range columns {
				v := telemetry.FloatValue(float64(i * c))
				if text > 0 && c%2 == 0 {
					v = telemetry.TextValue(noise(i*columns+c, text))
				}
				if (i+c)%7 > 0 {
					r.Metrics = append(r.Metrics, telemetry.Metric{Name: fmt.Sprintf("m-%d", c), Value: v})
				}
			}
			readings = append(readings, r)
		}
		f := frameOf(readings)
		pieces, err := testLimits().cutLeaf("", end, f)
		if err != nil {
			t.Fatal(err)
		}
		var joined block.Frame
		low := position("")
		for i, p := range pieces {
			row := store.Row{Key: "k", Properties: p.props}
			if err := store.CheckRow(row); err != nil {
				t.Fatalf("piece %d: %v", i, err)
			}
			l, err := decodeLeaf(row, p.high, nil)
			if err != nil || l.low != low || p.high <= low {
				t.Fatalf("piece %d has (%q, %q] after %q, %v", i, l.low, p.high, low, err)
			}
			below, _, err := split(l.frame, low)
			if low != "" && (err != nil || below.Len() > 0) {
				t.Fatalf("piece %d has what lies below it, %v", i, err)
			}
			if _, above, err := split(l.frame, p.high); err != nil || above.Len() > 0 {
				t.Fatalf("piece %d has what lies above it, %v", i, err)
			}
			joined, low = block.Merge(joined, l.frame), p.high
		}
		if low != end || !sameFrame(&joined, &f) {
			t.Fatalf("%d pieces of %d rows come to %d rows up to %q", len(pieces), f.Len(), joined.Len(), low)
		}
	})
}

// A row stays small when it is decoded, however well its texts compress.
func TestCutLeafThatCompresses(t *testing.T) {
	var readings []telemetry.Reading
	for i := range 1000 {
		r := telemetry.Reading{Device: "a", Time: int64(1000 + i), Stamp: 1}
		for c := range 12 {
			text := fmt.Sprintf("%d %d %s", i, c, strings.Repeat("x", 4000))
			r.Metrics = append(r.Metrics, telemetry.Metric{Name: fmt.Sprintf("m%d", c), Value: telemetry.TextValue(text)})
		}
		readings = append(readings, r)
	}
	f := frameOf(readings)
	pieces, err := testLimits().cutLeaf("", end, f)
	if err != nil {
		t.Fatal(err)
	}
	var joined block.Frame
	for _, p := range pieces {
		l, err := decodeLeaf(store.Row{Properties: p.props}, p.high, nil)
		if err != nil {
			t.Fatal(err)
		}
		joined = block.Merge(joined, l.frame)
	}
	if !sameFrame(&joined, &f) {
		t.Fatalf("%d pieces come to %d rows", len(pieces), joined.Len())
	}
}

func noise(seed, n int) string {
	b := make([]byte, n)
	x := uint32(seed)*2654435761 + 1
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = '!' + byte(x>>24)%90
	}
	return string(b)
}

func FuzzLeaf(f *testing.F) {
	frame := frameOf([]telemetry.Reading{
		{Device: "a", Time: 1, Stamp: 1, Metrics: []telemetry.Metric{{Name: "x", Value: telemetry.FloatValue(1)}, {Name: "°C", Value: telemetry.TextValue("OK")}}},
		{Device: "a", Time: 2, Stamp: 2, Metrics: []telemetry.Metric{{Name: "x", Value: telemetry.FloatValue(2)}}},
	})
	columns := block.EncodeColumns(&frame)
	f.Add(columns.Index, columns.Metrics[0].Data, columns.Metrics[1].Data, "°C", "")
	f.Add([]byte{}, []byte{1}, []byte{}, "a,b", "x")
	f.Fuzz(func(t *testing.T, index, named, numbered []byte, names, low string) {
		row := store.Row{Key: "k", Properties: []store.Property{
			{Name: "_0", Value: numbered}, {Name: propFormat, Value: int64(Format)}, {Name: propIndex, Value: index},
			{Name: propLow, Value: low}, {Name: propNames, Value: names}, {Name: "x", Value: named},
		}}
		l, err := decodeLeaf(row, end, nil)
		if err != nil {
			return
		}
		if _, _, err := split(l.frame, position(low)); err != nil && !errors.Is(err, ErrCorrupt) {
			t.Fatal(err)
		}
	})
}

func testLimits() *limits {
	l := defaultLimits()
	return &l
}
