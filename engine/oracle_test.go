package engine_test

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"sluice/engine"
	"sluice/telemetry"
	"sluice/telemetry/block"
)

// never is later than every step.
const never = 1 << 30

// op is something that was handed to the engine: readings, tags and deletions
// of one shard, with their stamps.
type op struct {
	shard       int
	devices     []block.Device
	sent, acked int // steps; never if it was not
}

// fact is one value of it.
type fact struct {
	*op
	time  int64
	stamp telemetry.Stamp
	value telemetry.Value
	tag   block.TagChange
}

// oracle knows everything that was ever sent, when, and when it was
// acknowledged. It knows nothing of epochs, leaves and lists.
type oracle struct {
	ops    []*op
	values map[string]map[string]map[int64][]fact // by device, metric, time
	tags   map[string]map[string][]fact           // by device, key
	cuts   map[string][]fact
}

func newOracle() *oracle {
	return &oracle{values: map[string]map[string]map[int64][]fact{}, tags: map[string]map[string][]fact{}, cuts: map[string][]fact{}}
}

// add takes note of an op before it is sent.
func (o *oracle) add(p *op) {
	o.ops = append(o.ops, p)
	for i := range p.devices {
		d := &p.devices[i]
		if d.Cut > 0 {
			o.cuts[d.ID] = append(o.cuts[d.ID], fact{op: p, stamp: d.Cut})
		}
		for _, t := range d.Tags {
			child(o.tags, d.ID)[t.Key] = append(o.tags[d.ID][t.Key], fact{op: p, time: t.Time, stamp: t.Stamp, tag: t})
		}
		o.addFrame(p, d.ID, &d.Readings)
	}
}

func (o *oracle) addFrame(p *op, device string, f *block.Frame) {
	for i := range f.Columns {
		c := &f.Columns[i]
		times := child(child(o.values, device), c.Name)
		for j := range c.Len() {
			at := f.Times[c.Row(j)]
			times[at] = append(times[at], fact{op: p, time: at, stamp: f.Stamps[c.Row(j)], value: c.Value(j)})
		}
	}
}

func child[K comparable, L comparable, V any](m map[K]map[L]V, key K) map[L]V {
	if m[key] == nil {
		m[key] = map[L]V{}
	}
	return m[key]
}

// moment is when an answer was given, and what of retention applied.
type moment struct {
	begin              int             // the step in which its View was made
	viewFloor, highest int64           // the floor as the View had it, and as it is at the end
	cut                telemetry.Stamp // of deletions acknowledged before
	maybe              telemetry.Stamp // of all deletions
}

func (o *oracle) moment(device string, begin int, viewFloor, highest int64) moment {
	m := moment{begin: begin, viewFloor: viewFloor, highest: highest}
	for _, c := range o.cuts[device] {
		m.maybe = max(m.maybe, c.stamp)
		if c.acked < begin {
			m.cut = max(m.cut, c.stamp)
		}
	}
	return m
}

// must tells whether a fact was acknowledged and nothing can have removed it;
// may, whether it can be shown.
func (m moment) must(f fact) bool {
	return f.acked < m.begin && f.stamp > m.maybe && f.time >= m.highest
}
func (m moment) may(f fact) bool { return f.stamp > m.cut && f.time >= m.viewFloor }

func byStamp(a, b fact) int {
	return cmp.Or(cmp.Compare(a.stamp, b.stamp), telemetry.Compare(a.value, b.value))
}

func byTime(a, b fact) int { return cmp.Or(cmp.Compare(a.time, b.time), byStamp(a, b)) }

func byTag(a, b fact) int { return a.tag.Compare(b.tag) }

// best is the greatest of facts that a condition holds for.
func best(facts []fact, order func(a, b fact) int, holds func(fact) bool) (out fact, found bool) {
	for _, f := range facts {
		if holds(f) && (!found || order(f, out) > 0) {
			out, found = f, true
		}
	}
	return out, found
}

// acked tells whether a fact was acknowledged, deleted or not: what is shown
// instead must not be older.
func (m moment) ackedAbove(f fact) bool { return f.acked < m.begin && f.stamp > m.cut }

// cell is a value of an answer.
type cell struct {
	metric string
	time   int64
	stamp  telemetry.Stamp
	value  telemetry.Value
}

func (c cell) String() string {
	return fmt.Sprintf("%s@%s=%s (stamp %d)", c.metric, clockText(c.time), valueText(c.value), c.stamp)
}

func valueText(v telemetry.Value) string {
	switch v.Kind {
	case telemetry.String:
		return v.Text
	case telemetry.Bool:
		return fmt.Sprint("bool ", v.Bits)
	case telemetry.None:
		return "none"
	}
	return string(v.AppendNumber(nil))
}

// checkRead holds what was read of [from, to) against what was sent.
func (o *oracle) checkRead(device string, m moment, from, to int64, metrics []string, got []cell) error {
	type place struct {
		metric string
		time   int64
	}
	seen := map[place]bool{}
	for _, c := range got {
		p := place{c.metric, c.time}
		switch {
		case c.time < from || c.time >= to:
			return fmt.Errorf("%s: %v is outside of [%s, %s)", device, c, clockText(from), clockText(to))
		case metrics != nil && !slices.Contains(metrics, c.metric):
			return fmt.Errorf("%s: %v: nobody asked for it", device, c)
		case seen[p]:
			return fmt.Errorf("%s: %v comes twice", device, c)
		}
		seen[p] = true
		if err := o.checkCell(device, m, c); err != nil {
			return err
		}
	}
	for metric, times := range o.values[device] {
		if metrics != nil && !slices.Contains(metrics, metric) {
			continue
		}
		for at, facts := range times {
			if at < from || at >= to || seen[place{metric, at}] {
				continue
			}
			if f, found := best(facts, byStamp, m.must); found {
				return fmt.Errorf("%s: %s@%s=%s (stamp %d), acknowledged in step %d, is missing from an answer begun in step %d",
					device, metric, clockText(at), valueText(f.value), f.stamp, f.acked, m.begin)
			}
		}
	}
	return nil
}

// checkMerged makes sure that what was acknowledged and has a stamp below
// lowest is in the leaves.
func (o *oracle) checkMerged(device string, m moment, lowest telemetry.Stamp, held []cell) error {
	for metric, times := range o.values[device] {
		for at, facts := range times {
			f, found := best(facts, byStamp, func(f fact) bool { return m.must(f) && f.stamp < lowest })
			if found && !slices.ContainsFunc(held, func(c cell) bool {
				return c.metric == metric && c.time == at && byStamp(fact{stamp: c.stamp, value: c.value}, f) >= 0
			}) {
				return fmt.Errorf("%s: %s@%s=%s (stamp %d), acknowledged in step %d, is in no leaf, but nothing below %d is said to be unmerged (view of step %d)",
					device, metric, clockText(at), valueText(f.value), f.stamp, f.acked, lowest, m.begin)
			}
		}
	}
	return nil
}

func (o *oracle) checkCell(device string, m moment, c cell) error {
	facts := o.values[device][c.metric][c.time]
	shown := fact{time: c.time, stamp: c.stamp, value: c.value}
	if !slices.ContainsFunc(facts, func(f fact) bool { return byStamp(f, shown) == 0 }) {
		return fmt.Errorf("%s: %v was never sent", device, c)
	}
	if c.stamp <= m.cut {
		return fmt.Errorf("%s: %v was deleted under %d before the answer began in step %d", device, c, m.cut, m.begin)
	}
	if c.time < m.viewFloor {
		return fmt.Errorf("%s: %v is below the floor %s", device, c, clockText(m.viewFloor))
	}
	if f, found := best(facts, byStamp, m.ackedAbove); found && byStamp(f, shown) > 0 {
		return fmt.Errorf("%s: %v is older than what was acknowledged in step %d: %s (stamp %d)", device, c, f.acked, valueText(f.value), f.stamp)
	}
	return nil
}

// checkInfo holds what is told of a device against what was sent. A nil info
// says that it is unknown.
func (o *oracle) checkInfo(device string, m moment, info *engine.Info) error {
	if info == nil {
		info = &engine.Info{ID: device}
		if err := o.checkUnknown(device, m); err != nil {
			return err
		}
	} else if info.ID != device || !info.HasReadings && len(info.Tags) == 0 {
		return fmt.Errorf("%s: told as %q, readings %v, tags %v", device, info.ID, info.HasReadings, info.Tags)
	}
	for _, check := range []func(string, moment, *engine.Info) error{o.checkLatest, o.checkTags, o.checkSeen} {
		if err := check(device, m, info); err != nil {
			return err
		}
	}
	return nil
}

func (o *oracle) checkUnknown(device string, m moment) error {
	for metric, times := range o.values[device] {
		for _, facts := range times {
			if f, found := best(facts, byStamp, m.must); found {
				return fmt.Errorf("%s is unknown to an answer begun in step %d, but %s@%s was acknowledged in step %d", device, m.begin, metric, clockText(f.time), f.acked)
			}
		}
	}
	return nil
}

func (o *oracle) checkLatest(device string, m moment, info *engine.Info) error {
	shown := map[string]bool{}
	for i, l := range info.Latest {
		if i > 0 && info.Latest[i-1].Metric >= l.Metric {
			return fmt.Errorf("%s: latest values are not in ascending order of names", device)
		}
		shown[l.Metric] = true
		if err := o.checkNewest(device, m, l); err != nil {
			return err
		}
	}
	for metric := range o.values[device] {
		if f, found := best(o.all(device, metric), byTime, m.must); found && !shown[metric] {
			return fmt.Errorf("%s: no latest %s, but one of %s was acknowledged in step %d (answer begun in %d)", device, metric, clockText(f.time), f.acked, m.begin)
		}
	}
	return nil
}

func (o *oracle) all(device, metric string) []fact {
	return slices.Concat(slices.Collect(maps.Values(o.values[device][metric]))...)
}

// checkNewest finds the fact that a latest value can be; its stamp is not told.
func (o *oracle) checkNewest(device string, m moment, l engine.Latest) error {
	c := cell{l.Metric, l.Time, 0, l.Value}
	acked, found := best(o.all(device, l.Metric), byTime, m.must)
	err := fmt.Errorf("%s: latest %v was never sent, or is deleted", device, c)
	for _, f := range o.values[device][l.Metric][l.Time] {
		if f.value != l.Value || !m.may(f) {
			continue
		}
		if found && byTime(f, acked) < 0 {
			err = fmt.Errorf("%s: latest %v, but %s@%s=%s (stamp %d) was acknowledged in step %d (answer begun in %d)",
				device, c, l.Metric, clockText(acked.time), valueText(acked.value), acked.stamp, acked.acked, m.begin)
			continue
		}
		c.stamp = f.stamp
		if err = o.checkCell(device, m, c); err == nil {
			return nil
		}
	}
	return err
}

func (o *oracle) checkTags(device string, m moment, info *engine.Info) error {
	m.highest, m.viewFloor = 0, 0 // tags know no floor
	shown := map[string]string{}
	for i, t := range info.Tags {
		if i > 0 && info.Tags[i-1].Key >= t.Key || t.Removed {
			return fmt.Errorf("%s: tags %v are not in ascending order without removed ones", device, info.Tags)
		}
		shown[t.Key] = t.Value
	}
	for key, facts := range o.tags[device] {
		value, has := shown[key]
		delete(shown, key)
		if !slices.ContainsFunc(o.possibleCuts(device, m), func(cut telemetry.Stamp) bool { return fits(facts, m.begin, cut, value, has) }) {
			newest, _ := best(facts, byTag, m.ackedAbove)
			return fmt.Errorf("%s: tag %s is %q (%v) in an answer begun in step %d; acknowledged: %+v", device, key, value, has, m.begin, newest.tag)
		}
	}
	if len(shown) > 0 {
		return fmt.Errorf("%s: tags %v were never sent", device, shown)
	}
	return nil
}

// possibleCuts are the deletions that may have been seen as the newest.
func (o *oracle) possibleCuts(device string, m moment) []telemetry.Stamp {
	cuts := []telemetry.Stamp{m.cut}
	for _, c := range o.cuts[device] {
		if c.stamp > m.cut {
			cuts = append(cuts, c.stamp)
		}
	}
	return cuts
}

// fits tells whether a tag can have a value, or be absent, under a deletion.
func fits(facts []fact, begin int, cut telemetry.Stamp, value string, has bool) bool {
	newest, bounded := best(facts, byTag, func(f fact) bool { return f.acked < begin && f.stamp > cut })
	if !has && !bounded {
		return true
	}
	return slices.ContainsFunc(facts, func(f fact) bool {
		return f.stamp > cut && !(bounded && byTag(f, newest) < 0) && f.tag.Removed == !has && (!has || f.tag.Value == value)
	})
}

// checkSeen holds first and last seen against the times that were sent. What is
// below the floor may count or not.
func (o *oracle) checkSeen(device string, m moment, info *engine.Info) error {
	any := m
	any.viewFloor = 0
	least, most, first, last := int64(never)<<32, int64(0), false, false
	for metric := range o.values[device] {
		for _, f := range o.all(device, metric) {
			if m.must(f) {
				least, most = min(least, f.time), max(most, f.time)
			}
			first = first || any.may(f) && f.time == info.FirstSeen
			last = last || any.may(f) && f.time == info.LastSeen
		}
	}
	switch {
	case !info.HasReadings && most > 0:
		return fmt.Errorf("%s has no readings, but one of %s was acknowledged (answer begun in step %d)", device, clockText(most), m.begin)
	case !info.HasReadings:
		return nil
	case !first || !last:
		return fmt.Errorf("%s was seen from %s to %s, when nothing was sent that is not deleted", device, clockText(info.FirstSeen), clockText(info.LastSeen))
	case most > 0 && (info.FirstSeen > least || info.LastSeen < most):
		return fmt.Errorf("%s was seen from %s to %s, but from %s to %s was acknowledged (answer begun in step %d)", device,
			clockText(info.FirstSeen), clockText(info.LastSeen), clockText(least), clockText(most), m.begin)
	}
	return nil
}

// devices are the ids of which anything was sent.
func (o *oracle) devices() []string {
	ids := map[string]bool{}
	for _, p := range o.ops {
		for _, d := range p.devices {
			ids[d.ID] = true
		}
	}
	return slices.Sorted(maps.Keys(ids))
}

// checkList holds a list of devices against what was sent: those that have to
// be in it are, those that are not in it may be left out.
func (o *oracle) checkList(prefix, after string, ended bool, infos []engine.Info, at func(device string) moment) error {
	listed := map[string]bool{}
	previous := after
	for i := range infos {
		id := infos[i].ID
		if id <= previous || !strings.HasPrefix(id, prefix) {
			return fmt.Errorf("list of %q after %q: %q after %q", prefix, after, id, previous)
		}
		previous = id
		listed[id] = true
		if err := o.checkInfo(id, at(id), &infos[i]); err != nil {
			return fmt.Errorf("list: %w", err)
		}
	}
	for _, id := range o.devices() {
		if listed[id] || id <= after || !strings.HasPrefix(id, prefix) || !ended && id > previous {
			continue
		}
		if err := o.checkInfo(id, at(id), nil); err != nil {
			return fmt.Errorf("list: %w", err)
		}
	}
	return nil
}
