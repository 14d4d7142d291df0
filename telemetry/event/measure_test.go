package event

import (
	"bufio"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"sluice/telemetry"
	"sluice/telemetry/block"
)

// nabFolder has CSV files of the Numenta Anomaly Benchmark.
const nabFolder = "../../../shared/data/nab"

// nab reads all files, each as one device's readings, stamped as they would
// arrive one by one.
func nab(t *testing.T) []block.Device {
	paths, err := filepath.Glob(nabFolder + "/*.csv")
	if err != nil || len(paths) == 0 {
		t.Skipf("no data in %s", nabFolder)
	}
	var readings []telemetry.Reading
	for _, path := range paths {
		file, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		device := strings.TrimSuffix(filepath.Base(path), ".csv")
		for lines := bufio.NewScanner(file); lines.Scan(); {
			stamp, value, _ := strings.Cut(lines.Text(), ",")
			at, err := time.Parse(time.DateTime, stamp)
			v, err2 := strconv.ParseFloat(value, 64)
			if err != nil || err2 != nil {
				continue // the head
			}
			readings = append(readings, telemetry.Reading{
				Device: device, Time: at.UnixNano(), Stamp: telemetry.Stamp(at.UnixNano() + 40e6 + int64(len(readings)*7919%30e6)),
				Metrics: []telemetry.Metric{{Name: "value", Value: telemetry.FloatValue(v)}},
			})
		}
	}
	return block.FromReadings(readings)
}

// TestPacking prints what compression gains over blocks (ADR 0013).
func TestPacking(t *testing.T) {
	flushes := []struct {
		name    string
		devices func(t *testing.T) []block.Device // t: of the flush, which may be skipped alone
	}{
		{"1 reading", func(*testing.T) []block.Device { return fleet(1, 1) }},
		{"10 devices × 1", func(*testing.T) []block.Device { return fleet(10, 1) }},
		{"100 devices × 1", func(*testing.T) []block.Device { return fleet(100, 1) }},
		{"1,250 devices × 1", func(*testing.T) []block.Device { return fleet(1250, 1) }},
		{"62 devices × 80", func(*testing.T) []block.Device { return fleet(62, 80) }},
		{"10 meters × 40", func(*testing.T) []block.Device { return meters(10, 40) }},
		{"NAB, all nine", nab},
	}
	t.Log("| a flush of | readings | block, bytes | body, bytes | body ÷ block |")
	for _, f := range flushes {
		t.Run(f.name, func(t *testing.T) {
			devices := f.devices(t)
			blocks, err := block.Encode(devices, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			readings, plain, packed := 0, 0, 0
			for i := range devices {
				readings += devices[i].Readings.Len()
			}
			for i, body := range mustEncode(t, devices, 1<<20) {
				plain, packed = plain+len(blocks[i]), packed+len(body)
			}
			t.Logf("| %s | %d | %d | %d | %.2f |", f.name, readings, plain, packed, float64(packed)/float64(plain))
			if packed > plain+headSize*len(blocks) {
				t.Error("packing made it longer")
			}
		})
	}
}
