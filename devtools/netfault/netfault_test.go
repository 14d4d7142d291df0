package netfault

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"
)

// soon is how long a test waits for what must come; shortly, for what must not.
const (
	soon    = 30 * time.Second
	shortly = 100 * time.Millisecond
)

// server answers each line with the same line, and remembers it.
type server struct {
	net.Listener
	mu    sync.Mutex
	lines []string
}

func newServer(t *testing.T) *server {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{Listener: listener}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go s.answer(c)
		}
	}()
	return s
}

func (s *server) answer(c net.Conn) {
	defer c.Close()
	r := bufio.NewReader(c)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		s.mu.Lock()
		s.lines = append(s.lines, line)
		s.mu.Unlock()
		if _, err := io.WriteString(c, line); err != nil {
			return
		}
	}
}

func (s *server) got(line string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.lines {
		if l == line {
			return true
		}
	}
	return false
}

// await waits until the server got line.
func (s *server) await(t *testing.T, line string) {
	t.Helper()
	for end := time.Now().Add(soon); !s.got(line); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the server never got %q", line)
		}
	}
}

func start(t *testing.T, target string) *Proxy {
	t.Helper()
	p, err := Start(target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func set(t *testing.T, p *Proxy, mode Mode) {
	t.Helper()
	if err := p.Set(mode); err != nil {
		t.Fatal(err)
	}
}

func dial(t *testing.T, p *Proxy) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", p.Address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// ask sends line and returns the answer.
func ask(c net.Conn, line string, patience time.Duration) (string, error) {
	if _, err := io.WriteString(c, line); err != nil {
		return "", err
	}
	return answer(c, patience)
}

func answer(c net.Conn, patience time.Duration) (string, error) {
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	return bufio.NewReader(c).ReadString('\n')
}

func wantAnswer(t *testing.T, c net.Conn, line string) {
	t.Helper()
	if got, err := ask(c, line, soon); err != nil || got != line {
		t.Fatalf("%q was answered with %q, %v", line, got, err)
	}
}

func wantReset(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
		t.Errorf("error %v, a reset is right", err)
	}
}

// wantResetAtOnce wants a new connection reset, be it while it is made.
func wantResetAtOnce(t *testing.T, p *Proxy) {
	t.Helper()
	c, err := net.Dial("tcp", p.Address())
	if err == nil {
		defer c.Close()
		_, err = ask(c, "two\n", soon)
	}
	wantReset(t, err)
}

func TestPass(t *testing.T) {
	s := newServer(t)
	p := start(t, s.Addr().String())
	c := dial(t, p)
	wantAnswer(t, c, "one\n")
	wantAnswer(t, c, "two\n")
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := answer(c, soon); !errors.Is(err, io.EOF) {
		t.Errorf("after the end of the requests: %q, %v", got, err)
	}
}

func TestRefuse(t *testing.T) {
	s := newServer(t)
	p := start(t, s.Addr().String())
	old := dial(t, p)
	wantAnswer(t, old, "one\n")
	set(t, p, Refuse)
	_, err := ask(old, "two\n", soon)
	wantReset(t, err)
	if c, err := net.Dial("tcp", p.Address()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("a connection while refusing: %v, %v", c, err)
	}
	set(t, p, Refuse) // again does no harm
	set(t, p, Pass)
	wantAnswer(t, dial(t, p), "three\n")
	if s.got("two\n") {
		t.Error("a line passed while refusing")
	}
}

func TestReset(t *testing.T) {
	s := newServer(t)
	p := start(t, s.Addr().String())
	old := dial(t, p)
	wantAnswer(t, old, "one\n")
	set(t, p, Reset)
	_, err := ask(old, "two\n", soon)
	wantReset(t, err)
	wantResetAtOnce(t, p)
	set(t, p, Pass)
	wantAnswer(t, dial(t, p), "three\n")
	if s.got("two\n") {
		t.Error("a line passed while resetting")
	}
}

func TestBlackHoleDeliversLate(t *testing.T) {
	s := newServer(t)
	p := start(t, s.Addr().String())
	old := dial(t, p)
	wantAnswer(t, old, "one\n")
	set(t, p, BlackHole)
	for c, line := range map[net.Conn]string{old: "of an old one\n", dial(t, p): "of a new one\n"} {
		if got, err := ask(c, line, shortly); err == nil {
			t.Errorf("%q was answered with %q", line, got)
		}
		c.Close() // its sender gives up
		if s.got(line) {
			t.Errorf("%q arrived", line)
		}
	}
	waiting := dial(t, p)
	if got, err := ask(waiting, "of a patient one\n", shortly); err == nil {
		t.Errorf("the answer %q", got)
	}
	set(t, p, Pass)
	if got, err := answer(waiting, soon); err != nil || got != "of a patient one\n" {
		t.Errorf("late: %q, %v", got, err)
	}
	s.await(t, "of an old one\n")
	s.await(t, "of a new one\n")
}

func TestSlow(t *testing.T) {
	s := newServer(t)
	p := start(t, s.Addr().String())
	set(t, p, Slow)
	begin := time.Now()
	wantAnswer(t, dial(t, p), "one\n")
	// A connection, a request and an answer are three pieces.
	if took := time.Since(begin); took < 3*slowness {
		t.Errorf("took %s", took)
	}
}

func TestAnswerLost(t *testing.T) {
	s := newServer(t)
	p := start(t, s.Addr().String())
	old := dial(t, p)
	wantAnswer(t, old, "one\n")
	set(t, p, AnswerLost)
	for _, c := range []net.Conn{old, dial(t, p)} {
		got, err := ask(c, "two\n", soon)
		wantReset(t, err)
		if got != "" {
			t.Errorf("the answer %q", got)
		}
		s.await(t, "two\n")
	}
	set(t, p, Pass)
	wantAnswer(t, dial(t, p), "three\n")
}

// Nobody at the target: a client sees a reset, as with a server that went away.
func TestNoTarget(t *testing.T) {
	s := newServer(t)
	p := start(t, s.Addr().String())
	s.Close()
	wantResetAtOnce(t, p)
}

func TestCloseInEachMode(t *testing.T) {
	for mode := Pass; mode <= AnswerLost; mode++ {
		t.Run(mode.String(), func(t *testing.T) {
			s := newServer(t)
			p, err := Start(s.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			c := dial(t, p)
			wantAnswer(t, c, "one\n")
			set(t, p, mode)
			_, _ = io.WriteString(c, "two\n")
			if err := p.Close(); err != nil {
				t.Error(err)
			}
			for err == nil {
				_, err = answer(c, soon)
			}
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("a connection outlived the proxy")
			}
			if err := p.Set(Pass); err == nil {
				t.Error("a closed proxy took a mode")
			}
		})
	}
}
