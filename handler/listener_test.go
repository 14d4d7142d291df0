package main

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/internal/settings"
)

// One address that opens all connections it can, and says nothing on them, leaves
// room for others.
func TestOneAddressLeavesRoomForOthers(t *testing.T) {
	t.Parallel()
	own := ownAddress(t)
	p := serving(t, "SLUICE_ADDR=0.0.0.0:0", "SLUICE_KEYS="+keyText("k1"), "SLUICE_MEMORY=64MiB")
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(p.url, "http://"))
	most, dialer := connections(64*settings.MiB), net.Dialer{Timeout: 5 * time.Second}
	for range most + 50 {
		c, err := dialer.DialContext(t.Context(), "tcp", net.JoinHostPort(own, port))
		if err != nil {
			continue // closed already
		}
		defer c.Close()
		_, _ = c.Write([]byte("GET /healthz HTTP/1.1\r\nHost: x\r\n")) // and never the rest
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second) // the headers' time is 10 s
	defer cancel()
	a, err := try(ctx, "GET", "http://127.0.0.1:"+port+"/healthz", "")
	if err != nil {
		t.Fatal("others are kept out: ", err)
	}
	a.want(t, 200)
}

// ownAddress is one of this machine's that is not loopback.
func ownAddress(t *testing.T) string {
	t.Helper()
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addresses {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && n.IP.IsGlobalUnicast() {
			return n.IP.String()
		}
	}
	t.Skip("there is no address but loopback")
	return ""
}

// A source has half of the connections, and has them again once they are closed,
// however often; of those that have none nothing is kept.
func TestShareOfASource(t *testing.T) {
	t.Parallel()
	inner, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := newBoundedListener(inner.(*net.TCPListener), 8)
	defer l.Close()
	of := map[string]netip.Prefix{} // of what clients dial from
	l.source = func(remote net.Addr) netip.Prefix { return of[remote.String()] }
	dialFrom := func(source string) net.Conn {
		t.Helper()
		c, err := new(net.Dialer).DialContext(t.Context(), "tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		of[c.LocalAddr().String()] = netip.MustParsePrefix(source)
		return c
	}
	accept := func() net.Conn {
		t.Helper()
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	const loud, other = "192.0.2.1/32", "192.0.2.2/32"
	for range 3 {
		var served []net.Conn
		for range 4 {
			dialFrom(loud)
			served = append(served, accept())
		}
		over, next := dialFrom(loud), dialFrom(other)
		last := accept()
		if last.RemoteAddr().String() != next.LocalAddr().String() {
			t.Error("a fifth of a source's four is served")
		}
		_ = over.SetReadDeadline(time.Now().Add(5 * time.Second))
		var late net.Error
		if _, err := over.Read(make([]byte, 1)); err == nil || errors.As(err, &late) && late.Timeout() {
			t.Error("what is over the share is not closed: ", err)
		}
		if len(l.open) != 2 || l.open[netip.MustParsePrefix(loud)] != 4 || len(l.slots) != 5 {
			t.Error(l.open, len(l.slots))
		}
		var closing sync.WaitGroup
		for _, c := range append(served, last) {
			for range 3 {
				closing.Go(func() { _ = c.Close() })
			}
		}
		closing.Wait()
		if len(l.open) != 0 || len(l.slots) != 0 {
			t.Error("kept after all were closed:", l.open, len(l.slots))
		}
	}
}

func TestSource(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"192.0.2.7": "192.0.2.7/32", "::ffff:192.0.2.7": "192.0.2.7/32", "127.0.0.1": "", "127.9.9.9": "", "::1": "", "::ffff:127.0.0.1": "",
		"2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64", "2001:db8:1:2::9": "2001:db8:1:2::/64", "2001:db8:1:3::9": "2001:db8:1:3::/64", "fe80::1%eth0": "fe80::/64",
	} {
		got := source(net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(address), 4711)))
		if want == "" && got.IsValid() || want != "" && got.String() != want {
			t.Errorf("%s: %v instead of %q", address, got, want)
		}
	}
}
