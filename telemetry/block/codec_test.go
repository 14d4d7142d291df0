package block

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sluice/telemetry"
)

func anyDevices() *rapid.Generator[[]Device] {
	ids := []string{"a", "b", "pump-1", "pump-10", "pump-2", "x"}
	return rapid.Custom(func(t *rapid.T) []Device {
		devices := FromReadings(anyReadings(ids, 80).Draw(t, "readings"))
		for i := range devices {
			if rapid.IntRange(0, 4).Draw(t, "deleted") == 0 {
				devices[i].Cut = telemetry.Stamp(rapid.Int64().Draw(t, "cut"))
			}
		}
		return devices
	})
}

func mustEncode(t testing.TB, devices []Device, limit int) [][]byte {
	t.Helper()
	blocks, err := Encode(devices, limit)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range blocks {
		if len(b) > limit {
			t.Fatalf("block of %d bytes, limit %d", len(b), limit)
		}
	}
	return blocks
}

func TestBlockRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		devices := anyDevices().Draw(t, "devices")
		blocks, err := Encode(devices, 1<<20)
		if err != nil {
			t.Fatalf("%v", err)
		}
		if len(devices) == 0 {
			if len(blocks) != 0 {
				t.Fatalf("%d blocks of nothing", len(blocks))
			}
			return
		}
		if len(blocks) != 1 {
			t.Fatalf("%d blocks", len(blocks))
		}
		got, err := Decode(blocks[0])
		if err != nil {
			t.Fatalf("%v", err)
		}
		mustEqual(t, got, devices)
	})
}

func TestColumnsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := anyFrame().Draw(t, "frame")
		c := EncodeColumns(&f)
		got, err := DecodeColumns(c)
		if err != nil {
			t.Fatalf("%v", err)
		}
		mustEqual(t, got, f)
		some := rapid.SliceOfNDistinct(rapid.SampledFrom(metricNames), 0, -1, rapid.ID[string]).Draw(t, "some")
		part := Columns{Index: c.Index}
		for _, m := range c.Metrics {
			if slices.Contains(some, m.Name) {
				part.Metrics = append(part.Metrics, m)
			}
		}
		slices.Reverse(part.Metrics)
		got, err = DecodeColumns(part)
		if err != nil {
			t.Fatalf("%v", err)
		}
		mustEqual(t, got.Only(some), f.Only(some))
	})
}

func TestEveryFlippedBitIsNoticed(t *testing.T) {
	f := leafFrame(20)
	c := EncodeColumns(&f)
	block := mustEncode(t, []Device{{ID: "d", Readings: f}}, MinLimit)[0]
	flip := func(data []byte, decode func() error) {
		for i := range data {
			for bit := range 8 {
				data[i] ^= 1 << bit
				err := decode()
				data[i] ^= 1 << bit
				if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrVersion) {
					t.Fatalf("bit %d of byte %d: %v", bit, i, err)
				}
			}
		}
	}
	flip(block, func() error { _, err := Decode(block); return err })
	columns := func() error { _, err := DecodeColumns(c); return err }
	flip(c.Index, columns)
	for _, m := range c.Metrics {
		flip(m.Data, columns)
	}
}

func TestSwappedColumnsAreNoticed(t *testing.T) {
	f := leafFrame(20)
	g := f
	g.Stamps = slices.Clone(f.Stamps)
	g.Stamps[3]++
	a, b := EncodeColumns(&f), EncodeColumns(&g)
	for _, c := range []Columns{
		{Index: a.Index, Metrics: b.Metrics},
		{Index: a.Index, Metrics: []MetricColumn{{Name: a.Metrics[0].Name, Data: a.Metrics[1].Data}}},
		{Index: a.Index, Metrics: []MetricColumn{a.Metrics[0], a.Metrics[0]}},
		{Index: a.Index[:3]},
		{Index: a.Metrics[0].Data},
		{},
	} {
		if _, err := DecodeColumns(c); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%v", err)
		}
	}
}

func TestNewerVersion(t *testing.T) {
	block := mustEncode(t, []Device{{ID: "d"}}, MinLimit)[0]
	block[1] = version + 1
	if _, err := Decode(block); !errors.Is(err, ErrVersion) {
		t.Errorf("%v", err)
	}
	c := EncodeColumns(&Frame{})
	c.Index[1] = version + 1
	if _, err := DecodeColumns(c); !errors.Is(err, ErrVersion) {
		t.Errorf("%v", err)
	}
}

// mergeDevices merges what several blocks say.
func mergeDevices(t testing.TB, blocks [][]byte) []Device {
	t.Helper()
	byID := map[string]*Device{}
	frames := map[string][]Frame{}
	for _, b := range blocks {
		devices, err := Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range devices {
			whole := byID[d.ID]
			if whole == nil {
				whole = &Device{ID: d.ID}
				byID[d.ID] = whole
			}
			whole.Cut = max(whole.Cut, d.Cut)
			whole.Tags = append(whole.Tags, d.Tags...)
			frames[d.ID] = append(frames[d.ID], d.Readings)
		}
	}
	var all []Device
	for id, d := range byID {
		d.Readings = MergeAll(frames[id])
		all = append(all, *d)
	}
	sortByID(all)
	return all
}

func TestCut(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	text := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte('a' + random.IntN(26))
		}
		return string(b)
	}
	wide := func(device string, rows, metrics int, value func(row, metric int) telemetry.Value) []telemetry.Reading {
		var readings []telemetry.Reading
		for row := range rows {
			r := telemetry.Reading{Device: device, Time: int64(row), Stamp: 7}
			for m := range metrics {
				r.Metrics = append(r.Metrics, telemetry.Metric{Name: fmt.Sprintf("metric-%03d", m), Value: value(row, m)})
			}
			readings = append(readings, r)
		}
		return readings
	}
	noise := func(int, int) telemetry.Value { return telemetry.FloatValue(random.NormFloat64()) }
	long := func(int, int) telemetry.Value { return telemetry.TextValue(text(4096)) }
	tags := FromReadings(wide("tags", 3, 2, noise))
	for i := range 3000 {
		tag := telemetry.Tag{Key: fmt.Sprintf("key-%05d", i), Value: text(100)}
		tags[0].Tags = append(tags[0].Tags, TagChange{Tag: tag, Time: 1, Stamp: 1})
	}
	var many []telemetry.Reading
	for i := range 3000 {
		many = append(many, wide(fmt.Sprintf("device-%d", i), 2, 4, noise)...)
	}
	for name, devices := range map[string][]Device{
		"rows":             FromReadings(wide("d", 20000, 3, noise)),
		"devices":          FromReadings(many),
		"long strings":     FromReadings(wide("d", 3, 400, long)),
		"a row of strings": FromReadings(wide("d", 1, 400, long)),
		"decoded size":     {{ID: "d", Readings: constantFrame(3000, 400)}},
		"tags":             tags,
	} {
		t.Run(name, func(t *testing.T) {
			devices[0].Cut = 3
			blocks := mustEncode(t, devices, MinLimit)
			if len(blocks) < 2 {
				t.Errorf("%d blocks", len(blocks))
			}
			mustEqual(t, mergeDevices(t, blocks), devices)
		})
	}
	huge := FromReadings(wide("d", 1, 1, func(int, int) telemetry.Value { return telemetry.TextValue(text(1 << 17)) }))
	if _, err := Encode(huge, MinLimit); err == nil || !strings.Contains(err.Error(), `"d"`) {
		t.Errorf("a value of 128 KiB: %v", err)
	}
}

// constantFrame encodes to almost nothing.
func constantFrame(rows, metrics int) Frame {
	f := Frame{Times: make([]int64, rows), Stamps: make([]telemetry.Stamp, rows)}
	for row := range rows {
		f.Times[row] = int64(row)
	}
	zeros := make([]uint64, rows)
	for m := range metrics {
		f.Columns = append(f.Columns, Column{Name: fmt.Sprintf("metric-%03d", m), Bits: zeros})
	}
	return f
}

func TestEncodeRefuses(t *testing.T) {
	frame := func(change func(f *Frame)) []Device {
		f := Frame{Times: []int64{1, 2}, Stamps: []telemetry.Stamp{1, 1}, Columns: []Column{{Name: "a", Bits: []uint64{1, 2}}}}
		change(&f)
		return []Device{{ID: "d", Readings: f}}
	}
	for name, devices := range map[string][]Device{
		"devices out of order": {{ID: "b"}, {ID: "a"}},
		"a device twice":       {{ID: "a"}, {ID: "a"}},
		"tags out of order":    {{ID: "a", Tags: []TagChange{{Time: 2}, {Time: 1}}}},
		"times out of order":   frame(func(f *Frame) { f.Times = []int64{2, 1} }),
		"a row twice":          frame(func(f *Frame) { f.Times = []int64{1, 1} }),
		"no stamps":            frame(func(f *Frame) { f.Stamps = nil }),
		"a metric twice":       frame(func(f *Frame) { f.Columns = append(f.Columns, f.Columns[0]) }),
		"too few values":       frame(func(f *Frame) { f.Columns[0].Bits = []uint64{1} }),
		"no values":            frame(func(f *Frame) { f.Columns[0].Bits = nil }),
		"rows without need":    frame(func(f *Frame) { f.Columns[0].Rows = []int32{0, 1} }),
		"row too far":          frame(func(f *Frame) { f.Columns[0].Bits, f.Columns[0].Rows = []uint64{1}, []int32{2} }),
		"kinds without need":   frame(func(f *Frame) { f.Columns[0].Kinds = []telemetry.Kind{1, 1} }),
		"value of no kind":     frame(func(f *Frame) { f.Columns[0].Kinds = []telemetry.Kind{0, 1} }),
		"boolean 2":            frame(func(f *Frame) { f.Columns[0].Kinds = []telemetry.Kind{telemetry.Bool, telemetry.Bool} }),
		"no texts":             frame(func(f *Frame) { f.Columns[0].Kinds = []telemetry.Kind{telemetry.String, 1} }),
	} {
		if _, err := Encode(devices, MinLimit); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := Encode(nil, MinLimit-1); err == nil {
		t.Error("low limit: no error")
	}
}

// TestBombs feeds blocks that announce far more than they hold, with a right
// checksum.
func TestBombs(t *testing.T) {
	bomb := func(fill func(w *writer)) []byte {
		w := newWriter()
		defer w.free()
		fill(w)
		return w.sealed(blockMark)
	}
	constant := func(w *writer, v int64) { w.byte(intConstant); w.varint(v) }
	one := func(w *writer, rows int) {
		w.count(1)
		w.sorted([]string{"d"})
		constant(w, 0) // deletion
		constant(w, 0) // tags
		w.count(1)
		w.sorted([]string{"m"})
		w.count(1)
		w.count(1)
		constant(w, 0)
		constant(w, 0)
		constant(w, int64(rows))
	}
	for name, data := range map[string][]byte{
		"devices":      bomb(func(w *writer) { w.count(MaxDecoded) }),
		"more devices": bomb(func(w *writer) { w.uvarint(math.MaxUint64) }),
		"rows":         bomb(func(w *writer) { one(w, MaxDecoded) }),
		"negative":     bomb(func(w *writer) { one(w, -1) }),
		"tags":         bomb(func(w *writer) { w.count(1); w.sorted([]string{"d"}); constant(w, 0); constant(w, 1<<40) }),
		"values": bomb(func(w *writer) {
			const rows = MaxDecoded / rowSize / 2
			one(w, rows)
			w.byte(0)
			w.byte(intDelta)
			w.varint(0)
			w.varint(1)
		}),
		"ids": bomb(func(w *writer) {
			w.count(1000)
			w.txt = append(w.txt, strings.Repeat("x", 1<<20)...)
			w.byte(intConstant)
			w.varint(1 << 20)
		}),
	} {
		if _, err := Decode(data); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSplitNamesNoDeviceTwice has small rows between large ones.
func TestSplitNamesNoDeviceTwice(t *testing.T) {
	var readings []telemetry.Reading
	for i, n := range []int{5000, 1, 1, 5000} {
		readings = append(readings, telemetry.Reading{Device: "d", Time: int64(i),
			Metrics: []telemetry.Metric{{Name: "m", Value: telemetry.TextValue(strings.Repeat("x", n))}}})
	}
	for _, part := range split(FromReadings(readings), 5500) {
		if err := validate(part); err != nil {
			t.Error(err)
		}
	}
}

// TestDecodeRefuses has bytes with a right checksum that break a rule.
func TestDecodeRefuses(t *testing.T) {
	twice := Frame{Times: []int64{1, 1}, Stamps: []telemetry.Stamp{1, 1}}
	if _, err := DecodeColumns(EncodeColumns(&twice)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a row twice: %v", err)
	}
	w := newWriter()
	defer w.free()
	w.count(1)
	w.ints([]int64{5}, nil)
	w.ints([]int64{1}, nil)
	w.txt = append(w.txt, 'x')
	if _, err := Decode(w.sealed(blockMark)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("an id that shares more than there is: %v", err)
	}
}

// leafFrame is what a leaf holds: temperature, humidity, a boolean and a state.
func leafFrame(n int) Frame {
	return FromReadings(fleet(1, n))[0].Readings
}

// fleet makes n readings of each of so many devices, in the order in which they
// would arrive.
func fleet(devices, n int) []telemetry.Reading {
	random := rand.New(rand.NewPCG(1, uint64(devices)))
	states := []string{"OK", "OK", "OK", "idle", "maintenance", "error: pressure too low"}
	readings := make([]telemetry.Reading, 0, devices*n)
	temperature, humidity := make([]float64, devices), make([]int, devices)
	state := make([]int, devices)
	for i := range devices {
		temperature[i], humidity[i] = 15+10*random.Float64(), 30+random.IntN(40)
	}
	const start = 1_780_000_000_000_000_000
	for k := range n {
		for i := range devices {
			temperature[i] += random.NormFloat64() * 0.1
			humidity[i] = min(max(humidity[i]+random.IntN(3)-1, 0), 100)
			if random.IntN(50) == 0 {
				state[i] = random.IntN(len(states))
			}
			at := int64(start + k*60e9 + i*1e6*7%60e9 + random.IntN(20)*1e6)
			readings = append(readings, telemetry.Reading{
				Device: fmt.Sprintf("pump-%04d", i), Time: at,
				Metrics: []telemetry.Metric{
					{Name: "temperature", Value: telemetry.FloatValue(math.Round(temperature[i]*100) / 100)},
					{Name: "humidity", Value: telemetry.FloatValue(float64(humidity[i]))},
					{Name: "running", Value: telemetry.BoolValue(state[i] < 3)},
					{Name: "state", Value: telemetry.TextValue(states[state[i]])},
				},
			})
		}
	}
	return stamped(readings, 500)
}

// stamped stamps readings as if they arrived in bodies of so many, each a while
// after its last reading was measured.
func stamped(readings []telemetry.Reading, body int) []telemetry.Reading {
	random := rand.New(rand.NewPCG(5, 6))
	readings = slices.Clone(readings)
	for from := 0; from < len(readings); from += body {
		part := readings[from:min(from+body, len(readings))]
		at := part[len(part)-1].Time + 20e6 + int64(random.ExpFloat64()*30e6)
		for i := range part {
			part[i].Stamp = telemetry.Stamp(at + int64(i))
		}
	}
	return readings
}
