package tables

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"

	"sluice/store"
)

// breaker keeps calls from an account that does not answer: while it is open
// they fail at once, all but one a rest, which sees whether the account is back.
// So callers are told within the time of an outage, not after the deadline of
// each, and nothing piles up. An answer of any status is an answer: throttling
// does not open it.
type breaker struct {
	circuit *gobreaker.TwoStepCircuitBreaker[struct{}]
	now     func() time.Time
	heard   atomic.Int64 // when the last answer came, at first when it began, in nanoseconds since the Unix epoch
	reason  atomic.Value // string: why the last try had no answer
}

// What a try tells the breaker besides success.
var (
	errSilent = errors.New("no answer")
	errUnsure = errors.New("says nothing about the account")
)

// newBreaker opens after that many tries in a row without an answer, if none
// came for silence either: many calls that fail together at a connection's end
// are no outage yet.
func newBreaker(failures uint32, silence, rest time.Duration, now func() time.Time) *breaker {
	b := &breaker{now: now}
	b.heard.Store(now().UnixNano())
	b.circuit = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		MaxRequests: 1,
		Timeout:     rest,
		ReadyToTrip: func(c gobreaker.Counts) bool {
			return c.ConsecutiveFailures >= failures && now().UnixNano()-b.heard.Load() >= int64(silence)
		},
		IsExcluded: func(err error) bool { return errors.Is(err, errUnsure) },
	})
	return b
}

// admit lets a try through, which must then be reported to done, or says why not.
func (b *breaker) admit() (done func(error), f *failure) {
	done, err := b.circuit.Allow()
	if err != nil {
		return nil, &failure{shut, b.away()}
	}
	return done, nil
}

// report tells done what a try showed: err is nil if it was answered.
func (b *breaker) report(done func(error), err error) {
	switch {
	case err == nil:
		b.heard.Store(b.now().UnixNano())
	case !errors.Is(err, errUnsure):
		b.reason.Store(err.Error())
		err = errSilent
	}
	done(err)
}

// away is the error while the breaker is not closed.
func (b *breaker) away() error {
	if b.circuit.State() == gobreaker.StateClosed {
		return nil
	}
	reason, _ := b.reason.Load().(string)
	return fmt.Errorf("%w: it does not answer and is asked again every moment: %s", store.ErrUnavailable, reason)
}
