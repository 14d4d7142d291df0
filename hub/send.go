package hub

import (
	"context"
	"errors"
	"fmt"
	"sort"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
)

// overhead is what a message has besides a body: the frame of a batch, an id,
// the partition key and properties, twice.
const overhead = 2 << 10

// Send sends bodies of at most MaxBody bytes, as few messages as hold them, all
// with the same partition key and properties. After nil all are confirmed; after
// an error any of them may be there or come to be there. At once if Away.
// Errors: ErrUnavailable, ErrBusy, ErrDenied, ErrGone, ErrTooLarge, and the
// context's.
func (h *Hub) Send(ctx context.Context, key string, bodies [][]byte, properties map[string]any) error {
	if len(bodies) == 0 {
		return nil
	}
	done, err := h.breaker.admit()
	if err != nil {
		return err
	}
	err = h.send(ctx, &key, bodies, properties)
	h.breaker.report(ctx, done, err)
	return err
}

// send sends without asking the breaker.
func (h *Hub) send(ctx context.Context, key *string, bodies [][]byte, properties map[string]any) error {
	p, err := h.sender()
	if err != nil {
		return err
	}
	err = h.call(ctx, h.cfg.SendTimeout, func(ctx context.Context) error {
		return p.send(ctx, key, bodies, properties)
	})
	if errors.Is(err, errSilent) || ctx.Err() != nil {
		h.dropSender(p)
	}
	if errors.Is(meaning(err), ErrTooLarge) {
		h.limit.Store(0) // the link is another one than it was
	}
	return wrap(ctx, "send", err)
}

func wrap(ctx context.Context, what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, explain(ctx, err))
}

func (p *producer) send(ctx context.Context, key *string, bodies [][]byte, properties map[string]any) error {
	for len(bodies) > 0 {
		batch, err := p.client.NewEventDataBatch(ctx, &azeventhubs.EventDataBatchOptions{PartitionKey: key})
		if err != nil {
			return err
		}
		n, err := fill(batch, bodies, properties)
		if err != nil {
			return err
		}
		if err := p.client.SendEventDataBatch(ctx, batch, nil); err != nil {
			return err
		}
		bodies = bodies[n:]
	}
	return nil
}

// fill puts as many bodies into a batch as fit and returns their number.
func fill(batch *azeventhubs.EventDataBatch, bodies [][]byte, properties map[string]any) (int, error) {
	for i, body := range bodies {
		err := batch.AddEventData(&azeventhubs.EventData{Body: body, Properties: properties}, nil)
		switch {
		case errors.Is(err, azeventhubs.ErrEventDataTooLarge) && i > 0:
			return i, nil
		case errors.Is(err, azeventhubs.ErrEventDataTooLarge):
			return 0, fmt.Errorf("%w: %d bytes", err, len(body))
		case err != nil:
			return 0, err
		}
	}
	return len(bodies), nil
}

// MaxBody is how many bytes a body may have, as the hub's link says: 256 KiB on
// the Basic tier, 1 MiB on the others, less what a message has besides. It asks
// once. Errors are those of Send.
func (h *Hub) MaxBody(ctx context.Context) (int, error) {
	if limit := h.limit.Load(); limit > 0 {
		return int(limit) - overhead, nil
	}
	done, err := h.breaker.admit()
	if err != nil {
		return 0, err
	}
	limit, err := h.askLimit(ctx)
	h.breaker.report(ctx, done, err)
	if err != nil {
		return 0, err
	}
	h.limit.Store(int64(limit))
	return limit - overhead, nil
}

func (h *Hub) askLimit(ctx context.Context) (int, error) {
	p, err := h.sender()
	if err != nil {
		return 0, err
	}
	var limit int
	err = h.call(ctx, h.cfg.SendTimeout, func(ctx context.Context) (err error) {
		limit, err = p.limit(ctx)
		return err
	})
	if errors.Is(err, errSilent) {
		h.dropSender(p)
	}
	if err != nil {
		return 0, wrap(ctx, "ask for the largest message", err) // a call that nobody waits for may still write limit
	}
	return limit, nil
}

// Messages of more than maxLimit bytes are not sent: no tier needs them. A link
// that takes less than minLimit is none of an Event Hub.
const (
	minLimit = 128 << 10
	maxLimit = 1 << 20
)

// limit is how large a message of the link may be, at most maxLimit. The SDK
// tells only whether a size is too large, so it is asked until only one is left;
// each question but the first is answered without the network.
func (p *producer) limit(ctx context.Context) (int, error) {
	if _, err := p.client.NewEventDataBatch(ctx, nil); err != nil {
		return 0, err
	}
	takes := func(size int) bool {
		_, err := p.client.NewEventDataBatch(ctx, &azeventhubs.EventDataBatchOptions{MaxBytes: uint64(size)})
		return err == nil
	}
	if takes(maxLimit) {
		return maxLimit, nil
	}
	if !takes(minLimit) {
		return 0, fmt.Errorf("%w: its link takes no message of %d bytes", ErrUnavailable, minLimit)
	}
	return minLimit + sort.Search(maxLimit-minLimit, func(i int) bool { return !takes(minLimit + i + 1) }), nil
}
