package host

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// How often a call is delivered whose connection the handler closes, and that
// it has one id.
func TestRedelivery(t *testing.T) {
	for _, c := range []struct {
		mode       Mode
		method     string
		body       string
		deliveries int
	}{
		{Forward, "GET", "", 4}, {Forward, "POST", "", 4}, {Forward, "POST", "a body", 1},
		{Proxy, "GET", "", 40}, {Proxy, "POST", "a body", 1},
	} {
		t.Run(fmt.Sprintf("%s %s %q", c.mode, c.method, c.body), func(t *testing.T) {
			w := start(t, nil, func(o *Options) { o.Mode = c.mode })
			if g := w.mustAsk(c.method, "/v1/x", "close", c.body); g.status != http.StatusInternalServerError || g.body != "" {
				t.Errorf("the caller got %+v", g)
			}
			ids := map[string]bool{}
			for _, r := range w.requests() {
				ids[r.header(invocationHeader)] = true
			}
			if n := len(w.requests()); n != c.deliveries || w.Deliveries("ingest") != n || len(ids) != 1 {
				t.Errorf("%d deliveries (%d counted) with %d ids, want %d with one", n, w.Deliveries("ingest"), len(ids), c.deliveries)
			}
		})
	}
}

func TestChunked(t *testing.T) {
	const request = "POST /v1/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
	forward := start(t, nil, func(o *Options) { o.Mode = Forward })
	if g := forward.mustRaw("POST", request); g.status != http.StatusInternalServerError || len(forward.requests()) != 0 {
		t.Errorf("forwarding: %+v, %d deliveries", g, len(forward.requests()))
	}
	proxy := start(t, nil, nil)
	if g := proxy.mustRaw("POST", request); g.status != http.StatusOK {
		t.Errorf("proxying: %+v", g)
	}
	seen := proxy.requests()
	if len(seen) != 1 || !seen[0].Chunked || string(seen[0].Body) != "abc" || seen[0].header("X-Forwarded-For") != "127.0.0.1" {
		t.Errorf("proxying: %+v", seen)
	}
}

func TestProxied(t *testing.T) {
	w := start(t, nil, nil)
	g := w.mustRaw("POST", "POST /v1/a%2Fb/%C3%A4/sp%20ace/%5C?x=1&x=2&flag&q=%2F+ HTTP/1.1\r\nHost: caller.example\r\n"+
		"Content-Encoding: gzip\r\nContent-Language: de\r\nContent-Type: text/plain\r\nX-Multi: a\r\nX-Multi: b\r\nUser-Agent: me\r\n"+
		"X-Azure-Functions-InvocationId: forged\r\nX-Forwarded-For: 203.0.113.7\r\nKeep-Alive: 5\r\nContent-Length: 2\r\n\r\nhi")
	if g.status != http.StatusOK || len(w.requests()) != 1 {
		t.Fatalf("%+v, %d deliveries", g, len(w.requests()))
	}
	r := w.requests()[0]
	if want := "/v1/a%252Fb/%C3%A4/sp%20ace/%5C?x=1&x=2&flag&q=%2F+"; r.Target != want || string(r.Body) != "hi" {
		t.Errorf("came as %s %q, want %s", r.Target, r.Body, want)
	}
	for name, want := range map[string]string{
		"Host": w.client.address, "Content-Encoding": "gzip", "Content-Language": "de", "Content-Type": "text/plain", "X-Multi": "a, b",
		"User-Agent": "me", "X-Forwarded-For": "203.0.113.7, 127.0.0.1", "X-Forwarded-Host": "caller.example", "X-Forwarded-Proto": "http",
		"Content-Length": "2", versionHeader: Version, "Keep-Alive": "",
	} {
		if r.header(name) != want {
			t.Errorf("%s: %q, want %q", name, r.header(name), want)
		}
	}
	if !isID.MatchString(r.header(invocationHeader)) {
		t.Errorf("id %q", r.header(invocationHeader))
	}
}

// A proxied answer comes as it is written, a forwarded one when it is whole.
func TestStreaming(t *testing.T) {
	for _, mode := range []Mode{Proxy, Forward} {
		t.Run(mode.String(), func(t *testing.T) {
			w := start(t, nil, func(o *Options) { o.Mode = mode })
			gate := filepath.Join(t.TempDir(), "gate")
			c, err := net.Dial("tcp", w.Addr())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			fmt.Fprintf(c, "GET /v1/x HTTP/1.1\r\nHost: h\r\nX-Do: first=%s body=last\r\n\r\n", gate)
			if mode == Forward {
				until(t, "the call", func() bool { return len(w.requests()) == 1 })
				_ = c.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
				if n, err := c.Read(make([]byte, 1)); n != 0 {
					t.Errorf("%d bytes of an answer that is not whole, %v", n, err)
				}
				_ = c.SetReadDeadline(time.Time{})
				openGate(t, gate)
			}
			r, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatal(err)
			}
			begin := make([]byte, len("first,"))
			if _, err := io.ReadFull(r.Body, begin); err != nil {
				t.Fatal(err)
			}
			openGate(t, gate)
			rest, err := io.ReadAll(r.Body)
			if err != nil || string(begin)+string(rest) != "first,last" {
				t.Errorf("%q%q, %v", begin, rest, err)
			}
		})
	}
}

func openGate(t *testing.T, gate string) {
	t.Helper()
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

// An answer that breaks off fails a forwarded call, and breaks a proxied one.
func TestAnswerBreaksOff(t *testing.T) {
	forward := start(t, nil, func(o *Options) { o.Mode = Forward })
	if g := forward.mustAsk("GET", "/v1/x", "half", ""); g.status != http.StatusInternalServerError || g.body != "" {
		t.Errorf("forwarding: %+v", g)
	}
	proxy := start(t, nil, nil)
	if g, err := proxy.ask("GET", "/v1/x", "half", ""); err == nil || g.status != http.StatusOK {
		t.Errorf("proxying: %+v, %v", g, err)
	}
}

func TestAnswers(t *testing.T) {
	for _, mode := range []Mode{Proxy, Forward} {
		w := start(t, nil, func(o *Options) { o.Mode = mode })
		for do, want := range map[string]int{
			"status=204": 204, "status=304": 304, "header=Location:/x status=302": 302, "header=Retry-After:3 status=503 body=wait": 503,
			"header=ETag:q header=Cache-Control:no-cache header=Set-Cookie:a=1 header=Set-Cookie:b=2 body=x": 200,
		} {
			g := w.mustAsk("GET", "/v1/x", do, "")
			if g.status != want {
				t.Errorf("%s, %s: %+v", mode, do, g)
			}
			for word := range strings.FieldsSeq(do) {
				if header, ok := strings.CutPrefix(word, "header="); ok {
					name, value, _ := strings.Cut(header, ":")
					if !slices.Contains(g.header.Values(name), value) {
						t.Errorf("%s, %s: %s is %q", mode, do, name, g.header.Values(name))
					}
				}
			}
		}
	}
}

func TestBodyLimit(t *testing.T) {
	for _, mode := range []Mode{Proxy, Forward} {
		w := start(t, nil, func(o *Options) { o.Mode, o.habits.maxBody = mode, 1000 })
		if g := w.mustAsk("POST", "/v1/x", "", strings.Repeat("x", 1000)); g.status != http.StatusOK {
			t.Errorf("%s, at the limit: %+v", mode, g)
		}
		before := len(w.requests())
		if g := w.mustAsk("POST", "/v1/x", "", strings.Repeat("x", 1001)); g.status != http.StatusInternalServerError {
			t.Errorf("%s, over it: %+v", mode, g)
		}
		if len(w.requests()) != before {
			t.Errorf("%s: delivered", mode)
		}
	}
}

func TestActivityTimeout(t *testing.T) {
	w := start(t, nil, func(o *Options) { o.habits.activity = 300 * time.Millisecond })
	if g := w.mustAsk("POST", "/v1/x", "sleep=1h", "x"); g.status != http.StatusInternalServerError {
		t.Errorf("%+v", g)
	}
	if w.Crashes() != 0 || w.HandlerPID() == 0 {
		t.Error("the handler died of it")
	}
}

// Who goes away is not missed by the handler: it never hears of it.
func TestCallerGoesAway(t *testing.T) {
	w := start(t, nil, func(o *Options) { o.Mode = Forward })
	c, err := net.Dial("tcp", w.Addr())
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(c, "POST /v1/x HTTP/1.1\r\nHost: h\r\nX-Do: sleep=300ms\r\nContent-Length: 1\r\n\r\nx")
	until(t, "the call", func() bool { return len(w.requests()) == 1 })
	_ = c.Close()
	until(t, "the end of the call", func() bool {
		return slices.ContainsFunc(w.records(), func(r record) bool { return r.Event == "done" })
	})
}

const routed = `{"bindings": [
  {"type": "httpTrigger", "direction": "in", "name": "req"%s},
  {"type": "http", "direction": "out", "name": "res"}
]}`

func TestRouting(t *testing.T) {
	w := start(t, map[string]string{
		"writes/function.json": fmt.Sprintf(routed, `, "authLevel": "anonymous", "methods": ["post", "PUT"], "route": "{*path:regex(^(?!\\s*(consume|compact)\\s*(/|$)))}"`),
		"reads/function.json":  fmt.Sprintf(routed, `, "authLevel": "Anonymous", "methods": ["get"], "route": "{*path}"`),
		"closed/function.json": fmt.Sprintf(routed, `, "route": "closed"`),
		"off/function.json":    fmt.Sprintf(routed, `, "authLevel": "anonymous", "methods": ["delete"], "route": "{*path}"`),
	}, func(o *Options) {
		o.Key = "the key"
		o.Settings = []string{"AzureWebJobs.off.Disabled=TRUE"}
	})
	for _, c := range []struct {
		request  string
		status   int
		function string
	}{
		{"POST /x/y", 200, "writes"}, {"PUT /", 200, "writes"}, {"GET /x", 200, "reads"}, {"GET /consume", 200, "reads"},
		{"POST /consume", 404, ""}, {"POST /CONSUME/", 404, ""}, {"POST /%63onsume", 404, ""}, {"POST /%20compact%09", 404, ""},
		{"POST /a/../consume", 404, ""}, {"POST /a/%2e%2e/consume", 404, ""}, {"POST /consume/x", 404, ""}, {"POST /consumed", 200, "writes"},
		{"PATCH /x", 404, ""}, {"DELETE /x", 404, ""}, {"POST /%00", 400, ""},
		{"GET /v1/x", 200, "ingest"}, {"GET /closed", 401, ""}, {"GET /closed?code=wrong", 401, ""}, {"GET /closed?code=the%20key", 200, "closed"},
		{"GET /admin", 401, ""}, {"POST /ADMIN/functions/manual", 401, ""}, {"POST /%61dmin/functions/manual", 401, ""},
		{"POST /admin/functions/nothing?code=the%20key", 404, ""}, {"GET /admin/nothing?code=the%20key", 404, ""}, {"GET /administrator", 200, "reads"},
	} {
		if strings.HasSuffix(c.request, " /") {
			continue // the home page, below
		}
		before := w.Deliveries(c.function)
		method, _, _ := strings.Cut(c.request, " ")
		g := w.mustRaw(method, c.request+" HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
		if g.status != c.status || c.function != "" && w.Deliveries(c.function) != before+1 {
			t.Errorf("%s: %d, want %d by %q", c.request, g.status, c.status, c.function)
		}
	}
	if g := w.mustRaw("GET", "GET / HTTP/1.1\r\nHost: h\r\n\r\n"); !strings.Contains(g.body, "up and running") {
		t.Errorf("home page: %+v", g)
	}
	bare := start(t, map[string]string{"reads/function.json": fmt.Sprintf(routed, `, "authLevel": "anonymous", "route": "{*path}"`)},
		func(o *Options) { o.Settings = []string{"AzureWebJobsDisableHomepage=true"} })
	if g := bare.mustAsk("GET", "/", "body=ours", ""); g.body != "ours" {
		t.Errorf("without the home page: %+v", g)
	}
}
