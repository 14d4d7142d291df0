package fenced

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"sluice/store"
)

// Open implements store.Journal. Of the fences' insert and the head's write
// only ones that were answered with success count, so that nothing of this
// epoch can come late.
func (j *Journal) Open(ctx context.Context, shard int, head store.Head) (store.Head, error) {
	opened, err := j.open(ctx, shard, head)
	if err != nil {
		return store.Head{}, fmt.Errorf("open an epoch of shard %d: %w", shard, err)
	}
	return opened, nil
}

func (j *Journal) open(ctx context.Context, shard int, head store.Head) (store.Head, error) {
	if err := checkShard(shard); err != nil {
		return store.Head{}, err
	}
	if (head.Version == "") != (len(head.Epochs) == 0) || head.Version == string(store.AnyTag) {
		return store.Head{}, fmt.Errorf("after a head that was not read: %w", store.ErrInvalid)
	}
	if len(head.Epochs) >= maxEpochs {
		return store.Head{}, fmt.Errorf("%d epochs are not merged, no more can be opened: %w", maxEpochs, store.ErrTooLarge)
	}
	epoch, err := j.raise(ctx, shard, head)
	if err != nil {
		return store.Head{}, err
	}
	head.Epochs = append(slices.Clone(head.Epochs), epoch)
	if err := j.writeHead(ctx, shard, head); err != nil {
		return store.Head{}, fmt.Errorf("name the epoch: %w", err)
	}
	return j.reread(ctx, shard, head)
}

// raise puts up the fences of a new epoch that follows head.
func (j *Journal) raise(ctx context.Context, shard int, head store.Head) (store.Epoch, error) {
	epoch, p, err := j.fresh(shard, head)
	if err != nil {
		return epoch, err
	}
	// Each insert is sent once: a copy that a client sends by itself and that lands
	// after the seal would open the epoch again.
	rows, once := j.rows(shard), store.Once(ctx)
	err = rows.Commit(once, p.table, p.partition, insertFences(p))
	if !errors.Is(err, store.ErrTableNotFound) {
		return epoch, wrap("insert fences", err)
	}
	if err := rows.CreateTable(ctx, p.table); err != nil {
		return epoch, fmt.Errorf("create table of journals: %w", err)
	}
	// A nonce is sent once: this one's insert was refused, but a copy of it that a
	// client or a proxy has sent may still be under way.
	if epoch, p, err = j.fresh(shard, head); err != nil {
		return epoch, err
	}
	return epoch, wrap("insert fences", rows.Commit(once, p.table, p.partition, insertFences(p)))
}

func insertFences(p place) []store.Op {
	return p.fenceOps(store.Insert, "", store.Property{Name: "Format", Value: format})
}

func wrap(action string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", action, err)
}

// fresh makes up an epoch that follows head, in a partition that was never
// used. Its table is never before that of the head's newest epoch, whatever
// the clock says: tables before are dropped.
func (j *Journal) fresh(shard int, head store.Head) (store.Epoch, place, error) {
	now := j.opts.Now()
	epoch := store.Epoch{Number: 1, Opened: now.UnixNano()}
	p := place{table: tableOf(now), fences: j.opts.Fences}
	if n := len(head.Epochs); n > 0 {
		newest, err := parsePlace(shard, head.Epochs[n-1].Place)
		if err != nil {
			return epoch, p, err
		}
		epoch.Number = head.Epochs[n-1].Number + 1
		p.table = max(p.table, newest.table)
	}
	nonce, err := j.nonce()
	p.partition = fmt.Sprintf("%s-%08d-%s", partition(shard), epoch.Number, nonce)
	epoch.Place = p.String()
	return epoch, p, err
}

// reread learns the version of a head that was written, which a transaction's
// answer does not have.
func (j *Journal) reread(ctx context.Context, shard int, written store.Head) (store.Head, error) {
	head, err := j.readHead(ctx, shard)
	if err != nil {
		return store.Head{}, fmt.Errorf("the epoch is named, but reading the head again: %w: %w", store.ErrNoAnswer, err)
	}
	if !slices.Equal(head.Epochs, written.Epochs) || string(head.State) != string(written.State) {
		return store.Head{}, fmt.Errorf("the epoch was named, and the head has changed since: %w", store.ErrStale)
	}
	return head, nil
}
