package consume

import (
	"context"

	"sluice/hub"
)

// Reader reads the partitions of a hub that this process gets a share of.
type Reader interface {
	Consume(ctx context.Context, checkpoints hub.Checkpoints, handle hub.Handle) error
}

// Run consumes by itself, without a host, until ctx ends. The checkpoints are the
// progress: an event counts as consumed when it is durable.
func (c *Consumer) Run(ctx context.Context, r Reader) error {
	return r.Consume(ctx, c.cfg.Progress, func(ctx context.Context, partition string, events []hub.Event) error {
		_, err := c.take(ctx, partition, events)
		return err
	})
}
