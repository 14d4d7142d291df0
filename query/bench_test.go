package query

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"

	"sluice/telemetry"
)

// minutely has a day of one device, a reading a minute.
func minutely(metrics int) *memory {
	readings := make([]telemetry.Reading, 1440)
	for i := range readings {
		var pairs []any
		for k := range metrics {
			pairs = append(pairs, fmt.Sprintf("metric-%d", k), math.Round(1000*(20+math.Sin(float64(i+k))))/1000)
		}
		readings[i] = reading("a", midnight+int64(i)*60e9, pairs...)
	}
	m := newMemory(readings...)
	m.rows = 1000
	return m
}

func BenchmarkFoldADay(b *testing.B) {
	m := minutely(1)
	s := New(m.view, Options{Now: at("2026-11-24T06:00:00Z")})
	plan, err := newPlan(instant{at: midnight}, instant{at: midnight + day}, "1h")
	if err != nil {
		b.Fatal(err)
	}
	q := aggregateQuery{metrics: []string{"metric-0"}, plan: plan}
	b.ReportAllocs()
	for b.Loop() {
		f, err := s.fold(context.Background(), m, &member{id: "a", read: true}, &q, s.newBudget(&q))
		if err != nil || len(f.metrics[0]) != 24 || f.metrics[0][23].Count != 60 {
			b.Fatal(err, len(f.metrics[0]))
		}
	}
	b.ReportMetric(1440*float64(b.N)/b.Elapsed().Seconds(), "readings/s")
}

func BenchmarkAggregatesOfADay(b *testing.B) {
	e := server(minutely(1), Options{Now: at("2026-11-24T06:00:00Z")})
	benchmarkGet(b, e, "/api/v1/devices/a/aggregates?metric=metric-0&step=1h&from=2026-11-23T00:00:00Z&to=2026-11-24T00:00:00Z", `"start"`, 24, 1440)
}

func BenchmarkPageOfReadings(b *testing.B) {
	e := server(minutely(4), Options{Now: at("2026-11-24T06:00:00Z")})
	benchmarkGet(b, e, "/api/v1/devices/a/readings?limit=1000&from=2026-11-23T00:00:00Z", `"ts"`, 1000, 1000)
}

func BenchmarkStreamOfReadings(b *testing.B) {
	e := server(minutely(4), Options{Now: at("2026-11-24T06:00:00Z")})
	for _, format := range []string{"csv", "ndjson"} {
		b.Run(format, func(b *testing.B) {
			benchmarkGet(b, e, "/api/v1/devices/a/readings?from=2026-11-23T00:00:00Z&format="+format, "2026-11-2", 1440, 1440)
		})
	}
}

// benchmarkGet asks, and checks once how often text is in the answer.
func benchmarkGet(b *testing.B, e http.Handler, target, text string, times, readings int) {
	body := get(b, e, target)
	if n := strings.Count(body, text); n != times {
		b.Fatalf("%d of %s, want %d", n, text, times)
	}
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if w := request(e, http.MethodGet, target); w.Body.Len() != len(body) {
			b.Fatalf("%d bytes, want %d", w.Body.Len(), len(body))
		}
	}
	b.ReportMetric(float64(readings)*float64(b.N)/b.Elapsed().Seconds(), "readings/s")
}
