package hub

import (
	"context"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
)

// shelf is Checkpoints as the SDK's processor takes them. The processor ends
// when they fail, and never opens a partition again whose place it could not
// read; so what fails is tried again until it succeeds. The partitions that are
// open are read on meanwhile.
type shelf struct {
	*consumption
	running context.Context //nolint:containedctx // the processor's: at its end there is one try
	// silent ends the processor if it does not ask for long. It asks, one question
	// after the other, every Claim, and meanwhile opens what it got.
	silent *time.Timer
}

// newShelf calls hangs when the processor is not heard of for the consumption's
// patience. Whoever made it calls done when the processor has ended.
func newShelf(running context.Context, c *consumption, hangs func()) *shelf {
	return &shelf{c, running, time.AfterFunc(c.patience(), hangs)}
}

func (s *shelf) done() { s.silent.Stop() }

// lastTry bounds the one try that is left at the end.
const lastTry = 2 * time.Second

func (s *shelf) try(ctx context.Context, do func(context.Context) error) error {
	const what = "keeping who reads which partition"
	s.silent.Stop() // it takes as long as the checkpoints are away
	defer s.silent.Reset(s.patience())
	var p pause
	for {
		if s.running.Err() != nil {
			ctx, cancel := context.WithTimeout(ctx, lastTry)
			defer cancel()
			return do(ctx)
		}
		err := do(ctx)
		if s.running.Err() == nil {
			s.faults.note(what, err)
		}
		if err == nil || ctx.Err() != nil {
			return err
		}
		p.wait(ctx)
	}
}

// ListOwnership implements azeventhubs.CheckpointStore.
func (s *shelf) ListOwnership(ctx context.Context, namespace, hub, group string, _ *azeventhubs.ListOwnershipOptions) (all []azeventhubs.Ownership, err error) {
	err = s.try(ctx, func(ctx context.Context) error {
		owners, err := s.checkpoints.Owners(ctx)
		if err != nil {
			return err
		}
		all = ownerships(owners, namespace, hub, group)
		return nil
	})
	return all, err
}

func ownerships(owners []Owner, namespace, hub, group string) []azeventhubs.Ownership {
	all := make([]azeventhubs.Ownership, len(owners))
	for i, o := range owners {
		all[i] = azeventhubs.Ownership{
			FullyQualifiedNamespace: namespace, EventHubName: hub, ConsumerGroup: group,
			PartitionID: o.Partition, OwnerID: o.ID, LastModifiedTime: o.Since,
		}
		if o.Version != "" {
			tag := azcore.ETag(o.Version)
			all[i].ETag = &tag
		}
	}
	return all
}

// ClaimOwnership implements azeventhubs.CheckpointStore.
func (s *shelf) ClaimOwnership(ctx context.Context, wanted []azeventhubs.Ownership, _ *azeventhubs.ClaimOwnershipOptions) (won []azeventhubs.Ownership, err error) {
	if len(wanted) == 0 {
		return nil, nil
	}
	owners := make([]Owner, len(wanted))
	for i, o := range wanted {
		owners[i] = Owner{Partition: o.PartitionID, ID: o.OwnerID}
		if o.ETag != nil {
			owners[i].Version = string(*o.ETag)
		}
	}
	err = s.try(ctx, func(ctx context.Context) error {
		claimed, err := s.checkpoints.Claim(ctx, owners)
		if err != nil {
			return err
		}
		won = ownerships(claimed, wanted[0].FullyQualifiedNamespace, wanted[0].EventHubName, wanted[0].ConsumerGroup)
		return nil
	})
	return won, err
}

// ListCheckpoints implements azeventhubs.CheckpointStore. A partition is read from
// its last durable event on, which comes again: only by that whoever handles events
// sees that the hub is another one, made anew, that has as many. A place beyond the
// partition's end is that of such a hub, too: the service would refuse it, so the
// partition is read from its beginning.
func (s *shelf) ListCheckpoints(ctx context.Context, namespace, hub, group string, _ *azeventhubs.ListCheckpointsOptions) (all []azeventhubs.Checkpoint, err error) {
	err = s.try(ctx, func(ctx context.Context) error {
		places, err := s.checkpoints.Places(ctx)
		if err != nil || len(places) == 0 {
			return err
		}
		partitions, err := s.hub.Partitions(ctx)
		if err != nil {
			return err
		}
		last := map[string]int64{}
		for _, p := range partitions {
			last[p.ID] = p.Last
		}
		all = nil
		for _, place := range places {
			before := place.Sequence - 1
			if end, ok := last[place.Partition]; ok && place.Sequence <= end && before >= 0 {
				all = append(all, azeventhubs.Checkpoint{
					FullyQualifiedNamespace: namespace, EventHubName: hub, ConsumerGroup: group,
					PartitionID: place.Partition, SequenceNumber: &before,
				})
			}
		}
		return nil
	})
	return all, err
}

// SetCheckpoint implements azeventhubs.CheckpointStore: whoever handles events
// writes how far it is.
func (s *shelf) SetCheckpoint(context.Context, azeventhubs.Checkpoint, *azeventhubs.SetCheckpointOptions) error {
	return nil
}
