package main

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// prober knows whether accounts answer, asking them no more often than every
// few seconds, however often it is asked.
type prober struct {
	names []string
	check func(ctx context.Context, account int, write bool) error
	now   func() time.Time
	// away says what calls have shown lately: an account does not answer.
	away func() bool

	mu      sync.Mutex
	asked   time.Time
	written time.Time // when all of them took a write
	states  []accountState
}

const (
	askEvery   = 5 * time.Second
	askAgain   = time.Second // while an account is away
	writeEvery = time.Minute // a write costs more than a read
	askWithin  = 3 * time.Second
)

// ask says what the accounts answered, now or a few seconds ago.
func (p *prober) ask(ctx context.Context) []accountState {
	p.mu.Lock()
	defer p.mu.Unlock()
	every := askEvery
	if p.away() {
		every = askAgain
	}
	if now := p.now(); p.states == nil || now.Sub(p.asked) >= every || now.Before(p.asked) {
		p.askAll(ctx)
	}
	return p.states
}

// askAll is not ended by who asks: others wait for the same answer.
func (p *prober) askAll(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askWithin)
	defer cancel()
	began := p.now()
	write := began.Sub(p.written) >= writeEvery || p.failed()
	states := make([]accountState, len(p.names))
	var all sync.WaitGroup
	for i, name := range p.names {
		all.Go(func() {
			states[i] = accountState{Name: name, Reachable: true}
			if err := p.safely(ctx, i, write); err != nil {
				states[i] = accountState{Name: name, Reason: err.Error()}
			}
		})
	}
	all.Wait()
	p.states, p.asked = states, p.now()
	if write && !p.failed() {
		p.written = began
	}
}

func (p *prober) failed() bool {
	for _, s := range p.states {
		if !s.Reachable {
			return true
		}
	}
	return false
}

// safely turns a panic, which would end the process in a goroutine of its own,
// into an error.
func (p *prober) safely(ctx context.Context, account int, write bool) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the check of account %s panicked: %v", p.names[account], r)
		}
	}()
	return p.check(ctx, account, write)
}
