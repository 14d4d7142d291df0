package hub

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"
)

// breaker keeps sends from a hub that does not take them: while it is open they
// fail at once, and no reading waits to see whether the hub is back. A probe of
// its own does, every rest, until one is confirmed.
type breaker struct {
	circuit *gobreaker.TwoStepCircuitBreaker[struct{}]
	probe   func(context.Context) error
	rest    time.Duration
	log     *slog.Logger
	hard    atomic.Bool  // the failure at hand opens it at once
	reason  atomic.Value // string: the last failure

	ctx  context.Context // of the probes
	stop context.CancelFunc
}

// errUnsure says that a send says nothing about the hub.
var errUnsure = errors.New("says nothing about the hub")

func newBreaker(cfg Config, probe func(context.Context) error) *breaker {
	b := &breaker{probe: probe, rest: cfg.Rest, log: cfg.Log}
	b.ctx, b.stop = context.WithCancel(context.Background())
	b.circuit = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		MaxRequests: 1,
		Timeout:     cfg.Rest,
		ReadyToTrip: func(c gobreaker.Counts) bool {
			return b.hard.Load() || c.ConsecutiveFailures >= cfg.Failures
		},
		IsExcluded:    func(err error) bool { return errors.Is(err, errUnsure) },
		OnStateChange: func(_ string, from, to gobreaker.State) { b.changed(from, to) },
	})
	return b
}

// admit lets a send through, which must then be reported, or says why not.
func (b *breaker) admit() (done func(error), err error) {
	if err := b.away(); err != nil {
		return nil, err
	}
	done, err = b.circuit.Allow()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return done, nil
}

// report tells done how a send went.
func (b *breaker) report(ctx context.Context, done func(error), err error) {
	switch {
	case err == nil:
	case ctx.Err() != nil || errors.Is(err, ErrTooLarge):
		err = errUnsure
	default:
		b.reason.Store(err.Error())
		b.hard.Store(errors.Is(err, errSilent) || errors.Is(err, ErrDenied) || errors.Is(err, ErrGone))
	}
	done(err)
}

// away is the error while the breaker is not closed.
func (b *breaker) away() error {
	if b.circuit.State() == gobreaker.StateClosed {
		return nil
	}
	return fmt.Errorf("%w: it is asked again every moment: %s", ErrUnavailable, b.why())
}

func (b *breaker) why() string {
	reason, _ := b.reason.Load().(string)
	return reason
}

// changed is called under the circuit's lock.
func (b *breaker) changed(from, to gobreaker.State) {
	switch {
	case from == gobreaker.StateClosed && b.ctx.Err() == nil:
		b.log.Warn("event hub is away: nothing is sent to it until a probe comes through", "reason", b.why())
		go b.heal()
	case to == gobreaker.StateClosed:
		b.hard.Store(false)
		b.log.Info("event hub is back")
	}
}

// heal probes until the breaker is closed.
func (b *breaker) heal() {
	for {
		select {
		case <-b.ctx.Done():
			return
		case <-time.After(b.rest):
		}
		done, err := b.circuit.Allow()
		if err != nil {
			continue // a moment too early
		}
		if err = b.probe(b.ctx); err != nil {
			b.reason.Store(err.Error())
		}
		done(err)
		if b.circuit.State() == gobreaker.StateClosed {
			return
		}
	}
}

// close ends the probes.
func (b *breaker) close() { b.stop() }

// probe sees whether the hub takes what is sent to it.
func (h *Hub) probe(ctx context.Context) error {
	if h.cfg.Probe != nil {
		return h.send(ctx, nil, [][]byte{h.cfg.Probe}, nil)
	}
	_, err := h.partitionIDs(ctx)
	return err
}
