package apptest

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/devtools/azurite"
	"sluice/devtools/eventhubs"
	"sluice/devtools/host"
	"sluice/devtools/load/service"
	"sluice/devtools/netfault"
	"sluice/telemetry/block"
	"sluice/telemetry/event"
)

// hubRun is how much a run of the service behind a hub sees.
type hubRun struct {
	seed     uint64
	devices  int
	places   int // of a device: the fewer, the more conflicts
	readings int // acknowledged
	kills    int
	outages  map[int]netfault.Mode // of the store, by round; the rounds end with a kill
	outage   time.Duration
	retry    string // the longest pause before a call is tried again; "": as function.json says
}

// The path through the hub from end to end, under the Functions host over
// Azurite: a share of the requests and of the events comes twice, the latter in
// other cuts, values conflict, links to the hub are cut all the time, the service is
// killed and the host stopped by that, the store goes away, and a batch that failed
// is checkpointed all the same. Every acknowledged reading is there once, with the
// right value, and none that was never sent. SLUICE_HUB_SEEDS sets the number of
// long runs, of seeds 1, 2, … (make soak: 3).
func TestHubUnderHost(t *testing.T) {
	azurite.ForTest(t)
	eventhubs.ForTest(t)
	if os.Getenv("SLUICE_HUB_SEEDS") == "" {
		t.Parallel() // much of it is waiting
		r := hubRun{
			seed: uint64(time.Now().UnixNano()), devices: 40, places: 400, readings: 8_000, kills: 4,
			outages: map[int]netfault.Mode{1: netfault.Refuse}, outage: 3 * time.Second, retry: "00:00:02",
		}
		r.run(t)
		return
	}
	for seed := range rounds(t, "SLUICE_HUB_SEEDS", 1) {
		t.Run(fmt.Sprint("seed ", seed+1), func(t *testing.T) {
			r := hubRun{
				seed: uint64(seed + 1), devices: 1_000, places: 400, readings: 200_000, kills: 10,
				outages: map[int]netfault.Mode{3: netfault.Refuse, 7: netfault.BlackHole}, outage: 10 * time.Second,
			}
			r.run(t)
		})
	}
}

// What comes twice.
const (
	repeatedRequests  = 0.01
	redeliveredEvents = 0.05
)

// hubWorld is a run under way.
type hubWorld struct {
	*hubRun
	world *world
	host  *underHost
	hub   eventhubs.Hub
	hubs  *host.Hubs
	way   *netfault.Proxy // to the store
	dice  *rand.Rand
}

func (r *hubRun) run(t *testing.T) {
	t.Logf("seed %d", r.seed)
	w := r.start(t)
	c := w.host.start(t)
	for round := range r.kills {
		c = w.round(t, c, round)
	}
	w.settle(t, c)
	w.told(t, c)
}

func (r *hubRun) start(t *testing.T) *hubWorld {
	t.Helper()
	hub := eventhubs.ForTest(t).Hub(t, eventhubs.HubOptions{})
	hubs, err := host.NewHubs(host.HubOptions{Seed: r.seed, Cut: true, Redeliver: redeliveredEvents})
	if err != nil {
		t.Fatal(err)
	}
	w := &hubWorld{hubRun: r, world: newWorld(), hub: hub, hubs: hubs, way: newWay(t), dice: rand.New(rand.NewPCG(r.seed, 3))}
	w.world.devices, w.world.places, w.world.repeated = r.devices, r.places, repeatedRequests
	w.world.hosted, w.world.patient = true, true
	mode := hostModes[r.seed%uint64(len(hostModes))]
	w.host = &underHost{root: appRoot(t), mode: mode, storage: onTables(t, w.way.Address()), hubs: hubs}
	w.host.env = append(slices.Clone(busy), "SLUICE_EVENTHUB="+hub.ConnectionString(), "SLUICE_EVENTHUB_NAME="+hub.Name, "SLUICE_CONSUMER_GROUP=$Default")
	w.host.add(t, "consume")
	if r.retry != "" {
		w.host.edit(t, "consume", `"maximumInterval": *"[^"]*"`, `"maximumInterval": "`+r.retry+`"`)
	}
	if err := hub.CutLinksEvery(t.Context(), time.Second); err != nil {
		t.Fatal(err)
	}
	return w
}

// add adds one of the app root's functions.
func (u *underHost) add(t *testing.T, function string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", function, "function.json"))
	if err == nil {
		err = os.Mkdir(filepath.Join(u.root, function), 0o755)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(u.root, function, "function.json"), text, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// batchesOfRound are consumed in a round, at least.
const batchesOfRound = 20

// round is load, perhaps an outage of the store, and a kill under load.
func (w *hubWorld) round(t *testing.T, c service.Client, round int) service.Client {
	t.Helper()
	due, batches := w.world.ledger.sum()+w.readings/w.kills, w.hubs.Counts().Batches+batchesOfRound
	stop := w.world.send(t.Context(), w.dice.Uint64(), c)
	if mode, broken := w.outages[round]; broken {
		w.breakStore(t, mode, stop)
	}
	w.world.await(t, fmt.Sprint(due, " readings are acknowledged"), stop, func() bool { return w.world.ledger.sum() >= due })
	w.world.await(t, fmt.Sprint(batches, " batches are consumed"), stop, func() bool { return w.hubs.Counts().Batches >= batches })
	w.host.kill(t)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	w.world.ledger.crash(never)
	t.Logf("round %d: %d bodies acknowledged, %d refused, %+v", round+1, w.world.ledger.acknowledged(), w.world.ledger.refused(), w.hubs.Counts())
	return w.host.start(t)
}

// breakStore has the store go away: readings are acknowledged all along, and what
// cannot be consumed waits. One batch is given up by the host the first time.
func (w *hubWorld) breakStore(t *testing.T, mode netfault.Mode, stop func() error) {
	t.Helper()
	ends := time.Now().Add(w.outage)
	if err := w.way.Set(mode); err != nil {
		t.Fatal(err)
	}
	if w.hubs.Counts().GivenUp == 0 {
		w.hubs.GiveUp()
	}
	n := w.world.queued.Load()
	w.world.await(t, "bodies wait in the hub while the store is away", stop, func() bool { return w.world.queued.Load() > n+2*int64(w.world.clients) })
	w.world.await(t, "the host has given a batch up", stop, func() bool { return w.hubs.Counts().GivenUp > 0 })
	time.Sleep(time.Until(ends))
	if err := w.way.Set(netfault.Pass); err != nil {
		t.Fatal(err)
	}
}

// settle compares what is there with what was acknowledged, once all is consumed
// and again once it is merged.
func (w *hubWorld) settle(t *testing.T, c service.Client) {
	t.Helper()
	if err := c.AwaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.AwaitConsumed(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.check(t, c, "all consumed")
	if err := c.AwaitMerged(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.check(t, c, "all merged")
}

// check is the world's, and tells of what is wrong also how it came to the hub.
func (w *hubWorld) check(t *testing.T, c service.Client, when string) {
	t.Helper()
	for i := range w.devices {
		err := w.world.checkDevice(t.Context(), c, deviceName(i))
		if wrong := (*wrongReading)(nil); errors.As(err, &wrong) {
			lines := append(w.world.ledger.tell(wrong.place), w.inHub(t, wrong.place)...)
			t.Fatalf("%s: %v\n%s", when, err, strings.Join(lines, "\n"))
		}
		if err != nil {
			t.Fatalf("%s: %v", when, err)
		}
	}
}

// inHub says which events have a reading, for people.
func (w *hubWorld) inHub(t *testing.T, p place) (lines []string) {
	partitions, err := w.hub.Partitions(t.Context())
	if err != nil {
		return []string{err.Error()}
	}
	for _, partition := range partitions {
		events, err := w.hub.Contents(t.Context(), partition.ID)
		if err != nil {
			return append(lines, err.Error())
		}
		for _, e := range events {
			devices, err := event.Decode(e.Body)
			if err != nil {
				lines = append(lines, fmt.Sprintf("partition %s, event %d: %v", partition.ID, e.Sequence, err))
			}
			for _, found := range readingsOf(devices, p) {
				lines = append(lines, fmt.Sprintf("partition %s, event %d of %s: %s", partition.ID, e.Sequence, instant(e.Enqueued.UnixNano()), found))
			}
		}
	}
	return lines
}

// told wants what was to be shown to have been there, and nothing to be lost.
func (w *hubWorld) told(t *testing.T, c service.Client) {
	t.Helper()
	s, err := c.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if s.DeadLetters == nil || s.DeadLetters.Count != 0 || s.Consumption.LostEvents != 0 {
		t.Errorf("dead letters %+v, consumption %+v", s.DeadLetters, s.Consumption)
	}
	w.host.noErrors(t, hubErrors...)
	w.host.stop(t)
	l, counts := w.world.ledger, w.hubs.Counts()
	t.Logf("%d bodies of %d readings acknowledged, %d of them in the hub, %d repeated, %d refused; %d places; %+v; the host was stopped %d times",
		l.bodies, l.readings, w.world.queued.Load(), l.repeats, l.failed, len(l.attempts), counts, w.host.stopped)
	if counts.GivenUp != 1 || counts.Redelivered == 0 || l.repeats == 0 || w.host.stopped != w.kills/crashesToStop {
		t.Error("not what was to be shown")
	}
}

// readingsOf are the readings of a place, for people.
func readingsOf(devices []block.Device, p place) (found []string) {
	for _, d := range devices {
		for row, at := range d.Readings.Times {
			if d.ID != p.device || at != p.at {
				continue
			}
			text := fmt.Sprintf("stamp %d", d.Readings.Stamps[row])
			for _, c := range d.Readings.Columns {
				for i := range c.Len() {
					if c.Row(i) == row {
						text += fmt.Sprintf(" %s=%v", c.Name, math.Float64frombits(c.Value(i).Bits))
					}
				}
			}
			found = append(found, text)
		}
	}
	return found
}
