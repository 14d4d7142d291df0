package main

import (
	"log/slog"
	"net/http"
	"time"

	"sluice/compact"
	"sluice/internal/settings"
)

// patience is how long what may take.
type patience struct {
	header  time.Duration // until a request's header is there
	read    time.Duration // until its body is there too
	request time.Duration // until it is answered
	export  time.Duration // the same for answers that stream a whole range
	trigger time.Duration // the same for the host's triggers
	stall   time.Duration // until the client takes some more of its answer
	idle    time.Duration // between two requests of a connection
	opening time.Duration // a request waits for the store to open
	queue   time.Duration // readings do, where a hub takes them
	drain   time.Duration // requests under way have when the process stops
	flush   time.Duration // what they left behind, after that
	try     time.Duration // one try to open the store
	pause   backoff       // between two of them
}

var defaultPatience = patience{
	header:  10 * time.Second,
	read:    60 * time.Second,
	request: 60 * time.Second,
	export:  time.Hour,
	trigger: compact.Deadline + 30*time.Second,
	stall:   30 * time.Second,
	idle:    120 * time.Second,
	opening: 30 * time.Second,
	queue:   2 * time.Second,
	drain:   15 * time.Second,
	flush:   10 * time.Second,
	try:     20 * time.Second,
	pause:   backoff{500 * time.Millisecond, 15 * time.Second},
}

// patienceFor is the patience of a process alone, or of one under the Functions
// host, which gives a call its functionTimeout (host.json; over it, it kills the
// process and all other calls with it) and has a front end that gives it 230 s.
// Both include the wait for the store.
func patienceFor(s settings.Settings) patience {
	p := defaultPatience
	if s.UnderHost() {
		p.export = 3 * time.Minute
	}
	return p
}

const maxHeaderBytes = 64 << 10

func newHTTPServer(h http.Handler, log *slog.Logger, p patience) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: p.header,
		ReadTimeout:       p.read,
		WriteTimeout:      p.opening + p.request + p.stall, // progress moves it on, see pacedWriter
		IdleTimeout:       p.idle,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

// pacedWriter lets an answer take as long as it needs while the client takes
// it: each write has until stall from now.
type pacedWriter struct {
	http.ResponseWriter
	stall time.Duration
	moved time.Time
}

func (w *pacedWriter) Write(b []byte) (int, error) {
	w.move()
	return w.ResponseWriter.Write(b)
}

// FlushError sends what is buffered; http.ResponseController finds it.
func (w *pacedWriter) FlushError() error {
	w.move()
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Unwrap gives http.ResponseController the writer below.
func (w *pacedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *pacedWriter) move() {
	now := time.Now()
	if now.Sub(w.moved) < w.stall/16 {
		return
	}
	w.moved = now
	// A writer that cannot is one of a test's; the server's always can.
	_ = http.NewResponseController(w.ResponseWriter).SetWriteDeadline(now.Add(w.stall))
}
