// Package netfault is a TCP proxy whose network can be broken while it runs, for
// tests of what a service does when the way to its store fails.
package netfault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// Mode is what the proxy does with connections, those that exist too.
type Mode int

const (
	// Pass forwards everything.
	Pass Mode = iota
	// Refuse does not listen: who connects is refused. Connections are reset.
	Refuse
	// Reset takes connections and resets them.
	Reset
	// BlackHole takes connections and bytes and forwards nothing. What it took is
	// delivered when the mode changes, as by a network that comes back: a request
	// may so arrive long after its sender gave up.
	BlackHole
	// Slow forwards each piece after a delay.
	Slow
	// AnswerLost forwards requests, and resets a connection when its answer comes.
	AnswerLost
)

func (m Mode) String() string {
	names := [...]string{"pass", "refuse", "reset", "black hole", "slow", "answer lost"}
	if m < 0 || int(m) >= len(names) {
		return fmt.Sprintf("mode %d", int(m))
	}
	return names[m]
}

// slowness is the delay of a piece of up to 32 KiB in the mode Slow.
const slowness = 200 * time.Millisecond

// Proxy forwards connections to one address. Its methods may be called
// concurrently.
type Proxy struct {
	target  string
	address string
	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	running sync.WaitGroup

	setting sync.Mutex // one Set at a time

	mu       sync.Mutex
	changed  sync.Cond // mode, or the end
	mode     Mode
	listener net.Listener // nil while refusing
	pairs    map[*pair]struct{}
}

// pair is a connection and its continuation.
type pair struct {
	client, server *net.TCPConn // server is nil until it is reached
	cut            bool
}

// Start listens on a port of loopback and forwards to target ("host:port").
func Start(target string) (*Proxy, error) {
	p := &Proxy{target: target, pairs: map[*pair]struct{}{}}
	p.changed.L = &p.mu
	listener, err := listenAnywhere()
	if err != nil {
		return nil, fmt.Errorf("start the proxy: %w", err)
	}
	p.address = listener.Addr().String()
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.serve(listener)
	return p, nil
}

// listenAnywhere takes a port below those that the system gives to outgoing
// connections: one that is given up for a while must be there to be had again.
func listenAnywhere() (net.Listener, error) {
	const tries = 100
	var last error
	for range tries {
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 20_000+rand.IntN(12_000)))
		if err == nil {
			return listener, nil
		}
		last = err
	}
	return nil, last
}

// Address is "host:port" of the proxy.
func (p *Proxy) Address() string { return p.address }

// Set changes the mode. It fails if the port, given up to refuse connections,
// cannot be had again.
func (p *Proxy) Set(mode Mode) error {
	p.setting.Lock()
	defer p.setting.Unlock()
	if err := p.relisten(mode); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mode = mode
	if mode == Refuse || mode == Reset {
		p.cutAll()
	}
	p.changed.Broadcast()
	return nil
}

// relisten gives the port up for Refuse, and takes it again for other modes.
func (p *Proxy) relisten(mode Mode) error {
	p.mu.Lock()
	listener := p.listener
	if mode == Refuse {
		p.listener = nil
	}
	p.mu.Unlock()
	switch {
	case p.ctx.Err() != nil:
		return errors.New("the proxy is closed")
	case mode == Refuse && listener != nil:
		return listener.Close()
	case mode != Refuse && listener == nil:
		listener, err := net.Listen("tcp", p.address)
		if err != nil {
			return fmt.Errorf("listen again: %w", err)
		}
		p.serve(listener)
	}
	return nil
}

// serve takes the connections of listener until that is closed.
func (p *Proxy) serve(listener net.Listener) {
	p.mu.Lock()
	p.listener = listener
	p.mu.Unlock()
	p.running.Go(func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			p.running.Go(func() { p.forward(&pair{client: connection.(*net.TCPConn)}) })
		}
	})
}

// forward connects a pair and carries bytes both ways until both ends are done.
func (p *Proxy) forward(c *pair) {
	p.mu.Lock()
	p.pairs[c] = struct{}{}
	p.mu.Unlock()
	defer p.end(c)
	if !p.mayPass(c, false) || !p.reach(c) {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { p.carry(c, c.server, c.client, false) })
	both.Go(func() { p.carry(c, c.client, c.server, true) })
	both.Wait()
}

// reach connects to the target.
func (p *Proxy) reach(c *pair) bool {
	var dialer net.Dialer
	server, err := dialer.DialContext(p.ctx, "tcp", p.target)
	if err != nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	c.server = server.(*net.TCPConn)
	return !c.cut
}

// carry copies from one end to the other. A clean end of from is handed on; any
// other resets both.
func (p *Proxy) carry(c *pair, to, from *net.TCPConn, answer bool) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if !p.mayPass(c, answer && n > 0) {
			return
		}
		if _, failed := to.Write(buffer[:n]); failed != nil {
			p.cut(c)
			return
		}
		if errors.Is(err, io.EOF) {
			_ = to.CloseWrite()
			return
		}
		if err != nil {
			p.cut(c)
			return
		}
	}
}

// mayPass waits as long as the mode says and reports whether bytes may go on;
// answer: they are the beginning of an answer. If not, the pair is cut.
func (p *Proxy) mayPass(c *pair, answer bool) bool {
	p.mu.Lock()
	for p.mode == BlackHole && !c.cut && p.ctx.Err() == nil {
		p.changed.Wait()
	}
	mode := p.mode
	p.mu.Unlock()
	switch {
	case mode == Refuse, mode == Reset, mode == AnswerLost && answer:
		p.cut(c)
		return false
	case mode == Slow:
		select {
		case <-time.After(slowness):
		case <-p.ctx.Done():
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return !c.cut && p.ctx.Err() == nil
}

func (p *Proxy) cut(c *pair) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.reset()
}

// cutAll cuts every pair; p.mu is held.
func (p *Proxy) cutAll() {
	for c := range p.pairs {
		c.reset()
	}
}

// reset closes both ends with a reset; the mutex of the proxy is held.
func (c *pair) reset() {
	c.cut = true
	for _, end := range []*net.TCPConn{c.client, c.server} {
		if end != nil {
			_ = end.SetLinger(0)
			_ = end.Close()
		}
	}
}

// end forgets a pair. What is still open is closed: the client's end with a
// reset if the target could not be reached.
func (p *Proxy) end(c *pair) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.pairs, c)
	if c.cut || c.server == nil {
		c.reset()
		return
	}
	_ = c.client.Close()
	_ = c.server.Close()
}

// Close ends the proxy and resets its connections.
func (p *Proxy) Close() error {
	p.setting.Lock()
	defer p.setting.Unlock()
	p.cancel()
	p.mu.Lock()
	listener := p.listener
	p.listener = nil
	p.cutAll()
	p.changed.Broadcast()
	p.mu.Unlock()
	var err error
	if listener != nil {
		err = listener.Close()
	}
	p.running.Wait()
	return err
}
