package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"sluice/access"
	"sluice/internal/invoke"
	"sluice/internal/settings"
)

// bareGround is one on which nothing stands, open to everybody.
func bareGround(log *slog.Logger) *ground {
	return &ground{log: log, gate: access.NewGate(access.Config{Off: true})}
}

// impatient is how long what may take in a test.
var impatient = patience{
	header: 300 * time.Millisecond, read: 600 * time.Millisecond, request: time.Second, export: 5 * time.Second,
	stall: 300 * time.Millisecond, idle: time.Second, opening: 300 * time.Millisecond, queue: 100 * time.Millisecond, drain: 500 * time.Millisecond, flush: time.Second,
	trigger: 5 * time.Second, try: 2 * time.Second, pause: backoff{10 * time.Millisecond, 100 * time.Millisecond},
}

// inProcess serves with all that is real but the patience. stop returns the
// exit code.
func inProcess(t *testing.T, p patience, env ...string) (url string, log *logBook, stop func() int) {
	t.Helper()
	return inProcessOver(t, p, func(s storage) storage { return s }, env...)
}

// inProcessOver is inProcess over what a test makes of the storage.
func inProcessOver(t *testing.T, p patience, over func(storage) storage, env ...string) (url string, log *logBook, stop func() int) {
	t.Helper()
	s, _, err := settings.Load(append([]string{"SLUICE_ADDR=127.0.0.1:0", "SLUICE_RETENTION=forever", "SLUICE_DATA=" + t.TempDir()}, env...))
	if err != nil {
		t.Fatal(err)
	}
	s.Limit(settings.GiB)
	log = &logBook{}
	logger := slog.New(slog.NewJSONHandler(log, nil))
	storage, err := chooseStorage(s, logger)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	code := make(chan int, 1)
	eventHub, err := openHub(s, logger)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := openKeys(s)
	if err != nil {
		t.Fatal(err)
	}
	go func() { code <- serve(ctx, newGround(s, over(storage), eventHub, keys, logger), p) }()
	stopped := -1
	stop = func() int {
		cancel()
		if stopped < 0 {
			stopped = <-code
		}
		return stopped
	}
	t.Cleanup(func() { stop() })
	return log.await(t, "ready").url, log, stop
}

func TestSlowClientsAreCutOff(t *testing.T) {
	t.Parallel()
	url, _, stop := inProcess(t, impatient)
	slowHeader, slowBody, slowTrigger, idle := dial(t, url), dial(t, url), dial(t, url), dial(t, url)
	slowHeader.write("POST /api/v1/telemetry HT")
	slowBody.write(post(len(reading)) + reading[:40])
	slowTrigger.write("POST /compact HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n{\"Data\"\r\n")
	slowBody.answer().want(t, 408, `"code":"request_timeout"`)
	slowTrigger.answer().want(t, 500, `"code":"invalid_envelope"`)
	if text, err := io.ReadAll(slowHeader); err != nil && !strings.Contains(err.Error(), "reset") {
		t.Errorf("%q, %v", text, err)
	}
	if _, err := idle.ReadByte(); err == nil || strings.Contains(err.Error(), "timeout") {
		t.Error("a connection that says nothing stays open:", err)
	}
	do(t, "POST", url+"/api/v1/telemetry", reading).want(t, 200)
	if code := stop(); code != 0 {
		t.Error("exit code", code)
	}
}

// A client that stops reading its answer, or never sends its body, does not
// keep the process from stopping.
func TestStopDoesNotWaitForEver(t *testing.T) {
	t.Parallel()
	p := impatient
	p.read, p.request = time.Minute, time.Minute
	url, _, stop := inProcess(t, p)
	half := dial(t, url)
	half.write(post(len(reading)) + reading[:40])
	time.Sleep(50 * time.Millisecond)
	began := time.Now()
	if code := stop(); code != 0 || time.Since(began) > 10*time.Second {
		t.Error("exit code", code, "after", time.Since(began))
	}
}

func TestOverloadIsRefused(t *testing.T) {
	t.Parallel()
	p := impatient
	p.read, p.request = time.Minute, time.Minute
	url, _, _ := inProcess(t, p, "SLUICE_MAX_INFLIGHT=5MiB")
	deadline := time.Now().Add(20 * time.Second)
	// A client that is still sending when it is refused may see its connection
	// reset before it reads why: it tries again, as real ones do.
	send := func() answer {
		a, _ := try(t.Context(), "POST", url+"/api/v1/telemetry", strings.Repeat(" ", 2<<20)+reading)
		return a
	}
	// Whichever body comes second is refused: it should be the whole one.
	var a answer
	var half *raw
	for a.status != 503 && time.Now().Before(deadline) {
		half = dial(t, url)
		half.write(post(4<<20) + strings.Repeat(" ", 1<<20))
		time.Sleep(50 * time.Millisecond)
		if a = send(); a.status != 503 {
			_ = half.Close()
		}
	}
	a.want(t, 503, `"code":"overloaded"`)
	if a.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	do(t, "GET", url+"/healthz", "").want(t, 200)
	_ = half.Close()
	for a.status != 200 && time.Now().Before(deadline) {
		a = send()
	}
	a.want(t, 200)
}

// Bodies that are announced and do not come keep nobody out.
func TestPromisesTakeNoMemory(t *testing.T) {
	t.Parallel()
	p := impatient
	p.read, p.request = time.Minute, time.Minute
	url, _, _ := inProcess(t, p, "SLUICE_MAX_INFLIGHT=5MiB")
	for _, header := range []string{"Content-Length: 4194304", "Transfer-Encoding: chunked", "Content-Encoding: gzip\r\nContent-Length: 100"} {
		for range 5 {
			dial(t, url).write("POST /api/v1/telemetry HTTP/1.1\r\nHost: x\r\n" + header + "\r\n\r\n1")
		}
	}
	time.Sleep(100 * time.Millisecond)
	do(t, "POST", url+"/api/v1/telemetry", reading).want(t, 200)
	do(t, "GET", url+"/api/v1/devices", "").want(t, 200, "pump-7")
}

func TestConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	inner, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener := newBoundedListener(inner.(*net.TCPListener), 2)
	server := newHTTPServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), slog.New(slog.DiscardHandler), defaultPatience)
	go func() { _ = server.Serve(listener) }()
	url := "http://" + inner.Addr().String()
	get := "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
	first, second, third := dial(t, url), dial(t, url), dial(t, url)
	for _, c := range []*raw{first, second} {
		c.write(get)
		c.answer().want(t, 200)
	}
	third.write(get)
	_ = third.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if _, err := third.ReadByte(); err == nil {
		t.Error("a third of two connections was served")
	}
	_ = first.Close()
	_ = third.SetReadDeadline(time.Now().Add(10 * time.Second))
	third.answer().want(t, 200)
	if err := server.Close(); err != nil { // also while Accept waits for room
		t.Error(err)
	}
}

// frontServer serves a front whose app a test opens.
func frontServer(t *testing.T, p patience) (f *front, url string) {
	log := slog.New(slog.DiscardHandler)
	f = newFront(bareGround(log), p)
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	return f, server.URL
}

func TestRequestsWaitForTheStore(t *testing.T) {
	t.Parallel()
	p := impatient
	p.opening = 10 * time.Second
	f, url := frontServer(t, p)
	do(t, "GET", url+"/healthz", "").want(t, 200)
	do(t, "GET", url+"/readyz", "").want(t, 503, `"starting"`)
	do(t, "GET", url+"/", "").want(t, 200)

	answers := make(chan answer, 1)
	go func() {
		a, err := try(context.Background(), "POST", url+"/x", reading)
		if err != nil {
			a.body = err.Error()
		}
		answers <- a
	}()
	select {
	case a := <-answers:
		t.Fatal("did not wait:", a)
	case <-time.After(100 * time.Millisecond):
	}
	app := newEcho(slog.New(slog.DiscardHandler), p)
	app.POST("/x", func(c echo.Context) error { return c.String(200, "taken") })
	f.open(app)
	(<-answers).want(t, 200, "taken")
}

func TestWaitingIsBounded(t *testing.T) {
	t.Parallel()
	f, url := frontServer(t, impatient)
	if a := do(t, "POST", url+"/x", reading); a.status != 503 || a.header.Get("Retry-After") == "" || !strings.Contains(a.body, `"code":"unavailable"`) {
		t.Error(a)
	}
	f.stop()
	do(t, "GET", url+"/readyz", "").want(t, 503, `"stopping"`)
	do(t, "POST", url+"/x", reading).want(t, 503)
}

func TestPanics(t *testing.T) {
	t.Parallel()
	log := &logBook{}
	app := newEcho(slog.New(slog.NewJSONHandler(log, nil)), impatient)
	app.GET("/before", func(echo.Context) error { panic("secret") })
	midway := func(size int, flush bool, end func() error) echo.HandlerFunc {
		return func(c echo.Context) error {
			_ = c.String(200, strings.Repeat("x", size))
			if flush {
				c.Response().Flush()
			}
			return end()
		}
	}
	boom, fail := func() error { panic("secret") }, func() error { return errors.New("secret") }
	app.GET("/short-panic", midway(10, false, boom))
	app.GET("/short-fail", midway(10, false, fail))
	app.GET("/long-panic", midway(1<<20, true, boom))
	app.GET("/long-fail", midway(1<<20, true, fail))
	server := httptest.NewServer(app)
	defer server.Close()

	a := do(t, "GET", server.URL+"/before", "", "X-Request-Id", "r-7")
	a.want(t, 500, `{"error":{"code":"internal","message":"internal error, request r-7"}}`)
	if !strings.Contains(log.String(), "secret") || !strings.Contains(log.String(), "serve_test.go") {
		t.Error("the log lacks cause or stack:", log)
	}
	for _, path := range []string{"/short-panic", "/short-fail", "/long-panic", "/long-fail"} {
		for _, encoding := range []string{"identity", "gzip"} {
			if a, err := try(t.Context(), "GET", server.URL+path, "", "Accept-Encoding", encoding); err == nil {
				t.Errorf("%s, %s: a whole answer of status %d, %d bytes", path, encoding, a.status, len(a.body))
			}
		}
	}
}

func TestDeadlines(t *testing.T) {
	t.Parallel()
	app := newEcho(slog.New(slog.DiscardHandler), impatient)
	app.GET("/x", func(c echo.Context) error {
		until, _ := c.Request().Context().Deadline()
		return c.String(200, time.Until(until).Round(time.Second).String())
	})
	app.GET("/hang", func(c echo.Context) error {
		<-c.Request().Context().Done()
		return c.Request().Context().Err()
	})
	server := httptest.NewServer(app)
	defer server.Close()
	do(t, "GET", server.URL+"/x", "").want(t, 200, "1s")
	do(t, "GET", server.URL+"/x?format=json", "").want(t, 200, "1s")
	do(t, "GET", server.URL+"/x?format=csv", "").want(t, 200, "5s")
	do(t, "GET", server.URL+"/hang", "").want(t, 503, `"code":"timeout"`)
}

// A stream may take longer than any one of its writes, as long as the client
// takes it; a client that does not is cut off.
func TestStreams(t *testing.T) {
	t.Parallel()
	log := slog.New(slog.DiscardHandler)
	f := newFront(bareGround(log), impatient)
	app := newEcho(log, impatient)
	broke := make(chan error, 1)
	app.GET("/slow", func(c echo.Context) error {
		for range 12 {
			time.Sleep(100 * time.Millisecond)
			if err := c.String(200, "piece"); err != nil {
				return err
			}
			c.Response().Flush()
		}
		return c.Request().Context().Err()
	})
	app.GET("/endless", func(c echo.Context) error {
		for {
			if _, err := io.WriteString(c.Response(), strings.Repeat("x", 64<<10)); err != nil {
				broke <- err
				return err
			}
		}
	})
	f.open(app)
	server := httptest.NewUnstartedServer(nil)
	server.Config = newHTTPServer(f, log, impatient)
	server.Start()
	defer server.Close()

	a, err := try(t.Context(), http.MethodGet, server.URL+"/slow?format=csv", "")
	if err != nil || a.body != strings.Repeat("piece", 12) {
		t.Error(len(a.body), err)
	}
	deaf := dial(t, server.URL)
	deaf.write("GET /endless?format=csv HTTP/1.1\r\nHost: x\r\n\r\n")
	select {
	case <-broke:
	case <-time.After(10 * time.Second):
		t.Error("writes for ever to a client that does not read")
	}
}

// What a trigger does may take longer than a request may take to be read or
// answered.
func TestTriggersTakeLong(t *testing.T) {
	t.Parallel()
	log := slog.New(slog.DiscardHandler)
	f := newFront(bareGround(log), impatient)
	app := newEcho(log, impatient)
	long := func(ctx context.Context, _ invoke.Envelope) ([]string, error) {
		time.Sleep(impatient.opening + impatient.request + 2*impatient.stall)
		return []string{"done"}, ctx.Err()
	}
	registerTriggers(app, long, long, nil, false, log)
	f.open(app)
	server := httptest.NewUnstartedServer(nil)
	server.Config = newHTTPServer(f, log, impatient)
	server.Start()
	defer server.Close()
	do(t, "POST", server.URL+"/compact", `{"Data":{"timer":{}}}`).want(t, 200, `"Logs":["done"]`)
	do(t, "POST", server.URL+"/consume", `{"Data":{"events":"[]"}}`).want(t, 200, `"Logs":["done"]`)
}
