package query

import (
	"math"
	"strconv"
	"strings"
	"time"

	"sluice/telemetry"
)

// The bounds of buckets.
const (
	minStep      step = 10           // seconds
	maxStep      step = 24 * 60 * 60 // seconds
	maxPlanned        = 11_000       // buckets that a range may be divided into
	usualPlanned      = 300          // buckets that the default step gives at most
)

// steps are what the default step is chosen from, in seconds. 1w and 1mo come
// with the calendars: until then a range longer than 300 days has days.
var steps = []int64{10, 30, 60, 5 * 60, 15 * 60, 60 * 60, 6 * 60 * 60, 24 * 60 * 60}

// step is the length of a bucket in seconds; 0: one bucket for the whole range.
type step int64

const wholeRange step = 0

func (s step) String() string {
	if s == wholeRange {
		return "all"
	}
	return formatDuration(int64(s))
}

func (s step) nanos() int64 { return int64(s) * int64(time.Second) }

// parseStep reads a step that was given.
func parseStep(text string) (step, error) {
	switch text {
	case "all":
		return wholeRange, nil
	case "1w", "1mo", "1y":
		return 0, unsupported("step=%s is not built yet: 10s to 1d and all are", text)
	}
	const right = "a whole number of seconds from 10s to 1d (90s, 5m, 1h), or all, would be right"
	d, err := parseDuration(text)
	if err != nil {
		return 0, invalid("step=%s: "+right, telemetry.Quote(text))
	}
	s := step(d / time.Second)
	if s < minStep || s > maxStep {
		return 0, invalid("step=%s is out of bounds: "+right, telemetry.Quote(text))
	}
	return s, nil
}

// plan maps a range to buckets. It is the place for calendars: whatever has
// other edges than a fixed step aligned to the epoch gives them in bucket, and
// has its windows in tiers.
type plan struct {
	from, to int64 // [from, to), nanoseconds since the Unix epoch
	step     step
}

// bucket is the bucket [start, end) of a time of the range. A bucket keeps its
// aligned edges where the range ends within it.
func (p plan) bucket(at int64) (start, end int64) {
	if p.step == wholeRange {
		return p.from, p.to
	}
	start = floorTo(at, p.step.nanos())
	return start, start + p.step.nanos()
}

// buckets is how many there are, those without readings too.
func (p plan) buckets() int64 {
	if p.step == wholeRange {
		return 1
	}
	n := p.step.nanos()
	return floorTo(p.to-1, n)/n - floorTo(p.from, n)/n + 1
}

// window is the length of the windows in which summaries will be stored, day
// that of the next tier of them. A zone's day can be made of windows.
const (
	window = int64(15 * time.Minute)
	day    = int64(24 * time.Hour)
)

// tiers are the stretches in which raw readings are folded before they are
// merged into a bucket, each a part of the next. They are those in which
// summaries are stored, so that an answer keeps its bits when a window comes
// from storage; a bucket that is not made of whole windows is always folded
// from raw, in one go.
func (p plan) tiers() []int64 {
	switch {
	case p.step == wholeRange:
		return []int64{window, day}
	case p.step.nanos()%window == 0 && p.step.nanos() > window:
		return []int64{window}
	default:
		return nil
	}
}

// floorTo rounds down to a multiple of n, also below 0.
func floorTo(at, n int64) int64 {
	rest := at % n
	if rest < 0 {
		rest += n
	}
	return at - rest
}

// ceilTo rounds up to a multiple of n.
func ceilTo(at, n int64) int64 { return -floorTo(-at, n) }

// newPlan makes the plan of a range; text is the step that was given, "" for
// the default.
func newPlan(from, to instant, text string) (plan, error) {
	if text == "" {
		return defaultPlan(from, to), nil
	}
	s, err := parseStep(text)
	if err != nil {
		return plan{}, err
	}
	p := rounded(from, to, s)
	if n := p.buckets(); n > maxPlanned {
		return plan{}, invalid("step=%s divides the range into %d buckets, at most %d are answered: step=%s would do",
			s, n, maxPlanned, coarser(from, to))
	}
	return p, nil
}

// defaultPlan takes the finest of the usual steps that gives few buckets.
func defaultPlan(from, to instant) plan {
	for _, seconds := range steps {
		if p := rounded(from, to, step(seconds)); p.buckets() <= usualPlanned {
			return p
		}
	}
	last := rounded(from, to, step(steps[len(steps)-1]))
	if last.buckets() > maxPlanned {
		return rounded(from, to, wholeRange)
	}
	return last
}

// coarser is the finest of the usual steps that gives no more buckets than are
// answered.
func coarser(from, to instant) step {
	for _, seconds := range steps {
		if rounded(from, to, step(seconds)).buckets() <= maxPlanned {
			return step(seconds)
		}
	}
	return wholeRange
}

// rounded rounds relative ends up to the step (to the finest one where there is
// one bucket), so that who asks again gets the same buckets. A range that would
// have nothing left keeps its beginning.
func rounded(from, to instant, s step) plan {
	p := plan{from: from.at, to: to.at, step: s}
	unit := max(s, minStep).nanos()
	if to.relative {
		p.to = ceilTo(to.at, unit)
	}
	if start := ceilTo(from.at, unit); from.relative && start < p.to {
		p.from = start
	}
	return p
}

// seconds is the length of a bucket, for rates.
func seconds(start, end int64) float64 {
	whole := uint64(end) - uint64(start)
	return float64(whole) / float64(time.Second)
}

// aggregate is one of the values of a bucket.
type aggregate struct {
	name string
	// value is NaN where there is none.
	value func(b *bucket) float64
	// point is set instead of value for those that strings have too.
	point func(b *bucket) telemetry.Value
}

var aggregates = []aggregate{
	{name: "sum", value: func(b *bucket) float64 { return b.Sum.Float() }},
	{name: "avg", value: func(b *bucket) float64 { return b.Mean() }},
	{name: "min", value: func(b *bucket) float64 { return b.Min }},
	{name: "max", value: func(b *bucket) float64 { return b.Max }},
	{name: "first", point: func(b *bucket) telemetry.Value { return b.First.Value }},
	{name: "last", point: func(b *bucket) telemetry.Value { return b.Last.Value }},
	{name: "stddev", value: func(b *bucket) float64 { return b.Deviation() }},
	{name: "increase", value: func(b *bucket) float64 { return b.Increase.Float() }},
	{name: "rate", value: func(b *bucket) float64 { return b.Increase.Float() / seconds(b.start, b.end) }},
}

// result is the aggregate's value of a bucket, None for null.
func (a *aggregate) result(b *bucket) telemetry.Value {
	if a.point != nil {
		return asNumber(a.point(b))
	}
	x := a.value(b)
	if b.Numbers == 0 || math.IsNaN(x) || math.IsInf(x, 0) {
		return telemetry.Value{}
	}
	return telemetry.FloatValue(x)
}

// asNumber makes numbers of booleans.
func asNumber(v telemetry.Value) telemetry.Value {
	if x, ok := v.Float(); ok && v.Kind == telemetry.Bool {
		return telemetry.FloatValue(x)
	}
	return v
}

// parseAggregates reads agg. count is not among the result: every bucket has it.
func parseAggregates(p params) ([]aggregate, error) {
	names, err := p.list("agg")
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		names = []string{"avg", "min", "max"}
	}
	var picked []aggregate
	for _, name := range names {
		a, err := parseAggregate(name)
		if err != nil {
			return nil, err
		}
		if a != nil {
			picked = append(picked, *a)
		}
	}
	return picked, nil
}

func parseAggregate(name string) (*aggregate, error) {
	if name == "count" {
		return nil, nil
	}
	for i := range aggregates {
		if aggregates[i].name == name {
			return &aggregates[i], nil
		}
	}
	if n, err := strconv.Atoi(strings.TrimPrefix(name, "p")); err == nil && name[0] == 'p' && n > 0 && n < 100 {
		return nil, unsupported("agg=%s: percentiles are not built yet", name)
	}
	return nil, invalid("agg=%s: some of count, sum, avg, min, max, first, last, stddev, rate, increase would be right", telemetry.Quote(name))
}
