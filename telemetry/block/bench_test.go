package block

import (
	"math"
	"math/rand/v2"
	"reflect"
	"testing"
)

// perValue reports time and bytes by value.
func perValue(b *testing.B, values, bytes int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(values), "ns/value")
	if bytes > 0 {
		b.ReportMetric(float64(bytes)/float64(values), "B/value")
	}
}

var shapes = []struct {
	name           string
	devices, count int
}{{"2500x2", 2500, 2}, {"1x5000", 1, 5000}}

func BenchmarkEncode(b *testing.B) {
	for _, s := range shapes {
		b.Run(s.name, func(b *testing.B) {
			devices := FromReadings(fleet(s.devices, s.count))
			b.ReportAllocs()
			var blocks [][]byte
			for b.Loop() {
				blocks = mustEncode(b, devices, 1<<20)
			}
			mustEqual(b, mergeDevices(b, blocks), devices)
			perValue(b, 4*s.devices*s.count, len(blocks[0]))
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	for _, s := range shapes {
		b.Run(s.name, func(b *testing.B) {
			devices := FromReadings(fleet(s.devices, s.count))
			blocks := mustEncode(b, devices, 1<<20)
			b.ReportAllocs()
			var got []Device
			for b.Loop() {
				var err error
				if got, err = Decode(blocks[0]); err != nil {
					b.Fatal(err)
				}
			}
			mustEqual(b, got, devices)
			perValue(b, 4*s.devices*s.count, len(blocks[0]))
		})
	}
}

// leaves are frames of 700 rows and 4 columns, by what the columns hold.
func leaves() map[string]Frame {
	random := rand.New(rand.NewPCG(3, 4))
	columns := func(value func(i int) float64) Frame {
		f := leafFrame(700)
		for k := range f.Columns {
			bits := make([]uint64, f.Len())
			for i := range bits {
				bits[i] = math.Float64bits(value(i))
			}
			f.Columns[k] = Column{Name: f.Columns[k].Name, Bits: bits}
		}
		return f
	}
	walk := 20.0
	return map[string]Frame{
		"fleet":    leafFrame(700),
		"decimal2": columns(func(int) float64 { walk += random.NormFloat64() * 0.1; return math.Round(walk*100) / 100 }),
		"integer":  columns(func(i int) float64 { return float64(i*3 + random.IntN(20)) }),
		"random":   columns(func(int) float64 { return random.NormFloat64() }),
		"constant": columns(func(int) float64 { return 21.5 }),
	}
}

func BenchmarkEncodeColumns(b *testing.B) {
	for name, f := range leaves() {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var c Columns
			for b.Loop() {
				c = EncodeColumns(&f)
			}
			got, err := DecodeColumns(c)
			if err != nil {
				b.Fatal(err)
			}
			mustEqual(b, got, f)
			perValue(b, 4*f.Len(), c.bytes())
		})
	}
}

func (c Columns) bytes() int {
	size := len(c.Index)
	for _, m := range c.Metrics {
		size += len(m.Data)
	}
	return size
}

func BenchmarkDecodeColumns(b *testing.B) {
	for name, f := range leaves() {
		b.Run(name, func(b *testing.B) {
			c := EncodeColumns(&f)
			b.ReportAllocs()
			var got Frame
			for b.Loop() {
				var err error
				if got, err = DecodeColumns(c); err != nil {
					b.Fatal(err)
				}
			}
			mustEqual(b, got, f)
			perValue(b, 4*f.Len(), c.bytes())
		})
	}
}

func BenchmarkMerge(b *testing.B) {
	f := leafFrame(700)
	even, odd := newRowSet(f.Len()), newRowSet(f.Len())
	for i := range f.Len() {
		if i%2 == 0 {
			even.add(i)
		} else {
			odd.add(i)
		}
	}
	parts := make([]Frame, 350)
	for i := range parts {
		parts[i] = f.Slice(2*i, 2*i+2)
	}
	for name, merge := range map[string]func() Frame{
		"append":      func() Frame { return Merge(f.Slice(0, 690), f.Slice(690, 700)) },
		"interleaved": func() Frame { return Merge(f.pick(even), f.pick(odd)) },
		"same":        func() Frame { return Merge(f, f) },
		"all":         func() Frame { return MergeAll(parts) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var got Frame
			for b.Loop() {
				got = merge()
			}
			mustEqual(b, got, f)
			perValue(b, 4*f.Len(), 0)
		})
	}
}

func BenchmarkFromReadings(b *testing.B) {
	for _, s := range shapes {
		b.Run(s.name, func(b *testing.B) {
			readings := fleet(s.devices, s.count)
			b.ReportAllocs()
			var devices []Device
			for b.Loop() {
				devices = FromReadings(readings)
			}
			if len(devices) != s.devices || !reflect.DeepEqual(devices[0].Readings.Times[0], readings[0].Time) {
				b.Fatal("wrong devices")
			}
			perValue(b, 4*s.devices*s.count, 0)
		})
	}
}

func BenchmarkEach(b *testing.B) {
	f := leafFrame(700)
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		for _, cells := range f.Each(true) {
			n += len(cells)
		}
		if n != 4*f.Len() {
			b.Fatal(n)
		}
	}
	perValue(b, 4*f.Len(), 0)
}
