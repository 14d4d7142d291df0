package wire_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"sluice/telemetry"
	"sluice/telemetry/wire"
)

// A reading, written by somebody else's encoder in any of its spellings, comes
// back as it was.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.SliceOfN(rapid.Custom(drawReading), 1, 20).Draw(t, "readings")
		lines := rapid.Bool().Draw(t, "lines")
		device := ""
		if rapid.Bool().Draw(t, "of one device") {
			device = "only-one"
			for i := range want {
				want[i].Device = device
			}
		}
		var texts []string
		for i := range want {
			texts = append(texts, spell(t, &want[i], device != ""))
		}
		opt := options(device)
		var b *wire.Batch
		var err error
		if lines {
			b, err = wire.NDJSON(strings.NewReader(strings.Join(texts, "\n")), opt)
		} else {
			b, err = wire.JSON(strings.NewReader(" ["+strings.Join(texts, " , ")+"]\n"), opt)
		}
		if err != nil || len(b.Errors) > 0 {
			t.Fatalf("%v %v\n%s", err, b, texts)
		}
		if diff := cmp.Diff(want, b.Readings); diff != "" {
			t.Fatalf("%s\n(-want +got):\n%s", texts, diff)
		}
	})
}

func drawReading(t *rapid.T) telemetry.Reading {
	name := rapid.StringN(1, 20, 60).Filter(func(s string) bool {
		return telemetry.CheckMetric(s) == nil && telemetry.CheckTagKey(s) == nil && s != "deviceId" && s != "ts" && s != "tags" && s != "values" && s != "metrics"
	})
	r := telemetry.Reading{
		Device: rapid.StringMatching(`[A-Za-z0-9][A-Za-z0-9_.:=@~-]{0,20}`).Draw(t, "device"),
		Time:   wire.Untimed,
	}
	if rapid.Bool().Draw(t, "timed") {
		r.Time = rapid.Int64Range(telemetry.Year2000, now.UnixNano()).Draw(t, "time")
	}
	for _, n := range rapid.SliceOfNDistinct(name, 1, 8, rapid.ID[string]).Draw(t, "metrics") {
		r.Metrics = append(r.Metrics, telemetry.Metric{Name: n, Value: drawValue(t)})
	}
	for _, k := range rapid.SliceOfNDistinct(name, 0, 3, rapid.ID[string]).Draw(t, "tags") {
		tag := telemetry.Tag{Key: k, Removed: rapid.Bool().Draw(t, "removed")}
		if !tag.Removed {
			tag.Value = name.Draw(t, "tag")
		}
		r.Tags = append(r.Tags, tag)
	}
	return r
}

func drawValue(t *rapid.T) telemetry.Value {
	switch rapid.IntRange(0, 4).Draw(t, "kind") {
	case 0:
		return telemetry.BoolValue(rapid.Bool().Draw(t, "bool"))
	case 1:
		return telemetry.TextValue(rapid.String().Draw(t, "text"))
	case 2:
		return telemetry.IntValue(rapid.Int64().Draw(t, "int"))
	default:
		return telemetry.FloatValue(rapid.Float64().Filter(func(f float64) bool { return f-f == 0 }).Draw(t, "float"))
	}
}

// spell writes a message: members in any order, strings with or without
// escapes, times in any form, nulls among the metrics, bare or not.
func spell(t *rapid.T, r *telemetry.Reading, inPath bool) string {
	str := func(s string) string { return spellString(t, s) }
	var metrics, tags []string
	for _, m := range r.Metrics {
		metrics = append(metrics, str(m.Name)+": "+spellValue(m.Value, str))
		if rapid.IntRange(0, 9).Draw(t, "null") == 0 {
			metrics = append(metrics, str(m.Name+strings.Repeat("~", 21))+":null") // no name has as many runes
		}
	}
	for _, tag := range r.Tags {
		value := "null"
		if !tag.Removed {
			value = str(tag.Value)
		}
		tags = append(tags, str(tag.Key)+":"+value)
	}
	bare := inPath && rapid.Bool().Draw(t, "bare")
	var members []string
	if bare {
		members = metrics
	} else {
		key := "metrics"
		if inPath && rapid.Bool().Draw(t, "values") {
			key = "values"
		}
		members = append(members, str(key)+":{"+strings.Join(metrics, ",")+"}")
	}
	if !inPath || rapid.Bool().Draw(t, "named") {
		members = append(members, str("deviceId")+" :"+str(r.Device))
	}
	if r.Time != wire.Untimed {
		members = append(members, `"ts":`+spellTime(t, r.Time))
	}
	if len(tags) > 0 {
		members = append(members, `"tags":{`+strings.Join(tags, ",")+"}")
	}
	if !bare {
		members = rapid.Permutation(members).Draw(t, "order")
	}
	return "{" + strings.Join(members, ",") + "}"
}

func spellString(t *rapid.T, s string) string {
	if rapid.Bool().Draw(t, "escaped") {
		return escape(s)
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(rapid.Bool().Draw(t, "HTML"))
	if err := e.Encode(s); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(b.String())
}

// escape escapes every code unit of UTF-16.
func escape(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		if r >= 0x10000 {
			r -= 0x10000
			fmt.Fprintf(&b, `\u%04x\u%04X`, 0xd800+r>>10, 0xdc00+r&0x3ff)
			continue
		}
		fmt.Fprintf(&b, `\u%04x`, r)
	}
	b.WriteByte('"')
	return b.String()
}

func spellValue(v telemetry.Value, str func(string) string) string {
	switch v.Kind {
	case telemetry.Bool:
		return strconv.FormatBool(v.Bits == 1)
	case telemetry.String:
		return str(v.Text)
	case telemetry.Integer:
		return strconv.FormatInt(int64(v.Bits), 10)
	default:
		f, _ := v.Float()
		return strconv.FormatFloat(f, 'e', -1, 64) // an exponent: no integer, which might be too long
	}
}

func spellTime(t *rapid.T, at int64) string {
	switch rapid.IntRange(0, 4).Draw(t, "form") {
	case 0:
		return fmt.Sprintf("%d.%09d", at/1e9, at%1e9)
	case 1:
		return fmt.Sprintf("%d.%06d", at/1e6, at%1e6)
	case 2:
		return fmt.Sprintf("%d.%03d", at/1e3, at%1e3)
	case 3:
		return strconv.FormatInt(at, 10)
	default:
		return strconv.Quote(telemetry.FormatTime(at))
	}
}
