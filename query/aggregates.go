package query

import (
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/labstack/echo/v4"

	"sluice/engine"
	"sluice/internal/httperr"
	"sluice/telemetry"
	"sluice/telemetry/block"
)

// clockSkew is what the clocks of two instances may differ by: a stamp that is
// as far behind may still be of a reading that arrived in time.
const clockSkew = 5 * time.Second

// aggregateQuery asks for aggregates of one device or of a fleet.
type aggregateQuery struct {
	metrics    []string
	plan       plan
	aggregates []aggregate
	csv        bool
	now        int64
	consumed   int64 // what the hub had before is in the store, see askConsumed
}

var aggregateParams = []string{"metric", "from", "to", "step", "agg", "tz", "fill", "format"}

func (s *Service) parseAggregateQuery(p params) (q aggregateQuery, err error) {
	q.now, q.consumed = s.options.Now().UnixNano(), math.MaxInt64
	from, to, err := parseRange(p, q.now)
	if err != nil {
		return q, err
	}
	text, err := p.one("step")
	if err != nil {
		return q, err
	}
	if q.plan, err = newPlan(from, to, text); err != nil {
		return q, err
	}
	if q.metrics, err = p.list("metric"); err != nil {
		return q, err
	}
	if len(q.metrics) == 0 {
		return q, invalid("metric is missing: name one or several, separated by commas")
	}
	if q.aggregates, err = parseAggregates(p); err != nil {
		return q, err
	}
	format, err := p.choice("format", "json", "csv")
	if err != nil {
		return q, err
	}
	q.csv = format == "csv"
	return q, checkLater(p)
}

// checkLater refuses what is not built yet.
func checkLater(p params) error {
	tz, err := p.one("tz")
	if err != nil {
		return err
	}
	if tz != "" && tz != "UTC" {
		return unsupported("tz=%s: zones other than UTC are not built yet", telemetry.Quote(tz))
	}
	fill, err := p.one("fill")
	if err != nil {
		return err
	}
	if fill != "" && fill != "none" {
		return unsupported("fill=%s is not built yet: none is (empty buckets are left out)", telemetry.Quote(fill))
	}
	return nil
}

// series is one line of an answer.
type series struct {
	device  string  // "" if it is of a group
	group   []label // nil if it is of a device, or of all
	metric  string
	buckets []bucket
	settled settled
}

// settled is up to where buckets are final: those whose end is not after it.
type settled int64

// settledAt says which buckets are final when lowest is the lowest stamp among
// what is not merged, if there is any: the lateness has passed since their end,
// and what arrived by then is consumed and merged.
func (s *Service) settledAt(q *aggregateQuery, lowest telemetry.Stamp, unmerged bool) settled {
	limit := q.now - 1 // the contract says more than the lateness
	limit = min(limit, q.consumed-1-int64(clockSkew))
	if unmerged {
		limit = min(limit, int64(lowest)-1-int64(clockSkew))
	}
	return settled(limit - int64(s.options.Lateness))
}

// consumedWithin bounds how long an answer waits to learn how far the hub is
// consumed.
const consumedWithin = time.Second

// askConsumed finds out how far the hub is consumed. It comes before the answer is
// read, which may lack what is consumed meanwhile. Where it is not known nothing is
// final.
func (s *Service) askConsumed(ctx context.Context, q *aggregateQuery) {
	if s.options.Consumed == nil || !s.mayBeFinal(q) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, consumedWithin)
	defer cancel()
	upTo, err := s.options.Consumed(ctx)
	if q.consumed = upTo.UnixNano(); err != nil {
		q.consumed = 0 // no bucket is as old
	}
}

// folded is what a device has to say.
type folded struct {
	metrics  [][]bucket // as asked for
	lowest   telemetry.Stamp
	unmerged bool
}

// mayHave says whether a device may have a value that is asked for: what is
// known of its newest values spares most of a fleet the reading.
func (q *aggregateQuery) mayHave(info *engine.Info) bool {
	if !info.HasReadings || info.FirstSeen >= q.plan.to {
		return false
	}
	for i := range info.Latest {
		if info.Latest[i].Time >= q.plan.from && slices.Contains(q.metrics, info.Latest[i].Metric) {
			return true
		}
	}
	return false
}

// fold reads a device.
func (s *Service) fold(ctx context.Context, view Reader, m *member, q *aggregateQuery, b *budget) (folded, error) {
	result := folded{metrics: make([][]bucket, len(q.metrics))}
	if m.read {
		if err := foldMetrics(ctx, view, m.id, q, b, result.metrics); err != nil {
			return folded{}, err
		}
		b.devices.Add(1)
	}
	if !s.mayBeFinal(q) {
		return result, nil
	}
	var err error
	result.lowest, result.unmerged, err = view.Unmerged(ctx, m.id)
	return result, err
}

// foldMetrics reads a device's buckets of each metric into result.
func foldMetrics(ctx context.Context, view Reader, id string, q *aggregateQuery, b *budget, result [][]bucket) error {
	folders := make(map[string]*folder, len(q.metrics))
	for _, metric := range q.metrics {
		folders[metric] = newFolder(q.plan, b)
	}
	span := engine.Span{From: q.plan.from, To: q.plan.to, Metrics: sorted(q.metrics)}
	err := view.Read(ctx, id, span, func(frame *block.Frame) error {
		for i := range frame.Columns {
			column := &frame.Columns[i]
			f := folders[column.Name]
			if f == nil {
				continue
			}
			if err := b.read(column.Len(), frame.Times[0]); err != nil {
				return err
			}
			if err := f.add(frame, column); err != nil {
				return err
			}
		}
		return ctx.Err()
	})
	for i, metric := range q.metrics {
		if err == nil {
			result[i], err = folders[metric].finish()
		}
	}
	return err
}

// mayBeFinal spares the questions what is consumed and merged where no bucket is
// final by what is known already, which may be the time alone.
func (s *Service) mayBeFinal(q *aggregateQuery) bool {
	_, end := q.plan.bucket(q.plan.from)
	return end <= int64(s.settledAt(q, 0, false))
}

// deviceAggregates is GET /api/v1/devices/{id}/aggregates.
func (s *Service) deviceAggregates(c echo.Context) error {
	id, err := s.deviceID(c)
	if err != nil {
		return err
	}
	p, err := parseParams(c, aggregateParams...)
	if err != nil {
		return err
	}
	q, err := s.parseAggregateQuery(p)
	if err != nil {
		return err
	}
	s.askConsumed(c.Request().Context(), &q)
	var a answer
	err = s.answer(c.Request().Context(), func(ctx context.Context, view Reader) error {
		info, err := known(ctx, view, id)
		if err != nil {
			return err
		}
		a, err = s.ofDevice(ctx, view, &info, &q)
		return err
	})
	if err != nil {
		return err
	}
	return s.send(c, &q, &a)
}

func (s *Service) ofDevice(ctx context.Context, view Reader, info *engine.Info, q *aggregateQuery) (answer, error) {
	f, err := s.fold(ctx, view, &member{id: info.ID, read: q.mayHave(info)}, q, s.newBudget(q))
	if over := (*overBudget)(nil); errors.As(err, &over) {
		first := max(q.plan.from, info.FirstSeen)
		return answer{}, s.tooLarge(over, over.at-first)
	}
	if err != nil {
		return answer{}, err
	}
	a := answer{settled: s.settledAt(q, f.lowest, f.unmerged), byDevice: true}
	for i, metric := range q.metrics {
		if len(f.metrics[i]) > 0 {
			a.series = append(a.series, series{device: info.ID, metric: metric, buckets: f.metrics[i], settled: a.settled})
		}
	}
	return a, nil
}

func (s *Service) newBudget(q *aggregateQuery) *budget {
	texts := slices.ContainsFunc(q.aggregates, func(a aggregate) bool { return a.point != nil })
	return &budget{maxValues: s.options.MaxValues, maxBuckets: s.options.MaxBuckets, texts: texts}
}

// tooLarge says which range would do: a part of what could be read, which is
// covered, of the range.
func (s *Service) tooLarge(over *overBudget, covered int64) error {
	span := roughDuration(time.Duration(math.Max(0, float64(covered)*0.9)))
	if over.buckets {
		return httperr.New(httperr.QueryTooLarge, "the answer has more than %d buckets: a coarser step, fewer devices or metrics, or a range of %s would do",
			s.options.MaxBuckets, span)
	}
	return httperr.New(httperr.QueryTooLarge, "the query reads more than %d values: a range of %s, or fewer devices or metrics, would do",
		s.options.MaxValues, span)
}
