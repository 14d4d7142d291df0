package pebble

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	pebbledb "github.com/cockroachdb/pebble/v2"

	"sluice/store"
)

// journal is store.Journal. An Append is one value with all its entries. The
// entries of epochs that a head names are kept in memory too, as they came,
// within TailBytes; after a start an epoch is read when it is first asked for.
type journal struct {
	s *Store
	// held is the bytes of entries in memory.
	held atomic.Int64

	mu     sync.Mutex
	shards map[int]*shard
}

// shard is a shard's head and epochs. write is held while a change is checked
// and applied, so changes have one order, but not while it is synced. mu guards
// the fields for readers, who must never wait for the disk: it is held for
// moments, and changes are made with both locks held.
type shard struct {
	j      *journal
	number int

	write sync.Mutex

	mu     sync.RWMutex
	loaded bool
	head   head
	epochs map[uint64]*epoch // by place; those that the head names
}

var _ store.Journal = (*journal)(nil)

func newJournal(s *Store) *journal { return &journal{s: s, shards: map[int]*shard{}} }

// shard returns a shard, its head read.
func (j *journal) shard(number int) (*shard, error) {
	const most = 1 << 31
	if number < 0 || number >= most {
		return nil, fmt.Errorf("shard %d: %w", number, store.ErrInvalid)
	}
	j.mu.Lock()
	sh := j.shards[number]
	if sh == nil {
		sh = &shard{j: j, number: number, epochs: map[uint64]*epoch{}}
		j.shards[number] = sh
	}
	j.mu.Unlock()
	return sh, sh.load()
}

func (sh *shard) load() error {
	sh.mu.RLock()
	loaded := sh.loaded
	sh.mu.RUnlock()
	if loaded {
		return nil
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.loaded {
		return nil
	}
	v, closer, err := sh.j.s.db.Get(headKey(sh.number))
	if errors.Is(err, pebbledb.ErrNotFound) {
		sh.loaded = true
		return nil
	}
	if err != nil {
		return fmt.Errorf("read head: %w", err)
	}
	h, err := decodeHead(v)
	if err := errors.Join(err, closer.Close()); err != nil {
		return err
	}
	for _, e := range h.epochs {
		sh.epochs[e.place] = newEpoch(sh, e.place, true)
	}
	sh.head, sh.loaded = h, true
	return nil
}

// Head implements store.Journal.
func (j *journal) Head(ctx context.Context, number int) (h store.Head, err error) {
	err = j.call(ctx, "read head", number, func(sh *shard) error {
		sh.mu.RLock()
		defer sh.mu.RUnlock()
		h = sh.head.outer()
		return nil
	})
	return h, err
}

// call runs f with a shard and says in errors what was being done.
func (j *journal) call(ctx context.Context, doing string, number int, f func(*shard) error) error {
	end, err := j.s.use(ctx)
	if err != nil {
		return err
	}
	defer end()
	sh, err := j.shard(number)
	if err == nil {
		err = f(sh)
	}
	if err != nil {
		return fmt.Errorf("%s of shard %d: %w", doing, number, err)
	}
	return nil
}

// change runs f with the shard's changes held off, and waits for what f has
// applied to be on the disk.
func (sh *shard) change(f func() (*pebbledb.Batch, error)) error {
	b, err := func() (*pebbledb.Batch, error) {
		sh.write.Lock()
		defer sh.write.Unlock()
		return f()
	}()
	if err != nil || b == nil {
		return err
	}
	return sh.j.s.wait(b)
}

// Open implements store.Journal.
func (j *journal) Open(ctx context.Context, number int, from store.Head) (out store.Head, err error) {
	err = j.call(ctx, "open an epoch", number, func(sh *shard) error {
		return sh.change(func() (*pebbledb.Batch, error) {
			if from.Version != formatVersionOf(sh.head.version) {
				return nil, store.ErrStale
			}
			b := j.s.db.NewBatch()
			h, err := sh.open(b)
			if err != nil {
				return nil, errors.Join(err, b.Close())
			}
			if err := j.s.apply(b); err != nil {
				return nil, err
			}
			sh.opened(h)
			out = h.outer()
			return b, nil
		})
	})
	if err != nil {
		return store.Head{}, err
	}
	return out, nil
}

// open adds the epoch that follows to the batch and returns the head with it.
func (sh *shard) open(b *pebbledb.Batch) (head, error) {
	if err := sh.j.s.disk.check(changes); err != nil {
		return head{}, err
	}
	place, err := sh.j.s.numbers.next()
	if err != nil {
		return head{}, err
	}
	e := epochRecord{number: 1, place: place, opened: sh.j.s.opts.Now().UnixNano()}
	h := sh.head
	if n := len(h.epochs); n > 0 {
		e.number = h.epochs[n-1].number + 1
	}
	h.version++
	h.epochs = append(h.epochs[:len(h.epochs):len(h.epochs)], e)
	return h, b.Set(headKey(sh.number), h.encode(), nil)
}

// opened makes a head of open the shard's.
func (sh *shard) opened(h head) {
	place := h.epochs[len(h.epochs)-1].place
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.head = h
	sh.epochs[place] = newEpoch(sh, place, false)
}

// Seal implements store.Journal. The wait for the disk covers the appends
// before it.
func (j *journal) Seal(ctx context.Context, number int, ep store.Epoch) error {
	return j.call(ctx, "seal an epoch", number, func(sh *shard) error {
		place, err := parsePlace(ep)
		if err != nil {
			return err
		}
		return sh.change(func() (*pebbledb.Batch, error) { return sh.seal(place) })
	})
}

// seal applies a batch also if the epoch was sealed before: that one's sync may
// not be over.
func (sh *shard) seal(place uint64) (*pebbledb.Batch, error) {
	h := sh.head
	h.epochs = append([]epochRecord(nil), h.epochs...)
	found := false
	for i := range h.epochs {
		if h.epochs[i].place == place {
			h.epochs[i].sealed, found = true, true
		}
	}
	if !found {
		return nil, nil
	}
	if err := sh.j.s.disk.check(frees); err != nil {
		return nil, err
	}
	b := sh.j.s.db.NewBatch()
	if err := b.Set(headKey(sh.number), h.encode(), nil); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	if err := sh.j.s.apply(b); err != nil {
		return nil, err
	}
	sh.mu.Lock()
	sh.head = h
	sh.mu.Unlock()
	return b, nil
}

// Update implements store.Journal. What it lets go of is removed with it, in
// one batch.
func (j *journal) Update(ctx context.Context, number int, from, to store.Head) error {
	return j.call(ctx, "update head", number, func(sh *shard) error {
		if n := len(to.State); n > maxState {
			return fmt.Errorf("state of %d bytes, at most %d: %w", n, maxState, store.ErrTooLarge)
		}
		return sh.change(func() (*pebbledb.Batch, error) { return sh.update(from, to) })
	})
}

func (sh *shard) update(from, to store.Head) (*pebbledb.Batch, error) {
	if sh.head.version == 0 || from.Version != formatVersionOf(sh.head.version) {
		return nil, store.ErrStale
	}
	h, gone, err := sh.head.reduced(to)
	if err != nil {
		return nil, err
	}
	if err := sh.j.s.disk.check(frees); err != nil {
		return nil, err
	}
	b := sh.j.s.db.NewBatch()
	err = b.Set(headKey(sh.number), h.encode(), nil)
	for _, e := range gone {
		prefix := epochPrefix(sh.number, e.place)
		err = errors.Join(err, b.DeleteRange(prefix, after(prefix), nil))
	}
	if err != nil {
		return nil, errors.Join(err, b.Close())
	}
	// Readers must find an epoch gone before the first of its entries is.
	sh.removed(h, gone)
	if err := sh.j.s.apply(b); err != nil {
		return nil, err
	}
	return b, nil
}

// reduced returns the head with to's state and epochs, and those that it lets
// go of.
func (h head) reduced(to store.Head) (out head, gone []epochRecord, err error) {
	named := make(map[string]bool, len(to.Epochs))
	for _, e := range to.Epochs {
		named[e.Place] = true
	}
	out = head{version: h.version + 1, state: append([]byte(nil), to.State...)}
	for _, e := range h.epochs {
		if named[formatPlace(e.place)] {
			out.epochs = append(out.epochs, e)
		} else {
			gone = append(gone, e)
		}
	}
	newest := len(h.epochs) - 1
	switch {
	case len(out.epochs) != len(to.Epochs):
		return head{}, nil, fmt.Errorf("the head names epochs that the former one has not, or one twice: %w", store.ErrInvalid)
	case newest >= 0 && !named[formatPlace(h.epochs[newest].place)]:
		return head{}, nil, fmt.Errorf("the head must keep the newest epoch, %d: %w", h.epochs[newest].number, store.ErrInvalid)
	}
	return out, gone, nil
}

func (sh *shard) removed(h head, gone []epochRecord) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.head = h
	for _, e := range gone {
		ep := sh.epochs[e.place]
		ep.gone = true
		sh.j.held.Add(-ep.held)
		delete(sh.epochs, e.place)
	}
}

// Drop implements store.Journal: Update has removed all that there was to free.
func (j *journal) Drop(ctx context.Context, shards int) error {
	end, err := j.s.use(ctx)
	if err != nil {
		return err
	}
	end()
	return nil
}
