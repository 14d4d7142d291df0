package apptest

import (
	"context"
	"errors"
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
// (make soak: 30).
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
	torn      *world  // the devices that get conflicting values
	compared  int
	pages     int
}

// groups are devices by turns: those of one get new readings while those of the
// other get repeats.
var groups = [2][]string{{"even-0", "even-1", "even-2"}, {"odd-0", "odd-1", "odd-2"}}

func newFour(t *testing.T, seed uint64) *four {
	t.Helper()
	store := onTables(t, "")
	f := &four{dice: rand.New(rand.NewPCG(seed, 4)), torn: newWorld()}
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
			f.lookAtWritten(t, c, written, fresh)
			f.lookAtTorn(t, c)
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
		all.Go(func() { errs[i] = postParts(ctx, writers[i%len(writers)], mine, dice) })
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

func postParts(ctx context.Context, c service.Client, points []point, dice *rand.Rand) error {
	for len(points) > 0 {
		n := min(1+dice.IntN(60), len(points))
		messages := make([]message, n)
		for i, p := range points[:n] {
			messages[i] = message{DeviceID: p.device, TS: instant(p.at), Metrics: map[string]float64{metric: p.value}}
		}
		if err := postMessages(ctx, c, messages, nil); err != nil {
			return err
		}
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

// lookAtWritten reads a device that gets new readings just now: what it had is
// there, and nothing else but some of these.
func (f *four) lookAtWritten(t *testing.T, c service.Client, devices []string, fresh []point) {
	t.Helper()
	device := devices[f.dice.IntN(len(devices))]
	var found []point
	err := eachReading(t.Context(), c, device, f.torn.all(), func(at int64, metrics map[string]float64) error {
		found = append(found, point{device, at, metrics[metric]})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	wanted := map[int64]float64{}
	for _, p := range fresh {
		if p.device == device {
			wanted[p.at] = p.value
		}
	}
	maps.Copy(wanted, f.oracle.fleet[device])
	old := 0
	for i, p := range found {
		if value, ok := wanted[p.at]; !ok || value != p.value || i > 0 && p.at <= found[i-1].at {
			t.Fatalf("device %s at %s: %v is there, or twice; %v was sent (sent at all: %v)", device, instant(p.at), p.value, value, ok)
		}
		if _, ok := f.oracle.fleet[device][p.at]; ok {
			old++
		}
	}
	if n := len(f.oracle.fleet[device]); old != n {
		t.Fatalf("device %s: %d of %d readings that were acknowledged before are there", device, old, n)
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
