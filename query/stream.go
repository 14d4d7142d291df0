package query

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"sluice/engine"
	"sluice/telemetry/block"
)

// pieceBytes is the size from which a stream's buffer is sent.
const pieceBytes = 32 << 10

// stream answers with all readings of the range, a piece at a time.
func (s *Service) stream(c echo.Context, q *readingQuery) error {
	ctx := c.Request().Context()
	var view Reader
	var info engine.Info
	err := s.answer(ctx, func(ctx context.Context, fresh Reader) (err error) {
		view = fresh
		info, err = known(ctx, view, q.id)
		return err
	})
	if err != nil {
		return err
	}
	out := newSink(c, s.options.Stall)
	render := q.renderer(&info, out)
	c.Response().Header().Set(echo.HeaderCacheControl, cacheNone)
	if c.Request().Method == http.MethodHead {
		return c.NoContent(http.StatusOK)
	}
	buffer := s.buffer()
	defer s.release(buffer)
	out.buffer = render.header((*buffer)[:0])
	err = s.pump(ctx, view, q, render, out)
	*buffer = out.buffer
	return s.settle(c, q, err)
}

// renderer picks the format. A header knows its columns up front: the metrics
// asked for, or those that the device has when the answer begins.
func (q *readingQuery) renderer(info *engine.Info, out *sink) renderer {
	if q.format == "ndjson" {
		out.contentType(typeNDJSON)
		return &jsonReadings{end: "\n"}
	}
	out.contentType(typeCSV)
	if q.metrics == nil {
		q.metrics = make([]string, len(info.Latest))
		for i := range info.Latest {
			q.metrics[i] = info.Latest[i].Metric
		}
	}
	return newCSVReadings(q.metrics)
}

// pump reads and sends. When the store changes underneath it goes on behind
// what it has, with a new view.
func (s *Service) pump(ctx context.Context, view Reader, q *readingQuery, render renderer, out *sink) error {
	if q.format == "csv" && len(q.metrics) == 0 {
		return out.flush() // a device without metrics; for Read none would mean all
	}
	for tries := 1; ; tries++ {
		before := q.last
		err := view.Read(ctx, q.id, q.span(), func(frame *block.Frame) error {
			return q.send(frame, render, out)
		})
		if !errors.Is(err, engine.ErrAgain) {
			return errors.Join(err, out.finish(err))
		}
		if q.last != before {
			tries = 0
		}
		if tries == attempts {
			return err
		}
		view = s.view()
	}
}

// send renders a frame and marks it as had.
func (q *readingQuery) send(frame *block.Frame, render renderer, out *sink) error {
	render.begin(frame)
	for at, cells := range frame.Each(q.descending) {
		out.buffer = render.reading(out.buffer, at, cells)
		if len(out.buffer) >= pieceBytes {
			if err := out.flush(); err != nil {
				return err
			}
		}
		q.last = at
	}
	q.resumed = q.resumed || frame.Len() > 0
	return nil
}

// settle ends a stream. What failed before the first byte is an answer like any
// other; after it the connection is broken, so that nobody takes a part for the
// whole.
func (s *Service) settle(c echo.Context, q *readingQuery, err error) error {
	if err == nil || !c.Response().Committed {
		return s.explain(err)
	}
	s.options.Log.LogAttrs(c.Request().Context(), slog.LevelWarn, "stream of readings broke",
		slog.String("device", q.id), slog.String("format", q.format), slog.Any("error", err))
	panic(http.ErrAbortHandler)
}

// sink sends the pieces of a stream.
type sink struct {
	response *echo.Response
	control  *http.ResponseController
	stall    time.Duration
	buffer   []byte
}

func newSink(c echo.Context, stall time.Duration) *sink {
	return &sink{response: c.Response(), control: http.NewResponseController(c.Response()), stall: stall}
}

func (o *sink) contentType(t string) { o.response.Header().Set(echo.HeaderContentType, t) }

// flush sends what is buffered. A client that does not take it in time loses
// its connection; one that does may take as long as it likes for the whole. The
// server takes the deadline off before the connection's next request.
func (o *sink) flush() error {
	err := o.control.SetWriteDeadline(time.Now().Add(o.stall))
	if err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	_, err = o.response.Write(o.buffer)
	o.buffer = o.buffer[:0]
	return err
}

// finish sends the rest, unless the stream failed.
func (o *sink) finish(err error) error {
	if err != nil {
		return nil //nolint:nilerr // the failure is the caller's already: nothing more is to be sent
	}
	return o.flush()
}
