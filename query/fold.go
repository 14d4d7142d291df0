package query

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"sluice/telemetry"
	"sluice/telemetry/block"
	"sluice/telemetry/summary"
)

// bucket is the summary of a metric over [start, end). The increase includes
// that from the reading before the bucket to its first, if there is one in the
// range.
type bucket struct {
	start, end int64
	summary.Summary
}

// budget is what one query may cost. It is used concurrently.
type budget struct {
	maxValues, maxBuckets int64
	values, buckets       atomic.Int64
	devices               atomic.Int64 // that were read to their end
	// texts says that strings are answered (first, last). They cost as much as the
	// buckets that have their size.
	texts bool
}

// bucketBytes is about what a bucket takes in memory.
const bucketBytes = 256

// overBudget says that a query costs more than it may.
type overBudget struct {
	buckets bool
	// at is the time that the device was read up to.
	at int64
}

func (e *overBudget) Error() string { return fmt.Sprintf("query is over its budget at %d", e.at) }

func (b *budget) read(values int, at int64) error {
	if b.values.Add(int64(values)) > b.maxValues {
		return &overBudget{at: at}
	}
	return nil
}

// folder folds the values of one metric of one device, in ascending order of
// time, into buckets.
type folder struct {
	plan   plan
	tiers  []tier // of which each is a part of the next; the last one is the bucket
	done   []bucket
	before *float64 // the last number of the buckets that are done
	budget *budget
}

// tier is a stretch that is being folded.
type tier struct {
	length     int64 // 0: the plan says
	start, end int64
	sum        summary.Summary
}

func newFolder(p plan, b *budget) *folder {
	f := &folder{plan: p, budget: b}
	for _, length := range p.tiers() {
		f.tiers = append(f.tiers, tier{length: length})
	}
	f.tiers = append(f.tiers, tier{})
	return f
}

// add folds a column of a resolved frame, a stretch of the finest tier at a
// time.
func (f *folder) add(frame *block.Frame, column *block.Column) error {
	for i := 0; i < column.Len(); {
		at := frame.Times[column.Row(i)]
		if err := f.advance(at); err != nil {
			return err
		}
		t, j := &f.tiers[0], i+1
		for j < column.Len() && frame.Times[column.Row(j)] < t.end {
			j++
		}
		addValues(&t.sum, frame, column, i, j)
		i = j
	}
	return nil
}

func addValues(s *summary.Summary, frame *block.Frame, column *block.Column, i, j int) {
	if column.Kinds == nil {
		s.AddNumbers(frame.Times[column.Row(i)], frame.Times[column.Row(j-1)], column.Bits[i:j])
		return
	}
	for ; i < j; i++ {
		s.Add(frame.Times[column.Row(i)], column.Value(i))
	}
}

// advance closes the stretches that ended by at, and opens those that have it.
func (f *folder) advance(at int64) error {
	for k := range f.tiers {
		t := &f.tiers[k]
		if t.sum.Count > 0 && at < t.end {
			return nil
		}
		if err := f.close(k); err != nil {
			return err
		}
		if t.length == 0 {
			t.start, t.end = f.plan.bucket(at)
		} else {
			t.start = floorTo(at, t.length)
			t.end = t.start + t.length
		}
	}
	return nil
}

// close hands a stretch on to the next tier.
func (f *folder) close(k int) error {
	t := &f.tiers[k]
	if t.sum.Count == 0 {
		return nil
	}
	defer func() { t.sum = summary.Summary{} }()
	if k+1 < len(f.tiers) {
		f.tiers[k+1].sum.Append(&t.sum)
		return nil
	}
	return f.emit(bucket{t.start, t.end, t.sum})
}

func (f *folder) emit(b bucket) error {
	if b.Numbers > 0 {
		if f.before != nil {
			b.Rise(*f.before, b.FirstNumber)
		}
		last := b.LastNumber
		f.before = &last
	}
	cost := 1 + f.budget.keep(&b.First.Value) + f.budget.keep(&b.Last.Value)
	if f.budget.buckets.Add(cost) > f.budget.maxBuckets {
		return &overBudget{buckets: true, at: b.start}
	}
	f.done = append(f.done, b)
	return nil
}

// keep makes a string independent of the frame that it came with, or drops it
// if nobody asked, and returns its cost in buckets.
func (b *budget) keep(v *telemetry.Value) int64 {
	if v.Kind != telemetry.String || !b.texts {
		v.Text = ""
		return 0
	}
	v.Text = strings.Clone(v.Text)
	return int64(len(v.Text) / bucketBytes)
}

// finish closes what is open and returns the buckets, in ascending order.
func (f *folder) finish() ([]bucket, error) {
	for k := range f.tiers {
		if err := f.close(k); err != nil {
			return nil, err
		}
	}
	return f.done, nil
}

// pool adds the buckets of another device, whose id is greater, to those of a
// series, and returns them. Both are in ascending order; series is changed.
func pool(series, other []bucket, b *budget) []bucket {
	i, missing := 0, 0
	for j := range other {
		for i < len(series) && series[i].start < other[j].start {
			i++
		}
		if i == len(series) || series[i].start != other[j].start {
			missing++
			continue
		}
		series[i].Pool(&other[j].Summary)
		b.buckets.Add(-1)
	}
	if missing == 0 {
		return series
	}
	return interleave(series, other, missing)
}

// interleave takes over those buckets of other, missing ones, whose start no
// bucket of series has. It goes backward, so that it needs no second slice.
func interleave(series, other []bucket, missing int) []bucket {
	i, j := len(series)-1, len(other)-1
	series = slices.Grow(series, missing)[:len(series)+missing]
	for k := len(series) - 1; j >= 0; k-- {
		switch {
		case i >= 0 && series[i].start > other[j].start:
			series[k] = series[i]
			i--
		case i >= 0 && series[i].start == other[j].start:
			j--
			k++
		default:
			series[k] = other[j]
			j--
		}
	}
	return series
}
