package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"sluice/store"
	"sluice/telemetry/block"
)

const (
	// chunkMemory bounds what is merged at a time as it is decoded: texts that
	// compress well take many times what their entries do.
	chunkMemory = 64 << 20
	// idleEpoch is how old an epoch without entries gets: journals of idle shards
	// move on, so that the tables of their past can go.
	idleEpoch = time.Hour
	// maxWaiting is how many epochs may wait before no more are opened: a journal
	// takes a few hundred, and what cannot be merged for hours must not end there.
	maxWaiting = 100
	// maxEpochs is how many epochs are merged before the head moves: what was
	// merged counts even if a run is cut off.
	maxEpochs = 16
	// An abandoned run starts again from the head; more often than this something
	// else is wrong.
	maxAbandoned = 8
)

// errAbandoned ends a run of which a write was refused: another compactor was
// first.
var errAbandoned = errors.New("another compactor was first")

// MergeShard opens the shard's next epoch if the newest has entries, seals
// those before it, merges them into leaves and lists, and moves the head. It
// may be stopped anywhere and run by several processes at once. It returns the
// number of entries merged.
func (e *Engine) MergeShard(ctx context.Context, shard int) (int, error) {
	merged, _, err := e.mergeShard(ctx, shard, pace{})
	return merged, err
}

// mergeShard is MergeShard at a pace; more says that it ended before the work
// did.
func (e *Engine) mergeShard(ctx context.Context, shard int, p pace) (total int, more bool, err error) {
	e.merging[shard].Lock()
	defer e.merging[shard].Unlock()
	for abandoned := 0; abandoned < maxAbandoned; {
		if p.over(ctx) {
			return total, true, nil
		}
		merged, more, err := e.mergeOnce(ctx, shard, p.rest)
		total += merged
		switch {
		case errors.Is(err, errAbandoned):
			abandoned++
			e.log.Debug("merge starts again", "shard", shard, "reason", err)
		case err != nil || !more:
			return total, err != nil, err
		default:
			abandoned, p.rest = 0, 0 // the newest epoch is this run's own
		}
	}
	return total, true, fmt.Errorf("merge shard %d: %w, %d times", shard, errAbandoned, maxAbandoned)
}

// mergeOnce merges the oldest epochs; more says that others wait. A shard at
// rest is left as it is.
func (e *Engine) mergeOnce(ctx context.Context, shard int, rest time.Duration) (merged int, more bool, err error) {
	head, err := e.journal.Head(ctx, shard)
	if err != nil || e.rests(head, rest) {
		return 0, false, err
	}
	if head, err = e.rotate(ctx, shard, head); err != nil || len(head.Epochs) < 2 {
		return 0, false, err
	}
	waiting := head.Epochs[:len(head.Epochs)-1]
	sealed := waiting[:min(len(waiting), maxEpochs)]
	for _, epoch := range sealed {
		if err := e.journal.Seal(ctx, shard, epoch); err != nil {
			return 0, false, fmt.Errorf("seal epoch %d of shard %d: %w", epoch.Number, shard, err)
		}
	}
	merged, err = e.mergeEpochs(ctx, shard, sealed)
	if err != nil {
		return 0, false, err
	}
	return merged, len(waiting) > len(sealed), e.moveHead(ctx, shard, head, sealed)
}

// rotate opens the next epoch if there is something in the newest one of head,
// or if it is old. It returns the head by which to merge.
func (e *Engine) rotate(ctx context.Context, shard int, head store.Head) (store.Head, error) {
	if len(head.Epochs) == 0 { // a journal frees nothing while a shard may still begin anywhere
		return e.openNext(ctx, shard, head)
	}
	if len(head.Epochs) > maxWaiting {
		return head, nil
	}
	newest := head.Epochs[len(head.Epochs)-1]
	if e.now().Sub(time.Unix(0, newest.Opened)) < idleEpoch {
		if used, err := e.hasEntries(ctx, shard, newest); err != nil || !used {
			return head, err
		}
	}
	return e.openNext(ctx, shard, head)
}

func (e *Engine) openNext(ctx context.Context, shard int, head store.Head) (store.Head, error) {
	next, err := e.journal.Open(ctx, shard, head)
	if errors.Is(err, store.ErrStale) {
		return head, fmt.Errorf("%w: it opened an epoch", errAbandoned)
	}
	if err != nil {
		return head, fmt.Errorf("open an epoch of shard %d: %w", shard, err)
	}
	return next, nil
}

func (e *Engine) hasEntries(ctx context.Context, shard int, epoch store.Epoch) (bool, error) {
	for token, first := "", true; first || token != ""; first = false {
		page, err := e.journal.Scan(ctx, shard, epoch, token)
		if errors.Is(err, store.ErrGone) {
			return false, fmt.Errorf("%w: epoch %d is gone", errAbandoned, epoch.Number)
		}
		if err != nil || len(page.Entries) > 0 {
			return err == nil, err
		}
		token = page.Next
	}
	return false, nil
}

// chunk is a part of the journal that is merged in one go: any part may be, on
// its own, and again.
type chunk struct {
	parts   map[string][]*block.Device
	entries int
	encoded int // bytes
	decoded int // bytes
}

func (c *chunk) add(entry store.Entry) error {
	devices, err := block.Decode(entry.Data)
	if err != nil {
		return fmt.Errorf("%w: entry %s: %w", ErrCorrupt, entry.ID, err)
	}
	if c.parts == nil {
		c.parts = map[string][]*block.Device{}
	}
	for i := range devices {
		d := &devices[i]
		c.parts[d.ID] = append(c.parts[d.ID], d)
		c.decoded += d.Size()
	}
	c.entries, c.encoded = c.entries+1, c.encoded+len(entry.Data)
	return nil
}

// mergeEpochs merges what sealed epochs hold, a chunk at a time, and returns
// the number of entries.
func (e *Engine) mergeEpochs(ctx context.Context, shard int, epochs []store.Epoch) (int, error) {
	var c chunk
	merged := 0
	for _, epoch := range epochs {
		for token, first := "", true; first || token != ""; first = false {
			page, err := e.journal.Scan(ctx, shard, epoch, token)
			if errors.Is(err, store.ErrGone) {
				return merged, fmt.Errorf("%w: epoch %d is gone", errAbandoned, epoch.Number)
			}
			if err != nil {
				return merged, fmt.Errorf("read epoch %d of shard %d: %w", epoch.Number, shard, err)
			}
			for _, entry := range page.Entries {
				if err := c.add(entry); err != nil {
					return merged, fmt.Errorf("epoch %d of shard %d: %w", epoch.Number, shard, err)
				}
				if merged++; c.encoded < e.limits.chunkBytes && c.decoded < chunkMemory {
					continue
				}
				if err := e.mergeChunk(ctx, shard, &c); err != nil {
					return merged, err
				}
				c = chunk{}
			}
			token = page.Next
		}
	}
	return merged, e.mergeChunk(ctx, shard, &c)
}

func (e *Engine) mergeChunk(ctx context.Context, shard int, c *chunk) error {
	if c.entries == 0 {
		return nil
	}
	floor, err := e.readFloor(ctx)
	if err != nil {
		return err
	}
	ids, carried := slices.Sorted(maps.Keys(c.parts)), 0
	for len(ids) > 0 {
		n := e.limits.batchSize(ids, c.parts)
		if err := e.mergeOrCarry(ctx, shard, floor, ids[:n], c.parts, &carried); err != nil {
			return err
		}
		ids = ids[n:]
	}
	if carried > 0 {
		e.status[shard].carried(carried)
	}
	return nil
}

// batchSize is how many of the devices are merged together.
func (c *limits) batchSize(ids []string, parts map[string][]*block.Device) int {
	metrics := 0
	for i, id := range ids {
		if metrics += names(parts[id]); i > 0 && (i >= c.batchDevices || metrics > batchMetrics) {
			return i
		}
	}
	return len(ids)
}

// names counts the metrics and tags of a device, of which each block may have
// others.
func names(parts []*block.Device) int {
	if len(parts) == 1 {
		return len(parts[0].Readings.Columns) + len(parts[0].Tags)
	}
	metrics, tags := map[string]struct{}{}, 0
	for _, d := range parts {
		for i := range d.Readings.Columns {
			metrics[d.Readings.Columns[i].Name] = struct{}{}
		}
		tags += len(d.Tags)
	}
	return len(metrics) + min(tags, maxTags)
}

// moveHead takes merged epochs out of the head. If it changed meanwhile but
// still names them all and says the same otherwise, only the write is tried
// again: what was merged stays right (rule 4).
func (e *Engine) moveHead(ctx context.Context, shard int, head store.Head, merged []store.Epoch) error {
	for range maxAbandoned {
		to := head
		to.Epochs = head.Epochs[len(merged):]
		err := e.journal.Update(ctx, shard, head, to)
		if err == nil {
			e.tails.forget(merged)
			return nil
		}
		if !errors.Is(err, store.ErrStale) {
			return fmt.Errorf("move the head of shard %d: %w", shard, err)
		}
		again, err := e.journal.Head(ctx, shard)
		if err != nil {
			return err
		}
		if len(again.Epochs) <= len(merged) || !slices.Equal(again.Epochs[:len(merged)], merged) || string(again.State) != string(head.State) {
			return fmt.Errorf("%w: it moved the head", errAbandoned)
		}
		head = again
	}
	return errAbandoned
}
