package pebble

import (
	"context"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// used waits until the store's files have at most that many bytes and returns
// how many they have.
func used(tb testing.TB, s *Store, most uint64) uint64 {
	tb.Helper()
	for start := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		n, _, err := s.DiskUsage()
		mustDo(tb, err)
		if n <= most || time.Since(start) > 10*time.Second {
			return n
		}
	}
}

// The space of a dropped table goes without another write.
func TestDropFreesSpace(t *testing.T) {
	s := openOn(t, vfs.NewMem(), Options{MemTableBytes: 1 << 20})
	fill(t, s, 500, 10, 0) // 28 MB in ten tables
	before := used(t, s, 0x7fffffffffffffff)
	if before < 25<<20 {
		t.Fatalf("%d bytes are too few to tell", before)
	}
	start := time.Now()
	for day := range 10 {
		mustDo(t, s.Rows().DropTable(context.Background(), "leaves"+string(rune('0'+day))))
	}
	if after := used(t, s, before/5); after > before/5 {
		t.Errorf("%d bytes before, %d after all tables were dropped", before, after)
	}
	t.Logf("freed after %v", time.Since(start))
}

// BenchmarkDropTable drops a day of 20,000 rows, 110 MB, one of three.
func BenchmarkDropTable(b *testing.B) {
	for range b.N {
		b.StopTimer()
		s := openReal(b, b.TempDir(), Options{})
		fill(b, s, 20_000, 3, 0)
		before := used(b, s, 0x7fffffffffffffff)
		b.StartTimer()
		start := time.Now()
		mustDo(b, s.Rows().DropTable(context.Background(), "leaves0"))
		b.ReportMetric(float64(time.Since(start).Microseconds())/1000, "ms-answered")
		after := used(b, s, before-80<<20)
		b.ReportMetric(float64(time.Since(start).Microseconds())/1000, "ms-freed")
		b.ReportMetric(float64(before)/(1<<20), "MiB-before")
		b.ReportMetric(float64(after)/(1<<20), "MiB-after")
		b.StopTimer()
		mustDo(b, s.Close())
	}
}
