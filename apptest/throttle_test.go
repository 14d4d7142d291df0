package apptest

import (
	"testing"
	"time"

	"sluice/devtools/azurite"
	"sluice/devtools/throttle"
)

// A Table service that is too busy for a third of all it is asked, and fails
// now and then without saying what it did: slower, never wrong.
// SLUICE_THROTTLED_BODIES sets the bodies (make soak: 3,000).
func TestThrottled(t *testing.T) {
	t.Parallel() // much of it is waiting
	n := rounds(t, "SLUICE_THROTTLED_BODIES", 60)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	way, err := throttle.Start(azurite.ForTest(t).Address(), throttle.Options{Seed: seed, Busy: 0.3, Internal: 0.01})
	if err != nil {
		t.Fatal(err)
	}
	defer way.Close()
	w := newWorld()
	p := start(t, onTables(t, way.Address()), busy...)
	stopSending := w.send(t.Context(), seed, p.Client)
	w.await(t, "the bodies are acknowledged", stopSending, func() bool { return w.ledger.acknowledged() >= n })
	if err := stopSending(); err != nil {
		t.Fatal(err)
	}
	asking, refused := patient(p.Client)
	w.check(t, asking, "throttled")
	loaded := way.Counts()
	way.Set(throttle.Options{})
	if err := p.AwaitMerged(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.check(t, p.Client, "all merged")
	t.Logf("%+v; %d bodies of %d readings acknowledged, %d refused; %d questions refused",
		loaded, w.ledger.bodies, w.ledger.readings, w.ledger.failed, refused.refused.Load())
	if loaded.Busy == 0 || loaded.Internal+loaded.Done == 0 {
		t.Errorf("nothing was throttled: %+v", loaded)
	}
}
