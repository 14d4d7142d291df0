package apptest

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"sluice/devtools/azurite"
	"sluice/devtools/netfault"
)

// outage is one of the way to the store.
type outage struct {
	mode   netfault.Mode
	length time.Duration
	// across: the service is killed while it lasts, and started again.
	across bool
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
