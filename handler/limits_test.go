package main

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"

	"sluice/access/limit"
)

func TestDeviceRate(t *testing.T) {
	t.Parallel()
	p := serving(t, "SLUICE_DEVICE_RATE=1")
	var lines strings.Builder
	for i := range 61 {
		fmt.Fprintf(&lines, `{"deviceId":"loud","ts":%d,"metrics":{"v":1}}`+"\n", 1700000000+i)
	}
	a := do(t, "POST", p.url+"/api/v1/telemetry", lines.String(), "Content-Type", "application/x-ndjson")
	a.want(t, 200, `"accepted":60`, `"rejected":1`, `"code":"rate_limited"`, `"retryable":true`)
	if a.header.Get("RateLimit-Policy") != `"device-rate";q=60;qu="readings";w=60` || !strings.HasPrefix(a.header.Get("RateLimit"), `"device-rate";r=0;t=`) {
		t.Error(a.header)
	}
	a = do(t, "POST", p.url+"/api/v1/telemetry", lines.String(), "Content-Type", "application/x-ndjson")
	if a.status == 200 { // a second went by
		a.want(t, 200, `"accepted":`)
	} else {
		a.want(t, 429, `{"error":{"code":"rate_limited","message":"device \"loud\" is over its rate of 1 readings a second (device-rate): 0 of 60 are left`)
	}
	if a.header.Get("Retry-After") == "" {
		t.Error(a.header)
	}
	do(t, "POST", p.url+"/api/v1/telemetry", reading).want(t, 200)
	if n := count(t, p.url, "loud"); n < 60 {
		t.Error(n, "readings")
	}
	do(t, "GET", p.url+"/api/v1/status", "").want(t, 200, `"limits":{"deviceRate":1,`)

	free := serving(t, "SLUICE_DEVICE_RATE=0")
	if a := do(t, "POST", free.url+"/api/v1/telemetry", reading); a.header.Get("RateLimit") != "" {
		t.Error("no limit, and", a.header)
	}
}

// Limits go by the credential: that of a device is refused unread when its device
// has nothing left, admin is not limited, and without access control everybody is.
func TestRateByCredential(t *testing.T) {
	t.Parallel()
	p := serving(t, "SLUICE_DEVICE_RATE=1", "SLUICE_AUTH=on", "SLUICE_KEYS="+keyText("k1"))
	token := func(args ...string) []string {
		var out, errs strings.Builder
		args = append([]string{"token"}, args...)
		if code := Run(t.Context(), args, []string{"SLUICE_KEYS=" + keyText("k1")}, strings.NewReader(""), &out, &errs); code != 0 {
			t.Fatal(code, errs.String())
		}
		lines := strings.Fields(out.String())
		return []string{"Authorization", "Bearer " + lines[len(lines)-1]}
	}
	var body strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&body, `{"deviceId":"loud","ts":%d,"metrics":{"v":1}}`+"\n", 1700000000+i)
	}
	post := func(as []string) answer {
		t.Helper()
		return do(t, "POST", p.url+"/api/v1/telemetry", body.String(), append(as, "Content-Type", "application/x-ndjson")...)
	}
	own := token("--scope", "write", "--device", "loud")
	post(own).want(t, 200, `"accepted":6`, `"code":"rate_limited"`)
	if a := do(t, "POST", p.url+"/api/v1/telemetry", "not read", own...); a.status != 429 && a.status != 400 { // 400: a second went by
		t.Error(a.status, a.body)
	}
	for range 2 {
		post(token("--scope", "admin")).want(t, 200, `"accepted":1000`)
	}
}

// A credential has so many calls at once and no more; others, and those that are
// not bounded, go on.
func TestCallsOfOneCredential(t *testing.T) {
	t.Parallel()
	calls := limit.NewConcurrency(2)
	e := newEcho(slog.New(slog.DiscardHandler), impatient)
	e.Use(func(next echo.HandlerFunc) echo.HandlerFunc { // as access control does
		return func(c echo.Context) error {
			h := c.Request().Header
			caller := limit.Caller{Key: h.Get("Key"), Exempt: h.Get("Exempt") != ""}
			c.SetRequest(c.Request().WithContext(limit.WithCaller(c.Request().Context(), caller)))
			return next(c)
		}
	}, boundCallers(calls))
	arrived, leave := make(chan bool, 10), make(chan bool)
	e.POST("/hold", func(c echo.Context) error {
		arrived <- true
		<-leave
		return c.NoContent(204)
	})
	e.GET("/x", func(c echo.Context) error { return c.NoContent(204) })
	url := startServer(t, e)
	held := make(chan error, 2)
	for range 2 {
		go func() {
			a, err := try(t.Context(), "POST", url+"/hold", "", "Key", "a")
			if err == nil && a.status != 204 {
				err = fmt.Errorf("%v", a)
			}
			held <- err
		}()
		<-arrived
	}
	a := do(t, "GET", url+"/x", "", "Key", "a")
	a.want(t, 429, `"code":"too_many_calls"`, `2 calls with this credential are under way, none is left (concurrency)`)
	if a.header.Get("Retry-After") != "1" || a.header.Get("RateLimit") != `"concurrency";r=0` {
		t.Error(a.header)
	}
	do(t, "GET", url+"/x", "", "Key", "b").want(t, 204)
	do(t, "GET", url+"/x", "", "Key", "a", "Exempt", "yes").want(t, 204)
	do(t, "GET", url+"/x", "").want(t, 204)
	close(leave)
	for range 2 {
		if err := <-held; err != nil {
			t.Error(err)
		}
	}
	do(t, "GET", url+"/x", "", "Key", "a").want(t, 204)
}

func startServer(t *testing.T, h http.Handler) string {
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server.URL
}
