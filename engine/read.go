package engine

import (
	"context"
	"errors"
	"slices"

	"sluice/telemetry"
	"sluice/telemetry/block"
)

const (
	// maxTime is the greatest time of a reading, in the year 2262.
	maxTime = int64(1<<63 - 1)
)

// Read yields the readings of a device, resolved, a bounded frame at a time. A
// time never spans two frames; frames come in ascending (or descending) order
// of time, the rows within each are always ascending. The frame is valid after
// yield returned, and must not be changed. An error of yield ends it and is
// returned. ErrAgain.
func (v *View) Read(ctx context.Context, id string, span Span, yield func(*block.Frame) error) error {
	d, err := v.device(ctx, id)
	if err != nil {
		return err
	}
	return v.read(ctx, id, d, span, yield)
}

func (v *View) read(ctx context.Context, id string, d deviceView, span Span, yield func(*block.Frame) error) error {
	span, err := v.bounded(ctx, d, span)
	if err != nil || span.From >= span.To {
		return err
	}
	fresh := d.tail.frame.Between(span.From, span.To)
	if span.Metrics != nil {
		fresh = fresh.Only(span.Metrics)
	}
	days, err := v.days(ctx, d.shard, &fresh, span)
	if err != nil {
		return err
	}
	given := false
	for _, at := range days {
		r := dayReader{view: v, leaves: leafReader{
			rows: v.engine.rows(d.shard), table: leafTable(at), shard: partition(d.shard), device: id, metrics: span.Metrics,
		}, cut: d.cut, span: span.within(at), yield: yield, earlier: given && !span.Descending}
		r.fresh = fresh.Between(r.span.From, r.span.To)
		if err := r.read(ctx); err != nil {
			return err
		}
		given = given || r.given
	}
	return nil
}

// bounded narrows a span to what can be there: not below the floor, and
// between the first and the last reading.
func (v *View) bounded(ctx context.Context, d deviceView, span Span) (Span, error) {
	floor, err := v.Floor(ctx)
	if err != nil {
		return span, err
	}
	known := join(d.entry, summarize(d.entry.id, &d.tail.frame, nil))
	if !known.seen {
		span.To = span.From
		return span, nil
	}
	span.From = max(span.From, floor, known.first)
	if known.last < span.To {
		span.To = known.last + 1
	}
	return span, nil
}

// days are the days of a span that may hold something, in its order. For a
// long span it asks which tables there are.
func (v *View) days(ctx context.Context, shard int, fresh *block.Frame, span Span) ([]int64, error) {
	first, last := day(span.From), day(span.To-1)
	var days []int64
	if last-first < 32 {
		for d := first; d <= last; d++ {
			days = append(days, d)
		}
	} else {
		stored, err := leafDays(ctx, v.engine.rows(shard))
		if err != nil {
			return nil, err
		}
		for _, t := range fresh.Times {
			if n := len(stored); n == 0 || stored[n-1] != day(t) {
				stored = append(stored, day(t))
			}
		}
		slices.Sort(stored)
		for _, d := range slices.Compact(stored) {
			if first <= d && d <= last {
				days = append(days, d)
			}
		}
	}
	if span.Descending {
		slices.Reverse(days)
	}
	return days, nil
}

func (s Span) within(d int64) Span {
	s.From = max(s.From, d*nanosPerDay)
	if d < day(maxTime) {
		s.To = min(s.To, (d+1)*nanosPerDay)
	}
	return s
}

// dayReader reads one day of a device: its leaves, each with the part of the
// tail that lies within its bounds.
type dayReader struct {
	view   *View
	leaves leafReader
	cut    telemetry.Stamp
	span   Span
	fresh  block.Frame // the tail's part of the day that is still to come
	held   block.Frame // what a leaf gave of a time of which another leaf has more
	seen   bool        // a leaf was read
	given  bool        // something of the day was yielded
	yield  func(*block.Frame) error
	// earlier says that an earlier day was yielded: then this one must not be left
	// out because the floor came to it.
	earlier bool
}

// nearFloor is how far above the floor, as the view knows it, a day without
// leaves may have lost its table while it was being read.
const nearFloor = 3 * nanosPerDay

func (r *dayReader) read(ctx context.Context) error {
	from, to := before(r.span.From), upTo(r.span.To-1)
	walk, step := r.leaves.ascend, r.ascending
	if r.span.Descending {
		walk, step = r.leaves.descend, r.descending
	}
	err := walk(ctx, from, to, step)
	if errors.Is(err, ErrAgain) {
		return r.vanished(ctx)
	}
	if err == nil && !r.seen && r.earlier {
		err = r.stillThere(ctx)
	}
	if err != nil {
		return err
	}
	return r.give(block.Merge(r.held, r.fresh))
}

// vanished tells what to do when leaves went away under the reader: if the
// whole day went below the floor and nothing of it nor of an earlier one was
// given, it is over; else the page has to begin again.
func (r *dayReader) vanished(ctx context.Context) error {
	floor, err := r.view.engine.readFloor(ctx)
	if err != nil {
		return err
	}
	if !r.given && !r.earlier && r.span.To <= floor {
		return nil
	}
	return ErrAgain
}

// stillThere makes sure that a day without leaves is none that the floor came
// to meanwhile.
func (r *dayReader) stillThere(ctx context.Context) error {
	known, err := r.view.Floor(ctx)
	if err != nil || r.span.From >= known+nearFloor {
		return err
	}
	floor, err := r.view.engine.readFloor(ctx)
	if err == nil && r.span.To <= floor {
		err = ErrAgain
	}
	return err
}

func (r *dayReader) ascending(l leaf) error {
	r.seen = true
	part, rest, err := split(r.fresh, l.high)
	if err != nil {
		return err
	}
	r.fresh = rest
	f := block.MergeAll([]block.Frame{r.held, l.frame.Above(r.cut), part})
	r.held = block.Frame{}
	if time, open := partial(l.high); open {
		f, r.held = cutTimes(f, time)
	}
	return r.give(f)
}

func (r *dayReader) descending(l leaf) error {
	r.seen = true
	rest, part, err := block.Frame{}, r.fresh, error(nil)
	if l.low != "" {
		rest, part, err = split(r.fresh, l.low)
	}
	if err != nil {
		return err
	}
	r.fresh = rest
	f := block.MergeAll([]block.Frame{r.held, l.frame.Above(r.cut), part})
	r.held = block.Frame{}
	if time, open := partial(l.low); open {
		r.held, f = cutTimes(f, time+1)
	}
	return r.give(f)
}

// partial tells whether a bound lies between the metrics of a time.
func partial(p position) (int64, bool) {
	if p == "" || p == end {
		return 0, false
	}
	time, _, whole, err := p.parts()
	return time, err == nil && !whole
}

// cutTimes cuts a frame into what is before a time, and the rest.
func cutTimes(f block.Frame, time int64) (block.Frame, block.Frame) {
	n, _ := slices.BinarySearch(f.Times, time)
	return f.Slice(0, n), f.Slice(n, f.Len())
}

// give yields what of a frame is asked for, in bounded parts.
func (r *dayReader) give(f block.Frame) error {
	f = f.Between(r.span.From, r.span.To)
	if r.span.Metrics != nil {
		f = f.Only(r.span.Metrics)
	}
	for f.Len() > 0 {
		r.given = true
		part := f
		if f.Len() > r.view.engine.limits.yieldRows {
			part, f = r.portion(f)
		} else {
			f = block.Frame{}
		}
		if err := r.yield(&part); err != nil {
			return err
		}
	}
	return nil
}

// portion takes a part off the front, or in descending order off the end.
func (r *dayReader) portion(f block.Frame) (part, rest block.Frame) {
	if !r.span.Descending {
		n := wholeTimes(&f, r.view.engine.limits.yieldRows)
		return f.Slice(0, n), f.Slice(n, f.Len())
	}
	n := f.Len() - r.view.engine.limits.yieldRows
	for n > 0 && f.Times[n] == f.Times[n-1] {
		n--
	}
	return f.Slice(n, f.Len()), f.Slice(0, n)
}
