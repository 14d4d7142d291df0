package event

import (
	"fmt"
	"testing"
)

// The flushes: one device's reading, a burst of a fleet, a busy shard's.
var shapes = []struct{ devices, count int }{{1, 1}, {100, 1}, {1250, 1}, {62, 80}}

func readings(devices, count int) float64 { return float64(devices * count) }

func BenchmarkEncode(b *testing.B) {
	for _, s := range shapes {
		b.Run(fmt.Sprintf("%dx%d", s.devices, s.count), func(b *testing.B) {
			devices := fleet(s.devices, s.count)
			b.ReportAllocs()
			var bodies [][]byte
			for b.Loop() {
				bodies = mustEncode(b, devices, 1<<20)
			}
			body := bodies[0]
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/readings(s.devices, s.count), "ns/reading")
			b.ReportMetric(float64(len(body))/readings(s.devices, s.count), "B/reading")
			block, err := unseal(body)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(len(body))/float64(len(block)), "body/block")
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	for _, s := range shapes {
		b.Run(fmt.Sprintf("%dx%d", s.devices, s.count), func(b *testing.B) {
			body := mustEncode(b, fleet(s.devices, s.count), 1<<20)[0]
			b.ReportAllocs()
			for b.Loop() {
				devices, err := Decode(body)
				if err != nil || len(devices) != s.devices {
					b.Fatal(len(devices), err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/readings(s.devices, s.count), "ns/reading")
		})
	}
}
