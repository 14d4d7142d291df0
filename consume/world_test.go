package consume_test

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

	"sluice/consume"
	"sluice/consume/progress"
	"sluice/deadletters"
	"sluice/engine"
	"sluice/hub"
	"sluice/store"
	"sluice/store/fenced"
	"sluice/store/storetest"
	"sluice/telemetry"
	"sluice/telemetry/block"
	"sluice/telemetry/event"
)

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// tester is a *testing.T or a *rapid.T.
type tester interface {
	Helper()
	Fatal(args ...any)
	Context() context.Context
}

// world is a store with an engine, dead letters and progress in it, a hub, and a
// consumer.
type world struct {
	t        tester
	now      time.Time
	rows     *storetest.FaultyRows
	hook     storetest.Hook // nil: everything passes
	hub      *memoryHub
	engine   *engine.Engine
	letters  *deadletters.Store
	progress *progress.Store
	consumer *consume.Consumer
	opened   byte // how often
}

const shards = 2

type options struct {
	config    func(*consume.Config)
	retention time.Duration
}

func newWorld(t tester, o options) *world {
	t.Helper()
	w := &world{t: t, now: noon, hub: &memoryHub{}}
	w.rows = storetest.NewFaultyRows(&storetest.Memory{}, func(c storetest.Call) storetest.Verdict {
		if w.hook == nil {
			return storetest.Pass()
		}
		return w.hook(c)
	})
	w.open(o, w.rows)
	return w
}

// open opens what stands on the rows.
func (w *world) open(o options, rows store.Rows) {
	w.t.Helper()
	clock := func() time.Time { return w.now }
	w.opened++
	seed := [32]byte{w.opened} // another process has other nonces
	var err error
	w.engine, err = engine.Open(w.t.Context(), engine.Config{
		Accounts: []store.Rows{rows}, Now: clock, NewID: func() string { return "s1" }, Shards: shards, Retention: o.retention,
		Journal: func(rows func(int) store.Rows) (store.Journal, error) {
			return fenced.New(rows, fenced.Options{
				Fences: 2, Now: clock, Random: rand.NewChaCha8(seed),
				Sleep: func(ctx context.Context, _ time.Duration) error { return ctx.Err() },
			})
		},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.letters = deadletters.New(rows, clock)
	w.progress = progress.New(rows, "telemetry", "$Default", clock)
	c := consume.Config{Engine: w.engine, DeadLetters: w.letters, Progress: w.progress, Hub: w.hub, Retention: o.retention, Now: clock, Shards: 1} // so that the calls of the store have one order
	if o.config != nil {
		o.config(&c)
	}
	w.consumer = consume.New(c)
}

// take takes events of partition 0, which must succeed.
func (w *world) take(events ...hub.Event) consume.Result {
	w.t.Helper()
	r, err := w.consumer.Take(w.t.Context(), "0", events)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// at is the progress of partition 0.
func (w *world) at() progress.Position {
	w.t.Helper()
	p, err := w.progress.Read(w.t.Context(), "0")
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

// readings is everything in the store, a line a reading: device, time, values.
func (w *world) readings() string {
	w.t.Helper()
	view, ctx := w.engine.View(), w.t.Context()
	var lines []string
	err := view.Devices(ctx, "", "", func(d engine.Info) bool {
		tags := ""
		for _, t := range d.Tags {
			tags += " #" + t.Key + "=" + t.Value
		}
		if tags != "" {
			lines = append(lines, d.ID+tags)
		}
		err := view.Read(ctx, d.ID, engine.Span{From: -1 << 63, To: 1<<63 - 1}, func(f *block.Frame) error {
			lines = append(lines, rowsOf(d.ID, f)...)
			return nil
		})
		if err != nil {
			w.t.Fatal(err)
		}
		return true
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return strings.Join(lines, "\n")
}

// rowsOf writes a frame's values, a line a time, in order of metrics.
func rowsOf(device string, f *block.Frame) (lines []string) {
	for row := 0; row < f.Len(); {
		next := row + 1
		for next < f.Len() && f.Times[next] == f.Times[row] {
			next++
		}
		line := device + " " + telemetry.FormatTime(f.Times[row])
		for k := range f.Columns {
			c := &f.Columns[k]
			for i := range c.Len() {
				if at := c.Row(i); at >= row && at < next {
					line += fmt.Sprintf(" %s=%s", c.Name, written(c.Value(i)))
				}
			}
		}
		lines, row = append(lines, line), next
	}
	return lines
}

func written(v telemetry.Value) string {
	switch v.Kind {
	case telemetry.String:
		return v.Text
	case telemetry.Bool:
		return fmt.Sprint(v.Bits == 1)
	default:
		return string(v.AppendNumber(nil))
	}
}

// buried is the dead letters, a line each in order of their events: number, code,
// readings refused.
func (w *world) buried() string {
	w.t.Helper()
	var lines []string
	for _, l := range w.list() {
		lines = append(lines, fmt.Sprintf("%d %s %d", l.Source.Sequence, l.Reason.Code, l.Rejected))
	}
	slices.SortFunc(lines, func(a, b string) int {
		var m, n int
		_, _ = fmt.Sscan(a, &m)
		_, _ = fmt.Sscan(b, &n)
		return m - n
	})
	return strings.Join(lines, "\n")
}

func (w *world) list() (all []deadletters.Letter) {
	w.t.Helper()
	for next, first := "", true; first || next != ""; first = false {
		var page []deadletters.Letter
		var err error
		if page, next, err = w.letters.List(w.t.Context(), 100, next); err != nil {
			w.t.Fatal(err)
		}
		all = append(all, page...)
	}
	return all
}

// foreign is an event that a device sent: event n comes n seconds after noon.
func foreign(n int64, body string) hub.Event {
	return hub.Event{
		Body: []byte(body), Sequence: n, Offset: fmt.Sprint(n * 100), Enqueued: noon.Add(time.Duration(n) * time.Second),
		Properties: map[string]any{}, System: map[string]any{},
	}
}

// from is an event with more to it.
func (e eventMaker) from(device string) eventMaker {
	e.System["iothub-connection-device-id"] = device
	return e
}
func (e eventMaker) typed(kind string) eventMaker { e.System["content-type"] = kind; return e }
func (e eventMaker) packed(as string) eventMaker  { e.System["content-encoding"] = as; return e }
func (e eventMaker) keyed(key string) eventMaker  { e.PartitionKey = key; return e }

type eventMaker hub.Event

// ours is an event of ours with readings.
func ours(t tester, n int64, readings ...telemetry.Reading) hub.Event {
	t.Helper()
	bodies, err := event.Encode(block.FromReadings(readings), 16<<20)
	if err != nil || len(bodies) != 1 {
		t.Fatal(len(bodies), err)
	}
	e := foreign(n, string(bodies[0]))
	e.PartitionKey = "s03" // whatever it says
	return e
}

// reading is one of metric x.
func reading(device string, at time.Time, stamp int64, x float64) telemetry.Reading {
	return telemetry.Reading{
		Device: device, Time: at.UnixNano(), Stamp: telemetry.Stamp(stamp),
		Metrics: []telemetry.Metric{{Name: "x", Value: telemetry.FloatValue(x)}},
	}
}

// memoryHub is a hub of one partition in memory: what a consumer asks of one.
type memoryHub struct {
	mu     sync.Mutex
	events []hub.Event
	next   int64 // number of the event to come
	err    error // it is away
	reads  int
	cut    int // it gives that many events, and then fails; 0: all
	behind int // its answer to which is its last is that many events old
}

func (h *memoryHub) Name() string { return "telemetry" }

func (h *memoryHub) send(events ...hub.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events = append(h.events, events...)
	h.next = events[len(events)-1].Sequence + 1
}

// expire removes the events before a number.
func (h *memoryHub) expire(first int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events = slices.DeleteFunc(h.events, func(e hub.Event) bool { return e.Sequence < first })
}

func (h *memoryHub) Partition(_ context.Context, id string) (hub.Partition, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := hub.Partition{ID: id, First: h.next, Last: h.next - 1}
	if n := len(h.events); n > 0 {
		last := h.events[n-1-h.behind]
		p.First, p.Last, p.LastEnqueued = h.events[0].Sequence, last.Sequence, last.Enqueued
	}
	return p, h.err
}

func (h *memoryHub) Partitions(ctx context.Context) ([]hub.Partition, error) {
	p, err := h.Partition(ctx, "0")
	return []hub.Partition{p}, err
}

var errCut = errors.New("the hub cut the link")

func (h *memoryHub) Read(ctx context.Context, _ string, from, to int64, most int, each func([]hub.Event) error) error {
	h.mu.Lock()
	h.reads++
	err, cut := h.err, h.cut
	var events []hub.Event
	for _, e := range h.events {
		if e.Sequence >= from && e.Sequence < to {
			events = append(events, e)
		}
	}
	h.mu.Unlock()
	if err != nil {
		return err
	}
	for given := 0; len(events) > 0; {
		n := min(most, len(events))
		if err := each(events[:n]); err != nil {
			return err
		}
		if given += n; cut > 0 && given >= cut {
			return errCut
		}
		events = events[n:]
	}
	return ctx.Err()
}

func equal(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s:\n%s\nwant\n%s", what, got, want)
	}
}
