package engine_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"sluice/engine"
	"sluice/store"
	"sluice/store/fenced"
	"sluice/store/storetest"
	"sluice/telemetry"
	"sluice/telemetry/block"
)

// TestQueueProperty lets several instances, whose clocks differ, accept readings
// into a hub, consume them at their leisure, merge, and raise the floor, one in the
// midst of what another does. What was accepted under the floor as it was announced
// is never refused when it is consumed, and is in the leaves before the floor passes
// it. SLUICE_PROPERTY_CASES sets the number of worlds.
func TestQueueProperty(t *testing.T) {
	total := map[string]int{}
	for seed := range uint64(cases(150)) {
		w := newQueueWorld(t, seed, total)
		for range 400 {
			w.step(nil)
		}
		w.rest()
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	t.Logf("%v", total)
	for _, name := range []string{
		"accepted", "accepted late", "consumed", "consumed below what is announced", "redelivered", "too late", "rises", "rises with others waiting",
		"unknown how far", "settings without the hub", "store away", "meanwhile", "retention shortened",
	} {
		if total[name] == 0 {
			t.Errorf("%q never happened, so that the test says less than it should", name)
		}
	}
}

// queued is an event of one reading.
type queued struct {
	device   string
	time     int64
	enqueued time.Time // by the hub's clock
	late     bool      // accepted by an instance that could not read the floor
	durable  bool
}

// queue is a partition of the hub.
type queue struct {
	events   []queued
	progress int // events that are durable
	paused   bool
}

// node is an instance.
type node struct {
	*engine.Engine
	w         *queueWorld
	name      string
	offset    time.Duration // of its clock
	retention time.Duration
	hub       bool // its settings have one
	cut       bool // off the store, not off the hub
	busy      bool
}

func (n *node) now() time.Time { return n.w.now.Add(n.offset) }

// queueWorld is a store, a hub, and instances. Time passes only in steps; within
// something that must not take longer it stops at until.
type queueWorld struct {
	*rand.Rand
	t         *testing.T
	total     map[string]int
	now       time.Time
	until     time.Time
	rows      *storetest.Memory
	hubOffset time.Duration
	hubAway   bool
	queues    [2]queue
	nodes     []*node
	stamp     telemetry.Stamp
	retained  time.Time // when an instance with a hub last did
	calm      bool
	log       []string
}

func newQueueWorld(t *testing.T, seed uint64, total map[string]int) *queueWorld {
	w := &queueWorld{Rand: rand.New(rand.NewPCG(seed, 3)), t: t, total: total, now: noon, until: noon.AddDate(10, 0, 0), rows: &storetest.Memory{}}
	w.hubOffset = w.offset()
	for i := range 4 {
		n := &node{w: w, name: fmt.Sprint("node ", i), offset: w.offset(), retention: 3 * days, hub: i < 3}
		w.nodes = append(w.nodes, n)
		w.open(n)
	}
	return w
}

func (w *queueWorld) offset() time.Duration { return time.Duration(w.IntN(161)-80) * time.Second }

func (w *queueWorld) failf(format string, args ...any) {
	w.t.Errorf("%s: "+format, append([]any{w.now.Format(time.DateTime)}, args...)...)
	for _, line := range w.log[max(0, len(w.log)-40):] {
		w.t.Log(line)
	}
	w.t.FailNow()
}

func (w *queueWorld) logf(format string, args ...any) {
	w.log = append(w.log, w.now.Format(time.DateTime)+" "+fmt.Sprintf(format, args...))
}

// open starts an instance anew.
func (w *queueWorld) open(n *node) {
	rows := storetest.NewFaultyRows(&watchedFloor{w.rows, w}, func(storetest.Call) storetest.Verdict { return w.call(n) })
	config := engine.Config{
		Accounts: []store.Rows{rows}, Shards: 2, Now: n.now, NewID: func() string { return "queue" }, Retention: n.retention,
		Journal: func(rows func(int) store.Rows) (store.Journal, error) {
			return fenced.New(rows, fenced.Options{Fences: 1, Now: n.now, Sleep: func(context.Context, time.Duration) error { return nil }})
		},
	}
	if n.hub {
		config.Consumed = func(context.Context) (time.Time, error) { return w.consumed(n) }
	}
	e, err := engine.Open(w.t.Context(), config)
	if err == nil {
		n.Engine = e
	} else if n.Engine == nil {
		n.busy = true
		w.t.Fatal(err)
	}
}

// call is before each call of the store: the store may be away, and others may do
// something meanwhile.
func (w *queueWorld) call(n *node) storetest.Verdict {
	if w.calm || n.Engine == nil {
		return storetest.Pass()
	}
	w.meanwhile()
	if n.cut {
		return storetest.Fail(store.ErrUnavailable)
	}
	switch w.IntN(150) {
	case 0:
		w.total["store away"]++
		return storetest.Fail(store.ErrUnavailable)
	case 1:
		return storetest.Lose()
	}
	return storetest.Pass()
}

// meanwhile has others do something, in the midst of what one does.
func (w *queueWorld) meanwhile() {
	busy := 0
	for _, n := range w.nodes {
		if n.busy {
			busy++
		}
	}
	if !w.calm && busy > 0 && busy < len(w.nodes) && w.IntN(25) == 0 {
		w.total["meanwhile"]++
		for range 1 + w.IntN(4) {
			w.step(nil)
		}
	}
}

// within has a node do something that takes at most so long.
func (w *queueWorld) within(n *node, limit time.Duration, do func()) {
	if n.busy {
		return
	}
	until := w.until
	if to := w.now.Add(limit); to.Before(until) {
		w.until = to
	}
	n.busy = true
	do()
	n.busy, w.until = false, until
}

func (w *queueWorld) pass(d time.Duration) {
	w.now = w.now.Add(d)
	if w.now.After(w.until) {
		w.now = w.until
	}
}

const aWhile = 3 * time.Hour

func (w *queueWorld) step(n *node) {
	if n == nil {
		n = w.nodes[w.IntN(len(w.nodes))]
	}
	p := &w.queues[w.IntN(len(w.queues))]
	switch w.IntN(29) {
	default:
		w.pass(time.Duration(w.IntN(180)) * time.Second)
	case 0, 1:
		w.pass(time.Duration(w.IntN(100)) * time.Minute)
	case 2, 3, 4, 5, 6, 7, 8:
		w.within(n, 55*time.Second, func() { w.accept(n, p) })
	case 9, 10, 11:
		w.within(n, aWhile, func() { w.consume(n, p) })
	case 12, 13, 14:
		w.within(n, aWhile, func() { w.merge(n) })
	case 15, 16, 17, 18:
		w.within(n, aWhile, func() { w.retain(n) })
	case 19:
		w.within(n, aWhile, func() { w.fresh(n) })
	case 20:
		p.paused = !p.paused
	case 21:
		if w.IntN(3) == 0 && !n.busy && n.hub {
			n.retention = time.Duration(2+w.IntN(2)) * days
			w.total["retention shortened"]++
			w.open(n)
		}
	case 22:
		w.hubAway = w.IntN(3) == 0
	case 23:
		n.cut = w.IntN(4) == 0
	case 24:
		if w.IntN(3) == 0 {
			p.paused, w.hubAway = false, false
			w.within(n, aWhile, func() { w.redeliver(n, p) })
		}
	}
}

// accept judges a reading by the floor as it is announced, and has the hub confirm
// it within a minute.
func (w *queueWorld) accept(n *node, p *queue) {
	if n.hub && !w.hubAway {
		late := n.RefreshFloor(w.t.Context()) != nil
		oldest := n.Floor()
		age := w.Int64N(n.now().UnixNano() - oldest)
		if w.IntN(3) > 0 {
			age = min(age, w.Int64N(int64(36*time.Hour)))
		}
		e := queued{device: []string{"a", "b", "c", "d"}[w.IntN(4)], time: oldest + age, late: late}
		for range w.IntN(4) {
			w.meanwhile()
		}
		w.pass(time.Duration(w.IntN(30)) * time.Second)
		e.enqueued = w.now.Add(w.hubOffset)
		p.events = append(p.events, e)
		w.total["accepted"]++
		if late {
			w.total["accepted late"]++
		}
		w.logf("%s accepts %s, late %v", n.name, clockText(e.time), late)
	}
}

// consume appends the next events of a partition, and then notes how far it is.
func (w *queueWorld) consume(n *node, p *queue) {
	if p.paused || w.hubAway {
		return
	}
	from := p.progress
	to := min(from+1+w.IntN(6), len(p.events))
	if w.take(n, p, from, to) && w.IntN(8) > 0 { // else it is killed in between
		p.progress = max(p.progress, to)
	}
}

func (w *queueWorld) redeliver(n *node, p *queue) {
	if p.progress == 0 {
		return
	}
	from := w.IntN(p.progress)
	w.total["redelivered"]++
	w.take(n, p, from, min(from+1+w.IntN(6), len(p.events)))
}

// take appends events, without those that are below the floor.
func (w *queueWorld) take(n *node, p *queue, from, to int) bool {
	taken := map[int]bool{}
	for i := from; i < to; i++ {
		taken[i] = true
	}
	for shard := range n.Shards() {
		for len(taken) > 0 {
			err := n.AppendQueued(w.t.Context(), shard, w.devices(n, p, shard, taken))
			var below *engine.FloorError
			if errors.As(err, &below) {
				w.refuse(p, taken, below.Floor)
				continue
			}
			if err != nil {
				return false
			}
			break
		}
	}
	for i := range taken {
		if e := &p.events[i]; !e.durable {
			e.durable = true
			w.total["consumed"]++
			if e.time < w.announced() {
				w.total["consumed below what is announced"]++
			}
		}
	}
	w.logf("%s consumed %d to %d", n.name, from, to)
	return true
}

func (w *queueWorld) devices(n *node, p *queue, shard int, taken map[int]bool) []block.Device {
	var readings []telemetry.Reading
	for i := range taken {
		if e := p.events[i]; n.Shard(e.device) == shard {
			w.stamp++
			readings = append(readings, telemetry.Reading{Device: e.device, Time: e.time, Stamp: w.stamp, Metrics: []telemetry.Metric{number("x", 1)}})
		}
	}
	slices.SortFunc(readings, func(a, b telemetry.Reading) int { return int(a.Stamp) - int(b.Stamp) })
	return block.FromReadings(readings)
}

// refuse leaves out what is below the floor: it came late, or comes again.
func (w *queueWorld) refuse(p *queue, taken map[int]bool, floor int64) {
	refused := 0
	for i := range taken {
		e := p.events[i]
		if e.time >= floor {
			continue
		}
		if !e.durable && !e.late {
			w.failf("refused when it is consumed: %s, the floor is %s", clockText(e.time), clockText(floor))
		}
		if !e.durable {
			w.total["too late"]++
		}
		delete(taken, i)
		refused++
	}
	if refused == 0 {
		w.failf("refused below %s, but nothing is", clockText(floor))
	}
}

func (w *queueWorld) merge(n *node) {
	for shard := range n.Shards() {
		_, _ = n.MergeShard(w.t.Context(), shard)
	}
	w.logf("%s merged", n.name)
}

func (w *queueWorld) retain(n *node) {
	if !n.hub && w.now.Sub(w.retained) > 12*time.Hour {
		return // settings differ for a while, not for ever
	}
	if n.Retain(w.t.Context()) == nil && n.hub {
		w.retained = w.now
	} else if !n.hub {
		w.total["settings without the hub"]++
	}
}

// fresh appends a reading of now, not through the hub.
func (w *queueWorld) fresh(n *node) {
	w.stamp++
	r := telemetry.Reading{Device: "a", Time: n.now().UnixNano(), Stamp: w.stamp, Metrics: []telemetry.Metric{number("y", 1)}}
	_ = n.Append(w.t.Context(), n.Shard("a"), block.FromReadings([]telemetry.Reading{r}))
}

// consumed is a node's Config.Consumed.
func (w *queueWorld) consumed(n *node) (time.Time, error) {
	upTo := n.now()
	w.meanwhile()
	if w.hubAway || w.IntN(10) == 0 && !w.calm {
		w.total["unknown how far"]++
		return upTo, errors.New("hub is away")
	}
	var last [2]int
	for i := range w.queues {
		last[i] = len(w.queues[i].events)
	}
	w.meanwhile()
	for i := range w.queues {
		p := &w.queues[i]
		if last[i] <= p.progress {
			continue
		}
		at := time.Time{}
		if p.progress > 0 {
			at = p.events[p.progress-1].enqueued
		}
		if at.Before(upTo) {
			upTo = at
		}
	}
	w.meanwhile()
	return upTo, nil
}

func (w *queueWorld) announced() int64 {
	row, err := w.rows.Get(context.Background(), engine.ConfigTable, "config", engine.FloorKey)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, p := range row.Properties {
		if p.Name == "announced" {
			return p.Value.(int64)
		}
	}
	return 0
}

// watchedFloor sees each rise of the floor.
type watchedFloor struct {
	*storetest.Memory
	w *queueWorld
}

func (f *watchedFloor) Commit(ctx context.Context, table, partition string, ops []store.Op) error {
	before := storedFloor(f.Memory)
	err := f.Memory.Commit(ctx, table, partition, ops)
	if err == nil && table == engine.ConfigTable && ops[0].Key == engine.FloorKey && before > 0 {
		f.w.rose(before, storedFloor(f.Memory))
	}
	return err
}

// rose checks that the leaves have what the floor passes.
func (w *queueWorld) rose(from, to int64) {
	if from == to {
		return
	}
	w.total["rises"]++
	w.logf("the floor rises to %s", clockText(to))
	leaves, backlog := w.leaves(from, to), false
	for i := range w.queues {
		for j := range w.queues[i].events {
			e := &w.queues[i].events[j]
			backlog = backlog || !e.durable
			if e.late || e.time < from || e.time >= to || leaves[fmt.Sprint(e.device, e.time)] {
				continue
			}
			w.failf("the floor passes %s of %s, accepted at %s, which is not in the leaves; durable: %v", clockText(e.time), e.device, e.enqueued.Format(time.DateTime), e.durable)
		}
	}
	if backlog {
		w.total["rises with others waiting"]++
	}
}

// leaves are the readings in the leaves of days from one time to another.
func (w *queueWorld) leaves(from, to int64) map[string]bool {
	found := map[string]bool{}
	for at := from; at < to; at += int64(days) {
		table := engine.LeafTables + time.Unix(0, at).UTC().Format("20060102")
		for token, first := "", true; first || token != ""; first = false {
			page, err := w.rows.Scan(context.Background(), table, store.Range{}, token)
			if errors.Is(err, store.ErrTableNotFound) {
				break
			}
			if err != nil {
				w.t.Fatal(err)
			}
			for _, row := range page.Rows {
				leaf, err := engine.DecodeStoredLeaf(row)
				if err != nil {
					w.t.Fatal(err)
				}
				for _, at := range leaf.Frame.Times {
					found[fmt.Sprint(leaf.Device, at)] = true
				}
			}
			token = page.Next
		}
	}
	return found
}

// rest consumes all there is, after which the floor follows, and nothing else is
// missing.
func (w *queueWorld) rest() {
	w.calm, w.hubAway = true, false
	n := w.nodes[0]
	for i := range w.queues {
		p := &w.queues[i]
		if !w.take(n, p, p.progress, len(p.events)) {
			w.failf("the rest of partition %d is not taken", i)
		}
		p.progress = len(p.events)
	}
	for round := 0; round < 8 || round < 16 && storedFloor(w.rows) < w.announced(); round++ { // a rise may have been announced just now
		w.pass(40 * time.Minute)
		w.fresh(n)
		w.merge(n)
		w.retain(n)
	}
	floor := storedFloor(w.rows)
	if announced := w.announced(); floor < announced {
		w.failf("the floor stays at %s, announced is %s", clockText(floor), clockText(announced))
	}
	for _, device := range []string{"a", "b", "c", "d"} {
		times := map[int64]bool{}
		err := n.View().Read(w.t.Context(), device, engine.Span{To: all.To, Metrics: []string{"x"}}, func(f *block.Frame) error {
			for _, at := range f.Times {
				times[at] = true
			}
			return nil
		})
		if err != nil {
			w.t.Fatal(err)
		}
		for i := range w.queues {
			for _, e := range w.queues[i].events {
				if e.device == device && e.time >= floor && !times[e.time] {
					w.failf("%s of %s is missing", clockText(e.time), device)
				}
			}
		}
	}
}
