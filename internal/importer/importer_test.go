package importer

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// service takes batches as the real one does (handler's tests import into that)
// and lets a test decide what goes wrong.
type service struct {
	*httptest.Server
	// fault may answer a batch in place of the service; true: it did.
	fault func(w http.ResponseWriter, batch int, lines []string) bool

	mu      sync.Mutex
	batches int
	taken   []string
}

func newService(t *testing.T) *service {
	s := &service{fault: func(http.ResponseWriter, int, []string) bool { return false }}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("POST /api/v1/telemetry", s.take)
	mux.HandleFunc("POST /api/v1/devices/{id}/telemetry", s.take)
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

func (s *service) take(w http.ResponseWriter, r *http.Request) {
	var lines []string
	for scan := bufio.NewScanner(r.Body); scan.Scan(); {
		lines = append(lines, r.PathValue("id")+scan.Text())
	}
	s.mu.Lock()
	s.batches++
	batch := s.batches
	s.mu.Unlock()
	if s.fault(w, batch, lines) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken = append(s.taken, lines...)
	fmt.Fprintf(w, `{"accepted":%d,"rejected":0,"errors":[]}`, len(lines))
}

// wrote makes a CSV file of rows readings of devices.
func wrote(t *testing.T, rows, devices int) string {
	var b strings.Builder
	b.WriteString("ts,device,v\n")
	for i := range rows {
		fmt.Fprintf(&b, "%d,d%d,%d\n", 1700000000+i, i%devices, i)
	}
	name := filepath.Join(t.TempDir(), "x.csv")
	if err := os.WriteFile(name, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func config(s *service, files ...string) Config {
	return Config{Files: files, URL: s.URL, Batch: 10, Concurrency: 4, GiveUp: 10 * time.Second, Stderr: io.Discard, Client: s.Client()}
}

func numbers(t *testing.T, lines []string) (byDevice map[string][]int, all map[int]int) {
	byDevice, all = map[string][]int{}, map[int]int{}
	for _, l := range lines {
		var m struct {
			DeviceID string
			Metrics  struct{ V int }
		}
		if err := json.Unmarshal([]byte(l), &m); err != nil {
			t.Fatal(l, err)
		}
		byDevice[m.DeviceID] = append(byDevice[m.DeviceID], m.Metrics.V)
		all[m.Metrics.V]++
	}
	return byDevice, all
}

func TestEachDeviceInOrder(t *testing.T) {
	s := newService(t)
	s.fault = func(w http.ResponseWriter, batch int, _ []string) bool {
		time.Sleep(time.Duration(batch*7%5) * time.Millisecond)
		if batch%40 != 4 {
			return false
		}
		w.WriteHeader(http.StatusBadGateway)
		return true
	}
	sum, err := Run(t.Context(), config(s, wrote(t, 1000, 7)))
	if err != nil || sum.Accepted != 1000 || sum.Rejected != 0 {
		t.Fatal(sum, err)
	}
	byDevice, all := numbers(t, s.taken)
	if len(byDevice) != 7 || len(all) != 1000 {
		t.Error(len(byDevice), len(all))
	}
	for device, got := range byDevice {
		for i := range got[1:] {
			if got[i+1] <= got[i] {
				t.Errorf("%s: %d after %d", device, got[i+1], got[i])
			}
		}
	}
}

func TestTriesAgain(t *testing.T) {
	for name, fault := range map[string]func(w http.ResponseWriter){
		"503":      func(w http.ResponseWriter) { w.WriteHeader(503) },
		"429":      func(w http.ResponseWriter) { w.WriteHeader(429) },
		"408":      func(w http.ResponseWriter) { w.WriteHeader(408) },
		"no reply": func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
		"cut":      func(w http.ResponseWriter) { w.Header().Set("Content-Length", "99"); fmt.Fprint(w, `{"accepted":10`) },
		"one by one": func(w http.ResponseWriter) {
			w.WriteHeader(400)
			fmt.Fprint(w, `{"accepted":9,"rejected":1,"errors":[{"index":0,"code":"rate_limited","message":"m","retryable":true}]}`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newService(t)
			s.fault = func(w http.ResponseWriter, batch int, _ []string) bool {
				if batch != 2 {
					return false
				}
				fault(w)
				return true
			}
			sum, err := Run(t.Context(), config(s, wrote(t, 45, 1)))
			if _, all := numbers(t, s.taken); err != nil || sum.Accepted != 45 || sum.Rejected != 0 || len(all) != 45 || s.batches != 6 {
				t.Error(sum, err, len(all), s.batches)
			}
		})
	}
}

// A body with more of a device than its rate ever lets through at once is sent in
// halves until it does.
func TestMoreThanARate(t *testing.T) {
	s := newService(t)
	s.fault = func(w http.ResponseWriter, _ int, lines []string) bool {
		if len(lines) <= 5 {
			return false
		}
		w.Header().Set("Retry-After", "1")
		fmt.Fprintf(w, `{"accepted":5,"rejected":%d,"errors":[{"index":5,"code":"rate_limited","message":"m","retryable":true}]}`, len(lines)-5)
		return true
	}
	sum, err := Run(t.Context(), config(s, wrote(t, 10, 1)))
	if _, all := numbers(t, s.taken); err != nil || sum.Accepted != 10 || sum.Rejected != 0 || len(all) != 10 {
		t.Error(sum, err, len(all))
	}
}

func TestObeysRetryAfter(t *testing.T) {
	s := newService(t)
	var asked time.Time
	s.fault = func(w http.ResponseWriter, batch int, _ []string) bool {
		if batch == 2 && time.Since(asked) < time.Second {
			t.Error("came back after", time.Since(asked))
		}
		if batch > 1 {
			return false
		}
		asked = time.Now()
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(503)
		return true
	}
	if sum, err := Run(t.Context(), config(s, wrote(t, 5, 1))); err != nil || sum.Accepted != 5 {
		t.Error(sum, err)
	}
	date := &http.Response{Header: http.Header{"Retry-After": {time.Unix(100, 0).UTC().Format(http.TimeFormat)}}}
	if got := retryAfter(date, time.Unix(90, 0)); got != 10*time.Second {
		t.Error("date:", got)
	}
}

func TestTooLargeIsHalved(t *testing.T) {
	s := newService(t)
	s.fault = func(w http.ResponseWriter, _ int, lines []string) bool {
		if len(lines) < 4 && !strings.Contains(strings.Join(lines, ""), `"v":13}`) {
			return false
		}
		w.WriteHeader(413)
		fmt.Fprint(w, `{"error":{"code":"body_too_large","message":"too much"}}`)
		return true
	}
	sum, err := Run(t.Context(), config(s, wrote(t, 25, 1)))
	_, all := numbers(t, s.taken)
	if err != nil || sum.Accepted != 24 || sum.Rejected != 1 || len(all) != 24 || all[13] != 0 {
		t.Error(sum, err, len(all))
	}
	if len(sum.Reasons) != 1 || !strings.Contains(sum.Reasons[0], "line 15: ") || !strings.Contains(sum.Reasons[0], "too much") {
		t.Error(sum.Reasons)
	}
}

func TestRejectedAreToldByLine(t *testing.T) {
	s := newService(t)
	s.fault = func(w http.ResponseWriter, batch int, lines []string) bool {
		if batch != 2 {
			return false
		}
		fmt.Fprintf(w, `{"accepted":%d,"rejected":3,"errors":[{"index":4,"code":"timestamp_too_old","message":"it is"}]}`, len(lines)-3)
		return true
	}
	sum, err := Run(t.Context(), config(s, wrote(t, 30, 1)))
	if err != nil || sum.Accepted != 27 || sum.Rejected != 3 || len(sum.Reasons) != 1 || !strings.HasSuffix(sum.Reasons[0], "x.csv, line 16: timestamp_too_old: it is") {
		t.Error(sum, err)
	}
}

func TestEndsWhereItCannotGoOn(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		body   string
		want   string
	}{
		"credentials":    {401, `{"error":{"code":"unauthorized","message":"say who you are"}}`, "401 Unauthorized, unauthorized: say who you are"},
		"no such path":   {404, "", "404"},
		"not a verdict":  {200, "<html>", "200 OK"},
		"some forgotten": {200, `{"accepted":1,"rejected":0,"errors":[]}`, "judged 1 readings of 10"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newService(t)
			s.fault = func(w http.ResponseWriter, batch int, _ []string) bool {
				if batch < 3 {
					return false
				}
				w.WriteHeader(c.status)
				fmt.Fprint(w, c.body)
				return true
			}
			sum, err := Run(t.Context(), config(s, wrote(t, 100, 1)))
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "--from-line 22") || sum.Accepted != 20 {
				t.Error(sum, err)
			}
		})
	}
}

func TestGivesUp(t *testing.T) {
	s := newService(t)
	s.fault = func(w http.ResponseWriter, _ int, _ []string) bool { w.WriteHeader(503); return true }
	c := config(s, wrote(t, 5, 1))
	c.GiveUp = 300 * time.Millisecond
	if _, err := Run(t.Context(), c); err == nil || !strings.Contains(err.Error(), "given up after 300ms: the service answers 503") {
		t.Error(err)
	}
	s.Close()
	if _, err := Run(t.Context(), c); err == nil || !strings.Contains(err.Error(), "no service answers at") {
		t.Error(err)
	}
}

// Stopped anywhere and begun again, nothing is left out.
func TestGoesOn(t *testing.T) {
	for _, way := range []string{"resume", "from-line"} {
		t.Run(way, func(t *testing.T) {
			s := newService(t)
			c := config(s, wrote(t, 500, 5))
			if way == "resume" {
				c.Resume = filepath.Join(t.TempDir(), "state")
			}
			runs := 0
			for ; ; runs++ {
				ctx, stop := context.WithCancel(t.Context())
				s.fault = func(_ http.ResponseWriter, batch int, _ []string) bool {
					if batch%11 == 10 {
						stop()
						time.Sleep(20 * time.Millisecond)
					}
					return false
				}
				_, err := Run(ctx, c)
				stop()
				if err == nil {
					break
				}
				if !errors.Is(err, errInterrupted) || runs > 60 {
					t.Fatal(runs, err)
				}
				if way == "from-line" {
					_, after, _ := strings.Cut(err.Error(), "--from-line ")
					if _, scanErr := fmt.Sscan(after, &c.FromLine); scanErr != nil {
						t.Fatal(err)
					}
				}
			}
			_, all := numbers(t, s.taken)
			if len(all) != 500 || runs < 3 || len(s.taken) > 1500 {
				t.Error(len(all), "after", runs, "runs,", len(s.taken), "sent")
			}
			if way == "resume" {
				sum, err := Run(t.Context(), c)
				if err != nil || sum.Accepted != 0 {
					t.Error("sent again what was done:", sum, err)
				}
			}
		})
	}
}

func TestResumeRefusesAChangedFile(t *testing.T) {
	s := newService(t)
	c := config(s, wrote(t, 5, 1))
	c.Resume = filepath.Join(t.TempDir(), "state")
	if _, err := Run(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(c.Files[0], []byte("ts,device,v\n1,a,1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Run(t.Context(), c); err == nil || !strings.Contains(err.Error(), "changed since") {
		t.Error(err)
	}
	c.Files = []string{"-"}
	if _, err := Run(t.Context(), c); err == nil || !strings.Contains(err.Error(), "standard input") {
		t.Error(err)
	}
	if err := os.WriteFile(c.Resume, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Run(t.Context(), c); err == nil || !strings.Contains(err.Error(), "not a file that --resume wrote") {
		t.Error(err)
	}
}

func TestNDJSONOfOneDevice(t *testing.T) {
	s := newService(t)
	c := config(s, "-")
	c.Mapping.Device, c.Stdin = "pump 7", strings.NewReader("{\"ts\":1,\"v\":2}\n{\"v\":3}\n")
	sum, err := Run(t.Context(), c)
	if err != nil || sum.Accepted != 1 || sum.Rejected != 1 || len(s.taken) != 1 || s.taken[0] != `pump 7{"ts":1,"v":2}` {
		t.Error(sum, err, s.taken)
	}
}

func TestWrongConfig(t *testing.T) {
	for _, change := range []func(*Config){
		func(c *Config) { c.Files = nil },
		func(c *Config) { c.Files = []string{t.TempDir()} },
		func(c *Config) { c.Files = []string{"does-not-exist.csv"} },
		func(c *Config) { c.Format = "xml" },
		func(c *Config) { c.Batch = 0 },
		func(c *Config) { c.Concurrency = 65 },
		func(c *Config) { c.URL = "127.0.0.1:8080" },
		func(c *Config) { c.URL = "ftp://x" },
		func(c *Config) { c.FromLine, c.Resume = 7, "x" },
	} {
		s := newService(t)
		c := config(s, wrote(t, 1, 1))
		change(&c)
		if _, err := Run(t.Context(), c); err == nil || s.batches > 0 {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
