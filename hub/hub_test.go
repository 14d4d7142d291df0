package hub

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/devtools/eventhubs"
)

// open makes a Hub over one of the stand-in's. Times are short.
func open(t *testing.T, at eventhubs.Hub, change func(*Config)) *Hub {
	t.Helper()
	cfg := Config{
		Connection: at.ConnectionString(), SendTimeout: 2 * time.Second, AskTimeout: 2 * time.Second,
		Rest: 50 * time.Millisecond, Poll: 20 * time.Millisecond, Claim: 100 * time.Millisecond, Expiry: time.Second,
	}
	if change != nil {
		change(&cfg)
	}
	h, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = h.Close(ctx)
	})
	return h
}

func ctxOf(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// must fails the test on an error of an order.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// contents are all events that a hub holds.
func contents(t *testing.T, at eventhubs.Hub) []eventhubs.Event {
	t.Helper()
	partitions, err := at.Partitions(ctxOf(t))
	must(t, err)
	var all []eventhubs.Event
	for _, p := range partitions {
		events, err := at.Contents(ctxOf(t), p.ID)
		must(t, err)
		all = append(all, events...)
	}
	return all
}

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

// journal is a log that a test reads.
type journal struct {
	mu  sync.Mutex
	out bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.out.Write(p)
}

func (j *journal) count(text string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Count(j.out.String(), text)
}

func (j *journal) log() *slog.Logger { return slog.New(slog.NewJSONHandler(j, nil)) }

func TestSend(t *testing.T) {
	for _, size := range []int{256 << 10, 1 << 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			at := eventhubs.ForTest(t).Hub(t, eventhubs.HubOptions{MaxMessage: size})
			h := open(t, at, nil)
			if h.Name() != at.Name {
				t.Errorf("name %q, want %q", h.Name(), at.Name)
			}
			most, err := h.MaxBody(ctxOf(t))
			must(t, err)
			if most != size-overhead {
				t.Errorf("a body may have %d bytes, want %d", most, size-overhead)
			}
			properties := map[string]any{"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
			large := bytes.Repeat([]byte{'x'}, most)
			must(t, h.Send(ctxOf(t), "s03", [][]byte{[]byte("small"), large, []byte("last"), large}, properties))
			if err := h.Send(ctxOf(t), "s03", [][]byte{bytes.Repeat([]byte{'x'}, size)}, nil); !errors.Is(err, ErrTooLarge) {
				t.Errorf("a body of a message's size: %v", err)
			}
			if h.Away() != nil {
				t.Errorf("away after a body that is too large: %v", h.Away())
			}
			var got []string
			for _, e := range contents(t, at) {
				got = append(got, fmt.Sprint(len(e.Body)))
				if e.PartitionKey != "s03" || e.Properties["traceparent"] != properties["traceparent"] {
					t.Errorf("an event with key %q and properties %v", e.PartitionKey, e.Properties)
				}
			}
			if want := fmt.Sprintf("5 %d 4 %d", most, most); strings.Join(got, " ") != want {
				t.Errorf("bodies of %v bytes, want %s", got, want)
			}
		})
	}
}

// TestSendTogether has shards that flush at the same time.
func TestSendTogether(t *testing.T) {
	at := eventhubs.ForTest(t).Hub(t, eventhubs.HubOptions{Partitions: 3})
	h := open(t, at, nil)
	var wg sync.WaitGroup
	for shard := range 8 {
		wg.Go(func() {
			for i := range 20 {
				if err := h.Send(ctxOf(t), fmt.Sprintf("s%02d", shard), [][]byte{fmt.Appendf(nil, "%d %02d", shard, i)}, nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	last := map[string]string{}
	n := 0
	for _, e := range contents(t, at) {
		n++
		if last[e.PartitionKey] >= string(e.Body) {
			t.Errorf("%s after %s", e.Body, last[e.PartitionKey])
		}
		last[e.PartitionKey] = string(e.Body)
	}
	if n != 160 {
		t.Errorf("%d events, want 160", n)
	}
}

// TestAway has every way in which the hub does not take what is sent: the breaker
// opens, sends fail at once, a probe closes it when the hub takes it, and the log
// says both once.
func TestAway(t *testing.T) {
	for _, c := range []struct {
		name  string
		fault func(eventhubs.Hub, context.Context) error
		want  error
		most  int // sends until it is open
	}{
		{"refuses", func(h eventhubs.Hub, ctx context.Context) error { return h.Refuse(ctx, true) }, ErrUnavailable, 3},
		{"busy", func(h eventhubs.Hub, ctx context.Context) error { return h.Busy(ctx, 1, 1) }, ErrBusy, 3},
		{"slow", func(h eventhubs.Hub, ctx context.Context) error { return h.Delay(ctx, time.Minute) }, ErrUnavailable, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			at := eventhubs.ForTest(t).Hub(t, eventhubs.HubOptions{})
			var log journal
			h := open(t, at, func(cfg *Config) {
				cfg.Log, cfg.Probe = log.log(), []byte("probe")
			})
			must(t, h.Send(ctxOf(t), "s01", [][]byte{[]byte("before")}, nil))
			must(t, c.fault(at, ctxOf(t)))
			n := 0
			for ; h.Away() == nil; n++ {
				if err := h.Send(ctxOf(t), "s01", [][]byte{[]byte("lost")}, nil); !errors.Is(err, c.want) {
					t.Fatalf("%v, want %v", err, c.want)
				}
			}
			if n > c.most {
				t.Errorf("open after %d sends, want %d", n, c.most)
			}
			if err := h.Send(ctxOf(t), "s01", [][]byte{[]byte("not sent")}, nil); !errors.Is(err, ErrUnavailable) {
				t.Errorf("while it is away: %v", err)
			}
			if strings.Contains(h.Away().Error(), at.Key()) {
				t.Error("the reason shows the key")
			}
			time.Sleep(200 * time.Millisecond) // some probes fail
			must(t, at.Heal(ctxOf(t)))
			eventually(t, "it is back", func() bool { return h.Away() == nil })
			must(t, h.Send(ctxOf(t), "s01", [][]byte{[]byte("after")}, nil))
			if away, back := log.count("event hub is away"), log.count("event hub is back"); away != 1 || back != 1 {
				t.Errorf("the log says %d times away and %d times back", away, back)
			}
			var got []string
			for _, e := range contents(t, at) {
				if body := string(e.Body); body != "lost" && body != "probe" {
					got = append(got, body)
				}
			}
			if strings.Join(got, " ") != "before after" {
				t.Errorf("the hub holds %v", got)
			}
		})
	}
}

// TestCallersEnd has callers that do not wait: the hub is not away for it.
func TestCallersEnd(t *testing.T) {
	at := eventhubs.ForTest(t).Hub(t, eventhubs.HubOptions{})
	h := open(t, at, nil)
	must(t, h.Send(ctxOf(t), "s01", [][]byte{[]byte("x")}, nil))
	must(t, at.Delay(ctxOf(t), time.Second))
	for range 5 {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		if err := h.Send(ctx, "s01", [][]byte{[]byte("x")}, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		cancel()
	}
	if h.Away() != nil {
		t.Error(h.Away())
	}
}

// TestConfirmedIsThere sends from many shards at once while connections and links
// are cut, sends are answered busy, and answers are lost: what is answered with
// success is there.
func TestConfirmedIsThere(t *testing.T) {
	at := eventhubs.ForTest(t).Hub(t, eventhubs.HubOptions{})
	h := open(t, at, func(cfg *Config) { cfg.Failures = 1 << 30 })
	const shards, sends = 8, 100
	confirmed := make([]map[string]bool, shards)
	var senders sync.WaitGroup
	for shard := range shards {
		confirmed[shard] = map[string]bool{}
		senders.Go(func() {
			for i := range sends {
				body := fmt.Sprint(shard, " ", i)
				if h.Send(ctxOf(t), fmt.Sprintf("s%02d", shard), [][]byte{[]byte(body)}, nil) == nil {
					confirmed[shard][body] = true
				}
			}
		})
	}
	done := make(chan struct{})
	go func() {
		senders.Wait()
		close(done)
	}()
	must(t, at.Busy(ctxOf(t), 0.3, 7))
	for i, over := 0, false; !over; i++ {
		select {
		case <-done:
			over = true
		case <-time.After(20 * time.Millisecond):
			switch i % 3 {
			case 0:
				must(t, at.CutConnections(ctxOf(t)))
			case 1:
				must(t, at.CutLinks(ctxOf(t)))
			case 2:
				must(t, at.Lose(ctxOf(t), 2))
			}
		}
	}
	must(t, at.Heal(ctxOf(t)))
	there := map[string]bool{}
	for _, e := range contents(t, at) {
		there[string(e.Body)] = true
	}
	for shard, bodies := range confirmed {
		if len(bodies) == 0 || len(bodies) == sends {
			t.Errorf("shard %d: %d of %d are confirmed: no fault, or nothing else", shard, len(bodies), sends)
		}
		for body := range bodies {
			if !there[body] {
				t.Errorf("%q is confirmed and not there", body)
			}
		}
	}
}

// TestLost cuts a connection after the hub has kept a message.
func TestLost(t *testing.T) {
	at := eventhubs.ForTest(t).Hub(t, eventhubs.HubOptions{})
	h := open(t, at, nil)
	must(t, h.Send(ctxOf(t), "s01", [][]byte{[]byte("first")}, nil))
	must(t, at.Lose(ctxOf(t), 10))
	err := h.Send(ctxOf(t), "s01", [][]byte{[]byte("unsure")}, nil)
	if !errors.Is(err, ErrUnavailable) {
		t.Errorf("%v", err)
	}
	if n := len(contents(t, at)); n < 2 {
		t.Errorf("%d events: the fault did not work", n)
	}
}

// TestFirstUse has a hub that is not there when it is first used.
func TestFirstUse(t *testing.T) {
	at := eventhubs.ForTest(t).Hub(t, eventhubs.HubOptions{})
	for name, c := range map[string]struct {
		connection string
		want       error
	}{
		"another hub":  {strings.Replace(at.ConnectionString(), at.Name, "no-such-hub", 1), ErrGone},
		"a wrong key":  {strings.Replace(at.ConnectionString(), at.Key(), "wrong", 1), ErrDenied},
		"nobody there": {at.At("127.0.0.1:1").ConnectionString(), ErrUnavailable},
	} {
		h := open(t, at, func(cfg *Config) { cfg.Connection = c.connection })
		_, err := h.MaxBody(ctxOf(t))
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		if _, err := h.Partitions(ctxOf(t)); !errors.Is(err, c.want) {
			t.Errorf("%s: partitions: %v, want %v", name, err, c.want)
		}
		if err != nil && (strings.Contains(err.Error(), at.Key()) || strings.Contains(err.Error(), "SharedAccessKey=")) {
			t.Errorf("%s: a secret in %v", name, err)
		}
		if err := h.Read(ctxOf(t), "0", 0, 1, 1, func([]Event) error { return nil }); !errors.Is(err, c.want) {
			t.Errorf("%s: read: %v, want %v", name, err, c.want)
		}
	}
}

func TestPartitions(t *testing.T) {
	at := eventhubs.ForTest(t).Hub(t, eventhubs.HubOptions{Partitions: 3})
	h := open(t, at, nil)
	for i := range 5 {
		must(t, at.Put(ctxOf(t), "1", eventhubs.Put{Body: fmt.Append(nil, i)}))
	}
	must(t, at.Put(ctxOf(t), "2", eventhubs.Put{Body: []byte("x")}))
	must(t, at.Trim(ctxOf(t), "1", 2))
	must(t, at.Trim(ctxOf(t), "2", 1))
	all, err := h.Partitions(ctxOf(t))
	must(t, err)
	if len(all) != 3 {
		t.Fatalf("%d partitions", len(all))
	}
	if p := all[0]; p.ID != "0" || p.Last >= p.First {
		t.Errorf("an empty partition: %+v", p)
	}
	if p := all[1]; p.First != 2 || p.Last != 4 || time.Since(p.LastEnqueued) > time.Minute || p.LastEnqueued.IsZero() {
		t.Errorf("a trimmed partition: %+v", p)
	}
	if p := all[2]; p.Last != 0 || p.First != 1 {
		t.Errorf("a partition of which all has expired: %+v", p)
	}
	if _, err := h.Partition(ctxOf(t), "7"); !errors.Is(err, ErrGone) {
		t.Errorf("no such partition: %v", err)
	}
	must(t, at.Delay(ctxOf(t), time.Minute))
	if _, err := h.Partition(ctxOf(t), "1"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("no answer: %v", err)
	}
	must(t, at.Heal(ctxOf(t)))
	if _, err := h.Partition(ctxOf(t), "1"); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}
