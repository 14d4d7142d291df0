package engine

import (
	"context"
	"errors"
	"time"

	"sluice/store"
)

// maxSlack is how much earlier than after its rest a shard is due at most: runs
// come by a timer, and are not to find a shard a second too young each time.
const maxSlack = 30 * time.Second

// pace says when a run of the compactor leaves off. The zero pace goes on to
// the end.
type pace struct {
	rest   time.Duration // a shard whose newest epoch is younger is left alone
	margin time.Duration // nothing more is begun so long before the context's deadline
}

func (p pace) over(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	return ctx.Err() != nil || ok && p.margin > 0 && time.Until(deadline) <= p.margin
}

// rests tells whether a shard was merged lately, or is being merged, by whoever
// opened its newest epoch. The opener's clock may differ from this one: an
// epoch of the future counts as long as it is near.
func (e *Engine) rests(head store.Head, rest time.Duration) bool {
	if rest <= 0 || len(head.Epochs) == 0 {
		return false
	}
	age := e.now().Sub(time.Unix(0, head.Epochs[len(head.Epochs)-1].Opened))
	return age.Abs() < rest-min(rest/2, maxSlack)
}

// Compaction is what a run of the compactor did.
type Compaction struct {
	Shards    int // of which something was merged
	Entries   int // that were merged
	Remaining int // shards whose work is not done: the time was over, or they failed
}

// CompactDue merges the shards whose newest epoch is older than rest (or nearly,
// by half of it or 30 s), again and again while there is such work, and keeps
// retention once. Several instances may run it at the same time: whoever opens a
// shard's next epoch has it to himself for a while, as the others find it at
// rest. A shard that failed, or had nothing, is not looked at again in a run.
// Nothing more is begun margin before ctx's deadline; the next run goes on there.
// What is returned was done, also with an error.
func (e *Engine) CompactDue(ctx context.Context, rest, margin time.Duration) (Compaction, error) {
	r := run{engine: e, pace: pace{rest, margin}, shards: make([]shardRun, e.shards)}
	for r.round(ctx) {
	}
	var done Compaction
	var errs []error
	for _, s := range r.shards {
		done.Shards += min(s.entries, 1)
		done.Entries += s.entries
		if s.more {
			done.Remaining++
		}
		errs = append(errs, s.err)
	}
	if !r.pace.over(ctx) {
		errs = append(errs, e.Retain(ctx))
	}
	return done, errors.Join(errs...)
}

// run is a run of CompactDue.
type run struct {
	engine *Engine
	pace   pace
	shards []shardRun
}

// shardRun is what a run knows of a shard.
type shardRun struct {
	entries int
	idle    bool // nothing was merged when it was looked at last
	more    bool // it is not done
	err     error
}

// round goes once over the shards that are not done with, and says whether
// another round may find work.
func (r *run) round(ctx context.Context) bool {
	r.engine.eachShard(func(shard int) {
		s := &r.shards[shard]
		if s.idle || s.err != nil {
			return
		}
		merged, more, err := r.engine.mergeAndTell(ctx, shard, r.pace)
		s.entries, s.idle, s.more, s.err = s.entries+merged, merged == 0, more, err
	})
	for _, s := range r.shards {
		if !s.idle && s.err == nil {
			return !r.pace.over(ctx)
		}
	}
	return false
}
