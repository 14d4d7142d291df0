// Package consume takes events of an Event Hub: ours, which carry blocks, and
// those that devices send themselves. It judges them, makes what is right durable,
// puts what is not into the dead letters, and leaves no gap: it knows from
// consume/progress what is durable and rereads what it was not given. Who calls
// it, the Functions host's trigger or this process, makes no difference.
package consume

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"sluice/consume/progress"
	"sluice/deadletters"
	"sluice/hub"
	"sluice/telemetry"
	"sluice/telemetry/block"
)

// Engine makes readings durable. It is used concurrently.
type Engine interface {
	// Shard is the shard of a device.
	Shard(device string) int
	// AppendQueued makes devices' readings, all of one shard, ascending by ID,
	// durable. An *engine.FloorError if some are older than it says; a Refuser if some
	// are refused for good, and all others are durable.
	AppendQueued(ctx context.Context, shard int, devices []block.Device) error
}

// Refuser is an error that says which readings the store refuses for good.
type Refuser interface {
	error
	Refused(device string, stamp telemetry.Stamp) bool
}

// DeadLetters keeps what cannot be taken, each event once.
type DeadLetters interface {
	Put(ctx context.Context, letters []deadletters.Letter) error
}

// Hub is the Event Hub, for what a call was not given.
type Hub interface {
	Name() string
	Partitions(ctx context.Context) ([]hub.Partition, error)
	Partition(ctx context.Context, id string) (hub.Partition, error)
	// Read gives the events of a partition with from ≤ sequence < to, in order.
	Read(ctx context.Context, partition string, from, to int64, max int, each func([]hub.Event) error) error
}

// Config is what a Consumer needs to know. Engine, DeadLetters, Progress and Now
// are needed, the rest has defaults.
type Config struct {
	Engine      Engine
	DeadLetters DeadLetters
	Progress    *progress.Store
	// Hub rereads what calls leave out; nil: none, and a call that begins beyond what
	// is durable fails.
	Hub Hub
	// Retention is how long readings are kept; 0: for ever.
	Retention time.Duration
	// Refuse judges devices: nil, or why nothing of them is taken. Default: nothing is
	// wrong with any.
	Refuse func(device string) *telemetry.Refusal
	// MaxDecoded bounds a body decompressed, MaxReadings its readings, MaxMetrics the
	// metrics of one. Defaults: telemetry's.
	MaxDecoded              int64
	MaxReadings, MaxMetrics int
	// RoundBytes (default 32 MiB, in memory, decoded) is how much is gathered before
	// it is appended. Parallel (4) is how many partitions decode and append at a time,
	// Shards (8) to how many shards each of them appends at the same time.
	RoundBytes int
	Parallel   int
	Shards     int
	// Deadline (5 min) is when a call ends, whatever is left: half of the time after
	// which the host would kill the process (functionTimeout in host.json). Page (500)
	// is how many events are reread at a time.
	Deadline time.Duration
	Page     int
	Now      func() time.Time
	Log      *slog.Logger // nil: none
}

func (c Config) withDefaults() Config {
	c.MaxDecoded = cmp.Or(c.MaxDecoded, telemetry.MaxDecoded)
	c.MaxReadings = cmp.Or(c.MaxReadings, telemetry.MaxReadings)
	c.MaxMetrics = cmp.Or(c.MaxMetrics, telemetry.MaxMetrics)
	c.RoundBytes = cmp.Or(c.RoundBytes, 32<<20)
	c.Parallel = cmp.Or(c.Parallel, 4)
	c.Shards = cmp.Or(c.Shards, 8)
	c.Deadline = cmp.Or(c.Deadline, 5*time.Minute)
	c.Page = cmp.Or(c.Page, 500)
	if c.Refuse == nil {
		c.Refuse = func(string) *telemetry.Refusal { return nil }
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// Consumer takes events. It may be used concurrently, also for one partition, also
// by several processes: then work is done twice, and no harm.
type Consumer struct {
	cfg   Config
	log   *slog.Logger
	slots chan struct{} // holds one for each round under way
}

// New makes a Consumer.
func New(cfg Config) *Consumer {
	cfg = cfg.withDefaults()
	return &Consumer{cfg: cfg, log: cfg.Log, slots: make(chan struct{}, cfg.Parallel)}
}

// Result is what a Take did, also one that failed.
type Result struct {
	Events   int   // judged, those reread included
	Readings int   // durable
	Rejected int   // readings that were refused (an event that is none of readings: 1)
	Letters  int   // events that went into the dead letters
	Appends  int   // calls of the engine
	Reread   int   // events that the call was not given
	Lost     int64 // events that the hub does not have any more
}

func (r *Result) add(o Result) {
	r.Events += o.Events
	r.Readings += o.Readings
	r.Rejected += o.Rejected
	r.Letters += o.Letters
	r.Appends += o.Appends
}

// String is the result as a line of the log.
func (r Result) String() string {
	s := fmt.Sprintf("%d events, %d readings in %d appends", r.Events, r.Readings, r.Appends)
	if r.Rejected > 0 {
		s += fmt.Sprintf(", %d rejected, %d dead letters", r.Rejected, r.Letters)
	}
	if r.Reread > 0 {
		s += fmt.Sprintf(", %d events reread", r.Reread)
	}
	if r.Lost > 0 {
		s += fmt.Sprintf(", %d events lost to the hub's retention", r.Lost)
	}
	return s
}

// Take makes events of one partition durable, or dead letters, together with all
// before them that are not yet: after nil the progress of the partition says so.
// An error is about all of them (the store is away, or the hub while events are
// reread): then the same or more must come again. Events that came before are
// judged again, and nothing comes of it.
func (c *Consumer) Take(ctx context.Context, partition string, events []hub.Event) (Result, error) {
	var r Result
	if len(events) == 0 {
		return r, nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Deadline)
	defer cancel()
	events = timed(inOrder(events))
	t := &taking{Consumer: c, partition: partition, result: &r}
	err := t.begin(ctx, events)
	for first := 0; err == nil && first < len(events); {
		if err = t.fill(ctx, &events[first]); err != nil {
			break
		}
		next := first + 1
		for next < len(events) && events[next].Sequence == events[next-1].Sequence+1 {
			next++
		}
		err = t.take(ctx, events[first:next])
		first = next
	}
	if err != nil {
		return r, fmt.Errorf("partition %s: %w", partition, err)
	}
	return r, nil
}

// inOrder is events in ascending order of their sequence numbers, as they are
// given in all likelihood, each once.
func inOrder(events []hub.Event) []hub.Event {
	ascends := func() bool {
		for i := 1; i < len(events); i++ {
			if events[i].Sequence <= events[i-1].Sequence {
				return false
			}
		}
		return true
	}
	if ascends() {
		return events
	}
	events = slices.Clone(events)
	slices.SortStableFunc(events, func(a, b hub.Event) int { return cmp.Compare(a.Sequence, b.Sequence) })
	return slices.CompactFunc(events, func(a, b hub.Event) bool { return a.Sequence == b.Sequence })
}

// taking is a Take under way.
type taking struct {
	*Consumer
	partition string
	at        progress.Position // what is durable
	patience  time.Time         // until when the call rereads
	former    bool              // what is left of the call is not of this hub: it does not move at
	result    *Result
}
