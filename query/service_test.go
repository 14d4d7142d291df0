package query

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"

	"sluice/engine"
	"sluice/store"
	"sluice/telemetry"
	"sluice/telemetry/block"
)

var routes = []string{
	"/api/v1/devices",
	"/api/v1/devices/a",
	"/api/v1/devices/a/latest",
	"/api/v1/devices/a/readings?from=2026-11-23T00:00:00Z",
	"/api/v1/devices/a/aggregates?metric=x&from=2026-11-23T00:00:00Z",
	"/api/v1/devices/a/aggregates?metric=x&from=2026-11-23T00:00:00Z&format=csv",
	"/api/v1/aggregates?metric=x&from=2026-11-23T00:00:00Z&groupBy=device",
}

func TestETags(t *testing.T) {
	e := server(newMemory(reading("a", midnight, "x", 1)), Options{Now: at("2026-11-23T00:30:00Z")})
	changed := server(newMemory(reading("a", midnight+1, "x", 2)), Options{Now: at("2026-11-23T00:30:00Z")})
	for _, target := range routes {
		first := request(e, http.MethodGet, target)
		tag := first.Header().Get("ETag")
		if first.Code != http.StatusOK || tag == "" {
			t.Errorf("%s: %d, ETag %q", target, first.Code, tag)
			continue
		}
		for _, header := range []string{tag, "*", `"other", ` + tag, strings.TrimPrefix(tag, "W/")} {
			w := request(e, http.MethodGet, target, "If-None-Match", header)
			if w.Code != http.StatusNotModified || w.Body.Len() != 0 || w.Header().Get("ETag") != tag || w.Header().Get("Cache-Control") == "" {
				t.Errorf("%s, If-None-Match %s: %d %s %v", target, header, w.Code, w.Body, w.Header())
			}
		}
		if w := request(e, http.MethodGet, target, "If-None-Match", `"other"`); w.Code != http.StatusOK {
			t.Errorf("%s with another tag: %d", target, w.Code)
		}
		if w := request(changed, http.MethodGet, target, "If-None-Match", tag); w.Code != http.StatusOK {
			t.Errorf("%s after a change: %d", target, w.Code)
		}
	}
}

// Who polls with relative ends gets 304 until the step is over.
func TestPollingGetsNotModified(t *testing.T) {
	m := newMemory(reading("a", midnight+600e9, "x", 1))
	ask := func(now, tag string) *httptest.ResponseRecorder {
		return request(server(m, Options{Now: at(now)}), http.MethodGet, "/api/v1/devices/a/aggregates?metric=x&from=now-30m&step=5m", "If-None-Match", tag)
	}
	tag := ask("2026-11-23T00:30:01Z", "").Header().Get("ETag")
	if w := ask("2026-11-23T00:34:59Z", tag); w.Code != http.StatusNotModified {
		t.Errorf("within the step: %d", w.Code)
	}
	if w := ask("2026-11-23T00:41:00Z", tag); w.Code != http.StatusOK {
		t.Errorf("when the reading has left the range: %d", w.Code)
	}
}

func TestHead(t *testing.T) {
	e := server(newMemory(reading("a", midnight, "x", 1)), Options{Now: at("2026-11-23T00:30:00Z")})
	for _, target := range append(routes, "/api/v1/devices/a/readings?format=csv", "/api/v1/devices/a/readings?format=ndjson", "/api/v1/devices/b", "/api/v1/devices?limit=0") {
		head, get := request(e, http.MethodHead, target), request(e, http.MethodGet, target)
		if head.Code != get.Code || head.Body.Len() != 0 {
			t.Errorf("HEAD %s: %d %q, GET %d", target, head.Code, head.Body, get.Code)
		}
		for _, name := range []string{"Content-Type", "ETag", "Cache-Control"} {
			if head.Header().Get(name) != get.Header().Get(name) && get.Code == http.StatusOK {
				t.Errorf("HEAD %s: %s %q, GET %q", target, name, head.Header().Get(name), get.Header().Get(name))
			}
		}
		if length := head.Header().Get("Content-Length"); head.Header().Get("ETag") != "" && length != fmt.Sprint(get.Body.Len()) {
			t.Errorf("HEAD %s: length %s of %d", target, length, get.Body.Len())
		}
	}
}

func TestOtherMethods(t *testing.T) {
	e := server(newMemory(), Options{})
	for _, target := range []string{"/api/v1/devices", "/api/v1/aggregates", "/api/v1/devices/a/readings"} {
		w := request(e, http.MethodPost, target)
		if w.Code != http.StatusMethodNotAllowed || !strings.Contains(w.Header().Get("Allow"), "GET") {
			t.Errorf("POST %s: %d, Allow %q", target, w.Code, w.Header().Get("Allow"))
		}
		w = request(e, http.MethodOptions, target)
		if w.Code != http.StatusNoContent || !strings.Contains(w.Header().Get("Allow"), "HEAD") {
			t.Errorf("OPTIONS %s: %d, Allow %q", target, w.Code, w.Header().Get("Allow"))
		}
	}
}

// When the store changes under an answer it is begun again; when it never stops,
// the client is told to.
func TestTheStoreChanges(t *testing.T) {
	for _, target := range routes[3:] {
		m := newMemory(reading("a", midnight, "x", 1))
		e := server(m, Options{Now: at("2026-11-23T00:30:00Z")})
		want := get(t, e, target)
		m.breaks = []error{engine.ErrAgain, fmt.Errorf("wrapped: %w", engine.ErrAgain)}
		m.views.Store(0)
		if got := get(t, e, target); got != want {
			t.Errorf("%s: %s, want %s", target, got, want)
		}
		if n := m.views.Load(); n != 3 {
			t.Errorf("%s: %d views, want a new one each time", target, n)
		}
		m.breaks = repeat(engine.ErrAgain, 50)
		w := request(e, http.MethodGet, target)
		if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" || len(m.breaks) < 40 {
			t.Errorf("%s: %d %s, %d breaks left", target, w.Code, w.Body, len(m.breaks))
		}
	}
}

func repeat(err error, n int) []error {
	errs := make([]error, n)
	for i := range errs {
		errs[i] = err
	}
	return errs
}

func TestStoreErrors(t *testing.T) {
	for _, c := range []struct {
		err    error
		status int
		code   string
	}{
		{fmt.Errorf("scan: %w", store.ErrThrottled), 503, "throttled"},
		{store.ErrDenied, 503, "unavailable"},
		{store.ErrUnavailable, 503, "unavailable"},
		{store.ErrNoAnswer, 503, "unavailable"},
		{context.DeadlineExceeded, 503, "timeout"},
		{engine.ErrCorrupt, 500, "internal"},
		{errors.New("secret path /var/lib"), 500, "internal"},
	} {
		for _, target := range append(routes[3:], "/api/v1/devices/a/readings?from=2026-11-23T00:00:00Z&format=csv") {
			m := newMemory(reading("a", midnight, "x", 1))
			m.breaks = []error{c.err}
			w := request(server(m, Options{Now: at("2026-11-23T00:30:00Z")}), http.MethodGet, target)
			if w.Code != c.status || !strings.Contains(w.Body.String(), `"`+c.code+`"`) || strings.Contains(w.Body.String(), "secret") {
				t.Errorf("%v on %s: %d %s", c.err, target, w.Code, w.Body)
			}
			if retry := w.Header().Get("Retry-After") != ""; retry != (c.status == 503) {
				t.Errorf("%v on %s: Retry-After %v", c.err, target, retry)
			}
		}
	}
}

// A fault in the decoder of what is stored fails the request whose goroutine met
// it, not the process.
func TestPanicWhileFolding(t *testing.T) {
	m := newMemory(reading("a", midnight, "x", 1), reading("b", midnight, "x", 1))
	m.breaks = []error{errPanic}
	e := server(m, Options{Now: at("2026-11-23T00:30:00Z"), Workers: 1})
	const target = "/api/v1/aggregates?metric=x&from=2026-11-23T00:00:00Z&groupBy=device"
	if w := request(e, http.MethodGet, target); w.Code != 500 || strings.Contains(w.Body.String(), "secret") {
		t.Error(w.Code, w.Body)
	}
	if w := request(e, http.MethodGet, target); w.Code != 200 {
		t.Error(w.Code, w.Body)
	}
}

// endless has a device that sends a value each second of all time.
type endless struct {
	*memory
	read int
}

func (m *endless) Read(ctx context.Context, _ string, span engine.Span, yield func(*block.Frame) error) error {
	for from := span.From; from < span.To; from += 1000e9 {
		frame := block.Frame{Columns: []block.Column{{Name: "x"}}}
		for i := range int64(1000) {
			frame.Times = append(frame.Times, from+i*1e9)
			frame.Stamps = append(frame.Stamps, 1)
			frame.Columns[0].Bits = append(frame.Columns[0].Bits, uint64(i))
		}
		m.read++
		if err := yield(&frame); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (m *endless) Device(_ context.Context, id string) (engine.Info, bool, error) {
	return engine.Info{ID: id, HasReadings: true, FirstSeen: 0, LastSeen: midnight, Latest: []engine.Latest{{Metric: "x", Time: midnight}}}, true, nil
}

func (m *endless) Devices(ctx context.Context, _, _ string, yield func(engine.Info) bool) error {
	for i := 0; ; i++ {
		info, _, _ := m.Device(ctx, fmt.Sprintf("d%09d", i))
		if !yield(info) {
			return nil
		}
	}
}

func endlessServer(options Options) (*endless, http.Handler) {
	m := &endless{memory: newMemory()}
	e := server(m.memory, options)
	s := New(func() Reader { return m }, options)
	e2 := e
	s.Register(e2)
	return m, e2
}

func TestQueryTooLarge(t *testing.T) {
	_, e := endlessServer(Options{Now: at("2026-11-23T00:00:00Z"), MaxValues: 100_000, MaxBuckets: 1000, MaxDevices: 50, Workers: 1})
	for _, c := range []struct{ target, says string }{
		// 100,000 values at one a second are 27.8 h; 0.9 of the 100 frames read.
		{"/api/v1/devices/a/aggregates?metric=x&from=now-30d&step=1h", "more than 100000 values: a range of 25h"},
		{"/api/v1/devices/a/aggregates?metric=x&from=now-6h&step=10s", "more than 1000 buckets"},
		{"/api/v1/aggregates?metric=x&from=now-1d&step=1h", "more than 50 devices: device= or tag="},
	} {
		w := request(e, http.MethodGet, c.target)
		if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), `"query_too_large"`) || !strings.Contains(w.Body.String(), c.says) {
			t.Errorf("%s: %d %s, want %q", c.target, w.Code, w.Body, c.says)
		}
	}
}

// Strings are kept only for who asks for them, and count by their size.
func TestStringsAreBounded(t *testing.T) {
	var readings []telemetry.Reading
	for i := range 10 {
		readings = append(readings, reading("a", midnight+int64(i)*60e9, "x", strings.Repeat("y", 4096)))
	}
	e := server(newMemory(readings...), Options{Now: at("2026-11-23T00:30:00Z"), MaxBuckets: 100})
	target := "/api/v1/devices/a/aggregates?metric=x&from=2026-11-23T00:00:00Z&step=1m&agg="
	if body := get(t, e, target+"count,avg"); strings.Count(body, `"count":1,"avg":null`) != 10 {
		t.Error(body)
	}
	if w := request(e, http.MethodGet, target+"last"); w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "query_too_large") {
		t.Errorf("%d %.200s", w.Code, w.Body)
	}
}

// A fleet's devices that cannot have what is asked for are not read, but still
// keep buckets from being final.
func TestOnlyDevicesThatMayHaveItAreRead(t *testing.T) {
	m := newMemory(reading("a", midnight, "x", 1), reading("b", midnight, "y", 1), reading("c", midnight-day, "x", 1),
		reading("d", midnight+day, "x", 1), reading("e", midnight-day, "x", 1), reading("e", midnight, "y", 1))
	e := server(m, Options{Now: at("2026-11-26T00:00:00Z")})
	target := "/api/v1/aggregates?metric=x&from=2026-11-23T00:00:00Z&to=2026-11-23T06:00:00Z&step=6h&agg=count"
	if body := get(t, e, target); !strings.Contains(body, `"count":1,"final":true`) || m.reads.Load() != 1 {
		t.Errorf("%d devices read: %s", m.reads.Load(), body)
	}
	m.unmerged["b"] = 1
	if body := get(t, e, target); !strings.Contains(body, `"count":1,"final":false`) {
		t.Error(body)
	}
}

// What the message of a fleet that is too large proposes does.
func TestTheProposedRangeDoes(t *testing.T) {
	_, e := endlessServer(Options{Now: at("2026-11-23T00:00:00Z"), MaxValues: 1_000_000, Workers: 2})
	ids := "d1,d2,d3,d4,d5,d6,d7,d8,d9,d10,d11,d12,d13,d14,d15,d16,d17,d18,d19,d20"
	target := "/api/v1/aggregates?metric=x&device=" + ids + "&step=1h&to=2026-11-23T00:00:00Z&from="
	w := request(e, http.MethodGet, target+"2026-11-21T00:00:00Z")
	_, rest, found := strings.Cut(w.Body.String(), "a range of ")
	proposed, _, _ := strings.Cut(rest, ",")
	length, err := parseDuration(proposed)
	if !found || err != nil || length < 8*time.Hour {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	from := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC).Add(-length)
	if w := request(e, http.MethodGet, target+from.Format(time.RFC3339)); w.Code != http.StatusOK {
		t.Errorf("a range of %s: %d %s", proposed, w.Code, w.Body)
	}
}

func TestTimeout(t *testing.T) {
	_, e := endlessServer(Options{Now: at("2026-11-23T00:00:00Z"), MaxValues: 1 << 60, Timeout: 30 * time.Millisecond})
	for _, target := range []string{"/api/v1/devices/a/aggregates?metric=x&from=0&step=all", "/api/v1/devices?tag=a:b"} {
		began := time.Now()
		w := request(e, http.MethodGet, target)
		if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), `"timeout"`) {
			t.Errorf("%s: %d %s", target, w.Code, w.Body)
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("%s took %v", target, took)
		}
	}
}

// A page of large readings is cut before its limit, and goes on.
func TestPagesAreBoundedInBytes(t *testing.T) {
	var readings []telemetry.Reading
	for i := range 100 {
		readings = append(readings, reading("a", midnight+int64(i), "x", strings.Repeat("y", 1000)))
	}
	e := server(newMemory(readings...), Options{Now: at("2026-11-23T00:30:00Z"), MaxPageBytes: 10_000})
	items, sizes := pages(t, e, "/api/v1/devices/a/readings?limit=10000")
	if len(items) != 100 || len(sizes) < 9 {
		t.Errorf("%d readings in pages of %v", len(items), sizes)
	}
}

// A stream reads no further than its client does, and holds little of it.
func TestStreamsAreBounded(t *testing.T) {
	m, handler := endlessServer(Options{Now: at("2026-11-23T00:00:00Z")})
	ts := httptest.NewServer(handler)
	defer ts.Close()
	response, err := http.Get(ts.URL + "/api/v1/devices/a/readings?from=0&format=ndjson")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	n, err := io.CopyN(io.Discard, response.Body, 20<<20)
	if err != nil {
		t.Fatal(n, err)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 8<<20 {
		t.Errorf("20 MiB streamed, the heap grew by %d bytes", grown)
	}
	_ = m
}

// A stream that fails midway breaks the connection: nobody takes a part for the
// whole. One that meets a change of the store goes on behind what it sent.
func TestStreamsThatBreak(t *testing.T) {
	var readings []telemetry.Reading
	for i := range 3000 {
		readings = append(readings, reading("a", midnight+int64(i), "x", i, "text", "some text that fills the pieces"))
	}
	for name, use := range map[string]func(*echo.Echo){
		"plain": func(*echo.Echo) {},
		"gzip":  func(e *echo.Echo) { e.Use(middleware.Recover(), middleware.Gzip()) },
	} {
		t.Run(name, func(t *testing.T) { streamsThatBreak(t, readings, use) })
	}
}

func streamsThatBreak(t *testing.T, readings []telemetry.Reading, use func(*echo.Echo)) {
	m := newMemory(readings...)
	m.rows = 100
	e := server(m, Options{Now: at("2026-11-23T00:30:00Z")})
	use(e)
	ts := httptest.NewServer(e)
	defer ts.Close()
	fetch := func(query string) (int, string, error) {
		response, err := http.Get(ts.URL + "/api/v1/devices/a/readings?" + query)
		if err != nil {
			return 0, "", err
		}
		defer func() { _ = response.Body.Close() }()
		body, err := io.ReadAll(response.Body)
		return response.StatusCode, string(body), err
	}
	for _, query := range []string{"format=ndjson", "format=csv", "format=csv&order=desc", "format=ndjson&order=desc"} {
		m.breaks = nil
		_, whole, err := fetch(query)
		if err != nil || strings.Count(whole, "\n") < 3000 {
			t.Fatalf("%s: %v", query, err)
		}
		m.breaks = append(repeat(nil, 20), store.ErrUnavailable)
		status, part, err := fetch(query)
		if err == nil || status != http.StatusOK || len(part) >= len(whole) || len(part) == 0 {
			t.Errorf("%s: a failure midway gave %d, %d bytes, error %v", query, status, len(part), err)
		}
		m.breaks = append(append(repeat(nil, 5), repeat(engine.ErrAgain, 4)...), append(repeat(nil, 3), engine.ErrAgain)...)
		if _, again, err := fetch(query); err != nil || again != whole {
			t.Errorf("%s: after changes of the store %d bytes of %d, error %v", query, len(again), len(whole), err)
		}
	}
}

// Readings of several stamps are one reading, ids may be escaped in any way.
func TestReadingsOfSeveralStamps(t *testing.T) {
	a, b := reading("a:b", midnight, "x", 1, "y", 1), reading("a:b", midnight, "y", 2, "z", 3)
	a.Stamp, b.Stamp = 1, 2
	e := server(newMemory(a, b), Options{Now: at("2026-11-23T00:30:00Z")})
	want := `{"deviceId":"a:b","readings":[{"ts":"2026-11-23T00:00:00Z","metrics":{"x":1,"y":2,"z":3}}],"next":null}` + "\n"
	for _, id := range []string{"a:b", url.PathEscape("a:b"), "a%3Ab", "%61%3ab"} {
		if got := get(t, e, "/api/v1/devices/"+id+"/readings"); got != want {
			t.Errorf("%s: %s, want %s", id, got, want)
		}
	}
}
