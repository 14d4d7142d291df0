package hub

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
)

// Owner says which process reads a partition.
type Owner struct {
	Partition string
	ID        string    // "": nobody
	Since     time.Time // when it was last written
	Version   string    // of what was read; "": there was none
}

// Place is the last event of a partition that is durable.
type Place struct {
	Partition string
	Sequence  int64
}

// Checkpoints keeps who reads which partition of a hub in a consumer group, and
// how far they are. It is used concurrently.
type Checkpoints interface {
	// Owners are all that are known.
	Owners(ctx context.Context) ([]Owner, error)
	// Claim writes owners whose version is still the one given, and returns those
	// that were written, with their new version and time; the others are left out.
	Claim(ctx context.Context, owners []Owner) ([]Owner, error)
	// Places are those of the partitions of which some event is durable. Whoever
	// handles events moves them.
	Places(ctx context.Context) ([]Place, error)
}

// Handle makes the events of a partition, in order, durable. After an error it
// gets the same events again. Events of several partitions come concurrently,
// and after a fault some may come again.
type Handle func(ctx context.Context, partition string, events []Event) error

// Consume reads the partitions that it gets a share of until ctx ends, and then
// returns nil. It outlasts every fault, the hub's, the checkpoints' and the
// handle's, and says each once in the log.
func (h *Hub) Consume(ctx context.Context, checkpoints Checkpoints, handle Handle) error {
	c := &consumption{hub: h, checkpoints: checkpoints, handle: handle, faults: faults{log: h.cfg.Log}}
	var p pause
	for ctx.Err() == nil {
		begun := time.Now()
		err := c.run(ctx)
		c.faults.note("sharing out partitions", err)
		if time.Since(begun) > maxPause {
			p = pause{}
		}
		p.wait(ctx)
	}
	return nil
}

// consumption is one Consume.
type consumption struct {
	hub         *Hub
	checkpoints Checkpoints
	handle      Handle
	faults      faults
}

// run shares out partitions and reads them until ctx ends, the hub cannot be
// asked for its partitions, or the client hangs.
func (c *consumption) run(ctx context.Context) error {
	running, end := context.WithCancelCause(ctx)
	defer end(nil)
	client, err := c.hub.newConsumer(c.hub.cfg.ConsumerGroup)
	if err != nil {
		return err
	}
	discard := sync.OnceFunc(func() {
		c.hub.discard(func(ctx context.Context) { _ = client.Close(ctx) })
	})
	defer discard()
	// What hangs holds locks of the client that know no context: only the end of its
	// connection ends it.
	hangs := func() {
		end(fmt.Errorf("%w: %w for %v: a new connection is tried", ErrUnavailable, errSilent, c.patience()))
		discard()
	}
	ids, err := c.hub.partitionIDs(ctx)
	if err != nil {
		return err
	}
	s := newShelf(running, c, hangs)
	defer s.done()
	processor, err := azeventhubs.NewProcessor(client, s, &azeventhubs.ProcessorOptions{
		LoadBalancingStrategy:       azeventhubs.ProcessorStrategyGreedy,
		UpdateInterval:              c.hub.cfg.Claim,
		PartitionExpirationDuration: c.hub.cfg.Expiry,
		StartPositions:              azeventhubs.StartPositions{Default: azeventhubs.StartPosition{Earliest: to.Ptr(true)}},
		Prefetch:                    -1,
	})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	var readers sync.WaitGroup
	budget := c.hub.cfg.ReadBytes / max(1, len(ids))
	readers.Go(func() {
		for {
			partition := processor.NextPartitionClient(running)
			if partition == nil {
				return
			}
			readers.Go(func() { c.read(running, partition, budget, hangs) })
		}
	})
	err = processor.Run(running)
	if running.Err() != nil && ctx.Err() == nil {
		err = context.Cause(running)
	}
	end(nil)
	readers.Wait()
	return wrap(ctx, "share out partitions", err)
}

// patience is how long the client may take to open partitions, or longer than it
// was told to wait for events. The SDK has no bound of its own there: a hub that
// keeps one answer back would hang all partitions for ever.
func (c *consumption) patience() time.Duration {
	return 2*c.hub.cfg.Claim + 3*c.hub.cfg.AskTimeout
}

// pageEvents is how many events are handed on at once, at most.
const pageEvents = 1000

// maxFailures in a row a reader bears before its link is opened anew.
const maxFailures = 5

// read hands on a partition's events until it is somebody else's. It calls hangs
// if the client does not come back.
func (c *consumption) read(ctx context.Context, partition *azeventhubs.ProcessorPartitionClient, budget int, hangs func()) {
	defer c.hub.discard(func(ctx context.Context) { _ = partition.Close(ctx) })
	what := "reading partition " + partition.PartitionID()
	pages := newPages(partition, budget, pageEvents)
	var p pause
	for ctx.Err() == nil {
		watch := time.AfterFunc(c.patience(), hangs)
		events, err := pages.next(ctx, c.hub.cfg.AskTimeout, c.hub.cfg.Poll, pageEvents)
		watch.Stop()
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, ErrTaken):
			c.hub.cfg.Log.Info("partition is read by another process now", "partition", partition.PartitionID())
			return
		case err != nil:
			c.faults.note(what, err)
			if p.wait(ctx); p.n >= maxFailures {
				return
			}
			continue
		case len(events) == 0:
			continue
		}
		p = pause{}
		c.faults.note(what, nil)
		c.give(ctx, partition.PartitionID(), events)
	}
}

// give hands events on until they are durable.
func (c *consumption) give(ctx context.Context, partition string, events []Event) {
	var p pause
	for ctx.Err() == nil {
		err := contained(ctx, func(ctx context.Context) error { return c.handle(ctx, partition, events) })
		if ctx.Err() != nil {
			return
		}
		c.faults.note("handling events of partition "+partition, err)
		if err == nil {
			return
		}
		p.wait(ctx)
	}
}

// pause is the time between tries, each twice as long.
type pause struct{ n int }

const (
	minPause = 100 * time.Millisecond
	maxPause = 3 * time.Second // what waits is late by that when the store is back
)

func (p *pause) wait(ctx context.Context) {
	d := min(minPause<<min(p.n, 16), maxPause)
	p.n++
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// faults says once in the log that something fails, and once that it does not
// any more.
type faults struct {
	log  *slog.Logger
	mu   sync.Mutex
	open map[string]bool
}

func (f *faults) note(what string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case err != nil && !f.open[what]:
		if f.open == nil {
			f.open = map[string]bool{}
		}
		f.open[what] = true
		f.log.Warn(what+" fails and is tried again", "error", err)
	case err == nil && f.open[what]:
		delete(f.open, what)
		f.log.Info(what + " goes on")
	}
}
