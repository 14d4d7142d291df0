package apptest

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"sluice/devtools/host"
	"sluice/devtools/load/service"
)

var hostModes = []host.Mode{host.Proxy, host.Forward}

// leapDay is a schedule whose time does not come while a test runs.
const leapDay = "0 0 0 29 2 *"

// hosted is the service under the Functions host, with a timer that only the
// test fires.
func hosted(t *testing.T, mode host.Mode, s storage, env ...string) *underHost {
	t.Helper()
	u := &underHost{root: appRoot(t), mode: mode, storage: s, env: append(env, "SLUICE_DATA="+s.folder)}
	u.edit(t, "compact", `"schedule": *"[^"]*"`, `"schedule": "`+leapDay+`"`)
	return u
}

// edit changes the one place of a function.json that fits a pattern.
func (u *underHost) edit(t *testing.T, function, pattern, replacement string) {
	t.Helper()
	file := filepath.Join(u.root, function, "function.json")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	place := regexp.MustCompile(pattern)
	if len(place.FindAllIndex(text, -1)) != 1 {
		t.Fatalf("%s has changed: %s does not fit once", file, pattern)
	}
	if err := os.WriteFile(file, place.ReplaceAllLiteral(text, []byte(replacement)), 0o644); err != nil {
		t.Fatal(err)
	}
}

// The service answers under the host as it does alone, in both modes and on
// both stores: plain and compressed bodies, small and large, errors and
// streams.
func TestHosted(t *testing.T) {
	for _, mode := range hostModes {
		t.Run(mode.String(), func(t *testing.T) {
			onEach(t, func(t *testing.T, s storage) {
				u := hosted(t, mode, s)
				c := u.start(t)
				if w := u.host.Warnings(); len(w) != 0 {
					t.Errorf("the app root has what a host ignores: %q", w)
				}
				for _, f := range u.host.Functions() {
					if f.Err != nil {
						t.Errorf("function %s does not start: %v", f.Name, f.Err)
					}
				}
				if err := c.AwaitReady(t.Context()); err != nil {
					t.Fatal(err)
				}
				hostedBodies(t, c)
				hostedAnswers(t, c, mode)
				if u.host.Crashes() != 0 {
					t.Errorf("%d crashes", u.host.Crashes())
				}
			})
		})
	}
}

// hostedBodies sends bodies of all kinds and counts what is there.
func hostedBodies(t *testing.T, c service.Client) {
	t.Helper()
	base := time.Now().Add(-time.Hour).Truncate(time.Second)
	sent := 0
	body := func(n int) []byte {
		var messages []message
		for range n {
			messages = append(messages, message{
				DeviceID: "pump-1", TS: instant(base.Add(time.Duration(sent) * time.Millisecond).UnixNano()),
				Metrics: map[string]float64{"temperature": 20},
			})
			sent++
		}
		text, err := json.Marshal(messages)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	post := func(what, encoding string, text []byte, n int) {
		v, err := c.Post(t.Context(), "/api/v1/telemetry", "application/json", encoding, text)
		if err != nil || v.Accepted != n {
			t.Errorf("%s: %d accepted, %v", what, v.Accepted, err)
		}
	}
	post("a small body", "", body(1), 1)
	text, encoding := gzipped(body(10))
	post("a compressed body", encoding, text, 10)
	post("an unlabelled compressed body", "", func() []byte { text, _ := gzipped(body(10)); return text }(), 10)
	large := body(40_000)
	if len(large) < 3<<20 || len(large) > 4<<20 {
		t.Fatalf("a body of %d bytes is not what was to be sent", len(large))
	}
	post("a large body", "", large, 40_000)
	_, err := c.Post(t.Context(), "/api/v1/telemetry", "application/json", "", bytes.Repeat([]byte(" "), 4<<20+1))
	if !service.IsStatus(err, http.StatusRequestEntityTooLarge) {
		t.Errorf("a body over the limit: %v", err)
	}
	found := 0
	err = eachReading(t.Context(), c, "pump-1", map[string][]string{"from": {instant(base.UnixNano())}, "to": {"now"}},
		func(int64, map[string]float64) error { found++; return nil })
	if err != nil || found != sent {
		t.Errorf("%d of %d readings are there, %v", found, sent, err)
	}
}

// hostedAnswers looks at what answers are made of.
func hostedAnswers(t *testing.T, c service.Client, mode host.Mode) {
	t.Helper()
	address := strings.TrimPrefix(c.URL, "http://")
	list := rawCall(t, address, "GET /api/v1/devices HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n")
	if list.status != http.StatusOK || list.header.Get("Content-Type") != "application/json" {
		t.Errorf("the list of devices: %+v", list)
	}
	query := "/api/v1/devices/pump-1/readings?from=now-2h&to=now"
	page := rawCall(t, address, "GET "+query+"&limit=10000 HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n")
	if page.status != http.StatusOK || page.header.Get("Content-Encoding") != "gzip" || len(gunzipped(t, page.body)) < 100_000 {
		t.Errorf("a large page: %d, %v, %d bytes", page.status, page.header, len(page.body))
	}
	csv := rawCall(t, address, "GET "+query+"&format=csv HTTP/1.1\r\nHost: x\r\n\r\n")
	if lines := strings.Count(csv.body, "\n"); csv.status != http.StatusOK || lines != 40_022 {
		t.Errorf("all readings as CSV: %d, %d lines", csv.status, lines)
	}
	// With forwarding the host joins keys that are repeated.
	several := rawCall(t, address, "GET "+query+"&metrics=temperature&metrics=other&limit=1 HTTP/1.1\r\nHost: x\r\n\r\n")
	if several.status != http.StatusOK || !strings.Contains(several.body, `"temperature":20`) {
		t.Errorf("a repeated key: %+v", several)
	}
	unknown := rawCall(t, address, "GET /api/v1/devices/nobody HTTP/1.1\r\nHost: x\r\n\r\n")
	if unknown.status != http.StatusNotFound || !strings.Contains(unknown.body, `"code"`) {
		t.Errorf("an unknown device: %+v", unknown)
	}
	chunked := rawCall(t, address, "POST /api/v1/telemetry HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"+
		"Transfer-Encoding: chunked\r\n\r\n2d\r\n{\"deviceId\":\"chunked\",\"metrics\":{\"v\":1.0000}}\r\n0\r\n\r\n")
	want := map[host.Mode]int{host.Proxy: http.StatusOK, host.Forward: http.StatusInternalServerError}[mode]
	if chunked.status != want {
		t.Errorf("a chunked upload: %+v, want %d", chunked, want)
	}
	huge := rawCall(t, address, "POST /api/v1/telemetry HTTP/1.1\r\nHost: x\r\nContent-Length: 104857601\r\n\r\n")
	if huge.status != http.StatusInternalServerError || huge.body != "" {
		t.Errorf("a body over the host's own limit: %+v", huge)
	}
	patch := rawCall(t, address, "PATCH /api/v1/telemetry HTTP/1.1\r\nHost: x\r\n\r\n")
	if patch.status != http.StatusNotFound || patch.body != "" {
		t.Errorf("a method of no function: %+v", patch)
	}
	if home := rawCall(t, address, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); home.status != http.StatusOK || strings.Contains(home.body, "Functions 4.0") {
		t.Errorf("the home page: %+v", home)
	}
	if head := rawCall(t, address, "HEAD /api/v1/status HTTP/1.1\r\nHost: x\r\n\r\n"); head.status != http.StatusOK || head.body != "" {
		t.Errorf("HEAD: %+v", head)
	}
}

func gunzipped(t *testing.T, text string) string {
	t.Helper()
	z, err := gzip.NewReader(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return string(plain)
}

// answered is an answer as a caller without any library sees it.
type answered struct {
	status int
	header http.Header
	body   string
}

// rawCall sends text as it is, over a connection of its own.
func rawCall(t *testing.T, address, text string) answered {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	method, _, _ := strings.Cut(text, " ")
	r, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("%.200q: %v", text, err)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatalf("%.200q: %v", text, err)
	}
	return answered{r.StatusCode, r.Header, string(body)}
}

// forgedPaths are spellings of the triggers' paths: what routes, the host and
// the handler could understand as one of them.
func forgedPaths(trigger string) []string {
	first := fmt.Sprintf("%%%02x", trigger[0])
	paths := []string{
		"/" + trigger, "//" + trigger, "///" + trigger, "/" + first + trigger[1:], "/" + trigger + "%5C", "/" + trigger + `\`, "/%5C" + trigger,
		`/\` + trigger, "/" + strings.ToUpper(trigger), "/" + strings.ToUpper(trigger[:1]) + trigger[1:], "/" + trigger + "/", "/" + trigger + "//",
		"/" + trigger + "/.", "/./" + trigger, "/x/../" + trigger, "/x/%2e%2e/" + trigger, "/%2E/" + trigger, "/x%2F..%2F" + trigger,
		"/x%5C..%5C" + trigger, "/..%5C" + trigger, "/..%2f" + trigger, "/" + trigger + "/..;/" + trigger, "/" + trigger + "/../" + trigger,
		"/%25" + first[1:] + trigger[1:], "/%2525" + first[1:] + trigger[1:], "/" + trigger + "%2F", "/%2F" + trigger, "/" + trigger + "%2f.",
		"/" + trigger + "%20", "/" + trigger + "%09", "/%20" + trigger, "/%09" + trigger, "/" + trigger + "%0d%0a", "/" + trigger + "%0A",
		"/" + trigger + "+", "/" + trigger + ";", "/" + trigger + ";x=1", "/;/" + trigger, "/" + trigger + "?", "/" + trigger + "?x", "/" + trigger + "%3F",
		"/" + trigger + "%3Fx=1", "/" + trigger + "%23", "/" + trigger + "%23x", "/" + trigger + "#x", "/" + trigger + "%00", "/" + trigger + "%E2%80%8E",
		"/" + trigger[:2] + "%E2%80%8F" + trigger[2:], "/%E2%80%AA" + trigger, "/" + trigger + "%C2%A0", "/" + trigger + "%C0%AF",
		"/" + trigger + "%", "/" + trigger + "%2", "/" + trigger + "%ZZ", "/" + trigger + ".", "/" + trigger + "%2E", "/api/" + trigger,
		"/" + trigger + "/" + trigger, "/admin/functions/" + trigger, "//admin/functions/" + trigger, "/runtime/webhooks/" + trigger,
		"*", trigger, "http:" + trigger,
	}
	return append(paths, "http://HOST/"+trigger, "http://HOST//"+trigger, "http://HOST/x%2F..%2F"+trigger, "http://HOST/"+first+trigger[1:],
		"http://HOST/%25"+first[1:]+trigger[1:], "http://other.example/"+trigger, "HTTP://HOST/"+trigger+"%2F", "http://HOST%2F"+trigger)
}

// timerBody is what a host sends for a timer: a call that got through would
// have a compactor run.
const timerBody = `{"Data":{"timer":{"Schedule":{"AdjustForDST":true},"ScheduleStatus":null,"IsPastDue":false}},` +
	`"Metadata":{"sys":{"MethodName":"compact","UtcNow":"2026-11-24T10:00:00Z","RandGuid":"9b74263f-70d7-4740-98a7-bde17d1bf377"}}}`

// forgedFraming are the ways in which a forger can send a body, with and
// without what the host's own calls have.
var forgedFraming = map[string]string{
	"length":                fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(timerBody), timerBody),
	"empty":                 "Content-Length: 0\r\n\r\n",
	"nothing":               "\r\n",
	"chunked":               fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(timerBody), timerBody),
	"chunked with a length": fmt.Sprintf("Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(timerBody), len(timerBody), timerBody),
	"for another":           fmt.Sprintf("X-Forwarded-For: 203.0.113.7\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(timerBody), timerBody),
	"for nobody": fmt.Sprintf("X-Forwarded-For:\r\nConnection: X-Forwarded-For\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n",
		len(timerBody), timerBody),
}

const forgedHeader = "User-Agent: Azure-Functions-Host/4.1037.0.0\r\nX-Azure-Functions-HostVersion: 4.1037.0.0\r\n" +
	"X-Azure-Functions-InvocationId: ba3fef9e-5823-4795-843c-d07092d312ba\r\nContent-Type: application/json; charset=utf-8\r\nConnection: close\r\n"

// No call from outside reaches a trigger, however it is spelt: nobody is told
// that one succeeded or failed, and the compactor does not run. Routes that leave
// the triggers out are the first wall, what the service knows of the host's own
// calls is the second, which holds alone too.
func TestForgedTriggers(t *testing.T) {
	for _, mode := range hostModes {
		t.Run(mode.String(), func(t *testing.T) { forgeAll(t, hosted(t, mode, onTables(t, ""), "SLUICE_MERGE=100ms")) })
		t.Run(mode.String()+" every path", func(t *testing.T) {
			u := hosted(t, mode, onTables(t, ""), "SLUICE_MERGE=100ms")
			u.edit(t, "ingest", `"route": *"[^"]*"`, `"route": "{*path}"`)
			forgeAll(t, u)
		})
	}
}

func forgeAll(t *testing.T, u *underHost) {
	t.Helper()
	c := u.start(t)
	if err := c.AwaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	// Something that a run would merge.
	if _, err := c.Post(t.Context(), "/api/v1/telemetry", "application/json", "", []byte(`{"deviceId":"pump-1","metrics":{"v":1}}`)); err != nil {
		t.Fatal(err)
	}
	sent := 0
	for _, trigger := range []string{"consume", "compact"} {
		for _, path := range forgedPaths(trigger) {
			sent += forge(t, u.host, path)
		}
	}
	t.Logf("%d forged calls, %d of them delivered", sent, u.host.Deliveries("ingest")+u.host.Deliveries("query"))
	if runs := compactions(t, c); runs != 0 {
		t.Errorf("the compactor ran: %d shards merged", runs)
	}
	// The same body from the host itself does it.
	if err := u.host.Trigger(t.Context(), "compact"); err != nil {
		t.Fatal(err)
	}
	if compactions(t, c) == 0 {
		t.Error("the host's own call did not have the compactor run: the test has shown nothing")
	}
	if u.host.Crashes() != 0 {
		t.Errorf("%d crashes", u.host.Crashes())
	}
}

// forge sends a path in all ways, and returns how many those were.
func forge(t *testing.T, h *host.Host, path string) (sent int) {
	t.Helper()
	path = strings.ReplaceAll(path, "HOST", h.Addr())
	for _, method := range []string{"POST", "PUT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "QUERY", "post"} {
		for framing, rest := range forgedFraming {
			if method != "POST" && framing != "chunked" && framing != "length" {
				continue
			}
			sent++
			got := rawCall(t, h.Addr(), fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\n%s%s", method, path, h.Addr(), forgedHeader, rest))
			if !harmless(got, method) {
				t.Errorf("%s %q, %s: %d %.200q", method, path, framing, got.status, got.body)
			}
		}
	}
	return sent
}

// harmless says whether an answer is none of a trigger: those are 200 with
// outputs, or an error of the function. The host's own errors are empty.
func harmless(got answered, method string) bool {
	switch got.status {
	case http.StatusBadRequest, http.StatusInternalServerError:
		return !strings.Contains(got.body, "invocation") && !strings.Contains(got.body, "envelope")
	case http.StatusNotFound, http.StatusUnauthorized, http.StatusMethodNotAllowed:
		return true
	}
	return method == "OPTIONS" && got.status == http.StatusNoContent
}

// compactions counts the shards that were ever merged.
func compactions(t *testing.T, c service.Client) (merged int) {
	t.Helper()
	s, err := c.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, shard := range s.Shards {
		if !shard.LastMerged.IsZero() {
			merged++
		}
	}
	return merged
}

// A decoder that reaches beyond a slice fails one request, and the process
// lives. The service is built with that bug in it.
func TestPanicUnderHost(t *testing.T) {
	handler := buildWithPanic(t)
	for _, mode := range hostModes {
		t.Run(mode.String(), func(t *testing.T) {
			u := &underHost{root: appRoot(t), mode: mode, storage: embedded(t)}
			u.env = []string{"SLUICE_DATA=" + u.storage.folder}
			link := filepath.Join(u.root, "bin", "handler")
			if err := errors.Join(os.Remove(link), os.Symlink(handler, link)); err != nil {
				t.Fatal(err)
			}
			c := u.start(t)
			if err := c.AwaitReady(t.Context()); err != nil {
				t.Fatal(err)
			}
			pid := u.host.HandlerPID()
			for i := range 5 {
				_, err := c.Post(t.Context(), "/api/v1/telemetry?panic", "application/json", "", []byte(`{"deviceId":"pump-1","metrics":{"v":1}}`))
				if !service.IsStatus(err, http.StatusInternalServerError) {
					t.Errorf("the call that panics: %v", err)
				}
				v, err := c.Post(t.Context(), "/api/v1/telemetry", "application/json", "", []byte(`{"deviceId":"pump-1","metrics":{"v":1}}`))
				if err != nil || v.Accepted != 1 {
					t.Errorf("call %d after a panic: %+v, %v", i, v, err)
				}
			}
			if u.host.Crashes() != 0 || u.host.HandlerPID() != pid {
				t.Errorf("%d crashes, process %d was %d", u.host.Crashes(), u.host.HandlerPID(), pid)
			}
			if !strings.Contains(u.lines(), "out of range") {
				t.Errorf("the log does not tell of the panic:\n%s", u.lines())
			}
		})
	}
}

// buildWithPanic builds the service with a bug in ingest: a query "panic" has it
// reach beyond a slice.
func buildWithPanic(t *testing.T) string {
	t.Helper()
	file, err := filepath.Abs("../ingest/http.go")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	const place = "	parse, err := format("
	const bug = "	if q := r.URL.RawQuery; len(q) > 4 && q[:5] == \"panic\" {\n		_ = []int{1}[len(q)]\n	}\n"
	if bytes.Count(text, []byte(place)) != 1 {
		t.Fatalf("%s has changed: there is no one place for a bug", file)
	}
	folder := t.TempDir()
	changed := filepath.Join(folder, "http.go")
	if err := os.WriteFile(changed, bytes.Replace(text, []byte(place), []byte(bug+place), 1), 0o644); err != nil {
		t.Fatal(err)
	}
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{file: changed}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "overlay.json"), overlay, 0o644); err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(folder, "handler")
	build := exec.CommandContext(context.Background(), "go", "build", "-overlay", filepath.Join(folder, "overlay.json"), "-o", binary, "sluice/handler")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return binary
}
