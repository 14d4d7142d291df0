package main

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"

	"sluice/internal/settings"
)

// asked is what a browser is told: of an answer, or of a preflight.
func asked(allowed settings.Origins, method, path string, header ...string) *httptest.ResponseRecorder {
	e := newEcho(slog.New(slog.DiscardHandler), impatient)
	e.Use(crossOrigin(allowed))
	(&life{}).routes(e, nil)
	e.POST("/api/v1/telemetry", func(c echo.Context) error { return c.String(200, "taken") })
	e.GET("/api/v1/devices", func(c echo.Context) error { return c.String(200, "listed") })
	e.DELETE("/api/v1/devices/:deviceId", func(c echo.Context) error { return c.NoContent(202) })
	r := httptest.NewRequest(method, path, strings.NewReader("{}"))
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	e.ServeHTTP(w, r)
	return w
}

func TestCrossOrigin(t *testing.T) {
	const dash, telemetry, devices = "https://dash.example.com", "/api/v1/telemetry", "/api/v1/devices"
	some := settings.Origins{dash, "http://localhost:3000"}
	for _, c := range []struct {
		name         string
		allowed      settings.Origins
		method, path string
		origin       string
		preflight    bool
		status       int
		allow        string
	}{
		{"no page", nil, "POST", telemetry, "", false, 200, ""},
		{"a page that may read, but see nothing", nil, "GET", devices, dash, false, 200, ""},
		{"a form of another site", nil, "POST", telemetry, dash, false, 403, ""},
		{"a page without an origin", nil, "POST", telemetry, "null", false, 403, ""},
		{"our own page", nil, "POST", telemetry, "http://example.com", false, 200, ""},
		{"preflight, nobody may", nil, "OPTIONS", telemetry, dash, true, 204, ""},
		{"allowed", some, "POST", telemetry, dash, false, 200, dash},
		{"allowed, written in another way", some, "POST", telemetry, "HTTPS://DASH.example.com", false, 200, "HTTPS://DASH.example.com"},
		{"allowed, reads", some, "GET", devices, "http://localhost:3000", false, 200, "http://localhost:3000"},
		{"allowed, preflight", some, "OPTIONS", telemetry, dash, true, 204, dash},
		{"allowed, preflight of no path", some, "OPTIONS", "/nope", dash, true, 204, dash},
		{"allowed, but no preflight", some, "OPTIONS", telemetry, dash, false, 204, dash},
		{"another port", some, "POST", telemetry, "http://localhost:3001", false, 403, ""},
		{"a name that goes on", some, "POST", telemetry, dash + ".evil.example", false, 403, ""},
		{"another one's preflight", some, "OPTIONS", telemetry, "https://evil.example", true, 204, ""},
		{"anyone", settings.Origins{"*"}, "POST", telemetry, "https://evil.example", false, 200, "*"},
		{"anyone, preflight", settings.Origins{"*"}, "OPTIONS", telemetry, "null", true, 204, "*"},
	} {
		header := []string{"Content-Type", "text/plain"}
		if c.origin != "" {
			header = append(header, "Origin", c.origin)
		}
		if c.preflight {
			header = append(header, "Access-Control-Request-Method", "POST")
		}
		w := asked(c.allowed, c.method, c.path, header...)
		h := w.Header()
		if w.Code != c.status || h.Get("Access-Control-Allow-Origin") != c.allow {
			t.Errorf("%s: %d %v", c.name, w.Code, h)
		}
		if h.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%s: browsers are asked for credentials of their own", c.name)
		}
		if varies := strings.Contains(strings.Join(h.Values("Vary"), ","), "Origin"); varies != (len(c.allowed) == 2) {
			t.Errorf("%s: Vary %q", c.name, h.Values("Vary"))
		}
		if c.status == 204 && c.preflight && c.allow != "" && (!strings.Contains(h.Get("Access-Control-Allow-Headers"), "Authorization") || !strings.Contains(h.Get("Access-Control-Allow-Methods"), "DELETE")) {
			t.Errorf("%s: %v", c.name, h)
		}
		if c.allow == "" && h.Get("Access-Control-Allow-Methods") != "" {
			t.Errorf("%s: %v", c.name, h)
		}
		if c.status == 403 && !strings.Contains(w.Body.String(), `"cross_origin"`) {
			t.Errorf("%s: %s", c.name, w.Body)
		}
	}
}

// A browser tells what kind of a page asks even where it hides the origin.
func TestAPageThatHidesItsOrigin(t *testing.T) {
	if w := asked(nil, "DELETE", "/api/v1/devices/pump-1", "Sec-Fetch-Site", "cross-site"); w.Code != 403 {
		t.Error(w.Code)
	}
	if w := asked(nil, "DELETE", "/api/v1/devices/pump-1", "Sec-Fetch-Site", "same-origin"); w.Code != 202 {
		t.Error(w.Code)
	}
}

func TestSafeHeaders(t *testing.T) {
	for path, policy := range map[string]string{
		"/api/v1/devices": "default-src 'none'; frame-ancestors 'none'", "/nope": "default-src 'none'; frame-ancestors 'none'",
		"/": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; style-src 'sha256-",
	} {
		h := asked(nil, http.MethodGet, path).Header()
		if got := h.Get("Content-Security-Policy"); !strings.HasPrefix(got, policy) || h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%s: %v", path, h)
		}
	}
	if strings.Contains(string(home), "<script") || strings.Contains(string(home), "style=") {
		t.Error("the start page has what its policy does not allow")
	}
}

// The hash is that of the sheet as a browser reckons it: of what stands between
// the tags, to the byte.
func TestPagePolicy(t *testing.T) {
	got := pagePolicy([]byte("<p>x</p><style>a{}</style><style>b{}\n</style>"))
	want := "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; style-src 'sha256-X1RutGBrXCt9KkSaXMK7tHftWiRscFHOhxsS8tv8hBk=' 'sha256-wueFU3mQBLWwqgsvQ5OknNTOd3kPFGN1jqjBo1WTa/c='"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
