package deadletters_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/labstack/echo/v4"

	"sluice/deadletters"
	"sluice/internal/httperr"
	"sluice/store"
	"sluice/store/storetest"
	"sluice/telemetry"
)

var update = flag.Bool("update", false, "write the golden answers anew")

func server(s *deadletters.Store, r deadletters.Replayer) http.Handler {
	e := echo.New()
	e.HTTPErrorHandler = httperr.Handler(slog.New(slog.NewTextHandler(io.Discard, nil)))
	deadletters.NewAPI(s, r).Register(e)
	return e
}

func ask(h http.Handler, method, target string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, target, nil))
	return w
}

// goldenLetters are two events: JSON with one bad reading of three, and a block of
// a newer version.
func goldenLetters() []deadletters.Letter {
	return []deadletters.Letter{
		{
			Reason:   telemetry.Refusal{Code: telemetry.InvalidTimestamp, Message: `"ts": "yesterday" is not a time`},
			Rejected: 1, Device: "pump-7", ContentType: "application/json",
			Body:   []byte(`[{"ts":"yesterday","values":{"t":1}},{"t":2},{"t":3}]`),
			Source: deadletters.Source{Hub: "telemetry", Partition: "0", Sequence: 41, Enqueued: noon.Add(123 * time.Millisecond)},
		},
		{
			Reason:       telemetry.Refusal{Code: "unsupported_version", Message: "a block of version 9, this version reads up to 1"},
			PartitionKey: "s03", Body: []byte{0xff, 9, 1},
			Source: deadletters.Source{Hub: "telemetry", Partition: "3", Sequence: 7, Enqueued: noon.Add(time.Minute)},
		},
	}
}

// TestAnswers holds the answers against testdata/answers.txt: each call with its
// status and body. -update writes it.
func TestAnswers(t *testing.T) {
	s := deadletters.New(&storetest.Memory{}, func() time.Time { return noon.Add(time.Hour) })
	put(t, s, goldenLetters()...)
	all := list(t, s, 10)
	version, json := all[0].ID, all[1].ID
	verdicts := deadletters.Verdicts{
		Accepted: 2, Rejected: 1, Reason: &refusal, Errors: []deadletters.Verdict{{Index: 0, Refusal: refusal}},
	}
	h := server(s, judge(func(l deadletters.Letter) deadletters.Verdicts {
		if l.ID == version {
			return deadletters.Verdicts{Reason: &l.Reason}
		}
		return verdicts
	}))
	var out strings.Builder
	call := func(method, target string) {
		w := ask(h, method, target)
		fmt.Fprintf(&out, "%s %s\n%d %s\n%s\n", method, target, w.Code, w.Header().Get("Content-Type"), indent(w.Body.Bytes()))
	}
	const path = "/api/v1/deadletters"
	call("GET", path)
	call("GET", path+"?limit=1")
	call("GET", path+"?limit=1&cursor="+version)
	call("GET", path+"/"+json)
	call("GET", path+"/"+version)
	call("POST", path+"/"+version+"/replay")
	call("POST", path+"/"+json+"/replay")
	call("GET", path+"?cursor="+version)
	verdicts = deadletters.Verdicts{Accepted: 3}
	call("POST", path+"/"+json+"/replay")
	call("POST", path+"/"+json+"/replay")
	call("GET", path+"/"+json)
	call("DELETE", path+"/"+version)
	call("DELETE", path+"/"+version)
	call("POST", path+"/"+version+"/replay")
	call("GET", path)
	for _, target := range []string{"/x", "/019ab3c4d5e6-2a-0123456789abcdef01234567"} {
		call("GET", path+target)
		call("DELETE", path+target)
		call("POST", path+target+"/replay")
	}
	call("GET", path+"?limit=0")
	call("GET", path+"?limit=10001")
	call("GET", path+"?limit=1&limit=2")
	call("GET", path+"?cursor=x")
	call("GET", path+"?device=a")
	call("POST", path+"/x/replay?force=1")
	call("PUT", path+"/x")
	compareGolden(t, "testdata/answers.txt", out.String())
}

// indent makes JSON readable.
func indent(body []byte) string {
	var b bytes.Buffer
	if json.Indent(&b, body, "", "  ") != nil {
		return string(body)
	}
	return b.String()
}

func compareGolden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

// A body of 1 MiB of anything comes whole, and is not kept by who asked.
func TestShowLarge(t *testing.T) {
	s := deadletters.New(&storetest.Memory{}, func() time.Time { return noon })
	l, id := one(t, s, 1<<20)
	w := ask(server(s, nil), "GET", "/api/v1/deadletters/"+id)
	var got struct{ Body string }
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if body, err := base64.StdEncoding.DecodeString(got.Body); err != nil || !bytes.Equal(body, l.Body) || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("%d bytes: %v, %v", len(body), err, w.Header())
	}
}

// What a hub may say of times that do not exist is shown all the same.
func TestShowStrangeTimes(t *testing.T) {
	s := deadletters.New(&storetest.Memory{}, func() time.Time { return noon })
	l := event(1, 1)
	l.Source.Enqueued = time.UnixMilli(1 << 47)
	put(t, s, l)
	for _, target := range []string{"", "/" + list(t, s, 1)[0].ID} {
		if w := ask(server(s, nil), "GET", "/api/v1/deadletters"+target); w.Code != http.StatusOK || !json.Valid(w.Body.Bytes()) {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	}
}

// A store that is away, or who judges, asks to come again.
func TestStoreAway(t *testing.T) {
	away := false
	s := deadletters.New(storetest.NewFaultyRows(&storetest.Memory{}, func(storetest.Call) storetest.Verdict {
		if away {
			return storetest.Fail(store.ErrUnavailable)
		}
		return storetest.Pass()
	}), func() time.Time { return noon })
	_, id := one(t, s, 1)
	h := server(s, failing{store.ErrThrottled})
	check := func(method, target string) {
		t.Helper()
		w := ask(h, method, "/api/v1/deadletters"+target)
		if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
			t.Errorf("%s %s: %d %s", method, target, w.Code, w.Body)
		}
	}
	check("POST", "/"+id+"/replay")
	away = true
	check("POST", "/"+id+"/replay")
	check("DELETE", "/"+id)
	check("GET", "/"+id)
	check("GET", "")
}

// HEAD is GET without its body.
func TestHead(t *testing.T) {
	s := deadletters.New(&storetest.Memory{}, func() time.Time { return noon })
	_, id := one(t, s, 10)
	for _, target := range []string{"", "/" + id, "/x"} {
		head, get := ask(server(s, nil), "HEAD", "/api/v1/deadletters"+target), ask(server(s, nil), "GET", "/api/v1/deadletters"+target)
		if head.Code != get.Code {
			t.Errorf("HEAD %s: %d, GET: %d", target, head.Code, get.Code)
		}
	}
}

// What was cut says so.
func TestReplayOverHTTPOfWhatWasCut(t *testing.T) {
	s := deadletters.New(&storetest.Memory{}, func() time.Time { return noon })
	_, id := one(t, s, deadletters.MaxBody+1)
	w := ask(server(s, always(fine)), "POST", "/api/v1/deadletters/"+id+"/replay")
	if w.Code != http.StatusConflict || !strings.Contains(w.Body.String(), "dead_letter_cut") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
