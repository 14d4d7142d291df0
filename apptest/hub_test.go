package apptest

import (
	"context"
	"errors"
	"net/http"
	"os"
	"slices"
	"testing"
	"time"

	"sluice/devtools/azurite"
	"sluice/devtools/eventhubs"
	"sluice/devtools/load/service"
	"sluice/devtools/netfault"
	"sluice/hub"
)

// hubErrors are what a service may complain about if its hub was away.
var hubErrors = []error{hub.ErrUnavailable, hub.ErrBusy, context.DeadlineExceeded}

// withHub are the settings of a service that reads a hub itself.
func withHub(h eventhubs.Hub) []string {
	return append(slices.Clone(busy), "SLUICE_EVENTHUB="+h.ConnectionString())
}

// hubFault is a hub, and a way for it to be away.
type hubFault struct {
	hub        eventhubs.Hub
	begin, end func(context.Context) error
}

// hubFaults are the ways of a hub to be away, each with a hub of its own.
var hubFaults = map[string]func(*testing.T) hubFault{
	"stopped": func(t *testing.T) hubFault {
		s := hubServer(t)
		return hubFault{s.Hub(t, eventhubs.HubOptions{}), s.Stop, s.Restart}
	},
	"cut": func(t *testing.T) hubFault {
		h := eventhubs.ForTest(t).Hub(t, eventhubs.HubOptions{})
		refuse := func(on bool) func(context.Context) error {
			return func(ctx context.Context) error { return h.Refuse(ctx, on) }
		}
		return hubFault{h, refuse(true), refuse(false)}
	},
	"busy": func(t *testing.T) hubFault {
		h := eventhubs.ForTest(t).Hub(t, eventhubs.HubOptions{})
		return hubFault{h, func(ctx context.Context) error { return h.Busy(ctx, 1, 1) }, h.Heal}
	},
	// It keeps what it is sent, and does not say so.
	"silent": func(t *testing.T) hubFault {
		h := eventhubs.ForTest(t).Hub(t, eventhubs.HubOptions{})
		return hubFault{h, func(ctx context.Context) error { return h.Delay(ctx, time.Hour) }, h.Heal}
	},
	"black hole": func(t *testing.T) hubFault {
		s := eventhubs.ForTest(t)
		way, err := netfault.Start(s.Address())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = way.Close() })
		set := func(mode netfault.Mode) func(context.Context) error {
			return func(context.Context) error { return way.Set(mode) }
		}
		return hubFault{s.Hub(t, eventhubs.HubOptions{}).At(way.Address()), set(netfault.BlackHole), set(netfault.Pass)}
	},
}

// hubServer is a stand-in of the test's own, which it may stop.
func hubServer(t *testing.T) *eventhubs.Server {
	t.Helper()
	eventhubs.ForTest(t) // skips if it is not installed
	s, err := eventhubs.Start(t.Context(), eventhubs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// hubOutage is how long a hub or a store behind it is away, SLUICE_HUB_OUTAGE
// (make soak: 60s).
func hubOutage(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("SLUICE_HUB_OUTAGE")
	if text == "" {
		return 3 * time.Second
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		t.Fatalf("SLUICE_HUB_OUTAGE=%q: a duration would be right", text)
	}
	return d
}

// The hub is away under load: readings go to the store meanwhile (200), and to
// the hub again by itself afterwards (202). No request fails but those in flight,
// and every acknowledged reading is there once.
func TestHubOutage(t *testing.T) {
	t.Parallel() // most of it is waiting
	for name, fault := range hubFaults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testHubOutage(t, fault(t))
		})
	}
}

func testHubOutage(t *testing.T, f hubFault) {
	p := start(t, embedded(t), withHub(f.hub)...)
	w := newWorld()
	w.clients = 4
	stopSending := w.send(t.Context(), 1, p.Client)
	more(t, w, stopSending, "bodies wait in the hub", w.queued.Load)
	await(t, time.Minute, "each partition is read", func() bool { return isRead(t, f.hub) })
	if err := f.begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	more(t, w, stopSending, "bodies go to the store", w.direct.Load)
	awaitReadiness(t, p, "degraded")
	time.Sleep(hubOutage(t))
	more(t, w, stopSending, "bodies still go to the store", w.direct.Load)
	if err := f.end(t.Context()); err != nil {
		t.Fatal(err)
	}
	more(t, w, stopSending, "bodies wait in the hub again", w.queued.Load)
	awaitReadiness(t, p, "ready")
	if err := stopSending(); err != nil {
		t.Fatal(err)
	}
	if n := w.ledger.refused(); n > w.clients {
		t.Errorf("%d bodies were refused, more than the %d that can have been in flight", n, w.clients)
	}
	checkConsumed(t, w, p)
	stop(t, p, hubErrors...)
}

// isRead says whether each partition of a hub has a reader.
func isRead(t *testing.T, h eventhubs.Hub) bool {
	t.Helper()
	partitions, err := h.Partitions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return !slices.ContainsFunc(partitions, func(p eventhubs.Partition) bool { return len(p.Readers) == 0 })
}

// more waits until each client must have seen a count grow.
func more(t *testing.T, w *world, stop func() error, what string, count func() int64) {
	t.Helper()
	n := count()
	w.await(t, what, stop, func() bool { return count() > n+2*int64(w.clients) })
}

// awaitReadiness waits until /readyz says 200 and a word.
func awaitReadiness(t *testing.T, p *service.Process, word string) {
	t.Helper()
	await(t, time.Minute, "readyz says "+word, func() bool {
		var r struct{ Status string }
		return p.Get(t.Context(), "/readyz", nil, &r) == nil && r.Status == word
	})
}

// checkConsumed compares all that the service has with the ledger, once the hub
// is consumed, and again once all is merged.
func checkConsumed(t *testing.T, w *world, p *service.Process) {
	t.Helper()
	if err := p.AwaitConsumed(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.check(t, p.Client, "consumed")
	if err := p.AwaitMerged(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.check(t, p.Client, "all merged")
	t.Logf("%d bodies waited in the hub, %d went to the store, %d were refused; the slowest answer took %s",
		w.queued.Load(), w.direct.Load(), w.ledger.refused(), time.Duration(w.slowest.Load()).Round(time.Millisecond))
}

// The store is away when the service starts, and again under load: readings wait
// in the hub all along (202). With the hub away too they are refused; afterwards
// all is there.
func TestStoreOutageBehindHub(t *testing.T) {
	t.Parallel() // most of it is waiting
	azurite.ForTest(t)
	h := eventhubs.ForTest(t).Hub(t, eventhubs.HubOptions{})
	way := newWay(t)
	set := func(mode netfault.Mode) {
		t.Helper()
		if err := way.Set(mode); err != nil {
			t.Fatal(err)
		}
	}
	refuse := func(on bool) {
		t.Helper()
		if err := h.Refuse(t.Context(), on); err != nil {
			t.Fatal(err)
		}
	}

	set(netfault.Refuse)
	p := start(t, onTables(t, way.Address()), withHub(h)...)
	w := newWorld()
	w.clients = 4
	stopSending := w.send(t.Context(), 1, p.Client)
	more(t, w, stopSending, "bodies wait in the hub from the start", w.queued.Load)
	awaitReadiness(t, p, "degraded")
	time.Sleep(hubOutage(t))
	more(t, w, stopSending, "bodies still wait in the hub", w.queued.Load)
	set(netfault.Pass)
	awaitReadiness(t, p, "ready")
	more(t, w, stopSending, "bodies wait in the hub with the store there", w.queued.Load)

	set(netfault.BlackHole)
	awaitReadiness(t, p, "degraded")
	time.Sleep(hubOutage(t))
	more(t, w, stopSending, "bodies wait in the hub with the store away again", w.queued.Load)
	if n, m := w.ledger.refused(), w.direct.Load(); n > 0 || m > 0 {
		t.Errorf("with the hub there, %d bodies were refused, and %d went to the store", n, m)
	}

	refuse(true)
	w.away.Store(1)
	w.await(t, "bodies are refused", stopSending, func() bool { return w.ledger.refused() > 2*w.clients })
	await(t, time.Minute, "readyz says 503", func() bool {
		return service.IsStatus(p.Ready(t.Context()), http.StatusServiceUnavailable)
	})
	w.away.Store(0)
	refuse(false)
	more(t, w, stopSending, "bodies wait in the hub once it is back", w.queued.Load)
	set(netfault.Pass)
	if err := errors.Join(p.AwaitReady(t.Context()), stopSending()); err != nil {
		t.Fatal(err)
	}
	checkConsumed(t, w, p)
	stop(t, p, append(slices.Clone(outageErrors), hubErrors...)...)
}
