package consume_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/consume"
	"sluice/consume/progress"
	"sluice/deadletters"
	"sluice/devtools/eventhubs"
	"sluice/hub"
	"sluice/store"
	"sluice/store/storetest"
	"sluice/telemetry"
	"sluice/telemetry/block"
	"sluice/telemetry/event"
)

// process is one that consumes by itself.
type process struct {
	hub      *hub.Hub
	consumer *consume.Consumer
	stop     func()
}

// selves is a hub of the stand-in and processes over one store.
type selves struct {
	*world
	server eventhubs.Hub
	away   atomic.Bool // the store
}

func newSelves(t *testing.T) *selves {
	s := &selves{world: &world{t: t, now: time.Now(), hub: &memoryHub{}}}
	s.server = eventhubs.ForTest(t).Hub(t, eventhubs.HubOptions{Partitions: 4})
	s.rows = storetest.NewFaultyRows(&storetest.Memory{}, func(storetest.Call) storetest.Verdict {
		if s.away.Load() {
			return storetest.Fail(store.ErrUnavailable)
		}
		return storetest.Pass()
	})
	return s
}

// start starts a process under a name. It ends with the test, or when it is
// stopped.
func (s *selves) start(t *testing.T, name string) *process {
	t.Helper()
	h, err := hub.Open(hub.Config{
		Connection: s.server.ConnectionString(), Name: s.server.Name, Instance: name,
		Claim: 100 * time.Millisecond, Expiry: 2 * time.Second, Poll: 10 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	p := &process{hub: h}
	s.open(options{config: func(c *consume.Config) {
		c.Hub, c.Now, c.Log = h, time.Now, slog.New(slog.DiscardHandler)
		c.Progress = progress.New(s.rows, s.server.Name, "$Default", time.Now)
		s.progress = c.Progress
	}}, s.rows)
	p.consumer = s.consumer
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := p.consumer.Run(ctx, h); err != nil {
			t.Error(err)
		}
	})
	p.stop = sync.OnceFunc(func() {
		cancel()
		running.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = h.Close(ctx)
	})
	t.Cleanup(p.stop)
	return p
}

// await waits until something is so.
func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("in vain: ", what)
		}
	}
}

// shares are how many partitions each process has.
func (s *selves) shares(t *testing.T) map[string]int {
	t.Helper()
	owners, err := s.progress.Owners(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	shares := map[string]int{}
	for _, o := range owners {
		shares[o.ID]++
	}
	return shares
}

// caughtUp says that all that the hub has is durable.
func (s *selves) caughtUp(t *testing.T, h *hub.Hub) bool {
	t.Helper()
	lags, _, err := consume.NewFrontier(h, s.progress, time.Now).Lags(t.Context())
	if err != nil {
		return false
	}
	for _, l := range lags {
		if !l.CaughtUp {
			return false
		}
	}
	return true
}

// Two processes share the partitions of a real client's hub; what they consumed is
// durable before it counts as consumed, bad events are in the dead letters, and the
// share of one that stops goes to the other, with the store away for a while.
func TestSelf(t *testing.T) {
	s := newSelves(t)
	one := s.start(t, "one")
	ctx := t.Context()
	send := func(from, to int) {
		t.Helper()
		for n := from; n < to; n++ {
			r := telemetry.Reading{Device: fmt.Sprint("d", n%7), Time: noon.Add(time.Duration(n) * time.Second).UnixNano(), Stamp: telemetry.Stamp(n + 1),
				Metrics: []telemetry.Metric{{Name: "x", Value: telemetry.FloatValue(float64(n))}}}
			bodies, err := event.Encode(block.FromReadings([]telemetry.Reading{r}), 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			if err := one.hub.Send(ctx, fmt.Sprintf("s%02d", n%16), bodies, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	send(0, 50)
	await(t, "one process has all partitions", func() bool { return s.shares(t)["one"] == 4 })
	await(t, "it has consumed what there is", func() bool { return s.caughtUp(t, one.hub) })

	two := s.start(t, "two")
	await(t, "the partitions are shared", func() bool { return s.shares(t)["one"] == 2 && s.shares(t)["two"] == 2 })
	bad := eventhubs.Put{Body: []byte(`{"deviceId":"other","x":1}`), Annotations: map[string]any{"iothub-connection-device-id": "dev"}}
	good := eventhubs.Put{
		Body: []byte(pack(t, "deflate", `{"x":7,"ts":1763870400}`)), Annotations: map[string]any{"iothub-connection-device-id": "dev"},
		ContentType: "application/json", ContentEncoding: "deflate",
	}
	for partition := range 4 {
		if err := s.server.Put(ctx, fmt.Sprint(partition), bad, good); err != nil {
			t.Fatal(err)
		}
	}
	send(50, 100)
	s.away.Store(true)
	send(100, 150)
	if s.caughtUp(t, two.hub) {
		t.Error("caught up without a store")
	}
	s.away.Store(false)
	await(t, "both have consumed what there is", func() bool { return s.caughtUp(t, two.hub) })

	two.stop()
	send(150, 200)
	await(t, "one process has all partitions again", func() bool { return s.shares(t)["one"] == 4 })
	await(t, "it has consumed what is left", func() bool { return s.caughtUp(t, one.hub) })

	if got := strings.Count(s.readings(), "x="); got != 200+1 || !strings.Contains(s.readings(), "dev 2025-11-23T04:00:00Z x=7") {
		t.Errorf("%d readings", got)
	}
	letters := s.list()
	for _, l := range letters {
		if l.Reason.Code != telemetry.ForbiddenDevice || l.Device != "dev" || l.Source.Hub != s.server.Name {
			t.Errorf("%+v", l)
		}
	}
	if len(letters) != 4 {
		t.Errorf("%d dead letters", len(letters))
	}
	lags, err := s.progress.All(ctx)
	if err != nil || len(lags) != 4 {
		t.Fatal(lags, err)
	}
	for _, p := range lags {
		if p.Lost != 0 {
			t.Errorf("%+v", p)
		}
	}
	if _, err := s.letters.Replay(ctx, one.consumer, letters[0].ID); err != nil && !errors.Is(err, deadletters.ErrUnknown) {
		t.Error(err)
	}
}
