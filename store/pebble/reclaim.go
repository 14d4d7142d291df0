package pebble

import (
	"context"
	"log/slog"
	"sync"

	pebbledb "github.com/cockroachdb/pebble/v2"
)

// reclaimer frees the space of dropped tables behind their callers. A deleted
// range is a note of some bytes until a compaction meets it, and values lie
// apart from their keys, so the files would stay until chance compacts them.
// What is not freed when the process ends is left to that chance.
type reclaimer struct {
	db     *pebbledb.DB
	log    *slog.Logger
	cancel context.CancelFunc
	done   chan struct{}

	mu     sync.Mutex
	ranges [][]byte // prefixes; of tables, so there are never many
	wake   chan struct{}
}

func newReclaimer(db *pebbledb.DB, log *slog.Logger) *reclaimer {
	ctx, cancel := context.WithCancel(context.Background())
	r := &reclaimer{db: db, log: log, cancel: cancel, done: make(chan struct{}), wake: make(chan struct{}, 1)}
	go r.run(ctx)
	return r
}

// free takes the prefix of keys that were deleted.
func (r *reclaimer) free(prefix []byte) {
	r.mu.Lock()
	r.ranges = append(r.ranges, prefix)
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// end returns when no compaction of the reclaimer runs any more.
func (r *reclaimer) end() {
	r.cancel()
	<-r.done
}

func (r *reclaimer) run(ctx context.Context) {
	defer close(r.done)
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
		}
		for prefix := r.next(); prefix != nil && ctx.Err() == nil; prefix = r.next() {
			if err := r.db.Compact(ctx, prefix, after(prefix), false); err != nil && ctx.Err() == nil {
				r.log.Warn("store: free the space of a dropped table", "error", err)
			}
		}
	}
}

func (r *reclaimer) next() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.ranges) == 0 {
		return nil
	}
	prefix := r.ranges[0]
	r.ranges = r.ranges[1:]
	return prefix
}
