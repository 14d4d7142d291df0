package wire_test

import (
	"strings"
	"testing"

	"sluice/telemetry"
	"sluice/telemetry/wire"
)

func TestText(t *testing.T) {
	decode := func(c decodeCase) (*wire.Batch, error) {
		return wire.Text(strings.NewReader(c.body), options(c.device))
	}
	run(t, decode, []decodeCase{
		{"one", "", `{"deviceId":"a","metrics":{"x":1}}`, `0 a x=1`},
		{"one over several lines", "", "{\n \"deviceId\":\"a\",\n \"metrics\":\n{\"x\":1}\n}\n", `0 a x=1`},
		{"array", "d", "[\n{\"x\":1},\n{\"x\":2}\n]", "0 d x=1\n1 d x=2"},
		{"a line", "d", "\n{\"x\":1}\n", `0 d x=1`},
		{"lines", "d", "{\"x\":1}\r\n\r\n{\"x\":2}\r\n", "0 d x=1\n2 d x=2"},
		{"lines, a bad one", "d", "{\"x\":1}\n{\"x\":\n5\n{\"x\":4}", "0 d x=1\n3 d x=4\n" +
			"1 ! invalid_json: line 2: JSON ends in the middle, at byte 5\n" +
			"2 ! invalid_message: line 3: a number: a message is an object, as {\"temperature\":21.5}"},
		{"lines, the first is bad", "d", "{\"x\":}\n{\"x\":2}\n", "1 d x=2\n0 ! invalid_json: line 1: not JSON at byte 5: invalid character '}' at start of value"},
		{"messages on one line", "d", `{"x":1} {"x":2}`, `error: a second message after byte 7: send an array, or a message a line as application/x-ndjson`},
		{"blank", "d", " \n ", `error: body is empty: send a message, as {"temperature":21.5}`},
	})
}

// A default device is that of messages that name none, which may be bare then.
func TestDefaultDevice(t *testing.T) {
	opt := options("")
	opt.Default = "d"
	decode := func(c decodeCase) (*wire.Batch, error) { return wire.JSON(strings.NewReader(c.body), opt) }
	run(t, decode, []decodeCase{
		{"bare", "", `{"x":1,"ts":1763870400,"tags":{"a":"b"}}`, `0 d 2025-11-23T04:00:00Z x=1 #a=b`},
		{"whole", "", `[{"metrics":{"x":1}},{"values":{"x":2}}]`, "0 d x=1\n1 d x=2"},
		{"another", "", `[{"deviceId":"a","metrics":{"x":1}},{"x":2},{"metrics":{"x":3},"deviceId":"b"}]`, "0 a x=1\n1 d x=2\n2 b x=3"},
		{"another, bare", "", `[{"deviceId":"a","x":1},{"x":1,"deviceId":"d"},{"deviceId":"a","values":{"x":1}},{"deviceId":"a","metrics":1}]`,
			"0 ! unknown_field: unknown key \"x\": a message with a deviceId has ts, metrics and tags besides\n" +
				"1 ! unknown_field: unknown key \"x\": a message with a deviceId has ts, metrics and tags besides\n" +
				"2 ! unknown_field: unknown key \"values\": a message with a deviceId has ts, metrics and tags besides\n" +
				"3 ! unknown_field: unknown key \"metrics\": a message with a deviceId has ts, metrics and tags besides"},
		{"a bad name", "", `{"deviceId":"","metrics":{"x":1}}`, `0 ! invalid_device: deviceId is empty: 1 to 128 of A-Z a-z 0-9 - _ . : = @ ~`},
	})
}

// Who sent a body sends its own readings only.
func TestSender(t *testing.T) {
	opt := options("d")
	opt.Sender = true
	decode := func(c decodeCase) (*wire.Batch, error) { return wire.JSON(strings.NewReader(c.body), opt) }
	run(t, decode, []decodeCase{
		{"forms", "", `[{"x":1},{"deviceId":"d","x":2},{"deviceId":"d","metrics":{"x":3}},{"deviceId":"e","x":4}]`,
			"0 d x=1\n1 d x=2\n2 d x=3\n3 ! forbidden_device: deviceId \"e\", but \"d\" sent it: a device sends its own readings only"},
	})
}

// The stamp of a reading is that of its place, whatever becomes of the others:
// when they are right one day, it is still the same.
func TestStampPlaces(t *testing.T) {
	body := `[{"x":1},{"bad":[]},{"ts":1763870400,"x":2},{"x":3},{"ts":1763870400,"x":4}]`
	b, err := wire.JSON(strings.NewReader(body), options("d"))
	if err != nil {
		t.Fatal(err)
	}
	b.StampPlaces(1_000_000, 3)
	got := ""
	for _, r := range b.Readings {
		if r.Time == int64(r.Stamp) {
			got += "untimed "
		}
		got += string(r.Metrics[0].Value.AppendNumber(nil)) + " "
	}
	if got != "untimed 1 2 4 " || b.Readings[0].Stamp != 1_000_000 || b.Readings[1].Stamp != 1_000_002 || b.Readings[2].Stamp != 1_000_004 {
		t.Errorf("%s %+v", got, b.Readings)
	}
	if b.Rejected != 2 || b.Errors[0].Index != 1 || b.Errors[1].Index != 3 || b.Errors[1].Refusal.Code != telemetry.InvalidTimestamp {
		t.Errorf("%+v", b.Errors)
	}
}

func FuzzText(f *testing.F) {
	for _, seed := range []string{`{"x":1}`, "{\"x\":1}\n{\"x\":2}\n", "[{\"x\":1},\n{\"x\":2}]", "{}\n{", "{\"deviceId\":\"a\",\"metrics\":{\"x\":1}}\r\n{\"x\":}"} {
		f.Add(seed, byte(0))
		f.Add(seed, byte(1))
	}
	f.Fuzz(func(t *testing.T, body string, mode byte) {
		opt := options("")
		switch mode % 3 {
		case 1:
			opt.Default = "d"
		case 2:
			opt.Device, opt.Sender = "d", true
		}
		text, err := wire.Text(strings.NewReader(body), opt)
		if err == nil {
			checkBatch(t, text)
		}
		// What is JSON as a whole is taken as that.
		whole, failed := wire.JSON(strings.NewReader(body), opt)
		if failed == nil && (err != nil || print(whole) != print(text)) {
			t.Errorf("JSON: %s\nText: %v, %v", print(whole), err, text)
		}
	})
}
