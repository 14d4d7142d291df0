package engine

import (
	"context"
	"sync"
	"time"
)

type shardStatus struct {
	mu     sync.Mutex
	merged time.Time
	err    error
	stuck  int // devices that the last merge could not merge
}

// carried takes note of devices that cannot be merged.
func (s *shardStatus) carried(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stuck += n
}

// begin forgets what was found the last time.
func (s *shardStatus) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stuck = 0
}

func (s *shardStatus) note(at time.Time, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err = err; err == nil {
		s.merged = at
	}
}

// Status is what an operator wants to know of the engine.
type Status struct {
	StoreID string
	Floor   int64 // nanoseconds since the Unix epoch
	Shards  []ShardStatus
}

// ShardStatus is the state of one shard.
type ShardStatus struct {
	Epochs     int       // that are not merged, the one that takes commits among them
	Oldest     time.Time // when the oldest of these was opened; zero without any
	Appended   int64     // bytes appended by this process since its last merge
	LastMerged time.Time // by this process; zero if it has not
	LastError  string    // of its last merge; "" if it went well
	Carried    int       // devices whose rows the store refused in the last merge by this process: they stay in the journal
}

// Status reads the state of all shards.
func (e *Engine) Status(ctx context.Context) (Status, error) {
	floor, err := e.readFloor(ctx)
	if err != nil {
		return Status{}, err
	}
	status := Status{StoreID: e.id, Floor: floor, Shards: make([]ShardStatus, e.shards)}
	for shard := range status.Shards {
		head, err := e.journal.Head(ctx, shard)
		if err != nil {
			return Status{}, err
		}
		s := &status.Shards[shard]
		if s.Epochs = len(head.Epochs); s.Epochs > 0 {
			s.Oldest = time.Unix(0, head.Epochs[0].Opened).UTC()
		}
		s.Appended = e.appended[shard].Load()
		e.status[shard].fill(s)
	}
	return status, nil
}

func (s *shardStatus) fill(to *ShardStatus) {
	s.mu.Lock()
	defer s.mu.Unlock()
	to.LastMerged, to.Carried = s.merged, s.stuck
	if s.err != nil {
		to.LastError = s.err.Error()
	}
}
