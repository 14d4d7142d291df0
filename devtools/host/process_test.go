package host

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// kill ends the handler's process as the system does, when it is there.
func (w *world) kill() {
	w.t.Helper()
	until(w.t, "a handler", func() bool { return w.HandlerPID() != 0 && w.Ready(w.t.Context()) == nil })
	p, err := os.FindProcess(w.HandlerPID())
	if err == nil {
		err = p.Kill()
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// inFlight begins calls and returns when the handler has them.
func (w *world) inFlight(calls ...func() (got, error)) (answers func() []got) {
	w.t.Helper()
	before := len(w.requests())
	list := make([]got, len(calls))
	var all sync.WaitGroup
	for i, call := range calls {
		all.Go(func() {
			g, err := call()
			if err != nil {
				g.body = err.Error()
			}
			list[i] = g
		})
	}
	until(w.t, "calls at the handler", func() bool { return len(w.requests()) >= before+len(calls) })
	return func() []got {
		all.Wait()
		return list
	}
}

func (w *world) slow(method, body string) func() (got, error) {
	return func() (got, error) { return w.ask(method, "/v1/slow", "sleep=30s", body) }
}

func TestEnvironment(t *testing.T) {
	w := start(t, nil, func(o *Options) { o.Settings = []string{"MINE=yes", "HUB_NAME=other"} })
	if g := w.mustAsk("GET", "/v1/x", "", ""); g.status != http.StatusOK {
		t.Fatalf("%+v", g)
	}
	begun := w.records()[0]
	root, err := filepath.EvalSymlinks(w.root)
	if err != nil {
		t.Fatal(err)
	}
	if begun.Dir != root {
		t.Errorf("started in %s, want %s", begun.Dir, root)
	}
	env := map[string]string{}
	for _, e := range begun.Env {
		name, value, _ := strings.Cut(e, "=")
		env[name] = value
	}
	_, port, _ := net.SplitHostPort(w.client.address)
	for name, want := range map[string]string{
		"FUNCTIONS_CUSTOMHANDLER_PORT": port, "FUNCTIONS_HTTPWORKER_PORT": port, "FUNCTIONS_APP_ROOT_PATH": w.root,
		"MINE": "yes", "HUB_NAME": "other",
	} {
		if env[name] != want {
			t.Errorf("%s=%q, want %q", name, env[name], want)
		}
	}
	if id := env["FUNCTIONS_CUSTOMHANDLER_WORKER_ID"]; !isID.MatchString(id) || env["FUNCTIONS_HTTPWORKER_ID"] != id {
		t.Errorf("worker ids %q and %q", id, env["FUNCTIONS_HTTPWORKER_ID"])
	}
}

func TestProbe(t *testing.T) {
	w := start(t, nil, nil)
	if err := w.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(w.record)
	if err != nil {
		t.Fatal(err)
	}
	if want := `"Method":"GET","Target":"/","Headers":[["Host","` + w.client.address + `"]],`; !strings.Contains(string(text), want) {
		t.Errorf("no probe with nothing but a Host header:\n%s", text)
	}
}

func TestCallsWaitForTheHandler(t *testing.T) {
	w := start(t, nil, func(o *Options) { o.Environ = append(o.Environ, startDoing+"=sleep=500ms") })
	if g := w.mustAsk("POST", "/v1/x", "body=there", "early"); g.status != http.StatusOK || g.body != "there" {
		t.Errorf("%+v", g)
	}
}

func TestLines(t *testing.T) {
	w := start(t, nil, nil)
	if err := w.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := []Line{
		{false, slog.LevelInfo, "handler starts"}, {true, slog.LevelWarn, "a Warning of it"}, {true, slog.LevelError, "a failure of it"},
	}
	until(t, "the lines", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, line := range want {
			if !slices.Contains(w.lines, line) {
				return false
			}
		}
		return true
	})
}

// Two crashes are borne, the third ends the host. What was in flight fails;
// what comes later waits for the next process.
func TestThirdCrash(t *testing.T) {
	for _, mode := range []Mode{Forward, Proxy} {
		t.Run(mode.String(), func(t *testing.T) {
			w := start(t, nil, func(o *Options) { o.Mode = mode })
			for crash := 1; crash <= 2; crash++ {
				answers := w.inFlight(w.slow("POST", "a body"))
				w.kill()
				if g := answers()[0]; g.status != http.StatusInternalServerError || g.body != "" {
					t.Errorf("in flight: %+v, want an empty 500", g)
				}
				until(t, "the crash to be counted", func() bool { return w.Crashes() == crash })
				if g := w.mustAsk("POST", "/v1/later", "body=again", "x"); g.status != http.StatusOK || g.body != "again" {
					t.Errorf("later: %+v", g)
				}
			}
			w.kill()
			<-w.Done()
			if err := w.Err(); !errors.Is(err, ErrCrashed) || w.Crashes() != 3 {
				t.Errorf("ended with %v after %d crashes", err, w.Crashes())
			}
			if _, err := w.ask("GET", "/v1/x", "", ""); err == nil {
				t.Error("it still listens")
			}
		})
	}
}

func TestExitCodeCounts(t *testing.T) {
	w := start(t, nil, nil)
	first := w.mustAsk("POST", "/v1/x", "exit=3", "x")
	if first.status != http.StatusInternalServerError {
		t.Errorf("%+v", first)
	}
	until(t, "the crash to be counted", func() bool { return w.Crashes() == 1 })
	if g := w.mustAsk("POST", "/v1/x", "exit=200", "x"); g.status != http.StatusInternalServerError {
		t.Errorf("%+v", g)
	}
	if g := w.mustAsk("GET", "/v1/x", "", ""); g.status != http.StatusOK || w.Crashes() != 1 {
		t.Errorf("after exit code 200, which asks for a start: %+v, %d crashes", g, w.Crashes())
	}
}

func TestQuietTimeForgetsCrashes(t *testing.T) {
	w := start(t, nil, func(o *Options) { o.habits.quiet = time.Nanosecond })
	for range 4 {
		w.kill()
		if g := w.mustAsk("GET", "/v1/x", "", ""); g.status != http.StatusOK {
			until(t, "the next handler", func() bool { g := w.mustAsk("GET", "/v1/x", "", ""); return g.status == http.StatusOK })
		}
	}
	if w.Crashes() != 4 || w.Err() != nil {
		t.Errorf("%d crashes, %v", w.Crashes(), w.Err())
	}
}

func TestExitZero(t *testing.T) {
	w := start(t, nil, func(o *Options) { o.Key = "k" })
	if g := w.mustAsk("POST", "/v1/x", "exit=0", "x"); g.status != http.StatusInternalServerError {
		t.Errorf("in flight: %+v", g)
	}
	until(t, "the end", func() bool { return w.HandlerPID() == 0 })
	for range 3 {
		if g := w.mustAsk("GET", "/v1/x", "", ""); g.status != http.StatusInternalServerError {
			t.Errorf("later: %+v", g)
		}
	}
	g := w.mustRaw("GET", "GET /admin/host/status?code=k HTTP/1.1\r\nHost: x\r\n\r\n")
	if g.status != http.StatusOK || !strings.Contains(g.body, "Running") {
		t.Errorf("the host does not say that it runs: %+v", g)
	}
	starts := 0
	for _, r := range w.records() {
		if r.Event == "start" {
			starts++
		}
	}
	if starts != 1 || w.Crashes() != 0 {
		t.Errorf("%d starts, %d crashes", starts, w.Crashes())
	}
}

func TestNeverListens(t *testing.T) {
	w := start(t, nil, func(o *Options) {
		o.habits.startup = 300 * time.Millisecond
		o.Environ = append(o.Environ, startDoing+"=sleep=1h")
	})
	<-w.Done()
	if err := w.Err(); !errors.Is(err, ErrCrashed) || w.Crashes() != 3 {
		t.Errorf("ended with %v after %d", err, w.Crashes())
	}
}

func TestCannotBeStarted(t *testing.T) {
	root := appRoot(t, map[string]string{"bin/handler": ""})
	if err := os.WriteFile(filepath.Join(root, "bin/handler"), []byte("\x7fELF no program"), 0o755); err != nil {
		t.Fatal(err)
	}
	h, err := Start(t.Context(), Options{Root: root, Environ: []string{"HUB_NAME=h", "HUB=x"}, habits: quick()})
	if err != nil {
		t.Fatal(err)
	}
	<-h.Done()
	if err := h.Err(); !errors.Is(err, ErrCrashed) {
		t.Errorf("ended with %v", err)
	}
}

// Close lets calls end and then kills the handler, which is never asked.
func TestClose(t *testing.T) {
	w := start(t, nil, nil)
	gate := filepath.Join(t.TempDir(), "gate")
	answers := w.inFlight(func() (got, error) { return w.ask("POST", "/v1/x", "first="+gate+" body=last", "x") })
	closed := make(chan error, 1)
	go func() { closed <- w.Close() }()
	until(t, "the end of listening", func() bool {
		c, err := net.Dial("tcp", w.Addr())
		if err == nil {
			_ = c.Close()
		}
		return err != nil
	})
	select {
	case err := <-closed:
		t.Fatalf("closed while a call was under way: %v", err)
	default:
	}
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if g := answers()[0]; g.status != http.StatusOK || g.body != "first,last" {
		t.Errorf("in flight: %+v", g)
	}
	if err := <-closed; err != nil {
		t.Errorf("Close: %v", err)
	}
	if w.HandlerPID() != 0 {
		t.Error("the handler lives")
	}
	for _, r := range w.records() {
		if r.Event == "signal" {
			t.Errorf("the handler saw %s", r.Target)
		}
	}
}

func TestEndOfContextCloses(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	h, err := Start(ctx, Options{Root: appRoot(t, nil), Environ: []string{isHandler + "=1", recordFile + "=" + filepath.Join(t.TempDir(), "r")}})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	<-h.Done()
	if h.Err() != nil {
		t.Errorf("%v", h.Err())
	}
}

// One call that takes longer than a function may costs the process, and with
// it every other call. It is no crash.
func TestFunctionTimeout(t *testing.T) {
	for _, mode := range []Mode{Forward, Proxy} {
		t.Run(mode.String(), func(t *testing.T) {
			host := hostJSON(`"description":{"defaultExecutablePath":"bin/handler"},"enableForwardingHttpRequest":true,"enableProxyingHttpRequest":true`, `,"functionTimeout":"00:00:01"`)
			w := start(t, map[string]string{"host.json": host}, func(o *Options) { o.Mode = mode })
			if err := w.Ready(t.Context()); err != nil {
				t.Fatal(err)
			}
			pid := w.HandlerPID()
			for i, g := range w.inFlight(w.slow("POST", "a"), w.slow("PUT", "b"))() {
				if g.status != http.StatusInternalServerError {
					t.Errorf("call %d: %+v", i, g)
				}
			}
			until(t, "a new handler", func() bool { return w.HandlerPID() != 0 && w.HandlerPID() != pid })
			if g := w.mustAsk("GET", "/v1/x", "body=lives", ""); g.body != "lives" || w.Crashes() != 0 {
				t.Errorf("afterwards: %+v, %d crashes", g, w.Crashes())
			}
		})
	}
}
