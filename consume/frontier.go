package consume

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"sluice/consume/progress"
	"sluice/hub"
)

// ErrUnknown says that it is not known how far the hub is consumed.
var ErrUnknown = errors.New("it is not known how far the event hub is consumed")

const (
	// frontierFresh is how long an answer is good for: nobody needs it to the second.
	frontierFresh = 5 * time.Second
	// frontierTimeout bounds one look at hub and store, frontierPatience how long a
	// caller waits for it.
	frontierTimeout  = 10 * time.Second
	frontierPatience = time.Second
	// frontierMargin is what clocks may differ by, here and in the hub.
	frontierMargin = 10 * time.Second
)

// Lag is how far a partition is consumed.
type Lag struct {
	Partition string
	// Sequence is the last event that is durable, Last the last one that the hub
	// has; -1: none.
	Sequence, Last int64
	// Events are how many the hub has that are not durable yet. CaughtUp if none.
	Events   int64
	CaughtUp bool
	// Enqueued is when the last durable event came to the hub, and Behind how long
	// before the hub's last one that was. Zero: nothing is durable yet.
	Enqueued time.Time
	Behind   time.Duration
	// Until is the event before which all are being reread, 0 without.
	Until int64
	// Lost counts the events that expired before they were consumed.
	Lost int64
}

// Frontier tells how far the hub is consumed. It may be used concurrently, asks
// hub and store seldom, and keeps nobody waiting who can do with an older answer.
type Frontier struct {
	hub      Hub
	progress *progress.Store
	now      func() time.Time

	mu     sync.Mutex
	asking chan struct{} // closed when a look under way ends; nil: none is
	looked time.Time     // when the last look began
	err    error         // why it failed
	lags   []Lag         // of the last look that succeeded
	asOf   time.Time     // when that began
	upTo   time.Time     // the latest that was known; zero: nothing ever was
}

// NewFrontier makes a Frontier.
func NewFrontier(h Hub, p *progress.Store, now func() time.Time) *Frontier {
	return &Frontier{hub: h, progress: p, now: now}
}

// Consumed returns a time: everything that the hub had confirmed before is
// durable in the store. Where hub or store do not answer it may be an older one, which
// is true still, or there is none: ErrUnknown.
func (f *Frontier) Consumed(ctx context.Context) (time.Time, error) {
	f.refresh(ctx)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.upTo.IsZero() {
		return time.Time{}, f.unknown()
	}
	return f.upTo, nil
}

// Lags tells how far each partition is, as of a time some seconds ago; with an
// error where hub or store do not answer, as of longer ago.
func (f *Frontier) Lags(ctx context.Context) (lags []Lag, asOf time.Time, err error) {
	f.refresh(ctx)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.lags == nil || f.err != nil {
		err = f.unknown()
	}
	return f.lags, f.asOf, err
}

func (f *Frontier) unknown() error {
	if f.err == nil {
		return ErrUnknown // a partition of which nothing is consumed, or no answer yet
	}
	return fmt.Errorf("%w: %w", ErrUnknown, f.err)
}

// refresh has hub and store asked, if nobody did so lately, and waits for the
// answer for a moment.
func (f *Frontier) refresh(ctx context.Context) {
	f.mu.Lock()
	began := f.now()
	age := began.Sub(f.looked)
	if f.asking == nil && (f.looked.IsZero() || age < 0 || age >= frontierFresh) {
		f.asking, f.looked = make(chan struct{}), began
		go f.look(context.WithoutCancel(ctx), began, f.asking)
	}
	asking := f.asking
	f.mu.Unlock()
	if asking == nil {
		return
	}
	patience := time.NewTimer(frontierPatience)
	defer patience.Stop()
	select {
	case <-asking:
	case <-ctx.Done():
	case <-patience.C:
	}
}

// look asks hub and store. Its context is no caller's: the answer is everybody's.
func (f *Frontier) look(ctx context.Context, began time.Time, done chan struct{}) {
	defer close(done)
	ctx, cancel := context.WithTimeout(ctx, frontierTimeout)
	defer cancel()
	lags, err := f.ask(ctx)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asking, f.err = nil, err
	if err != nil {
		return
	}
	f.lags, f.asOf = lags, began
	if upTo, known := reach(lags, began); known && upTo.Add(-frontierMargin).After(f.upTo) {
		f.upTo = upTo.Add(-frontierMargin)
	}
}

// ask asks the hub first: what it has by then and is durable afterwards is all
// that there was when it was asked.
func (f *Frontier) ask(ctx context.Context) ([]Lag, error) {
	partitions, err := f.hub.Partitions(ctx)
	if err != nil {
		return nil, err
	}
	positions, err := f.progress.All(ctx)
	if err != nil {
		return nil, err
	}
	known := map[string]progress.Position{}
	for _, p := range positions {
		known[p.Partition] = p
	}
	lags := make([]Lag, len(partitions))
	for i, p := range partitions {
		at, ok := known[p.ID]
		if !ok {
			at.Sequence = min(p.First, p.Last+1) - 1
		}
		lags[i] = lag(p, at)
	}
	return lags, nil
}

// lag compares a partition with what is durable of it.
func lag(p hub.Partition, at progress.Position) Lag {
	l := Lag{
		Partition: p.ID, Sequence: at.Sequence, Last: p.Last,
		Enqueued: at.Enqueued, Until: at.Until, Lost: at.Lost,
	}
	first := at.Sequence + 1
	if anew(p, at) {
		first = p.First
	}
	l.Events = max(0, p.Last-max(first, p.First)+1)
	l.CaughtUp = l.Events == 0
	if !l.CaughtUp && !l.Enqueued.IsZero() {
		l.Behind = max(0, p.LastEnqueued.Sub(l.Enqueued))
	}
	return l
}

// anew says that the hub is another one than that of the progress, as far as its
// last event tells.
func anew(p hub.Partition, at progress.Position) bool {
	switch {
	case at.Sequence > p.Last:
		return true
	case at.Sequence == p.Last && at.Offset != "":
		return p.LastEnqueued.Sub(at.Enqueued).Abs() >= moment
	default:
		return false
	}
}

// reach is the time before which all is durable of what the hub had confirmed;
// false if some partition's is not known.
func reach(lags []Lag, asked time.Time) (upTo time.Time, known bool) {
	upTo = asked
	for _, l := range lags {
		switch {
		case l.CaughtUp:
		case l.Enqueued.IsZero():
			return time.Time{}, false
		case l.Enqueued.Before(upTo):
			upTo = l.Enqueued
		}
	}
	return upTo, true
}
