package operations

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"sluice/telemetry"
)

func ms(n int) time.Duration { return time.Duration(n) * time.Millisecond }

// A shard at rest flushes at once; else the next flush waits for the answer of
// the former one and for the linger, and takes all that came by then.
func TestGroup(t *testing.T) {
	for _, c := range []struct {
		name    string
		linger  time.Duration
		bodies  []int // ms
		flushes []int
		waits   []int
	}{
		{name: "at rest", bodies: []int{5}, flushes: []int{5}, waits: []int{10}},
		{name: "behind a flush", bodies: []int{5, 7, 9}, flushes: []int{5, 15}, waits: []int{10, 18, 16}},
		{name: "apart", bodies: []int{5, 15, 30}, flushes: []int{5, 15, 30}, waits: []int{10, 10, 10}},
		{name: "linger", linger: ms(100), bodies: []int{5, 15, 30, 300}, flushes: []int{5, 105, 300}, waits: []int{10, 100, 85, 10}},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := group{linger: c.linger, commit: ms(10)}
			var flushes, waits []int
			flush := func(before time.Duration) {
				at, any := g.due()
				if !any || at >= before {
					return
				}
				_, took := g.take(at)
				flushes = append(flushes, int(at.Milliseconds()))
				for _, w := range took {
					waits = append(waits, int(w.Milliseconds()))
				}
			}
			for _, at := range c.bodies {
				flush(ms(at))
				g.put(&request{at: ms(at)}, []telemetry.Reading{{}})
			}
			flush(time.Hour)
			if !slices.Equal(flushes, c.flushes) || !slices.Equal(waits, c.waits) {
				t.Errorf("flushes at %v, waits %v; want %v, %v", flushes, waits, c.flushes, c.waits)
			}
		})
	}
}

// A request that has parts in two shards has its answer with the later one.
func TestRequestOfTwoShards(t *testing.T) {
	slow, fast := group{linger: ms(100), commit: ms(10)}, group{commit: ms(10)}
	slow.put(&request{}, nil)
	slow.take(0)
	r := &request{at: ms(20)}
	slow.put(r, nil)
	fast.put(r, nil)
	if _, waits := fast.take(ms(20)); len(waits) != 0 {
		t.Errorf("an answer after one of two parts: %v", waits)
	}
	at, _ := slow.due()
	if _, waits := slow.take(at); !slices.Equal(waits, []time.Duration{ms(90)}) {
		t.Errorf("waits %v", waits)
	}
}

// A gateway sends what its devices have in one body.
func TestGateways(t *testing.T) {
	a := Fleet{Devices: 10, Every: time.Second, Batch: 1, Gateway: 4}.arrivals()
	var sizes []int
	for range 3 {
		sizes = append(sizes, len(a.take(Noon)))
	}
	if slices.Sort(sizes); !slices.Equal(sizes, []int{2, 4, 4}) {
		t.Errorf("bodies of %v readings", sizes)
	}
}

// A fleet sends each device's bodies at the moments that are its own, in order.
func TestArrivals(t *testing.T) {
	f := Fleet{Devices: 7, Every: time.Minute, Batch: 3}
	a := f.arrivals()
	last, seen := time.Duration(-1), map[string][]telemetry.Reading{}
	for range 21 {
		at := a.peek()
		body := a.take(Noon)
		if at < last || len(body) != 3 || body[2].Time != Noon.Add(at).UnixNano() {
			t.Fatalf("body at %v after %v: %v", at, last, body)
		}
		last = at
		seen[body[0].Device] = append(seen[body[0].Device], body...)
	}
	for device, readings := range seen {
		if len(readings) != 9 {
			t.Fatalf("%s sent %d readings in three minutes", device, len(readings))
		}
		for i := 1; i < len(readings); i++ {
			if d := readings[i].Time - readings[i-1].Time; d != int64(20*time.Second) {
				t.Errorf("%s: %d ns between readings", device, d)
			}
		}
	}
}

// What is counted has done the work: all readings are there, a commit touches a
// fence and writes a row a bucket, and each merge writes a leaf a device.
func TestRunCounts(t *testing.T) {
	s := Settings{Shards: 2, Buckets: 1, Merge: time.Minute, Linger: ms(100), Commit: ms(10)}
	w, err := Open(t.Context(), s, Tables)
	if err != nil {
		t.Fatal(err)
	}
	f := Fleet{Devices: 40, Every: 10 * time.Second, Batch: 1}
	if err := w.Run(t.Context(), f, 3*time.Minute); err != nil {
		t.Fatal(err)
	}
	if w.Readings < 700 || w.Readings > 720 {
		t.Errorf("%d readings", w.Readings)
	}
	// Both shards' first epochs take two writes each besides the commits.
	if commits := w.Append.Writes; w.Append.RowsWritten < 2*(commits-8) || commits > int64(w.Readings)+8 {
		t.Errorf("appends: %+v", w.Append)
	}
	if w.Merge.RowsWritten < 2*40 || w.Merge.RowsWritten > 2*40+100 { // the third merge is still to come
		t.Errorf("merges: %+v", w.Merge)
	}
	if err := w.Complete(t.Context(), f.Devices); err != nil {
		t.Error(err)
	}
	w.Readings++
	if err := w.Complete(t.Context(), f.Devices); !errors.Is(err, ErrIncomplete) {
		t.Errorf("a reading that is missing: %v", err)
	}
}

// Tails grow with the merge interval and shrink with the buckets; the journal's
// rows grow with the buckets.
func TestMeasure(t *testing.T) {
	measure := func(buckets int, merge time.Duration) Result {
		t.Helper()
		r, err := Measure(context.Background(), Case{
			Fleet:    Fleet{Devices: 200, Every: 5 * time.Second, Batch: 2},
			Settings: Settings{Shards: 2, Buckets: buckets, Merge: merge, Linger: ms(500), Commit: ms(10)},
			Length:   time.Minute, Probes: 2,
		})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	plain, bucketed, seldom := measure(1, 10*time.Second), measure(8, 10*time.Second), measure(1, 30*time.Second)
	if plain.Latest.RowsRead <= bucketed.Latest.RowsRead || plain.Latest.RowsRead >= seldom.Latest.RowsRead {
		t.Errorf("rows of a latest: %d, with 8 buckets %d, merged seldom %d", plain.Latest.RowsRead, bucketed.Latest.RowsRead, seldom.Latest.RowsRead)
	}
	if plain.Append.RowsWritten >= bucketed.Append.RowsWritten || plain.Merge.RowsWritten <= seldom.Merge.RowsWritten {
		t.Errorf("rows written: %+v, with 8 buckets %+v, merged seldom %+v", plain, bucketed.Append, seldom.Merge)
	}
	if plain.Wait(0) < ms(10) || plain.Wait(1) > ms(510) {
		t.Errorf("waits from %v to %v", plain.Wait(0), plain.Wait(1))
	}
}
