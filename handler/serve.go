package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"sluice/internal/settings"
)

type serveCommand struct{}

// Run serves until it is asked to stop.
func (serveCommand) Run(w *world, code *int) error {
	s, warnings, err := settings.Load(w.environ)
	if err != nil {
		return err
	}
	s.Limit(settings.Memory(os.DirFS("/")))
	log := slog.New(slog.NewJSONHandler(w.stdout, &slog.HandlerOptions{Level: s.Log}))
	for _, warning := range warnings {
		log.Warn(warning)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(runtimeLimit(s.Memory))
	}
	storage, wrongStore := chooseStorage(s, log)
	eventHub, wrongHub := openHub(s, log)
	if err := together(wrongStore, wrongHub); err != nil {
		return err
	}
	keys, err := openKeys(s)
	if err != nil {
		return err
	}
	ground := newGround(s, storage, eventHub, keys, log)
	if ground.shown, err = loadCertificate(s, log); err != nil {
		return err
	}
	*code = serve(w.ctx, ground, patienceFor(s))
	return nil
}

// together is all that is wrong with the settings of several rooms.
func together(errs ...error) error {
	var all, some settings.Problems
	for _, err := range errs {
		switch {
		case errors.As(err, &some):
			all = append(all, some...)
		case err != nil:
			return err
		}
	}
	if len(all) == 0 {
		return nil
	}
	return all
}

// serve runs the service until ctx ends and returns the exit code. It listens
// first and opens the store meanwhile: whoever starts the process waits for
// the port.
func serve(ctx context.Context, ground *ground, p patience) int {
	s, log := ground.settings, ground.log
	listener, err := listen(ctx, s)
	if err != nil {
		log.Error("cannot listen", "address", s.Listen(), "error", err.Error())
		return exitFailed
	}
	log.Info("listening", "address", listener.Addr().String(), "version", versionText(), "store", ground.storage.name(), "hub", ground.hubName(), "memory", s.Memory.String())
	front := newFront(ground, p)
	r := running{ground: ground, front: front, server: newHTTPServer(front, log, p), log: log, patience: p, served: make(chan error, 1), kept: make(chan kept, 1)}
	go func() { r.served <- serveOn(r.server, listener, ground.shown) }()

	keeping, end := context.WithCancel(context.Background())
	defer end()
	k := newKeeper(ground, front, p)
	go func() {
		house, err := k.run(keeping)
		r.kept <- kept{house, err}
	}()
	code := r.wait(ctx)
	end()
	return r.stop(code)
}

// serveOn serves until the server is shut: HTTPS if there is a certificate, without
// HTTP/2, by which devices gain nothing, and whose streams are bounded by none of
// what bounds connections.
func serveOn(server *http.Server, listener net.Listener, shown *certificate) error {
	if shown == nil {
		return server.Serve(listener)
	}
	server.TLSConfig, server.Protocols = shown.config(), new(http.Protocols)
	server.Protocols.SetHTTP1(true)
	return server.ServeTLS(listener, "", "")
}

func newKeeper(g *ground, front *front, p patience) *keeper {
	return &keeper{
		front: front, log: g.log, isFinal: g.storage.isFinal, try: p.try, pause: p.pause,
		open: func(ctx context.Context) (*house, error) { return openHouse(ctx, g) },
		serve: func(h *house) {
			front.open(newApp(h, front.life, g.log, p))
			g.log.Info("ready", "shards", h.engine.Shards(), "took", time.Since(front.life.started).String())
		},
	}
}

// running is a service between its start and its end.
type running struct {
	ground   *ground
	front    *front
	server   *http.Server
	log      *slog.Logger
	patience patience
	served   chan error // the server ended
	kept     chan kept  // the keeper ended
}

// kept is what the keeper leaves: an open house, or why there never was one.
type kept struct {
	house *house
	err   error
}

// wait returns when the service has to end, with the code to end with.
func (r *running) wait(ctx context.Context) int {
	select {
	case k := <-r.kept:
		r.kept <- k
		r.log.Error("cannot open the store", "error", k.err.Error())
		if isWrongSetting(k.err) {
			return exitWrong
		}
		return exitFailed
	case err := <-r.served:
		r.log.Error("stopped serving", "error", err.Error())
		return exitFailed
	case <-ctx.Done():
		return exitStopped
	}
}

// stop ends everything in the order in which nothing acknowledged is lost: no
// new requests, those under way are answered, then what stands behind them.
func (r *running) stop(code int) int {
	r.front.stop()
	if err := errors.Join(r.drain(), r.closeHouse(), r.closeGround()); err != nil {
		r.log.Error("did not stop cleanly", "error", err.Error())
		return exitFailed
	}
	r.log.Info("stopped")
	return code
}

func (r *running) drain() error {
	ctx, cancel := context.WithTimeout(context.Background(), r.patience.drain)
	defer cancel()
	err := r.server.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = nil // clients that took too long: their requests were not answered, so nothing was promised
		_ = r.server.Close()
	}
	return err
}

// closeHouse flushes what waits, and closes the store. What does not end by itself
// then is left: what was acknowledged does not depend on it.
func (r *running) closeHouse() error {
	ctx, cancel := context.WithTimeout(context.Background(), r.patience.flush)
	defer cancel()
	select {
	case k := <-r.kept:
		if k.house == nil {
			return r.ground.flush(ctx)
		}
		done := make(chan error, 1)
		go func() { done <- k.house.close(ctx) }()
		select {
		case err := <-done:
			return err
		case <-time.After(2 * r.patience.flush):
			return errors.New("consumer, compactor or store did not end in time")
		}
	case <-ctx.Done(): // opening a store does not end: nothing waits to be written
		return errors.New("the store was still being opened")
	}
}

func (r *running) closeGround() error {
	ctx, cancel := context.WithTimeout(context.Background(), r.patience.flush/2)
	defer cancel()
	return r.ground.close(ctx)
}

// isWrongSetting says whether the local disk shows that a setting is wrong.
func isWrongSetting(err error) bool {
	var wrong *settingError
	return errors.As(err, &wrong)
}

// settingError is a setting that only the local disk shows to be wrong.
type settingError struct {
	name string
	err  error
}

func (e *settingError) Error() string { return e.name + ": " + strings.TrimSpace(e.err.Error()) }

func (e *settingError) Unwrap() error { return e.err }
