package engine_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"sluice/engine"
	"sluice/store"
	"sluice/store/storetest"
	"sluice/telemetry"
	"sluice/telemetry/block"
)

// memory is what an actor keeps from one task to the next, and loses in a
// crash.
type memory struct {
	retry *op // was not acknowledged
	view  *engine.View
	begin int // when view was made
	uses  int
}

// simDevices are two of each shard, by the number of shards. One is the
// beginning of another.
var simDevices = map[int][][]string{}

func init() {
	for shards := 2; shards <= 3; shards++ {
		devices := make([][]string, shards)
		for _, id := range []string{"pump-1", "pump-10", "fan-2", "a", "pump-2", "z9", "pump-1.b", "b", "c"} {
			if shard := engine.Place(id, shards); len(devices[shard]) < 2 {
				devices[shard] = append(devices[shard], id)
			}
		}
		simDevices[shards] = devices
	}
}

func (s *sim) device(shard int) string { return simDevices[s.setup.shards][shard][s.pick(2)] }

var simMetrics = []string{"a", "long", "temp-1", "ok", "b"}

// with runs a part of a task with the process's engine, which it starts if need
// be.
func (a *actor) with(ctx context.Context, do func(*engine.Engine)) {
	p := a.process
	if p.engine == nil {
		e, err := engine.Open(ctx, p.config())
		if a.dead {
			return
		}
		if err != nil {
			a.failed("open", err)
			return
		}
		if p.engine == nil {
			p.engine = e
		}
	}
	do(p.engine)
}

// failed judges an error of a task: without a fault that was injected there is
// none but those that concurrency explains.
func (a *actor) failed(doing string, err error) {
	s := a.sim
	s.logf("%d: %s: %s: %v", s.step, a.name, doing, err)
	switch {
	case a.dead:
	case errors.Is(err, engine.ErrCorrupt), errors.Is(err, store.ErrCorrupt), errors.Is(err, engine.ErrFormat):
		s.fail("%s: %s: %v", a.name, doing, err)
	case errors.Is(err, engine.ErrAgain):
		s.counts.again++
	case errors.Is(err, engine.ErrFloor) && doing == "append":
		s.counts.belowFloor++
		a.retry = nil
	case strings.Contains(err.Error(), "another compactor was first"):
		s.counts.mergeGivenUp++
	case a.faulted, errors.Is(err, errStop):
	case strings.Contains(err.Error(), "insert fences") && errors.Is(err, store.ErrTableNotFound): // the journal has moved on, and its table went
	case doing == "append" && (errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrStale)):
	default:
		s.fail("%s: %s without a fault: %v", a.name, doing, err)
	}
}

// write is a writer's task: to append something new, or something again.
func (a *actor) write() {
	s := a.sim
	p := a.retry
	switch {
	case p != nil && !s.rare(2):
		s.counts.resends++
	case len(s.oracle.ops) > 0 && s.rare(3):
		p = s.oracle.ops[s.pick(min(len(s.oracle.ops), 100))]
		s.counts.resends++
	default:
		p = s.newOp(a.process)
		s.oracle.add(p)
	}
	a.append(p)
}

func (a *actor) append(p *op) {
	s := a.sim
	a.start(func(ctx context.Context) {
		a.with(ctx, func(e *engine.Engine) {
			p.sent = min(p.sent, s.step)
			a.retry = p
			s.logf("%d: %s: appends %s", s.step, a.name, p)
			err := e.Append(ctx, p.shard, p.devices)
			switch {
			case a.dead:
			case err != nil:
				s.counts.refusedAppends++
				a.failed("append", err)
			default:
				s.counts.appends++
				p.acked = min(p.acked, s.step)
				a.retry = nil
				s.logf("%d: %s: acknowledged", s.step, a.name)
			}
		})
	})
}

func (p *op) String() string {
	var text []string
	for i := range p.devices {
		d := &p.devices[i]
		if d.Cut > 0 {
			text = append(text, fmt.Sprintf("%s deleted under %d", d.ID, d.Cut))
		}
		for _, t := range d.Tags {
			text = append(text, fmt.Sprintf("%s #%s=%s(%v)@%s/%d", d.ID, t.Key, t.Value, t.Removed, clockText(t.Time), t.Stamp))
		}
		for _, c := range cells(&d.Readings) {
			text = append(text, d.ID+" "+c.String())
		}
	}
	return strings.Join(text, ", ")
}

// newOp makes up readings of one shard.
func (s *sim) newOp(p *process) *op {
	o := &op{shard: s.pick(s.setup.shards), sent: never, acked: never}
	var readings []telemetry.Reading
	for range 1 + s.pick(5) {
		readings = append(readings, s.newReading(o.shard, p))
	}
	o.devices = block.FromReadings(readings)
	return o
}

func (s *sim) newReading(shard int, p *process) telemetry.Reading {
	r := telemetry.Reading{Device: s.device(shard), Time: s.newTime(), Stamp: p.take()}
	for tries := 0; tries < 3 && p.engine != nil && r.Time < p.engine.Floor(); tries++ { // mostly what ingest would accept
		r.Time = s.newTime()
	}
	if s.rare(4) {
		s.tie(&r, shard)
	}
	if s.rare(2) {
		r.Tags = []telemetry.Tag{s.newTag()}
		if s.rare(1) {
			return r
		}
	}
	first := s.pick(s.setup.metrics)
	for i := range 1 + s.pick(2) {
		name := simMetrics[(first+i)%s.setup.metrics]
		if i == 0 || name != r.Metrics[0].Name {
			r.Metrics = append(r.Metrics, telemetry.Metric{Name: name, Value: s.newValue(name)})
		}
	}
	return r
}

// tie gives a reading the device, time and stamp of another one.
func (s *sim) tie(r *telemetry.Reading, shard int) {
	if len(s.oracle.ops) == 0 {
		return
	}
	o := s.oracle.ops[s.pick(len(s.oracle.ops))]
	d := &o.devices[s.pick(len(o.devices))]
	if o.shard == shard && d.Readings.Len() > 0 {
		i := s.pick(d.Readings.Len())
		r.Device, r.Time, r.Stamp = d.ID, d.Readings.Times[i], d.Readings.Stamps[i]
		s.counts.ties++
	}
}

// newTime is on a coarse grid that has the first and the last nanosecond of its
// days.
func (s *sim) newTime() int64 {
	day := simStart.Truncate(24*time.Hour).AddDate(0, 0, 1-s.pick(s.setup.days))
	if s.rare(5) {
		day = day.AddDate(0, 0, -40) // long ago: days are listed to find it
	}
	slot := s.pick(s.setup.slots)
	at := day.Add(time.Duration(slot) * 90 * time.Minute).UnixNano()
	if slot == s.setup.slots-1 {
		at = day.AddDate(0, 0, 1).UnixNano() - 1
	}
	return at
}

func (s *sim) newTag() telemetry.Tag {
	t := telemetry.Tag{Key: []string{"site", "line"}[s.pick(2)]}
	if t.Removed = s.rare(2); !t.Removed {
		t.Value = []string{"berlin", "oslo"}[s.pick(2)]
	}
	return t
}

func (s *sim) newValue(metric string) telemetry.Value {
	switch metric {
	case "long":
		return telemetry.TextValue(strings.Repeat("long text ", 7) + string(rune('a'+s.pick(8))))
	case "ok":
		return telemetry.BoolValue(s.rare(1))
	case "b":
		switch s.pick(4) {
		case 0:
			return telemetry.TextValue("off")
		case 1:
			return telemetry.IntValue(1<<53 + 1 + int64(s.pick(2)))
		}
	}
	return telemetry.FloatValue(float64(s.pick(16)) / 4)
}

// compact is a compactor's task.
func (a *actor) compact() {
	shard, all := a.sim.pick(a.sim.setup.shards), a.sim.rare(2)
	if a.sim.rare(1) {
		shard = 0 // together with the other one
	}
	a.start(func(ctx context.Context) {
		a.with(ctx, func(e *engine.Engine) {
			doing, err := "merge", error(nil)
			if all {
				doing, err = "compact", e.Compact(ctx)
			} else {
				a.doing = doing
				_, err = e.MergeShard(ctx, shard)
			}
			if err != nil {
				a.failed(doing, err)
			}
		})
	})
}

// keep is a keeper's task: retention and deletions; at times its clock is mad.
func (a *actor) keep() {
	s := a.sim
	switch {
	case s.rare(2):
		a.delete()
	case s.rare(2):
		a.start(func(ctx context.Context) {
			a.with(ctx, func(e *engine.Engine) {
				if _, err := e.Status(ctx); err != nil {
					a.failed("status", err)
				}
			})
		})
	default:
		skew := a.process.skew
		if s.rare(4) && a.process.engine != nil {
			a.process.skew += 365 * 24 * time.Hour
			s.mad = max(s.mad, 1)
			s.logf("%d: the clock of %s is mad", s.step, a.name)
		}
		a.start(func(ctx context.Context) {
			a.with(ctx, func(e *engine.Engine) {
				a.doing = "retain"
				if err := e.Retain(ctx); err != nil {
					a.failed("retain", err)
				}
			})
			a.process.skew = skew
		})
	}
}

func (a *actor) delete() {
	s := a.sim
	shard := s.pick(s.setup.shards)
	device := s.device(shard)
	stamp := a.process.take() - telemetry.Stamp(s.pick(4))*telemetry.Stamp(20*time.Second)
	p := &op{shard: shard, devices: []block.Device{{ID: device, Cut: stamp}}, sent: s.step, acked: never}
	s.oracle.add(p)
	a.start(func(ctx context.Context) {
		a.with(ctx, func(e *engine.Engine) {
			s.logf("%d: %s: deletes %s under %d", s.step, a.name, device, stamp)
			err := e.Delete(ctx, device, stamp)
			switch {
			case a.dead:
			case err != nil:
				a.failed("append", err)
			default:
				p.acked = s.step
				s.counts.deletions++
				s.logf("%d: %s: acknowledged", s.step, a.name)
			}
		})
	})
}

// read is a reader's task: a question to a View, which may be an old one.
func (a *actor) read() {
	s := a.sim
	device := s.device(s.pick(s.setup.shards))
	ask := []func(context.Context, string, *engine.View){a.readSpan, a.readSpan, a.info, a.list, a.readPages}[s.pick(5)]
	again := a.view != nil && a.uses < 4 && s.rare(1)
	a.start(func(ctx context.Context) {
		a.with(ctx, func(e *engine.Engine) {
			if again && a.view != nil {
				s.counts.oldViews++
				a.uses++
			} else {
				a.view, a.begin, a.uses = e.View(), s.step, 0
			}
			ask(ctx, device, a.view)
		})
	})
}

// moment ends an answer.
func (a *actor) moment(ctx context.Context, v *engine.View, device string) (moment, bool) {
	floor, err := v.Floor(ctx)
	if err != nil || a.dead {
		if err != nil {
			a.failed("floor", err)
		}
		return moment{}, false
	}
	s := a.sim
	highest := storedFloor(s.disk.raw[0])
	if floor > highest {
		s.fail("%s: floor %s is above the stored one %s", a.name, clockText(floor), clockText(highest))
	}
	return s.oracle.moment(device, a.begin, floor, highest), true
}

func (a *actor) judge(err error) {
	if err != nil {
		a.sim.fail("%s: %w", a.name, err)
	}
}

var errStop = errors.New("enough")

// newSpan is all of time, or a part, and all metrics, or some.
func (s *sim) newSpan() engine.Span {
	span := engine.Span{From: 0, To: simStart.AddDate(1, 0, 0).UnixNano(), Descending: s.rare(1)}
	if s.rare(1) {
		a, b := s.newTime(), s.newTime()
		span.From, span.To = min(a, b), max(a, b)+int64(s.pick(2))
	}
	if s.rare(2) {
		span.Metrics = []string{simMetrics[s.pick(s.setup.metrics)]}
		if other := simMetrics[s.pick(s.setup.metrics)]; other != span.Metrics[0] {
			span.Metrics = append(span.Metrics, other)
		}
	}
	return span
}

func (a *actor) readSpan(ctx context.Context, device string, v *engine.View) {
	span := a.sim.newSpan()
	a.sim.counts.reads++
	a.readPart(ctx, device, v, span, never)
}

// readPages reads a span page by page, each with a View of its own, from where
// the one before ended.
func (a *actor) readPages(ctx context.Context, device string, v *engine.View) {
	s := a.sim
	span := s.newSpan()
	for range 6 {
		s.counts.reads++
		last, ended := a.readPart(ctx, device, v, span, 1+s.pick(3))
		if ended || a.dead || s.failure != nil {
			return
		}
		s.counts.pagesContinued++
		if span.Descending {
			span.To = last
		} else {
			span.From = last + 1
		}
		v = a.process.engine.View()
		a.view, a.begin, a.uses = v, s.step, 0
	}
}

// readPart reads up to a number of frames, checks them, and returns the time
// up to which it came.
func (a *actor) readPart(ctx context.Context, device string, v *engine.View, span engine.Span, frames int) (last int64, ended bool) {
	s := a.sim
	got := &collector{span: span}
	a.doing, a.opened = "read", ""
	err := v.Read(ctx, device, span, func(f *block.Frame) error {
		if err := got.take(f); err != nil {
			a.judge(fmt.Errorf("%s: %w", device, err))
			return errStop
		}
		if frames--; frames <= 0 {
			return errStop
		}
		if s.current == a && !a.await(yielding) {
			return errStop
		}
		return nil
	})
	if a.dead || s.failure != nil {
		return 0, true
	}
	from, to := span.From, span.To
	if errors.Is(err, errStop) {
		if span.Descending {
			from = got.last
		} else {
			to = got.last + 1
		}
	} else if err != nil {
		a.failed("read", err)
		return 0, true
	}
	m, ok := a.moment(ctx, v, device)
	if !ok {
		return 0, true
	}
	s.logf("%d: %s: read %s %v of a view of %d: %v", s.step, a.name, device, span, a.begin, got.cells)
	a.judge(s.oracle.checkRead(device, m, from, to, span.Metrics, got.cells))
	return got.last, err == nil
}

// yielding lets others go on between two frames of an answer.
var yielding = storetest.Call{Method: "Yield"}

// collector takes frames in and checks their form.
type collector struct {
	span  engine.Span
	begun bool
	last  int64
	cells []cell
}

func (c *collector) take(f *block.Frame) error {
	n := f.Len()
	if n == 0 {
		return errors.New("an empty frame")
	}
	first, last := f.Times[0], f.Times[n-1]
	if !slices.IsSorted(f.Times) {
		return errors.New("the rows of a frame are not in ascending order")
	}
	if c.begun && (!c.span.Descending && first <= c.last || c.span.Descending && last >= c.last) {
		return fmt.Errorf("a frame of %s to %s after %s", clockText(first), clockText(last), clockText(c.last))
	}
	c.begun, c.last = true, last
	if c.span.Descending {
		c.last = first
	}
	full := make([]bool, n)
	for i := range f.Columns {
		for j := range f.Columns[i].Len() {
			full[f.Columns[i].Row(j)] = true
		}
	}
	if slices.Contains(full, false) {
		return errors.New("a row without any value")
	}
	c.cells = append(c.cells, cells(f)...)
	return nil
}

func cells(f *block.Frame) []cell {
	var out []cell
	for i := range f.Columns {
		c := &f.Columns[i]
		for j := range c.Len() {
			row := c.Row(j)
			out = append(out, cell{c.Name, f.Times[row], f.Stamps[row], c.Value(j)})
		}
	}
	return out
}

func (a *actor) info(ctx context.Context, device string, v *engine.View) {
	s := a.sim
	s.counts.infos++
	info, known, err := v.Device(ctx, device)
	if a.dead {
		return
	}
	if err != nil {
		a.failed("device", err)
		return
	}
	m, ok := a.moment(ctx, v, device)
	if !ok || !a.unmerged(ctx, device, v, m) {
		return
	}
	s.logf("%d: %s: %s of a view of %d: %v %+v", s.step, a.name, device, a.begin, known, info)
	if known {
		a.judge(s.oracle.checkInfo(device, m, &info))
	} else {
		a.judge(s.oracle.checkInfo(device, m, nil))
	}
}

// unmerged holds what a View says of the unmerged against the leaves.
func (a *actor) unmerged(ctx context.Context, device string, v *engine.View, m moment) bool {
	s := a.sim
	lowest, any, err := v.Unmerged(ctx, device)
	if a.dead {
		return false
	}
	if err != nil {
		a.failed("unmerged", err)
		return false
	}
	if !any {
		lowest = 1 << 62
	}
	held, err := s.held(device)
	a.judge(err)
	m.highest = max(m.highest, storedFloor(s.disk.raw[0]))
	a.judge(s.oracle.checkMerged(device, m, lowest, held))
	return s.failure == nil
}

func (a *actor) list(ctx context.Context, _ string, v *engine.View) {
	s := a.sim
	s.counts.lists++
	prefix := []string{"", "", "pump-1", "z"}[s.pick(4)]
	after := []string{"", "", "a", "pump-1"}[s.pick(4)]
	most := 1 + s.pick(5)
	var infos []engine.Info
	err := v.Devices(ctx, prefix, after, func(i engine.Info) bool {
		infos = append(infos, i)
		return len(infos) < most
	})
	if a.dead {
		return
	}
	if err != nil {
		a.failed("devices", err)
		return
	}
	if _, ok := a.moment(ctx, v, ""); !ok {
		return
	}
	a.judge(s.oracle.checkList(prefix, after, len(infos) < most, infos, func(device string) moment {
		m, _ := a.moment(ctx, v, device)
		return m
	}))
}
