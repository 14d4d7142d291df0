package host

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// client speaks HTTP/1.1 with the handler. net/http's own is no use here: it
// sends again on its own conditions, adds headers, and cleans paths, and how
// often and how exactly a call is delivered is what this package is about.
type client struct {
	address string
	dialer  net.Dialer

	mu   sync.Mutex
	idle []*conn
}

// mostIdle is how many connections are kept for later calls.
const mostIdle = 256

// conn is a connection of which somebody always waits for the next byte, so
// that one that was closed is known as such before it is used again.
type conn struct {
	net.Conn
	in    *bufio.Reader
	first chan error // receives once: the first byte of what comes is there, or nothing will
}

func (c *conn) arm() {
	c.first = make(chan error, 1)
	go func(first chan<- error) {
		_, err := c.in.Peek(1)
		first <- err
	}(c.first)
}

// outgoing is a request to the handler.
type outgoing struct {
	method string
	target string      // written as it is
	header []headerRow // written as it is, Host included
	length int64       // of the body; -1: chunked
	body   io.Reader   // nil: none
}

type headerRow struct{ name, value string }

// errNoAnswer marks a call whose connection ended without a byte of answer.
var errNoAnswer = errors.New("connection closed without an answer")

// errNotSent marks a call that never reached the handler.
var errNotSent = errors.New("not connected")

// incoming is the handler's answer. Its body must be closed; read to its end
// it leaves the connection for the next call.
type incoming struct {
	*http.Response
	body io.ReadCloser
}

// do sends a request once and waits for the head of its answer. sent is called
// when its head has been written. The end of ctx ends the call.
func (c *client) do(ctx context.Context, out *outgoing, sent func()) (*incoming, error) {
	conn, err := c.take(ctx)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	in, written, err := conn.exchange(out, sent)
	if err != nil {
		stop()
		_ = conn.Close()
		return nil, errors.Join(ctx.Err(), err)
	}
	reusable := !in.Close && in.ProtoAtLeast(1, 1)
	in.body = &answerBody{ReadCloser: in.Body, done: func(whole bool) {
		if stop() && whole && reusable && isClosed(written) {
			c.put(conn)
			return
		}
		_ = conn.Close()
	}}
	return in, nil
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// exchange writes a request and reads the head of what is answered. written is
// closed when the whole request is out.
func (c *conn) exchange(out *outgoing, sent func()) (_ *incoming, written <-chan struct{}, err error) {
	if err := out.writeHead(c); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", errNoAnswer, err)
	}
	sent()
	done := make(chan struct{})
	if out.body == nil {
		close(done)
	} else {
		go func() {
			if out.writeBody(c) == nil {
				close(done)
				return
			}
			// The handler may have answered without reading all. If it has
			// not, nothing more will come.
			_ = c.SetReadDeadline(time.Now().Add(time.Second))
		}()
	}
	if err := <-c.first; err != nil {
		return nil, nil, fmt.Errorf("%w: %w", errNoAnswer, err)
	}
	for {
		r, err := http.ReadResponse(c.in, &http.Request{Method: out.method})
		if err != nil {
			return nil, nil, fmt.Errorf("read the answer: %w", err)
		}
		if r.StatusCode >= 200 {
			return &incoming{Response: r}, done, nil
		}
	}
}

func (o *outgoing) writeHead(w io.Writer) error {
	buffer := bufio.NewWriter(w)
	fmt.Fprintf(buffer, "%s %s HTTP/1.1\r\n", o.method, o.target)
	for _, h := range o.header {
		fmt.Fprintf(buffer, "%s: %s\r\n", h.name, h.value)
	}
	fmt.Fprint(buffer, "\r\n")
	return buffer.Flush()
}

func (o *outgoing) writeBody(w io.Writer) error {
	if o.length >= 0 {
		n, err := io.Copy(w, io.LimitReader(o.body, o.length))
		if err == nil && n < o.length {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	chunk := make([]byte, 32<<10)
	for {
		n, err := o.body.Read(chunk)
		if n > 0 {
			line := strconv.FormatInt(int64(n), 16) + "\r\n"
			buffers := net.Buffers{[]byte(line), chunk[:n], []byte("\r\n")}
			if _, err := buffers.WriteTo(w); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			_, err = io.WriteString(w, "0\r\n\r\n")
			return err
		}
		if err != nil {
			return err
		}
	}
}

// take returns a connection that is open, as far as is known.
func (c *client) take(ctx context.Context) (*conn, error) {
	for {
		c.mu.Lock()
		n := len(c.idle)
		if n == 0 {
			c.mu.Unlock()
			break
		}
		last := c.idle[n-1]
		c.idle = c.idle[:n-1]
		c.mu.Unlock()
		select {
		case err := <-last.first:
			// It ended, or said something that nobody asked for.
			_ = errors.Join(err, last.Close())
		default:
			return last, nil
		}
	}
	raw, err := c.dialer.DialContext(ctx, "tcp", c.address)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNotSent, err)
	}
	fresh := &conn{Conn: raw, in: bufio.NewReader(raw)}
	fresh.arm()
	return fresh, nil
}

func (c *client) put(used *conn) {
	used.arm()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.idle) >= mostIdle {
		_ = used.Close()
		return
	}
	c.idle = append(c.idle, used)
}

// close closes the connections that nobody uses.
func (c *client) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, idle := range c.idle {
		_ = idle.Close()
	}
	c.idle = nil
}

// answerBody tells when a body was read to its end, or was given up.
type answerBody struct {
	io.ReadCloser
	done  func(whole bool)
	ended bool
}

func (b *answerBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.end(err == io.EOF)
	}
	return n, err
}

// Close gives the body up. The connection goes with it, unless all was read.
func (b *answerBody) Close() error {
	b.end(false)
	return nil
}

func (b *answerBody) end(whole bool) {
	if !b.ended {
		b.ended = true
		b.done(whole)
	}
}
