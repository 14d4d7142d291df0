package host

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

const quickTimeout = `,"functionTimeout":"00:00:01"`

func TestTriggerAnswers(t *testing.T) {
	w := start(t, nil, nil)
	for _, c := range []struct{ do, want string }{
		{"ok", ""},
		{"header=Content-Type:application/json status=201 body={}", ""},
		{"header=Content-Type:text/json;charset=utf-8 body={\"Logs\":null,\"More\":1}", ""},
		{"status=500", "status 500"},
		{"status=302", "status 302"},
		{"body={}", "content type"},
		{"header=Content-Type:text/plain body={}", "content type"},
		{"header=Content-Type:application/json body=[]", "no object"},
		{"header=Content-Type:application/json body=text", "no object"},
		{"header=Content-Type:application/json body={\"Logs\":\"x\"}", "no object"},
		{"header=Content-Type:application/json header=Content-Encoding:gzip body=\x1f\x8b", "no object"},
	} {
		w.setAnswer(c.do)
		err := w.Trigger(t.Context(), "manual")
		if c.want == "" && err != nil || c.want != "" && (!errors.Is(err, ErrInvocation) || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.do, err, c.want)
		}
	}
	if w.Crashes() != 0 {
		t.Errorf("%d crashes", w.Crashes())
	}
}

func FuzzResult(f *testing.F) {
	f.Add(200, "application/json", []byte(`{"Outputs":{"res":{"statusCode":"201","headers":{"A":"b"},"body":{"c":1}}},"Logs":["x"]}`))
	f.Add(204, "", []byte(nil))
	f.Add(500, "text/plain; charset=", []byte("null"))
	f.Fuzz(func(t *testing.T, status int, contentType string, body []byte) {
		r, err := readResult(&http.Response{StatusCode: status, Header: http.Header{"Content-Type": {contentType}}}, body)
		if (r == nil) != (err != nil) {
			t.Fatalf("%+v and %v", r, err)
		}
		if err != nil {
			return
		}
		if status < 200 || status > 299 || len(body) == 0 {
			t.Errorf("status %d with %q was taken", status, body)
		}
		_ = answerFrom(httptest.NewRecorder(), r, "res")
	})
}

// An answer without content never ends the call, so that the handler is killed
// for it.
func TestNoContentNeverCompletes(t *testing.T) {
	host := hostJSON(`"description":{"defaultExecutablePath":"bin/handler"}`, quickTimeout)
	for _, do := range []string{"status=204", "status=200", "header=Content-Type:application/json body=null"} {
		t.Run(do, func(t *testing.T) {
			w := start(t, map[string]string{"host.json": host}, nil)
			if err := w.Ready(t.Context()); err != nil {
				t.Fatal(err)
			}
			pid := w.HandlerPID()
			w.setAnswer(do)
			if err := w.Trigger(t.Context(), "manual"); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v", err)
			}
			until(t, "a new handler", func() bool { return w.HandlerPID() != 0 && w.HandlerPID() != pid })
			w.setAnswer("ok")
			if err := w.Trigger(t.Context(), "manual"); err != nil || w.Crashes() != 0 {
				t.Errorf("afterwards: %v, %d crashes", err, w.Crashes())
			}
		})
	}
}

// A trigger's call is taken away by a crash, and is not sent again.
func TestTriggerCrash(t *testing.T) {
	w := start(t, nil, nil)
	w.setAnswer("exit=1")
	if err := w.Trigger(t.Context(), "manual"); !errors.Is(err, ErrInvocation) {
		t.Errorf("%v", err)
	}
	if n := w.Deliveries("manual"); n != 1 {
		t.Errorf("%d deliveries", n)
	}
}

const everySecond = `{"bindings": [{"type": "timerTrigger", "direction": "in", "name": "timer", "schedule": "%EVERY%"}]}`

// Runs never overlap, whoever starts them, and one that comes by schedule has
// no state.
func TestTimer(t *testing.T) {
	w := start(t, map[string]string{"tick/function.json": everySecond, "manual": ""}, func(o *Options) {
		o.Settings = []string{"EVERY=* * * * * *"}
		o.Key = "k"
	})
	w.setAnswer("sleep=1300ms ok")
	until(t, "a run by schedule", func() bool { return w.Deliveries("tick") == 1 })
	if g := w.mustRaw("POST", "POST /admin/functions/tick HTTP/1.1\r\nHost: h\r\nX-Functions-Key: k\r\nContent-Length: 2\r\n\r\n{}"); g.status != http.StatusAccepted {
		t.Errorf("%+v", g)
	}
	if err := w.Trigger(t.Context(), "tick"); err != nil {
		t.Fatal(err)
	}
	until(t, "more runs", func() bool { return w.Deliveries("tick") >= 4 })
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	under, scheduled, byHand := 0, 0, 0
	for _, r := range w.records() {
		switch r.Event {
		case "":
			under++
			if strings.Contains(string(r.Body), `"ScheduleStatus":null`) {
				scheduled++
			} else {
				byHand++
			}
		case "done":
			under--
		}
		if under < 0 || under > 1 {
			t.Fatalf("%d runs at once", under)
		}
	}
	if under != 0 || scheduled == 0 || byHand == 0 {
		t.Errorf("%d runs did not end, %d by schedule, %d by hand", under, scheduled, byHand)
	}
}

// The next run of a timer that took too long starts at once, several that were
// missed as one.
func TestAfterOverrun(t *testing.T) {
	s, err := parseSchedule("0 * * * * *")
	if err != nil {
		t.Fatal(err)
	}
	at := func(minute, second int) time.Time { return time.Date(2026, 11, 24, 10, minute, second, 0, time.UTC) }
	for _, c := range []struct{ now, want time.Time }{
		{at(0, 30), at(1, 0)}, {at(1, 30), at(1, 30)}, {at(9, 1), at(9, 1)},
	} {
		if got := s.after(at(0, 0), c.now); !got.Equal(c.want) {
			t.Errorf("a run of 10:00 that ended %s: the next at %s, want %s", c.now, got, c.want)
		}
	}
}

const retried = `{
  "bindings": [{
    "type": "eventHubTrigger", "direction": "in", "name": "events", "eventHubName": "h", "connection": "HUB", "cardinality": "many", "dataType": "binary"
  }],
  "retry": {"strategy": "%s", "maxRetryCount": %d, "delayInterval": "00:00:00", "minimumInterval": "00:00:00", "maximumInterval": "00:00:01"}
}`

func TestRetryPolicy(t *testing.T) {
	policy := func(strategy, most string) map[string]string {
		return map[string]string{"consume_bin/function.json": strings.NewReplacer("%s", strategy, "%d", most).Replace(retried)}
	}
	w := start(t, policy("fixedDelay", "-1"), nil)
	w.setAnswer("failTwice")
	if err := w.TriggerEvents(t.Context(), "consume_bin", "0", recordedEvents(t)); err != nil {
		t.Fatal(err)
	}
	seen := w.requests()
	if len(seen) != 3 {
		t.Fatalf("%d deliveries", len(seen))
	}
	for i, want := range []string{
		`"RetryContext":{"RetryCount":0,"MaxRetryCount":-1,"Instance":null,"Exception":null,"State":{}},"sys"`,
		`"RetryContext":{"RetryCount":1,"MaxRetryCount":-1,`, `"RetryContext":{"RetryCount":2,"MaxRetryCount":-1,`,
	} {
		if !strings.Contains(string(seen[i].Body), want) || seen[i].header(invocationHeader) != seen[0].header(invocationHeader) {
			t.Errorf("delivery %d: %s, want %s", i, seen[i].Body, want)
		}
	}
	w = start(t, policy("exponentialBackoff", "1"), nil)
	w.setAnswer("status=500")
	if err := w.TriggerEvents(t.Context(), "consume_bin", "0", recordedEvents(t)); !errors.Is(err, ErrInvocation) || w.Deliveries("consume_bin") != 2 {
		t.Errorf("%v after %d deliveries", err, w.Deliveries("consume_bin"))
	}
}

func TestNoSuchFunction(t *testing.T) {
	w := start(t, map[string]string{"broken/function.json": strings.ReplaceAll(everySecond, "%EVERY%", "every day")}, func(o *Options) {
		o.Settings = []string{"AzureWebJobs.manual.Disabled=1"}
	})
	for _, name := range []string{"nothing", "ingest", "manual", "broken", "consume_bin"} {
		if err := w.Trigger(t.Context(), name); !errors.Is(err, ErrFunction) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := w.TriggerEvents(t.Context(), "manual", "0", nil); !errors.Is(err, ErrFunction) {
		t.Errorf("%v", err)
	}
}

// After Close no trigger is begun.
func TestTriggerAfterClose(t *testing.T) {
	w := start(t, nil, nil)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := w.Trigger(t.Context(), "manual"); !errors.Is(err, errClosing) {
		t.Errorf("%v", err)
	}
	if err := w.TriggerEvents(t.Context(), "consume_bin", "0", recordedEvents(t)); !errors.Is(err, errClosing) {
		t.Errorf("%v", err)
	}
}
