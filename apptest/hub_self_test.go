package apptest

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/devtools/azurite"
	"sluice/devtools/eventhubs"
	"sluice/devtools/load/service"
	"sluice/devtools/netfault"
)

// Two processes ingest into a hub, share its partitions, and merge over Azurite,
// as TestHubUnderHost has it under the host: requests and events come twice, the
// latter in other cuts, values conflict, links are cut all the time, the store goes
// away, and one of the two is killed again and again, so that the other takes its
// partitions over. Every acknowledged reading is there once, with the right value,
// and none that was never sent. SLUICE_HUB_SEEDS sets the number of long runs, of
// seeds 1, 2, … (make soak: 3).
func TestHubShared(t *testing.T) {
	azurite.ForTest(t)
	eventhubs.ForTest(t)
	if os.Getenv("SLUICE_HUB_SEEDS") == "" {
		t.Parallel() // much of it is waiting
		r := sharedRun{hubRun: hubRun{
			seed: uint64(time.Now().UnixNano()), devices: 40, places: 400, readings: 6_000, kills: 2,
			outages: map[int]netfault.Mode{1: netfault.Refuse}, outage: 3 * time.Second,
		}}
		r.run(t)
		return
	}
	for seed := range rounds(t, "SLUICE_HUB_SEEDS", 1) {
		t.Run(fmt.Sprint("seed ", seed+1), func(t *testing.T) {
			r := sharedRun{hubRun: hubRun{
				seed: uint64(seed + 1), devices: 1_000, places: 400, readings: 200_000, kills: 10,
				outages: map[int]netfault.Mode{3: netfault.Refuse, 7: netfault.BlackHole}, outage: 10 * time.Second,
			}}
			r.run(t)
		})
	}
}

// sharedRun is a run of two processes that share a hub's partitions.
type sharedRun struct {
	hubRun
	world       *world
	hub         eventhubs.Hub
	way         *netfault.Proxy // to the store
	storage     storage
	processes   [2]*service.Process
	dice        *rand.Rand
	redelivered int64
}

func (r *sharedRun) run(t *testing.T) {
	t.Logf("seed %d", r.seed)
	r.dice = rand.New(rand.NewPCG(r.seed, 6))
	r.hub = eventhubs.ForTest(t).Hub(t, eventhubs.HubOptions{})
	r.way = newWay(t)
	r.storage = onTables(t, r.way.Address())
	r.world = newWorld()
	r.world.devices, r.world.places, r.world.repeated = r.devices, r.places, repeatedRequests
	for i := range r.processes {
		r.start(t, i)
	}
	if err := r.hub.CutLinksEvery(t.Context(), time.Second); err != nil {
		t.Fatal(err)
	}
	for round := range r.kills {
		r.round(t, round)
	}
	r.settle(t)
}

func (r *sharedRun) start(t *testing.T, i int) {
	t.Helper()
	s := storage{t.TempDir(), r.storage.tables}
	r.processes[i] = start(t, s, append(withHub(r.hub), "SLUICE_CONSUME=self")...)
	if err := r.processes[i].AwaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// round is load on both, perhaps an outage of the store, events that come again,
// and a kill of one under load.
func (r *sharedRun) round(t *testing.T, round int) {
	t.Helper()
	stop := r.world.send(t.Context(), r.dice.Uint64(), r.processes[0].Client, r.processes[1].Client)
	if mode, broken := r.outages[round]; broken {
		r.breakStore(t, mode, stop)
	}
	r.redeliver(t)
	due := r.readings * (round + 1) / r.kills
	r.world.await(t, fmt.Sprint(due, " readings are acknowledged"), stop, func() bool { return r.world.ledger.sum() >= due })
	victim := round % len(r.processes)
	if err := r.processes[victim].Kill(); err != nil {
		t.Fatal(err)
	}
	noErrors(t, r.processes[victim], r.excused()...)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	r.world.ledger.crash(never)
	t.Logf("round %d: %d bodies acknowledged, %d refused", round+1, r.world.ledger.acknowledged(), r.world.ledger.refused())
	r.start(t, victim)
}

// breakStore has the store go away: what is acknowledged waits in the hub.
func (r *sharedRun) breakStore(t *testing.T, mode netfault.Mode, stop func() error) {
	t.Helper()
	if err := r.way.Set(mode); err != nil {
		t.Fatal(err)
	}
	n := r.world.queued.Load()
	time.Sleep(r.outage)
	r.world.await(t, "bodies wait in the hub while the store is away", stop, func() bool { return r.world.queued.Load() > n+2*int64(r.world.clients) })
	if err := r.way.Set(netfault.Pass); err != nil {
		t.Fatal(err)
	}
}

// redeliver has a share of the events come again.
func (r *sharedRun) redeliver(t *testing.T) {
	t.Helper()
	partitions, err := r.hub.Partitions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range partitions {
		from := int64(float64(p.Next) * (1 - redeliveredEvents*2*r.dice.Float64()))
		if from >= p.Next {
			continue
		}
		if err := r.hub.Rewind(t.Context(), "$Default", p.ID, from); err != nil {
			t.Fatal(err)
		}
		r.redelivered += p.Next - from
	}
}

func (r *sharedRun) excused() []error { return slices.Concat(outageErrors, hubErrors) }

// settle compares what is there with what was acknowledged, once all is consumed
// and again once it is merged, whichever process is asked.
func (r *sharedRun) settle(t *testing.T) {
	t.Helper()
	for _, p := range r.processes {
		if err := p.AwaitConsumed(t.Context()); err != nil {
			t.Fatal(err)
		}
		r.world.check(t, p.Client, "all consumed")
	}
	for _, p := range r.processes {
		if err := p.AwaitMerged(t.Context()); err != nil {
			t.Fatal(err)
		}
		r.world.check(t, p.Client, "all merged")
	}
	s, err := r.processes[0].Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if s.DeadLetters == nil || s.DeadLetters.Count != 0 || s.Consumption.LostEvents != 0 {
		t.Errorf("dead letters %+v, consumption %+v", s.DeadLetters, s.Consumption)
	}
	for _, p := range r.processes {
		stop(t, p, r.excused()...)
	}
	l := r.world.ledger
	t.Logf("%d kills: %d bodies of %d readings acknowledged, %d of them in the hub, %d repeated, %d refused; %d places; %d events came again",
		r.kills, l.bodies, l.readings, r.world.queued.Load(), l.repeats, l.failed, len(l.attempts), r.redelivered)
	if l.readings == 0 || r.world.queued.Load() == 0 || l.repeats == 0 || r.redelivered == 0 {
		t.Error("not what was to be shown")
	}
}

// deadLetter is one as the service shows it.
type deadLetter struct {
	ID     string
	Reason struct{ Code, Message string }
	Source struct {
		Partition      string
		SequenceNumber int64
	}
	Size int
	Body string
}

// deadLetters are all that wait, by the number of their events.
func deadLetters(t *testing.T, p *service.Process) map[int64]deadLetter {
	t.Helper()
	var list struct{ Deadletters []deadLetter }
	if err := p.Get(t.Context(), "/api/v1/deadletters", nil, &list); err != nil {
		t.Fatal(err)
	}
	letters := map[int64]deadLetter{}
	for _, l := range list.Deadletters {
		letters[l.Source.SequenceNumber] = l
	}
	return letters
}

// Bad events between good ones: each is in the dead letters once with a reason,
// the good ones land. After a fix a replay makes the readings appear; a second
// replay, and a redelivery afterwards, change nothing.
func TestBadEventsOfTheHub(t *testing.T) {
	t.Parallel() // much of it is waiting
	h := eventhubs.ForTest(t).Hub(t, eventhubs.HubOptions{Partitions: 1})
	s := embedded(t)
	p := start(t, s, append(withHub(h), "SLUICE_MAX_METRICS=1", "SLUICE_MAX_BODY=1MiB", "SLUICE_MAX_DECODED=1MiB")...)
	good := `{"deviceId":"good","ts":"2026-01-01T00:00:00Z","metrics":{"x":1}}`
	large, _ := gzipped([]byte("[" + strings.Repeat(" ", 1<<20) + `{"deviceId":"large","ts":"2026-01-01T00:00:00Z","metrics":{"x":1}}]`))
	identity := map[string]any{"iothub-connection-device-id": "dev"}
	events := []eventhubs.Put{
		0:  {Body: []byte(good)},
		1:  {Body: nil},
		2:  {Body: []byte("\xff\xfe\x00")},
		3:  {Body: []byte(strings.Repeat("[", 1<<20-4096))},
		4:  {Body: []byte("\x1f\x8b\x08\x00 no gzip")},
		5:  {Body: []byte(good), Annotations: identity},
		6:  {Body: []byte("[" + strings.Repeat(good+",", 500) + `{"deviceId":"good","metrics":{"x":{}}}]`)},
		7:  {Body: []byte(`[{"deviceId":"some","ts":"2026-01-01T00:00:00Z","metrics":{"x":1}},{"deviceId":"wide","metrics":{"x":1,"y":2}}]`)},
		8:  {Body: large},
		9:  {Body: []byte("\x9eSLU")},
		10: {Body: []byte(`{"x":7,"ts":"2026-01-01T00:00:00Z"}`), Annotations: identity, ContentType: "application/json", ContentEncoding: "utf-8"},
		11: {Body: []byte(good)},
	}
	want := map[int64]string{
		1: "empty_message", 2: "invalid_json", 3: "invalid_json", 4: "corrupt_event", 5: "forbidden_device", 6: "invalid_value",
		7: "too_many_metrics", 8: "body_too_large", 9: "corrupt_event",
	}
	for _, e := range events {
		if err := h.Put(t.Context(), "0", e); err != nil {
			t.Fatal(err)
		}
	}
	consumed(t, p)
	compareLetters(t, deadLetters(t, p), want)
	expectReadings(t, p, map[string]int{"good": 1, "some": 1, "dev": 1, "wide": 0, "large": 0})
	if l := deadLetters(t, p)[7]; l.Size != len(events[7].Body) || !strings.Contains(l.Reason.Message, "more than 1 metrics") {
		t.Errorf("%+v", l)
	}
	var one deadLetter
	if err := p.Get(t.Context(), "/api/v1/deadletters/"+deadLetters(t, p)[7].ID, nil, &one); err != nil || one.Body != base64.StdEncoding.EncodeToString(events[7].Body) {
		t.Errorf("%+v, %v", one, err)
	}

	stop(t, p)
	p = start(t, s, withHub(h)...) // the limits are raised
	letters := deadLetters(t, p)
	for _, n := range []int64{6, 7, 8, 9} {
		replay(t, p, letters[n].ID, n != 9 && n != 6, true)
	}
	delete(want, 7)
	delete(want, 8)
	compareLetters(t, deadLetters(t, p), want)
	fixed := map[string]int{"good": 1, "some": 1, "dev": 1, "wide": 1, "large": 1}
	expectReadings(t, p, fixed)

	for _, n := range []int64{7, 8} {
		replay(t, p, letters[n].ID, true, false)
	}
	if err := h.Rewind(t.Context(), "$Default", "0", 0); err != nil {
		t.Fatal(err)
	}
	if err := h.Put(t.Context(), "0", eventhubs.Put{Body: []byte(`{"deviceId":"last","metrics":{"x":1}}`)}); err != nil {
		t.Fatal(err)
	}
	consumed(t, p)
	compareLetters(t, deadLetters(t, p), want)
	fixed["last"] = 1
	expectReadings(t, p, fixed)
	stop(t, p)
}

func consumed(t *testing.T, p *service.Process) {
	t.Helper()
	if err := errors.Join(p.AwaitReady(t.Context()), p.AwaitConsumed(t.Context())); err != nil {
		t.Fatal(err)
	}
}

func compareLetters(t *testing.T, letters map[int64]deadLetter, want map[int64]string) {
	t.Helper()
	for n, code := range want {
		if letters[n].Reason.Code != code || letters[n].Reason.Message == "" {
			t.Errorf("event %d: %+v, want %s", n, letters[n].Reason, code)
		}
	}
	if len(letters) != len(want) {
		t.Errorf("%d dead letters, want %d", len(letters), len(want))
	}
}

// expectReadings wants devices to have a number of readings each.
func expectReadings(t *testing.T, p *service.Process, want map[string]int) {
	t.Helper()
	w := newWorld()
	w.base = time.Date(2025, 12, 31, 0, 0, 0, 0, time.UTC).UnixNano()
	for device, n := range want {
		found := 0
		err := eachReading(t.Context(), p.Client, device, w.all(), func(int64, map[string]float64) error {
			found++
			return nil
		})
		if err != nil || found != n {
			t.Errorf("%s has %d readings, want %d: %v", device, found, n, err)
		}
	}
}

// replay replays a dead letter, which then is done or stays; first says that it
// waits.
func replay(t *testing.T, p *service.Process, id string, done, first bool) {
	t.Helper()
	v, err := p.Post(t.Context(), "/api/v1/deadletters/"+id+"/replay", "", "", nil)
	switch {
	case !first && (err == nil || service.IsStatus(err, http.StatusNotFound)):
	case err != nil:
		t.Errorf("replay of %s: %v", id, err)
	case done != (v.Rejected == 0):
		t.Errorf("replay of %s: %+v, done should be %v", id, v, done)
	}
}
