// Package compact is the timer function: it runs the compactor. The process
// alone has a ticker for that.
package compact

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"sluice/engine"
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

// margin is how long before its end a run begins nothing more.
const margin = 30 * time.Second

// Merger is the engine. What it did counts even if it is cut off or fails.
type Merger interface {
	// Compact merges every shard once and keeps retention.
	Compact(ctx context.Context) error
	// CompactDue merges what no instance has merged for rest, again and again while
	// there is such work, and keeps retention.
	CompactDue(ctx context.Context, rest, margin time.Duration) (engine.Compaction, error)
}

// Options say how a Trigger works.
type Options struct {
	// Rest is how long after a merge a shard is left alone, by all instances; 0:
	// each call merges all there is, once.
	Rest time.Duration
	// Deadline bounds a run; 0: Deadline.
	Deadline time.Duration
	Log      *slog.Logger // nil: none
}

// Trigger runs the compactor. It may be called concurrently.
type Trigger struct {
	merger  Merger
	opts    Options
	running chan struct{} // holds one while a run is under way
}

// New makes the trigger.
func New(m Merger, o Options) *Trigger {
	if o.Deadline == 0 {
		o.Deadline = Deadline
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Trigger{merger: m, opts: o, running: make(chan struct{}, 1)}
}

// errBusy is why a call did nothing.
var errBusy = errors.New("another run took all the time there was")

// Run merges what is due, and says what was done. There is one run at a time in
// a process: a second call waits for the first and then has one of its own, as
// what came meanwhile may be due. A run that is over before its work is has
// done what counts, and the next goes on there: that is no error.
func (t *Trigger) Run(ctx context.Context, e invoke.Envelope) ([]string, error) {
	timer, err := e.Timer(Binding)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, t.opts.Deadline)
	defer cancel()
	select {
	case t.running <- struct{}{}:
		defer func() { <-t.running }()
	case <-ctx.Done():
		return nil, errBusy
	}
	began := time.Now()
	done, err := t.merge(ctx)
	if err != nil {
		t.opts.Log.Error("compaction failed, the next run goes on", "entries", done.Entries, "shards", done.Shards, "error", err)
		return nil, err
	}
	return t.tell(timer, done, time.Since(began)), nil
}

func (t *Trigger) merge(ctx context.Context) (engine.Compaction, error) {
	if t.opts.Rest == 0 {
		return engine.Compaction{}, t.merger.Compact(ctx)
	}
	return t.merger.CompactDue(ctx, t.opts.Rest, min(margin, t.opts.Deadline/10))
}

func (t *Trigger) tell(timer invoke.Timer, done engine.Compaction, took time.Duration) (lines []string) {
	if timer.IsPastDue {
		lines = append(lines, "the timer was late")
	}
	line := "all shards merged"
	if t.opts.Rest > 0 {
		line = fmt.Sprintf("%d entries of %d shards merged", done.Entries, done.Shards)
	}
	lines = append(lines, fmt.Sprintf("%s in %s", line, took.Round(time.Millisecond)))
	if done.Remaining > 0 {
		left := fmt.Sprintf("time is over, %d shards are left for the next run", done.Remaining)
		t.opts.Log.Warn("compaction: " + left)
		lines = append(lines, left)
	}
	return lines
}
