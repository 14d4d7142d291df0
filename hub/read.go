package hub

import "context"

// Read gives the events of a partition with from ≤ sequence < to, in order, in
// pages of at most max events and about Config.ReadBytes. Events that have
// expired are not there; it ends when the partition holds none before to any
// more. An error of each ends it and is returned. Errors: ErrTaken if another
// reader takes the partition over, else those of Partitions.
func (h *Hub) Read(ctx context.Context, partition string, from, to int64, max int, each func([]Event) error) error {
	return errClosed
}
