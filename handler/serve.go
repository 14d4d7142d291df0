package main

import (
	"context"
	"errors"
	"log/slog"
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
		// The rest is for what the runtime does not count.
		debug.SetMemoryLimit(int64(s.Memory) / 10 * 9)
	}
	*code = serve(w.ctx, s, log, defaultPatience)
	return nil
}

// serve runs the service until ctx ends and returns the exit code. It listens
// first and opens the store meanwhile: whoever starts the process waits for
// the port.
func serve(ctx context.Context, s settings.Settings, log *slog.Logger, p patience) int {
	listener, err := listen(ctx, s)
	if err != nil {
		log.Error("cannot listen", "address", s.Listen(), "error", err.Error())
		return exitFailed
	}
	log.Info("listening", "address", listener.Addr().String(), "version", versionText(), "data", s.Data, "memory", s.Memory.String())
	front := newFront(log, p)
	server := newHTTPServer(front, log, p)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()

	opening, giveUp := context.WithCancel(ctx)
	defer giveUp()
	broken := make(chan error, 1)
	r := running{front: front, server: server, log: log, patience: p, served: served, broken: broken}
	r.opening = open(opening, s, log, func(err error) { broken <- err })
	code := r.wait(ctx)
	giveUp()
	return r.stop(code)
}

// running is a service between its start and its end.
type running struct {
	front    *front
	server   *http.Server
	log      *slog.Logger
	patience patience

	opening <-chan opened // until the house is there, or will not be
	house   *house
	served  <-chan error // the server ended
	broken  <-chan error // the store cannot go on
}

// exitBroken is an exit code inside the process only: the store is not to be
// waited for.
const exitBroken = -1

// wait returns when the service has to end, with the code to end with.
func (r *running) wait(ctx context.Context) int {
	for {
		select {
		case o := <-r.opening:
			r.opening = nil
			if o.err != nil {
				return o.fail(ctx, r.log)
			}
			r.house = o.house
			r.front.open(newApp(r.house, r.front.life, r.log, r.patience))
			r.log.Info("ready", "shards", r.house.engine.Shards(), "took", time.Since(r.front.life.started).String())
		case err := <-r.served:
			r.log.Error("stopped serving", "error", err.Error())
			return exitFailed
		case err := <-r.broken:
			return r.breakOff(err)
		case <-ctx.Done():
			return exitStopped
		}
	}
}

// breakOff ends a service whose store cannot go on: what that holds in memory
// and on the disk may differ, so nothing more can be written, and whoever asked
// for it gets no answer. Calls inside the store may never return.
func (r *running) breakOff(err error) int {
	r.log.Error("the store cannot go on", "error", err.Error())
	_ = r.server.Close()
	return exitBroken
}

// stop ends everything in order, unless the store breaks meanwhile.
func (r *running) stop(code int) int {
	if code == exitBroken {
		return exitFailed
	}
	done := make(chan error, 1)
	go func() { done <- shutDown(r.front, r.server, r.house, r.opening, r.patience) }()
	select {
	case err := <-r.broken:
		r.breakOff(err)
		return exitFailed
	case err := <-done:
		if err != nil {
			r.log.Error("did not stop cleanly", "error", err.Error())
			return exitFailed
		}
	}
	r.log.Info("stopped")
	return code
}

// shutDown ends everything in the order in which nothing acknowledged is lost:
// no new requests, those under way are answered, then what stands behind them.
func shutDown(front *front, server *http.Server, house *house, opening <-chan opened, p patience) error {
	front.stop()
	ctx, cancel := context.WithTimeout(context.Background(), p.drain)
	defer cancel()
	err := server.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = nil // clients that took too long: their requests were not answered, so nothing was promised
		_ = server.Close()
	}
	if opening != nil {
		house = (<-opening).house
	}
	if house != nil {
		flushing, cancel := context.WithTimeout(context.Background(), p.flush)
		defer cancel()
		err = errors.Join(err, house.close(flushing))
	}
	return err
}

// opened is how the opening of the store ended.
type opened struct {
	house *house
	err   error
}

func open(ctx context.Context, s settings.Settings, log *slog.Logger, fatal func(error)) <-chan opened {
	done := make(chan opened, 1)
	go func() {
		house, err := openHouse(ctx, s, log, fatal)
		done <- opened{house, err}
	}()
	return done
}

// fail says why the store did not open, and which exit code that means.
func (o opened) fail(ctx context.Context, log *slog.Logger) int {
	if ctx.Err() != nil {
		return exitStopped
	}
	log.Error("cannot open the store", "error", o.err.Error())
	if isWrongSetting(o.err) {
		return exitWrong
	}
	return exitFailed
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
