package engine

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sluice/telemetry"
	"sluice/telemetry/block"
)

func drawValue(t *rapid.T) telemetry.Value {
	switch rapid.IntRange(0, 3).Draw(t, "kind") {
	case 0:
		return telemetry.FloatValue(float64(rapid.IntRange(-3, 3).Draw(t, "number")))
	case 1:
		return telemetry.BoolValue(rapid.Bool().Draw(t, "bool"))
	case 2:
		return telemetry.TextValue(strings.Repeat("x", rapid.SampledFrom([]int{0, 1, inlineText, inlineText + 1}).Draw(t, "length")) + rapid.SampledFrom([]string{"", "y"}).Draw(t, "end"))
	default:
		return telemetry.IntValue(1<<62 + int64(rapid.IntRange(1, 3).Draw(t, "integer")))
	}
}

func drawEntry(t *rapid.T) entry {
	var readings []telemetry.Reading
	for range rapid.IntRange(0, 5).Draw(t, "readings") {
		r := telemetry.Reading{Device: "a", Time: int64(rapid.IntRange(1, 4).Draw(t, "time")), Stamp: telemetry.Stamp(rapid.IntRange(1, 4).Draw(t, "stamp"))}
		for _, name := range []string{"x", "y", "°C"} {
			if rapid.Bool().Draw(t, "has") {
				r.Metrics = append(r.Metrics, telemetry.Metric{Name: name, Value: drawValue(t)})
			}
		}
		for _, key := range []string{"site", "line"} {
			if rapid.Bool().Draw(t, "tagged") {
				r.Tags = append(r.Tags, telemetry.Tag{Key: key, Value: rapid.SampledFrom([]string{"1", "2"}).Draw(t, "value"), Removed: rapid.Bool().Draw(t, "removed")})
			}
		}
		readings = append(readings, r)
	}
	var parts []*block.Device
	for _, d := range block.FromReadings(readings) {
		parts = append(parts, &d)
	}
	g := gather(parts)
	return summarize("a", &g.frame, g.tags)
}

// stored is an entry as it comes back from a page: long strings are left out.
func stored(t *rapid.T, e entry) entry {
	back, err := decodeEntries(appendEntry(nil, e))
	if err != nil || len(back) != 1 {
		t.Fatalf("decode: %d entries, %v", len(back), err)
	}
	return back[0]
}

// Joining entries is a maximum: the order does not matter, nor does doing it
// twice, nor whether an entry was stored in between.
func TestJoin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := drawEntry(t), drawEntry(t), drawEntry(t)
		want := stored(t, join(join(a, b), c))
		for _, got := range []entry{
			join(a, join(b, c)), join(join(c, a), b), join(join(a, b), join(b, c)), join(stored(t, join(a, stored(t, b))), c),
		} {
			if got := stored(t, got); !reflect.DeepEqual(got, want) {
				t.Fatalf("got %+v\nwant %+v", got, want)
			}
		}
	})
}

// A device's tags stay bounded, the newest ones.
func TestNewestTags(t *testing.T) {
	var all entry
	for i := range 500 {
		tag := block.TagChange{Tag: telemetry.Tag{Key: strings.Repeat("k", i%97+1), Value: "v"}, Time: int64(i * 7919 % 500), Stamp: 1}
		all = join(all, entry{tags: []block.TagChange{tag}})
	}
	if len(all.tags) != maxTags {
		t.Fatalf("%d tags", len(all.tags))
	}
	oldest := slices.MinFunc(all.tags, func(a, b block.TagChange) int { return int(a.Time - b.Time) })
	if oldest.Time < 400 {
		t.Fatalf("kept one of time %d", oldest.Time)
	}
}

// An entry whose newest values take too much room is folded from the leaves.
func TestFoldedEntry(t *testing.T) {
	e := entry{id: "a", seen: true, first: 1, last: 2}
	for i := range 4000 {
		e.latest = append(e.latest, latest{metric: strings.Repeat("m", 100) + string(rune('a'+i%26)), time: 2, value: telemetry.FloatValue(1)})
	}
	back, err := decodeEntries(appendEntry(nil, e))
	if err != nil || !back[0].folded || len(back[0].latest) != 0 || back[0].last != 2 {
		t.Fatalf("%+v, %v", back[0], err)
	}
}

func FuzzEntries(f *testing.F) {
	e := entry{id: "pump-1", cut: 5, seen: true, first: 1, last: 9,
		tags:   []block.TagChange{{Tag: telemetry.Tag{Key: "site", Value: "berlin"}, Time: 3, Stamp: 4}},
		latest: []latest{{metric: "x", time: 9, stamp: 9, value: telemetry.FloatValue(1)}, {metric: "y", time: 8, value: telemetry.TextValue("OK")}}}
	f.Add(appendEntry(nil, e))
	f.Add(appendEntry(appendEntry(nil, entry{id: "a"}), e))
	f.Add([]byte{1, 'a', 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, err := decodeEntries(data)
		if err != nil {
			return
		}
		var again []byte
		for _, e := range entries {
			again = appendEntry(again, e)
		}
		back, err := decodeEntries(again)
		if err != nil || len(back) != len(entries) {
			t.Fatalf("decoded %d entries, again %d, %v", len(entries), len(back), err)
		}
	})
}
