package apptest

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"sluice/devtools/load/service"
	"sluice/devtools/netfault"
)

// Load from 8 clients, kill -9 at a random moment, start again: every
// acknowledged reading is there once, with the value of the newest attempt.
// SLUICE_KILLS sets the rounds (make soak: 50). On tables, the way to them is
// broken now and then too, also while the service is starting.
func TestKill(t *testing.T) {
	n := rounds(t, "SLUICE_KILLS", 3)
	t.Run("embedded", func(t *testing.T) {
		k := newKilling(t, n)
		k.run(t, &alone{storage: embedded(t), env: busy})
	})
	t.Run("tables", func(t *testing.T) {
		k := newKilling(t, n)
		k.breakWay(t)
		k.run(t, &alone{storage: onTables(t, k.way.Address()), env: busy, excused: outageErrors})
	})
}

// runner keeps the service running.
type runner interface {
	// start starts what does not run, and returns where the service is reached.
	start(t *testing.T) service.Client
	// kill ends the service with SIGKILL.
	kill(t *testing.T)
	// stop ends the service well; errors in its log are failures of the test.
	stop(t *testing.T)
}

// alone is the service by itself.
type alone struct {
	storage storage
	env     []string
	excused []error // that it may log
	process *service.Process
}

func (a *alone) start(t *testing.T) service.Client {
	t.Helper()
	a.process = start(t, a.storage, a.env...)
	return a.process.Client
}

func (a *alone) kill(t *testing.T) {
	t.Helper()
	if err := a.process.Kill(); err != nil {
		t.Fatal(err)
	}
	noErrors(t, a.process, a.excused...)
}

func (a *alone) stop(t *testing.T) {
	t.Helper()
	stop(t, a.process, a.excused...)
}

// killing is a series of kills, and of outages between them.
type killing struct {
	world *world
	dice  *rand.Rand
	kills int

	way     *netfault.Proxy // to the store; nil: it is never broken
	outages map[int]outage  // by round
}

func newKilling(t *testing.T, kills int) *killing {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	return &killing{world: newWorld(), dice: rand.New(rand.NewPCG(seed, 1)), kills: kills}
}

// breakWay puts a proxy before Azurite and plans outages: a short one for few
// kills, three of 5 s for many.
func (k *killing) breakWay(t *testing.T) {
	t.Helper()
	k.way, k.outages = newWay(t), map[int]outage{}
	modes := shuffledModes(k.dice)
	if k.kills < 10 {
		k.outages[k.kills/2] = outage{mode: modes[0], length: 2 * time.Second, across: true}
		return
	}
	for i, mode := range modes[:3] {
		k.outages[(2*i+1)*k.kills/6] = outage{mode: mode, length: longOutage, across: i == 1}
	}
}

func (k *killing) run(t *testing.T, r runner) {
	c := r.start(t)
	for round := range k.kills {
		c = k.round(t, r, c, round)
	}
	if err := c.AwaitMerged(t.Context()); err != nil {
		t.Fatal(err)
	}
	k.world.check(t, c, "all merged")
	r.stop(t)
	k.world.check(t, r.start(t), "after a stop")
	r.stop(t)
	l := k.world.ledger
	t.Logf("%d kills, %d outages: %d bodies of %d readings acknowledged, %d bodies refused, %d places",
		k.kills, len(k.outages), l.bodies, l.readings, l.failed, len(l.attempts))
	if l.readings == 0 {
		t.Error("nothing was acknowledged: the test has shown nothing")
	}
}

// round is load, perhaps an outage, a kill, and a look at what is left.
func (k *killing) round(t *testing.T, r runner, c service.Client, round int) service.Client {
	t.Helper()
	life := time.Duration(k.dice.IntN(2500)) * time.Millisecond
	if k.dice.IntN(5) == 0 {
		life = time.Duration(k.dice.IntN(100)) * time.Millisecond
	}
	stop := k.world.send(t.Context(), k.dice.Uint64(), c)
	time.Sleep(life)
	o, broken := k.outages[round]
	if broken {
		k.begin(t, o, round)
		time.Sleep(o.length)
	}
	if broken && !o.across {
		k.end(t)
		time.Sleep(life)
	}
	r.kill(t)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	k.world.ledger.crash(never)
	if round%10 == 9 {
		t.Logf("%d of %d kills, %d bodies acknowledged", round+1, k.kills, k.world.ledger.bodies)
	}
	c = r.start(t)
	if broken && o.across {
		k.startBroken(t, c, o)
	}
	k.world.check(t, c, fmt.Sprintf("after kill %d, %s after the start of the load", round+1, life))
	return c
}

func (k *killing) begin(t *testing.T, o outage, round int) {
	t.Helper()
	t.Logf("round %d: outage, %s for %s", round+1, o.mode, o.length)
	if err := k.way.Set(o.mode); err != nil {
		t.Fatal(err)
	}
	k.world.away.Store(int64(round + 1))
}

func (k *killing) end(t *testing.T) {
	t.Helper()
	k.world.away.Store(0)
	if err := k.way.Set(netfault.Pass); err != nil {
		t.Fatal(err)
	}
}

// startBroken sees a service started while the store is away say so, and find
// the store when it is back.
func (k *killing) startBroken(t *testing.T, c service.Client, o outage) {
	t.Helper()
	if err := c.Ready(t.Context()); !service.IsStatus(err, 503) {
		t.Errorf("started with the store away (%s): ready is answered with %v", o.mode, err)
	}
	k.end(t)
	if err := c.AwaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
}
