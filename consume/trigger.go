package consume

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"sluice/hub"
	"sluice/internal/invoke"
)

// What the Functions host knows of the function: its folder and its binding
// (function.json).
const (
	Name    = "consume"
	Binding = "events"
)

// MaxEvents is how many events a call may have at most, by host.json
// (maxEventBatchSize), with room for who raises it for small events; all of them of
// 1 MiB would be as much as a process may hold.
const MaxEvents = 256

// Trigger takes what the host's trigger sends. It may be called concurrently.
type Trigger struct {
	consumer   *Consumer
	hub, group string
	log        *slog.Logger
}

// NewTrigger makes the trigger of a consumer whose progress is that of a hub and
// consumer group.
func NewTrigger(c *Consumer, hub, group string) *Trigger {
	return &Trigger{consumer: c, hub: hub, group: group, log: c.log}
}

// Run takes the events of a call, and says what was done. After an error the
// host calls again, as function.json says.
func (t *Trigger) Run(ctx context.Context, e invoke.Envelope) ([]string, error) {
	batch, err := e.Events(Binding)
	if err != nil {
		return nil, err
	}
	if err := t.check(batch); err != nil {
		return nil, err
	}
	events := make([]hub.Event, len(batch.Events))
	for i, e := range batch.Events {
		events[i] = hub.Event(e)
	}
	if batch.Retry != nil && batch.Retry.Count > 0 {
		t.log.Warn("the host tries events again", "partition", batch.Partition, "events", len(events), "try", batch.Retry.Count)
	}
	r, err := t.consumer.take(ctx, batch.Partition, events)
	if err != nil {
		t.log.Error("events are not durable: the host tries them again", "partition", batch.Partition, "events", len(events), "error", err.Error())
		return nil, err
	}
	return []string{fmt.Sprintf("partition %s: %v", batch.Partition, r)}, nil
}

// check sees whether the host reads the hub that the service knows: else the
// progress would be another's.
func (t *Trigger) check(b invoke.Batch) error {
	for _, same := range []struct{ what, host, service string }{
		{"event hub", b.Hub, t.hub}, {"consumer group", b.ConsumerGroup, t.group},
	} {
		if same.host != "" && same.service != "" && !strings.EqualFold(same.host, same.service) {
			return fmt.Errorf("the host reads %s %q, the service is set to %q: function.json and the settings must name the same", same.what, same.host, same.service)
		}
	}
	return nil
}

// take is Take with what it did in the log; what went wrong is for whoever calls
// again.
func (c *Consumer) take(ctx context.Context, partition string, events []hub.Event) (Result, error) {
	r, err := c.Take(ctx, partition, events)
	switch {
	case err != nil:
	case r.Rejected > 0:
		c.log.Warn("consumed, with dead letters", "partition", partition, "result", r.String())
	default:
		c.log.Debug("consumed", "partition", partition, "result", r.String())
	}
	return r, err
}
