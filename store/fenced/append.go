package fenced

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sluice/store"
)

const (
	firstPause = 20 * time.Millisecond
	maxPause   = time.Second
	maxSilent  = 1 // how often what was not answered is sent again
)

// Append implements store.Journal. Entries that do not fit into one transaction
// are committed by several, one after the other, each durable when the next one
// begins.
//
// A store tries again by itself, within ctx, what is worth it. What it then
// gives up with (ErrThrottled, ErrUnavailable, ErrDenied) is returned at once, so
// that an outage is not waited for twice. ErrNoAnswer may also mean that the
// epoch was sealed while the store tried again: that is sent once more.
func (j *Journal) Append(ctx context.Context, shard int, entries []store.Entry) error {
	err := checkShard(shard)
	if err == nil {
		err = checkEntries(entries)
	}
	if err != nil {
		return fmt.Errorf("append to shard %d: %w", shard, err)
	}
	var found isolation
	for _, rows := range j.transactions(entries) {
		if err := j.isolate(ctx, shard, rows, &found); err != nil {
			return fmt.Errorf("append to shard %d: %w", shard, err)
		}
	}
	if err := j.judge(ctx, shard, &found); err != nil {
		return fmt.Errorf("append to shard %d: %w", shard, err)
	}
	return nil
}

// commit makes rows durable in the newest epoch: sends them there, and where it
// is sealed, gone, or did not answer, again in the one that the head names
// then. The rows keep their keys and are inserted: a copy that lands late is
// refused, and where one row is there, all of its transaction are, since no
// other one has its id.
func (j *Journal) commit(ctx context.Context, shard int, rows []store.Op) error {
	fence, silent := j.roll(maxFences), 0
	for attempt := 1; ; attempt++ {
		err := j.send(ctx, shard, rows, fence)
		if errors.Is(err, store.ErrNoAnswer) {
			silent++
		}
		switch {
		case err == nil:
			return nil
		case hopeless(err) || ctx.Err() != nil:
			return err
		case attempt >= j.opts.Attempts || silent > maxSilent:
			return fmt.Errorf("%d attempts: %w", attempt, err)
		}
		fence++
		if err := j.pause(ctx, attempt, err); err != nil {
			return err
		}
	}
}

// send sends rows once, which is done too if they are seen to be there already,
// and forgets the newest epoch if it should be looked up again.
func (j *Journal) send(ctx context.Context, shard int, rows []store.Op, fence int) error {
	epoch, err := j.current(ctx, shard)
	if err != nil {
		return err
	}
	p, err := parsePlace(shard, epoch.Place)
	if err != nil {
		return err
	}
	touch := store.Op{Kind: store.Touch, Key: fenceKey(fence % p.fences), IfMatch: store.AnyTag}
	err = j.rows(shard).Commit(ctx, p.table, p.partition, append([]store.Op{touch}, rows...))
	if errors.Is(err, store.ErrExists) {
		err = j.landed(ctx, shard, p, rows[0].Key)
	}
	switch {
	case errors.Is(err, store.ErrInvalid), errors.Is(err, store.ErrTooLarge):
		return &refusedRows{err}
	case errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrTableNotFound):
		j.bury(shard, epoch)
	case unanswered(err):
		j.forget(shard, epoch)
	}
	return err
}

// landed makes sure of a commit that was refused because a row of it exists: only
// what is read is durable. ErrNoAnswer: the row is not there, or no more.
func (j *Journal) landed(ctx context.Context, shard int, p place, key string) error {
	_, err := j.rows(shard).Get(ctx, p.table, p.partition, key)
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrTableNotFound) {
		return fmt.Errorf("%w: a row is said to exist that is not found", store.ErrNoAnswer)
	}
	return err
}

// unanswered says whether a write may have been done.
func unanswered(err error) bool {
	return errors.Is(err, store.ErrNoAnswer) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// hopeless says whether another attempt would fail alike, or the store has made
// its own.
func hopeless(err error) bool {
	for _, e := range []error{
		store.ErrInvalid, store.ErrTooLarge, store.ErrFormat, store.ErrCorrupt,
		store.ErrThrottled, store.ErrUnavailable, store.ErrDenied,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// pause waits before another attempt: not where the epoch was found sealed,
// which happens once an epoch and says where to go on.
func (j *Journal) pause(ctx context.Context, attempt int, err error) error {
	if attempt == 1 && errors.Is(err, store.ErrNotFound) {
		return nil
	}
	d := min(maxPause, firstPause<<min(attempt-1, 16))
	if e := j.opts.Sleep(ctx, d/2+time.Duration(j.roll(int(d/2)))); e != nil {
		return fmt.Errorf("%w, waiting after: %w", e, err)
	}
	return nil
}

// known is what a journal remembers of a shard. What it has may be old: then
// the fences say so.
type known struct {
	epoch  store.Epoch // the newest that a head named; the zero Epoch: read the head
	buried uint64      // the highest number of an epoch that was found sealed or gone
}

// learn remembers the newest epoch of a head that was read.
func (j *Journal) learn(shard int, head store.Head) {
	newest := head.Epochs[len(head.Epochs)-1]
	j.mu.Lock()
	defer j.mu.Unlock()
	k := j.newest[shard]
	if newest.Number > k.buried && newest.Number > k.epoch.Number {
		k.epoch = newest
		j.newest[shard] = k
	}
}

func (j *Journal) forget(shard int, epoch store.Epoch) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if k := j.newest[shard]; k.epoch == epoch {
		j.newest[shard] = known{buried: k.buried}
	}
}

func (j *Journal) bury(shard int, epoch store.Epoch) {
	j.forget(shard, epoch)
	j.mu.Lock()
	defer j.mu.Unlock()
	k := j.newest[shard]
	k.buried = max(k.buried, epoch.Number)
	j.newest[shard] = k
}

func (j *Journal) remembered(shard int) known {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.newest[shard]
}

// current returns the epoch to commit to: the newest that the head names. It
// opens one where there is none, or where the newest has been sealed and
// nobody has opened the next.
func (j *Journal) current(ctx context.Context, shard int) (store.Epoch, error) {
	if k := j.remembered(shard); k.epoch != (store.Epoch{}) {
		return k.epoch, nil
	}
	head, err := j.Head(ctx, shard)
	if err != nil {
		return store.Epoch{}, err
	}
	if n := len(head.Epochs); n > 0 && head.Epochs[n-1].Number > j.remembered(shard).buried {
		return head.Epochs[n-1], nil
	}
	if head, err = j.Open(ctx, shard, head); err != nil {
		return store.Epoch{}, err
	}
	return head.Epochs[len(head.Epochs)-1], nil
}
