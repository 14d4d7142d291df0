package apptest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/devtools/load/service"
)

// Two instances write the same devices while a third and a fourth compact. Each
// is asked all the time, and each answer is the oracle's: exactly for devices
// that get only repeats meanwhile, by what was acknowledged for those that get
// new readings, and with either of conflicting values for those that get these,
// the same from everybody in the end. SLUICE_INSTANCE_ROUNDS sets the rounds
// (make soak: 20).
func TestInstances(t *testing.T) {
	n := rounds(t, "SLUICE_INSTANCE_ROUNDS", 2)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	f := newFour(t, seed)
	for round := range n {
		f.round(t, round)
	}
	f.settle(t)
	t.Logf("%d rounds: %d buckets of 10 aggregates and %d pages compared while written; conflicts: %d bodies of %d readings acknowledged, %d refused",
		n, f.compared, f.pages, f.torn.ledger.bodies, f.torn.ledger.readings, f.torn.ledger.failed)
	if f.compared == 0 || f.pages == 0 || f.torn.ledger.readings == 0 {
		t.Error("the test has shown nothing")
	}
}

// four are instances of one service, the first two of which write and the others
// compact, and what they must answer.
type four struct {
	instances []*service.Process
	dice      *rand.Rand
	base      int64
	oracle    *stream // of the devices of both groups
	arrived   *arrivals
	torn      *world // the devices that get conflicting values
	compared  int
	pages     int
}

// groups are devices by turns: those of one get new readings while those of the
// other get repeats.
var groups = [2][]string{{"even-0", "even-1", "even-2"}, {"odd-0", "odd-1", "odd-2"}}

func newFour(t *testing.T, seed uint64) *four {
	t.Helper()
	store := onTables(t, "")
	f := &four{dice: rand.New(rand.NewPCG(seed, 4)), torn: newWorld(), arrived: &arrivals{times: map[string]map[int64]bool{}}}
	f.base, f.torn.devices, f.torn.places, f.torn.clients = f.torn.base, 4, 1_000, 2
	for _, merge := range []string{"1d", "1d", "200ms", "300ms"} {
		p := start(t, store, "SLUICE_RETENTION=forever", "SLUICE_MERGE="+merge)
		f.instances = append(f.instances, p)
	}
	f.oracle = newStream(f.instances[0].Client)
	return f
}

func (f *four) clients() (clients []service.Client) {
	for _, p := range f.instances {
		clients = append(clients, p.Client)
	}
	return clients
}

// round posts new readings of one group and repeats of both to the writers,
// from several sides, while everybody is asked.
func (f *four) round(t *testing.T, round int) {
	t.Helper()
	written, settled := groups[round%2], groups[1-round%2]
	fresh := f.fresh(written)
	clients := f.clients()
	stopTorn := f.torn.send(t.Context(), f.dice.Uint64(), clients[:2]...)
	posted := f.post(t.Context(), clients[:2], fresh)
	for posting := true; posting; {
		select {
		case <-posted.done:
			posting = false // and once more
		default:
		}
		for _, c := range clients {
			f.ask(t, c, settled)
			for range 5 {
				f.lookAtWritten(t, clients[f.dice.IntN(len(clients))], written, fresh)
				f.lookAtTorn(t, clients[f.dice.IntN(len(clients))])
			}
		}
	}
	if err := errors.Join(posted.err, stopTorn()); err != nil {
		t.Fatalf("round %d: %v", round, err)
	}
	f.oracle.add(fresh)
	for _, c := range clients {
		f.ask(t, c, written)
	}
}

// fresh are readings at any time of three days, none of them known before.
func (f *four) fresh(devices []string) (points []point) {
	const each = 150
	for _, device := range devices {
		known := map[int64]bool{}
		for len(known) < each {
			at := someTime(f.base, f.dice.IntN(16_000))
			if _, old := f.oracle.fleet[device][at]; old || known[at] {
				continue
			}
			known[at] = true
			points = append(points, point{device, at, f.dice.NormFloat64() * 1e3})
		}
	}
	return points
}

// arrivals are the readings that were acknowledged: a device's times.
type arrivals struct {
	mu    sync.Mutex
	times map[string]map[int64]bool
}

func (a *arrivals) add(points []point) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, p := range points {
		if a.times[p.device] == nil {
			a.times[p.device] = map[int64]bool{}
		}
		a.times[p.device][p.at] = true
	}
}

func (a *arrivals) of(device string) map[int64]bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return maps.Clone(a.times[device])
}

// posting is a number of posts under way.
type posting struct {
	done chan struct{}
	err  error // once done is closed
}

// post sends points to each of the writers, from two sides, in an order of their
// own, and old ones between them.
func (f *four) post(ctx context.Context, writers []service.Client, points []point) *posting {
	const sides = 2
	var all sync.WaitGroup
	errs := make([]error, sides*len(writers))
	for i := range errs {
		dice := rand.New(rand.NewPCG(f.dice.Uint64(), uint64(i)))
		mine := slices.Concat(points, f.someOld(len(points)))
		dice.Shuffle(len(mine), func(i, j int) { mine[i], mine[j] = mine[j], mine[i] })
		all.Go(func() { errs[i] = f.postParts(ctx, writers[i%len(writers)], mine, dice) })
	}
	p := &posting{done: make(chan struct{})}
	go func() {
		all.Wait()
		p.err = errors.Join(errs...)
		close(p.done)
	}()
	return p
}

// someOld are n readings of any device that were acknowledged, if there are any.
func (f *four) someOld(n int) (points []point) {
	var all []point
	for device, readings := range f.oracle.fleet {
		for at, value := range readings {
			all = append(all, point{device, at, value})
		}
	}
	for range min(n, len(all)) {
		points = append(points, all[f.dice.IntN(len(all))])
	}
	return points
}

func (f *four) postParts(ctx context.Context, c service.Client, points []point, dice *rand.Rand) error {
	for len(points) > 0 {
		n := min(1+dice.IntN(60), len(points))
		messages := make([]message, n)
		for i, p := range points[:n] {
			messages[i] = message{DeviceID: p.device, TS: instant(p.at), Metrics: map[string]float64{metric: p.value}}
		}
		if err := postMessages(ctx, c, messages, nil); err != nil {
			return err
		}
		f.arrived.add(points[:n])
		points = points[n:]
	}
	return nil
}

// ask asks an instance for devices that get nothing new, alone and as a fleet:
// each bucket must be the oracle's.
func (f *four) ask(t *testing.T, c service.Client, devices []string) {
	t.Helper()
	if f.oracle.fleet[devices[0]] == nil {
		return
	}
	f.oracle.client = c
	list := strings.Join(devices, ",")
	f.compared += f.oracle.checkAll(t, ofFleet("device="+list, map[string][]string{"": devices}))
	f.compared += f.oracle.checkAll(t, ofDevice(devices[f.dice.IntN(len(devices))]))
}

// lookAtWritten reads a device that gets new readings just now: what was
// acknowledged before is there, and nothing else but what is sent.
func (f *four) lookAtWritten(t *testing.T, c service.Client, devices []string, fresh []point) {
	t.Helper()
	device := devices[f.dice.IntN(len(devices))]
	sent := maps.Clone(f.oracle.fleet[device])
	if sent == nil {
		sent = map[int64]float64{}
	}
	for _, p := range fresh {
		if p.device == device {
			sent[p.at] = p.value
		}
	}
	missing, last := f.arrived.of(device), int64(0)
	err := eachReading(t.Context(), c, device, f.torn.all(), func(at int64, metrics map[string]float64) error {
		if value, ok := sent[at]; !ok || metrics[metric] != value || at <= last {
			return fmt.Errorf("%v after %s; %v was sent (at all: %v)", metrics, instant(last), value, ok)
		}
		last = at
		delete(missing, at)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(missing) > 0 {
		t.Fatalf("device %s: %d readings were acknowledged before the question and are not in the answer", device, len(missing))
	}
	f.pages++
}

// lookAtTorn reads a device that gets conflicting values just now.
func (f *four) lookAtTorn(t *testing.T, c service.Client) {
	t.Helper()
	by := f.torn.ledger.now()
	device := deviceName(f.dice.IntN(f.torn.devices))
	found, err := f.torn.page(t.Context(), c, device)
	if err == nil {
		err = f.torn.ledger.verify(device, found, by)
	}
	if err != nil {
		t.Fatal(err)
	}
	f.pages++
}

// settle waits until all is merged: everybody answers the same then.
func (f *four) settle(t *testing.T) {
	t.Helper()
	clients := f.clients()
	if err := clients[2].AwaitMerged(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, group := range groups {
		for _, c := range clients {
			f.ask(t, c, group)
		}
	}
	for i := range f.torn.devices {
		device := deviceName(i)
		first, err := f.torn.page(t.Context(), clients[0], device)
		if err == nil {
			err = f.torn.ledger.verify(device, first, never)
		}
		if err != nil {
			t.Fatal(err)
		}
		for j, c := range clients[1:] {
			if found, err := f.torn.page(t.Context(), c, device); err != nil || !slices.Equal(found, first) {
				t.Fatalf("device %s: instance %d has %d readings, instance 0 has %d, or others (%v)", device, j+1, len(found), len(first), err)
			}
		}
	}
	for _, p := range f.instances {
		stop(t, p)
	}
}
