package host

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The tests' custom handler is the tests' own binary, started with this in its
// environment. It records what it is sent into a file and does what a request's
// X-Do header, or for triggers a file, asks of it.
const (
	isHandler  = "STANDIN_TEST_HANDLER"
	recordFile = "STANDIN_TEST_RECORD"
	answerFile = "STANDIN_TEST_ANSWER" // a file with what to do for triggers
	startDoing = "STANDIN_TEST_START"  // what to do before listening
)

func TestMain(m *testing.M) {
	if os.Getenv(isHandler) != "" {
		os.Exit(serveAsHandler())
	}
	os.Exit(m.Run())
}

// record is a request as the handler saw it, or something else it noticed.
type record struct {
	Event   string // "start", "signal", "done"; "" for a request
	PID     int
	Method  string
	Target  string
	Headers [][2]string
	Chunked bool
	Body    []byte
	Env     []string
	Dir     string
}

func (r record) header(name string) string {
	for _, h := range r.Headers {
		if strings.EqualFold(h[0], name) {
			return h[1]
		}
	}
	return ""
}

type testHandler struct {
	mu  sync.Mutex
	out *os.File
}

func (h *testHandler) note(r record) {
	h.mu.Lock()
	defer h.mu.Unlock()
	r.PID = os.Getpid()
	if err := json.NewEncoder(h.out).Encode(r); err != nil {
		panic(err)
	}
}

func serveAsHandler() int {
	out, err := os.OpenFile(os.Getenv(recordFile), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	h := &testHandler{out: out}
	dir, _ := os.Getwd()
	h.note(record{Event: "start", Env: os.Environ(), Dir: dir})
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
	go func() {
		for s := range signals {
			h.note(record{Event: "signal", Target: s.String()})
		}
	}()
	fmt.Println("handler starts")
	fmt.Fprintln(os.Stderr, "a Warning of it")
	fmt.Fprintln(os.Stderr, "a failure of it")
	act(nil, nil, os.Getenv(startDoing))
	l, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv("FUNCTIONS_CUSTOMHANDLER_PORT"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Fprintln(os.Stderr, (&http.Server{Handler: h, DisableGeneralOptionsHandler: true}).Serve(l))
	return 1
}

func (h *testHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		h.note(record{Event: "broken", Target: r.RequestURI})
		return
	}
	seen := record{Method: r.Method, Target: r.RequestURI, Body: body, Chunked: slices.Contains(r.TransferEncoding, "chunked")}
	seen.Headers = append(seen.Headers, [2]string{"Host", r.Host})
	for name, values := range r.Header {
		for _, v := range values {
			seen.Headers = append(seen.Headers, [2]string{name, v})
		}
	}
	if seen.Chunked {
		seen.Headers = append(seen.Headers, [2]string{"Transfer-Encoding", "chunked"})
	}
	h.note(seen)
	do := r.Header.Get("X-Do")
	if seen.Chunked && r.Header.Get("X-Forwarded-For") == "" {
		text, _ := os.ReadFile(os.Getenv(answerFile))
		do = strings.TrimSpace(string(text))
	}
	act(w, r, do)
	h.note(record{Event: "done", Target: r.RequestURI})
}

// act does what a text says, words apart.
func act(w http.ResponseWriter, r *http.Request, do string) {
	for word := range strings.FieldsSeq(do) {
		what, value, _ := strings.Cut(word, "=")
		switch what {
		case "sleep":
			d, _ := time.ParseDuration(value)
			time.Sleep(d)
		case "exit":
			code, _ := strconv.Atoi(value)
			os.Exit(code)
		case "close":
			c, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				_ = c.Close()
			}
			return
		case "half": // the head and a part of the body, then nothing more
			c, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
				_ = c.Close()
			}
			return
		case "first": // a part of the answer now, the rest when the file is there
			_, _ = io.WriteString(w, "first,")
			_ = http.NewResponseController(w).Flush()
			awaitFile(value)
		case "header":
			name, text, _ := strings.Cut(value, ":")
			w.Header().Add(name, text)
		case "status":
			code, _ := strconv.Atoi(value)
			w.WriteHeader(code)
		case "body":
			_, _ = io.WriteString(w, value)
		case "ok":
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"Outputs":{},"Logs":["a log"],"ReturnValue":null}`)
		case "res":
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"Outputs":{"res":{"statusCode":200,"body":"ok"}},"Logs":[],"ReturnValue":null}`)
		case "failTwice":
			failTwice(w)
		}
	}
}

// failTwice fails as long as its file is shorter than two.
func failTwice(w http.ResponseWriter) {
	path := os.Getenv(answerFile) + ".failed"
	before, _ := os.ReadFile(path)
	_ = os.WriteFile(path, append(before, 'x'), 0o600)
	if len(before) < 2 {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	act(w, nil, "ok")
}

func awaitFile(path string) {
	for range 3000 {
		if _, err := os.Stat(path); err == nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// world is a host over an app root of its own, and what its handler recorded.
type world struct {
	*Host
	t      testing.TB
	root   string
	record string
	answer string

	mu    sync.Mutex
	lines []Line
}

// appRoot is a copy of the recording's app root with the tests' handler in it,
// and with files instead of those that it has; "" takes one away.
func appRoot(t testing.TB, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	if err := os.CopyFS(root, os.DirFS("testdata/app")); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(root, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(root, "bin", "handler")); err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		path := filepath.Join(root, name)
		if content == "" {
			if err := os.RemoveAll(path); err != nil {
				t.Fatal(err)
			}
			continue
		}
		_ = os.MkdirAll(filepath.Dir(path), 0o755)
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func quick() *habits {
	h := realHabits
	h.startup = 10 * time.Second
	return &h
}

// start runs a host until the test ends.
func start(t testing.TB, files map[string]string, change func(*Options)) *world {
	t.Helper()
	w := &world{t: t, root: appRoot(t, files)}
	state := t.TempDir()
	w.record, w.answer = filepath.Join(state, "record"), filepath.Join(state, "answer")
	w.setAnswer("ok")
	o := Options{
		Root: w.root, habits: quick(),
		Environ: []string{
			isHandler + "=1", recordFile + "=" + w.record, answerFile + "=" + w.answer, "HUB_NAME=hub1",
			"HUB__fullyQualifiedNamespace=ns.servicebus.windows.net",
		},
		Output: func(l Line) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.lines = append(w.lines, l)
		},
	}
	if change != nil {
		change(&o)
	}
	h, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	w.Host = h
	t.Cleanup(h.Kill)
	return w
}

// setAnswer says what to do for triggers, at once: half a text would be another
// thing to do.
func (w *world) setAnswer(do string) {
	if err := errors.Join(os.WriteFile(w.answer+".next", []byte(do), 0o600), os.Rename(w.answer+".next", w.answer)); err != nil {
		w.t.Fatal(err)
	}
}

// records are what the handler noted, without the host's probes.
func (w *world) records() (list []record) {
	w.t.Helper()
	text, err := os.ReadFile(w.record)
	if err != nil && !os.IsNotExist(err) {
		w.t.Fatal(err)
	}
	for line := range bytes.Lines(text) {
		var r record
		if err := json.Unmarshal(line, &r); err != nil {
			if !bytes.HasSuffix(line, []byte("\n")) {
				break // killed while it wrote
			}
			w.t.Fatal(err)
		}
		if r.Target != "/" {
			list = append(list, r)
		}
	}
	return list
}

func (w *world) requests() (list []record) {
	for _, r := range w.records() {
		if r.Event == "" {
			list = append(list, r)
		}
	}
	return list
}

// until waits for something that has to come.
func until(t testing.TB, what string, is func() bool) {
	t.Helper()
	for range 3000 {
		if is() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("never came: " + what)
}

// got is an answer to a caller.
type got struct {
	status int
	header http.Header
	body   string
}

// raw sends text as it is over a connection of its own and reads an answer.
func (w *world) raw(method, text string) (got, error) {
	c, err := net.Dial("tcp", w.Addr())
	if err != nil {
		return got{}, err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	if _, err := io.WriteString(c, text); err != nil {
		return got{}, err
	}
	return readAnswer(c, method)
}

func (w *world) mustRaw(method, text string) got {
	w.t.Helper()
	g, err := w.raw(method, text)
	if err != nil {
		w.t.Fatalf("%q: %v", text, err)
	}
	return g
}

// ask sends a request with a body ("" for none) that asks the handler to do
// something.
func (w *world) ask(method, path, do, body string) (got, error) {
	text := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\nX-Do: %s\r\n", method, path, w.Addr(), do)
	if body != "" {
		text += fmt.Sprintf("Content-Length: %d\r\n", len(body))
	}
	return w.raw(method, text+"\r\n"+body)
}

func (w *world) mustAsk(method, path, do, body string) got {
	w.t.Helper()
	g, err := w.ask(method, path, do, body)
	if err != nil {
		w.t.Fatalf("%s %s: %v", method, path, err)
	}
	return g
}
