package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"sluice/store"
	"sluice/telemetry"
	"sluice/telemetry/block"
)

const (
	// batchMetrics is how many metrics the devices of a batch have at most, so that
	// the entries which are new in one page of a list fit into a transaction.
	batchMetrics = 8000
	// transactionBytes is what a transaction is filled to, and no more is planned
	// for one leaf at a time.
	transactionBytes = store.MaxTransaction * 7 / 8
	// Fewer rows than these fit into a transaction whatever they hold.
	alwaysFit = 4
	// A scan of open leaves is given up for single reads if fewer than one row of
	// sparseScan is asked for.
	sparseScan = 8
)

// merge brings the blocks of some devices of a shard into leaves and list. The
// list is read first: it has the stamps of deletions, and what it says is
// computed from leaves.
type merge struct {
	engine *Engine
	rows   store.Rows // of the shard's account
	shard  string
	floor  int64
}

// dayFrame is what is to be merged into a device's day. What is not above cut
// is left out of the leaves that it goes into.
type dayFrame struct {
	device string
	frame  block.Frame
	cut    telemetry.Stamp
}

func (m *merge) devices(ctx context.Context, ids []string, parts map[string][]*block.Device) error {
	pages, err := m.pages(ctx, ids)
	if err != nil {
		return err
	}
	days := map[int64][]dayFrame{}
	fresh := make([]entry, len(ids))
	var deleted []string
	for i, id := range ids {
		known := pages.entry(id)
		t := gather(parts[id])
		cut := max(t.cut, known.cut)
		frame := above(t.frame.Above(cut), m.floor)
		fresh[i] = summarize(id, &frame, tagsAbove(t.tags, cut))
		fresh[i].cut = cut
		if cut > known.cut {
			deleted = append(deleted, id)
		}
		splitDays(days, dayFrame{id, frame, cut})
	}
	if err := m.leaves(ctx, days); err != nil {
		return err
	}
	return m.list(ctx, pages, fresh, deleted)
}

// above leaves out what lies below the floor of retention.
func above(f block.Frame, floor int64) block.Frame {
	if f.Len() == 0 || f.Times[0] >= floor {
		return f
	}
	return f.Between(floor, f.Times[f.Len()-1]+1)
}

func splitDays(days map[int64][]dayFrame, all dayFrame) {
	f := all.frame
	for from := 0; from < f.Len(); {
		d := day(f.Times[from])
		to := from
		for to < f.Len() && day(f.Times[to]) == d {
			to++
		}
		days[d] = append(days[d], dayFrame{all.device, f.Slice(from, to), all.cut})
		from = to
	}
}

// leaves merges into the leaves of all days.
func (m *merge) leaves(ctx context.Context, days map[int64][]dayFrame) error {
	order := make([]int64, 0, len(days))
	for d := range days {
		order = append(order, d)
	}
	slices.Sort(order)
	for _, d := range order {
		for work := days[d]; len(work) > 0; {
			var err error
			if work, err = m.day(ctx, leafTable(d), work); err != nil {
				return err
			}
		}
	}
	return nil
}

// day merges into the leaves of one day and returns what is left to do, once
// what was planned is written: what did not fit into one transaction with its
// leaf.
func (m *merge) day(ctx context.Context, table string, work []dayFrame) ([]dayFrame, error) {
	open, err := m.openLeaves(ctx, table, work)
	if err != nil {
		return nil, err
	}
	w := writer{limits: m.engine.limits, rows: m.rows, table: table, shard: m.shard}
	var later []dayFrame
	for _, item := range work {
		r := leafReader{rows: m.rows, table: table, shard: m.shard, device: item.device}
		now, rest := item.frame, block.Frame{}
		if now.Len() > m.engine.limits.freshRows {
			n := wholeTimes(&now, m.engine.limits.freshRows)
			now, rest = now.Slice(0, n), now.Slice(n, now.Len())
		}
		err := m.touched(ctx, &r, open[item.device], now, func(l leaf) error {
			part, behind, err := split(now, l.high)
			if err != nil {
				return err
			}
			now = behind
			if item.cut > 0 {
				l.frame = l.frame.Above(item.cut)
			}
			more, err := mergeLeaf(ctx, &w, item.device, l, part)
			rest = block.Merge(rest, more)
			return err
		})
		if err != nil {
			return nil, err
		}
		if rest.Len() > 0 {
			later = append(later, dayFrame{item.device, rest, item.cut})
		}
	}
	return later, w.flush(ctx)
}

// mergeLeaf plans the merge of fresh into a leaf, or of as much of it as fits
// into a transaction, and returns the rest.
func mergeLeaf(ctx context.Context, w *writer, device string, l leaf, fresh block.Frame) (block.Frame, error) {
	if fresh.Len() == 0 {
		return fresh, nil
	}
	ops, err := w.limits.mergeIntoLeaf(device, l, fresh)
	if err != nil {
		return fresh, err
	}
	if w.limits.fit(w.shard, ops) {
		return block.Frame{}, w.add(ctx, ops)
	}
	first, rest := halve(fresh)
	if rest.Len() == 0 {
		return fresh, fmt.Errorf("merge into a leaf of %s: a single value: %w", device, errTooWide)
	}
	more, err := mergeLeaf(ctx, w, device, l, first)
	return block.Merge(more, rest), err
}

func (c *limits) fit(shard string, ops []store.Op) bool {
	return len(ops) <= c.transactionOps && (len(ops) < alwaysFit || store.WireSize(shard, ops) <= transactionBytes)
}

func halve(f block.Frame) (block.Frame, block.Frame) {
	if n := wholeTimes(&f, f.Len()/2); n < f.Len() {
		return f.Slice(0, n), f.Slice(n, f.Len())
	}
	if len(f.Columns) < 2 {
		return f, block.Frame{}
	}
	return f.SplitMetrics()
}

// touched yields the leaves into which a frame goes, in ascending order. Their
// bounds follow each other. A leaf may be written, also split, once it was
// yielded: one at a time is held, late data may touch all of a long day.
func (m *merge) touched(ctx context.Context, r *leafReader, open *leaf, f block.Frame, yield func(leaf) error) error {
	first, last := before(f.Times[0]), upTo(f.Times[f.Len()-1])
	switch {
	case open == nil:
		return yield(leaf{key: openKey(r.device), high: end})
	case open.low < first:
		return yield(*open)
	}
	found := false
	err := r.ascend(ctx, first, last, func(l leaf) error {
		found = true
		return yield(l)
	})
	if errors.Is(err, ErrAgain) || err == nil && !found {
		return fmt.Errorf("%w: leaves of %s changed", errAbandoned, r.device)
	}
	return err
}

// openLeaves reads the open leaves of devices in ascending order; those that
// are not in the answer do not exist. Where most rows of a range are asked for
// they are scanned, else read one by one.
func (m *merge) openLeaves(ctx context.Context, table string, work []dayFrame) (map[string]*leaf, error) {
	open := make(map[string]*leaf, len(work))
	wanted := make(map[string]bool, len(work))
	for _, item := range work {
		wanted[openKey(item.device)] = true
	}
	scan := store.InPartition(m.shard, openKey(work[0].device), openKey(work[len(work)-1].device)+"!")
	token, done := "", ""
	for first := true; len(work) > 1 && (first || token != ""); first = false {
		page, err := m.rows.Scan(ctx, table, scan, token)
		if errors.Is(err, store.ErrTableNotFound) {
			return open, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read open leaves: %w", err)
		}
		useful, err := keepLeaves(open, wanted, page.Rows)
		if err != nil {
			return nil, err
		}
		if token = page.Next; token == "" {
			return open, nil
		}
		if n := len(page.Rows); n > 0 {
			done = page.Rows[n-1].Key
			if useful*sparseScan < n {
				break
			}
		}
	}
	return open, m.getLeaves(ctx, table, work, done, open)
}

func keepLeaves(open map[string]*leaf, wanted map[string]bool, rows []store.Row) (int, error) {
	useful := 0
	for _, row := range rows {
		if !wanted[row.Key] {
			continue
		}
		l, err := decodeLeaf(row, end, nil)
		if err != nil {
			return useful, err
		}
		open[row.Key[len("o!"):]] = &l
		useful++
	}
	return useful, nil
}

// getLeaves reads the open leaves whose keys are above done, one by one.
func (m *merge) getLeaves(ctx context.Context, table string, work []dayFrame, done string, open map[string]*leaf) error {
	for _, item := range work {
		if openKey(item.device) <= done {
			continue
		}
		r := leafReader{rows: m.rows, table: table, shard: m.shard, device: item.device}
		l, found, err := r.open(ctx)
		if err != nil {
			return err
		}
		if found {
			open[item.device] = &l
		}
	}
	return nil
}

// writer fills transactions of one partition with operations that belong
// together, and makes the table if it is not there.
type writer struct {
	limits *limits
	rows   store.Rows
	table  string
	shard  string
	ops    []store.Op
	bytes  int
}

func (w *writer) add(ctx context.Context, ops []store.Op) error {
	if len(ops) == 0 {
		return nil
	}
	size := store.WireSize(w.shard, ops)
	if len(w.ops)+len(ops) > w.limits.transactionOps || w.bytes+size > transactionBytes {
		if err := w.flush(ctx); err != nil {
			return err
		}
	}
	w.ops, w.bytes = append(w.ops, ops...), w.bytes+size
	return nil
}

func (w *writer) flush(ctx context.Context) error {
	if len(w.ops) == 0 {
		return nil
	}
	commit := w.rows.Commit
	if lazy, ok := w.rows.(store.LazyRows); ok {
		commit = lazy.CommitLater // nothing rests on it before the head moves
	}
	err := commit(ctx, w.table, w.shard, w.ops)
	if errors.Is(err, store.ErrTableNotFound) {
		if err = w.rows.CreateTable(ctx, w.table); err == nil {
			err = commit(ctx, w.table, w.shard, w.ops)
		}
	}
	w.ops, w.bytes = nil, 0
	if refused(err) || errors.Is(err, store.ErrTableNotFound) { // not found: made and dropped again, the floor has risen
		return fmt.Errorf("%w: %w", errAbandoned, err)
	}
	if errors.Is(err, store.ErrInvalid) || errors.Is(err, store.ErrTooLarge) {
		err = fmt.Errorf("%w: %w", errUnwritable, err)
	}
	if err != nil {
		return fmt.Errorf("write to %s: %w", w.table, err)
	}
	return nil
}

// listPages are the pages of a list that hold some devices, ascending.
type listPages []listPage

func (m *merge) pages(ctx context.Context, ids []string) (listPages, error) {
	l := lists{m.rows, m.shard}
	var pages listPages
	for len(ids) > 0 {
		p, err := l.page(ctx, ids[0])
		if errors.Is(err, ErrAgain) {
			return nil, fmt.Errorf("%w: %w", errAbandoned, err)
		}
		if err != nil {
			return nil, err
		}
		pages = append(pages, p)
		for len(ids) > 0 && ids[0] <= p.high {
			ids = ids[1:]
		}
	}
	return pages, nil
}

func (p listPages) holding(id string) *listPage {
	i, _ := slices.BinarySearchFunc(p, id, func(p listPage, id string) int {
		if p.high < id {
			return -1
		}
		return 1
	})
	return &p[i]
}

func (p listPages) entry(id string) entry {
	page := p.holding(id)
	if i, found := page.find(id); found {
		return page.entries[i]
	}
	return entry{id: id}
}

// list writes the devices' entries, after their leaves. A device of which
// something was deleted is folded anew from its leaves: its newest values may
// have been hidden behind what is gone.
func (m *merge) list(ctx context.Context, pages listPages, fresh []entry, deleted []string) error {
	for _, f := range fresh {
		known := pages.entry(f.id)
		if slices.Contains(deleted, f.id) {
			folded, err := m.refold(ctx, known, f.cut)
			if err != nil {
				return err
			}
			known = folded
		}
		pages.holding(f.id).set(join(known, f))
	}
	w := writer{limits: m.engine.limits, rows: m.rows, table: listTable, shard: m.shard}
	for i := range pages {
		if err := w.add(ctx, pages[i].ops(m.engine.limits.pageBytes)); err != nil {
			return err
		}
	}
	return w.flush(ctx)
}

// refold cleans a device's leaves of what lies at or below cut and makes its
// entry anew from what is left.
func (m *merge) refold(ctx context.Context, known entry, cut telemetry.Stamp) (entry, error) {
	out := entry{id: known.id, cut: cut, tags: tagsAbove(known.tags, cut)}
	days, err := leafDays(ctx, m.rows)
	if err != nil {
		return out, err
	}
	for _, d := range days {
		if d < day(m.floor) {
			continue
		}
		left, err := m.clean(ctx, leafTable(d), known.id, cut)
		if err != nil {
			return out, err
		}
		out = join(out, left)
	}
	return out, nil
}

// clean removes what a deletion hides from a device's day and returns what the
// rest comes to. A day of which nothing is left loses its rows at once, so that
// no gap is ever seen; one of too many rows keeps them, empty.
func (m *merge) clean(ctx context.Context, table, device string, cut telemetry.Stamp) (entry, error) {
	r := leafReader{rows: m.rows, table: table, shard: m.shard, device: device}
	out := entry{id: device}
	var rewrites [][]store.Op
	var removal []store.Op
	err := r.ascend(ctx, "0", end, func(l leaf) error {
		kept := l.frame.Above(cut)
		removal = append(removal, store.Op{Kind: store.Delete, Key: l.key, IfMatch: l.etag})
		if kept.Len() < l.frame.Len() {
			ops, err := m.engine.limits.rewriteLeaf(device, l, kept)
			if err != nil {
				return err
			}
			rewrites = append(rewrites, ops)
		}
		kept = above(kept, m.floor)
		out = join(out, summarize(device, &kept, nil))
		return nil
	})
	if errors.Is(err, ErrAgain) {
		err = fmt.Errorf("%w: leaves of %s changed", errAbandoned, device)
	}
	if err != nil {
		return out, err
	}
	if !out.seen && len(removal) <= m.engine.limits.transactionOps {
		rewrites = [][]store.Op{removal}
	}
	w := writer{limits: m.engine.limits, rows: m.rows, table: table, shard: m.shard}
	for _, ops := range rewrites {
		if err := w.add(ctx, ops); err != nil {
			return out, err
		}
	}
	return out, w.flush(ctx)
}
