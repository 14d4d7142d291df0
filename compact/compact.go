// Package compact is the timer function: it runs the compactor. The process
// alone has a ticker for that.
package compact

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"sluice/internal/invoke"
)

// What the Functions host knows of the function: its folder, its binding
// (function.json) and how large its envelopes are, with much to spare.
const (
	Name        = "compact"
	Binding     = "timer"
	MaxEnvelope = 64 << 10
)

// Deadline is when a run ends, whatever is left: half of the time after which
// the host would kill the process (functionTimeout in host.json).
const Deadline = 5 * time.Minute

// Merger merges what is due and keeps retention. What it did counts even if it
// is cut off by the end of ctx.
type Merger interface {
	Compact(ctx context.Context) error
}

// Trigger runs the compactor. It may be called concurrently.
type Trigger struct {
	merger   Merger
	deadline time.Duration
	log      *slog.Logger
	running  chan struct{} // holds one while a run is under way
}

// New makes the trigger; deadline is Deadline but in tests.
func New(m Merger, deadline time.Duration, log *slog.Logger) *Trigger {
	return &Trigger{merger: m, deadline: deadline, log: log, running: make(chan struct{}, 1)}
}

// errBusy is why a call did nothing.
var errBusy = errors.New("another run took all the time there was")

// Run merges what is due. There is one run at a time in a process: a second call
// waits for the first and then has one of its own, as what came meanwhile may be
// due. A run that is ended by the deadline is an error; it has merged what it
// could, and the next goes on there.
func (t *Trigger) Run(ctx context.Context, e invoke.Envelope) (lines []string, err error) {
	timer, err := e.Timer(Binding)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, t.deadline)
	defer cancel()
	select {
	case t.running <- struct{}{}:
		defer func() { <-t.running }()
	case <-ctx.Done():
		return nil, errBusy
	}
	if err := t.merger.Compact(ctx); err != nil {
		t.log.Error("compaction failed, the next run goes on", "error", err)
		return nil, err
	}
	if timer.IsPastDue {
		lines = append(lines, "the timer was late")
	}
	return append(lines, fmt.Sprintf("compacted in %s", time.Since(began).Round(time.Millisecond))), nil
}
