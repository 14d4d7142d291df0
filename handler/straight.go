package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"

	"sluice/access"
	"sluice/internal/settings"
)

// straight is the service without a port, for commands that write straight into
// the store of the settings.
type straight struct {
	running running
	end     context.CancelFunc
}

// openStraight begins to open the store. fail is called if that ends in an error
// which trying again does not help.
func openStraight(w *world, fail func(error)) (*straight, error) {
	s, _, err := settings.Load(w.environ)
	if err != nil {
		return nil, err
	}
	s.HostPort = 0            // whoever runs it is no function of the host's
	s.Auth = settings.AuthOff // and has the store itself
	s.Limit(settings.Memory(os.DirFS("/")))
	log := slog.New(slog.NewTextHandler(w.stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	storage, err := chooseStorage(s, log)
	if err != nil {
		return nil, err
	}
	p := patienceFor(s)
	ground := newGround(s, storage, nil, access.Keys{}, log)
	r := running{ground: ground, front: newFront(ground, p), log: log, patience: p, kept: make(chan kept, 1)}
	keeping, end := context.WithCancel(context.Background())
	go func() {
		house, err := newKeeper(ground, r.front, p).run(keeping)
		if err != nil {
			fail(err)
		}
		r.kept <- kept{house, err}
	}()
	return &straight{r, end}, nil
}

// client calls the service.
func (s *straight) client() *http.Client { return &http.Client{Transport: direct{s.running.front}} }

// close makes durable what waits, and closes the store.
func (s *straight) close() error {
	s.running.front.stop()
	s.end()
	return s.running.closeHouse()
}

// direct answers requests by a handler, without a connection.
type direct struct{ handler http.Handler }

// RoundTrip implements http.RoundTripper.
func (p direct) RoundTrip(r *http.Request) (response *http.Response, err error) {
	defer func() {
		if recovered := recover(); recovered != nil { // as a server breaks a connection off
			response, err = nil, errors.New("the answer broke off")
		}
	}()
	r = r.Clone(r.Context())
	if r.Body == nil {
		r.Body = http.NoBody
	}
	r.RequestURI, r.RemoteAddr = r.URL.RequestURI(), "127.0.0.1:0"
	w := &answerBuffer{header: http.Header{}}
	p.handler.ServeHTTP(w, r)
	return &http.Response{
		Status: http.StatusText(w.status()), StatusCode: w.status(), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.header, Body: io.NopCloser(&w.body), ContentLength: int64(w.body.Len()), Request: r,
	}, nil
}

// answerBuffer is an answer in memory.
type answerBuffer struct {
	header http.Header
	code   int
	body   bytes.Buffer
}

func (b *answerBuffer) Header() http.Header { return b.header }

func (b *answerBuffer) WriteHeader(code int) {
	if b.code == 0 {
		b.code = code
	}
}

func (b *answerBuffer) Write(text []byte) (int, error) {
	b.WriteHeader(http.StatusOK)
	return b.body.Write(text)
}

func (b *answerBuffer) status() int { return max(b.code, http.StatusOK) }
