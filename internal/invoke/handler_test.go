package invoke

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"

	"sluice/internal/httperr"
)

const timerCall = `{"Data":{"timer":{"IsPastDue":false}},"Metadata":{"sys":{"MethodName":"compact"}}}`

// server serves one function; run is what it does.
func server(t *testing.T, underHost bool, run func(context.Context, Envelope) ([]string, error)) string {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	e := echo.New()
	e.HTTPErrorHandler = httperr.Handler(log)
	Function{Name: "compact", Limit: 1 << 10, Run: run}.Register(e, underHost, log)
	s := httptest.NewServer(e)
	t.Cleanup(s.Close)
	return s.URL
}

func did(lines ...string) func(context.Context, Envelope) ([]string, error) {
	return func(context.Context, Envelope) ([]string, error) { return lines, nil }
}

// call sends a request to the byte, and returns the status and the body.
func call(t *testing.T, url, request string) (int, http.Header, string) {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, r.Header, strings.TrimSpace(string(text))
}

// chunked is a call as the host writes it.
func chunked(line, body string, headers ...string) string {
	return line + " HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Azure-Functions-InvocationId: 1\r\nTransfer-Encoding: chunked\r\n" +
		"Content-Type: application/json; charset=utf-8\r\nConnection: close\r\n" + strings.Join(append(headers, ""), "\r\n") + "\r\n" + chunk(body)
}

func TestDone(t *testing.T) {
	for _, underHost := range []bool{true, false} {
		url := server(t, underHost, did("merged 7"))
		status, header, body := call(t, url, chunked("POST /compact", timerCall))
		if status != 200 || header.Get("Content-Type") != "application/json" || body != `{"Outputs":{},"Logs":["merged 7"],"ReturnValue":null}` {
			t.Error(underHost, status, header, body)
		}
	}
}

func TestFailures(t *testing.T) {
	for name, c := range map[string]struct {
		body string
		run  func(context.Context, Envelope) ([]string, error)
		want string
	}{
		"work":            {timerCall, func(context.Context, Envelope) ([]string, error) { return nil, errors.New("store away") }, `"code":"invocation_failed","message":"store away"`},
		"panic":           {timerCall, func(context.Context, Envelope) ([]string, error) { panic("out of range") }, `"code":"invocation_failed","message":"compact panicked: out of range"`},
		"broken envelope": {`{"Data":`, did(), `"code":"invalid_envelope","message":"broken envelope: `},
		"no envelope":     {"", did(), `"code":"invalid_envelope"`},
		"too large":       {`{"Data":{"timer":{}},"x":"` + strings.Repeat("x", 1<<10) + `"}`, did(), `over 1024 bytes`},
		"long reason":     {timerCall, func(context.Context, Envelope) ([]string, error) { return nil, errors.New(strings.Repeat("x", 1<<20)) }, `xxx"`},
	} {
		url := server(t, true, c.run)
		status, _, body := call(t, url, chunked("POST /compact", c.body))
		if status != 500 || !strings.Contains(body, c.want) || len(body) > 4<<10 {
			t.Errorf("%s: %d, %d bytes: %.200s", name, status, len(body), body)
		}
	}
}

// A function that can do nothing says so of any call, whatever it holds.
func TestNotReady(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	e := echo.New()
	e.HTTPErrorHandler = httperr.Handler(log)
	Function{
		Name: "compact", Limit: 1 << 20, Ready: func() error { return errors.New("store away") },
		Run: func(context.Context, Envelope) ([]string, error) {
			t.Error("it ran")
			return nil, nil
		},
	}.Register(e, true, log)
	s := httptest.NewServer(e)
	defer s.Close()
	for _, body := range []string{timerCall, "no envelope", strings.Repeat("x", 2<<20)} {
		status, _, text := call(t, s.URL, chunked("POST /compact", body))
		if status != 500 || !strings.Contains(text, `"code":"invocation_failed","message":"store away"`) {
			t.Errorf("%.20q: %d %s", body, status, text)
		}
	}
}

// Under the host only its own calls reach the trigger; others get what any
// unknown path gets.
func TestForged(t *testing.T) {
	url := server(t, true, func(context.Context, Envelope) ([]string, error) {
		t.Error("a forged call reached the trigger")
		return nil, nil
	})
	lengthy := func(line string, headers ...string) string {
		return line + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n" + strings.Join(append(headers, ""), "\r\n") + "\r\n{}"
	}
	_, _, unknown := call(t, url, lengthy("POST /nothing"))
	for _, request := range []string{
		lengthy("POST /compact"),
		lengthy("POST /compact", "X-Azure-Functions-InvocationId: 1"),
		chunked("POST /compact", timerCall, "X-Forwarded-For: 203.0.113.7"),
		chunked("POST /compact", timerCall, "x-forwarded-for:"),
		"POST /compact HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
		"POST /compact HTTP/1.0\r\n\r\n",
		chunked("POST /%63ompact", timerCall), chunked("POST /compact/", timerCall), chunked("POST //compact", timerCall),
		chunked("POST /compact%2F", timerCall), chunked("POST /compact%5C", timerCall), chunked("POST /Compact", timerCall),
		chunked("POST /./compact", timerCall), chunked("POST /x/../compact", timerCall), chunked("POST /%2Fcompact", timerCall),
		chunked("POST /compact%00", timerCall), chunked("POST /compact%20", timerCall), chunked("POST /compact;x", timerCall),
		chunked("GET /compact", timerCall), chunked("PUT /compact", timerCall), chunked("OPTIONS /compact", timerCall),
	} {
		if status, _, body := call(t, url, request); status != 404 || body != unknown {
			t.Errorf("%.40q: %d %s, want 404 %s", request, status, body, unknown)
		}
	}
}

func TestAlone(t *testing.T) {
	url := server(t, false, did())
	if status, _, body := call(t, url, "POST /compact HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Forwarded-For: 1\r\nContent-Length: "+
		strconv.Itoa(len(timerCall))+"\r\n\r\n"+timerCall); status != 200 {
		t.Error(status, body)
	}
	if status, header, _ := call(t, url, "GET /compact HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); status != 405 || header.Get("Allow") != "OPTIONS, POST" {
		t.Error(status, header)
	}
}

func chunk(body string) string {
	if body == "" {
		return "0\r\n\r\n"
	}
	return fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body), body)
}
