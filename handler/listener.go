package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"

	"sluice/internal/settings"
)

// boundedListener accepts no more connections than may be open at once: more
// wait in the system's queue. Its connections are TCP's with all they can do.
// (Those of x/net/netutil cannot close their writing half, without which
// net/http resets a connection whose body it did not read, and the client
// never sees why it was refused.) Half of them is what one source may have, so
// that one that opens many and says nothing does not keep out the others.
type boundedListener struct {
	*net.TCPListener
	slots  chan struct{}
	closed chan struct{}
	once   sync.Once

	source func(net.Addr) netip.Prefix
	each   int // of a source, at most

	mu   sync.Mutex
	open map[netip.Prefix]int // of sources that have some: no more than there are slots
}

func listen(ctx context.Context, s settings.Settings) (net.Listener, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", s.Listen())
	if err != nil {
		return nil, err
	}
	tcp, ok := listener.(*net.TCPListener)
	if !ok {
		_ = listener.Close()
		return nil, fmt.Errorf("%s is not TCP", listener.Addr())
	}
	// A name such as localhost may mean anything: the settings only believed that others
	// cannot reach it.
	if address, _ := tcp.Addr().(*net.TCPAddr); s.Auth == settings.AuthOff && (address == nil || !address.IP.IsLoopback()) {
		_ = listener.Close()
		return nil, fmt.Errorf("%s is not loopback, and access control is off", listener.Addr())
	}
	return newBoundedListener(tcp, connections(s.Memory)), nil
}

// connections is how many may be open at once: each costs some ten KiB idle.
func connections(memory settings.Size) int {
	return int(min(max(memory/(64*settings.KiB), 256), 65536))
}

func newBoundedListener(l *net.TCPListener, most int) *boundedListener {
	return &boundedListener{
		TCPListener: l, slots: make(chan struct{}, most), closed: make(chan struct{}),
		source: source, each: max(most/2, 1), open: map[netip.Prefix]int{},
	}
}

// source is who is taken for one: an address, of IPv6 the 64 bits that a host or
// a home is given. Loopback is none, and not bounded: there the Functions host or
// a proxy brings the calls of everybody.
func source(remote net.Addr) netip.Prefix {
	tcp, ok := remote.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	address := tcp.AddrPort().Addr().Unmap()
	if !address.IsValid() || address.IsLoopback() {
		return netip.Prefix{}
	}
	prefix, _ := address.Prefix(min(address.BitLen(), 64))
	return prefix
}

// Accept waits for a connection, and before that for room for it. Those of a source
// that has its share are closed.
func (l *boundedListener) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	for {
		c, err := l.AcceptTCP()
		if err != nil {
			<-l.slots
			return nil, err
		}
		of := l.source(c.RemoteAddr())
		if l.take(of) {
			return &boundedConn{TCPConn: c, free: sync.OnceFunc(func() { l.give(of); <-l.slots })}, nil
		}
		_ = c.SetLinger(0) // nothing of it stays in the system either
		_ = c.Close()
	}
}

// take counts a connection of a source, if it may have one more.
func (l *boundedListener) take(of netip.Prefix) bool {
	if !of.IsValid() {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[of] >= l.each {
		return false
	}
	l.open[of]++
	return true
}

func (l *boundedListener) give(of netip.Prefix) {
	if !of.IsValid() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[of]--; l.open[of] <= 0 {
		delete(l.open, of)
	}
}

// Close ends listening; connections stay open.
func (l *boundedListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.TCPListener.Close()
}

type boundedConn struct {
	*net.TCPConn
	free func()
}

// Close closes the connection and makes room for another.
func (c *boundedConn) Close() error {
	defer c.free()
	return c.TCPConn.Close()
}
