package wire_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sluice/telemetry"
	"sluice/telemetry/wire"
)

var now = time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC)

func options(device string) wire.Options {
	return wire.Options{Device: device, Window: telemetry.NewWindow(now, 0), Readings: 1000, Metrics: 20}
}

// print is a batch a person can read: a line a reading, a line a refusal.
func print(b *wire.Batch) string {
	var s strings.Builder
	for i, r := range b.Readings {
		fmt.Fprintf(&s, "%d %s", b.Index[i], r.Device)
		if r.Time != wire.Untimed {
			fmt.Fprintf(&s, " %s", telemetry.FormatTime(r.Time))
		}
		for _, m := range r.Metrics {
			fmt.Fprintf(&s, " %s=%s", m.Name, printValue(m.Value))
		}
		for _, t := range r.Tags {
			if t.Removed {
				fmt.Fprintf(&s, " -#%s", t.Key)
			} else {
				fmt.Fprintf(&s, " #%s=%s", t.Key, t.Value)
			}
		}
		s.WriteString("\n")
	}
	for _, e := range b.Errors {
		fmt.Fprintf(&s, "%d ! %s: %s\n", e.Index, e.Refusal.Code, e.Refusal.Message)
	}
	return s.String()
}

func printValue(v telemetry.Value) string {
	switch v.Kind {
	case telemetry.Bool:
		return fmt.Sprint(v.Bits == 1)
	case telemetry.String:
		return fmt.Sprintf("%q", v.Text)
	default:
		return string(v.AppendNumber(nil))
	}
}

type decodeCase struct{ name, device, body, want string }

func run(t *testing.T, decode func(c decodeCase) (*wire.Batch, error), cases []decodeCase) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b, err := decode(c)
			got := ""
			switch {
			case err != nil:
				got = "error: " + err.Error() + "\n"
			default:
				got = print(b)
				if len(b.Readings) != len(b.Index) || b.Rejected != len(b.Errors) {
					t.Errorf("%d readings, %d indexes, %d rejected, %d errors", len(b.Readings), len(b.Index), b.Rejected, len(b.Errors))
				}
			}
			if diff := cmp.Diff(strings.Split(c.want, "\n"), strings.Split(strings.TrimSuffix(got, "\n"), "\n")); diff != "" {
				t.Errorf("body %.300s (-want +got):\n%s", c.body, diff)
			}
		})
	}
}

func decodeJSON(c decodeCase) (*wire.Batch, error) {
	return wire.JSON(strings.NewReader(c.body), options(c.device))
}

func TestMessages(t *testing.T) {
	run(t, decodeJSON, []decodeCase{
		{"the contract's", "", `{"deviceId":"pump-7","ts":"2026-11-23T04:00:00Z","metrics":{"temperature":21.5,"running":true,"state":"OK"},"tags":{"site":"berlin"}}`,
			`0 pump-7 2026-11-23T04:00:00Z temperature=21.5 running=true state="OK" #site=berlin`},
		{"without a time", "", ` {"deviceId":"a","metrics":{"x":1}} ` + "\n", `0 a x=1`},
		{"array", "", `[{"deviceId":"a","metrics":{"x":1}},{"deviceId":"b","ts":1763870400,"metrics":{"y":-2.5e3,"x":false}}]`,
			"0 a x=1\n1 b 2025-11-23T04:00:00Z y=-2500 x=false"},
		{"null is skipped", "", `{"deviceId":"a","metrics":{"x":null,"y":2,"z":null},"tags":null}`, `0 a y=2`},
		{"tags alone", "", `{"deviceId":"a","tags":{"site":"berlin","line":2,"old":null,"on":true}}`, `0 a #site=berlin #line=2 -#old #on=true`},
		{"a string stays one", "", `{"deviceId":"a","metrics":{"x":"NaN","y":""}}`, `0 a x="NaN" y=""`},
		{"escapes", "", `{"device\u0049d":"\u0061","metrics":{"\u00b0C":1,"t\"q":"\ud83d\ude00\n"}}`, "0 a °C=1 t\"q=\"😀\\n\""},
		{"legal names", "", `{"deviceId":"a","metrics":{"Timestamp":1,"PartitionKey":2,"temp-1":3,"°C":4,"a/b":5,"a\\b#?":6}}`,
			`0 a Timestamp=1 PartitionKey=2 temp-1=3 °C=4 a/b=5 a\b#?=6`},
		{"times in every unit", "", `[{"deviceId":"a","ts":1763870400.25,"metrics":{"x":1}},{"deviceId":"a","ts":1763870400250,"metrics":{"x":1}},{"deviceId":"a","ts":1763870400250000,"metrics":{"x":1}},{"deviceId":"a","ts":1763870400250000001,"metrics":{"x":1}}]`,
			"0 a 2025-11-23T04:00:00.25Z x=1\n1 a 2025-11-23T04:00:00.25Z x=1\n2 a 2025-11-23T04:00:00.25Z x=1\n3 a 2025-11-23T04:00:00.250000001Z x=1"},
		{"exact integers", "", `{"deviceId":"a","metrics":{"x":9007199254740993}}`, `0 a x=9007199254740993`},
		{"address names the device", "pump-7", `[{"metrics":{"x":1}},{"deviceId":"pump-7","values":{"x":2}}]`, "0 pump-7 x=1\n1 pump-7 x=2"},
		{"bare", "d", `{"temperature":21.5}`, `0 d temperature=21.5`},
		{"bare with time and tags", "d", `{"ts":1763870400,"tags":{"a":"b"},"x":1,"deviceId":"d"}`, `0 d 2025-11-23T04:00:00Z x=1 #a=b`},
		{"bare metrics called metrics and values", "d", `{"metrics":1,"values":true}`, `0 d metrics=1 values=true`},
		{"bare array", "d", `[{"x":1},{"ts":1763870400000,"values":{"y":2}}]`, "0 d x=1\n1 d 2025-11-23T04:00:00Z y=2"},
	})
}

func TestBadReadings(t *testing.T) {
	good := `{"deviceId":"a","metrics":{"x":1}}`
	run(t, decodeJSON, []decodeCase{
		{"scalars", "", `[1,"x",null,true,[],` + good + `]`, "5 a x=1\n" +
			`0 ! invalid_message: a number: a message is an object, as {"deviceId":"pump-7","metrics":{"temperature":21.5}}` + "\n" +
			`1 ! invalid_message: a string: a message is an object, as {"deviceId":"pump-7","metrics":{"temperature":21.5}}` + "\n" +
			`2 ! invalid_message: null: a message is an object, as {"deviceId":"pump-7","metrics":{"temperature":21.5}}` + "\n" +
			`3 ! invalid_message: a boolean: a message is an object, as {"deviceId":"pump-7","metrics":{"temperature":21.5}}` + "\n" +
			`4 ! invalid_message: an array: a message is an object, as {"deviceId":"pump-7","metrics":{"temperature":21.5}}`},
		{"a scalar alone", "d", `5`, `0 ! invalid_message: a number: a message is an object, as {"temperature":21.5}`},
		{"key twice", "", `[{"deviceId":"a","deviceId":"b","metrics":{"x":1}},{"deviceId":"a","metrics":{"x":1,"\u0078":2}},{"deviceId":"a","metrics":{"x":null,"x":null}},{"deviceId":"a","metrics":{"x":1},"metrics":{"y":1}},{"deviceId":"a","tags":{"k":"1","k":"2"}},` + good + `]`,
			"5 a x=1\n" +
				`0 ! duplicate_key: key "deviceId" at byte 17 is there a second time` + "\n" +
				`1 ! duplicate_key: key "x" at byte 84 is there a second time` + "\n" +
				`2 ! duplicate_key: key "x" at byte 133 is there a second time` + "\n" +
				`3 ! duplicate_key: key "metrics" at byte 178 is there a second time` + "\n" +
				`4 ! duplicate_key: key "k" at byte 229 is there a second time`},
		{"bare key twice", "d", `{"x":1,"x":2}`, `0 ! duplicate_key: key "x" at byte 7 is there a second time`},
		{"lone surrogates", "", `[{"deviceId":"\ud800","metrics":{"x":1}},{"deviceId":"a","metrics":{"\udc00":1}},{"deviceId":"a","metrics":{"x":"\ud800y"}},{"deviceId":"a","ts":"\ud800","metrics":{"x":1}},{"deviceId":"a","tags":{"x":"\ud800"}},` + good + `]`,
			"5 a x=1\n" +
				`0 ! invalid_text: deviceId at byte 13 has bytes that are not UTF-8 or half a surrogate pair` + "\n" +
				`1 ! invalid_text: key at byte 68 has bytes that are not UTF-8 or half a surrogate pair` + "\n" +
				`2 ! invalid_text: metric "x": string at byte 112 has bytes that are not UTF-8 or half a surrogate pair` + "\n" +
				`3 ! invalid_text: ts at byte 145 has bytes that are not UTF-8 or half a surrogate pair` + "\n" +
				`4 ! invalid_text: tag "x" at byte 201 has bytes that are not UTF-8 or half a surrogate pair`},
		{"not UTF-8", "", `[{"deviceId":"a","metrics":{"x":"` + "\xe9" + `"}},` + good + `]`,
			"1 a x=1\n" + `0 ! invalid_text: metric "x": string at byte 32 has bytes that are not UTF-8 or half a surrogate pair`},
		{"unknown key", "", `[{"deviceId":"a","metric":{"x":1}},{"deviceId":"a","timestamp":1,"metrics":{"x":1}},` + good + `]`,
			"2 a x=1\n" +
				`0 ! unknown_field: unknown key "metric" at byte 17: a message has deviceId, ts, metrics and tags` + "\n" +
				`1 ! unknown_field: unknown key "timestamp" at byte 51: a message has deviceId, ts, metrics and tags`},
		{"unknown key beside values", "d", `[{"values":{"x":1},"y":2},{"y":2,"metrics":{"x":1}}]`,
			`0 ! unknown_field: unknown key "y" beside an object of metrics: a message has ts, tags and values (or metrics)` + "\n" +
				`1 ! unknown_field: unknown key "y" beside an object of metrics: a message has ts, tags and values (or metrics)`},
		{"metrics and values", "d", `{"values":{"x":1},"metrics":{"y":2}}`, `0 ! invalid_message: message has both "metrics" and "values": send one`},
		{"empty", "", `[{},{"deviceId":"a"},{"deviceId":"a","metrics":{}},{"deviceId":"a","metrics":{"x":null}},{"deviceId":"a","metrics":null,"tags":{}}]`,
			`0 ! invalid_device: message has no deviceId` + "\n" +
				`1 ! empty_message: message has neither metrics nor tags (null is no value)` + "\n" +
				`2 ! empty_message: message has neither metrics nor tags (null is no value)` + "\n" +
				`3 ! empty_message: message has neither metrics nor tags (null is no value)` + "\n" +
				`4 ! empty_message: message has neither metrics nor tags (null is no value)`},
		{"empty bare", "d", `{}`, `0 ! empty_message: message has neither metrics nor tags (null is no value)`},
		{"devices", "", `[{"deviceId":"","metrics":{"x":1}},{"deviceId":7,"metrics":{"x":1}},{"deviceId":null,"metrics":{"x":1}},{"deviceId":"a/b","metrics":{"x":1}},{"deviceId":"` + strings.Repeat("x", 129) + `","metrics":{"x":1}}]`,
			`0 ! invalid_device: deviceId is empty: 1 to 128 of A-Z a-z 0-9 - _ . : = @ ~` + "\n" +
				`1 ! invalid_device: deviceId is a number: send a string` + "\n" +
				`2 ! invalid_device: deviceId is null: send a string` + "\n" +
				`3 ! invalid_device: deviceId "a/b": byte 1 is none of A-Z a-z 0-9 - _ . : = @ ~` + "\n" +
				`4 ! invalid_device: deviceId "` + strings.Repeat("x", 48) + `"… is 129 bytes long: at most 128`},
		{"another device", "d", `[{"deviceId":"e","metrics":{"x":1}},{"deviceId":"e","x":1}]`,
			`0 ! device_mismatch: deviceId "e", but the address names "d": leave it out or send the same` + "\n" +
				`1 ! device_mismatch: deviceId "e", but the address names "d": leave it out or send the same`},
		{"metric names", "", `[{"deviceId":"a","metrics":{"":1}},{"deviceId":"a","metrics":{"a,b":1}},{"deviceId":"a","metrics":{"a\u0000":1}},{"deviceId":"a","metrics":{"` + strings.Repeat("é", 65) + `":1}}]`,
			`0 ! invalid_metric: metric "" is empty: 1 to 128 bytes` + "\n" +
				`1 ! invalid_metric: metric "a,b" has a comma` + "\n" +
				`2 ! invalid_metric: metric "a\x00" has a control character at byte 1` + "\n" +
				`3 ! invalid_metric: metric "` + strings.Repeat(`\u00e9`, 24) + `"… is 130 bytes long: at most 128`},
		{"values", "", `[{"deviceId":"a","metrics":{"x":1e999}},{"deviceId":"a","metrics":{"x":{"y":{"z":1}}}},{"deviceId":"a","metrics":{"x":[1,2]}},{"deviceId":"a","metrics":{"x":"` + strings.Repeat("x", 4097) + `"}},{"deviceId":"a","metrics":{"x":18446744073709551615}},` + good + `]`,
			"5 a x=1\n" +
				`0 ! invalid_value: metric "x": number "1e999" is beyond the largest, 1.7976931348623157e+308` + "\n" +
				`1 ! invalid_value: metric "x" at byte 70 is an object: send numbers, booleans or strings, each under a name of its own` + "\n" +
				`2 ! invalid_value: metric "x" at byte 117 is an array: send numbers, booleans or strings, each under a name of its own` + "\n" +
				`3 ! invalid_value: metric "x": string of 4097 bytes: at most 4096` + "\n" +
				`4 ! invalid_value: metric "x": integer "18446744073709551615" would lose digits: send it as a string, or with an exponent if rounding is fine`},
		{"bare nested", "d", `{"metrics":[1],"x":1}`, `0 ! invalid_value: metric "metrics" at byte 10 is an array: send numbers, booleans or strings, each under a name of its own`},
		{"metrics and tags that are none", "", `[{"deviceId":"a","metrics":[1]},{"deviceId":"a","tags":"x"}]`,
			`0 ! invalid_message: metrics is an array: send an object of names and values` + "\n" +
				`1 ! invalid_tags: tags is a string: send an object of names and values`},
		{"tags", "", `[{"deviceId":"a","tags":{"":"x"}},{"deviceId":"a","tags":{"k":"a,b"}},{"deviceId":"a","tags":{"k":{}}},{"deviceId":"a","tags":{"k":"` + strings.Repeat("x", 257) + `"}}]`,
			`0 ! invalid_tags: tag key "" is empty: 1 to 64 bytes` + "\n" +
				`1 ! invalid_tags: tag value "a,b" has a comma` + "\n" +
				`2 ! invalid_tags: tag "k" is an object: send a string, or null to remove it` + "\n" +
				`3 ! invalid_tags: tag value "` + strings.Repeat("x", 48) + `"… is 257 bytes long: at most 256`},
		{"times", "", `[{"deviceId":"a","ts":0,"metrics":{"x":1}},{"deviceId":"a","ts":-5,"metrics":{"x":1}},{"deviceId":"a","ts":"1999-12-31T23:59:59Z","metrics":{"x":1}},{"deviceId":"a","ts":"9999-12-31T23:59:59Z","metrics":{"x":1}},{"deviceId":"a","ts":"2026-11-24T08:10:00Z","metrics":{"x":1}},{"deviceId":"a","ts":"2026-11-24T08:09:59.999999999Z","metrics":{"x":1}}]`,
			"5 a 2026-11-24T08:09:59.999999999Z x=1\n" +
				`0 ! timestamp_too_old: time 1970-01-01T00:00:00Z is before 2000-01-01T00:00:00Z, the oldest that is kept (a Unix number's unit is told by its size)` + "\n" +
				`1 ! timestamp_too_old: time 1969-12-31T23:59:55Z is before 2000-01-01T00:00:00Z, the oldest that is kept (a Unix number's unit is told by its size)` + "\n" +
				`2 ! timestamp_too_old: time 1999-12-31T23:59:59Z is before 2000-01-01T00:00:00Z, the oldest that is kept (a Unix number's unit is told by its size)` + "\n" +
				`3 ! timestamp_in_future: time 2262-04-11T23:47:16.854775807Z or later is after 2026-11-24T08:09:59.999999999Z, 10 minutes from now: check the clock and the unit` + "\n" +
				`4 ! timestamp_in_future: time 2026-11-24T08:10:00Z is after 2026-11-24T08:09:59.999999999Z, 10 minutes from now: check the clock and the unit`},
		{"no times", "", `[{"deviceId":"a","ts":"2026-02-30T00:00:00Z","metrics":{"x":1}},{"deviceId":"a","ts":"2016-12-31T23:59:60Z","metrics":{"x":1}},{"deviceId":"a","ts":"1763870400","metrics":{"x":1}},{"deviceId":"a","ts":null,"metrics":{"x":1}},{"deviceId":"a","ts":{},"metrics":{"x":1}}]`,
			`0 ! invalid_timestamp: "2026-02-30T00:00:00Z": no such day; send RFC 3339 with a zone, as 2026-11-23T04:00:00Z, or a Unix number without quotes` + "\n" +
				`1 ! invalid_timestamp: "2016-12-31T23:59:60Z": a leap second, which Unix time does not have: send second 59, or 00 of the next minute; send RFC 3339 with a zone, as 2026-11-23T04:00:00Z, or a Unix number without quotes` + "\n" +
				`2 ! invalid_timestamp: "1763870400": not a time; send RFC 3339 with a zone, as 2026-11-23T04:00:00Z, or a Unix number without quotes` + "\n" +
				`3 ! invalid_timestamp: ts is null: send RFC 3339 with a zone or a Unix number, or leave it out for the time of receipt` + "\n" +
				`4 ! invalid_timestamp: ts is an object: send RFC 3339 with a zone or a Unix number, or leave it out for the time of receipt`},
	})
}

func TestBadBodies(t *testing.T) {
	good := `{"deviceId":"a","metrics":{"x":1}}`
	run(t, decodeJSON, []decodeCase{
		{"nothing", "", "", `error: body is empty: send a message, as {"deviceId":"pump-7","metrics":{"temperature":21.5}}`},
		{"white space", "d", " \n", `error: body is empty: send a message, as {"temperature":21.5}`},
		{"empty array", "d", " [ ] ", `error: array is empty: send at least one message, as {"temperature":21.5}`},
		{"not JSON", "", "hello", `error: not JSON at byte 0: invalid character 'h' at start of value`},
		{"trailing garbage", "", good + "x", `error: not JSON at byte 34: invalid character 'x' at start of value`},
		{"trailing bracket", "", "[" + good + "]]", `error: not JSON at byte 36: invalid character ']' at start of value`},
		{"two messages", "", good + "\n" + good, `error: a second message after byte 34: send an array, or a message a line as application/x-ndjson`},
		{"two arrays", "", "[" + good + "][]", `error: an array after the end of the JSON at byte 36`},
		{"cut in a key", "", `[` + good + `,{"devi`, `error: JSON ends in the middle, at byte 42`},
		{"cut in a value", "", `[` + good + `,{"deviceId":"a","metrics":{"x":1`, `error: JSON ends in the middle, at byte 68`},
		{"cut in a number", "", `{"deviceId":"a","metrics":{"x":1.`, `error: JSON ends in the middle, at byte 31`},
		{"cut after a refusal", "", `[{"deviceId":5,`, `error: JSON ends in the middle, at byte 15`},
		{"NaN", "", `{"deviceId":"a","metrics":{"x":NaN}}`, `error: not JSON at byte 31: invalid character 'N' at start of value; JSON has no NaN and no Infinity: leave the metric out or send null`},
		{"Infinity", "", `{"deviceId":"a","metrics":{"x":-Infinity}}`, `error: not JSON at byte 32: invalid character 'I' in number (expecting digit); JSON has no NaN and no Infinity: leave the metric out or send null`},
		{"depth 10,000", "", strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000), `error: JSON nests deeper than 64 at byte 65`},
		{"depth 10,000 in a metric", "", `[` + good + `,{"deviceId":"a","metrics":{"x":` + strings.Repeat(`{"a":`, 10_000), `error: JSON nests deeper than 64 at byte 373`},
		{"number as a key", "", `{1:2}`, `error: not JSON at byte 1: object member name must be a string`},
		{"comma too many", "", `[` + good + `,]`, `error: not JSON at byte 35: invalid character ',' at start of value`},
		{"too many", "", `[` + strings.Repeat("1,", 1000) + `1]`, `error: more than 1000 readings in one body: send several`},
		{"UTF-16", "", "{\x00\"\x00", `error: not JSON at byte 1: invalid character '\x00' at start of value`},
	})
}

func TestTooManyMetricsAndTags(t *testing.T) {
	object := func(n int, value string) string {
		var s []string
		for i := range n {
			s = append(s, fmt.Sprintf(`"m%d":%s`, i, value))
		}
		return "{" + strings.Join(s, ",") + "}"
	}
	for _, c := range []struct {
		body string
		want telemetry.Code
	}{
		{`{"deviceId":"a","metrics":` + object(20, "1") + `}`, ""},
		{`{"deviceId":"a","metrics":` + object(21, "1") + `}`, telemetry.TooManyMetrics},
		{`{"deviceId":"a","tags":{"x":"1"},"metrics":` + object(200, "null") + `}`, ""},
		{`{"deviceId":"a","tags":{"x":"1"},"metrics":` + object(201, "null") + `}`, telemetry.TooManyMetrics},
		{`{"deviceId":"a","tags":` + object(32, `"v"`) + `}`, ""},
		{`{"deviceId":"a","tags":` + object(33, `"v"`) + `}`, telemetry.InvalidTags},
	} {
		b, err := wire.JSON(strings.NewReader("["+c.body+`,{"deviceId":"z","metrics":{"x":1}}]`), options(""))
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case c.want == "" && len(b.Errors) > 0:
			t.Errorf("%.60s: %v", c.body, b.Errors[0])
		case c.want != "" && (len(b.Errors) != 1 || b.Errors[0].Refusal.Code != c.want):
			t.Errorf("%.60s: %v, want %s", c.body, b.Errors, c.want)
		}
		if last := b.Readings[len(b.Readings)-1]; last.Device != "z" || len(last.Metrics) != 1 {
			t.Errorf("%.60s: the next reading is %v", c.body, last)
		}
	}
}

func TestOnlyTheFirstErrorsAreListed(t *testing.T) {
	b, err := wire.JSON(strings.NewReader("["+strings.Repeat("1,", 299)+"1]"), options(""))
	if err != nil || b.Rejected != 300 || len(b.Errors) != 100 || b.Errors[99].Index != 99 {
		t.Errorf("%v, %d rejected, %d listed", err, b.Rejected, len(b.Errors))
	}
}

func TestLateRefusalsJoinTheOthers(t *testing.T) {
	b, err := wire.JSON(strings.NewReader(`[{"deviceId":"a","metrics":{"x":1}},2,{"deviceId":"b","metrics":{"x":1}},4]`), options(""))
	if err != nil {
		t.Fatal(err)
	}
	b.Refuse(func(r *telemetry.Reading) *telemetry.Refusal {
		if r.Device == "a" {
			return telemetry.Refuse(telemetry.RateLimited, "slower")
		}
		return nil
	})
	var order []int
	for _, e := range b.Errors {
		order = append(order, e.Index)
	}
	if diff := cmp.Diff([]int{0, 1, 3}, order); diff != "" || b.Rejected != 3 || len(b.Readings) != 1 || b.Index[0] != 2 {
		t.Errorf("%s, rejected %d, left %v at %v", diff, b.Rejected, b.Readings, b.Index)
	}
}

func TestStampsRise(t *testing.T) {
	b, err := wire.JSON(strings.NewReader(`[{"deviceId":"a","metrics":{"x":1}},2,{"deviceId":"a","ts":1763870400,"metrics":{"x":1}},{"deviceId":"a","metrics":{"x":2}}]`), options(""))
	if err != nil {
		t.Fatal(err)
	}
	b.Stamp(500)
	type pair struct {
		time  int64
		stamp telemetry.Stamp
	}
	var got []pair
	for _, r := range b.Readings {
		got = append(got, pair{r.Time, r.Stamp})
	}
	want := []pair{{500, 500}, {1763870400e9, 501}, {502, 502}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(pair{})); diff != "" {
		t.Error(diff)
	}
}

// A pooled parser must not let one body's data show in another's.
func TestBatchesAreTheirOwn(t *testing.T) {
	first, err := wire.JSON(strings.NewReader(`[{"deviceId":"a","metrics":{"x":1,"s":"text"},"tags":{"k":"v"}},{"deviceId":"b","metrics":{"y":2}}]`), options(""))
	if err != nil {
		t.Fatal(err)
	}
	want := print(first)
	for range 10 {
		if _, err := wire.JSON(strings.NewReader(`[{"deviceId":"c","metrics":{"z":9,"q":"other"},"tags":{"l":"w"}},{"deviceId":"d","metrics":{"v":8}}]`), options("")); err != nil {
			t.Fatal(err)
		}
		if _, err := wire.JSON(strings.NewReader(`[{"deviceId":"c","metrics":{"z":9`), options("")); err == nil {
			t.Fatal("cut body taken")
		}
	}
	if diff := cmp.Diff(want, print(first)); diff != "" {
		t.Error(diff)
	}
}

func TestManyNames(t *testing.T) {
	var body bytes.Buffer
	body.WriteString("[")
	for i := range 999 {
		fmt.Fprintf(&body, `{"deviceId":"d%d","metrics":{`, i)
		for j := range 20 {
			fmt.Fprintf(&body, `"m%d":%d,`, i*20+j, j)
		}
		body.Truncate(body.Len() - 1)
		body.WriteString(`}},`)
	}
	body.WriteString(`{"deviceId":"d1","metrics":{"m1":1,"m2":2}}]`)
	b, err := wire.JSON(&body, options(""))
	if err != nil || len(b.Readings) != 1000 {
		t.Fatal(err, len(b.Readings), b.Errors)
	}
	for i, r := range b.Readings[:999] {
		for j, m := range r.Metrics {
			if m.Name != fmt.Sprintf("m%d", i*20+j) || m.Value != telemetry.FloatValue(float64(j)) {
				t.Fatalf("reading %d metric %d: %v", i, j, m)
			}
		}
	}
}

func TestSourceErrorsComeBack(t *testing.T) {
	broken := errors.New("connection reset")
	for name, decode := range map[string]func() (*wire.Batch, error){
		"json": func() (*wire.Batch, error) {
			return wire.JSON(failing(`[{"deviceId":"a"`, broken), options(""))
		},
		"ndjson": func() (*wire.Batch, error) {
			return wire.NDJSON(failing(`{"deviceId":"a","metrics":{"x":1}}`+"\n", broken), options(""))
		},
	} {
		if _, err := decode(); !errors.Is(err, broken) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNDJSON(t *testing.T) {
	good := `{"deviceId":"a","metrics":{"x":1}}`
	long := `{"deviceId":"a","metrics":{` + strings.Repeat(" ", 100_000) + `"x":1}}`
	run(t, func(c decodeCase) (*wire.Batch, error) {
		return wire.NDJSON(strings.NewReader(c.body), options(c.device))
	}, []decodeCase{
		{"lines", "", good + "\n" + good + "\r\n\n" + good, "0 a x=1\n1 a x=1\n3 a x=1"},
		{"a line at the end", "", good + "\n", "0 a x=1"},
		{"bare", "d", "{\"x\":1}\n{\"ts\":1763870400,\"values\":{\"y\":2}}\n", "0 d x=1\n1 d 2025-11-23T04:00:00Z y=2"},
		{"long lines", "", long + "\n" + long + "\n" + good, "0 a x=1\n1 a x=1\n2 a x=1"},
		{"bad lines", "", good + "\nhello\n{\"deviceId\":\"a\"\n" + good + "x\n" + good + good + "\n[" + good + "]\n\n5\n{\"deviceId\":\"a\",\"metrics\":{\"x\":NaN}}\n" + good,
			"0 a x=1\n9 a x=1\n" +
				`1 ! invalid_json: line 2: not JSON at byte 0: invalid character 'h' at start of value` + "\n" +
				`2 ! invalid_json: line 3: JSON ends in the middle, at byte 15` + "\n" +
				`3 ! invalid_json: line 4: not JSON at byte 34: invalid character 'x' at start of value` + "\n" +
				`4 ! invalid_json: line 5: a second message after byte 34: send an array, or a message a line as application/x-ndjson` + "\n" +
				`5 ! invalid_message: line 6: an array: a message is an object, as {"deviceId":"pump-7","metrics":{"temperature":21.5}}` + "\n" +
				`7 ! invalid_message: line 8: a number: a message is an object, as {"deviceId":"pump-7","metrics":{"temperature":21.5}}` + "\n" +
				`8 ! invalid_json: line 9: not JSON at byte 31: invalid character 'N' at start of value; JSON has no NaN and no Infinity: leave the metric out or send null`},
		{"cut at the end", "", good + "\n" + `{"deviceId":"a","met`, "0 a x=1\n" + `1 ! invalid_json: line 2: JSON ends in the middle, at byte 20`},
		{"nothing", "", "\n \r\n", `error: body is empty: send a message a line, as {"deviceId":"pump-7","metrics":{"temperature":21.5}}`},
		{"too many", "", strings.Repeat("1\n", 1001), `error: more than 1000 readings in one body: send several`},
	})
}

func TestRefusedJSONIsInvalidForEverybody(t *testing.T) {
	// The oracle of FuzzJSON, on the bodies of this file's tables, is
	// encoding/json: what it holds for JSON is never refused as a whole for
	// its syntax.
	for _, body := range []string{`{"a":"\ud800"}`, "{\"a\":\"\xff\"}", `{"a":1,"a":2}`, `[1e999]`, `"x"`} {
		checkJSON(t, []byte(body), "")
		checkJSON(t, []byte(body), "d")
	}
}

// checkJSON holds JSON against encoding/json: both call the same bodies JSON.
func checkJSON(t *testing.T, body []byte, device string) {
	t.Helper()
	b, err := wire.JSON(bytes.NewReader(body), options(device))
	valid := json.Valid(body)
	var whole *wire.Error
	switch {
	case err == nil && !valid:
		t.Fatalf("%q is not JSON, but taken: %s", body, print(b))
	case err != nil && !errors.As(err, &whole):
		t.Fatalf("%q: error of another kind: %v", body, err)
	case err != nil && valid && whole.Kind == wire.Syntax && !strings.Contains(whole.Message, "nests deeper"):
		t.Fatalf("%q is JSON, but refused: %v", body, err)
	}
	if err == nil {
		checkBatch(t, b)
	}
}

// checkBatch holds a batch against the rules of the contract.
func checkBatch(t *testing.T, b *wire.Batch) {
	t.Helper()
	if len(b.Readings)+b.Rejected == 0 || len(b.Readings) != len(b.Index) {
		t.Fatalf("%d readings, %d indexes, %d rejected", len(b.Readings), len(b.Index), b.Rejected)
	}
	window := telemetry.NewWindow(now, 0)
	for _, r := range b.Readings {
		if refusal := telemetry.CheckDevice(r.Device); refusal != nil {
			t.Fatal(refusal)
		}
		if r.Time != wire.Untimed && window.Check(r.Time) != nil {
			t.Fatalf("time %d", r.Time)
		}
		if len(r.Metrics)+len(r.Tags) == 0 || len(r.Metrics) > 20 || len(r.Tags) > telemetry.MaxTags {
			t.Fatalf("%d metrics, %d tags", len(r.Metrics), len(r.Tags))
		}
		seen := map[string]bool{}
		for _, m := range r.Metrics {
			if refusal := telemetry.CheckMetric(m.Name); refusal != nil || seen[m.Name] || m.Value.Kind == telemetry.None {
				t.Fatalf("metric %q: %v, twice: %v", m.Name, refusal, seen[m.Name])
			}
			seen[m.Name] = true
		}
	}
}

func FuzzJSON(f *testing.F) {
	for _, s := range []string{
		`{"deviceId":"pump-7","ts":"2026-11-23T04:00:00Z","metrics":{"temperature":21.5,"running":true,"state":"OK"},"tags":{"site":"berlin"}}`,
		`[{"deviceId":"a","metrics":{"x":1}},{"deviceId":"b","ts":1763870400.5,"metrics":{"y":-2.5e3,"x":null}}]`,
		`[1,"x",null,[],{}]`, `[]`, ``, ` `, `{"a":"\ud800"}`, "{\"a\":\"\xff\"}", `{"a":1,"a":2}`, `[[[[[[[[`, `{"deviceId":"a","metrics":{"x":{"y":[1]}}}`,
		`{"deviceId":"a","tags":{"k":null,"l":1}}x`, `{"deviceId":"\u0061","metrics":{"\u00b0":"\ud83d\ude00"}}`, `{"deviceId":"a","metrics":{"x":1e999}}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) { checkJSON(t, body, "") })
}

func FuzzDevice(f *testing.F) {
	for _, s := range []string{
		`{"temperature":21.5}`, `{"ts":1763870400,"values":{"x":1}}`, `[{"x":1},{"metrics":{"y":"z"},"tags":{"a":"b"}}]`, `{"metrics":1,"values":[]}`,
		`{"values":{"x":1},"metrics":{"y":1}}`, `{"values":{"x":1},"y":2}`, `{"deviceId":"d","x":1}`, `{"deviceId":"e","x":1}`, `{"":1}`, `{"x":1,"x":2}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) { checkJSON(t, body, "d") })
}

func FuzzNDJSON(f *testing.F) {
	for _, s := range []string{
		"{\"deviceId\":\"a\",\"metrics\":{\"x\":1}}\n{\"deviceId\":\"b\",\"tags\":{\"k\":\"v\"}}\r\n\nhello\n", "\n", "", "{}\n[]\n5", "{\"deviceId\":\"a\",\"metrics\":{\"x\":1}}x\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(checkNDJSON)
}

// checkNDJSON holds NDJSON against JSON, line by line.
func checkNDJSON(t *testing.T, body []byte) {
	lines := 0
	want := ""
	refused := map[int]bool{}
	for n, line := range bytes.Split(body, []byte("\n")) {
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		lines++
		b, err := wire.JSON(bytes.NewReader(line), options(""))
		if err != nil || len(b.Readings) == 0 || line[0] == '[' {
			refused[n] = true
			continue
		}
		want += strings.Replace(print(b), "0 ", fmt.Sprintf("%d ", n), 1)
	}
	b, err := wire.NDJSON(bytes.NewReader(body), options(""))
	if lines == 0 || lines > 1000 {
		if err == nil {
			t.Fatalf("%d lines taken", lines)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	checkBatch(t, b)
	if b.Rejected != len(refused) || len(b.Readings)+b.Rejected != lines {
		t.Fatalf("%d rejected, want %d; %d taken of %d lines", b.Rejected, len(refused), len(b.Readings), lines)
	}
	for _, e := range b.Errors {
		if !refused[e.Index] {
			t.Fatalf("line %d refused: %v", e.Index, e.Refusal)
		}
	}
	b.Errors = nil
	if got := print(b); got != want {
		t.Fatalf("got\n%s\nwant\n%s", got, want)
	}
}

// fleet is a body of n readings with 4 metrics of d devices.
func fleet(n, d int) []byte {
	var b bytes.Buffer
	for i := range n {
		b.WriteByte("[,"[min(i, 1)])
		fmt.Fprintf(&b, `{"deviceId":"pump-%d","ts":"2026-11-23T04:%02d:%02dZ","metrics":{"temperature":%.2f,"pressure":%.1f,"running":true,"flow":%d}}`,
			i%d, i/60%60, i%60, 20+float64(i%500)/7, 1000+float64(i%500)/3, i)
	}
	b.WriteByte(']')
	return b.Bytes()
}

func benchmarkJSON(b *testing.B, n, d int) {
	body := fleet(n, d)
	opt := options("")
	opt.Readings = n
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	r := bytes.NewReader(body)
	for b.Loop() {
		r.Reset(body)
		batch, err := wire.JSON(r, opt)
		if err != nil || len(batch.Readings) != n || len(batch.Readings[n-1].Metrics) != 4 {
			b.Fatal(err, len(batch.Readings))
		}
	}
	b.ReportMetric(float64(b.N)*float64(n)/b.Elapsed().Seconds(), "readings/s")
}

func BenchmarkJSON500(b *testing.B)       { benchmarkJSON(b, 500, 20) }
func BenchmarkJSONFleet5000(b *testing.B) { benchmarkJSON(b, 5000, 2500) }
func BenchmarkJSONOne(b *testing.B)       { benchmarkJSON(b, 1, 1) }

// failing reads text, then fails.
func failing(text string, err error) *failAfter { return &failAfter{strings.NewReader(text), err} }

type failAfter struct {
	r   *strings.Reader
	err error
}

func (f *failAfter) Read(p []byte) (int, error) {
	if f.r.Len() == 0 {
		return 0, f.err
	}
	return f.r.Read(p)
}

// Bodies with more metrics than a slab holds, bad readings among them.
func TestManyMetrics(t *testing.T) {
	var body bytes.Buffer
	const n = 6000
	for i := range n {
		body.WriteByte("[,"[min(i, 1)])
		fmt.Fprintf(&body, `{"deviceId":"d","metrics":{`)
		for j := range 1 + i%20 {
			fmt.Fprintf(&body, `"m%d":%d,`, j, i)
		}
		end := `"z":1}}`
		if i%7 == 0 {
			end = `"z":[]}}`
		}
		body.WriteString(end)
	}
	body.WriteByte(']')
	opt := options("")
	opt.Readings, opt.Metrics = n, 100
	b, err := wire.JSON(&body, opt)
	if err != nil {
		t.Fatal(err)
	}
	if want := (n + 6) / 7; b.Rejected != want || len(b.Readings) != n-want {
		t.Fatalf("%d taken, %d rejected", len(b.Readings), b.Rejected)
	}
	for k, r := range b.Readings {
		i := int(b.Index[k])
		if i%7 == 0 || len(r.Metrics) != 2+i%20 || r.Metrics[0].Value != telemetry.FloatValue(float64(i)) || r.Metrics[len(r.Metrics)-1].Name != "z" {
			t.Fatalf("reading %d: %v", i, r)
		}
	}
}

// A key twice is found also in the message before which the table of names
// began anew.
func TestKeyTwiceInANewTable(t *testing.T) {
	var body strings.Builder
	for i := range 9000 {
		fmt.Fprintf(&body, `{"deviceId":"d","metrics":{"first":1,"n%d":1}}`+"\n", i)
		fmt.Fprintf(&body, `{"deviceId":"d","metrics":{"first":1,"first":2}}`+"\n")
	}
	opt := options("")
	opt.Readings = 18_000
	b, err := wire.NDJSON(strings.NewReader(body.String()), opt)
	if err != nil || b.Rejected != 9000 || len(b.Readings) != 9000 {
		t.Fatal(err, b.Rejected, len(b.Readings))
	}
}
