package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"sluice/deadletters"
	"sluice/internal/httperr"
	"sluice/store/storetest"
	"sluice/telemetry"
)

var lettersNoon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// lettersFixture is a service with dead letters only: three of JSON, of which the
// last is never right, and one of bytes.
type lettersFixture struct {
	*httptest.Server
	ids   []string // newest first
	right atomic.Bool
	fails atomic.Int32 // so many requests get 503
	panic atomic.Bool  // the newest letter cannot be judged
}

func newLetters(t *testing.T) *lettersFixture {
	t.Helper()
	f := &lettersFixture{}
	s := deadletters.New(&storetest.Memory{}, func() time.Time { return lettersNoon })
	letter := func(n int, code telemetry.Code, body string) deadletters.Letter {
		return deadletters.Letter{
			Reason: telemetry.Refusal{Code: code, Message: "not as it should be"}, Rejected: 1, Body: []byte(body), Device: "pump-7",
			Source: deadletters.Source{Hub: "telemetry", Partition: "3", Sequence: int64(n), Enqueued: lettersNoon.Add(time.Duration(n) * time.Second)},
		}
	}
	all := []deadletters.Letter{
		letter(1, telemetry.InvalidJSON, "{"), letter(2, telemetry.InvalidJSON, "[1"), letter(3, telemetry.InvalidJSON, "never"),
		letter(4, "unsupported_version", "\x1b[31m\x00\xff"),
	}
	if err := s.Put(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	kept, _, err := s.List(t.Context(), 10, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range kept {
		f.ids = append(f.ids, l.ID)
	}
	e := echo.New()
	e.HTTPErrorHandler = httperr.Handler(slog.New(slog.NewTextHandler(io.Discard, nil)))
	deadletters.NewAPI(s, f).Register(e)
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if f.fails.Add(-1) >= 0 {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		e.ServeHTTP(w, r)
	}))
	t.Cleanup(f.Close)
	return f
}

// Replay implements deadletters.Replayer.
func (f *lettersFixture) Replay(_ context.Context, l deadletters.Letter) (deadletters.Verdicts, error) {
	switch {
	case f.panic.Load() && l.ID == f.ids[0]:
		return deadletters.Verdicts{}, errors.New("a fault of the service")
	case f.right.Load() && string(l.Body) != "never":
		return deadletters.Verdicts{Accepted: 1}, nil
	}
	return deadletters.Verdicts{Rejected: 1, Reason: telemetry.Refuse(telemetry.InvalidJSON, "still not")}, nil
}

// run runs the command and wants an exit code, and what it writes to match.
func (f *lettersFixture) run(t *testing.T, code int, stdout, stderr string, args ...string) string {
	t.Helper()
	var out, errOut bytes.Buffer
	got := Run(t.Context(), append([]string{"deadletters"}, append(args, "--url", f.URL)...), nil, strings.NewReader(""), &out, &errOut)
	if got != code || !regexp.MustCompile("(?s)^"+stdout+"$").MatchString(out.String()) || !regexp.MustCompile("(?s)^"+stderr+"$").MatchString(errOut.String()) {
		t.Errorf("%v: %d, want %d\n%s\nwant %s\n%s\nwant %s", args, got, code, out.String(), stdout, errOut.String(), stderr)
	}
	return out.String()
}

func TestDeadlettersList(t *testing.T) {
	f := newLetters(t)
	out := f.run(t, 0, `ID +ENQUEUED +PARTITION +SEQUENCE +SIZE +REASON\n.*`, `4 dead letters\n`, "list")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != 5 || !regexp.MustCompile(`^`+f.ids[0]+` +2026-11-24T12:00:04Z +3 +4 +7 +unsupported_version: not as it should be$`).MatchString(lines[1]) {
		t.Error(out)
	}
	f.run(t, 0, `ID[^\n]*\n`+f.ids[0]+`[^\n]*\n`+f.ids[1]+`[^\n]*\n`, `the newest 2, there are others .*`, "list", "--limit", "2")
	f.run(t, 0, `.*`+f.ids[1]+`.*`+f.ids[3]+`.*`, `3 dead letters\n`, "list", "--reason", "invalid_json", "--limit", "3")
	f.run(t, 0, `ID[^\n]*\n`, `0 dead letters\n`, "list", "--reason", "x", "--limit", "0")
}

func TestDeadlettersShow(t *testing.T) {
	f := newLetters(t)
	f.run(t, 0, `id +`+f.ids[0]+`\nreason +unsupported_version: not as it should be\nreadings refused +1\nreceived +2026-11-24T12:00:00Z\nhub +telemetry\n.*body +"\\x1b\[31m\\x00\\xff"\n`, ``,
		"show", f.ids[0])
	if body := f.run(t, 0, `.*`, ``, "show", "--body", f.ids[0]); body != "\x1b[31m\x00\xff" {
		t.Errorf("body %q", body)
	}
	f.run(t, 1, ``, `handler: unknown_dead_letter: no dead letter .*`, "show", "x")
}

func TestDeadlettersReplay(t *testing.T) {
	f := newLetters(t)
	f.run(t, 1, f.ids[0]+`: stays, 0 accepted, 1 rejected: invalid_json: still not\nreplayed 1 dead letter: 0 done, 1 stay, 0 failed\n`, ``, "replay", f.ids[0])
	f.right.Store(true)
	f.run(t, 0, `replayed 1 dead letter: 1 done, 0 stay, 0 failed\n`, ``, "replay", f.ids[3])
	f.run(t, 1, f.ids[1]+`: stays, .*\nreplayed 3 dead letters: 2 done, 1 stay, 0 failed\n`, ``, "replay", "--all")
	f.run(t, 0, `replayed 0 dead letters: 0 done, 0 stay, 0 failed\n`, ``, "replay", "--all", "--reason", "unsupported_version")
	f.run(t, 0, `ID.*\n`+f.ids[1]+`[^\n]*\n`, `1 dead letter\n`, "list")
}

func TestDeadlettersDrop(t *testing.T) {
	f := newLetters(t)
	f.run(t, 0, `dropped 1 dead letter, 0 failed\n`, ``, "drop", f.ids[0])
	f.run(t, 1, `x: fails: unknown_dead_letter: .*\ndropped 0 dead letters, 1 failed\n`, ``, "drop", "x")
	f.run(t, 0, `dropped 0 dead letters, 0 failed\n`, ``, "drop", "--all", "--reason", "unsupported_version")
	f.run(t, 0, `dropped 3 dead letters, 0 failed\n`, ``, "drop", "--all")
	f.run(t, 0, `ID[^\n]*\n`, `0 dead letters\n`, "list")
}

func TestDeadlettersArguments(t *testing.T) {
	f := newLetters(t)
	for _, c := range []struct {
		says string
		args []string
	}{
		{`handler: deadletters: takes ids, or --all\n`, []string{"replay"}},
		{`handler: deadletters: takes ids, or --all\n`, []string{"drop", "--all", f.ids[0]}},
		{`handler: --reason: goes with --all\n`, []string{"drop", "--reason", "x", f.ids[0]}},
		{`handler: --limit: -1: takes .*`, []string{"list", "--limit=-1"}},
		{`handler: .*`, []string{"show"}},
	} {
		f.run(t, 2, ``, c.says, c.args...)
	}
	if code := Run(t.Context(), []string{"deadletters", "list", "--url", "localhost:8080"}, nil, nil, io.Discard, io.Discard); code != 2 {
		t.Error(code)
	}
	if n := len(f.ids); n != 4 {
		t.Error(n)
	}
	f.run(t, 0, `.*`, `4 dead letters\n`, "list")
}

// A service that is away for a while is waited for; one that stays away ends the
// command with what it had done; a letter at which the service fails does not hold up
// the others.
func TestDeadlettersAndFaults(t *testing.T) {
	f := newLetters(t)
	f.right.Store(true)
	f.fails.Store(2)
	f.run(t, 0, `dropped 1 dead letter, 0 failed\n`, `waiting 1s: .*503.*waiting 1s.*`, "drop", f.ids[3])
	f.fails.Store(1000)
	f.run(t, 1, `dropped 0 dead letters, 0 failed\n`, `handler: given up after 500ms: .*503\n`, "drop", f.ids[3], "--give-up", "500ms")
	f.fails.Store(0)
	f.panic.Store(true)
	f.run(t, 1, f.ids[0]+`: fails: internal: .*\nreplayed 3 dead letters: 1 done, 1 stay, 1 failed\n`, `.*`, "replay", "--all")
	f.Close()
	f.run(t, 1, ``, `.*handler: given up after 300ms: .*refused.*`, "list", "--give-up", "300ms")
}

// Whoever stops it is told what was done.
func TestDeadlettersStopped(t *testing.T) {
	f := newLetters(t)
	ctx, cancel := context.WithCancel(t.Context())
	stopping := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodDelete && strings.Contains(r.URL.Path, f.ids[2]) {
			cancel()
			<-r.Context().Done()
			return
		}
		f.Config.Handler.ServeHTTP(w, r)
	}))
	defer stopping.Close()
	var out, errOut bytes.Buffer
	code := Run(ctx, []string{"deadletters", "drop", "--all", "--url", stopping.URL}, nil, nil, &out, &errOut)
	if code != 1 || out.String() != "dropped 2 dead letters, 0 failed\n" || !strings.Contains(errOut.String(), "stopped: ") {
		t.Errorf("%d %s %s", code, out.String(), errOut.String())
	}
}

// What answers as no service of ours does nothing to a terminal, and is no endless
// list.
func TestDeadlettersOfAStranger(t *testing.T) {
	answers := ""
	strange := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, answers) }))
	defer strange.Close()
	for _, c := range []struct{ answers, says string }{
		{`{"deadletters":[],"next":"a"}`, "the same page again"},
		{`<html>`, "no answer of a Sluice service"},
		{`{"deadletters":[{"id":"\u001b[2J","reason":{"message":"\u001b]0;x\u0007"}}],"next":null}`, "1 dead letter\n"},
	} {
		answers = c.answers
		var out, errOut bytes.Buffer
		_ = Run(t.Context(), []string{"deadletters", "list", "--url", strange.URL}, nil, nil, &out, &errOut)
		if !strings.Contains(errOut.String(), c.says) || strings.ContainsAny(out.String()+errOut.String(), "\x1b\x07") {
			t.Errorf("%s: %q %q", c.answers, out.String(), errOut.String())
		}
	}
}
