package invoke

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"
)

// What the host wraps is answered in an envelope which has it tell the caller
// 500 and the switch.
func TestWrappedHTTPIsRefused(t *testing.T) {
	var log bytes.Buffer
	e := echo.New()
	RefuseWrapped(e, slog.New(slog.NewTextHandler(&log, nil)), "ingest", "query")
	s := httptest.NewServer(e)
	defer s.Close()
	body := `{"Data":{"req":{"Url":"http://127.0.0.1:7071/api/v1/telemetry","Method":"POST","Query":{},"Headers":{},"Params":{}}},"Metadata":{}}`
	for _, path := range []string{"/ingest", "/query"} {
		status, header, text := call(t, s.URL, chunked("POST "+path, body))
		var got struct {
			Outputs struct {
				Res struct {
					StatusCode int
					Body       string
				}
			}
			Logs []string
		}
		if err := json.Unmarshal([]byte(text), &got); err != nil || status != 200 || header.Get("Content-Type") != "application/json" {
			t.Error(status, header, text, err)
		}
		if r := got.Outputs.Res; r.StatusCode != 500 || !strings.Contains(r.Body, `"code":"host_setting"`) || !strings.Contains(r.Body, "enableForwardingHttpRequest") {
			t.Error(text)
		}
		if len(got.Logs) != 1 || !strings.Contains(got.Logs[0], "enableForwardingHttpRequest") {
			t.Error(got.Logs)
		}
	}
	if n := strings.Count(log.String(), "enableForwardingHttpRequest"); n != 1 {
		t.Error("logged", n, "times:", log.String())
	}
	if status, _, text := call(t, s.URL, chunked("POST /ingest", "{}", "X-Forwarded-For: 1")); status != 404 {
		t.Error("someone's own POST /ingest:", status, text)
	}
}
