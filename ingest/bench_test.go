package ingest

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"sluice/telemetry"
	"sluice/telemetry/block"
)

// counter is a store that counts rows and forgets them.
type counter struct{ rows atomic.Int64 }

func (*counter) Shards() int { return 8 }

func (*counter) Shard(device string) int {
	h := uint32(2166136261)
	for i := range len(device) {
		h = (h ^ uint32(device[i])) * 16777619
	}
	return int(h % 8)
}

func (c *counter) Append(_ context.Context, _ int, devices []block.Device) error {
	n := 0
	for i := range devices {
		n += devices[i].Readings.Len()
	}
	c.rows.Add(int64(n))
	return nil
}

func (*counter) Delete(context.Context, string, telemetry.Stamp) error { return nil }

// fleet is a JSON array of n readings with 4 metrics of d devices.
func fleet(n, d int) []byte {
	var b bytes.Buffer
	for i := range n {
		b.WriteByte("[,"[min(i, 1)])
		fmt.Fprintf(&b, `{"deviceId":"pump-%d","ts":"2026-11-23T04:%02d:%02dZ","metrics":{"temperature":%.2f,"pressure":%.1f,"running":true,"flow":%d}}`,
			i%d, i/d/60%60, i/d%60, 20+float64(i%500)/7, 1000+float64(i%500)/3, i)
	}
	b.WriteByte(']')
	return b.Bytes()
}

func benchmarkPost(b *testing.B, n, d int) {
	store := &counter{}
	_, e := serve(b, store, Config{})
	body := fleet(n, d)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		reader := bytes.NewReader(body)
		for pb.Next() {
			reader.Reset(body)
			r := httptest.NewRequest(http.MethodPost, "/api/v1/telemetry", reader)
			w := httptest.NewRecorder()
			if e.ServeHTTP(w, r); w.Code != http.StatusOK {
				b.Errorf("%d %s", w.Code, w.Body)
			}
		}
	})
	if got := store.rows.Load(); got != int64(b.N*n) {
		b.Fatalf("%d rows of %d", got, b.N*n)
	}
	b.ReportMetric(float64(b.N)*float64(n)/b.Elapsed().Seconds(), "readings/s")
}

func BenchmarkPostOne(b *testing.B)       { benchmarkPost(b, 1, 1) }
func BenchmarkPost500(b *testing.B)       { benchmarkPost(b, 500, 1) }
func BenchmarkPost500of20(b *testing.B)   { benchmarkPost(b, 500, 20) }
func BenchmarkPostFleet5000(b *testing.B) { benchmarkPost(b, 5000, 2500) }
