package tables

import (
	"net/http"
	"sync"
	"time"
)

// skew reckons how far the service's clock is ahead of ours. An answer's Date
// has whole seconds and was written at some time between sending and receiving:
// each answer gives bounds, several narrow them. What one answer alone says
// against those before it is not believed: stamps never go back, so that a
// single Date of next year would stay with an instance until next year. It may
// be used concurrently.
type skew struct {
	mu       sync.Mutex
	known    bounds
	since    time.Time // by our clock: when the bounds were begun
	answered bool
	claim    bounds // of the last answer, if nothing confirmed it
	claimed  bool
}

// bounds are those of a skew.
type bounds struct{ low, high time.Duration }

func (b bounds) meets(o bounds) bool { return b.low <= o.high && o.low <= b.high }

func (b bounds) and(o bounds) bounds { return bounds{max(b.low, o.low), min(b.high, o.high)} }

// renew is how long bounds hold: clocks drift and are set.
const renew = time.Minute

// observe learns from an answer to what was sent and received at those times
// of our clock.
func (s *skew) observe(sent, received time.Time, date string) {
	written, err := http.ParseTime(date)
	if err != nil || received.Before(sent) {
		return
	}
	// Round strips the monotonic reading: it is wall clocks that are compared.
	b := bounds{written.Sub(received.Round(0)), written.Add(time.Second).Sub(sent.Round(0))}
	s.mu.Lock()
	defer s.mu.Unlock()
	age := received.Round(0).Sub(s.since)
	switch {
	case s.answered && 0 <= age && age < renew && s.known.meets(b):
		s.known, s.claimed = s.known.and(b), false
	case s.claimed && s.claim.meets(b):
		s.known, s.since, s.answered, s.claimed = s.claim.and(b), received.Round(0), true, false
	default:
		s.claim, s.claimed = b, true
	}
}

// value is the least skew that explains the answers: 0 where there were none.
func (s *skew) value() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !s.answered || s.known.low <= 0 && s.known.high >= 0:
		return 0
	case s.known.low > 0:
		return s.known.low
	default:
		return s.known.high
	}
}
