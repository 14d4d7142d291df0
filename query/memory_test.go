package query

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"sluice/engine"
	"sluice/internal/httperr"
	"sluice/telemetry"
	"sluice/telemetry/block"
)

// memory is a reader over readings in memory: blocks, resolved by the codec's
// own merge, and cut into frames of a few rows so that every answer crosses
// their borders.
type memory struct {
	devices  map[string]block.Device
	rows     int // rows a frame has at least
	unmerged map[string]telemetry.Stamp
	// breaks are the errors that the next frames end with.
	breaks       []error
	views, reads atomic.Int64
}

// errPanic among the breaks is a panic.
var errPanic = errors.New("secret: index out of range")

func newMemory(readings ...telemetry.Reading) *memory {
	m := &memory{devices: map[string]block.Device{}, rows: 3, unmerged: map[string]telemetry.Stamp{}}
	for _, d := range block.FromReadings(readings) {
		d.Readings = block.Resolve(d.Readings)
		m.devices[d.ID] = d
	}
	return m
}

func (m *memory) view() Reader {
	m.views.Add(1)
	return m
}

func (m *memory) Device(_ context.Context, id string) (engine.Info, bool, error) {
	d, ok := m.devices[id]
	if !ok {
		return engine.Info{}, false, nil
	}
	return infoOf(&d), true, nil
}

func infoOf(d *block.Device) engine.Info {
	info := engine.Info{ID: d.ID, HasReadings: d.Readings.Len() > 0}
	if info.HasReadings {
		info.FirstSeen, info.LastSeen = d.Readings.Times[0], d.Readings.Times[d.Readings.Len()-1]
	}
	tags := map[string]telemetry.Tag{}
	for _, t := range d.Tags {
		tags[t.Key] = t.Tag
	}
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		if !tags[key].Removed {
			info.Tags = append(info.Tags, tags[key])
		}
	}
	for i := range d.Readings.Columns {
		c := &d.Readings.Columns[i]
		last := c.Len() - 1
		info.Latest = append(info.Latest, engine.Latest{Metric: c.Name, Time: d.Readings.Times[c.Row(last)], Value: c.Value(last)})
	}
	return info
}

func (m *memory) Devices(_ context.Context, prefix, after string, yield func(engine.Info) bool) error {
	for _, id := range slices.Sorted(maps.Keys(m.devices)) {
		d := m.devices[id]
		if id > after && strings.HasPrefix(id, prefix) && !yield(infoOf(&d)) {
			return nil
		}
	}
	return nil
}

func (m *memory) Read(_ context.Context, id string, span engine.Span, yield func(*block.Frame) error) error {
	m.reads.Add(1)
	d := m.devices[id]
	frame := d.Readings.Between(span.From, span.To)
	if span.Metrics != nil {
		frame = frame.Only(span.Metrics)
	}
	frames := m.cut(frame)
	if span.Descending {
		slices.Reverse(frames)
	}
	for i := range frames {
		if err := yield(&frames[i]); err != nil {
			return err
		}
		if len(m.breaks) > 0 {
			err := m.breaks[0]
			m.breaks = m.breaks[1:]
			if err == errPanic {
				panic(err)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// cut divides a frame where the time changes.
func (m *memory) cut(frame block.Frame) []block.Frame {
	var frames []block.Frame
	for from := 0; from < frame.Len(); {
		to := min(from+m.rows, frame.Len())
		for to < frame.Len() && frame.Times[to] == frame.Times[to-1] {
			to++
		}
		frames = append(frames, frame.Slice(from, to))
		from = to
	}
	return frames
}

func (m *memory) Unmerged(_ context.Context, id string) (telemetry.Stamp, bool, error) {
	stamp, ok := m.unmerged[id]
	return stamp, ok, nil
}

// server is the routes over a reader, with the server's own error handler.
func server(m *memory, options Options) *echo.Echo {
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	options.Log = quiet
	e := echo.New()
	e.HTTPErrorHandler = httperr.Handler(quiet)
	New(m.view, options).Register(e)
	return e
}

// at is a clock that stands still.
func at(text string) func() time.Time {
	now, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		panic(err)
	}
	return func() time.Time { return now }
}

func request(e http.Handler, method, target string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	e.ServeHTTP(w, r)
	return w
}

func get(t testing.TB, e http.Handler, target string) string {
	t.Helper()
	w := request(e, http.MethodGet, target)
	if w.Code != http.StatusOK {
		t.Fatalf("GET %s: %d %s", target, w.Code, w.Body)
	}
	return w.Body.String()
}

// reading makes a reading of metric, value pairs.
func reading(device string, at int64, pairs ...any) telemetry.Reading {
	r := telemetry.Reading{Device: device, Time: at, Stamp: telemetry.Stamp(at)}
	for i := 0; i < len(pairs); i += 2 {
		r.Metrics = append(r.Metrics, telemetry.Metric{Name: pairs[i].(string), Value: valueOf(pairs[i+1])})
	}
	slices.SortFunc(r.Metrics, func(a, b telemetry.Metric) int { return cmp.Compare(a.Name, b.Name) })
	return r
}

func valueOf(v any) telemetry.Value {
	switch v := v.(type) {
	case float64:
		return telemetry.FloatValue(v)
	case int:
		return telemetry.IntValue(int64(v))
	case bool:
		return telemetry.BoolValue(v)
	case string:
		return telemetry.TextValue(v)
	default:
		return v.(telemetry.Value)
	}
}
