package storetest

import (
	"context"
	"slices"
)

// Actors runs functions one at a time, cooperatively: each runs until its next
// call of a store whose hook is Hook, and waits there until Step lets it go
// on. So a test decides every interleaving of store calls, and the same
// decisions give the same history. An actor makes its store calls one after
// the other and waits for no other actor outside of them. Actors is for one
// goroutine, the test's.
type Actors struct {
	ctx    context.Context
	cancel context.CancelFunc
	all    []*Actor
}

// Actor is one of Actors.
type Actor struct {
	Name string

	ask    chan Call
	answer chan Verdict
	done   chan struct{}
	call   Call
}

type actorKey struct{}

// NewActors returns actors whose contexts are children of ctx. Stop ends them.
func NewActors(ctx context.Context) *Actors {
	a := &Actors{}
	a.ctx, a.cancel = context.WithCancel(ctx)
	return a
}

// ActorOf is the actor that a call's context belongs to; nil if none.
func ActorOf(ctx context.Context) *Actor {
	a, _ := ctx.Value(actorKey{}).(*Actor)
	return a
}

// Go starts an actor and returns when it waits at its first call or is done.
// run hands its context to the store. It must not end the test: it runs in a
// goroutine of its own.
func (a *Actors) Go(name string, run func(context.Context)) *Actor {
	x := &Actor{Name: name, ask: make(chan Call), answer: make(chan Verdict), done: make(chan struct{})}
	a.all = append(a.all, x)
	go func() {
		defer close(x.done)
		run(context.WithValue(a.ctx, actorKey{}, x))
	}()
	a.settle(x)
	return x
}

// settle waits until x waits at a call or is done.
func (a *Actors) settle(x *Actor) {
	select {
	case x.call = <-x.ask:
	case <-x.done:
		a.all = slices.DeleteFunc(a.all, func(y *Actor) bool { return x == y })
	}
}

// Hook is the hook of the stores that actors call. Who is no actor passes.
func (a *Actors) Hook(c Call) Verdict {
	x := ActorOf(c.Context)
	if x == nil {
		return Pass()
	}
	x.ask <- c
	return <-x.answer
}

// Waiting returns the actors that wait at a call, oldest first: all that are
// not done.
func (a *Actors) Waiting() []*Actor { return slices.Clone(a.all) }

// Call is what the actor waits for.
func (x *Actor) Call() Call { return x.call }

// Step lets an actor that waits make its call with a verdict, and returns when
// it waits again or is done; false: it is done.
func (a *Actors) Step(x *Actor, v Verdict) bool {
	x.answer <- v
	a.settle(x)
	return slices.Contains(a.all, x)
}

// Stop ends all actors: their contexts are cancelled and every call fails so
// before anything is done.
func (a *Actors) Stop() {
	a.cancel()
	for len(a.all) > 0 {
		a.Step(a.all[0], Fail(context.Canceled))
	}
}
