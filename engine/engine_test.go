package engine_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"sluice/engine"
	"sluice/store"
	"sluice/store/fenced"
	"sluice/store/pebble"
	"sluice/store/storetest"
	"sluice/telemetry"
	"sluice/telemetry/block"
)

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// world is an engine over one store, with a clock that stands.
type world struct {
	*engine.Engine
	t    *testing.T
	rows store.Rows
	*clock
	stamp telemetry.Stamp
}

type clock struct{ now time.Time }

func (c *clock) Now() time.Time { return c.now }

// eachStore runs a test over the journals and rows there are.
func eachStore(t *testing.T, config engine.Config, test func(t *testing.T, w *world)) {
	t.Run("fenced", func(t *testing.T) {
		rows, clock := &storetest.Memory{}, &clock{noon}
		journal, err := fenced.New(func(int) store.Rows { return rows }, fenced.Options{Now: clock.Now})
		if err != nil {
			t.Fatal(err)
		}
		config.Buckets = 4
		test(t, newWorld(t, config, clock, rows, journal))
	})
	t.Run("pebble", func(t *testing.T) {
		clock := &clock{noon}
		s, err := pebble.Open("data", pebble.Options{FS: vfs.NewMem(), Now: clock.Now})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		test(t, newWorld(t, config, clock, s.Rows(), s.Journal()))
	})
}

func newWorld(t *testing.T, config engine.Config, clock *clock, rows store.Rows, journal store.Journal) *world {
	t.Helper()
	w := &world{t: t, rows: rows, clock: clock}
	config.Accounts, config.Journal, config.Now = []store.Rows{rows}, engine.Given(journal), clock.Now
	config.NewID = func() string { return "store" }
	if config.Shards == 0 {
		config.Shards = 2
	}
	var err error
	if w.Engine, err = engine.Open(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	w.stamp = telemetry.Stamp(w.now.UnixNano())
	return w
}

func (w *world) send(readings ...telemetry.Reading) {
	w.t.Helper()
	byShard := map[int][]telemetry.Reading{}
	for _, r := range readings {
		w.stamp++
		r.Stamp = w.stamp
		byShard[w.Shard(r.Device)] = append(byShard[w.Shard(r.Device)], r)
	}
	for shard, part := range byShard {
		if err := w.Append(w.t.Context(), shard, block.FromReadings(part)); err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *world) merge() {
	w.t.Helper()
	if err := w.Compact(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

// read renders a device's readings, one a line.
func (w *world) read(device string, span engine.Span) []string {
	w.t.Helper()
	var lines []string
	err := w.View().Read(w.t.Context(), device, span, func(f *block.Frame) error {
		for at, cells := range f.Each(span.Descending) {
			lines = append(lines, line(f, at, cells))
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return lines
}

func line(f *block.Frame, at int64, cells []block.Cell) string {
	var b strings.Builder
	b.WriteString(time.Unix(0, at).UTC().Format("01-02T15:04:05"))
	for _, c := range cells {
		fmt.Fprintf(&b, " %s=%s", f.Columns[c.Column].Name, text(c.Value))
	}
	return b.String()
}

func text(v telemetry.Value) string {
	if v.Kind == telemetry.String {
		return v.Text
	}
	return string(v.AppendNumber(nil))
}

func reading(device string, at time.Time, metrics ...telemetry.Metric) telemetry.Reading {
	return telemetry.Reading{Device: device, Time: at.UnixNano(), Metrics: metrics}
}

func number(name string, v float64) telemetry.Metric {
	return telemetry.Metric{Name: name, Value: telemetry.FloatValue(v)}
}

var all = engine.Span{From: 0, To: noon.AddDate(1, 0, 0).UnixNano()}

// An answer is the same before, between and after merges, both ways round.
func TestReadAcrossMerges(t *testing.T) {
	eachStore(t, engine.Config{}, func(t *testing.T, w *world) {
		var want []string
		for i := range 5000 {
			at := noon.Add(-72*time.Hour + time.Duration(i)*50*time.Second)
			w.send(reading("pump-1", at, number("temperature", float64(i)), number("°C", 1)))
			want = append(want, fmt.Sprintf("%s temperature=%d °C=1", at.Format("01-02T15:04:05"), i))
			if i%1700 == 1699 {
				w.merge()
			}
		}
		w.send(reading("pump-10", noon, number("temperature", 1)))
		for range 2 {
			if got := w.read("pump-1", all); !slices.Equal(got, want) {
				t.Fatalf("ascending: %d readings, want %d", len(got), len(want))
			}
			down := all
			down.Descending = true
			got := w.read("pump-1", down)
			slices.Reverse(got)
			if !slices.Equal(got, want) {
				t.Fatalf("descending: %d readings, want %d", len(got), len(want))
			}
			w.merge()
		}
	})
}

// Of two values the higher stamp wins, whatever was merged first; a reading
// joins its metrics.
func TestConflicts(t *testing.T) {
	eachStore(t, engine.Config{}, func(t *testing.T, w *world) {
		w.send(reading("a", noon, number("x", 1), number("y", 1)))
		w.merge()
		w.send(reading("a", noon, number("x", 2), number("z", 2)))
		want := []string{"11-24T12:00:00 x=2 y=1 z=2"}
		for range 2 {
			if got := w.read("a", all); !slices.Equal(got, want) {
				t.Fatalf("got %q, want %q", got, want)
			}
			w.merge()
		}
	})
}

// A reading that does not fit into a row is cut between its metrics, and comes
// back whole.
func TestReadingLargerThanARow(t *testing.T) {
	eachStore(t, engine.Config{}, func(t *testing.T, w *world) {
		metrics := make([]telemetry.Metric, 400)
		for i := range metrics {
			noise := make([]byte, 4096)
			for j := range noise {
				noise[j] = byte('!' + (i*7919+j*j*31+j*i)%90)
			}
			metrics[i] = telemetry.Metric{Name: fmt.Sprintf("m%03d", i), Value: telemetry.TextValue(string(noise))}
		}
		for i := range 3 {
			w.send(reading("wide", noon.Add(time.Duration(i)*time.Second), metrics...))
		}
		for range 2 {
			for _, down := range []bool{false, true} {
				n := 0
				err := w.View().Read(t.Context(), "wide", engine.Span{From: 0, To: all.To, Descending: down}, func(f *block.Frame) error {
					for _, cells := range f.Each(down) {
						n++
						if len(cells) != 400 || cells[17].Value != metrics[17].Value {
							t.Errorf("reading %d has %d metrics", n, len(cells))
						}
					}
					return nil
				})
				if err != nil || n != 3 {
					t.Fatalf("%d readings, %v", n, err)
				}
			}
			w.merge()
		}
		info, _, err := w.View().Device(t.Context(), "wide")
		if err != nil || len(info.Latest) != 400 || info.Latest[17].Value != metrics[17].Value {
			t.Fatalf("latest has %d metrics, %v", len(info.Latest), err)
		}
	})
}

// A deletion hides what was accepted before it, from the tail on, and what
// comes after it stays.
func TestDelete(t *testing.T) {
	eachStore(t, engine.Config{}, func(t *testing.T, w *world) {
		w.send(reading("a", noon.Add(-48*time.Hour), number("x", 1)), reading("a", noon, number("x", 2)), reading("b", noon, number("x", 3)))
		w.merge()
		w.stamp++
		if err := w.Delete(t.Context(), "a", w.stamp); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if _, known, err := w.View().Device(t.Context(), "a"); known || err != nil {
				t.Fatalf("known: %v, %v", known, err)
			}
			if got := w.read("a", all); len(got) > 0 {
				t.Fatalf("still there: %q", got)
			}
			w.merge()
		}
		w.send(reading("a", noon.Add(-time.Hour), number("x", 4)))
		for range 2 {
			info, _, err := w.View().Device(t.Context(), "a")
			if err != nil || len(info.Latest) != 1 || info.Latest[0].Value != telemetry.FloatValue(4) || info.FirstSeen != info.LastSeen {
				t.Fatalf("%+v, %v", info, err)
			}
			w.merge()
		}
		if got := w.read("b", all); len(got) != 1 {
			t.Fatalf("another device: %q", got)
		}
	})
}

// Devices come in order over all shards, from list and tail.
func TestDevices(t *testing.T) {
	eachStore(t, engine.Config{Shards: 3}, func(t *testing.T, w *world) {
		var want []string
		for i := range 3000 {
			id := fmt.Sprintf("pump-%d", i)
			want = append(want, id)
			w.send(reading(id, noon, number("temperature", float64(i)), number("pressure", 2)))
			if i == 2500 {
				w.merge()
			}
		}
		slices.Sort(want)
		for _, prefix := range []string{"", "pump-1", "pump-29", "q"} {
			for _, after := range []string{"", "pump-1", "pump-2999", "zzz"} {
				expect := slices.DeleteFunc(slices.Clone(want), func(id string) bool { return id <= after || !strings.HasPrefix(id, prefix) })
				var got []string
				err := w.View().Devices(t.Context(), prefix, after, func(i engine.Info) bool {
					got = append(got, i.ID)
					return true
				})
				if err != nil || !slices.Equal(got, expect) {
					t.Fatalf("prefix %q after %q: %d devices, want %d, %v", prefix, after, len(got), len(expect), err)
				}
			}
		}
	})
}

// Tags merge key by key by the readings' own times; removals keep theirs.
func TestTags(t *testing.T) {
	eachStore(t, engine.Config{}, func(t *testing.T, w *world) {
		tag := func(at time.Duration, tags ...telemetry.Tag) telemetry.Reading {
			return telemetry.Reading{Device: "a", Time: noon.Add(at).UnixNano(), Tags: tags}
		}
		w.send(tag(0, telemetry.Tag{Key: "site", Value: "berlin"}, telemetry.Tag{Key: "line", Value: "1"}))
		w.merge()
		w.send(tag(-time.Hour, telemetry.Tag{Key: "site", Value: "bonn"}), tag(time.Minute, telemetry.Tag{Key: "line", Removed: true}))
		w.send(tag(0, telemetry.Tag{Key: "line", Value: "2"}))
		for range 2 {
			info, _, err := w.View().Device(t.Context(), "a")
			if err != nil || len(info.Tags) != 1 || info.Tags[0].Value != "berlin" || info.HasReadings {
				t.Fatalf("%+v, %v", info, err)
			}
			w.merge()
		}
	})
}

// Days below the floor go, with their tables, and only by time that passed.
func TestRetention(t *testing.T) {
	eachStore(t, engine.Config{Retention: 48 * time.Hour}, func(t *testing.T, w *world) {
		w.send(reading("a", noon.Add(-40*time.Hour), number("x", 1)), reading("a", noon, number("x", 2)))
		w.merge()
		tables := func() int {
			names, _, err := w.rows.Tables(t.Context(), "sluiceleaves", "")
			if err != nil {
				t.Fatal(err)
			}
			return len(names)
		}
		if got := w.read("a", all); len(got) != 2 || tables() != 2 {
			t.Fatalf("%q in %d tables", got, tables())
		}
		w.now = noon.AddDate(1, 0, 0) // a clock that jumps deletes nothing
		w.merge()
		if got := w.read("a", all); len(got) != 2 {
			t.Fatalf("after a jump of the clock: %q", got)
		}
		for w.now = noon; w.now.Before(noon.Add(60 * time.Hour)); w.now = w.now.Add(time.Hour) {
			w.merge()
		}
		if got := w.read("a", all); len(got) != 1 || tables() != 1 {
			t.Fatalf("after 60 hours: %q in %d tables", got, tables())
		}
	})
}

// A store keeps what it was made with.
func TestIdentity(t *testing.T) {
	eachStore(t, engine.Config{}, func(t *testing.T, w *world) {
		_, err := engine.Open(t.Context(), engine.Config{Accounts: []store.Rows{w.rows}, Now: func() time.Time { return noon }, Shards: 5})
		if !errors.Is(err, engine.ErrMismatch) || !strings.Contains(err.Error(), "SLUICE_SHARDS=2") {
			t.Fatalf("another number of shards: %v", err)
		}
		newer := []store.Property{{Name: "format", Value: int64(99)}}
		op := store.Op{Kind: store.Touch, Key: "store", IfMatch: store.AnyTag, Properties: newer}
		if err := w.rows.Commit(context.Background(), "sluiceconfig", "config", []store.Op{op}); err != nil {
			t.Fatal(err)
		}
		if _, err := engine.Open(t.Context(), engine.Config{Accounts: []store.Rows{w.rows}, Shards: 2}); !errors.Is(err, engine.ErrFormat) {
			t.Fatalf("a newer format: %v", err)
		}
	})
}
