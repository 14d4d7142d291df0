package query

import (
	"context"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"sluice/engine"
	"sluice/telemetry"
)

// minSilence is the least that silentFor takes.
const minSilence = 10 * time.Minute

// deviceQuery is a page of the list of devices.
type deviceQuery struct {
	prefix  string
	nothing bool // no device has that prefix that may be read
	tags    tagFilter
	silence time.Duration // 0: not asked for
	now     int64         // of the first page
	after   string        // the last id of the former page
	limit   int
	text    string // the query that cursors are bound to
}

func (s *Service) parseDevices(c echo.Context) (q deviceQuery, err error) {
	p, err := parseParams(c, "prefix", "tag", "silentFor", "limit", "cursor")
	if err != nil {
		return q, err
	}
	q.now = s.options.Now().UnixNano()
	if q.limit, err = p.limit(); err != nil {
		return q, err
	}
	if q.prefix, err = p.one("prefix"); err != nil {
		return q, err
	}
	may, err := s.prefix(c.Request().Context())
	if err != nil {
		return q, err
	}
	both, ok := narrower(q.prefix, may)
	q.prefix, q.nothing = both, !ok
	if q.tags, err = parseTags(p); err != nil {
		return q, err
	}
	silence, err := p.one("silentFor")
	if err != nil {
		return q, err
	}
	if silence != "" {
		if q.silence, err = parseDuration(silence); err != nil || q.silence < minSilence {
			return q, invalid("silentFor=%s: a duration of at least 10m (15m, 2h, 30d) would be right", telemetry.Quote(silence))
		}
	}
	q.text = strings.Join(append([]string{"devices", q.prefix, q.silence.String()}, q.tags...), "\x00")
	cursor, err := p.one("cursor")
	if err == nil && cursor != "" {
		q.after, err = decodeCursor(cursor, q.text, &q.now)
	}
	return q, err
}

// match says whether a device is in the list. One that never sent a reading has
// been silent for as long as it is known.
func (q *deviceQuery) match(info *engine.Info) bool {
	if q.silence > 0 && info.HasReadings && info.LastSeen > q.now-int64(q.silence) {
		return false
	}
	return q.tags.match(info.Tags)
}

// devices is GET /api/v1/devices.
func (s *Service) devices(c echo.Context) error {
	q, err := s.parseDevices(c)
	if err != nil {
		return err
	}
	buffer := s.buffer()
	defer s.release(buffer)
	err = s.answer(c.Request().Context(), func(ctx context.Context, view Reader) error {
		*buffer, err = appendDevices(ctx, (*buffer)[:0], view, &q)
		return err
	})
	if err != nil {
		return err
	}
	return respond(c, typeJSON, etag(*buffer), cacheNone, *buffer)
}

func appendDevices(ctx context.Context, dst []byte, view Reader, q *deviceQuery) ([]byte, error) {
	dst = append(dst, `{"devices":[`...)
	n, last, next := 0, "", ""
	if q.nothing {
		return appendNext(dst, next), nil
	}
	err := view.Devices(ctx, q.prefix, q.after, func(info engine.Info) bool {
		if !q.match(&info) {
			return ctx.Err() == nil
		}
		if n == q.limit {
			next = encodeCursor(q.text, last, q.now)
			return false
		}
		if n > 0 {
			dst = append(dst, ',')
		}
		dst = appendDevice(dst, &info)
		n, last = n+1, info.ID
		return true
	})
	if err == nil {
		err = ctx.Err()
	}
	return appendNext(dst, next), err
}

func appendDevice(dst []byte, info *engine.Info) []byte {
	dst = append(dst, `{"deviceId":`...)
	dst = appendString(dst, info.ID)
	dst = append(dst, `,"firstSeen":`...)
	dst = appendSeen(dst, info, info.FirstSeen)
	dst = append(dst, `,"lastSeen":`...)
	dst = appendSeen(dst, info, info.LastSeen)
	dst = append(dst, `,"tags":{`...)
	for i, tag := range info.Tags {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendString(dst, tag.Key)
		dst = append(dst, ':')
		dst = appendString(dst, tag.Value)
	}
	dst = append(dst, `},"metrics":[`...)
	for i := range info.Latest {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendString(dst, info.Latest[i].Metric)
	}
	return append(dst, "]}"...)
}

// appendSeen appends a time of a device's readings, null if it has none.
func appendSeen(dst []byte, info *engine.Info, at int64) []byte {
	if !info.HasReadings {
		return append(dst, "null"...)
	}
	return appendQuotedTime(dst, at)
}

// device is GET /api/v1/devices/{id}.
func (s *Service) device(c echo.Context) error {
	return s.one(c, func(dst []byte, info *engine.Info) []byte {
		return append(appendDevice(dst, info), '\n')
	})
}

// latest is GET /api/v1/devices/{id}/latest.
func (s *Service) latest(c echo.Context) error { return s.one(c, appendLatest) }

// one answers with what is known of one device.
func (s *Service) one(c echo.Context, render func([]byte, *engine.Info) []byte) error {
	id, err := s.deviceID(c)
	if err != nil {
		return err
	}
	if _, err := parseParams(c); err != nil {
		return err
	}
	buffer := s.buffer()
	defer s.release(buffer)
	err = s.answer(c.Request().Context(), func(ctx context.Context, view Reader) error {
		info, err := known(ctx, view, id)
		if err == nil {
			*buffer = render((*buffer)[:0], &info)
		}
		return err
	})
	if err != nil {
		return err
	}
	return respond(c, typeJSON, etag(*buffer), cacheNone, *buffer)
}

func appendLatest(dst []byte, info *engine.Info) []byte {
	dst = append(dst, `{"deviceId":`...)
	dst = appendString(dst, info.ID)
	dst = append(dst, `,"ts":`...)
	dst = appendSeen(dst, info, info.LastSeen)
	dst = append(dst, `,"metrics":{`...)
	for i := range info.Latest {
		if i > 0 {
			dst = append(dst, ',')
		}
		latest := &info.Latest[i]
		dst = appendString(dst, latest.Metric)
		dst = append(dst, `:{"value":`...)
		dst = appendValue(dst, latest.Value)
		dst = append(dst, `,"ts":`...)
		dst = appendQuotedTime(dst, latest.Time)
		dst = append(dst, '}')
	}
	return append(dst, "}}\n"...)
}
