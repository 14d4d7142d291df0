package hub

import (
	"context"
	"errors"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"golang.org/x/sync/errgroup"
)

// asked bounds how many partitions are asked at the same time.
const asked = 8

// Partitions tells how far each partition is, in the order in which the hub
// names them. Errors: ErrUnavailable, ErrBusy, ErrDenied, ErrGone, and the
// context's.
func (h *Hub) Partitions(ctx context.Context) ([]Partition, error) {
	ids, err := h.partitionIDs(ctx)
	if err != nil {
		return nil, err
	}
	all := make([]Partition, len(ids))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(asked)
	for i, id := range ids {
		group.Go(func() (err error) {
			all[i], err = h.Partition(ctx, id)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return all, nil
}

// Partition tells how far one partition is. Errors are those of Partitions.
func (h *Hub) Partition(ctx context.Context, id string) (Partition, error) {
	var properties azeventhubs.PartitionProperties
	err := h.ask(ctx, "ask how far partition "+id+" is", func(ctx context.Context, client *azeventhubs.ConsumerClient) (err error) {
		properties, err = client.GetPartitionProperties(ctx, id, nil)
		return err
	})
	if err != nil {
		return Partition{}, err
	}
	p := Partition{ID: id, First: properties.BeginningSequenceNumber, Last: properties.LastEnqueuedSequenceNumber, LastEnqueued: properties.LastEnqueuedOn}
	if properties.IsEmpty {
		// What it held has expired: the next one gets the next number.
		p.First = max(p.First, p.Last+1)
	}
	return p, nil
}

func (h *Hub) partitionIDs(ctx context.Context) ([]string, error) {
	var properties azeventhubs.EventHubProperties
	err := h.ask(ctx, "ask for the partitions", func(ctx context.Context, client *azeventhubs.ConsumerClient) (err error) {
		properties, err = client.GetEventHubProperties(ctx, nil)
		return err
	})
	if err != nil {
		return nil, err // a call that nobody waits for may still write what it found
	}
	return properties.PartitionIDs, nil
}

// ask asks once more over a connection of its own if the one that was there was
// lost meanwhile: the SDK never opens it again for questions.
func (h *Hub) ask(ctx context.Context, what string, question func(context.Context, *azeventhubs.ConsumerClient) error) error {
	var err error
	for range 2 {
		var a *asker
		if a, err = h.questioner(); err != nil {
			return err
		}
		err = h.call(ctx, h.cfg.AskTimeout, func(ctx context.Context) error { return question(ctx, a.client) })
		if err == nil || meaning(err) != ErrUnavailable { //nolint:errorlint // one of the sentinels
			break
		}
		h.dropAsker(a)
		if errors.Is(err, errSilent) || ctx.Err() != nil {
			break
		}
	}
	return wrap(ctx, what, err)
}
