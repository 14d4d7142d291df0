package host

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"
)

// ErrCrashed says that the handler ended in error, or did not listen, as often
// as ends the host.
var ErrCrashed = errors.New("the handler failed too often: the host stops")

// errHandlerEnded says that the handler ended with 0, which a host takes for
// no error: it starts it no more, and every call fails.
var errHandlerEnded = errors.New("the handler has ended with exit code 0 and is not started again")

// errClosing says that the host is about to end.
var errClosing = errors.New("the host stops")

// habits are the real host's figures. Only tests of this package change them.
type habits struct {
	poll     time.Duration // between two probes
	startup  time.Duration // until the handler must listen
	quiet    time.Duration // without an error, after which errors are forgotten
	errors   int           // that stop the host
	activity time.Duration // without a byte either way in a proxied call
	maxBody  int64         // of a request

	hubAnswer time.Duration // that a hub has for an answer
	hubPause  time.Duration // before a hub or a partition is opened again
	hubStolen time.Duration // the same if another reader has taken the partition
	hubGather time.Duration // that an event waits for those that come with it
	hubClose  time.Duration // that the end of a connection may take
}

var realHabits = habits{
	poll: 30 * time.Millisecond, startup: 30 * time.Second, quiet: 30 * time.Minute, errors: 3,
	activity: 240 * time.Second, maxBody: 100 << 20,
	hubAnswer: 10 * time.Second, hubPause: 200 * time.Millisecond, hubStolen: 10 * time.Second, hubGather: 5 * time.Millisecond, hubClose: time.Second,
}

// exitRestart is an exit code that asks for a new start and is no error.
const exitRestart = 200

// worker is one life of the handler's process.
type worker struct {
	id      string
	process *os.Process
	ready   chan struct{} // closed when it has answered a probe
	ended   chan struct{} // closed when the process is gone
	state   *os.ProcessState
	killed  bool // by us for a call that took too long: no error of the handler's
}

// supervisor keeps the handler running the way a host does.
type supervisor struct {
	app     *app
	environ []string
	port    int
	habits  habits
	log     *slog.Logger
	line    func(Line)

	mu      sync.Mutex
	current *worker
	changed chan struct{} // closed and replaced when current or err changes
	err     error         // why there will be no handler any more
	closing chan struct{} // closed when the host ends
	errors  []time.Time   // of errors that still count
	crashes int           // all that ever were
	done    chan struct{}
}

// unusedPort is a port that was free a moment ago, as a host chooses one.
func unusedPort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}

// run starts the handler again and again until it ends well, fails too often,
// or the host ends. failed is called if it fails too often.
func (s *supervisor) run(failed func(error)) {
	defer close(s.done)
	for {
		w, err := s.start()
		if err == nil && w != nil {
			err = s.attend(w)
		}
		if err == nil {
			continue
		}
		s.mu.Lock()
		s.err = err
		s.announce()
		s.mu.Unlock()
		if errors.Is(err, ErrCrashed) {
			failed(err)
		}
		return
	}
}

// announce wakes who waits for a change. s.mu must be held.
func (s *supervisor) announce() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// start starts the process; nil without an error if that failed and is to be
// tried again. It fails when the host is about to end, or after too many errors.
func (s *supervisor) start() (*worker, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if isClosed(s.closing) {
		return nil, errClosing
	}
	w := &worker{id: newID(), ready: make(chan struct{}), ended: make(chan struct{})}
	command := s.command(w.id)
	read, written, err := s.streams(command)
	if err != nil {
		return nil, err
	}
	err = command.Start()
	for _, stream := range written {
		_ = stream.Close()
	}
	if err != nil {
		return nil, s.countLocked(fmt.Errorf("start the handler: %w", err))
	}
	w.process = command.Process
	s.current = w
	s.announce()
	s.log.Info("handler started", "pid", w.process.Pid, "port", s.port)
	go func() {
		w.state, _ = w.process.Wait()
		select {
		case <-read:
		case <-time.After(lastWords):
		}
		close(w.ended)
	}()
	return w, nil
}

// lastWords is how long a process that is gone is listened to: longer only if
// a child of its own holds its streams.
const lastWords = time.Second

func (s *supervisor) command(id string) *exec.Cmd {
	command := exec.Command(s.app.executable, s.app.arguments...)
	command.Dir, command.SysProcAttr = s.app.directory, attributes()
	port := strconv.Itoa(s.port)
	command.Env = append(s.environ[:len(s.environ):len(s.environ)],
		"FUNCTIONS_CUSTOMHANDLER_PORT="+port, "FUNCTIONS_HTTPWORKER_PORT="+port,
		"FUNCTIONS_CUSTOMHANDLER_WORKER_ID="+id, "FUNCTIONS_HTTPWORKER_ID="+id,
		"FUNCTIONS_APP_ROOT_PATH="+s.app.root)
	return command
}

// streams reads what the process will write. read is closed when both streams
// have ended; the process's ends are to be closed here once it has them.
func (s *supervisor) streams(command *exec.Cmd) (read <-chan struct{}, written []*os.File, err error) {
	var readers sync.WaitGroup
	for _, stderr := range []bool{false, true} {
		in, out, err := os.Pipe()
		if err != nil {
			return nil, nil, err
		}
		written = append(written, out)
		readers.Go(func() { s.readLines(in, stderr) })
	}
	command.Stdout, command.Stderr = written[0], written[1]
	done := make(chan struct{})
	go func() {
		readers.Wait()
		close(done)
	}()
	return done, written, nil
}

// attend waits until the handler listens and then until it ends. It returns an
// error if it is not to be started again.
func (s *supervisor) attend(w *worker) error {
	listens := s.awaitListening(w)
	if listens {
		s.log.Info("handler listens", "pid", w.process.Pid)
		close(w.ready)
		<-w.ended
	} else {
		_ = w.process.Kill()
		<-w.ended
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current = nil
	s.announce()
	code := w.state.ExitCode()
	switch {
	case isClosed(s.closing):
		return errClosing
	case w.killed:
		s.log.Warn("handler killed for a call that took too long; it is started again", "pid", w.process.Pid)
		return nil
	case listens && code == 0:
		s.log.Warn("handler ended with exit code 0: it is not started again, and every call fails", "pid", w.process.Pid)
		return errHandlerEnded
	case listens && code == exitRestart:
		s.log.Info("handler asks to be started again", "pid", w.process.Pid)
		return nil
	}
	return s.countLocked(fmt.Errorf("handler %d: %s", w.process.Pid, w.state))
}

// countLocked counts an error. It returns one only if it was the last that is
// borne. s.mu must be held.
func (s *supervisor) countLocked(err error) error {
	now := time.Now()
	if n := len(s.errors); n > 0 && now.Sub(s.errors[n-1]) > s.habits.quiet {
		s.errors = nil
	}
	s.errors = append(s.errors, now)
	s.crashes++
	s.log.Error("handler failed", "error", err.Error(), "errors", len(s.errors), "stop_at", s.habits.errors)
	if len(s.errors) >= s.habits.errors {
		return fmt.Errorf("%w: %w", ErrCrashed, err)
	}
	return nil
}

// awaitListening probes until anything answers. A process that ends with 0
// before it listens is noticed only when its time is up.
func (s *supervisor) awaitListening(w *worker) bool {
	deadline := time.After(s.habits.startup)
	tick := time.NewTicker(s.habits.poll)
	defer tick.Stop()
	ended := w.ended
	for waiting := true; waiting; {
		select {
		case <-ended:
			if w.state.ExitCode() != 0 {
				return false
			}
			ended = nil
		case <-s.closing:
			return false
		case <-deadline:
			waiting = false
		case <-tick.C:
			if s.probe() {
				return true
			}
		}
	}
	s.log.Error("handler does not listen", "pid", w.process.Pid, "port", s.port, "after", s.habits.startup.String())
	return false
}

// probe asks for / with nothing but a Host header.
func (s *supervisor) probe() bool {
	ctx, cancel := context.WithTimeout(context.Background(), s.habits.startup)
	defer cancel()
	c := client{address: handlerAddress(s.port)}
	defer c.close()
	in, err := c.do(ctx, &outgoing{method: http.MethodGet, target: "/", header: []headerRow{{"Host", c.address}}}, func() {})
	if err != nil {
		return !errors.Is(err, errNotSent) && ctx.Err() == nil
	}
	return in.body.Close() == nil
}

func handlerAddress(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// await returns the handler as soon as it listens.
func (s *supervisor) await(ctx context.Context) (*worker, error) {
	for {
		s.mu.Lock()
		w, changed, err := s.current, s.changed, s.err
		s.mu.Unlock()
		if err != nil {
			return nil, err
		}
		var ready, ended <-chan struct{}
		if w != nil {
			ready, ended = w.ready, w.ended
			if isClosed(ended) {
				ready, ended = nil, nil // its successor is on its way
			}
		}
		select {
		case <-ready:
			return w, nil
		case <-ended:
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// tooLong kills the handler for a call that took too long, whichever process
// works on it now.
func (s *supervisor) tooLong() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current != nil && !isClosed(s.current.ended) {
		s.current.killed = true
		_ = s.current.process.Kill()
	}
}

// stop kills the handler for good and waits until it is gone.
func (s *supervisor) stop() {
	s.mu.Lock()
	if !isClosed(s.closing) {
		close(s.closing)
	}
	if s.current != nil {
		_ = s.current.process.Kill()
	}
	s.mu.Unlock()
	<-s.done
}

func (s *supervisor) pid() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == nil || isClosed(s.current.ended) {
		return 0
	}
	return s.current.process.Pid
}

// newID makes an id as hosts write them.
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// Line is a line that the handler wrote.
type Line struct {
	Stderr bool
	Level  slog.Level // Info; of stderr Error, or Warn if "warn" is in it
	Text   string
}

// longestLine is how much of a line is kept in one.
const longestLine = 1 << 20

// readLines hands on what the handler writes, line by line, to its end.
func (s *supervisor) readLines(from *os.File, stderr bool) {
	defer from.Close()
	in := bufio.NewReaderSize(from, 64<<10)
	var line []byte
	for {
		part, more, err := in.ReadLine()
		line = append(line, part...)
		if !more && err == nil || len(line) > longestLine || err != nil && len(line) > 0 {
			s.line(newLine(string(line), stderr))
			line = line[:0]
		}
		if err != nil {
			return
		}
	}
}

func newLine(text string, stderr bool) Line {
	l := Line{Stderr: stderr, Level: slog.LevelInfo, Text: text}
	if stderr {
		l.Level = slog.LevelError
		if strings.Contains(strings.ToLower(text), "warn") {
			l.Level = slog.LevelWarn
		}
	}
	return l
}
