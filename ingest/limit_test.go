package ingest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"sluice/access/limit"
)

// limited makes a server on which a device may send one reading a second, 60 at
// once, and the time that its rates go by.
func limited(t *testing.T, store Store) (*Ingest, *echo.Echo, *time.Duration) {
	now := new(time.Duration)
	in, e := serve(t, store, Config{Rate: limit.NewRate(1, 1000, func() time.Duration { return *now })})
	return in, e, now
}

// some of a device, as a JSON array.
func batchOf(counts ...any) string {
	var b strings.Builder
	b.WriteByte('[')
	for i := 0; i < len(counts); i += 2 {
		for n := range counts[i+1].(int) {
			if b.Len() > 1 {
				b.WriteByte(',')
			}
			fmt.Fprintf(&b, `{"deviceId":%q,"ts":%d,"metrics":{"x":1}}`, counts[i], 1795406400+n)
		}
	}
	b.WriteByte(']')
	return b.String()
}

type limitedAnswer struct {
	status            int
	accepted          int
	rejected          int
	code              string // of the first error, or of all of it
	retryAfter, state string
}

func postTo(t *testing.T, e *echo.Echo, ctx context.Context, path, body string) limitedAnswer {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body)).WithContext(ctx)
	w := httptest.NewRecorder()
	e.ServeHTTP(w, r)
	var got struct {
		Accepted, Rejected int
		Errors             []struct {
			Code      string
			Retryable bool
		}
		Error struct{ Code string }
	}
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	a := limitedAnswer{w.Code, got.Accepted, got.Rejected, got.Error.Code, w.Header().Get("Retry-After"), w.Header().Get("RateLimit")}
	if len(got.Errors) > 0 {
		a.code = got.Errors[0].Code
		if want := a.code == "rate_limited"; got.Errors[0].Retryable != want {
			t.Errorf("%s is retryable: %v", a.code, !want)
		}
	}
	return a
}

func TestOverTheRate(t *testing.T) {
	store := newRecorder(8)
	in, e, now := limited(t, store)
	const telemetry, path = "/api/v1/telemetry", "/api/v1/devices/p1/telemetry"
	for _, c := range []struct {
		name       string
		after      time.Duration
		path, body string
		want       limitedAnswer
	}{
		{"within", 0, telemetry, batchOf("p1", 50), limitedAnswer{200, 50, 0, "", "", `"device-rate";r=10;pk=:cDE=:`}},
		{"the good of two devices are taken", 0, telemetry, batchOf("p1", 12, "p2", 3), limitedAnswer{200, 13, 2, "rate_limited", "12", `"device-rate";r=0;t=12;pk=:cDE=:`}},
		{"nothing left", 0, telemetry, batchOf("p1", 3), limitedAnswer{429, 0, 0, "rate_limited", "3", `"device-rate";r=0;t=3;pk=:cDE=:`}},
		{"nothing left, in the path, unread", 0, path, `no JSON at all`, limitedAnswer{429, 0, 0, "rate_limited", "1", `"device-rate";r=0;t=1;pk=:cDE=:`}},
		{"others go on", 0, telemetry, batchOf("p2", 3), limitedAnswer{200, 3, 0, "", "", `"device-rate";r=54;pk=:cDI=:`}},
		{"bad ones cost nothing", 0, telemetry, `[{"deviceId":"p2","metrics":{"":1}},{"deviceId":"p2","metrics":{"x":1}}]`, limitedAnswer{200, 1, 1, "invalid_metric", "", `"device-rate";r=53;pk=:cDI=:`}},
		{"nothing but bad ones and too many", 0, telemetry, `[{"deviceId":"p2","metrics":{"":1}},{"deviceId":"p1","metrics":{"x":1}}]`, limitedAnswer{429, 0, 0, "rate_limited", "1", `"device-rate";r=0;t=1;pk=:cDE=:`}},
		{"nothing but bad ones", 0, telemetry, `[{"deviceId":"p1","metrics":{"":1}}]`, limitedAnswer{400, 0, 1, "invalid_metric", "", ""}},
		{"as was asked for", 3 * time.Second, telemetry, batchOf("p1", 3), limitedAnswer{200, 3, 0, "", "", `"device-rate";r=0;pk=:cDE=:`}},
		{"more than there ever are", time.Hour, telemetry, batchOf("p1", 100), limitedAnswer{200, 60, 40, "rate_limited", "60", `"device-rate";r=0;t=60;pk=:cDE=:`}},
		{"devices by turns", time.Hour, telemetry, batchOf("p1", 1, "p3", 40, "p1", 59, "p3", 25, "p1", 1), limitedAnswer{200, 120, 6, "rate_limited", "60", `"device-rate";r=0;t=60;pk=:cDE=:`}}, // each has more than ever pass at once
		{"the same by turns, sent again until all of it was taken", 60 * time.Second, telemetry, batchOf("p1", 20, "p3", 30, "p1", 20, "p3", 30), limitedAnswer{200, 100, 0, "", "", `"device-rate";r=0;pk=:cDM=:`}},
		{"by turns, one too many", 30 * time.Second, telemetry, batchOf("p1", 25, "p3", 20, "p1", 26, "p3", 10), limitedAnswer{200, 80, 1, "rate_limited", "51", `"device-rate";r=0;t=51;pk=:cDE=:`}},
	} {
		*now += c.after
		if got := postTo(t, e, t.Context(), c.path, c.body); got != c.want {
			t.Errorf("%s:\ngot  %+v\nwant %+v", c.name, got, c.want)
		}
	}
	if n := in.Refused(); n != 2+3+1+1+40+6+1 {
		t.Errorf("%d are counted as refused", n)
	}
}

// The message names the limit and what is left.
func TestTheMessageNamesTheLimit(t *testing.T) {
	_, e, _ := limited(t, newRecorder(1))
	postTo(t, e, t.Context(), "/api/v1/telemetry", batchOf("p1", 60))
	w := do(e, "POST", "", "", strings.NewReader(batchOf("p1", 1)))
	want := whole(429, "rate_limited", `device "p1" is over its rate of 1 readings a second (device-rate): 0 of 60 are left, send them again in 1 s`)
	if got := fmt.Sprintf("%d %s", w.Code, strings.TrimSpace(w.Body.String())); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := w.Header().Get("RateLimit-Policy"); got != `"device-rate";q=60;qu="readings";w=60` {
		t.Error(got)
	}
}

func TestAdminIsNotLimited(t *testing.T) {
	_, e, _ := limited(t, newRecorder(8))
	admin := limit.WithCaller(t.Context(), limit.Caller{Key: "k", Exempt: true})
	for range 3 {
		if got := postTo(t, e, admin, "/api/v1/devices/p1/telemetry", strings.ReplaceAll(batchOf("p1", 60), `"deviceId":"p1",`, "")); got != (limitedAnswer{200, 60, 0, "", "", ""}) {
			t.Errorf("%+v", got)
		}
	}
	if got := postTo(t, e, t.Context(), "/api/v1/telemetry", batchOf("p1", 60)); got.accepted != 60 {
		t.Errorf("%+v: what an admin sends uses up a device's rate", got)
	}
}

// A device's own credential tells the device before the body does.
func TestACredentialOfOneDeviceIsRefusedUnread(t *testing.T) {
	_, e, _ := limited(t, newRecorder(8))
	own := limit.WithCaller(t.Context(), limit.Caller{Key: "k", Device: "p1"})
	postTo(t, e, own, "/api/v1/telemetry", batchOf("p1", 60))
	if got := postTo(t, e, own, "/api/v1/telemetry", "no JSON"); got.status != 429 {
		t.Errorf("%+v", got)
	}
}

// Readings that were not made durable by a fault of ours do not count: the client
// is told to send all of them again, and must be able to.
func TestFailuresCostNothing(t *testing.T) {
	store := newRecorder(8)
	broken := true
	store.fail = func(int, int) error {
		if broken {
			return errors.New("disk on fire")
		}
		return nil
	}
	_, e, _ := limited(t, store)
	for range 3 {
		if got := postTo(t, e, t.Context(), "/api/v1/telemetry", batchOf("p1", 30, "p2", 60)); got.status != 503 {
			t.Fatalf("%+v", got)
		}
	}
	broken = false
	if got := postTo(t, e, t.Context(), "/api/v1/telemetry", batchOf("p1", 60, "p2", 60)); got.accepted != 120 {
		t.Errorf("%+v", got)
	}
}

// Who hangs up has sent all the same: it may be durable yet.
func TestHangingUpDoesNotPay(t *testing.T) {
	store := newRecorder(8)
	ctx, hangUp := context.WithCancel(t.Context())
	store.hook = func(int) { hangUp() }
	store.took = 50 * time.Millisecond
	in, _, _ := limited(t, store)
	batch, err := in.decode(httptest.NewRequest(http.MethodPost, "/", strings.NewReader(batchOf("p1", 60))), "", in.room.body())
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := in.take(ctx, batch); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if g := in.cfg.Rate.Take("p1", 0); g.Left != 0 {
		t.Errorf("%d readings are left after the client hung up", g.Left)
	}
}
