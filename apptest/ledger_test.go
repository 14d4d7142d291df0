package apptest

import (
	"fmt"
	"math"
	"sync"
	"time"
)

// place is the identity of a reading.
type place struct {
	device string
	at     int64 // nanoseconds since the Unix epoch
}

// attempt is a value that was sent for a place.
type attempt struct {
	value      float64 // no two attempts have the same, but for repeats of a request
	instance   int     // that it was sent to
	begin, end moment  // end is never while there is no answer
	order      int     // among those of one body
	acked      bool
}

// moment is one by the ledger's clock, and by the wall's. No two are the same.
type moment struct {
	tick int64
	wall time.Time
}

// never is the end of what was not answered, while its answer may still come.
var never = moment{tick: math.MaxInt64}

func (m moment) before(n moment) bool { return m.tick < n.tick }

// conflict is how far apart in time conflicting values must be accepted by
// different instances for the later one to win.
const conflict = 5 * time.Second

// ledger is what was sent and what was acknowledged. It may be used
// concurrently.
type ledger struct {
	mu       sync.Mutex
	tick     int64
	value    float64
	attempts map[place][]*attempt
	readings int // acknowledged, repeats too
	bodies   int // acknowledged
	failed   int // bodies answered with a failure of the store
	repeats  int // bodies that were sent again
}

func newLedger() *ledger { return &ledger{attempts: map[place][]*attempt{}} }

// sending is what one request sends.
type sending struct {
	places   []place
	attempts []*attempt
}

// next is the present moment; l.mu is held.
func (l *ledger) next() moment {
	l.tick++
	return moment{l.tick, time.Now()}
}

// send notes that values are about to be sent for places to an instance.
func (l *ledger) send(instance int, places []place) sending {
	l.mu.Lock()
	defer l.mu.Unlock()
	begin := l.next()
	b := sending{places: places, attempts: make([]*attempt, len(places))}
	for i, p := range places {
		l.value++
		a := &attempt{value: l.value, instance: instance, begin: begin, end: never, order: i}
		b.attempts[i], l.attempts[p] = a, append(l.attempts[p], a)
	}
	return b
}

// again notes that a body is about to be sent once more to an instance, as it was.
func (l *ledger) again(instance int, b sending) sending {
	l.mu.Lock()
	defer l.mu.Unlock()
	begin := l.next()
	repeat := sending{places: b.places, attempts: make([]*attempt, len(b.places))}
	for i, p := range b.places {
		a := &attempt{value: b.attempts[i].value, instance: instance, begin: begin, end: never, order: i}
		repeat.attempts[i], l.attempts[p] = a, append(l.attempts[p], a)
	}
	l.repeats++
	return repeat
}

// ack notes that a body was acknowledged.
func (l *ledger) ack(b sending) {
	l.mu.Lock()
	defer l.mu.Unlock()
	end := l.next()
	for _, a := range b.attempts {
		a.end, a.acked = end, true
	}
	l.readings += len(b.attempts)
	l.bodies++
}

// acknowledged is the number of bodies that were acknowledged.
func (l *ledger) acknowledged() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.bodies
}

// tell says what was sent for a place, for people.
func (l *ledger) tell(p place) (lines []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range l.attempts[p] {
		ended := "never"
		if a.end != never {
			ended = instant(a.end.wall.UnixNano())
		}
		lines = append(lines, fmt.Sprintf("%v sent %s, ended %s, acknowledged: %v", a.value, instant(a.begin.wall.UnixNano()), ended, a.acked))
	}
	return lines
}

// sum is the number of readings that were acknowledged.
func (l *ledger) sum() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.readings
}

// refused is the number of bodies that were answered with a failure of the store.
func (l *ledger) refused() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failed
}

// fail notes that a body was answered with a failure of the store: parts of it
// may be durable or become it, but nothing of it can be newer than what is sent
// from now on.
func (l *ledger) fail(b sending) {
	l.mu.Lock()
	defer l.mu.Unlock()
	end := l.next()
	for _, a := range b.attempts {
		a.end = end
	}
	l.failed++
}

// now is a moment: what is acknowledged later has a later end.
func (l *ledger) now() moment {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.next()
}

// crash notes that the service is gone, and of what was acknowledged only what
// was by then counts (never: all). The rest may be there, but cannot come any
// more.
func (l *ledger) crash(by moment) {
	l.mu.Lock()
	defer l.mu.Unlock()
	end := l.next()
	for _, attempts := range l.attempts {
		for _, a := range attempts {
			if !a.acked || by.before(a.end) {
				a.acked = false
				if end.before(a.end) {
					a.end = end
				}
			}
		}
	}
}

// wrongReading says what is wrong with a reading.
type wrongReading struct {
	place place
	err   error
}

func (w *wrongReading) Error() string {
	return fmt.Sprintf("device %s at %s: %v", w.place.device, instant(w.place.at), w.err)
}

func (w *wrongReading) Unwrap() error { return w.err }

// verify judges what a device has: found are the readings that were read, in
// ascending order, by a query that began after the moment by: what was
// acknowledged later may be there or not.
func (l *ledger) verify(device string, found []point, by moment) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	there := make(map[int64]bool, len(found))
	for i, p := range found {
		if i > 0 && p.at <= found[i-1].at {
			return fmt.Errorf("device %s: %s comes after %s: twice, or out of order", device, instant(p.at), instant(found[i-1].at))
		}
		if err := allowed(l.attempts[place{device, p.at}], p.value, by); err != nil {
			return &wrongReading{place{device, p.at}, err}
		}
		there[p.at] = true
	}
	for p, attempts := range l.attempts {
		if p.device != device || there[p.at] {
			continue
		}
		for _, a := range attempts {
			if a.ackedBy(by) {
				return &wrongReading{p, fmt.Errorf("%v was acknowledged and is gone", a.value)}
			}
		}
	}
	return nil
}

func (a *attempt) ackedBy(by moment) bool { return a.acked && !by.before(a.end) }

// beats says whether a must win over b, if both are there.
func (a *attempt) beats(b *attempt) bool {
	if a.begin.tick == b.begin.tick {
		return a.order > b.order
	}
	return b.end.before(a.begin) && (a.instance == b.instance || a.begin.wall.Sub(b.end.wall) > conflict)
}

// allowed judges a value: it must have been sent, and nothing that must win over
// it may have been acknowledged by then.
func allowed(attempts []*attempt, value float64, by moment) error {
	var is *attempt // the last one, if the request was repeated
	for _, a := range attempts {
		if a.value == value {
			is = a
		}
	}
	if is == nil {
		return fmt.Errorf("%v was never sent", value)
	}
	for _, a := range attempts {
		if a.ackedBy(by) && a.beats(is) {
			return fmt.Errorf("%v is there, but %v was sent after it and acknowledged", value, a.value)
		}
	}
	return nil
}

// Two metrics of each reading, so that one that is made of two attempts is seen.
func metricsOf(value float64) map[string]float64 {
	return map[string]float64{"v": value, "half": value / 2}
}

func valueOf(metrics map[string]float64) (float64, error) {
	v, half := metrics["v"], metrics["half"]
	if len(metrics) != 2 || half != v/2 {
		return 0, fmt.Errorf("half a reading: %v", metrics)
	}
	return v, nil
}

// devices of these tests.
func deviceName(i int) string { return fmt.Sprintf("pump-%d", i) }

// someTime is one of few times over three days, so that repeats are frequent.
func someTime(base int64, i int) int64 {
	return base + int64(i)*int64(17*time.Second) + int64(i%3)
}
