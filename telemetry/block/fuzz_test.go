package block

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"reflect"
	"slices"
	"strconv"
	"testing"

	"sluice/telemetry"
)

// sealAgain puts the right mark, version and checksum over what the fuzzer
// changed: it would never guess them.
func sealAgain(data []byte, mark byte) []byte {
	data = slices.Clone(data)
	if len(data) >= headSize {
		data[0], data[1] = mark, version
		binary.LittleEndian.PutUint32(data[2:], crc32.Checksum(data[headSize:], castagnoli))
	}
	return data
}

func seedDevices() [][]Device {
	nasty := FromReadings([]telemetry.Reading{
		{Device: "a", Time: -1, Stamp: 1, Metrics: []telemetry.Metric{
			{Name: "m", Value: telemetry.FloatValue(1e300)}, {Name: "n", Value: telemetry.IntValue(1<<53 + 1)}}},
		{Device: "a", Time: 5, Stamp: 1, Metrics: []telemetry.Metric{{Name: "m", Value: telemetry.TextValue("x")}}},
		{Device: "a", Time: 5, Stamp: 2, Metrics: []telemetry.Metric{{Name: "m", Value: telemetry.BoolValue(true)}},
			Tags: []telemetry.Tag{{Key: "site", Value: "berlin"}, {Key: "line", Removed: true}}},
		{Device: "b", Time: 5, Stamp: 2, Metrics: []telemetry.Metric{{Name: "n", Value: telemetry.FloatValue(0.1)}}},
	})
	nasty[1].Cut = 77
	return [][]Device{{{ID: "d"}}, nasty, FromReadings(fleet(20, 2)), FromReadings(fleet(1, 150)), FromReadings(fleet(3, 70))}
}

func FuzzDecode(f *testing.F) {
	for _, devices := range seedDevices() {
		f.Add(mustEncode(f, devices, MinLimit)[0])
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := Decode(data); err != nil && !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrVersion) {
			t.Fatalf("%v", err)
		}
		devices, err := Decode(sealAgain(data, blockMark))
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("%v", err)
			}
			return
		}
		size := 0
		for i := range devices {
			mustBeNormal(t, &devices[i].Readings)
			size += devices[i].Size()
		}
		if size > MaxDecoded || len(devices) == 0 {
			return // would be cut
		}
		again := mustEncode(t, devices, 1<<30)
		got, err := Decode(again[0])
		if err != nil {
			t.Fatalf("%v", err)
		}
		if len(again) != 1 || !reflect.DeepEqual(got, devices) {
			t.Fatalf("%d blocks; got\n%+v\nwant\n%+v", len(again), got, devices)
		}
	})
}

func FuzzDecodeColumns(f *testing.F) {
	for _, devices := range seedDevices() {
		for i := range devices {
			c := EncodeColumns(&devices[i].Readings)
			c.Metrics = append(c.Metrics, MetricColumn{}, MetricColumn{})
			f.Add(c.Index, c.Metrics[0].Data, c.Metrics[1].Data)
		}
	}
	f.Fuzz(func(t *testing.T, index, a, b []byte) {
		c := Columns{Index: sealAgain(index, indexMark)}
		for name, data := range map[string][]byte{"a": a, "b": b} {
			data = slices.Clone(data)
			if len(data) >= 4 && len(c.Index) >= headSize {
				binary.LittleEndian.PutUint32(data, columnSum(c.Index, name, data[4:]))
			}
			c.Metrics = append(c.Metrics, MetricColumn{name, data})
		}
		got, err := DecodeColumns(c)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("%v", err)
			}
			return
		}
		mustBeNormal(t, &got)
		if got.Size() > MaxDecoded {
			return
		}
		again, err := DecodeColumns(EncodeColumns(&got))
		if err != nil || !reflect.DeepEqual(again, got) {
			t.Fatalf("%v\ngot\n%+v\nwant\n%+v", err, again, got)
		}
	})
}

// FuzzRoundTrip makes readings of the bytes: a step of 14 bytes is one value.
func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("\x00\x00\x01\x01\x00\x0012345678\x01\x01\x02\x01\x00\x0087654321"))
	seed := make([]byte, 0, 200*14)
	for i := range 200 {
		seed = append(seed, byte(i%3), byte(i%2), byte(i/4), 0, byte(i%5), 0)
		seed = binary.LittleEndian.AppendUint64(seed, uint64(i*i))
	}
	f.Add(seed)
	f.Fuzz(func(t *testing.T, data []byte) {
		var readings []telemetry.Reading
		for ; len(data) >= 14; data = data[14:] {
			bits := binary.LittleEndian.Uint64(data[6:])
			readings = append(readings, telemetry.Reading{
				Device: strconv.Itoa(int(data[0] & 7)),
				Time:   int64(data[2]) * int64(bits%7+1) << (data[3] & 63),
				Stamp:  telemetry.Stamp(data[3]),
				Metrics: []telemetry.Metric{{
					Name:  string(rune('a' + data[1]&15)),
					Value: fuzzValue(data[4]%6, bits, string(data[6:14])),
				}},
			})
		}
		devices := FromReadings(readings)
		if len(devices) == 0 {
			return
		}
		blocks := mustEncode(t, devices, 1<<24)
		got, err := Decode(blocks[0])
		if err != nil || !reflect.DeepEqual(got, devices) {
			t.Fatalf("%v\ngot\n%+v\nwant\n%+v", err, got, devices)
		}
		for i := range devices {
			frame, err := DecodeColumns(EncodeColumns(&devices[i].Readings))
			if err != nil || !reflect.DeepEqual(frame, devices[i].Readings) {
				t.Fatalf("%v\ngot\n%+v\nwant\n%+v", err, frame, devices[i].Readings)
			}
		}
	})
}

func fuzzValue(kind byte, bits uint64, text string) telemetry.Value {
	switch kind {
	case 0:
		return telemetry.BoolValue(bits&1 == 1)
	case 1:
		return telemetry.TextValue(text)
	case 2:
		return telemetry.IntValue(int64(bits))
	case 3:
		return telemetry.FloatValue(float64(int64(bits)%100000) / 100)
	default:
		return telemetry.Value{Kind: telemetry.Number, Bits: bits}
	}
}
