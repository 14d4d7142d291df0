package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"sluice/store"
	"sluice/telemetry"
	"sluice/telemetry/block"
)

// View is what one page of an answer is read from. It reads each shard's head
// after it was made, and its tail once. It may be used concurrently.
type View struct {
	engine *Engine

	mu       sync.Mutex
	shards   map[int]*shardView
	floor    int64
	hasFloor bool
}

// shardView is a shard's head, read once, and its tail, read once a bucket and
// before anything of that bucket's devices is read from list or leaves: an
// epoch that the head names is in the tail or, if it is gone, was merged into
// what is read afterwards.
type shardView struct {
	engine *Engine
	shard  int

	mu    sync.Mutex
	read  bool
	head  store.Head
	tails map[int][]*tailIndex
}

// Floor is the floor of retention: nothing earlier is read.
func (v *View) Floor(ctx context.Context) (int64, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.hasFloor {
		floor, err := v.engine.readFloor(ctx)
		if err != nil {
			return 0, err
		}
		v.floor, v.hasFloor = floor, true
	}
	return v.floor, nil
}

func (v *View) shard(shard int) *shardView {
	v.mu.Lock()
	defer v.mu.Unlock()
	s := v.shards[shard]
	if s == nil {
		s = &shardView{engine: v.engine, shard: shard, tails: map[int][]*tailIndex{}}
		v.shards[shard] = s
	}
	return s
}

// tail reads the tail of a bucket, or of everyBucket.
func (s *shardView) tail(ctx context.Context, bucket int) ([]*tailIndex, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.read {
		head, err := s.engine.journal.Head(ctx, s.shard)
		if err != nil {
			return nil, fmt.Errorf("read the head of shard %d: %w", s.shard, err)
		}
		s.head, s.read = head, true
	}
	if indexes, ok := s.tails[bucket]; ok {
		return indexes, nil
	}
	indexes := make([]*tailIndex, 0, len(s.head.Epochs))
	for _, epoch := range s.head.Epochs {
		index, err := s.engine.readTail(ctx, s.shard, epoch, bucket)
		if errors.Is(err, store.ErrGone) {
			err = s.checkMerged(ctx, epoch)
		} else if err == nil {
			indexes = append(indexes, index)
		}
		if err != nil {
			return nil, fmt.Errorf("read the tail of shard %d: %w", s.shard, err)
		}
	}
	s.tails[bucket] = indexes
	return indexes, nil
}

// checkMerged makes sure that an epoch that is gone was merged: a head that
// still names it means that it was lost.
func (s *shardView) checkMerged(ctx context.Context, epoch store.Epoch) error {
	head, err := s.engine.journal.Head(ctx, s.shard)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(head.Epochs, func(e store.Epoch) bool { return e.Place == epoch.Place }) {
		return fmt.Errorf("%w: epoch %d (%s) is gone and not merged", ErrCorrupt, epoch.Number, epoch.Place)
	}
	return nil
}

// deviceView is a device's tail and list entry, read in this order.
type deviceView struct {
	shard  int
	entry  entry // as merged
	listed bool
	tail   tail
	cut    telemetry.Stamp
}

func (v *View) device(ctx context.Context, id string) (deviceView, error) {
	shard, bucket := place(id, v.engine.shards, v.engine.buckets)
	d := deviceView{shard: shard}
	indexes, err := v.shard(shard).tail(ctx, bucket)
	if err != nil {
		return d, err
	}
	t := tailOf(indexes, id)
	e, listed, err := lists{v.engine.rows(shard), partition(shard)}.entry(ctx, id)
	if err != nil {
		return d, err
	}
	return newDeviceView(shard, e, listed, t), nil
}

func newDeviceView(shard int, e entry, listed bool, t tail) deviceView {
	d := deviceView{shard: shard, entry: e, listed: listed, tail: t, cut: max(e.cut, t.cut)}
	d.tail.frame = t.frame.Above(d.cut)
	d.tail.tags = tagsAbove(t.tags, d.cut)
	return d
}

// Device tells what is known of a device, exact; false for an unknown one.
func (v *View) Device(ctx context.Context, id string) (Info, bool, error) {
	d, err := v.device(ctx, id)
	if err != nil {
		return Info{}, false, err
	}
	return v.info(ctx, id, d)
}

// info makes what is known of a device from its list entry and tail; from its
// leaves where these do not tell it.
func (v *View) info(ctx context.Context, id string, d deviceView) (Info, bool, error) {
	if !d.listed && !d.tail.any {
		return Info{}, false, nil
	}
	fresh := summarize(id, &d.tail.frame, d.tail.tags)
	known := d.entry
	if d.tail.cut > d.entry.cut || d.entry.folded {
		folded, err := v.fold(ctx, id, d)
		if err != nil {
			return Info{}, false, err
		}
		known = folded
	}
	e := join(known, fresh)
	tags := newestTags(e.tags)
	if !e.seen && !slices.ContainsFunc(tags, func(t block.TagChange) bool { return !t.Removed }) {
		return Info{}, false, nil // deleted, and nothing came after
	}
	latest, err := v.latest(ctx, id, e)
	if err != nil {
		return Info{}, false, err
	}
	info := Info{ID: id, FirstSeen: e.first, LastSeen: e.last, HasReadings: e.seen, Latest: latest}
	for _, t := range tags {
		if !t.Removed {
			info.Tags = append(info.Tags, t.Tag)
		}
	}
	return info, true, nil
}

// fold makes a device's entry from its leaves.
func (v *View) fold(ctx context.Context, id string, d deviceView) (entry, error) {
	out := entry{id: id, cut: d.cut, tags: tagsAbove(d.entry.tags, d.cut)}
	err := v.read(ctx, id, d, Span{From: oldestFloor, To: maxTime}, func(f *block.Frame) error {
		out = join(out, summarize(id, f, nil))
		return nil
	})
	return out, err
}

// latest completes what an entry says of newest values: those below the floor
// are left out, and long strings looked up.
func (v *View) latest(ctx context.Context, id string, e entry) ([]Latest, error) {
	floor, err := v.Floor(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]Latest, 0, len(e.latest))
	omitted := map[int64][]string{} // metrics by time
	for _, l := range e.latest {
		if l.omitted && l.time >= floor {
			omitted[l.time] = append(omitted[l.time], l.metric)
		}
	}
	values := map[string]telemetry.Value{}
	for _, at := range slices.Sorted(maps.Keys(omitted)) {
		if err := v.lookUp(ctx, id, at, omitted[at], values); err != nil {
			return nil, err
		}
	}
	for _, l := range e.latest {
		if l.time < floor {
			continue
		}
		if l.omitted {
			l.value = values[l.metric]
		}
		if l.value.Kind == telemetry.None { // deleted since the entry was read: an older one may be the latest now
			return nil, fmt.Errorf("look up %s of %s: %w", l.metric, id, ErrAgain)
		}
		out = append(out, Latest{Metric: l.metric, Time: l.time, Value: l.value})
	}
	return out, nil
}

// lookUp reads values of one time.
func (v *View) lookUp(ctx context.Context, id string, at int64, metrics []string, values map[string]telemetry.Value) error {
	return v.Read(ctx, id, Span{From: at, To: at + 1, Metrics: metrics}, func(f *block.Frame) error {
		for i := range f.Columns {
			values[f.Columns[i].Name] = f.Columns[i].Value(0)
		}
		return nil
	})
}

// Unmerged returns the lowest stamp among what of a device is not merged yet;
// false if all of it is.
func (v *View) Unmerged(ctx context.Context, id string) (telemetry.Stamp, bool, error) {
	shard, bucket := place(id, v.engine.shards, v.engine.buckets)
	indexes, err := v.shard(shard).tail(ctx, bucket)
	if err != nil {
		return 0, false, err
	}
	t := tailOf(indexes, id)
	return t.unmerged, t.any, nil
}

// Devices yields the devices whose ids begin with prefix and are greater than
// after, in ascending order, exact, until yield returns false.
func (v *View) Devices(ctx context.Context, prefix, after string, yield func(Info) bool) error {
	walks := make([]*listWalk, v.engine.shards)
	for shard := range walks {
		indexes, err := v.shard(shard).tail(ctx, everyBucket)
		if err != nil {
			return err
		}
		walks[shard] = newListWalk(v, shard, indexes, prefix, after)
		if err := walks[shard].advance(ctx); err != nil {
			return err
		}
	}
	for {
		first := slices.MinFunc(walks, func(a, b *listWalk) int { return strings.Compare(a.rank(), b.rank()) })
		if first.id == "" {
			return nil
		}
		info, known, err := v.info(ctx, first.id, first.view)
		if err != nil {
			return err
		}
		if known && !yield(info) {
			return nil
		}
		if err := first.advance(ctx); err != nil {
			return err
		}
	}
}

// listWalk walks through the devices of a shard's list and tail, in ascending
// order.
type listWalk struct {
	view   deviceView // of id
	id     string     // where it stands; "" at the end
	lists  lists
	shard  int
	prefix string

	indexes []*tailIndex
	waiting []string // devices of the tail that are still to come
	entries []entry  // of the page that was read, still to come
	seek    string   // what the next page holds, at the least
	above   string   // only ids above it are wanted of the next page
	ended   bool     // no page comes after
}

func newListWalk(v *View, shard int, indexes []*tailIndex, prefix, after string) *listWalk {
	w := &listWalk{lists: lists{v.engine.rows(shard), partition(shard)}, shard: shard, prefix: prefix, indexes: indexes}
	from := max(prefix, store.After(after))
	for _, id := range tailIDs(indexes) {
		if id >= from && strings.HasPrefix(id, prefix) {
			w.waiting = append(w.waiting, id)
		}
	}
	w.above, w.seek = after, max(prefix, after+"!") // '!' sorts below every character of an id
	return w
}

// rank orders walks by where they stand, those at their end last.
func (w *listWalk) rank() string {
	if w.id == "" {
		return "\xff"
	}
	return w.id
}

func (w *listWalk) advance(ctx context.Context) error {
	for len(w.entries) == 0 && !w.ended {
		if err := w.nextPage(ctx); err != nil {
			return err
		}
	}
	switch {
	case len(w.entries) > 0 && (len(w.waiting) == 0 || w.entries[0].id <= w.waiting[0]):
		w.take(w.entries[0], true)
		if len(w.waiting) > 0 && w.waiting[0] == w.id {
			w.waiting = w.waiting[1:]
		}
		w.entries = w.entries[1:]
	case len(w.waiting) > 0:
		w.take(entry{id: w.waiting[0]}, false)
		w.waiting = w.waiting[1:]
	default:
		w.id = ""
	}
	return nil
}

func (w *listWalk) take(e entry, listed bool) {
	w.id = e.id
	w.view = newDeviceView(w.shard, e, listed, tailOf(w.indexes, e.id))
}

// nextPage reads the page that holds what follows the bound. Pages are looked
// up by their bounds, one at a time, so that one that is split meanwhile is
// neither read twice nor missed.
func (w *listWalk) nextPage(ctx context.Context) error {
	page, err := w.lists.page(ctx, w.seek)
	if err != nil {
		return err
	}
	for _, e := range page.entries {
		if e.id > w.above && strings.HasPrefix(e.id, w.prefix) {
			w.entries = append(w.entries, e)
		}
	}
	w.above, w.seek = page.high, page.high+"!"
	w.ended = page.high == lastPageHigh || w.prefix != "" && page.high >= store.PrefixEnd(w.prefix)
	return nil
}
