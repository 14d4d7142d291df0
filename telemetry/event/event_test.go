package event

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"sluice/telemetry"
	"sluice/telemetry/block"
)

func mustEncode(t testing.TB, devices []block.Device, limit int) [][]byte {
	t.Helper()
	bodies, err := Encode(devices, limit)
	if err != nil {
		t.Fatal(err)
	}
	return bodies
}

// fleet is n readings of each of so many devices, a temperature and a state.
func fleet(devices, n int) []block.Device {
	random := rand.New(rand.NewPCG(1, uint64(devices)))
	states := []string{"OK", "OK", "OK", "idle", "error: pressure too low"}
	const start = 1_780_000_000_000_000_000
	var readings []telemetry.Reading
	for k := range n {
		for i := range devices {
			at := int64(start + k*60e9 + i*7e6 + random.IntN(20)*1e6)
			readings = append(readings, telemetry.Reading{
				Device: fmt.Sprintf("pump-%04d", i), Time: at, Stamp: telemetry.Stamp(at + 40e6 + int64(i)),
				Metrics: []telemetry.Metric{
					{Name: "state", Value: telemetry.TextValue(states[random.IntN(len(states))])},
					{Name: "temperature", Value: telemetry.FloatValue(math.Round(2000+100*random.NormFloat64()) / 100)},
				},
			})
		}
	}
	return block.FromReadings(readings)
}

// meters have metrics that move together, which a block stores one by one.
func meters(devices, n int) []block.Device {
	random := rand.New(rand.NewPCG(3, 4))
	var readings []telemetry.Reading
	for k := range n {
		for i := range devices {
			value := telemetry.FloatValue(math.Round(1e5*random.Float64()) / 10)
			at := 1_780_000_000_000_000_000 + int64(k)*60e9
			readings = append(readings, telemetry.Reading{
				Device: fmt.Sprintf("meter-%d", i), Time: at, Stamp: telemetry.Stamp(at + int64(i)),
				Metrics: []telemetry.Metric{{Name: "in", Value: value}, {Name: "out", Value: value}},
			})
		}
	}
	return block.FromReadings(readings)
}

func anyReading() *rapid.Generator[telemetry.Reading] {
	return rapid.Custom(func(t *rapid.T) telemetry.Reading {
		r := telemetry.Reading{
			Device: rapid.SampledFrom([]string{"a", "b", "pump-7", "ü"}).Draw(t, "device"),
			Time:   rapid.OneOf(rapid.Int64Range(0, 5), rapid.Int64()).Draw(t, "time"),
			Stamp:  telemetry.Stamp(rapid.OneOf(rapid.Int64Range(0, 3), rapid.Int64()).Draw(t, "stamp")),
		}
		values := rapid.OneOf(
			rapid.Map(rapid.Float64(), telemetry.FloatValue), rapid.Map(rapid.Int64(), telemetry.IntValue),
			rapid.Map(rapid.Bool(), telemetry.BoolValue), rapid.Map(rapid.String(), telemetry.TextValue))
		for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "°C"}), 0, 3, rapid.ID[string]).Draw(t, "metrics") {
			r.Metrics = append(r.Metrics, telemetry.Metric{Name: name, Value: values.Draw(t, "value")})
		}
		if rapid.Bool().Draw(t, "tagged") {
			r.Tags = []telemetry.Tag{{Key: "site", Value: rapid.String().Draw(t, "tag")}}
		}
		return r
	})
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		devices := block.FromReadings(rapid.SliceOfN(anyReading(), 0, 200).Draw(t, "readings"))
		bodies, err := Encode(devices, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if len(devices) == 0 {
			if len(bodies) != 0 {
				t.Fatalf("%d bodies of nothing", len(bodies))
			}
			return
		}
		if len(bodies) != 1 || !IsOurs(bodies[0]) {
			t.Fatalf("%d bodies, ours: %v", len(bodies), IsOurs(bodies[0]))
		}
		got, err := Decode(bodies[0])
		if err != nil || !reflect.DeepEqual(got, devices) {
			t.Fatalf("%v\ngot\n%+v\nwant\n%+v", err, got, devices)
		}
	})
}

// TestLimit cuts a large flush; put together again nothing is missing.
func TestLimit(t *testing.T) {
	devices := fleet(300, 200)
	bodies := mustEncode(t, devices, MinLimit)
	if len(bodies) < 2 {
		t.Fatalf("%d bodies: nothing was cut", len(bodies))
	}
	parts := make([][]block.Device, len(bodies))
	for i, body := range bodies {
		if len(body) > MinLimit {
			t.Errorf("a body of %d bytes, more than %d", len(body), MinLimit)
		}
		var err error
		if parts[i], err = Decode(body); err != nil {
			t.Fatal(err)
		}
	}
	frames := map[string]block.Frame{}
	for _, d := range slices.Concat(parts...) {
		frames[d.ID] = block.Merge(frames[d.ID], d.Readings)
	}
	for _, d := range devices {
		if !reflect.DeepEqual(frames[d.ID], d.Readings) {
			t.Errorf("%s: the parts are not the whole", d.ID)
		}
	}
	if _, err := Encode(devices, MinLimit-1); err == nil {
		t.Error("no error for a limit that is too small")
	}
}

// TestLimitToTheByte has a block that leaves no room for the frame, or just
// enough.
func TestLimitToTheByte(t *testing.T) {
	random := rand.NewChaCha8([32]byte{})
	noise := make([]byte, MinLimit) // which nothing compresses
	if _, err := random.Read(noise); err != nil {
		t.Fatal(err)
	}
	devices := func(bytes int) []block.Device {
		r := telemetry.Reading{Device: "d", Stamp: 1}
		for i := 0; i*4096 < bytes; i++ {
			text := string(noise[i*4096 : min(i*4096+4096, bytes)])
			r.Metrics = append(r.Metrics, telemetry.Metric{Name: fmt.Sprintf("m%02d", i), Value: telemetry.TextValue(text)})
		}
		return block.FromReadings([]telemetry.Reading{r})
	}
	blocks, err := block.Encode(devices(63<<10), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	fits := 63<<10 + MinLimit - headSize - len(blocks[0]) // so many bytes make a body of MinLimit
	for more := -2 * headSize; more <= 2*headSize; more++ {
		bodies := mustEncode(t, devices(fits+more), MinLimit)
		if (len(bodies) == 1) != (more <= 0) {
			t.Errorf("%d bytes more than fit: %d bodies", more, len(bodies))
		}
		for _, body := range bodies {
			if len(body) > MinLimit {
				t.Errorf("%d bytes more than fit: a body of %d, more than %d", more, len(body), MinLimit)
			}
		}
	}
}

// samples are a body as it is and a compressed one.
func samples(t testing.TB) map[string][]byte {
	t.Helper()
	bodies := map[string][]byte{
		"plain":      mustEncode(t, fleet(2, 2), MinLimit)[0],
		"compressed": mustEncode(t, meters(10, 40), MinLimit)[0],
		"nothing":    Nothing(),
	}
	if bodies["plain"][packingAt] != plain || bodies["compressed"][packingAt] != compressed {
		t.Fatal("the samples are not packed as their names say")
	}
	return bodies
}

// TestDamage has every truncation and every change of a byte: never wrong data,
// and never a version that could be waited for.
func TestDamage(t *testing.T) {
	for name, body := range samples(t) {
		for n := range body {
			if _, err := Decode(body[:n]); !errors.Is(err, ErrCorrupt) || errors.Is(err, ErrVersion) {
				t.Fatalf("%s: %d of %d bytes: %v", name, n, len(body), err)
			}
		}
		for i := range body {
			for _, flip := range []byte{1, 0x80, 0xff} {
				bad := bytes.Clone(body)
				bad[i] ^= flip
				if _, err := Decode(bad); !errors.Is(err, ErrCorrupt) || errors.Is(err, ErrVersion) {
					t.Fatalf("%s: byte %d ^ %#x: %v", name, i, flip, err)
				}
			}
		}
		if _, err := Decode(append(bytes.Clone(body), 0)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: with a byte more: %v", name, err)
		}
	}
}

// resealed puts the right checksum over what was changed.
func resealed(body []byte, change func(body []byte)) []byte {
	body = bytes.Clone(body)
	change(body)
	binary.LittleEndian.PutUint32(body[sumAt:], sum(body))
	return body
}

func TestRefuses(t *testing.T) {
	body := samples(t)["plain"]
	newer := block.FromReadings([]telemetry.Reading{{Device: "d", Metrics: []telemetry.Metric{{Name: "m", Value: telemetry.IntValue(1)}}}})
	for _, c := range []struct {
		name   string
		change func(body []byte)
		want   error
	}{
		{"a newer version", func(b []byte) { b[versionAt] = version + 1; clear(b[packingAt:]) }, ErrVersion},
		{"the newest version", func(b []byte) { b[versionAt] = 255 }, ErrVersion},
		{"version 0", func(b []byte) { b[versionAt] = 0 }, ErrCorrupt},
		{"a block of a newer version", func(b []byte) { b[headSize+1]++ }, ErrVersion},
		{"no block", func(b []byte) { b[headSize] = 'x' }, ErrCorrupt},
		{"an unknown packing", func(b []byte) { b[packingAt] = 3 }, ErrCorrupt},
		{"something of nothing", func(b []byte) { b[packingAt] = nothing }, ErrCorrupt},
		{"a packed size of everything", func(b []byte) {
			b[packingAt] = compressed
			copy(b[headSize:], "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")
		}, ErrCorrupt},
		{"a size that never ends", func(b []byte) { b[packingAt] = compressed; copy(b[headSize:], bytes.Repeat([]byte{0xff}, 11)) }, ErrCorrupt},
		{"not compressed", func(b []byte) { b[packingAt] = compressed }, ErrCorrupt},
	} {
		if _, err := Decode(resealed(body, c.change)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	if got, err := Decode(mustEncode(t, newer, MinLimit)[0]); err != nil || len(got) != 1 {
		t.Errorf("a small one: %v, %v", got, err)
	}
}

// TestBomb announces a small block and holds a large one.
func TestBomb(t *testing.T) {
	bomb := compressor().EncodeAll(make([]byte, 8<<20), binary.AppendUvarint(make([]byte, headSize), 100))
	copy(bomb, magic)
	bomb[versionAt], bomb[packingAt] = version, compressed
	if _, err := Decode(resealed(bomb, func([]byte) {})); !errors.Is(err, ErrCorrupt) {
		t.Error(err)
	}
}

// TestOursIsNobodyElses has what else a body in the hub begins with.
func TestOursIsNobodyElses(t *testing.T) {
	for name, body := range map[string]string{
		"empty": "", "an object": `{"deviceId":"a"}`, "an array": "[", "space": " {", "a byte order mark": "\ufeff{}",
		"gzip": "\x1f\x8b\x08", "zstd": "\x28\xb5\x2f\xfd", "zlib": "\x78\x9c", "zero": "\x00",
	} {
		if IsOurs([]byte(body)) {
			t.Errorf("%s is taken for ours", name)
		}
		if _, err := Decode([]byte(body)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if utf8.RuneStart(magic[0]) || utf8.ValidString(magic) {
		t.Error("the mark may begin a text")
	}
}

func TestNothing(t *testing.T) {
	if devices, err := Decode(Nothing()); err != nil || devices != nil || !IsOurs(Nothing()) {
		t.Errorf("%v, %v", devices, err)
	}
}

// TestConcurrent shares encoder and decoder.
func TestConcurrent(t *testing.T) {
	devices := fleet(60, 10)
	want := mustEncode(t, devices, MinLimit)
	done := make(chan error)
	for range 4 {
		go func() {
			for range 20 {
				bodies, err := Encode(devices, MinLimit)
				if err == nil && !slices.EqualFunc(bodies, want, bytes.Equal) {
					err = errors.New("other bodies")
				}
				if err == nil {
					_, err = Decode(bodies[0])
				}
				if err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range 4 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
