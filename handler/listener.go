package main

import (
	"context"
	"fmt"
	"net"
	"sync"

	"sluice/internal/settings"
)

// boundedListener accepts no more connections than may be open at once: more
// wait in the system's queue. Its connections are TCP's with all they can do.
// (Those of x/net/netutil cannot close their writing half, without which
// net/http resets a connection whose body it did not read, and the client
// never sees why it was refused.)
type boundedListener struct {
	*net.TCPListener
	slots  chan struct{}
	closed chan struct{}
	once   sync.Once
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
	return &boundedListener{TCPListener: l, slots: make(chan struct{}, most), closed: make(chan struct{})}
}

// Accept waits for a connection, and before that for room for it.
func (l *boundedListener) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	c, err := l.AcceptTCP()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &boundedConn{TCPConn: c, free: sync.OnceFunc(func() { <-l.slots })}, nil
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
