package consume_test

import (
	"bytes"
	"cmp"
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sluice/consume"
	"sluice/hub"
	"sluice/store"
	"sluice/store/storetest"
	"sluice/telemetry"
)

// TestProperty has instances consume one partition call by call: random events,
// ours, devices' and bad ones, in random cuts, delivered again, with calls that
// are left out, instances that die, answers that are lost, writes that land late or
// twice, and a hub that cuts its links. Whatever the progress says is durable, is;
// in the end everything is there with the right values, and each bad event is in
// the dead letters once. SLUICE_PROPERTY_CASES sets the number of cases.
func TestProperty(t *testing.T) {
	cases := 300
	if n, err := strconv.Atoi(os.Getenv("SLUICE_PROPERTY_CASES")); err == nil && n > 0 {
		cases = n
	}
	setFlag(t, "rapid.checks", strconv.Itoa(cases))
	setFlag(t, "rapid.nofailfile", "true")
	setFlag(t, "rapid.shrinktime", "10s")
	total, bad := &tally{}, smallBad(t)
	rapid.Check(t, func(rt *rapid.T) { newParty(rt, total, bad).run() })
	t.Logf("%d cases: %+v", cases, *total)
	if total.failed == 0 || total.reread == 0 || total.killed == 0 || total.landed == 0 || total.letters == 0 || total.redelivered == 0 || total.beside == 0 {
		t.Errorf("some of these never happened, so that the test says less than it should: %+v", *total)
	}
}

func setFlag(t *testing.T, name, value string) {
	t.Helper()
	f := flag.Lookup(name)
	old := f.Value.String()
	if err := f.Value.Set(value); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Value.Set(old) })
}

// tally counts what happened.
type tally struct{ takes, failed, reread, killed, landed, letters, redelivered, beside int }

// party is a hub, instances that consume it, and what must come of that.
type party struct {
	*world
	rt      *rapid.T
	total   *tally
	memory  *storetest.Memory
	actors  *storetest.Actors
	faults  int // in 100 calls
	pool    []*consume.Consumer
	view    *world // sees the rows as they are
	reached int64  // the progress as it was last seen

	badEvents []badEvent

	events []hub.Event
	want   []outcome // of each event
}

// outcome is what must come of an event.
type outcome struct {
	readings []telemetry.Reading // with their stamps
	letter   string              // "": none
}

func newParty(rt *rapid.T, total *tally, bad []badEvent) *party {
	p := &party{
		rt: rt, total: total, badEvents: bad, memory: &storetest.Memory{}, actors: storetest.NewActors(rt.Context()), reached: -1,
		faults: rapid.SampledFrom([]int{0, 1, 3, 10}).Draw(rt, "faults"),
	}
	shared := &memoryHub{}
	p.world = &world{t: rt, now: noon.Add(time.Hour), hub: shared}
	p.rows = storetest.NewFaultyRows(p.memory, p.actors.Hook)
	o := options{config: func(c *consume.Config) {
		c.RoundBytes, c.Page = rapid.SampledFrom([]int{1, 3000, 1 << 20}).Draw(rt, "round"), 4
	}}
	for range 2 {
		p.open(o, p.rows)
		p.pool = append(p.pool, p.consumer)
	}
	p.view = &world{t: rt, now: p.now, hub: shared, opened: 100}
	p.view.open(options{}, p.memory)
	return p
}

func (p *party) run() {
	defer p.actors.Stop()
	p.send(rapid.IntRange(1, 6).Draw(p.rt, "first"))
	for range rapid.IntRange(20, 400).Draw(p.rt, "steps") {
		p.step()
		p.checkProgress()
	}
	p.finish()
}

func (p *party) step() {
	waiting := p.actors.Waiting()
	switch what := rapid.IntRange(0, 39).Draw(p.rt, "what"); {
	case what == 0 && len(p.events) < 40:
		p.send(rapid.IntRange(1, 8).Draw(p.rt, "more"))
	case what <= 3 && len(waiting) < 3:
		p.begin()
	case what == 4 && p.rows.Len() > 0:
		if p.rows.Land(rapid.IntRange(0, p.rows.Len()-1).Draw(p.rt, "landing")) == nil {
			p.total.landed++
		}
	case what == 5 && len(waiting) > 0 && rapid.IntRange(0, 3).Draw(p.rt, "dies") == 0:
		p.kill(p.one(waiting))
	case what == 6:
		p.hub.cut = max(0, rapid.IntRange(-9, 6).Draw(p.rt, "cut"))
	case len(waiting) > 0:
		p.actors.Step(p.one(waiting), p.verdict())
	default:
		p.begin()
	}
}

// one picks an actor.
func (p *party) one(waiting []*storetest.Actor) *storetest.Actor {
	return waiting[rapid.IntRange(0, len(waiting)-1).Draw(p.rt, "actor")]
}

func (p *party) verdict() storetest.Verdict {
	if rapid.IntRange(1, 100).Draw(p.rt, "fault") > p.faults {
		return storetest.Pass()
	}
	return rapid.SampledFrom([]storetest.Verdict{
		storetest.Lose(), storetest.Float(), storetest.Twin(), storetest.Fail(store.ErrThrottled), storetest.Fail(store.ErrUnavailable), storetest.Cut(1),
	}).Draw(p.rt, "verdict")
}

// kill ends an instance's call where it is.
func (p *party) kill(x *storetest.Actor) {
	p.total.killed++
	for p.actors.Step(x, storetest.Fail(context.Canceled)) {
	}
}

// begin has an instance take a stretch of events: any.
func (p *party) begin() {
	from := rapid.IntRange(0, len(p.events)-1).Draw(p.rt, "from")
	to := rapid.IntRange(from+1, min(len(p.events), from+8)).Draw(p.rt, "to")
	c := p.pool[rapid.IntRange(0, len(p.pool)-1).Draw(p.rt, "instance")]
	if len(p.actors.Waiting()) > 0 {
		p.total.beside++
	}
	if int64(from) <= p.reached {
		p.total.redelivered++
	}
	p.actors.Go("instance", func(ctx context.Context) {
		r, err := c.Take(ctx, "0", slices.Clone(p.events[from:to]))
		p.total.takes++
		p.total.reread += r.Reread
		if err != nil {
			p.total.failed++
		}
	})
}

// checkProgress checks that all is durable that the progress says is.
func (p *party) checkProgress() {
	at := p.view.at()
	if !at.Stored() || at.Sequence == p.reached {
		return
	}
	if at.Sequence < p.reached || at.Lost != 0 || at.Generation != 0 {
		p.rt.Fatalf("%+v, was at %d", at, p.reached)
	}
	p.reached = at.Sequence
	have := map[string]bool{}
	for line := range strings.SplitSeq(p.view.readings(), "\n") {
		device, rest, _ := strings.Cut(line, " ")
		when, _, _ := strings.Cut(rest, " ")
		have[device+" "+when] = true
	}
	buried := p.view.buried()
	for n := range at.Sequence + 1 {
		for _, r := range p.want[n].readings {
			if !have[r.Device+" "+telemetry.FormatTime(r.Time)] {
				p.rt.Fatalf("progress is at %d, and a reading of event %d is not there: %+v", at.Sequence, n, r)
			}
		}
		if l := p.want[n].letter; l != "" && !slices.Contains(strings.Split(buried, "\n"), l) {
			p.rt.Fatalf("progress is at %d, and %q is not among the dead letters:\n%s", at.Sequence, l, buried)
		}
	}
}

// finish consumes what is left without faults, and compares all there is with
// what was sent.
func (p *party) finish() {
	for _, x := range p.actors.Waiting() {
		p.kill(x)
	}
	for p.rows.Len() > 0 && rapid.Bool().Draw(p.rt, "lands late") {
		_ = p.rows.Land(0)
	}
	p.hub.cut = 0
	p.view.take(p.events[len(p.events)-1])
	var letters []string
	for _, w := range p.want {
		if w.letter != "" {
			letters = append(letters, w.letter)
		}
	}
	p.total.letters += len(letters)
	if got := p.view.buried(); got != strings.Join(letters, "\n") {
		p.rt.Fatalf("dead letters:\n%s\nwant\n%s", got, strings.Join(letters, "\n"))
	}
	if got, want := p.view.readings(), p.expected(); got != want {
		p.rt.Fatalf("readings:\n%s\nwant\n%s", got, want)
	}
	if at := p.view.at(); at.Sequence != int64(len(p.events)-1) || at.Lost != 0 || at.Until != 0 {
		p.rt.Fatalf("%+v", at)
	}
}

// expected is what readings must be: of each device, time and metric the value
// with the highest stamp.
func (p *party) expected() string {
	type cell struct {
		device string
		time   int64
	}
	best := map[cell]map[string]telemetry.Reading{}
	for _, w := range p.want {
		for _, r := range w.readings {
			at := cell{r.Device, r.Time}
			if best[at] == nil {
				best[at] = map[string]telemetry.Reading{}
			}
			for _, m := range r.Metrics {
				old, ok := best[at][m.Name]
				if !ok || r.Stamp > old.Stamp || r.Stamp == old.Stamp && telemetry.Compare(m.Value, old.Metrics[0].Value) > 0 {
					best[at][m.Name] = telemetry.Reading{Stamp: r.Stamp, Metrics: []telemetry.Metric{m}}
				}
			}
		}
	}
	cells := slices.SortedFunc(maps.Keys(best), func(a, b cell) int {
		return cmp.Or(strings.Compare(a.device, b.device), cmp.Compare(a.time, b.time))
	})
	var lines []string
	for _, at := range cells {
		line := at.device + " " + telemetry.FormatTime(at.time)
		for _, name := range slices.Sorted(maps.Keys(best[at])) {
			line += fmt.Sprintf(" %s=%s", name, written(best[at][name].Metrics[0].Value))
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

// send puts events into the hub.
func (p *party) send(n int) {
	for range n {
		number := int64(len(p.events))
		e, o := p.event(number)
		p.events, p.want = append(p.events, e), append(p.want, o)
		p.hub.send(e)
	}
}

func (p *party) event(n int64) (hub.Event, outcome) {
	switch rapid.IntRange(0, 4).Draw(p.rt, "kind") {
	case 0:
		return p.bad(n)
	case 1, 2:
		return p.foreign(n)
	default:
		return p.ours(n)
	}
}

// smallBad are the bad events of which nothing is good, but for the large ones.
func smallBad(t *testing.T) (list []badEvent) {
	for _, b := range badBodies(t) {
		if len(b.event.Body) < 1000 && b.code != telemetry.BodyTooLarge && b.code != telemetry.TooManyReadings && b.code != telemetry.TimestampInFuture {
			list = append(list, b)
		}
	}
	slices.SortFunc(list, func(a, b badEvent) int { return bytes.Compare(a.event.Body, b.event.Body) })
	return list
}

func (p *party) bad(n int64) (hub.Event, outcome) {
	b := p.badEvents[rapid.IntRange(0, len(p.badEvents)-1).Draw(p.rt, "bad")]
	e := b.event
	e.Sequence, e.Offset, e.Enqueued = n, fmt.Sprint(n), p.enqueued(n)
	return e, outcome{letter: fmt.Sprintf("%d %s 1", n, b.code)}
}

// enqueued is when event n came: several in a millisecond.
func (p *party) enqueued(n int64) time.Time { return noon.Add(time.Duration(n/3) * time.Millisecond) }

// ours draws an event of ours.
func (p *party) ours(n int64) (hub.Event, outcome) {
	var o outcome
	for range rapid.IntRange(1, 4).Draw(p.rt, "readings") {
		stamp := p.enqueued(n).Add(time.Duration(rapid.IntRange(-5, 5).Draw(p.rt, "stamp")) * time.Millisecond)
		o.readings = append(o.readings, p.reading(p.slot(), telemetry.Stamp(stamp.UnixNano())))
	}
	e := ours(p.rt, n, o.readings...)
	e.Enqueued = p.enqueued(n)
	return e, o
}

func (p *party) slot() int64 {
	return noon.Add(time.Duration(rapid.IntRange(0, 3).Draw(p.rt, "slot")) * time.Hour / 60).UnixNano()
}

func (p *party) reading(at int64, stamp telemetry.Stamp) telemetry.Reading {
	r := telemetry.Reading{Device: rapid.SampledFrom([]string{"a", "b", "c"}).Draw(p.rt, "device"), Time: at, Stamp: stamp}
	for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"x", "y"}), 1, 2, rapid.ID[string]).Draw(p.rt, "metrics") {
		r.Metrics = append(r.Metrics, telemetry.Metric{Name: name, Value: telemetry.FloatValue(float64(rapid.IntRange(0, 99).Draw(p.rt, "value")))})
	}
	return r
}

// foreign draws an event of a device: good readings, and bad ones between them.
func (p *party) foreign(n int64) (hub.Event, outcome) {
	var o outcome
	var parts []string
	bad := 0
	base := telemetry.Stamp(p.enqueued(n).UnixNano() + n%1000*1000)
	for place := range rapid.IntRange(1, 4).Draw(p.rt, "messages") {
		if rapid.IntRange(0, 4).Draw(p.rt, "bad one") == 0 {
			bad++
			parts = append(parts, `{"deviceId":"a","metrics":{"x":[]}}`)
			continue
		}
		stamp := base + telemetry.Stamp(place)
		at, ts := p.slot(), ""
		if rapid.Bool().Draw(p.rt, "timed") {
			ts = fmt.Sprintf(`"ts":%q,`, telemetry.FormatTime(at))
		} else {
			at = int64(stamp)
		}
		r := p.reading(at, stamp)
		var metrics []string
		for _, m := range r.Metrics {
			metrics = append(metrics, fmt.Sprintf("%q:%s", m.Name, m.Value.AppendNumber(nil)))
		}
		parts = append(parts, fmt.Sprintf(`{"deviceId":%q,%s"metrics":{%s}}`, r.Device, ts, strings.Join(metrics, ",")))
		o.readings = append(o.readings, r)
	}
	if bad > 0 {
		o.letter = fmt.Sprintf("%d invalid_value %d", n, bad)
	}
	body := "[" + strings.Join(parts, ",") + "]"
	if rapid.Bool().Draw(p.rt, "lines") {
		body = strings.Join(parts, "\n")
	}
	e := foreign(n, body)
	e.Enqueued = p.enqueued(n)
	return e, o
}

// Helper, Fatal and Context make a party a tester.
func (p *party) Helper()                  {}
func (p *party) Fatal(args ...any)        { p.rt.Fatal(args...) }
func (p *party) Context() context.Context { return p.rt.Context() }
