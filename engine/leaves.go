package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"sluice/store"
	"sluice/telemetry/block"
)

// leafReader reads one device's leaves of one day. A leaf's row can be split or
// closed at any time: what is read is right if each leaf's lower bound is the
// upper bound of the one before it, else that place is read again.
type leafReader struct {
	rows    store.Rows
	table   string
	shard   string
	device  string
	metrics []string // nil: all
}

// Reading a place again is bounded: leaves are closed seldom, so that more
// tries than these mean damage.
const maxReread = 8

// selected names the properties that a read of some metrics needs.
func (r *leafReader) selected() []string {
	if r.metrics == nil {
		return nil
	}
	for _, m := range r.metrics {
		if !plainName(m) {
			return nil
		}
	}
	names := append([]string{propFormat, propLow, propIndex, propNames}, r.metrics...)
	for i := range store.MaxRow / propertyBytes {
		names = append(names, fmt.Sprintf("%s%02d", propData, i))
	}
	return names
}

// open reads the open leaf. A device without one has no leaf of that day.
func (r *leafReader) open(ctx context.Context) (leaf, bool, error) {
	row, err := r.rows.Get(ctx, r.table, r.shard, openKey(r.device))
	if absent(err) {
		return leaf{}, false, nil
	}
	if err != nil {
		return leaf{}, false, fmt.Errorf("read the open leaf of %s: %w", r.device, err)
	}
	l, err := decodeLeaf(row, end, r.metrics)
	return l, true, err
}

func absent(err error) bool {
	return errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrTableNotFound)
}

// closed reads a page of closed leaves whose upper bounds are at or above
// from, at most limit (0: any number).
func (r *leafReader) closed(ctx context.Context, from position, token string, limit int) ([]leaf, string, error) {
	lower, upper := closedRange(r.device, from)
	scan := store.InPartition(r.shard, lower, upper)
	scan.Limit, scan.Select = limit, r.selected()
	page, err := r.rows.Scan(ctx, r.table, scan, token)
	if errors.Is(err, store.ErrTableNotFound) {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", fmt.Errorf("read the leaves of %s: %w", r.device, err)
	}
	leaves := make([]leaf, len(page.Rows))
	for i, row := range page.Rows {
		high := position(strings.TrimPrefix(row.Key, closedKey(r.device, "")))
		if leaves[i], err = decodeLeaf(row, high, r.metrics); err != nil {
			return nil, "", err
		}
	}
	return leaves, page.Next, nil
}

// ascend yields the leaves that cover [from, to] in ascending order, and
// nothing if the device has none of that day.
func (r *leafReader) ascend(ctx context.Context, from, to position, yield func(leaf) error) error {
	at, begun := from, false
	for try := 0; at < to && try < maxReread; try++ {
		next, err := r.ascendClosed(ctx, at, to, begun, func(l leaf) error {
			try, begun, at = 0, true, l.high
			return yield(l)
		})
		if err != nil || next >= to {
			return err
		}
		open, found, err := r.open(ctx)
		switch {
		case err != nil:
			return err
		case !found && !begun:
			return nil
		case !found: // closed ones and no open one: the day was removed under us
			return ErrAgain
		case covers(open, at, begun):
			return yield(open)
		}
	}
	if at < to {
		return ErrAgain
	}
	return nil
}

// covers tells whether l is the leaf that follows at, or at the start of a
// reading the one that holds at.
func covers(l leaf, at position, begun bool) bool {
	if begun {
		return l.low == at
	}
	return l.low < at && at <= l.high
}

// ascendClosed yields closed leaves from at on as long as they follow each
// other, and returns the bound that it came to.
func (r *leafReader) ascendClosed(ctx context.Context, at, to position, begun bool, yield func(leaf) error) (position, error) {
	token, from := "", at
	if begun {
		from += "!" // sorts next: the leaf that ends at "at" was yielded
	}
	for {
		leaves, next, err := r.closed(ctx, from, token, 16)
		if err != nil {
			return at, err
		}
		for _, l := range leaves {
			if !covers(l, at, begun) {
				return at, nil
			}
			if err := yield(l); err != nil {
				return at, err
			}
			if at, begun = l.high, true; at >= to {
				return at, nil
			}
		}
		if token = next; token == "" {
			return at, nil
		}
	}
}

// descend yields the leaves that cover [from, to] in descending order: each
// one's lower bound names the one before it. A row's upper bound is its key
// and never changes, so the one before is always found.
func (r *leafReader) descend(ctx context.Context, from, to position, yield func(leaf) error) error {
	l, found, err := r.holding(ctx, to)
	if err != nil || !found {
		return err
	}
	for {
		if err := yield(l); err != nil {
			return err
		}
		if l.low == "" || l.low < from {
			return nil
		}
		if l, err = r.closedAt(ctx, l.low); err != nil {
			return err
		}
	}
}

// holding reads the leaf that holds a position.
func (r *leafReader) holding(ctx context.Context, at position) (leaf, bool, error) {
	for range maxReread {
		for token, first := "", true; first || token != ""; first = false {
			leaves, next, err := r.closed(ctx, at, token, 1)
			if err != nil {
				return leaf{}, false, err
			}
			if len(leaves) > 0 {
				if covers(leaves[0], at, false) {
					return leaves[0], true, nil
				}
				break
			}
			token = next
			if token != "" {
				continue
			}
			open, found, err := r.open(ctx)
			if err != nil || !found || covers(open, at, false) {
				return open, found, err
			}
		}
	}
	return leaf{}, false, ErrAgain
}

func (r *leafReader) closedAt(ctx context.Context, high position) (leaf, error) {
	row, err := r.rows.Get(ctx, r.table, r.shard, closedKey(r.device, high))
	if absent(err) {
		return leaf{}, ErrAgain
	}
	if err != nil {
		return leaf{}, fmt.Errorf("read a leaf of %s: %w", r.device, err)
	}
	return decodeLeaf(row, high, r.metrics)
}

// mergeIntoLeaf plans how fresh, all of it within the leaf's bounds, gets into
// it: no operation if that changes nothing, else one that puts what stays
// under the leaf's key, and one for each leaf that is closed before it. They
// belong into one transaction.
func (c *limits) mergeIntoLeaf(device string, l leaf, fresh block.Frame) ([]store.Op, error) {
	merged := block.Merge(l.frame, fresh)
	if l.etag != "" && sameFrame(&merged, &l.frame) {
		return nil, nil
	}
	return c.rewriteLeaf(device, l, merged)
}

func (c *limits) rewriteLeaf(device string, l leaf, merged block.Frame) ([]store.Op, error) {
	pieces, err := c.cutLeaf(l.low, l.high, merged)
	if err != nil {
		return nil, err
	}
	ops := make([]store.Op, len(pieces))
	for i, p := range pieces {
		ops[i] = store.Op{Kind: store.Insert, Key: closedKey(device, p.high), Properties: p.props}
	}
	last := &ops[len(ops)-1]
	if last.Key = l.key; l.etag != "" {
		last.Kind, last.IfMatch = store.Replace, l.etag
	}
	return ops, nil
}
