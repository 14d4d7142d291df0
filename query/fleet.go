package query

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"
	"golang.org/x/sync/errgroup"

	"sluice/engine"
	"sluice/internal/httperr"
)

// fleetQuery asks for aggregates of many devices.
type fleetQuery struct {
	aggregateQuery
	devices globs
	tags    tagFilter
	by      grouping
	within  string // what the ids of all devices begin with that may be read
}

// fleetAggregates is GET /api/v1/aggregates.
func (s *Service) fleetAggregates(c echo.Context) error {
	p, err := parseParams(c, append([]string{"device", "tag", "groupBy"}, aggregateParams...)...)
	if err != nil {
		return err
	}
	q, err := s.parseFleet(p)
	if err != nil {
		return err
	}
	if q.within, err = s.prefix(c.Request().Context()); err != nil {
		return err
	}
	s.askConsumed(c.Request().Context(), &q.aggregateQuery)
	var a answer
	err = s.answer(c.Request().Context(), func(ctx context.Context, view Reader) error {
		a, err = s.ofFleet(ctx, view, &q)
		return err
	})
	if err != nil {
		return err
	}
	return s.send(c, &q.aggregateQuery, &a)
}

func (s *Service) parseFleet(p params) (q fleetQuery, err error) {
	if q.aggregateQuery, err = s.parseAggregateQuery(p); err != nil {
		return q, err
	}
	if q.devices, err = parseGlobs(p); err != nil {
		return q, err
	}
	if q.tags, err = parseTags(p); err != nil {
		return q, err
	}
	q.by, err = parseGrouping(p)
	return q, err
}

// member is a device of a fleet.
type member struct {
	id     string
	labels []label
	read   bool // it may have what is asked for
	// It has readings from first to last.
	first, last int64
}

// members are the devices that a query selects, in ascending order of ids.
func (s *Service) members(ctx context.Context, view Reader, q *fleetQuery) ([]member, error) {
	var found []member
	over := false
	take := func(info engine.Info) bool {
		if !q.devices.match(info.ID) || !q.tags.match(info.Tags) {
			return ctx.Err() == nil
		}
		if over = len(found) == s.options.MaxDevices; over {
			return false
		}
		found = append(found, member{info.ID, q.by.labels(&info), q.mayHave(&info), info.FirstSeen, info.LastSeen})
		return true
	}
	if err := visit(ctx, view, q, take); err != nil {
		return nil, err
	}
	if over {
		return nil, httperr.New(httperr.QueryTooLarge, "the query selects more than %d devices: device= or tag= would select fewer", s.options.MaxDevices)
	}
	return found, ctx.Err()
}

// visit yields at least the devices that a query selects, and none that it may not
// read, in ascending order of ids.
func visit(ctx context.Context, view Reader, q *fleetQuery, yield func(engine.Info) bool) error {
	if !q.devices.literal() {
		prefix, some := narrower(q.devices.prefix(), q.within)
		if !some {
			return nil
		}
		return view.Devices(ctx, prefix, "", yield)
	}
	for _, id := range sorted(q.devices) {
		if !strings.HasPrefix(id, q.within) {
			continue
		}
		info, ok, err := view.Device(ctx, id)
		if err != nil {
			return err
		}
		if ok && !yield(info) {
			return nil
		}
	}
	return nil
}

func sorted(items []string) []string { return slices.Sorted(slices.Values(items)) }

// group is the devices that share a series of each metric.
type group struct {
	member  member
	metrics [][]bucket
	settled settled
}

// ofFleet folds the devices, several at a time, and pools each group in
// ascending order of ids, so that the same data give the same bits.
func (s *Service) ofFleet(ctx context.Context, view Reader, q *fleetQuery) (answer, error) {
	members, err := s.members(ctx, view, q)
	if err != nil {
		return answer{}, err
	}
	budget, groups := s.newBudget(&q.aggregateQuery), map[string]*group{}
	for chunk := range slices.Chunk(members, 4*s.options.Workers) {
		results, err := s.foldAll(ctx, view, chunk, q, budget)
		if over := (*overBudget)(nil); errors.As(err, &over) {
			return answer{}, s.tooLarge(over, covered(members, q.plan, budget, over))
		}
		if err != nil {
			return answer{}, err
		}
		for i := range chunk {
			s.join(groups, q, chunk[i], &results[i], budget)
		}
	}
	return s.assemble(groups, q), nil
}

func (s *Service) foldAll(ctx context.Context, view Reader, members []member, q *fleetQuery, b *budget) ([]folded, error) {
	results := make([]folded, len(members))
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(s.options.Workers)
	for i := range members {
		work.Go(func() (err error) {
			defer contain(&err)
			results[i], err = s.fold(ctx, view, &members[i], &q.aggregateQuery, b)
			return err
		})
	}
	return results, work.Wait()
}

// contain turns a panic into an error: in a goroutine of its own it would end
// the process, not the request.
func contain(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
	}
}

// join pools a device into its group.
func (s *Service) join(groups map[string]*group, q *fleetQuery, m member, f *folded, b *budget) {
	key := groupKey(q.by, m)
	settled := s.settledAt(&q.aggregateQuery, f.lowest, f.unmerged)
	g := groups[key]
	if g == nil {
		groups[key] = &group{member: m, metrics: f.metrics, settled: settled}
		return
	}
	g.settled = min(g.settled, settled)
	for i := range g.metrics {
		g.metrics[i] = pool(g.metrics[i], f.metrics[i], b)
	}
}

// groupKey differs between groups: values have no control characters.
func groupKey(by grouping, m member) string {
	if by.device {
		return m.id
	}
	var key strings.Builder
	for _, l := range m.labels {
		if l.absent {
			key.WriteByte(1)
		}
		key.WriteString(l.value)
		key.WriteByte(0)
	}
	return key.String()
}

// assemble orders the series by group, those without a tag last, and then as
// the metrics were asked for.
func (s *Service) assemble(groups map[string]*group, q *fleetQuery) answer {
	a := answer{byDevice: q.by.device, tags: q.by.tags, settled: s.settledAt(&q.aggregateQuery, 0, false)}
	ordered := make([]*group, 0, len(groups))
	for _, g := range groups {
		ordered = append(ordered, g)
	}
	slices.SortFunc(ordered, func(x, y *group) int {
		return cmp.Or(slices.CompareFunc(x.member.labels, y.member.labels, compareLabels), cmp.Compare(x.member.id, y.member.id))
	})
	for _, g := range ordered {
		a.settled = min(a.settled, g.settled)
		for i, metric := range q.metrics {
			if len(g.metrics[i]) == 0 {
				continue
			}
			line := series{metric: metric, group: g.member.labels, buckets: g.metrics[i], settled: g.settled}
			if q.by.device {
				line.device = g.member.id
			}
			a.series = append(a.series, line)
		}
	}
	return a
}

func compareLabels(x, y label) int {
	switch {
	case x.absent && y.absent:
		return 0
	case x.absent:
		return 1
	case y.absent:
		return -1
	default:
		return cmp.Compare(x.value, y.value)
	}
}

// covered is how much of the range the budget would have covered had it been
// read for all devices at once.
func covered(members []member, p plan, b *budget, over *overBudget) int64 {
	first, last, read := p.to, p.from, 0
	for _, m := range members {
		if !m.read {
			continue
		}
		read++
		first, last = min(first, max(m.first, p.from)), max(last, min(m.last, p.to))
	}
	if first >= last {
		return 0
	}
	share := float64(b.devices.Load())
	if over.at > first {
		share += float64(over.at-first) / float64(last-first)
	}
	return int64(float64(last-first) * share / float64(read))
}
