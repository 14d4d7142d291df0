package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sluice/devtools/azurite"
	"sluice/devtools/eventhubs"
	"sluice/devtools/netfault"
	"sluice/engine"
	"sluice/store"
)

// statusOf reads the status.
func statusOf(t *testing.T, url string) (s status) {
	t.Helper()
	a := do(t, "GET", url+"/api/v1/status", "")
	if a.want(t, 200); json.Unmarshal([]byte(a.body), &s) != nil {
		t.Fatal(a)
	}
	return s
}

func putEvents(t *testing.T, h eventhubs.Hub, events ...eventhubs.Put) {
	t.Helper()
	if err := h.Put(t.Context(), "", events...); err != nil {
		t.Fatal(err)
	}
}

// What devices send to the hub themselves is read from there, lands in the store
// or in the dead letters, and the status says how far that is.
func TestTheHubIsConsumed(t *testing.T) {
	t.Parallel()
	server := eventhubs.ForTest(t)
	hub := server.Hub(t, eventhubs.HubOptions{Partitions: 2})
	p := serving(t, "SLUICE_EVENTHUB="+hub.ConnectionString())
	for n := range 10 {
		putEvents(t, hub, eventhubs.Put{PartitionKey: "p", Body: []byte(someReading("p", n))})
	}
	putEvents(t, hub, eventhubs.Put{PartitionKey: "q", Body: []byte(`{"deviceId":`)})
	within(t, "consumed", func() bool { return count(t, p.url, "p") == 10 })
	within(t, "dead letters", func() bool {
		return statusOf(t, p.url).DeadLetters.Count == 1
	})
	within(t, "no lag", func() bool {
		c := statusOf(t, p.url).Consumption
		return c.Reason == "" && *c.Lag == 0 && *c.Seconds == 0 && len(c.Partitions) == 2 && c.Partitions[0].Last+c.Partitions[1].Last == 11-2
	})
	if s := statusOf(t, p.url); s.Hub.Name != hub.Name || s.Hub.Breaker != "closed" || s.Hub.ConsumerGroup != "$Default" || s.Consumption.By != "self" {
		t.Errorf("%+v", s.Hub)
	}
	do(t, "POST", p.url+"/consume", `{"Data":{"events":"[]"},"Metadata":{}}`).want(t, 500, "SLUICE_CONSUME=self", "invocation_failed")
	do(t, "GET", p.url+"/api/v1/deadletters", "").want(t, 200, `"code":"invalid_json"`)
	p.stop()
	if strings.Contains(p.log.String(), hub.Key()) {
		t.Error("the hub's key is in the log")
	}

	// Another process goes on where this one was.
	putEvents(t, hub, eventhubs.Put{PartitionKey: "p", Body: []byte(someReading("p", 10))})
	again := serving(t, "SLUICE_EVENTHUB="+hub.ConnectionString(), "SLUICE_DATA="+p.Dir+"/data")
	within(t, "consumed", func() bool { return count(t, again.url, "p") == 11 })
	if s := statusOf(t, again.url); s.DeadLetters.Count != 1 {
		t.Error(fmt.Sprint("dead letters: ", s.DeadLetters))
	}
	again.stop()
}

// degraded waits until /readyz says that readings are accepted without a part.
func degraded(t *testing.T, url, part, reason string) {
	t.Helper()
	var last answer
	defer func() {
		if t.Failed() {
			t.Log("the last /readyz: ", last)
		}
	}()
	within(t, "degraded by "+part, func() bool {
		last = do(t, "GET", url+"/readyz", "")
		var r readiness
		return last.status == 200 && json.Unmarshal([]byte(last.body), &r) == nil && r.Status == "degraded" &&
			len(r.Degraded) == 1 && strings.Contains(r.Degraded[part], reason)
	})
}

// whole waits until nothing is away.
func whole(t *testing.T, url string) {
	t.Helper()
	within(t, "ready", func() bool { return do(t, "GET", url+"/readyz", "").body == "{\"status\":\"ready\"}\n" })
}

// A key that does not read is told of, and the lag is not said to be 0, unless
// nobody is to consume here.
func TestHubDeniesReading(t *testing.T) {
	t.Parallel()
	at := eventhubs.ForTest(t).Hub(t, eventhubs.HubOptions{Partitions: 1})
	wrong := "SLUICE_EVENTHUB=" + strings.Replace(at.ConnectionString(), at.Key(), "wrong", 1)
	p := serving(t, wrong, "SLUICE_CONSUME=trigger")
	degraded(t, p.url, "consuming", "denies access")
	do(t, "GET", p.url+"/api/v1/status", "").want(t, 200, `"lagEvents":null,"lagSeconds":null`, "denies access")
	p.stop()
	sender := serving(t, wrong, "SLUICE_CONSUME=off")
	whole(t, sender.url)
	sender.stop()
}

// Readings go through the hub, and straight to the store while it is away.
func TestThroughTheHub(t *testing.T) {
	t.Parallel()
	server := eventhubs.ForTest(t)
	hub := server.Hub(t, eventhubs.HubOptions{Partitions: 2})
	p := serving(t, "SLUICE_EVENTHUB="+hub.NamespaceString(), "SLUICE_EVENTHUB_NAME="+hub.Name)
	telemetry := p.url + "/api/v1/telemetry"
	do(t, "POST", telemetry, someReading("p", 1)).want(t, 202, `{"accepted":1,"rejected":0,"errors":[]}`)
	within(t, "consumed", func() bool { return count(t, p.url, "p") == 1 })
	do(t, "POST", p.url+"/api/v1/devices/q/telemetry", `{"v":1}`).want(t, 202)
	within(t, "consumed", func() bool { return count(t, p.url, "q") == 1 })
	do(t, "POST", telemetry, `{"deviceId":"p","metrics":{}}`).want(t, 400)
	do(t, "GET", p.url+"/readyz", "").want(t, 200, `{"status":"ready"}`)

	if err := hub.Refuse(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	do(t, "POST", telemetry, someReading("p", 2)).want(t, 200)
	if n := count(t, p.url, "p"); n != 2 {
		t.Error(n, "readings of 2 after 200")
	}
	for n := range 3 { // by then nobody asks the hub any more
		do(t, "POST", telemetry, someReading("p", 3+n)).want(t, 200)
	}
	degraded(t, p.url, "eventhub", "not available")
	if s := statusOf(t, p.url); s.Hub.Breaker != "open" || s.Hub.Reason == "" {
		t.Errorf("%+v", s.Hub)
	}
	do(t, "DELETE", p.url+"/api/v1/devices/q", "").want(t, 202)
	if n := count(t, p.url, "q"); n != 0 {
		t.Error("deletions wait for the hub")
	}

	if err := hub.Heal(t.Context()); err != nil {
		t.Fatal(err)
	}
	whole(t, p.url)
	do(t, "POST", telemetry, someReading("p", 6)).want(t, 202)
	within(t, "consumed", func() bool { return count(t, p.url, "p") == 6 })
	if s := statusOf(t, p.url); s.Hub.Breaker != "closed" || s.DeadLetters.Count != 0 {
		t.Errorf("%+v, dead letters: %+v", s.Hub, s.DeadLetters)
	}
	p.stop()
	for _, line := range []string{"event hub is away", "event hub is back"} {
		if n := strings.Count(p.log.String(), line); n != 1 {
			t.Errorf("%q is in the log %d times", line, n)
		}
	}
	if strings.Contains(p.log.String(), hub.Key()) {
		t.Error("the hub's key is in the log")
	}
}

// A process whose store is away when it starts takes readings all the same; both
// away, it says so at once.
func TestStoreIsAwayAtTheStartWithAHub(t *testing.T) {
	t.Parallel()
	hub := eventhubs.ForTest(t).Hub(t, eventhubs.HubOptions{Partitions: 2})
	server := azurite.ForTest(t)
	for i, mode := range []netfault.Mode{netfault.Refuse, netfault.BlackHole} {
		t.Run(mode.String(), func(t *testing.T) {
			device := fmt.Sprint("p", i)
			proxy := behind(t, server)
			mustSet(t, proxy, mode)
			p := command(t, []string{"SLUICE_ADDR=127.0.0.1:0", "SLUICE_RETENTION=forever", "SLUICE_EVENTHUB=" + hub.ConnectionString(),
				"SLUICE_TABLES=" + server.Account().At(proxy.Address()).ConnectionString()})
			p.begin()
			p.url = p.log.await(t, "listening").url
			for n := range 5 {
				do(t, "POST", p.url+"/api/v1/telemetry", someReading(device, n)).want(t, 202)
			}
			degraded(t, p.url, "store", "")
			do(t, "GET", p.url+"/api/v1/status", "").want(t, 200, `"eventhub":{`, `"reason":"`)
			if a := do(t, "GET", p.url+"/api/v1/devices", ""); a.status != 503 || a.header.Get("Retry-After") == "" {
				t.Error(a)
			}
			do(t, "DELETE", p.url+"/api/v1/devices/p", "").want(t, 503)
			do(t, "POST", p.url+"/consume", `{"Data":{"events":"[]"},"Metadata":{}}`).want(t, 500, "the store")

			if err := hub.Refuse(t.Context(), true); err != nil {
				t.Fatal(err)
			}
			within(t, "refused", func() bool {
				return do(t, "POST", p.url+"/api/v1/telemetry", someReading("q", 1)).status == 503
			})
			unready(t, p.url, `"status":"unready"`, "Event Hub")
			a := do(t, "POST", p.url+"/api/v1/telemetry", someReading("q", 1))
			if a.want(t, 503, `"code":"unavailable"`); a.header.Get("Retry-After") == "" {
				t.Error("no Retry-After:", a)
			}
			if err := hub.Heal(t.Context()); err != nil {
				t.Fatal(err)
			}
			degraded(t, p.url, "store", "")
			do(t, "POST", p.url+"/api/v1/telemetry", someReading(device, 5)).want(t, 202)

			mustSet(t, proxy, netfault.Pass)
			whole(t, p.url)
			within(t, "consumed", func() bool { return count(t, p.url, device) == 6 })
			p.stop()
		})
	}
}

// What would make another store of this one is no reason to fill the hub.
func TestAWrongStoreTakesNothingThroughTheHub(t *testing.T) {
	t.Parallel()
	hub := eventhubs.ForTest(t).Hub(t, eventhubs.HubOptions{Partitions: 2})
	account := azurite.ForTest(t).Account()
	onTables(t, []azurite.Account{account}).stop()
	p := command(t, []string{"SLUICE_ADDR=127.0.0.1:0", "SLUICE_EVENTHUB=" + hub.ConnectionString(), "SLUICE_SHARDS=5", "SLUICE_TABLES=" + account.ConnectionString()})
	p.begin()
	p.url = p.log.await(t, "listening").url
	unready(t, p.url, "set SLUICE_SHARDS=8")
	do(t, "POST", p.url+"/api/v1/telemetry", reading).want(t, 503)
	p.stop()
}

// A hub that cannot be read from the settings ends the start, with all else that
// is wrong, and shows nothing of them.
func TestWrongHub(t *testing.T) {
	t.Parallel()
	for _, connection := range []string{
		"c2VjcmV0LXNlY3JldA==", "Endpoint=https://x/;SharedAccessKeyName=a;SharedAccessKey=c2VjcmV0LXNlY3JldA==",
		"Endpoint=sb://ns.servicebus.windows.net/;SharedAccessKey=c2VjcmV0LXNlY3JldA==",
	} {
		p := command(t, []string{"SLUICE_ADDR=127.0.0.1:0", "SLUICE_TABLES=AccountKey=c2VjcmV0LXNlY3JldA==", "SLUICE_EVENTHUB=" + connection, "SLUICE_EVENTHUB_NAME=telemetry"})
		p.begin()
		code := p.code()
		lines := strings.Split(p.stderr.String(), "\n")
		if code != 2 || len(lines) != 3 || !strings.HasPrefix(lines[0], "SLUICE_TABLES: ") || !strings.HasPrefix(lines[1], "SLUICE_EVENTHUB: ") || strings.Contains(p.stderr.String()+p.log.String(), "c2VjcmV0") {
			t.Errorf("%q: exit code %d, %s", connection, code, &p.stderr)
		}
	}
}

func TestMayQueue(t *testing.T) {
	for _, c := range []struct {
		err error
		was bool
		may bool
	}{
		{fmt.Errorf("open: %w", store.ErrUnavailable), false, true},
		{store.ErrThrottled, false, true},
		{context.DeadlineExceeded, false, true},
		{errors.New("disk of ./data has 1 MiB left"), false, false},
		{errors.New("disk of ./data has 1 MiB left"), true, true},
		{fmt.Errorf("open: %w: %w", store.ErrDenied, store.ErrUnavailable), true, false},
		{engine.ErrMismatch, true, false},
		{store.ErrFormat, false, false},
	} {
		if got := mayQueue(c.err, c.was); got != c.may {
			t.Errorf("%v, was open: %v: %v", c.err, c.was, got)
		}
	}
}

// envelopeOf is a trigger's call with events of partition 0, from a sequence
// number on.
func envelopeOf(t *testing.T, hub string, first int, bodies ...string) string {
	t.Helper()
	var events [][]byte
	var offsets, times []string
	var numbers []int
	for i, body := range bodies {
		events, numbers = append(events, []byte(body)), append(numbers, first+i)
		offsets = append(offsets, fmt.Sprint(100*(first+i)))
		times = append(times, time.Now().UTC().Format("2006-01-02T15:04:05.000"))
	}
	text := func(v any) string { // as the host writes arrays
		inner, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		outer, _ := json.Marshal(string(inner))
		return string(outer)
	}
	return fmt.Sprintf(`{"Data":{"events":%s},"Metadata":{"PartitionContext":{"EventHubName":%q,"ConsumerGroup":"$Default","PartitionId":"0"},
		"OffsetArray":%s,"SequenceNumberArray":%s,"EnqueuedTimeUtcArray":%s}}`, text(events), hub, text(offsets), text(numbers), text(times))
}

// The host's calls are taken where the trigger is who consumes, with or without a
// hub for the process itself.
func TestTheTriggerConsumes(t *testing.T) {
	t.Parallel()
	t.Run("without a hub", func(t *testing.T) {
		t.Parallel()
		p := serving(t, "SLUICE_CONSUME=trigger")
		consume := func(first int, bodies ...string) answer {
			return do(t, "POST", p.url+"/consume", envelopeOf(t, "telemetry", first, bodies...))
		}
		consume(7, someReading("p", 1), someReading("p", 2)).want(t, 200, `"Outputs":{}`, "partition 0: 2 events, 2 readings")
		consume(8, someReading("p", 2), "no JSON").want(t, 200, "1 dead letters")
		consume(11, someReading("p", 4)).want(t, 500, "invocation_failed", "SLUICE_EVENTHUB")
		do(t, "POST", p.url+"/consume", `{"Metadata":{}}`).want(t, 500, "invalid_envelope")
		if n := count(t, p.url, "p"); n != 2 {
			t.Error(n, "readings of 2")
		}
		if s := statusOf(t, p.url); s.DeadLetters.Count != 1 || s.Hub != nil || s.Consumption != nil {
			t.Errorf("%+v", s)
		}
		p.stop()
	})
	t.Run("a gap", func(t *testing.T) {
		t.Parallel()
		hub := eventhubs.ForTest(t).Hub(t, eventhubs.HubOptions{Partitions: 1})
		p := serving(t, "SLUICE_CONSUME=trigger", "SLUICE_EVENTHUB="+hub.ConnectionString())
		for n := range 5 {
			putEvents(t, hub, eventhubs.Put{Body: []byte(someReading("p", n))})
		}
		within(t, "a lag", func() bool { lag := statusOf(t, p.url).Consumption.Lag; return lag != nil && *lag == 5 })
		do(t, "POST", p.url+"/consume", envelopeOf(t, "other", 3, someReading("p", 3))).want(t, 500, `\"other\"`)
		do(t, "POST", p.url+"/consume", envelopeOf(t, hub.Name, 3, someReading("p", 3), someReading("p", 4))).want(t, 200, "3 events reread")
		if n := count(t, p.url, "p"); n != 5 {
			t.Error(n, "readings of 5")
		}
		within(t, "no lag", func() bool { lag := statusOf(t, p.url).Consumption.Lag; return lag != nil && *lag == 0 })
		p.stop()
	})
}

// breaking is a storage that a test breaks.
type breaking struct {
	storage
	down  atomic.Bool
	opens atomic.Int32
	broke func(error)
}

func (b *breaking) open(broken func(error)) (backend, error) {
	if b.down.Load() {
		return nil, errors.New("disk of ./data has 1 MiB left")
	}
	b.broke = broken
	defer b.opens.Add(1)
	return b.storage.open(broken)
}

// A store that breaks and is opened again is noticed by nobody who sends readings
// to a hub.
func TestHandedOn(t *testing.T) {
	t.Parallel()
	hub := eventhubs.ForTest(t).Hub(t, eventhubs.HubOptions{Partitions: 2})
	var store *breaking
	url, log, stop := inProcessOver(t, defaultPatience, func(s storage) storage {
		store = &breaking{storage: s}
		return store
	}, "SLUICE_EVENTHUB="+hub.ConnectionString())
	over, sent := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		defer func() { sent <- n }()
		for ; ; n++ {
			select {
			case <-over:
				return
			default:
			}
			a, err := try(context.Background(), "POST", url+"/api/v1/telemetry", someReading("p", n))
			if err != nil || a.status != 202 {
				t.Error(a, err)
				return
			}
		}
	}()
	for range 3 {
		whole(t, url)
		store.down.Store(true)
		store.broke(errors.New("a write failed"))
		degraded(t, url, "store", "")
		store.down.Store(false)
	}
	whole(t, url)
	close(over)
	n := <-sent
	if opens := store.opens.Load(); opens != 4 {
		t.Error("opened", opens, "times")
	}
	within(t, "all consumed", func() bool { return count(t, url, "p") == n })
	if code := stop(); code != 0 {
		t.Error("exit code", code, log)
	}
}
