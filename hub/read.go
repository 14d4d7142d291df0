package hub

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/Azure/go-amqp"
)

// RereadGroup is the consumer group that Read prefers, so that it is in nobody's
// way.
const RereadGroup = "sluice-reread"

const defaultGroup = "$Default"

// way is how to read a partition beside whoever reads it already.
type way struct {
	group string
	level *int64 // of ownership; nil: none
}

// ways of reading, the best first. The host's trigger and the SDK's processors
// read with an owner level of 0, and while they do the service refuses their
// group to any reader without one. So Read takes a group of its own; without
// one, as on the Basic tier, the default group, if that is not the trigger's; then
// the trigger's own, which works while the trigger is not there; and in the end
// takes the partition from the trigger, which opens it again within a minute and
// goes on from its checkpoint.
func (h *Hub) ways() []way {
	own := h.cfg.ConsumerGroup
	ways := []way{{group: RereadGroup}}
	if own != defaultGroup {
		ways = append(ways, way{group: defaultGroup})
	}
	if own != RereadGroup {
		ways = append(ways, way{group: own})
	}
	return append(ways, way{group: own, level: to.Ptr[int64](0)})
}

// Read gives the events of a partition with from ≤ sequence < to, in order, in
// pages of at most max events and about Config.ReadBytes. Events that have
// expired are not there; it ends when the partition holds none before to any
// more. An error of each ends it and is returned. It reads in RereadGroup, if
// that exists, see ways. Errors: ErrTaken if another reader takes the partition
// over, else those of Partitions.
func (h *Hub) Read(ctx context.Context, partition string, from, to int64, max int, each func([]Event) error) error {
	next := from
	var refused error
	for _, w := range h.ways() {
		if w.level != nil {
			h.cfg.Log.Warn("rereading takes the partition from the trigger for a while: make the consumer group "+RereadGroup+" and it need not",
				"hub", h.Name(), "partition", partition, "group", w.group)
		}
		begun := next
		err := h.readBy(ctx, w, partition, &next, to, max, each)
		if err == nil || next > begun || !elsewhere(err) {
			return err
		}
		h.cfg.Log.Debug("rereading is refused", slog.String("group", w.group), slog.Any("error", err))
		refused = errors.Join(refused, fmt.Errorf("as group %s: %w", w.group, err))
	}
	return refused
}

// elsewhere says that another way may work. One that is throttled is so in all
// ways, and comes to an end: that is no reason to take a partition from the trigger.
func elsewhere(err error) bool {
	return errors.Is(err, ErrTaken) || errors.Is(err, ErrGone) || errors.Is(err, ErrDenied) || crowded(err)
}

// crowded says that a group has as many readers of a partition as it may have
// without an owner level, five.
func crowded(err error) bool {
	var service *amqp.Error
	return errors.As(err, &service) && service.Condition == amqp.ErrCondResourceLimitExceeded
}

// readBy reads from next on, which it moves, in one way.
func (h *Hub) readBy(ctx context.Context, w way, partition string, next *int64, to int64, max int, each func([]Event) error) error {
	if *next >= to {
		return nil
	}
	client, err := h.newConsumer(w.group)
	if err != nil {
		return err
	}
	defer h.discard(func(ctx context.Context) { _ = client.Close(ctx) })
	from := *next
	open, err := client.NewPartitionClient(partition, &azeventhubs.PartitionClientOptions{
		StartPosition: azeventhubs.StartPosition{SequenceNumber: &from, Inclusive: true},
		OwnerLevel:    w.level,
		Prefetch:      -1,
	})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	pages := newPages(open, h.cfg.ReadBytes, max)
	for *next < to {
		events, err := pages.next(ctx, h.cfg.AskTimeout, h.cfg.AskTimeout, to-*next)
		if err != nil {
			return err
		}
		if len(events) == 0 {
			return h.nothingLeft(ctx, partition, *next)
		}
		*next, err = give(events, *next, to, each)
		if err != nil {
			return err
		}
	}
	return nil
}

// give gives those of events that are due to each, and returns what is next.
func give(events []Event, next, to int64, each func([]Event) error) (int64, error) {
	var due []Event
	for _, e := range events {
		switch {
		case e.Sequence >= to: // and so all before it have been given, or expired
			next = math.MaxInt64
		case e.Sequence >= next:
			due = append(due, e)
			next = e.Sequence + 1
		}
	}
	if len(due) == 0 {
		return next, nil
	}
	if err := each(due); err != nil {
		return due[0].Sequence, err
	}
	return next, nil
}

// nothingLeft sees whether a partition that was silent has nothing more.
func (h *Hub) nothingLeft(ctx context.Context, partition string, next int64) error {
	p, err := h.Partition(ctx, partition)
	switch {
	case err != nil:
		return err
	case p.Last < next || p.Last < p.First:
		return nil
	default:
		return fmt.Errorf("receive: %w: %w: it holds events from %d to %d, and sends none from %d on", ErrUnavailable, errSilent, p.First, p.Last, next)
	}
}
