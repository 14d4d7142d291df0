package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/labstack/echo/v4"

	"sluice/devtools/eventhubs"
	"sluice/engine"
	"sluice/hub"
	"sluice/internal/httperr"
	"sluice/store"
	"sluice/store/pebble"
	"sluice/telemetry"
	"sluice/telemetry/block"
	"sluice/telemetry/event"
)

// must fails the test on an error.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func ctxOf(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// openHub opens a hub of the stand-in's; its times are short. After so many
// failures it is away (0: the default).
func openHub(t testing.TB, at eventhubs.Hub, failures uint32) *hub.Hub {
	t.Helper()
	h, err := hub.Open(hub.Config{
		Connection: at.ConnectionString(), SendTimeout: 2 * time.Second, Rest: 30 * time.Millisecond, Probe: event.Nothing(),
		Failures: failures,
	})
	must(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = h.Close(ctx)
	})
	return h
}

// openEngine opens an engine over a store in memory.
func openEngine(t testing.TB) *engine.Engine {
	t.Helper()
	s, err := pebble.Open("data", pebble.Options{FS: vfs.NewMem()})
	must(t, err)
	t.Cleanup(func() { _ = s.Close() })
	e, err := engine.Open(t.Context(), engine.Config{Accounts: []store.Rows{s.Rows()}, Journal: engine.Given(s.Journal()), Shards: 4, Now: time.Now, NewID: func() string { return "store" }})
	must(t, err)
	return e
}

// both is a server over a queue and a store.
func both(t testing.TB, queue Queue, store Store) *echo.Echo {
	t.Helper()
	in := New(Config{Group: GroupConfig{Queue: queue}}, store, telemetry.NewClock(time.Now), func() int64 { return 0 })
	e := echo.New()
	e.HTTPErrorHandler = httperr.Handler(slog.New(slog.DiscardHandler))
	in.Register(e)
	t.Cleanup(func() { must(t, in.Close(context.Background())) })
	return e
}

// message is a reading of a device, at so many seconds.
func message(device string, second int, value float64) string {
	at := time.Unix(1_780_000_000+int64(second), 0).UTC().Format(time.RFC3339)
	return fmt.Sprintf(`{"deviceId":%q,"ts":%q,"metrics":{"v":%v}}`, device, at, value)
}

// queued are all events of ours that a hub holds, decoded.
func queued(t testing.TB, at eventhubs.Hub) (devices [][]block.Device, events []eventhubs.Event) {
	t.Helper()
	partitions, err := at.Partitions(ctxOf(t))
	must(t, err)
	for _, p := range partitions {
		held, err := at.Contents(ctxOf(t), p.ID)
		must(t, err)
		for _, e := range held {
			decoded, err := event.Decode(e.Body)
			must(t, err)
			if decoded != nil { // no probe
				devices, events = append(devices, decoded), append(events, e)
			}
		}
	}
	return devices, events
}

// stored are a device's values in the engine, by second.
func stored(t testing.TB, e *engine.Engine, device string) map[int]float64 {
	t.Helper()
	values := map[int]float64{}
	err := e.View().Read(ctxOf(t), device, engine.Span{From: 0, To: 1 << 62}, func(f *block.Frame) error {
		for at, cells := range f.Each(false) {
			second := int(at/1e9 - 1_780_000_000)
			if _, twice := values[second]; twice || len(cells) != 1 {
				t.Errorf("%s at %d: %d values, twice: %v", device, second, len(cells), twice)
			}
			values[second], _ = cells[0].Value.Float()
		}
		return nil
	})
	must(t, err)
	return values
}

func TestQueued(t *testing.T) {
	at := eventhubs.ForTest(t).Hub(t, eventhubs.HubOptions{})
	e := openEngine(t)
	server := both(t, openHub(t, at, 0), e)
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	w := do(server, "POST", "", "traceparent: "+trace, strings.NewReader("["+message("a", 1, 2)+","+message("b", 1, 3)+`,{"deviceId":"!"}]`))
	if w.Code != 202 || !strings.HasPrefix(w.Body.String(), `{"accepted":2,"rejected":1,"errors":[{"index":2,`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	devices, events := queued(t, at)
	var names []string
	for i, decoded := range devices {
		for _, d := range decoded {
			names = append(names, d.ID)
			if want := fmt.Sprintf("s%02d", e.Shard(d.ID)); events[i].PartitionKey != want || events[i].Properties["traceparent"] != trace {
				t.Errorf("%s: key %q, want %q; properties %v", d.ID, events[i].PartitionKey, want, events[i].Properties)
			}
		}
	}
	slices.Sort(names)
	if !slices.Equal(names, []string{"a", "b"}) {
		t.Errorf("the hub has readings of %v", names)
	}
	if got := stored(t, e, "a"); len(got) != 0 {
		t.Errorf("in the store too: %v", got)
	}
	if w := do(server, "POST", "", "traceparent: 00-nonsense", strings.NewReader(message("a", 2, 2))); w.Code != 202 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := do(server, "POST", "", "", strings.NewReader(`{"deviceId":"!"}`)); w.Code != 400 {
		t.Errorf("nothing acceptable: %d %s", w.Code, w.Body)
	}
	if w := do(server, "DELETE", "/api/v1/devices/a", "", nil); w.Code != 202 {
		t.Errorf("a deletion: %d %s", w.Code, w.Body)
	}
	devices, events = queued(t, at)
	for i, decoded := range devices {
		for _, d := range decoded {
			if d.Cut != 0 {
				t.Error("a deletion in the queue: it must be in the store at once")
			}
			if d.ID == "a" {
				e2 := events[i].Properties["traceparent"]
				if second := d.Readings.Times[0]/1e9 - 1_780_000_000; second == 2 && e2 != nil {
					t.Errorf("a trace that is none: %v", e2)
				}
				must(t, e.Append(ctxOf(t), e.Shard("a"), []block.Device{d}))
			}
		}
	}
	if got := stored(t, e, "a"); len(got) != 0 {
		t.Errorf("accepted before the deletion, consumed after it: %v", got)
	}
}

// TestQueueAway has every way in which the hub does not take a flush: the same
// readings, with the same stamps, are in the store, and later ones in the hub
// again.
func TestQueueAway(t *testing.T) {
	for name, fault := range map[string]func(eventhubs.Hub, context.Context) error{
		"refuses": func(h eventhubs.Hub, ctx context.Context) error { return h.Refuse(ctx, true) },
		"busy":    func(h eventhubs.Hub, ctx context.Context) error { return h.Busy(ctx, 1, 1) },
		"slow":    func(h eventhubs.Hub, ctx context.Context) error { return h.Delay(ctx, time.Minute) },
		"unsure":  func(h eventhubs.Hub, ctx context.Context) error { return h.Lose(ctx, 1000) },
	} {
		t.Run(name, func(t *testing.T) {
			at := eventhubs.ForTest(t).Hub(t, eventhubs.HubOptions{})
			h, e := openHub(t, at, 0), openEngine(t)
			server := both(t, h, e)
			post := func(second int) int {
				return do(server, "POST", "", "", strings.NewReader(message("a", second, float64(second)))).Code
			}
			if status := post(0); status != 202 {
				t.Fatalf("before: %d", status)
			}
			must(t, fault(at, ctxOf(t)))
			for second := 1; second <= 8; second++ {
				if status := post(second); status != 200 {
					t.Errorf("while it is away: %d", status)
				}
			}
			if h.Away() == nil {
				t.Error("the hub does not count as away")
			}
			got := stored(t, e, "a")
			for second := 1; second <= 8; second++ {
				if got[second] != float64(second) {
					t.Errorf("second %d is %v in the store", second, got[second])
				}
			}
			must(t, at.Heal(ctxOf(t)))
			for deadline := time.Now().Add(30 * time.Second); h.Away() != nil; time.Sleep(5 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatal("the hub does not come back")
				}
			}
			if status := post(9); status != 202 {
				t.Errorf("after: %d", status)
			}
			// What is in both, or only in the hub, is there once when it is consumed.
			devices, _ := queued(t, at)
			for _, decoded := range devices {
				must(t, e.Append(ctxOf(t), e.Shard("a"), decoded))
			}
			if got = stored(t, e, "a"); len(got) != 10 {
				t.Errorf("%d readings, want 10: %v", len(got), got)
			}
		})
	}
}

// TestQueueAndStoreAway answers as the store would.
func TestQueueAndStoreAway(t *testing.T) {
	at := eventhubs.ForTest(t).Hub(t, eventhubs.HubOptions{})
	h := openHub(t, at, 0)
	store := newRecorder(2)
	store.fail = func(int, int) error { return fmt.Errorf("not open: %w", errStoreAway) }
	server := both(t, h, store)
	if w := do(server, "POST", "", "", strings.NewReader(message("a", 1, 1))); w.Code != 202 {
		t.Errorf("the store alone is away: %d %s", w.Code, w.Body)
	}
	if w := do(server, "DELETE", "/api/v1/devices/a", "", nil); w.Code != 503 {
		t.Errorf("a deletion without the store: %d", w.Code)
	}
	must(t, at.Refuse(ctxOf(t), true))
	for i := range 10 {
		w := do(server, "POST", "", "", strings.NewReader(message("a", 1, 1)))
		if w.Code != 503 || w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), `"unavailable"`) {
			t.Errorf("post %d: %d %s", i, w.Code, w.Body)
		}
	}
	if h.Away() == nil {
		t.Error("the hub does not count as away, so each post waited for it")
	}
	must(t, at.Refuse(ctxOf(t), false))
	for deadline := time.Now().Add(30 * time.Second); h.Away() != nil && time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
	}
	if w := do(server, "POST", "", "", strings.NewReader(message("a", 1, 1))); w.Code != 202 {
		t.Errorf("the hub is back: %d %s", w.Code, w.Body)
	}
}

var errStoreAway = store.ErrUnavailable

// TestStoreRefusesWithQueueAway keeps the store's verdicts on the direct
// way: what it refuses for good is told, not an outage.
func TestStoreRefusesWithQueueAway(t *testing.T) {
	for _, c := range []struct {
		err    error
		status int
		code   string
	}{
		{fmt.Errorf("too old: %w", engine.ErrFloor), 503, "unavailable"}, // said twice: the floor of this test does not move
		{refusal{"a"}, 400, "not_storable"},
		{context.DeadlineExceeded, 503, "timeout"},
	} {
		store := newRecorder(1)
		store.fail = func(int, int) error { return c.err }
		w := do(both(t, awayQueue{}, store), "POST", "", "", strings.NewReader(message("a", 1, 1)))
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.code) {
			t.Errorf("%v: %d %s", c.err, w.Code, w.Body)
		}
		if len(store.flushes) == 0 {
			t.Errorf("%v: the store was not asked", c.err)
		}
	}
}

// awayQueue takes nothing.
type awayQueue struct{}

func (awayQueue) MaxBody(context.Context) (int, error) { return 0, hub.ErrUnavailable }

func (awayQueue) Send(context.Context, string, [][]byte, map[string]any) error {
	return errors.New("must not be called")
}

// TestQueueUnderFaults posts from many clients, with conflicting values and
// repeats, while the hub is cut, throttles and loses confirmations and the store
// fails now and then: whatever was acknowledged is there once with the value of
// the highest stamp, and nothing that was never sent.
func TestQueueUnderFaults(t *testing.T) {
	at := eventhubs.ForTest(t).Hub(t, eventhubs.HubOptions{})
	h, e := openHub(t, at, 1<<30), openEngine(t) // every flush tries the hub
	flaky := &flakyStore{Engine: e, random: rand.New(rand.NewPCG(1, 2))}
	server := both(t, h, flaky)
	const clients, rounds = 8, 60
	sent := make([]map[int][]float64, clients) // by second, in order
	acked := make([]map[int]float64, clients)  // the last one that was acknowledged
	statuses := make([]map[int]int, clients)
	var posts sync.WaitGroup
	for c := range clients {
		sent[c], acked[c], statuses[c] = map[int][]float64{}, map[int]float64{}, map[int]int{}
		posts.Go(func() {
			random := rand.New(rand.NewPCG(3, uint64(c)))
			for i := range rounds {
				var body []string
				seconds := map[int]float64{}
				for range 1 + random.IntN(20) {
					second, value := random.IntN(200), float64(i)+random.Float64()
					body = append(body, message(fmt.Sprintf("client-%d", c), second, value))
					sent[c][second] = append(sent[c][second], value)
					seconds[second] = value
				}
				status := do(server, "POST", "", "", strings.NewReader("["+strings.Join(body, ",")+"]")).Code
				statuses[c][status]++
				for second, value := range seconds {
					if status == 200 || status == 202 {
						acked[c][second] = value
					}
				}
			}
		})
	}
	stop := make(chan struct{})
	var faults sync.WaitGroup
	faults.Go(func() {
		random := rand.New(rand.NewPCG(5, 6))
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Duration(random.IntN(30)) * time.Millisecond):
			}
			var err error
			switch random.IntN(6) {
			case 0:
				err = at.CutConnections(ctxOf(t))
			case 1:
				err = at.CutLinks(ctxOf(t))
			case 2:
				err = at.Busy(ctxOf(t), 0.3, 7)
			case 3:
				err = at.Lose(ctxOf(t), 2)
			default:
				err = at.Heal(ctxOf(t))
			}
			if err != nil {
				t.Error(err)
			}
		}
	})
	posts.Wait()
	close(stop)
	faults.Wait()
	must(t, at.Heal(ctxOf(t)))
	devices, _ := queued(t, at)
	for _, decoded := range devices {
		must(t, e.Append(ctxOf(t), e.Shard(decoded[0].ID), decoded))
	}
	all := map[int]int{}
	for c := range clients {
		for status, n := range statuses[c] {
			all[status] += n
		}
		got := stored(t, e, fmt.Sprintf("client-%d", c))
		for second, value := range got {
			// It may be that of a later post that was not acknowledged.
			order := sent[c][second]
			if have := slices.Index(order, value); have < 0 {
				t.Errorf("client %d, second %d: %v was never sent", c, second, value)
			} else if last, ok := acked[c][second]; ok && have < slices.Index(order, last) {
				t.Errorf("client %d, second %d: %v is older than the acknowledged %v", c, second, value, last)
			}
		}
		for second := range acked[c] {
			if _, ok := got[second]; !ok {
				t.Errorf("client %d, second %d: acknowledged and not there", c, second)
			}
		}
	}
	t.Logf("answers by status: %v; events: %d", all, len(devices))
	if all[200] == 0 || all[202] == 0 {
		t.Errorf("answers by status %v: one of the ways was not taken", all)
	}
}

// flakyStore fails now and then, before or after it has appended.
type flakyStore struct {
	*engine.Engine
	mu     sync.Mutex
	random *rand.Rand
}

func (s *flakyStore) Append(ctx context.Context, shard int, devices []block.Device) error {
	s.mu.Lock()
	dice := s.random.IntN(10)
	s.mu.Unlock()
	if dice == 0 {
		return errStoreAway
	}
	if err := s.Engine.Append(ctx, shard, devices); err != nil {
		return err
	}
	if dice == 1 {
		return store.ErrNoAnswer
	}
	return nil
}

func TestTraceparent(t *testing.T) {
	const trace, span = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	for s, want := range map[string]bool{
		"00-" + trace + "-" + span + "-01":                    true,
		"00-" + trace + "-" + span + "-00":                    true,
		"01-" + trace + "-" + span + "-01":                    true,
		"ff-" + trace + "-" + span + "-01":                    false,
		"00-" + trace + "-" + span + "-0":                     false,
		"00-" + trace + "-" + span + "-01-x":                  false,
		"00_" + trace + "-" + span + "-01":                    false,
		"00-" + strings.ToUpper(trace) + "-" + span + "-01":   false,
		"00-" + strings.Repeat("0", 32) + "-" + span + "-01":  false,
		"00-" + trace + "-" + strings.Repeat("0", 16) + "-01": false,
		"": false,
	} {
		if got := isTraceparent(s); got != want {
			t.Errorf("%q: %v", s, got)
		}
	}
}

// While a clock was years ahead stamps went ahead, and do not go back with it:
// whoever reads the queue would not believe them, so the store gets them.
func TestStampsFarAheadStayOutOfTheQueue(t *testing.T) {
	at := eventhubs.ForTest(t).Hub(t, eventhubs.HubOptions{})
	e := openEngine(t)
	clock := telemetry.NewClock(time.Now)
	in := New(Config{Group: GroupConfig{Queue: openHub(t, at, 0)}}, e, clock, func() int64 { return 0 })
	server := echo.New()
	in.Register(server)
	t.Cleanup(func() { must(t, in.Close(context.Background())) })
	for i, c := range []struct {
		ahead  time.Duration
		status int
	}{{0, 202}, {23 * time.Hour, 202}, {25 * time.Hour, 200}, {25 * time.Hour, 200}} {
		clock.After(telemetry.Stamp(time.Now().Add(c.ahead).UnixNano()))
		if w := do(server, "POST", "", "", strings.NewReader(message("a", i, 1))); w.Code != c.status {
			t.Errorf("%v ahead: %d %s, %d is right", c.ahead, w.Code, w.Body, c.status)
		}
	}
	if devices, _ := queued(t, at); len(devices) != 2 || len(stored(t, e, "a")) != 2 {
		t.Errorf("%d in the queue, %v in the store", len(devices), stored(t, e, "a"))
	}
}
