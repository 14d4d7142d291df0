package ingest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sluice/engine"
	"sluice/telemetry"
	"sluice/telemetry/block"
	"sluice/telemetry/event"
)

// Queue takes readings before the store does, and whoever reads it brings them
// there: an Event Hub. It is used concurrently.
type Queue interface {
	// MaxBody is how many bytes a body may have.
	MaxBody(ctx context.Context) (int, error)
	// Send returns nil once all bodies are durable. After an error any of them may be
	// or become so. It waits for seconds at most, and while the queue is known to be
	// away not at all.
	Send(ctx context.Context, key string, bodies [][]byte, properties map[string]any) error
}

// sink is where flushes go: to the queue, if there is one, else and whenever it
// does not take all of a flush, to the store. Readings keep their stamps either
// way, so what is in both is there once.
type sink struct {
	queue Queue // nil: none
	store Appender
	now   func() time.Time // the wall clock
}

// stampsAhead is how far ahead of the wall clock stamps may be that go into the
// queue. They do not go back when that does; and whoever reads the queue does not
// believe those of more than a day after the queue had them.
const stampsAhead = 24 * time.Hour

var errAhead = errors.New("stamps are over a day ahead of the clock, which went back")

// append returns nil once devices, all of one shard, are durable; queued, if in
// the queue. Errors are the store's.
func (s *sink) append(ctx context.Context, shard int, devices []block.Device, trace string) (queued bool, err error) {
	if s.queue == nil {
		return false, s.store.Append(ctx, shard, devices)
	}
	away := s.send(ctx, shard, devices, trace)
	if away == nil {
		return true, nil
	}
	err = s.store.Append(ctx, shard, devices)
	var refuser Refuser
	if err == nil || errors.Is(err, engine.ErrFloor) || errors.As(err, &refuser) {
		return false, err
	}
	return false, fmt.Errorf("%w (and of the queue: %w)", err, away)
}

func (s *sink) send(ctx context.Context, shard int, devices []block.Device, trace string) error {
	if latest(devices).Sub(s.now()) > stampsAhead {
		return errAhead
	}
	limit, err := s.queue.MaxBody(ctx)
	if err != nil {
		return err
	}
	bodies, err := event.Encode(devices, limit)
	if err != nil {
		return err
	}
	var properties map[string]any
	if trace != "" {
		properties = map[string]any{traceparent: trace}
	}
	return s.queue.Send(ctx, key(shard), bodies, properties)
}

// latest is the highest stamp of devices, as a time.
func latest(devices []block.Device) time.Time {
	stamp := telemetry.Stamp(0)
	for i := range devices {
		for _, s := range devices[i].Readings.Stamps {
			stamp = max(stamp, s)
		}
		for k := range devices[i].Tags {
			stamp = max(stamp, devices[i].Tags[k].Stamp)
		}
	}
	return time.Unix(0, int64(stamp))
}

// key is the partition key of a shard: its events lie in one partition, in
// order, and a batch of them becomes few transactions.
func key(shard int) string { return fmt.Sprintf("s%02d", shard) }
