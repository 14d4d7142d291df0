// Package host stands in for the Azure Functions host: it reads an app root,
// starts its custom handler, and treats it as a real host would, with all that
// is unpleasant about that. It is for tests and local work, where no real host
// runs.
//
// What it does was taken from two sources. Forwarded HTTP, the payloads of
// triggers, and how a handler is started, killed and started again were seen
// on a real host (4.1037.0 on Linux); golden tests hold this package to
// recordings of it where there are any. Proxied HTTP, the counting of errors,
// time-outs and the admin API are built from descriptions and sources alone,
// and marked so.
package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// Version is what this host says it is.
const Version = "4.1037.0.0"

// Mode is how a host hands on HTTP.
type Mode int

const (
	// Newer is a host that knows both switches of host.json, and proxies where
	// it may do either.
	Newer Mode = iota
	// Older is a host that does not know enableProxyingHttpRequest.
	Older
)

// Proxy and Forward are the modes by what they do with an app root that has
// both switches.
const (
	Proxy   = Newer
	Forward = Older
)

func (m Mode) String() string {
	if m == Older {
		return "forward"
	}
	return "proxy"
}

// Options of a host.
type Options struct {
	Root string // the app root
	Mode Mode
	// Settings are app settings, "NAME=value". They win over Environ.
	Settings []string
	// Environ is the host's own environment, which the handler inherits; nil
	// means this process's.
	Environ []string
	// Port on 127.0.0.1 for callers; 0 means any.
	Port int
	// Key opens functions whose authLevel is not anonymous, and the admin API.
	// Without one they are closed to everybody.
	Key string
	// Log takes what the host has to say, and the handler's lines where Output
	// is nil. Nil means silence.
	Log *slog.Logger
	// Output takes the handler's lines, one at a time for each of its streams.
	Output func(Line)
	// Hubs feeds functions with an eventHubTrigger, from hubs that their connection
	// strings lead to. Nil: only TriggerEvents calls them.
	Hubs *Hubs

	habits *habits
}

// Host is a running host. Its methods may be called concurrently.
type Host struct {
	app        *app
	mode       Mode
	key        string
	settings   map[string]string
	habits     habits
	log        *slog.Logger
	supervisor *supervisor
	client     *client
	listener   net.Listener
	server     *http.Server
	life       context.Context // ends when calls have no more to hope for
	die        context.CancelFunc
	timers     context.Context // ends when no more timers are to fire
	noTimers   context.CancelFunc
	calls      sync.WaitGroup // triggers under way
	readers    sync.WaitGroup // of hubs

	mu         sync.Mutex
	deliveries map[string]int
	closing    bool

	runs map[string]chan struct{} // a token for each function: a timer's runs never overlap

	end  sync.Once
	done chan struct{}
	err  error // set before done is closed
}

// Start reads an app root and starts its handler. It does not wait for the
// handler: calls do. It fails with ErrApp for an app root that a real host
// would not run as its files say. The end of ctx ends the host as Close does.
func Start(ctx context.Context, o Options) (*Host, error) {
	h, err := newHost(o)
	if err != nil {
		return nil, err
	}
	if h.listener, err = new(net.ListenConfig).Listen(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", o.Port)); err != nil {
		return nil, err
	}
	h.server = &http.Server{
		Handler: h, DisableGeneralOptionsHandler: true, ReadHeaderTimeout: time.Minute, ErrorLog: slog.NewLogLogger(h.log.Handler(), slog.LevelDebug),
	}
	go h.supervisor.run(func(err error) { h.stop(err, false) })
	go func() { _ = h.server.Serve(h.listener) }()
	context.AfterFunc(ctx, func() { _ = h.Close() })
	h.startTimers()
	h.startHubs(o.Hubs)
	return h, nil
}

func newHost(o Options) (*Host, error) {
	environ := o.Environ
	if environ == nil {
		environ = os.Environ()
	}
	environ = slices.Concat(environ, o.Settings)
	settings := map[string]string{}
	for _, s := range environ {
		if name, value, ok := strings.Cut(s, "="); ok {
			settings[name] = value
		}
	}
	app, err := loadApp(o.Root, settings)
	if err != nil {
		return nil, err
	}
	port, err := unusedPort()
	if err != nil {
		return nil, err
	}
	h := &Host{
		app: app, mode: o.Mode, key: o.Key, settings: settings, habits: realHabits, log: o.Log,
		client: &client{address: handlerAddress(port)}, deliveries: map[string]int{}, runs: map[string]chan struct{}{}, done: make(chan struct{}),
	}
	if o.habits != nil {
		h.habits = *o.habits
	}
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	h.life, h.die = context.WithCancel(context.Background())
	h.timers, h.noTimers = context.WithCancel(h.life)
	h.supervisor = &supervisor{
		app: app, environ: environ, port: port, habits: h.habits, log: h.log, line: o.Output,
		changed: make(chan struct{}), closing: make(chan struct{}), done: make(chan struct{}),
	}
	if h.supervisor.line == nil {
		h.supervisor.line = func(l Line) { h.log.Log(context.Background(), l.Level, l.Text, "stderr", l.Stderr) }
	}
	for _, f := range app.functions {
		h.runs[f.name] = make(chan struct{}, 1)
	}
	h.tell()
	return h, nil
}

// tell logs what was found in the app root.
func (h *Host) tell() {
	for _, w := range h.app.warnings {
		h.log.Warn(w)
	}
	for _, f := range h.app.functions {
		if f.err != nil {
			h.log.Error("function does not start", "function", f.name, "error", f.err.Error())
		}
	}
}

// Addr is the address that callers use, host:port.
func (h *Host) Addr() string { return h.listener.Addr().String() }

// URL is where callers find the app, without a slash at its end.
func (h *Host) URL() string { return "http://" + h.Addr() }

// HandlerPID is the process id of the handler; 0 while there is none.
func (h *Host) HandlerPID() int { return h.supervisor.pid() }

// Ready waits until the handler listens.
func (h *Host) Ready(ctx context.Context) error {
	_, err := h.supervisor.await(ctx)
	return err
}

// Crashes is how often the handler failed: ended with an error, was killed by
// somebody else, or did not listen in time.
func (h *Host) Crashes() int {
	h.supervisor.mu.Lock()
	defer h.supervisor.mu.Unlock()
	return h.supervisor.crashes
}

// Deliveries is how often calls of a function were sent to the handler, those
// that were sent again counted each time.
func (h *Host) Deliveries(function string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.deliveries[function]
}

func (h *Host) delivered(f *function) {
	h.mu.Lock()
	h.deliveries[f.name]++
	h.mu.Unlock()
}

// Warnings are what the app root has that a real host ignores silently.
func (h *Host) Warnings() []string { return slices.Clone(h.app.warnings) }

// Function describes a function for people.
type Function struct {
	Name, Trigger string
	Route         string // of an HTTP function, with a slash at its begin
	Methods       []string
	Schedule      string // of a timer
	Hub           string // that feeds it
	Disabled      bool
	Err           error // why it did not start
}

// Functions are the functions of the app root, by name.
func (h *Host) Functions() []Function {
	var list []Function
	for _, f := range h.app.functions {
		d := Function{Name: f.name, Trigger: f.kind, Schedule: f.binding.Schedule, Disabled: f.disabled, Err: f.err}
		if f.route != nil {
			d.Route = "/" + f.route.template
			d.Methods = slices.Sorted(maps.Keys(f.methods))
		}
		if where, err := f.place(h.settings); f.kind == "eventHubTrigger" && err == nil {
			d.Hub = where.hub
		}
		list = append(list, d)
	}
	return list
}

// Done is closed when the host has ended; Err says why.
func (h *Host) Done() <-chan struct{} { return h.done }

// Err is nil while the host runs and after Close, ErrCrashed if its handler
// failed too often.
func (h *Host) Err() error {
	select {
	case <-h.done:
		return h.err
	default:
		return nil
	}
}

// Close ends the host as SIGTERM ends a real one: it listens no more, lets
// calls under way end, and kills the handler, which is never asked to stop.
func (h *Host) Close() error {
	h.stop(nil, false)
	<-h.done
	return h.err
}

// Kill ends the host and the handler at once, calls under way with them.
func (h *Host) Kill() {
	h.stop(nil, true)
	<-h.done
}

// enter counts a trigger in that is under way, unless the host stops.
func (h *Host) enter() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closing {
		return false
	}
	h.calls.Add(1)
	return true
}

// stop ends the host, at once or when calls have ended.
func (h *Host) stop(why error, atOnce bool) {
	if atOnce {
		// Also where calls are being waited for already.
		h.die()
		_ = h.server.Close()
	}
	h.end.Do(func() {
		h.mu.Lock()
		h.closing = true
		h.mu.Unlock()
		go func() {
			h.noTimers()
			_ = h.server.Shutdown(h.life)
			h.calls.Wait()
			h.die()
			h.readers.Wait()
			_ = h.server.Close()
			h.supervisor.stop()
			h.client.close()
			if why != nil {
				h.log.Error("host stopped", "error", why.Error())
			}
			h.err = why
			close(h.done)
		}()
	})
}

// invocation is a call of a function on its way.
type invocation struct {
	id       string
	function *function
}

// invoke runs a call: waits for the handler, has do deliver it, and kills the
// handler if the call takes longer than a function may. The caller's own
// context plays no role: a handler never learns that its caller went away.
func (h *Host) invoke(f *function, do func(context.Context, invocation) error) error {
	ctx := h.life
	if h.app.timeout > 0 {
		timed, cancel := context.WithTimeout(ctx, h.app.timeout)
		defer cancel()
		ctx = timed
	}
	err := h.deliver(ctx, f, do)
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		h.log.Error("function timed out: the handler is killed, and every other call with it", "function", f.name, "after", h.app.timeout.String())
		h.supervisor.tooLong()
		return fmt.Errorf("function %s: %w", f.name, context.DeadlineExceeded)
	}
	return err
}

func (h *Host) deliver(ctx context.Context, f *function, do func(context.Context, invocation) error) error {
	if _, err := h.supervisor.await(ctx); err != nil {
		return err
	}
	return do(ctx, invocation{newID(), f})
}

// sendAgain is how often a call without a body is sent to a handler that
// closes the connection instead of answering, the first time included.
const sendAgain = 4

// send delivers a call as .NET's client does: one without a body is sent again
// on a new connection if the old one ended before any of the answer came.
func (h *Host) send(ctx context.Context, f *function, out *outgoing) (*incoming, error) {
	for sent := 1; ; sent++ {
		in, err := h.client.do(ctx, out, func() { h.delivered(f) })
		if err == nil || out.body != nil || sent == sendAgain || !errors.Is(err, errNoAnswer) || ctx.Err() != nil {
			return in, err
		}
		h.log.Debug("sent again", "function", f.name, "target", out.target, "error", err.Error())
	}
}
