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
	value      float64 // no two attempts have the same
	begin, end int64   // by the ledger's clock; end is never while there is no answer
	order      int     // among those of one body
	acked      bool
}

// never is the end of what was not answered, while its answer may still come.
const never = math.MaxInt64

// ledger is what was sent and what was acknowledged. It may be used
// concurrently.
type ledger struct {
	mu       sync.Mutex
	clock    int64
	value    float64
	attempts map[place][]*attempt
	readings int // acknowledged, repeats too
	bodies   int // acknowledged
}

func newLedger() *ledger { return &ledger{attempts: map[place][]*attempt{}} }

// sending is what one request sends.
type sending struct {
	places   []place
	attempts []*attempt
}

// send notes that values are about to be sent for places.
func (l *ledger) send(places []place) sending {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.clock++
	b := sending{places: places, attempts: make([]*attempt, len(places))}
	for i, p := range places {
		l.value++
		a := &attempt{value: l.value, begin: l.clock, end: never, order: i}
		b.attempts[i], l.attempts[p] = a, append(l.attempts[p], a)
	}
	return b
}

// ack notes that a body was acknowledged.
func (l *ledger) ack(b sending) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.clock++
	for _, a := range b.attempts {
		a.end, a.acked = l.clock, true
	}
	l.readings += len(b.attempts)
	l.bodies++
}

// now is a moment: what is acknowledged later has a later end.
func (l *ledger) now() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.clock
}

// crash notes that the service is gone, and of what was acknowledged only what
// was by then counts (never: all). The rest may be there, but cannot come any
// more.
func (l *ledger) crash(by int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.clock++
	for _, attempts := range l.attempts {
		for _, a := range attempts {
			if !a.acked || a.end > by {
				a.end, a.acked = min(a.end, l.clock), false
			}
		}
	}
}

// verify judges what a device has: found are the readings that were read, in
// ascending order.
func (l *ledger) verify(device string, found []point) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	there := make(map[int64]bool, len(found))
	for i, p := range found {
		if i > 0 && p.at <= found[i-1].at {
			return fmt.Errorf("device %s: %s comes after %s: twice, or out of order", device, instant(p.at), instant(found[i-1].at))
		}
		if err := allowed(l.attempts[place{device, p.at}], p.value); err != nil {
			return fmt.Errorf("device %s at %s: %w", device, instant(p.at), err)
		}
		there[p.at] = true
	}
	for p, attempts := range l.attempts {
		if p.device != device || there[p.at] {
			continue
		}
		for _, a := range attempts {
			if a.acked {
				return fmt.Errorf("device %s at %s: %v was acknowledged and is gone", device, instant(p.at), a.value)
			}
		}
	}
	return nil
}

// allowed judges a value: it must have been sent, and nothing that was sent
// after it had ended may have been acknowledged.
func allowed(attempts []*attempt, value float64) error {
	var is *attempt
	for _, a := range attempts {
		if a.value == value {
			is = a
		}
	}
	if is == nil {
		return fmt.Errorf("%v was never sent", value)
	}
	for _, a := range attempts {
		if a.acked && (a.begin > is.end || a.begin == is.begin && a.order > is.order) {
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
