// Package ingest is the HTTP write side: it decodes bodies, judges each reading
// and makes the good ones durable in groups.
package ingest

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"

	"sluice/access/limit"
	"sluice/engine"
	"sluice/telemetry"
	"sluice/telemetry/wire"
)

// Config is what Ingest needs to know; zero fields get their defaults.
type Config struct {
	// MaxBody and MaxDecoded bound a body's bytes, as sent and decompressed;
	// MaxReadings its readings; MaxMetrics the metrics of a reading, and of a device
	// as far as this instance has seen. Defaults: telemetry's.
	MaxBody, MaxDecoded     int64
	MaxReadings, MaxMetrics int
	// Deadline (default 20 s) bounds how long a request waits for its readings to
	// be durable. What it waited for may become durable later.
	Deadline time.Duration
	// DecodeBytes (default 128 MiB) bounds the memory of the bodies that are
	// decoded at the same time; one alone may take more.
	DecodeBytes int64
	// Devices judges, for the request that a context is of, of which devices it may
	// bring readings: nil, or why not. Default: everybody may of all.
	Devices func(ctx context.Context) func(device string) *telemetry.Refusal
	// Rate is what each device may send; nil: as much as it likes.
	Rate  *limit.Rate
	Group GroupConfig
}

func (c Config) withDefaults() Config {
	c.MaxBody = orDefault(c.MaxBody, telemetry.MaxBody)
	c.MaxDecoded = orDefault(c.MaxDecoded, telemetry.MaxDecoded)
	c.MaxReadings = orDefault(c.MaxReadings, telemetry.MaxReadings)
	c.MaxMetrics = orDefault(c.MaxMetrics, telemetry.MaxMetrics)
	c.Deadline = orDefault(c.Deadline, 20*time.Second)
	c.DecodeBytes = orDefault(c.DecodeBytes, 128<<20)
	return c
}

// Store is where readings go, by way of the queue if there is one
// (GroupConfig.Queue), and deletions at once.
type Store interface {
	Appender
	// Delete deletes a device: after nil, nothing that was accepted under stamp or
	// a lower one is in any answer.
	Delete(ctx context.Context, device string, stamp telemetry.Stamp) error
}

// Ingest serves the write side. It may be used concurrently.
type Ingest struct {
	cfg   Config
	store Store
	group *Group
	clock *telemetry.Clock
	floor func() int64
	names *nameBound
	room  room

	refused atomic.Int64 // readings over a rate; a call that was refused unread counts as one
}

// New makes an Ingest. The store need not be there yet: as long as it fails, the
// queue takes readings. floor returns the oldest time that the store keeps,
// nanoseconds since the Unix epoch; it is called for each body.
func New(cfg Config, store Store, clock *telemetry.Clock, floor func() int64) *Ingest {
	cfg = cfg.withDefaults()
	cfg.Group.Now = clock.Now
	return &Ingest{
		cfg: cfg, store: store, group: NewGroup(store, cfg.Group),
		clock: clock, floor: floor, names: newNameBound(cfg.MaxMetrics),
		room: room{most: cfg.DecodeBytes},
	}
}

// Register adds the write side's routes.
func (in *Ingest) Register(g interface {
	POST(path string, h echo.HandlerFunc, m ...echo.MiddlewareFunc) *echo.Route
	DELETE(path string, h echo.HandlerFunc, m ...echo.MiddlewareFunc) *echo.Route
}) {
	g.POST("/api/v1/telemetry", in.Telemetry)
	g.POST("/api/v1/devices/:deviceId/telemetry", in.DeviceTelemetry)
	g.DELETE("/api/v1/devices/:deviceId", in.DeleteDevice)
}

// Refused counts the readings that were over their devices' rates. A call that was
// refused before its body was read counts as one.
func (in *Ingest) Refused() int64 { return in.refused.Load() }

// Close makes what waits durable and refuses what comes later, see Group.Close.
func (in *Ingest) Close(ctx context.Context) error { return in.group.Close(ctx) }

// options is how the bodies that come now are decoded.
func (in *Ingest) options(device string) wire.Options {
	return wire.Options{
		Device:   device,
		Window:   telemetry.NewWindow(in.clock.Now(), in.floor()),
		Readings: in.cfg.MaxReadings,
		Metrics:  in.cfg.MaxMetrics,
	}
}

// take makes the acceptable readings of a batch durable, as many as their devices'
// rates let through; queued, if some of them are so in the queue. A *forbiddenError
// if whoever sent it may bring none of them.
func (in *Ingest) take(ctx context.Context, b *wire.Batch) (queued bool, c charge, err error) {
	if err := in.authorise(ctx, b); err != nil {
		return false, c, err
	}
	b.Refuse(in.names.checker())
	c = limitBatch(in.rateFor(ctx), b)
	in.refused.Add(int64(c.refused))
	if len(b.Readings) == 0 {
		return false, c, nil
	}
	b.Stamp(in.clock.Take(len(b.Readings)))
	within, cancel := context.WithTimeout(ctx, in.cfg.Deadline)
	defer cancel()
	queued, err = in.put(within, b)
	if errors.Is(err, engine.ErrFloor) {
		in.refuseOld(b)
		queued, err = in.put(within, b) // with the same stamps: what is durable already stays as it is
	}
	if err != nil && !errors.Is(ctx.Err(), context.Canceled) { // who hangs up does not get readings for nothing: they may be durable yet
		c.back(b)
	}
	return queued, c, err
}

// put makes readings durable and takes back those that the store refuses.
func (in *Ingest) put(ctx context.Context, b *wire.Batch) (queued bool, err error) {
	queued, err = in.group.Put(ctx, b.Readings)
	var refuser Refuser
	if !errors.As(err, &refuser) {
		return queued, err
	}
	b.Refuse(func(r *telemetry.Reading) *telemetry.Refusal {
		if !refuser.Refused(r.Device, r.Stamp) {
			return nil
		}
		return telemetry.Refuse(telemetry.NotStorable, "the store refuses this reading of %s for good: sending it again does not help", telemetry.Quote(r.Device))
	})
	return queued, nil
}

// refuseOld judges the times of a batch again, by the floor that was raised
// since it was decoded. Other shards' flushes may still read the readings.
func (in *Ingest) refuseOld(b *wire.Batch) {
	window := telemetry.NewWindow(in.clock.Now(), in.floor())
	b.Readings = slices.Clone(b.Readings)
	b.Refuse(func(r *telemetry.Reading) *telemetry.Refusal { return window.Check(r.Time) })
}
