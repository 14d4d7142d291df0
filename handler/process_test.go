package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// binary is the program under test, built once.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "sluice")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "handler")
	if runtime.GOOS == "windows" {
		binary += ".exe"
	}
	build := exec.Command("go", "build", "-ldflags", "-X main.version=v-test", "-o", binary, ".")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// process is the program, running, as seen from outside.
type process struct {
	*exec.Cmd
	t      *testing.T
	url    string // without a slash at its end
	log    *logBook
	stderr bytes.Buffer
	exited chan struct{}
}

// command prepares the program with nothing but env in its environment.
func command(t *testing.T, env []string, args ...string) *process {
	p := &process{Cmd: exec.Command(binary, args...), t: t, log: &logBook{}, exited: make(chan struct{})}
	p.Dir = t.TempDir()
	p.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + p.Dir}, env...)
	p.Stdout, p.Stderr = p.log, &p.stderr
	return p
}

func (p *process) begin() {
	p.t.Helper()
	if err := p.Start(); err != nil {
		p.t.Fatal(err)
	}
	go func() {
		_ = p.Wait()
		close(p.exited)
	}()
	p.t.Cleanup(func() {
		_ = p.Process.Kill()
		<-p.exited
		if p.t.Failed() {
			p.t.Logf("its log:\n%s%s", p.log, &p.stderr)
		}
	})
}

// serving starts the program on a port of its own choice and returns when it
// is ready.
func serving(t *testing.T, env ...string) *process {
	t.Helper()
	p := command(t, append([]string{"SLUICE_ADDR=127.0.0.1:0", "SLUICE_RETENTION=forever"}, env...))
	p.begin()
	p.url = p.log.await(t, "ready").url
	return p
}

// code waits for the end and returns the exit code, -1 after a signal.
func (p *process) code() int {
	p.t.Helper()
	select {
	case <-p.exited:
		return p.ProcessState.ExitCode()
	case <-time.After(30 * time.Second):
		p.t.Fatal("the process did not end")
		return 0
	}
}

func (p *process) signal(s os.Signal) {
	p.t.Helper()
	if err := p.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// stop asks the process to stop, which it must do as it should.
func (p *process) stop() {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
	if code := p.code(); code != 0 {
		p.t.Fatalf("exit code %d after SIGTERM", code)
	}
}

// logBook is a log that can be waited on.
type logBook struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logBook) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logBook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// started is what the log says of a start.
type started struct{ url string }

// await waits for a message and returns what was logged before. Every line
// must be JSON.
func (l *logBook) await(t *testing.T, message string) (s started) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		text := l.String()
		for scan := bufio.NewScanner(strings.NewReader(text[:strings.LastIndexByte(text, '\n')+1])); scan.Scan(); {
			var line struct{ Msg, Address string }
			if err := json.Unmarshal(scan.Bytes(), &line); err != nil {
				t.Fatalf("a line of the log is not JSON: %s", scan.Text())
			}
			if line.Msg == "listening" {
				s.url = "http://" + line.Address
			}
			if line.Msg == message {
				return s
			}
		}
	}
	t.Fatalf("%q was not logged:\n%s", message, l)
	return s
}

// answer is a response, read.
type answer struct {
	status int
	header http.Header
	body   string
}

func do(t *testing.T, method, url, body string, header ...string) answer {
	t.Helper()
	a, err := try(t.Context(), method, url, body, header...)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func try(ctx context.Context, method, url, body string, header ...string) (answer, error) {
	r, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	// No Accept-Encoding of its own, and no connection that outlives the answer.
	client := http.Client{Transport: &http.Transport{DisableCompression: true, DisableKeepAlives: true}, Timeout: time.Minute}
	response, err := client.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return answer{response.StatusCode, response.Header, string(text)}, err
}

// want fails unless the answer has the status, and every text in its body.
func (a answer) want(t *testing.T, status int, texts ...string) {
	t.Helper()
	if a.status != status {
		t.Errorf("status %d, want %d: %s", a.status, status, a.body)
	}
	for _, text := range texts {
		if !strings.Contains(a.body, text) {
			t.Errorf("no %s in %s", text, a.body)
		}
	}
}

// count is how many readings of metric v a device has.
func count(t *testing.T, url, device string) int {
	t.Helper()
	a := do(t, "GET", url+"/api/v1/devices/"+device+"/aggregates?metric=v&agg=avg&step=all&from=2000-01-01T00:00:00Z&to=now", "")
	if a.status == http.StatusNotFound {
		return 0
	}
	var got struct {
		Series []struct{ Buckets []struct{ Count int } }
	}
	if err := json.Unmarshal([]byte(a.body), &got); err != nil || a.status != http.StatusOK {
		t.Fatal(a.status, a.body, errors.Join(err))
	}
	n := 0
	for _, s := range got.Series {
		for _, b := range s.Buckets {
			n += b.Count
		}
	}
	return n
}
