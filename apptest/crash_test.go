package apptest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"sluice/engine"
	"sluice/ingest"
	"sluice/store"
	"sluice/store/pebble"
	"sluice/telemetry"
	"sluice/telemetry/block"
)

// A kill leaves what was written, synced or not. Here the service's store,
// engine and group commit run on a file system that forgets, at a random
// moment, a random part of what was not synced: what had been acknowledged
// before that moment is there, once, the leaves tile and the lists agree with
// them. SLUICE_CRASHES sets the number of worlds (make soak: 500), each of
// several crashes.
func TestCrash(t *testing.T) {
	n := rounds(t, "SLUICE_CRASHES", 20)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	var total tally
	for i := range n {
		if err := crashes(t.Context(), seed+uint64(i), &total); err != nil {
			t.Fatalf("seed %d: %v", seed+uint64(i), err)
		}
	}
	t.Logf("%d worlds: %+v", n, total)
	if total.Acknowledged == 0 || total.Open == 0 || total.Closed == 0 {
		t.Errorf("these worlds have shown little: %+v", total)
	}
}

// tally counts what the worlds have seen.
type tally struct {
	Crashes, Bodies, Acknowledged int
	Rounds                        int // of the compactor
	Closed, Open                  int // leaves checked
}

const crashDevices = 3

// crashWorld is a file system and what was acknowledged on it.
type crashWorld struct {
	seed   uint64
	dice   *rand.Rand
	fs     *vfs.MemFS
	ledger *ledger
	clock  *telemetry.Clock
	base   int64
	tally  *tally
}

func crashes(ctx context.Context, seed uint64, total *tally) error {
	dice := rand.New(rand.NewPCG(seed, 7))
	w := &crashWorld{
		seed: seed, dice: dice, fs: vfs.NewCrashableMem(), ledger: newLedger(), clock: telemetry.NewClock(time.Now), tally: total,
		base: time.Now().Add(-50 * time.Hour).Truncate(24 * time.Hour).UnixNano(),
	}
	for life := range 1 + dice.IntN(3) {
		if err := w.live(ctx); err != nil {
			return fmt.Errorf("life %d: %w", life, err)
		}
		if err := w.verify(ctx); err != nil {
			return fmt.Errorf("after crash %d: %w", life, err)
		}
		total.Crashes++
	}
	total.Bodies += w.ledger.bodies
	total.Acknowledged += w.ledger.readings
	return nil
}

// house is what stands on a file system.
type house struct {
	store  *pebble.Store
	engine *engine.Engine
	group  *ingest.Group
}

func (w *crashWorld) open(ctx context.Context, fs vfs.FS) (*house, error) {
	s, err := pebble.Open("data", pebble.Options{FS: fs, MemTableBytes: 256 << 10, MinFree: -1, OnFatal: func(error) {}})
	if err != nil {
		return nil, err
	}
	e, err := engine.Open(ctx, engine.Config{
		Accounts: []store.Rows{s.Rows()}, Journal: engine.Given(s.Journal()), Now: time.Now, NewID: func() string { return "crash" }, Shards: 2, Parallel: 2,
	})
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return &house{s, e, ingest.NewGroup(e, ingest.GroupConfig{})}, nil
}

// live runs writers and a compactor until a random moment, and leaves what a
// crash at that moment leaves of the file system.
func (w *crashWorld) live(ctx context.Context) error {
	h, err := w.open(ctx, w.fs)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var actors sync.WaitGroup
	problems := make(chan error, 5)
	run := func(act func() error) {
		actors.Go(func() {
			if err := act(); err != nil && ctx.Err() == nil {
				problems <- err
			}
		})
	}
	merged := 0
	for i := range 4 {
		run(func() error { return w.write(ctx, h.group, rand.New(rand.NewPCG(w.seed, w.dice.Uint64()+uint64(i)))) })
	}
	run(func() error {
		for ctx.Err() == nil {
			if err := h.engine.Compact(ctx); err != nil {
				return err
			}
			merged++
		}
		return nil
	})
	time.Sleep(time.Duration(w.dice.IntN(150)) * time.Millisecond)
	by := w.ledger.now()
	left := w.fs.CrashClone(vfs.CrashCloneCfg{
		UnsyncedDataPercent: []int{0, 0, 30, 90}[w.dice.IntN(4)], RNG: rand.New(rand.NewPCG(w.seed, w.dice.Uint64())),
	})
	cancel()
	actors.Wait()
	w.tally.Rounds += merged
	err = errors.Join(h.group.Close(context.Background()), h.store.Close())
	select {
	case e := <-problems:
		err = errors.Join(err, e)
	default:
	}
	w.ledger.crash(by)
	w.fs = left
	return err
}

// write puts bodies of few places, many of them sent before.
func (w *crashWorld) write(ctx context.Context, g *ingest.Group, dice *rand.Rand) error {
	for ctx.Err() == nil {
		n := 1 + dice.IntN(20)
		if dice.IntN(3) == 0 {
			n = 200 + dice.IntN(600)
		}
		places := make([]place, n)
		for i := range places {
			places[i] = place{deviceName(dice.IntN(crashDevices)), someTime(w.base, dice.IntN(5_000))}
		}
		sent := w.ledger.send(0, places)
		readings := make([]telemetry.Reading, n)
		stamp := w.clock.Take(n)
		for i, p := range places {
			value := sent.attempts[i].value
			readings[i] = telemetry.Reading{Device: p.device, Time: p.at, Stamp: stamp + telemetry.Stamp(i), Metrics: []telemetry.Metric{
				{Name: "half", Value: telemetry.FloatValue(value / 2)}, {Name: "v", Value: telemetry.FloatValue(value)},
			}}
		}
		if _, err := g.Put(ctx, readings); err != nil {
			return err
		}
		w.ledger.ack(sent)
	}
	return nil
}

// verify opens what the crash has left and compares it with what had been
// acknowledged; and again when all of it is merged.
func (w *crashWorld) verify(ctx context.Context) (err error) {
	h, err := w.open(ctx, w.fs)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.store.Close()) }()
	if err := w.compare(ctx, h); err != nil {
		return err
	}
	if err := h.engine.Compact(ctx); err != nil {
		return err
	}
	if err := w.compare(ctx, h); err != nil {
		return fmt.Errorf("merged: %w", err)
	}
	return nil
}

func (w *crashWorld) compare(ctx context.Context, h *house) error {
	var listed []string
	err := h.engine.View().Devices(ctx, "", "", func(i engine.Info) bool {
		listed = append(listed, i.ID)
		return true
	})
	if err != nil {
		return err
	}
	var known []string
	for i := range crashDevices {
		device := deviceName(i)
		found, err := w.read(ctx, h.engine, device)
		if err == nil {
			err = w.ledger.verify(device, found, never)
		}
		if err == nil {
			err = agree(ctx, h.engine, device, found)
		}
		if err != nil {
			return err
		}
		if len(found) > 0 {
			known = append(known, device)
		}
	}
	if !slices.Equal(listed, known) {
		return fmt.Errorf("the list has %v, readings have %v", listed, known)
	}
	return w.tile(ctx, h.store.Rows())
}

func (w *crashWorld) read(ctx context.Context, e *engine.Engine, device string) (found []point, err error) {
	err = e.View().Read(ctx, device, engine.Span{From: w.base, To: w.base + int64(100*time.Hour)}, func(f *block.Frame) error {
		for at, cells := range f.Each(false) {
			metrics := map[string]float64{}
			for _, cell := range cells {
				metrics[f.Columns[cell.Column].Name], _ = cell.Value.Float()
			}
			value, err := valueOf(metrics)
			if err != nil {
				return fmt.Errorf("device %s at %s: %w", device, instant(at), err)
			}
			found = append(found, point{device, at, value})
		}
		return nil
	})
	return found, err
}

// agree compares what is known of a device with its readings.
func agree(ctx context.Context, e *engine.Engine, device string, found []point) error {
	info, known, err := e.View().Device(ctx, device)
	if err != nil || !known && len(found) == 0 {
		return err
	}
	if !known || len(found) == 0 {
		return fmt.Errorf("device %s: known is %v, it has %d readings", device, known, len(found))
	}
	last := found[len(found)-1]
	if info.FirstSeen != found[0].at || info.LastSeen != last.at || len(info.Latest) != 2 {
		return fmt.Errorf("device %s: listed from %s to %s with %d metrics, its readings are from %s to %s, of 2",
			device, instant(info.FirstSeen), instant(info.LastSeen), len(info.Latest), instant(found[0].at), instant(last.at))
	}
	for _, l := range info.Latest {
		want := map[string]float64{"v": last.value, "half": last.value / 2}[l.Metric]
		if got, _ := l.Value.Float(); got != want || l.Time != last.at {
			return fmt.Errorf("device %s: the latest %s is %v of %s, %v of %s is right", device, l.Metric, got, instant(l.Time), want, instant(last.at))
		}
	}
	return nil
}

// tile checks the leaves as they lie in their tables: a device's closed ones of
// a day follow each other without gap or overlap, and its open one follows them.
func (w *crashWorld) tile(ctx context.Context, rows store.Rows) error {
	tables, next, err := rows.Tables(ctx, "sluiceleaves", "")
	if err != nil || next != "" {
		return fmt.Errorf("list the tables of leaves: %q left, %w", next, err)
	}
	for _, table := range tables {
		high, open := map[string]string{}, map[string]string{}
		for token, first := "", true; first || token != ""; first = false {
			page, err := rows.Scan(ctx, table, store.Range{}, token)
			if err != nil {
				return err
			}
			for _, row := range page.Rows {
				if err := w.follows(row, high, open); err != nil {
					return fmt.Errorf("table %s: %w", table, err)
				}
			}
			token = page.Next
		}
		for device, low := range open {
			if low != high[device] {
				return fmt.Errorf("table %s: the open leaf of %s begins at %q, its closed ones end at %q", table, device, low, high[device])
			}
		}
		for device := range high {
			if _, ok := open[device]; !ok {
				return fmt.Errorf("table %s: %s has closed leaves and no open one", table, device)
			}
		}
	}
	return nil
}

// follows takes a row of a table of leaves: "c!device!bound" or "o!device".
func (w *crashWorld) follows(row store.Row, high, open map[string]string) error {
	low := ""
	for _, p := range row.Properties {
		if p.Name == "_low" {
			low, _ = p.Value.(string)
		}
	}
	parts := strings.Split(row.Key, "!")
	switch {
	case len(parts) == 2 && parts[0] == "o":
		open[parts[1]] = low
		w.tally.Open++
		return nil
	case len(parts) == 3 && parts[0] == "c":
		w.tally.Closed++
		if before := high[parts[1]]; low != before {
			return fmt.Errorf("leaf %s begins at %q, the one before it ends at %q", row.Key, low, before)
		}
		high[parts[1]] = parts[2]
		return nil
	default:
		return fmt.Errorf("row %q is no leaf", row.Key)
	}
}
