package engine_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"sluice/engine"
	"sluice/store"
	"sluice/telemetry/block"
)

// counts are how often the interesting things happened. A run in which one of
// them never did says nothing.
type counts struct {
	steps, calls, appends, refusedAppends, resends, deletions int
	reads, infos, lists, pagesContinued, oldViews             int
	leavesSplit, leavesRemoved, refusedLeaves, refusedLists   int
	pagesSplit, epochsOpened, refusedHeads, headsMoved        int
	commitsSealed, epochsGone, daysDropped, journalsDropped   int
	landedLate, refusedLate, crashes, powerCuts, floorsRaised int
	again, reread, ties, refolds                              int
	mergeGivenUp, belowFloor                                  int
	faults                                                    [faults]int
}

// table tells all of them, and which are zero. Some are so rare that only a run
// of many cases can be asked for them.
func (c *counts) table() (text string, zero []string) {
	v := reflect.ValueOf(*c)
	for i := range v.NumField() {
		name := v.Type().Field(i).Name
		if name == "faults" {
			for f, n := range c.faults {
				text += fmt.Sprintf("%-24s %d\n", fault(f), n)
				if n == 0 {
					zero = append(zero, fault(f).String())
				}
			}
			continue
		}
		text += fmt.Sprintf("%-24s %d\n", name, v.Field(i).Int())
		rare := name == "again" || name == "reread"
		if v.Field(i).Int() == 0 && name != "mergeGivenUp" && !(rare && c.steps < 500_000) {
			zero = append(zero, name)
		}
	}
	return text, zero
}

// watchedRows sees what really happens, also what lands late.
type watchedRows struct {
	store.Rows
	sim *sim
}

func (w *watchedRows) Commit(ctx context.Context, table, partition string, ops []store.Op) error {
	before := w.floor(table)
	err := w.Rows.Commit(ctx, table, partition, ops)
	c := w.sim.counts
	refused := errors.Is(err, store.ErrStale) || errors.Is(err, store.ErrExists) || errors.Is(err, store.ErrNotFound)
	switch {
	case strings.HasPrefix(table, engine.LeafTables):
		c.refusedLeaves += count(refused)
		if err == nil {
			c.leaf(ops)
			w.tiles(table, partition)
		}
	case table == engine.ListTable:
		c.refusedLists += count(refused)
		c.pagesSplit += count(err == nil && len(ops) > 1 && ops[0].Kind == store.Insert)
		if err == nil {
			w.tiles(table, partition)
		}
	case table == engine.ConfigTable && err == nil && ops[0].Key == engine.FloorKey:
		w.sim.checkFloor(before, w.floor(table))
		w.sim.checkBehind(ctx, before, w.floor(table))
	case table == "sluiceheads":
		c.refusedHeads += count(refused)
		c.headsMoved += count(err == nil)
	case strings.HasPrefix(table, "sluicejournal"):
		c.commitsSealed += count(refused && ops[0].Kind == store.Touch)
		c.epochsOpened += count(err == nil && ops[0].Kind == store.Insert)
	}
	return err
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (c *counts) leaf(ops []store.Op) {
	for _, op := range ops {
		c.leavesSplit += count(op.Kind == store.Insert && strings.HasPrefix(op.Key, "c!"))
		c.leavesRemoved += count(op.Kind == store.Delete)
	}
}

// tiles makes sure that the leaves of each device, or the pages of a list, tile
// after every transaction.
func (w *watchedRows) tiles(table, partition string) {
	scan := store.InPartition(partition, "", "")
	scan.Select = []string{"_low"}
	page, err := w.Rows.Scan(context.Background(), table, scan, "")
	if err != nil {
		w.sim.fail("scan %s: %w", table, err)
		return
	}
	ends := map[string]string{} // of each device
	for _, row := range page.Rows {
		kind, rest, _ := strings.Cut(row.Key, "!")
		id, high, _ := strings.Cut(rest, "!")
		if kind == "p" {
			id, high = "", rest
		}
		low, _ := row.Properties[0].Value.(string)
		if low != ends[id] {
			w.sim.fail("%s %s: row %s begins at %q, the one before ends at %q", table, partition, row.Key, low, ends[id])
		}
		ends[id] = high
	}
	for id, end := range ends { // closed leaves are followed by the open one
		if end != "" && end != "~" {
			w.sim.fail("%s %s: the last row of %q ends at %q", table, partition, id, end)
		}
	}
}

func (w *watchedRows) DropTable(ctx context.Context, table string) error {
	_, scanned := w.Rows.Scan(ctx, table, store.Range{Limit: 1}, "")
	err := w.Rows.DropTable(ctx, table)
	if err == nil && scanned == nil {
		w.sim.counts.daysDropped += count(strings.HasPrefix(table, engine.LeafTables))
		w.sim.counts.journalsDropped += count(strings.HasPrefix(table, "sluicejournal"))
	}
	return err
}

func (w *watchedRows) Scan(ctx context.Context, table string, r store.Range, token string) (store.Page, error) {
	page, err := w.Rows.Scan(ctx, table, r, token)
	w.sim.counts.epochsGone += count(errors.Is(err, store.ErrTableNotFound) && strings.HasPrefix(table, "sluicejournal"))
	return page, err
}

// CreateTable makes sure that no day is made that is known to be below the
// floor.
func (w *watchedRows) CreateTable(ctx context.Context, table string) error {
	day, ok := engine.DayOfTable(table)
	if a := w.sim.current; ok && a != nil && strings.HasPrefix(table, engine.LeafTables) && (day+1)*int64(24*time.Hour) <= a.floor {
		w.sim.fail("%s makes table %s below the floor %s", a.name, table, clockText(a.floor))
	}
	return w.Rows.CreateTable(ctx, table)
}

// floor is the floor of retention as it is stored, 0 without.
func (w *watchedRows) floor(table string) int64 {
	if table != engine.ConfigTable {
		return 0
	}
	return storedFloor(w.Rows)
}

func storedFloor(rows store.Rows) int64 {
	row, err := rows.Get(context.Background(), engine.ConfigTable, "config", engine.FloorKey)
	if err != nil {
		return 0
	}
	for _, p := range row.Properties {
		if p.Name == "floor" {
			n, _ := p.Value.(int64)
			return n
		}
	}
	return 0
}

// checkFloor holds the floor to rule 8: it never falls, and no clock that has
// gone mad takes more than two hours with it each time.
func (s *sim) checkFloor(before, after int64) {
	if s.mad > 0 {
		s.mad++ // whoever raises it may have done so by that clock
	}
	if after == before {
		return
	}
	s.counts.floorsRaised++
	latest := s.now.Add(5*time.Second + time.Duration(s.mad)*2*time.Hour - s.setup.retention)
	most := latest.Truncate(24 * time.Hour).UnixNano()
	switch {
	case after < before:
		s.fail("the floor falls from %s to %s", clockText(before), clockText(after))
	case s.setup.retention > 0 && after > most || s.setup.retention == 0 && before > 0:
		s.fail("the floor rises from %s to %s at %v", clockText(before), clockText(after), s.now)
	}
	s.logf("%d: the floor rises to %s", s.step, clockText(after))
}

// checkBehind holds the floor behind the oldest epoch that is not merged, if
// every shard had one all the time.
func (s *sim) checkBehind(ctx context.Context, before, floor int64) {
	if s.setup.retention == 0 || s.mad > 0 || s.current == nil || !s.current.headed {
		return
	}
	if floor > before {
		s.checkSpared(ctx, floor)
	}
	oldest, all := s.oldest(ctx)
	if most := oldest.Add(10*time.Second - s.setup.retention).Truncate(24 * time.Hour).UnixNano(); all && floor > most && floor > before {
		s.fail("the floor rises to %s, but an epoch of %v is not merged", clockText(floor), oldest)
	}
}

// checkSpared makes sure that nothing that was acknowledged is below the floor
// before it is merged.
func (s *sim) checkSpared(ctx context.Context, floor int64) {
	acked := map[string]bool{}
	for _, o := range s.oracle.ops {
		for i := range o.devices {
			for _, c := range cells(&o.devices[i].Readings) {
				if o.acked < never && c.time < floor {
					acked[o.devices[i].ID+" "+c.String()] = true
				}
			}
		}
	}
	if len(acked) == 0 {
		return
	}
	for shard := range s.setup.shards {
		head, err := s.disk.bare.Head(ctx, shard)
		if err != nil {
			return
		}
		for _, epoch := range head.Epochs {
			page, err := s.disk.bare.Scan(ctx, shard, epoch, "")
			if err != nil {
				return
			}
			for _, e := range page.Entries {
				s.checkEntrySpared(e, acked, floor)
			}
		}
	}
}

func (s *sim) checkEntrySpared(e store.Entry, acked map[string]bool, floor int64) {
	devices, err := block.Decode(e.Data)
	if err != nil {
		s.fail("decode an entry: %w", err)
		return
	}
	for i := range devices {
		id := devices[i].ID
		m := s.oracle.moment(id, s.step, 0, 0)
		for _, c := range cells(&devices[i].Readings) {
			if !acked[id+" "+c.String()] || c.stamp <= m.maybe {
				continue
			}
			held, err := s.held(id)
			if err != nil {
				s.fail("read the leaves of %s: %w", id, err)
			}
			if !slices.ContainsFunc(held, func(h cell) bool { return h.metric == c.metric && h.time == c.time && h.stamp >= c.stamp }) {
				s.fail("the floor rises to %s, %s %v was acknowledged and is not merged", clockText(floor), id, c)
			}
		}
	}
}

// oldest is when the oldest epoch was opened that is not merged; false if a
// shard has none.
func (s *sim) oldest(ctx context.Context) (time.Time, bool) {
	oldest := int64(1) << 62
	for shard := range s.setup.shards {
		head, err := s.disk.bare.Head(ctx, shard)
		if err != nil || len(head.Epochs) == 0 {
			return time.Time{}, false
		}
		for _, e := range head.Epochs {
			oldest = min(oldest, e.Opened)
		}
	}
	return time.Unix(0, oldest).UTC(), true
}

// watchedJournal is the same for the embedded journal.
type watchedJournal struct {
	store.Journal
	sim *sim
}

func (w *watchedJournal) Open(ctx context.Context, shard int, head store.Head) (store.Head, error) {
	out, err := w.Journal.Open(ctx, shard, head)
	w.sim.counts.epochsOpened += count(err == nil)
	w.sim.counts.refusedHeads += count(errors.Is(err, store.ErrStale))
	return out, err
}

func (w *watchedJournal) Update(ctx context.Context, shard int, from, to store.Head) error {
	err := w.Journal.Update(ctx, shard, from, to)
	w.sim.counts.headsMoved += count(err == nil)
	w.sim.counts.refusedHeads += count(errors.Is(err, store.ErrStale))
	return err
}

func (w *watchedJournal) Tail(ctx context.Context, shard int, epoch store.Epoch, bucket int, token string) (store.EntryPage, error) {
	page, err := w.Journal.Tail(ctx, shard, epoch, bucket, token)
	w.sim.counts.epochsGone += count(errors.Is(err, store.ErrGone))
	return page, err
}

func (w *watchedJournal) Scan(ctx context.Context, shard int, epoch store.Epoch, token string) (store.EntryPage, error) {
	page, err := w.Journal.Scan(ctx, shard, epoch, token)
	w.sim.counts.epochsGone += count(errors.Is(err, store.ErrGone))
	return page, err
}

func clockText(nanos int64) string {
	return time.Unix(0, nanos).UTC().Format("01-02T15:04:05.999999999")
}
