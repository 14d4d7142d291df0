// Package throttle is an HTTP proxy before a Table service that answers some
// requests itself, as the real service does under load: ServerBusy, and now and
// then an error of its own, after which nobody knows whether the request was
// done. Azurite never does that.
package throttle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Options say what share of the requests (0 to 1) is answered how.
type Options struct {
	Seed     uint64
	Busy     float64 // 503 ServerBusy, not passed on
	Internal float64 // 500, half of them after the request was passed on and done
}

// Counts says what became of the requests so far.
type Counts struct {
	Passed   int // answered by the service
	Busy     int // 503
	Internal int // 500, nothing done
	Done     int // 500, although the service did it, or refused it
}

// Proxy is a running proxy. Its methods may be called concurrently.
type Proxy struct {
	address string
	server  *http.Server
	ended   chan error
	on      *httputil.ReverseProxy

	mu      sync.Mutex
	options Options
	dice    *rand.Rand
	counts  Counts
}

// Start listens on a free port of loopback and passes on to target ("host:port").
func Start(target string, o Options) (*Proxy, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start the throttling proxy: %w", err)
	}
	p := &Proxy{
		address: listener.Addr().String(), options: o, ended: make(chan error, 1),
		dice: rand.New(rand.NewPCG(o.Seed, 0)),
	}
	p.on = &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: target})
			r.Out.Host = r.In.Host
		},
		Transport: &http.Transport{MaxIdleConnsPerHost: 256},
	}
	p.server = &http.Server{Handler: p, ReadHeaderTimeout: time.Minute}
	go func() { p.ended <- p.server.Serve(listener) }()
	return p, nil
}

// Address is "host:port" of the proxy.
func (p *Proxy) Address() string { return p.address }

// Set changes the shares. The seed stays.
func (p *Proxy) Set(o Options) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.options = o
}

// Counts returns what became of the requests so far.
func (p *Proxy) Counts() Counts {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.counts
}

// Close ends the proxy once the requests under way are answered.
func (p *Proxy) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := p.server.Shutdown(ctx); err != nil {
		return fmt.Errorf("end the throttling proxy: %w", err)
	}
	if err := <-p.ended; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("the throttling proxy failed: %w", err)
	}
	return nil
}

// fate is what becomes of a request.
type fate struct {
	fault *fault // nil: it is passed on
	done  bool   // the service does it all the same
	inner bool   // of a transaction: the fault is that of its first action
}

func (p *Proxy) roll() fate {
	p.mu.Lock()
	defer p.mu.Unlock()
	x, inner, done := p.dice.Float64(), p.dice.IntN(2) == 0, p.dice.IntN(2) == 0
	switch {
	case x < p.options.Busy:
		p.counts.Busy++
		return fate{fault: &busy, inner: inner}
	case x < p.options.Busy+p.options.Internal && done:
		p.counts.Done++
		return fate{fault: &timedOut, inner: inner, done: true}
	case x < p.options.Busy+p.options.Internal:
		p.counts.Internal++
		return fate{fault: &internal, inner: inner}
	}
	p.counts.Passed++
	return fate{}
}

// ServeHTTP passes a request on, or answers it with a fault.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f := p.roll()
	if f.fault == nil {
		p.on.ServeHTTP(w, r)
		return
	}
	if f.done {
		p.on.ServeHTTP(nowhere{http.Header{}}, r)
	} else if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return
	}
	if f.inner && strings.HasSuffix(r.URL.Path, "/$batch") {
		f.fault.answerTransaction(w)
		return
	}
	f.fault.answer(w)
}

// nowhere takes an answer that is lost.
type nowhere struct{ header http.Header }

func (n nowhere) Header() http.Header         { return n.header }
func (n nowhere) WriteHeader(int)             {}
func (n nowhere) Write(p []byte) (int, error) { return len(p), nil }
