package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/devtools/eventhubs"
	"sluice/internal/invoke"
)

// hubWorld is a host that reads a hub.
type hubWorld struct {
	*world
	hub  eventhubs.Hub
	hubs *Hubs
}

// batchOf is a host.json with batches of that size at most.
func batchOf(n int) string {
	return fmt.Sprintf(`{"version":"2.0","extensions":{"eventHubs":{"maxEventBatchSize":%d,"prefetchCount":%d}},
		"customHandler":{"description":{"defaultExecutablePath":"bin/handler"}}}`, n, n)
}

// reads are the options of a host that reads a hub.
func reads(hub eventhubs.Hub, hubs *Hubs) func(*Options) {
	return func(o *Options) {
		o.Hubs, o.Settings = hubs, []string{"HUB=" + hub.ConnectionString(), "HUB_NAME=another"}
		o.habits.hubPause = 20 * time.Millisecond
	}
}

// readHub starts a host whose consume_bin gets at most batch events at once, and
// tries again at once and without end.
func readHub(t *testing.T, partitions, batch int, o HubOptions) *hubWorld {
	t.Helper()
	w := &hubWorld{hub: eventhubs.ForTest(t).Hub(t, eventhubs.HubOptions{Partitions: partitions}), hubs: newHubs(t, o)}
	w.world = start(t, hubFiles(batch), reads(w.hub, w.hubs))
	return w
}

func hubFiles(batch int) map[string]string {
	retry := strings.NewReplacer("%s", "fixedDelay", "%d", "-1", `"delayInterval": "00:00:00"`, `"delayInterval": "00:00:00.05"`).Replace(retried)
	return map[string]string{"host.json": batchOf(batch), "consume_str": "", "consume_bin/function.json": retry}
}

func newHubs(t *testing.T, o HubOptions) *Hubs {
	t.Helper()
	h, err := NewHubs(o)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// put appends the numbers from..to-1 to a partition; they are its sequence numbers, too.
func (w *hubWorld) put(partition string, from, to int) {
	w.t.Helper()
	var events []eventhubs.Put
	for i := from; i < to; i++ {
		events = append(events, eventhubs.Put{Body: fmt.Append(nil, i), PartitionKey: "k"})
	}
	if err := w.hub.Put(w.t.Context(), partition, events...); err != nil {
		w.t.Fatal(err)
	}
}

// call is a batch as the handler got it, decoded by the service's own means.
type call struct {
	id string
	invoke.Batch
}

func (c call) span() string {
	return fmt.Sprintf("%s:%d-%d", c.Partition, c.Events[0].Sequence, c.Events[len(c.Events)-1].Sequence)
}

// seen are the calls, in order.
func (w *hubWorld) seen() (calls []call) {
	w.t.Helper()
	for _, r := range w.requests() {
		e, err := invoke.Read(bytes.NewReader(r.Body), 1<<20, 256)
		if err != nil {
			w.t.Fatal(err)
		}
		b, err := e.Events("events")
		if err != nil {
			w.t.Fatal(err)
		}
		for i, e := range b.Events {
			if i > 0 && e.Sequence != b.Events[i-1].Sequence+1 || string(e.Body) != fmt.Sprint(e.Sequence) {
				w.t.Fatalf("event %d: %+v", i, e)
			}
		}
		calls = append(calls, call{r.header(invocationHeader), b})
	}
	return calls
}

// awaitCheckpoint waits until a partition is that far.
func (w *hubWorld) awaitCheckpoint(partition string, last int64) {
	w.t.Helper()
	until(w.t, fmt.Sprintf("checkpoint %d of partition %s", last, partition), func() bool {
		got, ok := w.hubs.checkpoint(w.checkpoint(partition))
		return ok && got == last
	})
}

func (w *hubWorld) checkpoint(partition string) string {
	f, err := w.running("consume_bin", "eventHubTrigger")
	if err != nil {
		w.t.Fatal(err)
	}
	where, err := f.place(w.settings)
	if err != nil {
		w.t.Fatal(err)
	}
	return where.checkpoint(partition)
}

// A hub's events come in order, in batches, one after the other in each
// partition, and from its oldest event on.
func TestHubIsRead(t *testing.T) {
	hub := eventhubs.ForTest(t).Hub(t, eventhubs.HubOptions{Partitions: 2})
	w := &hubWorld{hub: hub, hubs: newHubs(t, HubOptions{})}
	w.world = &world{t: t}
	w.put("0", 0, 25)
	w.put("1", 0, 3)
	w.world = start(t, hubFiles(10), reads(hub, w.hubs))
	w.awaitCheckpoint("0", 24)
	w.awaitCheckpoint("1", 2)
	next := map[string]int64{}
	ids := map[string]bool{}
	for _, c := range w.seen() {
		if c.Events[0].Sequence != next[c.Partition] || len(c.Events) > 10 || ids[c.id] {
			t.Errorf("%s, invocation %s", c.span(), c.id)
		}
		if c.Hub != hub.Name || c.ConsumerGroup != "$Default" || c.Namespace == "" || c.Retry == nil || *c.Retry != (invoke.RetryContext{Max: -1}) {
			t.Errorf("%+v", c)
		}
		if e := c.Events[0]; e.PartitionKey != "k" || time.Since(e.Enqueued) > time.Hour || e.Offset == "" {
			t.Errorf("%+v", e)
		}
		ids[c.id], next[c.Partition] = true, c.Events[len(c.Events)-1].Sequence+1
	}
	if got := w.hubs.Counts(); got.Events != 28 || got.Batches != len(ids) || got.GivenUp+got.Redelivered != 0 || got.Longest != 10 {
		t.Errorf("%+v", got)
	}
}

// What a device said through IoT Hub stands where the trigger has it.
func TestHubSystemProperties(t *testing.T) {
	w := readHub(t, 1, 10, HubOptions{})
	err := w.hub.Put(t.Context(), "0", eventhubs.Put{
		Body: []byte("0"), Properties: map[string]any{"traceparent": "00-1", "n": 5},
		Annotations: map[string]any{"iothub-connection-device-id": "a1"}, ContentType: "application/json", ContentEncoding: "gzip", MessageID: "m",
	})
	if err != nil {
		t.Fatal(err)
	}
	w.awaitCheckpoint("0", 0)
	e := w.seen()[0].Events[0]
	if e.Properties["traceparent"] != "00-1" || e.Properties["n"] != int64(5) || e.PartitionKey != "" {
		t.Errorf("%+v", e)
	}
	for name, want := range map[string]any{
		"iothub-connection-device-id": "a1", "content-type": "application/json", "content-encoding": "gzip", "message-id": "m", "x-opt-sequence-number": int64(0), "PartitionKey": nil,
	} {
		if got, ok := e.System[name]; !ok || got != want {
			t.Errorf("%s is %v, want %v: %v", name, got, want, e.System)
		}
	}
}

// A batch that fails comes again as it was, and its partition waits, while others go
// on.
func TestHubRetries(t *testing.T) {
	w := readHub(t, 2, 5, HubOptions{})
	w.setAnswer("status=500")
	w.put("0", 0, 3)
	until(t, "a retry", func() bool { return len(w.requests()) >= 3 })
	w.put("0", 3, 9)
	until(t, "another", func() bool { return len(w.requests()) >= 6 })
	if _, ok := w.hubs.checkpoint(w.checkpoint("0")); ok {
		t.Error("a batch that failed was checkpointed")
	}
	first := w.seen()[0]
	for i, c := range w.seen() {
		if c.id != first.id || c.span() != first.span() || c.Retry.Count != i {
			t.Errorf("call %d: %s, %+v, invocation %s", i, c.span(), c.Retry, c.id)
		}
	}
	w.setAnswer("ok")
	w.awaitCheckpoint("0", 8)
}

// A handler that dies fails its calls, and they come again. The third death
// stops the host; another goes on at the checkpoints.
func TestHubAndCrashes(t *testing.T) {
	file := filepath.Join(t.TempDir(), "checkpoints")
	w := readHub(t, 1, 4, HubOptions{File: file})
	w.put("0", 0, 4)
	w.awaitCheckpoint("0", 3)
	w.setAnswer("exit=1")
	w.put("0", 4, 10)
	<-w.Done()
	if !errors.Is(w.Err(), ErrCrashed) || w.Crashes() != 3 {
		t.Fatalf("%v after %d crashes", w.Err(), w.Crashes())
	}
	next := &hubWorld{hub: w.hub, hubs: newHubs(t, HubOptions{File: file})}
	next.world = start(t, hubFiles(3), reads(w.hub, next.hubs))
	next.awaitCheckpoint("0", 9)
	if c := next.seen()[0]; c.Events[0].Sequence != 4 || len(c.Events) > 3 {
		t.Error(c.span())
	}
}

// A batch that has failed is left behind if that is asked for, once.
func TestHubGivesUp(t *testing.T) {
	w := readHub(t, 1, 4, HubOptions{})
	w.setAnswer("status=500")
	w.put("0", 0, 4)
	until(t, "a retry", func() bool { return len(w.requests()) >= 2 })
	w.hubs.GiveUp()
	w.awaitCheckpoint("0", 3)
	w.put("0", 4, 6)
	until(t, "a retry of the next batch", func() bool {
		calls := w.seen()
		last := calls[len(calls)-1]
		return last.Events[0].Sequence == 4 && last.Retry.Count > 0
	})
	w.setAnswer("ok")
	w.awaitCheckpoint("0", 5)
	if got := w.hubs.Counts(); got.GivenUp != 1 {
		t.Errorf("%+v", got)
	}
}

// A share of the events comes again, in other cuts, and all come; also while
// the links break all the time.
func TestHubRedelivers(t *testing.T) {
	const events = 1500
	w := readHub(t, 1, 40, HubOptions{Cut: true, Redeliver: 0.2, Seed: 7})
	if err := w.hub.CutLinksEvery(t.Context(), 50*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	for i := 0; i < events; i += 50 {
		w.put("0", i, i+50)
	}
	until(t, "the last event", func() bool {
		last, _ := w.hubs.checkpoint(w.checkpoint("0"))
		return last == events-1
	})
	if err := w.hub.Heal(context.Background()); err != nil {
		t.Fatal(err)
	}
	next, sizes := int64(0), map[int]bool{}
	for _, c := range w.seen() {
		if c.Events[0].Sequence > next || len(c.Events) > 40 {
			t.Fatalf("%s, %d is next", c.span(), next)
		}
		sizes[len(c.Events)] = true
		next = max(next, c.Events[len(c.Events)-1].Sequence+1)
	}
	got := w.hubs.Counts()
	if next != events || len(sizes) < 10 || got.Redelivered < events/20 || got.Redelivered > events {
		t.Errorf("%d events, %d sizes, %+v", next, len(sizes), got)
	}
}

// Host.json asks for what this stand-in cannot do, or for nothing.
func TestHubOptions(t *testing.T) {
	for text, want := range map[string]string{
		`"maxEventBatchSize":0`: "1 is the least", `"minEventBatchSize":25`: "cannot do", `"initialOffsetOptions":{"type":"fromEnd"}`: "cannot do",
	} {
		root := appRoot(t, map[string]string{"host.json": strings.Replace(batchOf(1), `"maxEventBatchSize":1,"prefetchCount":1`, text, 1)})
		if _, err := Start(t.Context(), Options{Root: root}); !errors.Is(err, ErrApp) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
	root := appRoot(t, map[string]string{"host.json": strings.Replace(batchOf(1), "maxEventBatchSize", "maxBatchSize", 1)})
	h, err := newHost(Options{Root: root})
	if err != nil || len(h.Warnings()) != 1 || !strings.Contains(h.Warnings()[0], "extensions.eventHubs.maxBatchSize") || h.app.batch != defaultBatch {
		t.Error(err, h.Warnings(), h.app.batch)
	}
	if _, err := NewHubs(HubOptions{File: t.TempDir()}); err == nil {
		t.Error("a folder is no file of checkpoints")
	}
}
