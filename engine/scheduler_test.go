package engine_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"strings"
	"time"

	"pgregory.net/rapid"

	"sluice/engine"
	"sluice/store"
	"sluice/store/storetest"
	"sluice/telemetry"
)

// dice is where a case's choices come from: from rapid, which makes a failing
// case smaller, or from a seed. Lower is simpler.
type dice interface {
	pick(n int) int     // 0 … n-1, about evenly
	rare(bits int) bool // true once in 2^bits
}

type rapidDice struct{ t *rapid.T }

var (
	digits [9]*rapid.Generator[int] // up to their index
	coin   = rapid.Bool()
)

func init() {
	for n := 1; n < len(digits); n++ {
		digits[n] = rapid.IntRange(0, n-1)
	}
}

// pick draws more than three bits a digit at a time: rapid prefers low numbers
// in larger ranges.
func (d rapidDice) pick(n int) int {
	if n < len(digits) {
		return digits[max(n, 1)].Draw(d.t, "pick")
	}
	v := 0
	for most := n - 1; most > 0; most >>= 3 {
		v = v<<3 | digits[8].Draw(d.t, "digit")
	}
	return v % n
}

func (d rapidDice) rare(bits int) bool {
	for range bits {
		if !coin.Draw(d.t, "rare") {
			return false
		}
	}
	return true
}

type seededDice struct{ r *rand.Rand }

func newSeededDice(seed uint64) seededDice { return seededDice{rand.New(rand.NewPCG(seed, 1))} }

func (d seededDice) pick(n int) int     { return d.r.IntN(max(n, 1)) }
func (d seededDice) rare(bits int) bool { return d.r.Uint64N(1<<bits) == 0 }

// sim is a small world: a store, processes with an engine each, and actors that
// run one at a time, each up to its next call of the store. Nothing in it
// depends on anything but its dice.
type sim struct {
	dice
	logf   func(format string, args ...any)
	setup  setup
	counts *counts
	oracle *oracle

	disk      *disk
	rows      []*storetest.FaultyRows // of each account
	floating  []*storetest.Floating
	processes []*process
	actors    []*actor
	current   *actor // who runs; nil: the test itself, whose calls pass
	last      *actor

	now     time.Time
	step    int // logical time
	calls   int // calls that actors made
	plan    plan
	nonces  uint64
	mad     int // raises of the floor by a clock that had gone mad, at most
	failure error
}

// plan says which calls fail.
type plan struct {
	at   int   // this one, counted from 1; 0: none
	kind fault // and how
	bits int   // and others, once in 2^bits; 0: none
}

type fault int

const (
	failBefore fault = iota
	loseAnswer
	floatCall
	crashBefore
	crashAfter
	cutPage
	faults // their number
)

func (f fault) String() string {
	return [...]string{"fail", "lose answer", "float", "crash before", "crash after", "cut page"}[f]
}

// process is what crashes together: an engine (and journal) with its caches,
// and the clock of an instance.
type process struct {
	sim     *sim
	name    string
	skew    time.Duration
	stamp   telemetry.Stamp // the last one given
	engine  *engine.Engine
	journal store.Journal
	actors  []*actor
}

func (p *process) now() time.Time { return p.sim.now.Add(p.skew) }

// take gives a stamp: the instance's wall clock, never going back; now and then
// as from another instance whose clock is behind.
func (p *process) take() telemetry.Stamp {
	p.stamp = max(p.stamp+1, telemetry.Stamp(p.now().UnixNano()))
	if p.sim.rare(3) {
		return p.stamp - telemetry.Stamp(p.sim.pick(6))*telemetry.Stamp(time.Second)
	}
	return p.stamp
}

// actor does one task after the other, each as a coroutine that stops at every
// call of the store.
type actor struct {
	sim     *sim
	process *process
	name    string
	assign  func(*actor) // gives the next task

	next   func() (struct{}, bool)
	stop   func()
	yield  func(struct{}) bool
	cancel context.CancelFunc

	busy    bool
	dead    bool  // crashed: no call does anything any more
	dying   bool  // its next call is its last
	faulted bool  // a call of this task failed by plan
	paused  int   // the step up to which it sleeps
	floor   int64 // of retention when the task began
	headed  bool  // every shard had a head then
	doing   string
	opened  string // the open leaf that a reading ended with
	call    storetest.Call
	verdict storetest.Verdict

	memory
}

// start begins a task and runs it up to its first call.
func (a *actor) start(task func(context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	a.cancel, a.busy, a.dead, a.dying, a.faulted = cancel, true, false, false, false
	a.doing, a.opened, a.floor = "", "", storedFloor(a.sim.disk.raw[0])
	_, a.headed = a.sim.oldest(ctx)
	a.next, a.stop = iter.Pull(func(yield func(struct{}) bool) {
		a.yield = yield
		task(ctx)
	})
	a.resume()
}

func (a *actor) resume() {
	a.sim.current = a
	_, more := a.next()
	a.sim.current = nil
	if !more {
		a.end()
	}
}

func (a *actor) end() {
	a.cancel()
	a.busy = false
}

// crash ends an actor where it stands: its call never returns to it, and it
// does nothing more.
func (a *actor) crash() {
	if !a.busy {
		return
	}
	a.dead = true
	a.cancel()
	a.sim.current = a
	a.stop()
	a.sim.current = nil
	a.end()
}

// crash ends a process; the next task of one of its actors starts it anew.
func (p *process) crash() {
	p.sim.counts.crashes++
	for _, a := range p.actors {
		a.crash()
		a.memory = memory{}
	}
	p.restart()
}

func (p *process) restart() {
	p.engine, p.journal = nil, nil
}

var errCrashed = errors.New("the process crashed")

// hook is where actors stop.
func (s *sim) hook(c storetest.Call) storetest.Verdict {
	a := s.current
	if a == nil {
		return storetest.Pass()
	}
	if a.dead || !a.await(c) {
		return storetest.Fail(errCrashed)
	}
	a.dead = a.dying // the call is done, and its answer does not get to it
	return a.verdict
}

// await stops until the scheduler goes on with the actor; false: it crashed.
func (a *actor) await(c storetest.Call) bool {
	if a.dead {
		return false
	}
	a.call = c
	if !a.yield(struct{}{}) {
		a.dead = true
	}
	return !a.dead
}

// sleep is what a journal does between attempts.
func (p *process) sleep(ctx context.Context, d time.Duration) error {
	if a := p.sim.current; a != nil {
		a.await(storetest.Call{Method: "Sleep"})
	}
	p.sim.now = p.sim.now.Add(d)
	return ctx.Err()
}

func (s *sim) fail(format string, args ...any) {
	if s.failure == nil {
		s.failure = fmt.Errorf("step %d: "+format, append([]any{s.step}, args...)...)
		s.logf("FAILED: %v", s.failure)
	}
}

// run lets the world run for a number of steps.
func (s *sim) run(steps int) {
	for range steps {
		if s.failure != nil {
			return
		}
		s.step++
		s.weather()
		a := s.choose()
		if !a.busy {
			a.assign(a)
			continue
		}
		s.decide(a)
		if a.busy {
			a.resume()
		}
		if a.dying {
			a.process.crash()
		}
	}
}

// weather is what happens by itself: time passes, calls land that nobody waits
// for any more, the power fails.
func (s *sim) weather() {
	switch {
	case s.rare(4):
		s.pass()
	case s.rare(3):
		s.land(s.rare(3))
	case s.setup.powerCuts && s.rare(8):
		s.powerCut()
	}
}

func (s *sim) pass() {
	d := []time.Duration{time.Second, time.Second, 10 * time.Second, time.Minute, 20 * time.Minute, time.Hour, 2 * time.Hour}[s.pick(7)]
	if s.rare(4) {
		d = 13 * time.Hour
	}
	s.now = s.now.Add(d)
	s.logf("%d: %v pass", s.step, d)
}

// land lets a floating call land, or makes sure that it never does.
func (s *sim) land(lose bool) {
	n := 0
	for _, f := range s.floating {
		n += f.Len()
	}
	if n == 0 {
		return
	}
	i := s.pick(n)
	for _, f := range s.floating {
		if i >= f.Len() {
			i -= f.Len()
			continue
		}
		call := f.Calls()[i]
		if lose {
			f.Lose(i)
			return
		}
		err := f.Land(i)
		s.logf("%d: lands late: %s: %v", s.step, called(call), err)
		if err == nil {
			s.counts.landedLate++
		} else {
			s.counts.refusedLate++
		}
		return
	}
}

func (s *sim) powerCut() {
	s.logf("%d: power cut", s.step)
	for _, p := range s.processes {
		p.crash()
	}
	for _, f := range s.floating {
		for f.Len() > 0 {
			f.Lose(0)
		}
	}
	s.counts.powerCuts++
	if err := s.disk.powerCut(s); err != nil {
		s.fail("open the store again: %v", err)
	}
	for _, p := range s.processes {
		p.restart()
	}
}

// choose says who goes on: mostly the one that ran last. One that has to let
// others go on may stay behind for long.
func (s *sim) choose() *actor {
	if a := s.last; a != nil && a.busy && a.paused <= s.step && !s.rare(2) {
		return a
	}
	var awake []*actor
	for _, a := range s.actors {
		if a.paused <= s.step {
			awake = append(awake, a)
		}
	}
	if len(awake) == 0 {
		awake = s.actors
	}
	if a := s.last; a != nil && a.busy && (s.rare(3) || (a.call.Write || a.doing == "read") && s.rare(1)) {
		a.paused = s.step + 10 + s.pick(120)
		s.logf("%d: %s pauses up to %d", s.step, a.name, a.paused)
	}
	s.last = awake[s.pick(len(awake))]
	return s.last
}

// decide says what becomes of the call that an actor waits at.
func (s *sim) decide(a *actor) {
	a.verdict = storetest.Pass()
	if a.call.Method == "Sleep" || a.call.Method == "Yield" {
		return
	}
	s.calls++
	a.notice()
	kind := s.plan.kind
	switch {
	case s.calls == s.plan.at:
	case s.plan.bits > 0 && s.rare(s.plan.bits):
		kind = fault(s.pick(int(faults)))
	default:
		s.logf("%d: %s: %s", s.step, a.name, called(a.call))
		return
	}
	s.logf("%d: %s: %s: %s", s.step, a.name, called(a.call), kind)
	s.counts.faults[kind]++
	s.inflict(a, kind)
}

// notice counts what the calls of an actor tell of what it is at.
func (a *actor) notice() {
	c := a.call
	switch {
	case a.doing == "merge" && c.Method == "Tables":
		a.sim.counts.refolds++
	case a.doing == "read" && c.Method == "Get" && strings.HasPrefix(c.Key, "o!"):
		a.opened = c.Table + c.Key[1:] + "!"
	case a.doing == "read" && c.Method == "Scan" && strings.HasPrefix(c.Key, "c!") && a.opened != "":
		a.sim.counts.reread += count(strings.HasPrefix(c.Table+c.Key[1:], a.opened))
	}
}

func (s *sim) inflict(a *actor, kind fault) {
	paged := a.call.Method == "Scan" || a.call.Method == "Tail" || a.call.Method == "Tables"
	switch {
	case kind == cutPage && paged:
		a.verdict = storetest.Cut(s.pick(3))
		return
	case kind == crashBefore:
		a.process.crash()
	case kind == crashAfter:
		a.dying = true
	case kind == floatCall:
		a.verdict = storetest.Float()
	case kind == loseAnswer:
		a.verdict = storetest.Lose()
	default:
		a.verdict = storetest.Fail([]error{store.ErrThrottled, store.ErrUnavailable}[s.pick(2)])
	}
	a.faulted = true
}

// called is a call as the log tells it.
type called storetest.Call

func (c called) String() string {
	text := storetest.Call(c).String()
	for _, op := range c.Ops {
		text += fmt.Sprintf(" %s %s", [...]string{"insert", "put", "replace", "touch", "delete"}[op.Kind], op.Key)
	}
	if c.Token != "" {
		text += " from " + c.Token
	}
	return text
}
