package engine

import (
	"container/list"
	"context"
	"fmt"
	"slices"
	"sync"

	"sluice/store"
	"sluice/telemetry"
	"sluice/telemetry/block"
)

// everyBucket stands for all buckets of a shard.
const everyBucket = -1

// What a tailIndex takes besides devices, and an entry in it besides its id.
const (
	tailItemBytes  = 512
	tailEntryBytes = 64
)

// tailKey names a part of the tail: an epoch's place is never used again, so
// what was decoded of it stays right.
type tailKey struct {
	place  string
	bucket int
}

// tailIndex holds the decoded entries of one epoch (and bucket), by device. It
// only grows.
type tailIndex struct {
	mu      sync.RWMutex
	seen    map[string]struct{}
	devices map[string][]*block.Device
	bytes   int64
}

// tailCache keeps tailIndexes for the next reader, the most recently used ones
// up to a number of bytes.
type tailCache struct {
	mu    sync.Mutex
	limit int64
	used  int64
	byKey map[tailKey]*list.Element
	order *list.List // of *tailItem, most recently used first
}

type tailItem struct {
	key   tailKey
	index *tailIndex
	bytes int64 // as accounted for in used
}

func newTailCache(limit int64) *tailCache {
	return &tailCache{limit: limit, byKey: map[tailKey]*list.Element{}, order: list.New()}
}

func (c *tailCache) get(key tailKey) *tailIndex {
	c.mu.Lock()
	defer c.mu.Unlock()
	if el, ok := c.byKey[key]; ok {
		c.order.MoveToFront(el)
		return el.Value.(*tailItem).index
	}
	item := &tailItem{key: key, index: &tailIndex{seen: map[string]struct{}{}, devices: map[string][]*block.Device{}}, bytes: tailItemBytes}
	c.byKey[key] = c.order.PushFront(item)
	c.used += item.bytes
	for c.used > c.limit && c.order.Len() > 1 {
		c.remove(c.order.Back())
	}
	return item.index
}

// grown accounts for what was added to an index and drops the least recently
// used ones; readers that have them keep them.
func (c *tailCache) grown(key tailKey, index *tailIndex, bytes int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if el, ok := c.byKey[key]; ok && el.Value.(*tailItem).index == index {
		el.Value.(*tailItem).bytes += bytes
		c.used += bytes
	}
	for c.used > c.limit && c.order.Len() > 0 {
		c.remove(c.order.Back())
	}
}

func (c *tailCache) remove(el *list.Element) {
	item := c.order.Remove(el).(*tailItem)
	c.used -= item.bytes
	delete(c.byKey, item.key)
}

// forget drops what belongs to epochs that were merged.
func (c *tailCache) forget(epochs []store.Epoch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, el := range c.byKey {
		place := el.Value.(*tailItem).key.place
		if slices.ContainsFunc(epochs, func(e store.Epoch) bool { return e.Place == place }) {
			c.remove(el)
		}
	}
}

// readTail brings the index of an epoch up to date: afterwards it has at least
// what was appended before the call. store.ErrGone.
func (e *Engine) readTail(ctx context.Context, shard int, epoch store.Epoch, bucket int) (*tailIndex, error) {
	if e.buckets == 1 {
		bucket = everyBucket
	}
	key := tailKey{epoch.Place, bucket}
	index := e.tails.get(key)
	for token, first := "", true; first || token != ""; first = false {
		page, err := e.tailPage(ctx, shard, epoch, bucket, token)
		if err != nil {
			return nil, err
		}
		added, err := index.add(page.Entries)
		e.tails.grown(key, index, added)
		if err != nil {
			return nil, fmt.Errorf("epoch %s: %w", epoch.Place, err)
		}
		token = page.Next
	}
	return index, nil
}

func (e *Engine) tailPage(ctx context.Context, shard int, epoch store.Epoch, bucket int, token string) (store.EntryPage, error) {
	if bucket == everyBucket {
		return e.journal.Scan(ctx, shard, epoch, token)
	}
	return e.journal.Tail(ctx, shard, epoch, bucket, token)
}

// add decodes the entries that are new.
func (t *tailIndex) add(entries []store.Entry) (int64, error) {
	t.mu.RLock()
	fresh := slices.Clone(entries)
	fresh = slices.DeleteFunc(fresh, func(e store.Entry) bool { _, ok := t.seen[e.ID]; return ok })
	t.mu.RUnlock()
	if len(fresh) == 0 {
		return 0, nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	before := t.bytes
	for _, entry := range fresh {
		if _, ok := t.seen[entry.ID]; ok {
			continue
		}
		devices, err := block.Decode(entry.Data)
		if err != nil {
			return t.bytes - before, fmt.Errorf("entry %s: %w: %w", entry.ID, ErrCorrupt, err)
		}
		for i := range devices {
			d := &devices[i]
			t.devices[d.ID] = append(t.devices[d.ID], d)
			t.bytes += int64(d.Size())
		}
		t.seen[entry.ID] = struct{}{}
		t.bytes += tailEntryBytes + int64(len(entry.ID))
	}
	return t.bytes - before, nil
}

// tail is what of one device is not merged: its blocks in one.
type tail struct {
	cut      telemetry.Stamp
	tags     []block.TagChange
	frame    block.Frame // resolved, above cut
	unmerged telemetry.Stamp
	any      bool
}

// tailOf collects a device's tail from indexes.
func tailOf(indexes []*tailIndex, device string) tail {
	var parts []*block.Device
	for _, index := range indexes {
		index.mu.RLock()
		parts = append(parts, index.devices[device]...)
		index.mu.RUnlock()
	}
	return gather(parts)
}

// gather merges what blocks say of one device.
func gather(parts []*block.Device) tail {
	t := tail{any: len(parts) > 0}
	frames := make([]block.Frame, 0, len(parts))
	for _, d := range parts {
		t.cut = max(t.cut, d.Cut)
		t.tags = append(t.tags, d.Tags...)
		if d.Readings.Len() > 0 {
			frames = append(frames, d.Readings)
		}
		t.noteStamps(d)
	}
	t.frame = block.MergeAll(frames)
	t.frame = t.frame.Above(t.cut)
	t.tags = tagsAbove(t.tags, t.cut)
	return t
}

func (t *tail) noteStamps(d *block.Device) {
	note := func(s telemetry.Stamp) {
		if s > 0 && (t.unmerged == 0 || s < t.unmerged) {
			t.unmerged = s
		}
	}
	note(d.Cut)
	for _, s := range d.Readings.Stamps {
		note(s)
	}
	for _, tag := range d.Tags {
		note(tag.Stamp)
	}
}

// tailIDs are the devices of indexes, ascending.
func tailIDs(indexes []*tailIndex) []string {
	var ids []string
	for _, index := range indexes {
		index.mu.RLock()
		for id := range index.devices {
			ids = append(ids, id)
		}
		index.mu.RUnlock()
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}
