package ingest

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/labstack/echo/v4"

	"sluice/internal/httperr"
	"sluice/telemetry"
)

var fixedNow = time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC)

// serve makes a server over a store; its clock stands at fixedNow, its
// retention goes back 90 days.
func serve(t testing.TB, store Store, cfg Config) (*Ingest, *echo.Echo) {
	floor := fixedNow.AddDate(0, 0, -90).Truncate(24 * time.Hour).UnixNano()
	in := New(cfg, store, telemetry.NewClock(func() time.Time { return fixedNow }), func() int64 { return floor })
	e := echo.New()
	e.HTTPErrorHandler = httperr.Handler(slog.New(slog.DiscardHandler))
	in.Register(e)
	t.Cleanup(func() {
		if err := in.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return in, e
}

type exchange struct {
	name, path string // path "": /api/v1/telemetry
	header     string // "Name: value" lines
	body       string
	want       string // status and body
}

func do(e *echo.Echo, method, path, header string, body io.Reader) *httptest.ResponseRecorder {
	if path == "" {
		path = "/api/v1/telemetry"
	}
	r := httptest.NewRequest(method, path, body)
	for line := range strings.SplitSeq(header, "\n") {
		if name, value, ok := strings.Cut(line, ": "); ok {
			r.Header.Add(name, value)
		}
	}
	w := httptest.NewRecorder()
	e.ServeHTTP(w, r)
	return w
}

func runExchanges(t *testing.T, cfg Config, cases []exchange) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, e := serve(t, newRecorder(8), cfg)
			w := do(e, "POST", c.path, c.header, strings.NewReader(c.body))
			got := fmt.Sprintf("%d %s", w.Code, strings.TrimSpace(w.Body.String()))
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("body %.200s (-want +got):\n%s", c.body, diff)
			}
		})
	}
}

const good = `{"deviceId":"pump-7","ts":"2026-11-23T04:00:00Z","metrics":{"temperature":21.5}}`

const ok1 = `200 {"accepted":1,"rejected":0,"errors":[]}`

func bad(code, message string) string {
	return verdictOf(400, 0, code, message)
}

// verdictOf is the answer for a body whose reading 0 is bad.
func verdictOf(status, accepted int, code, message string) string {
	text, _ := json.Marshal(message)
	return fmt.Sprintf(`%d {"accepted":%d,"rejected":1,"errors":[{"index":0,"code":%q,"message":%s,"retryable":false}]}`, status, accepted, code, text)
}

func whole(status int, code, message string) string {
	text, _ := json.Marshal(message)
	return fmt.Sprintf(`%d {"error":{"code":%q,"message":%s}}`, status, code, text)
}

func metric(value string) string { return `{"deviceId":"a","metrics":{"x":` + value + `}}` }
func at(ts string) string        { return `{"deviceId":"a","ts":` + ts + `,"metrics":{"x":1}}` }

func TestGoodBodies(t *testing.T) {
	runExchanges(t, Config{}, []exchange{
		{"message", "", "Content-Type: application/json", good, ok1},
		{"charset", "", "Content-Type: application/json; charset=UTF-8", good, ok1},
		{"no type", "", "", good, ok1},
		{"curl's type", "", "Content-Type: application/x-www-form-urlencoded", good, ok1},
		{"array", "", "Content-Type: application/json", "[" + good + "," + good + "]", `200 {"accepted":2,"rejected":0,"errors":[]}`},
		{"lines", "", "Content-Type: application/x-ndjson", good + "\n" + good + "\n", `200 {"accepted":2,"rejected":0,"errors":[]}`},
		{"byte order mark", "", "", "\xef\xbb\xbf" + good, ok1},
		{"device's path", "/api/v1/devices/pump-7/telemetry", "", `{"temperature":21.5}`, ok1},
		{"percent-encoded path", "/api/v1/devices/urn%3Adev%3A%40x/telemetry", "", `{"deviceId":"urn:dev:@x","temperature":21.5}`, ok1},
		{"null is skipped", "", "", `{"deviceId":"a","metrics":{"x":null,"y":1}}`, ok1},
		{"legal names", "", "", `{"deviceId":"a","metrics":{"Timestamp":1,"PartitionKey":2,"temp-1":3,"°C":4,"a/b":5}}`, ok1},
		{"seconds", "", "", at("1795406400.25"), ok1},
		{"milliseconds", "", "", at("1795406400250"), ok1},
		{"microseconds", "", "", at("1795406400250000"), ok1},
		{"nanoseconds", "", "", at("1795406400250000001"), ok1},
		{"almost in the future", "", "", at(`"2026-11-24T08:09:59.999999999Z"`), ok1},
		{"the retention's first", "", "", at(`"2026-08-26T00:00:00Z"`), ok1},
		{"a bad one among good ones", "", "", `[` + metric(`{"y":1}`) + `,` + good + `]`, verdictOf(200, 1, "invalid_value",
			`metric "x" at byte 31 is an object: send numbers, booleans or strings, each under a name of its own`)},
	})
}

// The lines of the "Bad input" that concern the write side.
func TestBadInput(t *testing.T) {
	const rfc = `send RFC 3339 with a zone, as 2026-11-23T04:00:00Z, or a Unix number without quotes`
	const tooOld = ` is before 2026-08-26T00:00:00Z, the oldest that is kept (a Unix number's unit is told by its size)`
	const future = ` is after 2026-11-24T08:09:59.999999999Z, 10 minutes from now: check the clock and the unit`
	runExchanges(t, Config{}, []exchange{
		{"not JSON", "", "", "hello", whole(400, "invalid_json", "not JSON at byte 0: invalid character 'h' at start of value")},
		{"trailing garbage", "", "", good + " x", whole(400, "invalid_json", "not JSON at byte 81: invalid character 'x' at start of value")},
		{"cut in the middle", "", "", "[" + good + `,{"deviceId":"a","metr`, whole(400, "invalid_json", "JSON ends in the middle, at byte 103")},
		{"empty body", "", "", "", whole(400, "invalid_body", `body is empty: send a message, as {"deviceId":"pump-7","metrics":{"temperature":21.5}}`)},
		{"key twice", "", "", `{"deviceId":"a","metrics":{"x":1,"x":2}}`, bad("duplicate_key", `key "x" at byte 33 is there a second time`)},
		{"depth 10,000", "", "", strings.Repeat("[", 10_000), whole(400, "invalid_json", "JSON nests deeper than 64 at byte 65")},
		{"empty array", "", "", "[]", whole(400, "invalid_body", `array is empty: send at least one message, as {"deviceId":"pump-7","metrics":{"temperature":21.5}}`)},
		{"array of scalars", "", "", `[1]`, bad("invalid_message", `a number: a message is an object, as {"deviceId":"pump-7","metrics":{"temperature":21.5}}`)},
		{"100,001 readings", "", "", "[" + strings.Repeat("1,", 100_000) + "1]", whole(413, "too_many_readings", "more than 100000 readings in one body: send several")},
		{"NaN", "", "", metric("NaN"), whole(400, "invalid_json", "not JSON at byte 31: invalid character 'N' at start of value; JSON has no NaN and no Infinity: leave the metric out or send null")},
		{"Infinity", "", "", metric("Infinity"), whole(400, "invalid_json", "not JSON at byte 31: invalid character 'I' at start of value; JSON has no NaN and no Infinity: leave the metric out or send null")},
		{"NaN in a line", "", "Content-Type: application/x-ndjson", metric("NaN"), bad("invalid_json", "line 1: not JSON at byte 31: invalid character 'N' at start of value; JSON has no NaN and no Infinity: leave the metric out or send null")},
		{"1e999", "", "", metric("1e999"), bad("invalid_value", `metric "x": number "1e999" is beyond the largest, 1.7976931348623157e+308`)},
		{"null alone", "", "", metric("null"), bad("empty_message", "message has neither metrics nor tags (null is no value)")},
		{"nested object", "", "", metric(`{"y":1}`), bad("invalid_value", `metric "x" at byte 30 is an object: send numbers, booleans or strings, each under a name of its own`)},
		{"empty metric", "", "", `{"deviceId":"a","metrics":{"":1}}`, bad("invalid_metric", `metric "" is empty: 1 to 128 bytes`)},
		{"long metric", "", "", `{"deviceId":"a","metrics":{"` + strings.Repeat("m", 129) + `":1}}`, bad("invalid_metric", `metric "`+strings.Repeat("m", 48)+`"… is 129 bytes long: at most 128`)},
		{"control character in a metric", "", "", `{"deviceId":"a","metrics":{"a\u0007":1}}`, bad("invalid_metric", `metric "a\a" has a control character at byte 1`)},
		{"empty device", "", "", `{"deviceId":"","metrics":{"x":1}}`, bad("invalid_device", "deviceId is empty: 1 to 128 of A-Z a-z 0-9 - _ . : = @ ~")},
		{"long device", "", "", `{"deviceId":"` + strings.Repeat("d", 129) + `","metrics":{"x":1}}`, bad("invalid_device", `deviceId "`+strings.Repeat("d", 48)+`"… is 129 bytes long: at most 128`)},
		{"device with /", "", "", `{"deviceId":"a/b","metrics":{"x":1}}`, bad("invalid_device", `deviceId "a/b": byte 1 is none of A-Z a-z 0-9 - _ . : = @ ~`)},
		{`device with \`, "", "", `{"deviceId":"a\\b","metrics":{"x":1}}`, bad("invalid_device", `deviceId "a\\b": byte 1 is none of A-Z a-z 0-9 - _ . : = @ ~`)},
		{"device with #", "", "", `{"deviceId":"a#b","metrics":{"x":1}}`, bad("invalid_device", `deviceId "a#b": byte 1 is none of A-Z a-z 0-9 - _ . : = @ ~`)},
		{"device with ?", "", "", `{"deviceId":"a?b","metrics":{"x":1}}`, bad("invalid_device", `deviceId "a?b": byte 1 is none of A-Z a-z 0-9 - _ . : = @ ~`)},
		{"device with a control character", "", "", `{"deviceId":"a\u0000","metrics":{"x":1}}`, bad("invalid_device", `deviceId "a\x00": byte 1 is none of A-Z a-z 0-9 - _ . : = @ ~`)},
		{"device in the path", "/api/v1/devices/a%2Fb/telemetry", "", `{"x":1}`, whole(400, "invalid_device", `deviceId "a/b": byte 1 is none of A-Z a-z 0-9 - _ . : = @ ~`)},
		{"device in the path, encoded twice", "/api/v1/devices/a%253Ab/telemetry", "", `{"x":1}`, whole(400, "invalid_device", `deviceId "a%3Ab": byte 1 is none of A-Z a-z 0-9 - _ . : = @ ~`)},
		{"another device than the path's", "/api/v1/devices/a/telemetry", "", `{"deviceId":"b","x":1}`, bad("device_mismatch", `deviceId "b", but the address names "a": leave it out or send the same`)},
		{"lone surrogate", "", "", metric(`"\ud800"`), bad("invalid_text", `metric "x": string at byte 31 has bytes that are not UTF-8 or half a surrogate pair`)},
		{"long string", "", "", metric(`"` + strings.Repeat("s", 4097) + `"`), bad("invalid_value", `metric "x": string of 4097 bytes: at most 4096`)},
		{"mistyped key", "", "", `{"deviceId":"a","metric":{"x":1}}`, bad("unknown_field", `unknown key "metric" at byte 16: a message has deviceId, ts, metrics and tags`)},
		{"time zero", "", "", at("0"), bad("timestamp_too_old", "time 1970-01-01T00:00:00Z"+tooOld)},
		{"negative time", "", "", at("-1"), bad("timestamp_too_old", "time 1969-12-31T23:59:59Z"+tooOld)},
		{"before 2000", "", "", at(`"1999-12-31T23:59:59Z"`), bad("timestamp_too_old", "time 1999-12-31T23:59:59Z"+tooOld)},
		{"before the retention", "", "", at(`"2026-08-25T23:59:59.999999999Z"`), bad("timestamp_too_old", "time 2026-08-25T23:59:59.999999999Z"+tooOld)},
		{"year 10000", "", "", at(`"10000-01-01T00:00:00Z"`), bad("invalid_timestamp", `"10000-01-01T00:00:00Z": not a time; `+rfc)},
		{"year 10000 as a number", "", "", at("253402300800000"), bad("timestamp_too_old", "time 1978-01-11T21:31:40.8Z"+tooOld)},
		{"in the future", "", "", at(`"2026-11-24T08:10:00Z"`), bad("timestamp_in_future", "time 2026-11-24T08:10:00Z"+future)},
		{"2026-02-30", "", "", at(`"2026-02-30T00:00:00Z"`), bad("invalid_timestamp", `"2026-02-30T00:00:00Z": no such day; `+rfc)},
		{"leap second", "", "", at(`"2016-12-31T23:59:60Z"`), bad("invalid_timestamp", `"2016-12-31T23:59:60Z": a leap second, which Unix time does not have: send second 59, or 00 of the next minute; `+rfc)},
		{"truncated gzip", "", "Content-Encoding: gzip", zipped(good)[:40], whole(400, "invalid_body", "body ends in the middle of its gzip data")},
		{"gzip bomb", "", "Content-Encoding: gzip", zipped(strings.Repeat(" ", 16<<20+1)), whole(413, "body_too_large", "body is over 16777216 bytes decompressed: send several")},
		{"wrong label", "", "Content-Encoding: gzip", good, whole(400, "invalid_body", "Content-Encoding says gzip, but the body does not begin as gzip does")},
		{"wrong label, the bytes tell", "", "Content-Encoding: zstd", zipped(good), ok1},
		{"label lost", "", "", zipped(good), ok1},
		{"unknown encoding", "", "Content-Encoding: br", good, whole(415, "unsupported_encoding", `Content-Encoding "br" is not known: send gzip, deflate, zstd or none`)},
		{"unknown type", "", "Content-Type: text/csv", good, whole(415, "unsupported_media_type", `Content-Type "text/csv": send application/json (a message or an array) or application/x-ndjson (a message a line)`)},
		{"broken type", "", "Content-Type: ;", good, whole(415, "unsupported_media_type", `Content-Type ";": send application/json (a message or an array) or application/x-ndjson (a message a line)`)},
		{"UTF-16", "", "Content-Type: application/json; charset=utf-16", good, whole(415, "unsupported_media_type", `charset "utf-16": send UTF-8`)},
		{"over 4 MiB", "", "", strings.Repeat(" ", 4<<20+1), whole(413, "body_too_large", "body is over 4194304 bytes: send several")},
		{"lines without type", "", "", good + "\n" + good, whole(400, "invalid_json", "a second message after byte 80: send an array, or a message a line as application/x-ndjson")},
	})
}

func TestLimitsAreSettings(t *testing.T) {
	runExchanges(t, Config{MaxBody: 100, MaxDecoded: 200, MaxMetrics: 2, MaxReadings: 2}, []exchange{
		{"sent", "", "", good + strings.Repeat(" ", 30), whole(413, "body_too_large", "body is over 100 bytes: send several")},
		{"decoded", "", "", zipped(strings.Repeat(" ", 500)), whole(413, "body_too_large", "body is over 200 bytes decompressed: send several")},
		{"readings", "", "", "[1,2,3]", whole(413, "too_many_readings", "more than 2 readings in one body: send several")},
		{"metrics", "", "", `{"deviceId":"a","metrics":{"x":1,"y":2,"z":3}}`, bad("too_many_metrics", "more than 2 metrics in one reading")},
	})
}

// A body without Content-Length is bounded while it is read.
func TestUnboundedBody(t *testing.T) {
	_, e := serve(t, newRecorder(8), Config{})
	w := do(e, "POST", "", "", io.MultiReader(strings.NewReader("["), endless{}))
	if w.Code != 413 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

func zipped(s string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = io.WriteString(z, s)
	_ = z.Close()
	return b.String()
}

// What is answered 200 has reached the store, with stamps that rise and times
// for those without.
func TestReadingsReachTheStore(t *testing.T) {
	store := newRecorder(8)
	_, e := serve(t, store, Config{})
	w := do(e, "POST", "", "", strings.NewReader(`[{"deviceId":"pump-1","metrics":{"x":1}},5,{"deviceId":"pump-1","ts":"2026-11-23T04:00:00Z","metrics":{"x":1}},{"deviceId":"pump-2","tags":{"site":"berlin"}}]`))
	if w.Code != 200 {
		t.Fatal(w.Code, w.Body)
	}
	first := fixedNow.UnixNano()
	got := map[int][]string{}
	for _, f := range store.log() {
		got[f.shard] = append(got[f.shard], f.readings...)
	}
	want := map[int][]string{
		1: {fmt.Sprintf("pump-1@%d", first+1), fmt.Sprintf("pump-1@%d", first)},
		2: {"pump-2#site"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestStoreFaults(t *testing.T) {
	for _, c := range []struct {
		name  string
		fail  error
		want  string
		retry string
	}{
		{"store away", errors.New("secret=hunter2"), whole(503, "unavailable", "the store did not take the readings: parts may be durable, send all of it again"), "2"},
		{"time-out", context.DeadlineExceeded, whole(503, "timeout", "the store took too long: parts may be durable, send all of it again"), "2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			store := newRecorder(8)
			store.fail = func(int, int) error { return c.fail }
			_, e := serve(t, store, Config{})
			w := do(e, "POST", "", "", strings.NewReader(good))
			if got := fmt.Sprintf("%d %s", w.Code, strings.TrimSpace(w.Body.String())); got != c.want || w.Header().Get("Retry-After") != c.retry {
				t.Errorf("%s, Retry-After %q", got, w.Header().Get("Retry-After"))
			}
		})
	}
}

func TestOverloadedAndClosed(t *testing.T) {
	store := newRecorder(8)
	release, entered := make(chan struct{}), make(chan struct{})
	store.hook = func(int) { entered <- struct{}{}; <-release }
	in, e := serve(t, store, Config{Group: GroupConfig{QueueBytes: 1}})
	first := make(chan int)
	go func() { first <- do(e, "POST", "", "", strings.NewReader(good)).Code }()
	<-entered
	w := do(e, "POST", "", "", strings.NewReader(good))
	if want := whole(503, "overloaded", "too many readings are waiting: send them again later"); fmt.Sprintf("%d %s", w.Code, strings.TrimSpace(w.Body.String())) != want || w.Header().Get("Retry-After") != "1" {
		t.Errorf("%d %s, Retry-After %q", w.Code, w.Body, w.Header().Get("Retry-After"))
	}
	close(release)
	if code := <-first; code != 200 {
		t.Errorf("first request: %d", code)
	}
	if err := in.Close(t.Context()); err != nil {
		t.Error(err)
	}
	w = do(e, "POST", "", "", strings.NewReader(good))
	if want := whole(503, "unavailable", "the service is shutting down: send all of it again"); fmt.Sprintf("%d %s", w.Code, strings.TrimSpace(w.Body.String())) != want {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestRequestsDeadline(t *testing.T) {
	store := newRecorder(8)
	store.took = 200 * time.Millisecond
	_, e := serve(t, store, Config{Deadline: 10 * time.Millisecond})
	w := do(e, "POST", "", "", strings.NewReader(good))
	if w.Code != 503 || !strings.Contains(w.Body.String(), `"timeout"`) || w.Header().Get("Retry-After") == "" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestMetricsOfADeviceAreBounded(t *testing.T) {
	_, e := serve(t, newRecorder(8), Config{MaxMetrics: 3})
	post := func(body, want string) {
		t.Helper()
		w := do(e, "POST", "/api/v1/devices/a/telemetry", "", strings.NewReader(body))
		if got := fmt.Sprintf("%d %s", w.Code, strings.TrimSpace(w.Body.String())); got != want {
			t.Errorf("%s: %s, want %s", body, got, want)
		}
	}
	post(`{"x":1,"y":1}`, ok1)
	post(`{"z":1,"y":1}`, ok1)
	post(`{"w":1,"y":1}`, bad("too_many_metrics", `device "a" has 3 metrics: more than 3 are too many for one device`))
	post(`[{"x":1},{"w":1},{"x":2,"y":2,"z":2}]`, `200 {"accepted":2,"rejected":1,"errors":[{"index":1,"code":"too_many_metrics","message":"device \"a\" has 3 metrics: more than 3 are too many for one device","retryable":false}]}`)
}

func TestDelete(t *testing.T) {
	store := newRecorder(8)
	_, e := serve(t, store, Config{})
	if w := do(e, "DELETE", "/api/v1/devices/urn%3Adev", "", nil); w.Code != 202 || w.Body.Len() != 0 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if want := []string{fmt.Sprintf("urn:dev@%d", fixedNow.UnixNano())}; !cmp.Equal(want, store.deleted) {
		t.Errorf("deleted %v, want %v", store.deleted, want)
	}
	if w := do(e, "DELETE", "/api/v1/devices/a%20b", "", nil); w.Code != 400 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	store.fail = func(int, int) error { return errors.New("away") }
	if w := do(e, "DELETE", "/api/v1/devices/a", "", nil); w.Code != 503 || w.Header().Get("Retry-After") != "2" || !strings.Contains(w.Body.String(), `"unavailable"`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// raw sends bytes as they are to a real server and returns the first answer.
func raw(t *testing.T, e *echo.Echo, timeout time.Duration, request string, halfClose bool) (*http.Response, string) {
	t.Helper()
	server := httptest.NewUnstartedServer(e)
	server.Config.ReadTimeout = timeout
	server.Start()
	defer server.Close()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	if halfClose {
		_ = conn.(*net.TCPConn).CloseWrite()
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, _ := io.ReadAll(answer.Body)
	return answer, fmt.Sprintf("%d %s", answer.StatusCode, strings.TrimSpace(string(body)))
}

func TestBodiesThatDoNotCome(t *testing.T) {
	head := "POST /api/v1/telemetry HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
	long := fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(good)+10, good)
	short := fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(good)-10, good)
	for _, c := range []struct {
		name, request string
		halfClose     bool
		want          string
	}{
		{"slow client", head + long, false, whole(408, "request_timeout", "body came too slowly: send it faster or in smaller parts")},
		{"Content-Length too long, then closed", head + long, true, whole(400, "invalid_body", "body is shorter than its Content-Length says, or its last chunk is missing")},
		{"Content-Length too short", head + short, true, whole(400, "invalid_json", "JSON ends in the middle, at byte 70")},
		{"chunks without an end", head + "Transfer-Encoding: chunked\r\n\r\n5\r\n[1,2,\r\n", true, whole(400, "invalid_body", "body is shorter than its Content-Length says, or its last chunk is missing")},
		{"slow compressed client", head + "Content-Encoding: gzip\r\nContent-Length: 500\r\n\r\n" + zipped(good), false, whole(408, "request_timeout", "body came too slowly: send it faster or in smaller parts")},
	} {
		t.Run(c.name, func(t *testing.T) {
			store := newRecorder(8)
			_, e := serve(t, store, Config{})
			if _, got := raw(t, e, 150*time.Millisecond, c.request, c.halfClose); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if n := len(store.log()); n != 0 {
				t.Errorf("%d flushes of a broken body", n)
			}
		})
	}
}
