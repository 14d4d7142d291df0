package tables

import (
	"net/http"
	"sync"
	"time"
)

// skew reckons how far the service's clock is ahead of ours. An answer's Date
// has whole seconds and was written at some time between sending and receiving:
// each answer gives bounds, several narrow them. It may be used concurrently.
type skew struct {
	mu       sync.Mutex
	low      time.Duration
	high     time.Duration
	since    time.Time // by our clock: when the bounds were begun
	answered bool
}

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
	low, high := written.Sub(received.Round(0)), written.Add(time.Second).Sub(sent.Round(0))
	s.mu.Lock()
	defer s.mu.Unlock()
	age := received.Round(0).Sub(s.since)
	if s.answered && 0 <= age && age < renew && low <= s.high && high >= s.low {
		s.low, s.high = max(s.low, low), min(s.high, high)
		return
	}
	s.low, s.high, s.since, s.answered = low, high, received.Round(0), true
}

// value is the least skew that explains the answers: 0 where there were none.
func (s *skew) value() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !s.answered || s.low <= 0 && s.high >= 0:
		return 0
	case s.low > 0:
		return s.low
	default:
		return s.high
	}
}
