package event

import (
	"encoding/hex"
	"flag"
	"os"
	"reflect"
	"strings"
	"testing"

	"sluice/telemetry"
	"sluice/telemetry/block"
)

var update = flag.Bool("update", false, "write testdata/v1.txt anew: only for a version that nobody has sent yet")

// goldenDevices are a body as it is, one that is compressed, and nothing.
func goldenDevices() [][]block.Device {
	small := block.FromReadings([]telemetry.Reading{
		{
			Device: "pump-7", Time: 1_780_000_000e9, Stamp: 1_780_000_000_040_000_123,
			Metrics: []telemetry.Metric{
				{Name: "temperature", Value: telemetry.FloatValue(21.5)},
				{Name: "running", Value: telemetry.BoolValue(true)},
				{Name: "state", Value: telemetry.TextValue("OK")},
			},
			Tags: []telemetry.Tag{{Key: "line", Removed: true}, {Key: "site", Value: "berlin"}},
		},
		{Device: "pump-8", Time: -5, Stamp: 1, Metrics: []telemetry.Metric{{Name: "counter", Value: telemetry.IntValue(1<<53 + 1)}}},
	})
	return [][]block.Device{small, meters(10, 40), nil}
}

// TestGolden decodes what the first release sent: events wait in a hub for days,
// and a binary that was upgraded meanwhile reads them.
func TestGolden(t *testing.T) {
	const path = "testdata/v1.txt"
	want := goldenDevices()
	if *update {
		var lines strings.Builder
		for _, devices := range want {
			body := Nothing()
			if devices != nil {
				body = mustEncode(t, devices, MinLimit)[0]
			}
			lines.WriteString(hex.EncodeToString(body) + "\n")
		}
		if err := os.WriteFile(path, []byte(lines.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Fields(string(content))
	if len(lines) != len(want) {
		t.Fatalf("%d lines, want %d", len(lines), len(want))
	}
	for i, line := range lines {
		body, err := hex.DecodeString(line)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Decode(body)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want[i]) {
			t.Errorf("line %d:\ngot\n%+v\nwant\n%+v", i+1, got, want[i])
		}
	}
}
