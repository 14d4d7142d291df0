package query

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"sluice/engine"
	"sluice/internal/httperr"
	"sluice/telemetry/block"
)

// readingQuery asks for the readings of one device.
type readingQuery struct {
	id         string
	from, to   int64
	metrics    []string // nil: all
	descending bool
	format     string
	limit      int
	// last is the time of the last reading of the former page.
	last    int64
	resumed bool
	text    string // the query that cursors are bound to
}

func (s *Service) parseReadings(c echo.Context) (q readingQuery, err error) {
	if q.id, err = s.deviceID(c); err != nil {
		return q, err
	}
	p, err := parseParams(c, "from", "to", "metrics", "order", "limit", "cursor", "format")
	if err != nil {
		return q, err
	}
	from, to, err := parseRange(p, s.options.Now().UnixNano())
	if err != nil {
		return q, err
	}
	q.from, q.to = from.at, to.at
	if q.metrics, err = p.list("metrics"); err != nil {
		return q, err
	}
	if q.limit, err = p.limit(); err != nil {
		return q, err
	}
	order, err := p.choice("order", "asc", "desc")
	if err != nil {
		return q, err
	}
	q.descending = order == "desc"
	if q.format, err = p.choice("format", "json", "ndjson", "csv"); err != nil {
		return q, err
	}
	return q, q.resume(p, order)
}

// resume takes the cursor, if there is one. The first page's range stays that
// of all pages, also where it is relative to now.
func (q *readingQuery) resume(p params, order string) error {
	from, _ := p.one("from")
	to, _ := p.one("to")
	q.text = strings.Join(append([]string{"readings", q.id, from, to, order}, q.metrics...), "\x00")
	cursor, err := p.one("cursor")
	if err != nil || cursor == "" {
		return err
	}
	if q.format != "json" {
		return httperr.New(httperr.InvalidCursor, "a cursor goes with format=json: %s has the whole range", q.format)
	}
	q.resumed = true
	_, err = decodeCursor(cursor, q.text, &q.from, &q.to, &q.last)
	return err
}

// span is what is left to read.
func (q *readingQuery) span() engine.Span {
	span := engine.Span{From: q.from, To: q.to, Metrics: slices.Sorted(slices.Values(q.metrics)), Descending: q.descending}
	switch {
	case q.resumed && q.descending:
		span.To = q.last
	case q.resumed:
		span.From = q.last + 1
	}
	return span
}

// readings is GET /api/v1/devices/{id}/readings.
func (s *Service) readings(c echo.Context) error {
	q, err := s.parseReadings(c)
	if err != nil {
		return err
	}
	if q.format != "json" {
		return s.stream(c, &q)
	}
	buffer := s.buffer()
	defer s.release(buffer)
	err = s.answer(c.Request().Context(), func(ctx context.Context, view Reader) error {
		if _, err := known(ctx, view, q.id); err != nil {
			return err
		}
		*buffer, err = s.appendPage(ctx, (*buffer)[:0], view, &q)
		return err
	})
	if err != nil {
		return err
	}
	return respond(c, typeJSON, etag(*buffer), cacheNone, *buffer)
}

// errFull ends a page.
var errFull = errors.New("page is full")

// appendPage appends a page of readings. One that has more bytes than a page
// may have ends before its limit, with a cursor.
func (s *Service) appendPage(ctx context.Context, dst []byte, view Reader, q *readingQuery) ([]byte, error) {
	dst = append(dst, `{"deviceId":`...)
	dst = appendString(dst, q.id)
	dst = append(dst, `,"readings":[`...)
	render := jsonReadings{end: ","}
	n, last := 0, int64(0)
	err := view.Read(ctx, q.id, q.span(), func(frame *block.Frame) error {
		render.begin(frame)
		for at, cells := range frame.Each(q.descending) {
			if n == q.limit || n > 0 && len(dst) > s.options.MaxPageBytes {
				return errFull
			}
			dst = render.reading(dst, at, cells)
			n, last = n+1, at
		}
		return nil
	})
	if n > 0 {
		dst = dst[:len(dst)-1]
	}
	switch {
	case errors.Is(err, errFull):
		return appendNext(dst, encodeCursor(q.text, "", q.from, q.to, last)), nil
	case err != nil:
		return dst, err
	default:
		return appendNext(dst, ""), nil
	}
}
