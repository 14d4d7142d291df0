package engine

import (
	"context"
	"fmt"
	"testing"
	"time"

	"sluice/store"
	"sluice/store/fenced"
	"sluice/store/storetest"
	"sluice/telemetry"
	"sluice/telemetry/block"
)

// A time of several stamps that does not fit into a row may follow a time of
// one value.
func TestCutLeafWideAfterNarrow(t *testing.T) {
	readings := []telemetry.Reading{{
		Device: "a", Time: 1, Stamp: 1, Metrics: []telemetry.Metric{{Name: "t", Value: telemetry.FloatValue(1)}},
	}}
	for stamp := range 3 {
		r := telemetry.Reading{Device: "a", Time: 2, Stamp: telemetry.Stamp(10 + stamp)}
		for c := range 100 {
			n := 100*stamp + c
			r.Metrics = append(r.Metrics, telemetry.Metric{Name: fmt.Sprintf("m%03d", n), Value: telemetry.TextValue(noise(n, 4096))})
		}
		readings = append(readings, r)
	}
	f := frameOf(readings)
	l := defaultLimits()
	pieces, err := l.cutLeaf("", end, f)
	if err != nil {
		t.Fatal(err)
	}
	if len(pieces) < 2 {
		t.Fatalf("%d pieces: not too wide", len(pieces))
	}
}

// What is planned as one transaction is one that a store takes.
func TestPlannedTransactionFits(t *testing.T) {
	l := defaultLimits()
	props := dataProperties(make([]byte, l.leafMaxBytes-1000))
	var ops []store.Op
	for i := range 4 {
		ops = append(ops, store.Op{Kind: store.Insert, Key: fmt.Sprint("k", i), Properties: props})
	}
	for n := 1; n <= 4; n++ {
		if l.fit("0000", ops[:n]) && store.CheckOps("0000", ops[:n]) != nil {
			t.Errorf("%d rows: %v", n, store.CheckOps("0000", ops[:n]))
		}
	}
}

func stuckEngine(t *testing.T) (*Engine, store.Journal) {
	t.Helper()
	rows := &storetest.Memory{}
	journal, err := fenced.New(func(int) store.Rows { return rows }, fenced.Options{})
	if err != nil {
		t.Fatal(err)
	}
	e, err := Open(context.Background(), Config{
		Accounts: []store.Rows{rows}, Journal: Given(journal), Shards: 1, Now: time.Now, NewID: func() string { return "s" },
	})
	if err != nil {
		t.Fatal(err)
	}
	return e, journal
}

// Merges that failed for long leave as many epochs as a head may have. The next
// that can go on does.
func TestMergeOfAFullHead(t *testing.T) {
	e, journal := stuckEngine(t)
	ctx := context.Background()
	at := time.Now().Add(-time.Hour).UnixNano()
	for i := 0; ; i++ {
		d := []block.Device{{ID: "a", Readings: frameOf([]telemetry.Reading{{
			Device: "a", Time: at, Stamp: telemetry.Stamp(i + 1),
			Metrics: []telemetry.Metric{{Name: "t", Value: telemetry.FloatValue(float64(i))}},
		}})}}
		if err := e.Append(ctx, 0, d); err != nil {
			t.Fatal(err)
		}
		head, err := journal.Head(ctx, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := journal.Open(ctx, 0, head); err != nil {
			break
		}
		if i > 1000 {
			t.Skip("the journal takes any number")
		}
	}
	if _, err := e.MergeShard(ctx, 0); err != nil {
		t.Fatal(err)
	}
}

// Devices that send each metric on its own have more of them than any one
// entry says.
func TestMergeOfManyMetricsOneByOne(t *testing.T) {
	e, _ := stuckEngine(t)
	e.limits.pageBytes = 16 << 10 // as if names and values were three times as long
	ctx := context.Background()
	at := time.Now().Add(-time.Hour).UnixNano()
	for m := range 100 {
		devices := make([]block.Device, 200)
		for i := range devices {
			id := fmt.Sprintf("device-%05d", i)
			devices[i] = block.Device{ID: id, Readings: frameOf([]telemetry.Reading{{
				Device: id, Time: at + int64(m), Stamp: telemetry.Stamp(1 + m),
				Metrics: []telemetry.Metric{{Name: fmt.Sprintf("%s-of-the-quantity-%064d", id, m), Value: telemetry.FloatValue(1)}},
			}})}
		}
		if err := e.Append(ctx, 0, devices); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := e.MergeShard(ctx, 0); err != nil {
		t.Fatal(err)
	}
}

// Epochs of which nothing was read take their place in the cache, too: where
// other processes merge them nobody tells this one to forget them.
func TestTailCacheOfEmptyEpochsIsBounded(t *testing.T) {
	c := newTailCache(100 * tailItemBytes)
	for i := range 1000 {
		c.get(tailKey{place: fmt.Sprint(i)})
	}
	if n := len(c.byKey); n > 100 || n != c.order.Len() {
		t.Fatalf("%d indexes are kept (%d in order)", n, c.order.Len())
	}
	if c.byKey[tailKey{place: "999"}] == nil {
		t.Fatal("the newest one was not kept")
	}
}
