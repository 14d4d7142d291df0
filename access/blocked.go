package access

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"sluice/store"
)

// Blocked is the devices that are blocked, as this instance knows it: whoever
// changes the list knows at once, the others when they look next. It may be used
// concurrently, before there is a store, too: then none is known.
type Blocked struct {
	log *slog.Logger
	ids atomic.Pointer[map[string]struct{}]

	// Nobody holds it while the store is asked, which may never answer.
	mu      sync.Mutex
	list    *blocklist // nil: there is no store
	seen    string     // the version that ids is of
	changes int        // how often this instance changed it
}

const (
	// lookEvery is how often an instance looks whether the list changed: within a
	// minute it must have, also if one look takes its time and fails.
	lookEvery = 15 * time.Second
	// lookWithin bounds a look.
	lookWithin = 10 * time.Second
)

// unseen is the version of no list.
const unseen = "?"

var errNoStore = fmt.Errorf("%w: it is not open", store.ErrUnavailable)

// NewBlocked makes an empty list.
func NewBlocked(log *slog.Logger) *Blocked {
	b := &Blocked{log: log}
	b.ids.Store(&map[string]struct{}{})
	return b
}

// Has says whether a device is blocked.
func (b *Blocked) Has(device string) bool {
	_, blocked := (*b.ids.Load())[device]
	return blocked
}

// Len is how many are.
func (b *Blocked) Len() int { return len(*b.ids.Load()) }

// Use reads the list from rows (those of a store's first account), and takes it from
// there from now on; after an error as before.
func (b *Blocked) Use(ctx context.Context, rows store.Rows) error {
	list := &blocklist{rows}
	r, err := b.read(ctx, list, unseen)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.list, b.seen = list, r.version
	b.ids.Store(&r.ids)
	return nil
}

// Leave forgets the store, not the list.
func (b *Blocked) Leave() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.list = nil
}

// Run looks now and then whether the list changed, until ctx ends. While the store
// does not answer, what was known last holds.
func (b *Blocked) Run(ctx context.Context) {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		err := b.look(ctx)
		if err != nil && !failing && ctx.Err() == nil {
			b.log.Warn("the list of blocked devices cannot be read, the last known one holds", "devices", b.Len(), "error", err.Error())
		}
		failing = err != nil
	}
}

// look reads the list if it changed.
func (b *Blocked) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, lookWithin)
	defer cancel()
	b.mu.Lock()
	list, seen, changes := b.list, b.seen, b.changes
	b.mu.Unlock()
	if list == nil {
		return nil
	}
	r, err := b.read(ctx, list, seen)
	if err != nil || r.ids == nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	// What this instance changed meanwhile may be missing: the next look has it.
	if b.list == list && b.changes == changes {
		b.ids.Store(&r.ids)
		b.seen = r.version
	}
	return nil
}

// reading is what was read of a list: nothing if it is the version that was seen.
type reading struct {
	ids     map[string]struct{}
	version string
}

// read reads the version before the list: what changes while that is scanned changes
// the version, too, and is seen by the next look.
func (*Blocked) read(ctx context.Context, list *blocklist, seen string) (reading, error) {
	h, err := list.head(ctx)
	if err != nil || h.version == seen {
		return reading{}, err
	}
	if h.etag == "" {
		return reading{map[string]struct{}{}, h.version}, nil
	}
	ids, err := list.scan(ctx)
	return reading{ids, h.version}, err
}

// Block puts a device on the list, for all instances; one that is on it stays.
// ErrTooMany, or the store's error: then it may be on it or not.
func (b *Blocked) Block(ctx context.Context, device string) error { return b.change(ctx, device, true) }

// Unblock takes a device off the list; the store's error.
func (b *Blocked) Unblock(ctx context.Context, device string) error {
	return b.change(ctx, device, false)
}

func (b *Blocked) change(ctx context.Context, device string, blocked bool) error {
	b.mu.Lock()
	list := b.list
	b.mu.Unlock()
	if list == nil {
		return errNoStore
	}
	if err := list.change(ctx, device, blocked); err != nil {
		return err
	}
	b.know(device, blocked)
	return nil
}

// know is told what this instance changed.
func (b *Blocked) know(device string, blocked bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.changes++
	ids := maps.Clone(*b.ids.Load())
	delete(ids, device)
	if blocked {
		ids[device] = struct{}{}
	}
	b.ids.Store(&ids)
}
