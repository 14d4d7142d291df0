package hub

import (
	"errors"
	"sync"
	"testing"
	"time"

	"sluice/devtools/eventhubs"
	"sluice/devtools/netfault"
)

// through opens a hub behind a network that can be broken.
func through(t *testing.T, at eventhubs.Hub, change func(*Config)) (*Hub, *netfault.Proxy) {
	t.Helper()
	proxy, err := netfault.Start(eventhubs.ForTest(t).Address())
	must(t, err)
	t.Cleanup(func() { _ = proxy.Close() })
	return open(t, at.At(proxy.Address()), change), proxy
}

// TestIdleCut uses connections and links that the service has ended since they
// were last used, as it does with idle ones: nobody notices.
func TestIdleCut(t *testing.T) {
	at := eventhubs.ForTest(t).Hub(t, eventhubs.HubOptions{})
	h := open(t, at, nil)
	use := func() {
		t.Helper()
		must(t, h.Send(ctxOf(t), "s01", [][]byte{[]byte("x")}, nil))
		if _, err := h.Partitions(ctxOf(t)); err != nil {
			t.Error(err)
		}
	}
	use()
	must(t, at.CutConnections(ctxOf(t)))
	time.Sleep(20 * time.Millisecond)
	use()
	must(t, at.CutLinks(ctxOf(t)))
	time.Sleep(20 * time.Millisecond)
	use()
}

// TestBrokenNetwork has networks that refuse, reset and swallow what is sent.
func TestBrokenNetwork(t *testing.T) {
	for _, mode := range []netfault.Mode{netfault.Refuse, netfault.Reset, netfault.BlackHole} {
		t.Run(mode.String(), func(t *testing.T) {
			at := eventhubs.ForTest(t).Hub(t, eventhubs.HubOptions{})
			h, proxy := through(t, at, func(cfg *Config) {
				cfg.Probe = []byte("probe")
			})
			send := func() error { return h.Send(ctxOf(t), "s01", [][]byte{[]byte("x")}, nil) }
			must(t, send())
			must(t, proxy.Set(mode))
			for range 5 {
				if err := send(); !errors.Is(err, ErrUnavailable) {
					t.Errorf("send: %v", err)
				}
			}
			if _, err := h.Partition(ctxOf(t), "0"); !errors.Is(err, ErrUnavailable) {
				t.Errorf("partition: %v", err)
			}
			if h.Away() == nil {
				t.Error("it does not count as away")
			}
			must(t, proxy.Set(netfault.Pass))
			eventually(t, "it is back", func() bool { return h.Away() == nil })
			must(t, send())
			if _, err := h.Partitions(ctxOf(t)); err != nil {
				t.Error(err)
			}
			eventually(t, "no call is left behind", func() bool { return len(h.calls) == 0 })
		})
	}
}

// TestCallsAreBounded has more callers than a silent hub may keep.
func TestCallsAreBounded(t *testing.T) {
	at := eventhubs.ForTest(t).Hub(t, eventhubs.HubOptions{})
	h := open(t, at, nil)
	for range maxCalls {
		h.calls <- struct{}{}
	}
	if _, err := h.Partition(ctxOf(t), "0"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("%v", err)
	}
	<-h.calls
	if _, err := h.Partition(ctxOf(t), "0"); err != nil {
		t.Error(err)
	}
}

// TestSendsOfManyShards has more sends at once than calls may be under way: they
// wait for each other, and the hub does not count as away.
func TestSendsOfManyShards(t *testing.T) {
	stand := eventhubs.ForTest(t).Hub(t, eventhubs.HubOptions{Partitions: 1})
	must(t, stand.Delay(ctxOf(t), 50*time.Millisecond))
	h := open(t, stand, nil)
	must(t, h.Send(ctxOf(t), "s00", [][]byte{[]byte("first")}, nil))
	var sends sync.WaitGroup
	for range 4 * maxCalls {
		sends.Go(func() {
			if err := h.Send(ctxOf(t), "s01", [][]byte{[]byte("body")}, nil); err != nil {
				t.Error(err)
			}
		})
	}
	sends.Wait()
	if err := h.Away(); err != nil {
		t.Error(err)
	}
}

func TestClosed(t *testing.T) {
	at := eventhubs.ForTest(t).Hub(t, eventhubs.HubOptions{})
	h := open(t, at, nil)
	must(t, h.Send(ctxOf(t), "s01", [][]byte{[]byte("x")}, nil))
	must(t, h.Close(ctxOf(t)))
	must(t, h.Close(ctxOf(t)))
	if err := h.Send(ctxOf(t), "s01", [][]byte{[]byte("x")}, nil); !errors.Is(err, ErrUnavailable) {
		t.Errorf("%v", err)
	}
	if _, err := h.Partitions(ctxOf(t)); !errors.Is(err, ErrUnavailable) {
		t.Errorf("%v", err)
	}
}
