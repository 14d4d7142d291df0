package block

import (
	"bufio"
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"sluice/telemetry"
)

// nabFolder has CSV files of the Numenta Anomaly Benchmark.
const nabFolder = "../../../shared/data/nab"

// nab reads one file as one device's readings.
func nab(t *testing.T, path string) []telemetry.Reading {
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	device := strings.TrimSuffix(filepath.Base(path), ".csv")
	var readings []telemetry.Reading
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		stamp, value, ok := strings.Cut(lines.Text(), ",")
		if !ok || stamp == "timestamp" {
			continue
		}
		at, err := time.Parse(time.DateTime, stamp)
		if err != nil {
			t.Fatal(err)
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			t.Fatal(err)
		}
		readings = append(readings, telemetry.Reading{
			Device: device, Time: at.UnixNano(),
			Metrics: []telemetry.Metric{{Name: "value", Value: telemetry.FloatValue(v)}},
		})
	}
	return readings
}

// asJSON writes readings as the array that the API takes.
func asJSON(readings []telemetry.Reading) []byte {
	b := []byte{'['}
	for i, r := range readings {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"deviceId":`...)
		b = strconv.AppendQuote(b, r.Device)
		b = append(b, `,"ts":"`...)
		b = time.Unix(0, r.Time).UTC().AppendFormat(b, time.RFC3339Nano)
		b = append(b, `","metrics":{`...)
		for k, m := range r.Metrics {
			if k > 0 {
				b = append(b, ',')
			}
			b = strconv.AppendQuote(b, m.Name)
			b = append(b, ':')
			switch v := m.Value; v.Kind {
			case telemetry.Bool:
				b = strconv.AppendBool(b, v.Bits == 1)
			case telemetry.String:
				b = strconv.AppendQuote(b, v.Text)
			default:
				b = v.AppendNumber(b)
			}
		}
		b = append(b, "}}"...)
	}
	return append(b, ']')
}

// sizes are bytes of the same readings in several forms.
type sizes struct{ readings, json, zstd, blocks, leaves, oneBlocks, oneLeaves int }

func (s sizes) log(t *testing.T, name string) {
	per := func(n int) float64 { return float64(n) / float64(s.readings) }
	t.Logf("| %s | %d | %.1f | %.2f | %.2f | %.2f | %.2f | %.2f |", name, s.readings,
		per(s.json), per(s.zstd), per(s.blocks), per(s.leaves), per(s.oneBlocks), per(s.oneLeaves))
	if s.blocks >= s.zstd || s.leaves >= s.zstd {
		t.Errorf("%s: longer than compressed JSON, which has no stamps", name)
	}
}

func (s sizes) plus(o sizes) sizes {
	return sizes{s.readings + o.readings, s.json + o.json, s.zstd + o.zstd, s.blocks + o.blocks,
		s.leaves + o.leaves, s.oneBlocks + o.oneBlocks, s.oneLeaves + o.oneLeaves}
}

// measure counts the bytes of readings that arrived in arrays of 500, and one by
// one.
func measure(t *testing.T, readings []telemetry.Reading) sizes {
	s := sizes{readings: len(readings)}
	s.json, s.zstd = jsonBytes(t, readings)
	s.blocks, s.leaves = blockBytes(t, stamped(readings, 500)), leafBytes(t, stamped(readings, 500))
	s.oneBlocks, s.oneLeaves = blockBytes(t, stamped(readings, 1)), leafBytes(t, stamped(readings, 1))
	return s
}

// jsonBytes counts bodies of 5,000 readings, as they are and compressed.
func jsonBytes(t *testing.T, readings []telemetry.Reading) (plain, compressed int) {
	encoder, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	for part := range slices.Chunk(readings, 5000) {
		body := asJSON(part)
		plain += len(body)
		compressed += len(encoder.EncodeAll(body, nil))
	}
	return plain, compressed
}

// blockBytes counts blocks of 5,000 readings.
func blockBytes(t *testing.T, readings []telemetry.Reading) int {
	size := 0
	for part := range slices.Chunk(readings, 5000) {
		devices := FromReadings(part)
		blocks := mustEncode(t, devices, 1<<20)
		size += len(bytes.Join(blocks, nil))
		got, err := Decode(blocks[0])
		if err != nil {
			t.Fatal(err)
		}
		mustEqual(t, got, devices)
	}
	return size
}

// leafBytes counts leaves of 1,000 readings.
func leafBytes(t *testing.T, readings []telemetry.Reading) int {
	size := 0
	for _, d := range FromReadings(readings) {
		whole := Resolve(d.Readings)
		for from := 0; from < whole.Len(); from += 1000 {
			leaf := whole.Slice(from, min(from+1000, whole.Len()))
			c := EncodeColumns(&leaf)
			size += c.bytes()
			got, err := DecodeColumns(c)
			if err != nil {
				t.Fatal(err)
			}
			mustEqual(t, got, leaf)
		}
	}
	return size
}

// TestBytesAReading logs the table of ADR 0002: go test -v -run BytesAReading.
func TestBytesAReading(t *testing.T) {
	if testing.Short() {
		t.Skip("measures, in seconds; not with -short")
	}
	t.Log("| data | readings | JSON | JSON + zstd | blocks | leaves | blocks, one by one | leaves, one by one |")
	measure(t, fleet(20, 1000)).log(t, "fleet, 20 devices × 1,000")
	measure(t, fleet(1, 5000)).log(t, "fleet, 1 device × 5,000")
	many := fleet(2500, 2)
	s := sizes{readings: len(many), blocks: blockBytes(t, many), oneBlocks: blockBytes(t, stamped(many, 1))}
	s.json, s.zstd = jsonBytes(t, many)
	s.log(t, "fleet, 2,500 devices × 2")
	paths, err := filepath.Glob(filepath.Join(nabFolder, "*.csv"))
	if err != nil {
		t.Fatal(err)
	}
	if len(paths) == 0 {
		t.Skipf("no NAB data in %s: only the made fleet was measured", nabFolder)
	}
	var all sizes
	for _, path := range paths {
		s := measure(t, nab(t, path))
		s.log(t, strings.TrimSuffix(filepath.Base(path), ".csv"))
		all = all.plus(s)
	}
	all.log(t, "NAB, all nine")
}
