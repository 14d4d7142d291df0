// Package query is the HTTP read side: devices, latest values, readings and
// aggregates. It answers from the engine's views and keeps nothing between two
// requests.
package query

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"sluice/engine"
	"sluice/internal/httperr"
	"sluice/telemetry"
	"sluice/telemetry/block"
)

// Reader is what an answer is read from: the engine's View says what each
// method does. It is used concurrently.
type Reader interface {
	Device(ctx context.Context, id string) (engine.Info, bool, error)
	Devices(ctx context.Context, prefix, after string, yield func(engine.Info) bool) error
	Read(ctx context.Context, id string, span engine.Span, yield func(*block.Frame) error) error
	Unmerged(ctx context.Context, id string) (telemetry.Stamp, bool, error)
}

// Options bound what one query may cost. A zero field takes its default.
type Options struct {
	// Lateness is how long after its end a bucket may become final
	// (SLUICE_LATENESS). Default 1 h; negative: none.
	Lateness time.Duration
	// Consumed says how far a hub is consumed in which accepted readings wait: all
	// that it had before upTo is in the store. Buckets wait for it to be final, and
	// none is where it is not known. It is asked by most answers with old buckets:
	// whoever gives it keeps it for some seconds. nil: there is no hub.
	Consumed func(ctx context.Context) (upTo time.Time, err error)
	// Prefix is, for the request that a context is of, what the ids of all devices
	// begin with that it may read; ok, if it may read any. Default: all.
	Prefix func(ctx context.Context) (prefix string, ok bool)
	// MaxValues is how many values the aggregates of one query are folded from.
	// Default 5,000,000.
	MaxValues int64
	// MaxBuckets is how many buckets, of all series together, an answer may have.
	// Default 200,000 (about 50 MB while it is made).
	MaxBuckets int64
	// MaxDevices is how many devices a fleet query may select. Default 50,000.
	MaxDevices int
	// MaxPageBytes is the size at which a page of readings is cut although its
	// limit is not reached. Default 16 MiB.
	MaxPageBytes int
	// Timeout is how long an answer may take that is not a stream. Default 30 s.
	Timeout time.Duration
	// Stall is how long a client of a stream may take for one piece of it.
	// Default 1 min.
	Stall time.Duration
	// Workers is how many devices of a fleet are folded at a time. Default
	// GOMAXPROCS.
	Workers int
	// Now is the clock. Default time.Now.
	Now func() time.Time
	// Log gets what a client cannot be told: a stream that broke. Default
	// slog.Default.
	Log *slog.Logger
}

func (o Options) withDefaults() Options {
	setDefault(&o.Lateness, time.Hour)
	o.Lateness = max(o.Lateness, 0)
	setDefault(&o.MaxValues, 5_000_000)
	setDefault(&o.MaxBuckets, 200_000)
	setDefault(&o.MaxDevices, 50_000)
	setDefault(&o.MaxPageBytes, 16<<20)
	setDefault(&o.Timeout, 30*time.Second)
	setDefault(&o.Stall, time.Minute)
	setDefault(&o.Workers, runtime.GOMAXPROCS(0))
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	return o
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Service answers queries. It may be used concurrently.
type Service struct {
	view    func() Reader
	options Options
	buffers sync.Pool
}

// New makes a service; view begins an answer (the engine's View).
func New(view func() Reader, options Options) *Service {
	return &Service{view: view, options: options.withDefaults()}
}

// Register adds the routes. Errors are left to the server's error handler
// (httperr.Handler).
func (s *Service) Register(e *echo.Echo) {
	routes := map[string]echo.HandlerFunc{
		"/api/v1/devices":                s.devices,
		"/api/v1/devices/:id":            s.device,
		"/api/v1/devices/:id/latest":     s.latest,
		"/api/v1/devices/:id/readings":   s.readings,
		"/api/v1/devices/:id/aggregates": s.deviceAggregates,
		"/api/v1/aggregates":             s.fleetAggregates,
	}
	for path, handler := range routes {
		e.GET(path, handler)
		e.HEAD(path, handler)
	}
}

// attempts is how often an answer is begun when the store changes under it.
const attempts = 5

// answer runs read with a new view, and again while the store changes under it.
func (s *Service) answer(ctx context.Context, read func(context.Context, Reader) error) error {
	ctx, cancel := context.WithTimeout(ctx, s.options.Timeout)
	defer cancel()
	for range attempts - 1 {
		if err := read(ctx, s.view()); !errors.Is(err, engine.ErrAgain) {
			return s.explain(err)
		}
	}
	return s.explain(read(ctx, s.view()))
}

// explain makes an answer of the errors of the store that a client may try
// again after.
func (s *Service) explain(err error) error {
	var own *httperr.Error
	code, after := httperr.StoreCode(err)
	switch {
	case err == nil || errors.As(err, &own):
		return err
	case errors.Is(err, engine.ErrAgain):
		return httperr.Retry(httperr.Unavailable, time.Second, err, "the store changed %d times while it was read: try again", attempts)
	case code != "":
		return httperr.Retry(code, after, err, "the store does not answer: try again")
	case errors.Is(err, context.DeadlineExceeded):
		return httperr.Retry(httperr.Timeout, time.Second, err, "the answer took longer than %s: ask for a shorter range or fewer devices, or try again", s.options.Timeout)
	default:
		return err
	}
}

// maxKept is the largest buffer that is kept for another answer.
const maxKept = 1 << 20

func (s *Service) buffer() *[]byte {
	if b, ok := s.buffers.Get().(*[]byte); ok {
		return b
	}
	return new([]byte)
}

func (s *Service) release(b *[]byte) {
	if cap(*b) > maxKept {
		return
	}
	*b = (*b)[:0]
	s.buffers.Put(b)
}

// known reads what is known of a device, 404 if it is unknown.
func known(ctx context.Context, view Reader, id string) (engine.Info, error) {
	info, ok, err := view.Device(ctx, id)
	if err == nil && !ok {
		err = httperr.New(httperr.UnknownDevice, "no device %q", id)
	}
	return info, err
}
