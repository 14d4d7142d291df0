package apptest

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"

	"sluice/devtools/azurite"
	"sluice/devtools/load/service"
	"sluice/devtools/netfault"
)

// outage is one of the way to the store.
type outage struct {
	mode   netfault.Mode
	length time.Duration
	// across: the service is killed while it lasts, and started again.
	across bool
}

// While nobody can reach the store, readings, questions and /readyz are answered
// with 503 and the reason; afterwards all is as if nothing had been.
func TestOutage(t *testing.T) {
	t.Parallel() // most of it is waiting
	azurite.ForTest(t)
	for _, mode := range shuffledModes(rand.New(rand.NewPCG(0, 0))) {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			testOutage(t, mode)
		})
	}
}

func testOutage(t *testing.T, mode netfault.Mode) {
	way := newWay(t)
	p := start(t, onTables(t, way.Address()), busy...)
	w := newWorld()
	w.devices, w.clients = 4, 4
	stopSending := w.send(t.Context(), 1, p.Client)
	w.await(t, "a body is acknowledged", stopSending, func() bool { return w.ledger.acknowledged() > 0 })
	if err := way.Set(mode); err != nil {
		t.Fatal(err)
	}
	w.away.Store(1)
	began := time.Now()
	awaitUnready(t, p)
	unready := time.Since(began)
	w.await(t, "a body is refused", stopSending, func() bool { return w.ledger.refused() > 0 })
	t.Logf("readyz said so after %s, a body was refused after %s at the latest", unready.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
	w.away.Store(0)
	if err := errors.Join(way.Set(netfault.Pass), p.AwaitReady(t.Context())); err != nil {
		t.Fatal(err)
	}
	n := w.ledger.acknowledged()
	w.await(t, "bodies are acknowledged again", stopSending, func() bool { return w.ledger.acknowledged() > n+w.clients })
	if err := stopSending(); err != nil {
		t.Fatal(err)
	}
	w.check(t, p.Client, "after the outage")
	if err := p.Stop(); err != nil {
		t.Error(err)
	}
}

// awaitUnready waits until the service says that it cannot accept readings, and
// sees a question refused and the process well.
func awaitUnready(t *testing.T, p *service.Process) {
	t.Helper()
	await(t, time.Minute, "readyz says 503", func() bool {
		return service.IsStatus(p.Ready(t.Context()), http.StatusServiceUnavailable)
	})
	var status *service.StatusError
	err := p.Get(t.Context(), "/api/v1/devices", nil, &struct{}{})
	if !errors.As(err, &status) || status.Status != http.StatusServiceUnavailable || status.RetryAfter == "" {
		t.Errorf("a question is answered with %v", err)
	}
	if err := p.Get(t.Context(), "/healthz", nil, &struct{}{}); err != nil {
		t.Errorf("healthz: %v", err)
	}
}

// longOutage is as long as one is in a long run.
const longOutage = 5 * time.Second

// shuffledModes are those that keep everybody from the store.
func shuffledModes(dice *rand.Rand) []netfault.Mode {
	modes := []netfault.Mode{netfault.Refuse, netfault.Reset, netfault.BlackHole, netfault.AnswerLost}
	dice.Shuffle(len(modes), func(i, j int) { modes[i], modes[j] = modes[j], modes[i] })
	return modes
}

// newWay is a proxy before Azurite.
func newWay(t *testing.T) *netfault.Proxy {
	t.Helper()
	way, err := netfault.Start(azurite.ForTest(t).Address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = way.Close() })
	return way
}

// breakNowAndThen breaks a way n times, with a few seconds between, until end is
// called, which waits until no outage is under way.
func breakNowAndThen(t *testing.T, way *netfault.Proxy, n int) (end func()) {
	t.Helper()
	dice := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 2))
	modes := shuffledModes(dice)
	stop := make(chan struct{})
	var breaking sync.WaitGroup
	breaking.Go(func() {
		for i := range n {
			select {
			case <-time.After(time.Duration(2000+dice.IntN(4000)) * time.Millisecond):
			case <-stop:
				t.Errorf("%d of %d outages came before the end: not what was to be shown", i, n)
				return
			}
			mode := modes[i%len(modes)]
			t.Logf("outage: %s for %s", mode, longOutage)
			if err := way.Set(mode); err != nil {
				t.Error(err)
			}
			time.Sleep(longOutage)
			if err := way.Set(netfault.Pass); err != nil {
				t.Error(err)
			}
		}
	})
	return func() {
		close(stop)
		breaking.Wait()
	}
}
