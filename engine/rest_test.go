package engine_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"sluice/engine"
	"sluice/store"
	"sluice/telemetry"
	"sluice/telemetry/block"
)

// rest ends a world: what floats lands or is lost, everybody crashes, and one
// compactor alone merges everything. Then leaves and lists alone must have it.
func (s *sim) rest() {
	s.step++
	for _, p := range s.processes {
		for _, a := range p.actors {
			a.crash()
		}
	}
	for s.floats() > 0 {
		s.land(s.rare(1))
	}
	if s.setup.powerCuts && s.rare(1) {
		s.powerCut()
	}
	if s.failure != nil {
		return
	}
	p := &process{sim: s, name: "rest"}
	p.restart()
	resend, twice := !s.rare(2), s.rare(2)
	err := s.settle(p, resend, false)
	if err == nil && s.failure == nil {
		err = s.checkRest(p)
	}
	if err == nil && twice && s.failure == nil {
		if err = s.settle(p, true, true); err == nil {
			err = s.checkRest(p)
		}
	}
	if err != nil {
		s.fail("at rest: %w", err)
	}
}

func (s *sim) floats() int {
	n := 0
	for _, f := range s.floating {
		n += f.Len()
	}
	return n
}

// settle sends what was not acknowledged again, so that all of it is, and
// merges all there is.
func (s *sim) settle(p *process, resend, all bool) error {
	ctx := context.Background()
	s.now = s.now.Add(time.Minute)
	e, err := engine.Open(ctx, p.config())
	if err != nil {
		return err
	}
	p.engine = e
	for _, o := range s.oracle.ops {
		if o.acked == never && resend || all {
			err := e.Append(ctx, o.shard, o.devices)
			if errors.Is(err, engine.ErrFloor) {
				continue
			}
			if err != nil {
				return err
			}
			o.acked = min(o.acked, s.step)
		}
	}
	s.step++
	for range 2 {
		if err := e.Compact(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (s *sim) checkRest(p *process) error {
	ctx := context.Background()
	for shard := range s.setup.shards {
		head, err := p.journal.Head(ctx, shard)
		if err != nil {
			return err
		}
		if len(head.Epochs) > 1 {
			return fmt.Errorf("the head of shard %d still names %d epochs", shard, len(head.Epochs))
		}
	}
	if err := s.checkStored(ctx); err != nil {
		return err
	}
	for _, id := range slices.Concat(simDevices[s.setup.shards]...) {
		if err := s.checkAnswers(ctx, p.engine, id); err != nil {
			return err
		}
	}
	v := p.engine.View()
	var infos []engine.Info
	if err := v.Devices(ctx, "", "", func(i engine.Info) bool { infos = append(infos, i); return true }); err != nil {
		return err
	}
	return s.oracle.checkList("", "", true, infos, s.momentAtRest)
}

func (s *sim) momentAtRest(device string) moment {
	floor := storedFloor(s.disk.raw[0])
	return s.oracle.moment(device, s.step, floor, floor)
}

func (s *sim) checkAnswers(ctx context.Context, e *engine.Engine, id string) error {
	v, m := e.View(), s.momentAtRest(id)
	info, known, err := v.Device(ctx, id)
	if err != nil {
		return err
	}
	told := &info
	if !known {
		told = nil
	}
	if err := s.oracle.checkInfo(id, m, told); err != nil {
		return err
	}
	if _, unmerged, err := v.Unmerged(ctx, id); err != nil || unmerged {
		return fmt.Errorf("%s has something unmerged: %v %w", id, unmerged, err)
	}
	for _, descending := range []bool{false, true} {
		span := engine.Span{From: 0, To: simStart.AddDate(1, 0, 0).UnixNano(), Descending: descending}
		got := collector{span: span}
		if err := e.View().Read(ctx, id, span, got.take); err != nil {
			return err
		}
		if err := s.oracle.checkRead(id, m, span.From, span.To, nil, got.cells); err != nil {
			return err
		}
	}
	return nil
}

// checkStored looks at the rows themselves: leaves tile, hold what was sent,
// and lists say what leaves hold.
func (s *sim) checkStored(ctx context.Context) error {
	floor := storedFloor(s.disk.raw[0])
	held := map[string][]cell{}
	for account, raw := range s.disk.raw {
		tables, _, err := raw.Tables(ctx, engine.LeafTables, "")
		if err != nil {
			return err
		}
		for _, table := range tables {
			day, ok := engine.DayOfTable(table)
			if !ok {
				return fmt.Errorf("table %s names no day", table)
			}
			if (day+1)*int64(24*time.Hour) <= floor {
				return fmt.Errorf("table %s lies below the floor %s", table, clockText(floor))
			}
			if err := s.checkDay(ctx, account, table, day, held); err != nil {
				return fmt.Errorf("account %d, %s: %w", account, table, err)
			}
		}
	}
	for id, cells := range held {
		m := s.momentAtRest(id)
		cells = slices.DeleteFunc(cells, func(c cell) bool { return c.stamp <= m.cut || c.time < floor })
		held[id] = cells
		if err := s.oracle.checkRead(id, m, 0, 1<<62, nil, cells); err != nil {
			return fmt.Errorf("leaves: %w", err)
		}
	}
	return s.checkLists(ctx, held)
}

// held is what is in the leaves of a device, by their rows.
func (s *sim) held(device string) ([]cell, error) {
	ctx := context.Background()
	raw := s.disk.raw[s.account(engine.Place(device, s.setup.shards))]
	tables, _, err := raw.Tables(ctx, engine.LeafTables, "")
	if err != nil {
		return nil, err
	}
	var out []cell
	for _, table := range tables {
		rows, err := allRows(ctx, raw, table)
		if err != nil {
			return nil, err
		}
		for _, row := range rows {
			l, err := engine.DecodeStoredLeaf(row)
			if err != nil {
				return nil, err
			}
			if l.Device == device {
				out = append(out, cells(&l.Frame)...)
			}
		}
	}
	return out, nil
}

// account is where a shard lies.
func (s *sim) account(shard int) int { return shard % s.setup.accounts }

func (s *sim) checkDay(ctx context.Context, account int, table string, day int64, held map[string][]cell) error {
	rows, err := allRows(ctx, s.disk.raw[account], table)
	if err != nil {
		return err
	}
	highs, opens := map[string]string{}, map[string]bool{}
	for _, open := range []bool{false, true} { // closed leaves first: their keys ascend
		for _, row := range rows {
			l, err := engine.DecodeStoredLeaf(row)
			if err != nil {
				return err
			}
			if l.Open != open {
				continue
			}
			shard := engine.Place(l.Device, s.setup.shards)
			if want := fmt.Sprintf("%04d", shard); row.Partition != want || account != s.account(shard) {
				return fmt.Errorf("leaf %s lies in shard %s, not %s of account %d", row.Key, row.Partition, want, s.account(shard))
			}
			if l.Low != highs[l.Device] {
				return fmt.Errorf("leaf %s begins at %q, the one before ends at %q", row.Key, l.Low, highs[l.Device])
			}
			if within, err := l.Within(); err != nil || !within {
				return fmt.Errorf("leaf %s holds what is not between %q and %q: %v %w", row.Key, l.Low, l.High, cells(&l.Frame), err)
			}
			for _, c := range cells(&l.Frame) {
				if c.time/int64(24*time.Hour) != day {
					return fmt.Errorf("leaf %s holds %v of another day", row.Key, c)
				}
				held[l.Device] = append(held[l.Device], c)
			}
			highs[l.Device] = l.High
			opens[l.Device] = opens[l.Device] || open
		}
	}
	for id := range highs {
		if !opens[id] {
			return fmt.Errorf("%s has closed leaves and no open one", id)
		}
	}
	return nil
}

func allRows(ctx context.Context, rows store.Rows, table string) ([]store.Row, error) {
	var out []store.Row
	for token, first := "", true; first || token != ""; first = false {
		page, err := rows.Scan(ctx, table, store.Range{}, token)
		if err != nil {
			return nil, err
		}
		out, token = append(out, page.Rows...), page.Next
	}
	return out, nil
}

func (s *sim) checkLists(ctx context.Context, held map[string][]cell) error {
	var rows []store.Row
	for _, raw := range s.disk.raw {
		more, err := allRows(ctx, raw, engine.ListTable)
		if err != nil {
			return err
		}
		rows = append(rows, more...)
	}
	low, partition := "", ""
	listed := map[string]bool{}
	for _, row := range rows {
		if row.Partition != partition {
			low, partition = "", row.Partition
		}
		from, high, entries, err := engine.DecodeStoredPage(row)
		if err != nil {
			return err
		}
		if from != low {
			return fmt.Errorf("page %s of a list begins at %q, the one before ends at %q", row.Key, from, low)
		}
		for _, e := range entries {
			if e.ID <= low || e.ID > high {
				return fmt.Errorf("page %s of a list holds %q", row.Key, e.ID)
			}
			low, listed[e.ID] = e.ID, true
			if err := s.checkEntry(e, held[e.ID]); err != nil {
				return fmt.Errorf("list entry: %w", err)
			}
		}
		low = high
	}
	for id, cells := range held {
		if len(cells) > 0 && !listed[id] {
			return fmt.Errorf("%s has leaves and is in no list", id)
		}
	}
	return nil
}

// checkEntry holds an entry against what is folded from the device's leaves.
func (s *sim) checkEntry(e engine.StoredEntry, held []cell) error {
	floor := storedFloor(s.disk.raw[0])
	m := s.momentAtRest(e.ID)
	if e.Cut < m.cut || e.Cut > m.maybe {
		return fmt.Errorf("%s: cut %d, deleted under %d", e.ID, e.Cut, m.cut)
	}
	newest := map[string]cell{}
	for _, c := range held {
		if n, ok := newest[c.metric]; !ok || c.time > n.time {
			newest[c.metric] = c
		}
		if !e.Seen || c.time < e.First || c.time > e.Last {
			return fmt.Errorf("%s: seen (%v) from %s to %s, but a leaf holds %v", e.ID, e.Seen, clockText(e.First), clockText(e.Last), c)
		}
	}
	told := map[string]bool{}
	for _, l := range e.Latest {
		told[l.Metric] = true
		n, ok := newest[l.Metric]
		if l.Time < floor && !ok {
			continue
		}
		if !ok || n.time != l.Time || n.stamp != l.Stamp || !sameLatest(n.value, l) {
			return fmt.Errorf("%s: latest %s is %s@%s (stamp %d), the leaves have %v", e.ID, l.Metric, valueText(l.Value), clockText(l.Time), l.Stamp, n)
		}
	}
	for metric, n := range newest {
		if !told[metric] {
			return fmt.Errorf("%s: no latest %s, the leaves have %v", e.ID, metric, n)
		}
	}
	return tagsOrdered(e.Tags)
}

func sameLatest(v telemetry.Value, l engine.StoredLatest) bool {
	if l.Omitted {
		return v.Kind == l.Value.Kind
	}
	return v == l.Value
}

func tagsOrdered(tags []block.TagChange) error {
	for i := 1; i < len(tags); i++ {
		if tags[i-1].Compare(tags[i]) >= 0 {
			return fmt.Errorf("tags of an entry are not in order: %v", tags)
		}
	}
	return nil
}
