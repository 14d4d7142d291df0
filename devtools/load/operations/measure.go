package operations

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"time"

	"github.com/labstack/echo/v4"

	"sluice/query"
	"sluice/telemetry"
)

// Case is a fleet under some settings.
type Case struct {
	Fleet    Fleet
	Settings Settings
	Length   time.Duration // at least this long, in whole merge intervals
	Probes   int           // devices that are asked for, which have sent for a day before
}

// Result is what a case cost. Rates are over Seconds.
type Result struct {
	Case
	Seconds       float64
	Readings      int
	Append, Merge Counts
	Waits         []time.Duration // of each body for its answer, ascending
	// Asked is what the dearest device of the probes cost, just before a merge,
	// when the tail is longest. List is the one of 1,000 devices.
	Latest, Hour, Day, List Counts
}

// Wait is the time within which a share of the bodies was answered.
func (r Result) Wait(share float64) time.Duration {
	return r.Waits[min(len(r.Waits)-1, int(share*float64(len(r.Waits))))]
}

// Measure runs a case: a day's history of the probes, a merge interval to begin
// with, then what is counted: readings and the merges that take them in. Queries
// are asked just before the last of these.
func Measure(ctx context.Context, c Case) (Result, error) {
	w, err := Open(ctx, c.Settings, Tables)
	if err != nil {
		return Result{}, err
	}
	if err := w.history(ctx, c); err != nil {
		return Result{}, fmt.Errorf("make the history: %w", err)
	}
	if err := w.Run(ctx, c.Fleet, c.Settings.Merge); err != nil {
		return Result{}, err
	}
	if err := w.MergeDue(ctx); err != nil {
		return Result{}, err
	}
	w.Forget()
	length := c.Settings.Merge
	for length < c.Length {
		length += c.Settings.Merge
	}
	if err := w.Run(ctx, c.Fleet, length); err != nil {
		return Result{}, err
	}
	r := Result{Case: c, Seconds: length.Seconds(), Readings: w.Readings, Waits: w.waits}
	slices.Sort(r.Waits)
	if err := w.ask(ctx, &r); err != nil {
		return r, err
	}
	err = w.MergeDue(ctx)
	r.Append, r.Merge = w.Append, w.Merge
	return r, err
}

// history appends and merges what the probes sent on the day before.
func (w *World) history(ctx context.Context, c Case) error {
	dice := rand.New(rand.NewPCG(7, 8))
	for _, device := range c.probes() {
		var readings []telemetry.Reading
		for at := Noon.Add(-24 * time.Hour); at.Before(Noon); at = at.Add(c.Fleet.Interval()) {
			readings = append(readings, Reading(device, at, dice))
		}
		for part := range slices.Chunk(readings, 20_000) {
			if err := w.Flush(ctx, part); err != nil {
				return err
			}
		}
	}
	return w.Compact(ctx)
}

// probes are evenly spread over the fleet.
func (c Case) probes() []int {
	n := min(c.Probes, c.Fleet.Devices)
	devices := make([]int, n)
	for i := range devices {
		devices[i] = i * c.Fleet.Devices / n
	}
	return devices
}

func (w *World) ask(ctx context.Context, r *Result) error {
	server := w.server()
	w.Now = w.began.Add(w.passed)
	for _, device := range r.probes() {
		path := "/api/v1/devices/" + Sensor(device)
		for _, q := range []struct {
			target string
			worst  *Counts
		}{
			{path + "/latest", &r.Latest},
			{path + "/aggregates?metric=temperature&from=now-1h", &r.Hour},
			{path + "/aggregates?metric=temperature&from=now-24h&step=5m", &r.Day},
		} {
			if err := w.get(ctx, server, q.target, q.worst); err != nil {
				return err
			}
		}
	}
	return w.get(ctx, server, "/api/v1/devices?limit=1000", &r.List)
}

func (w *World) server() http.Handler {
	e := echo.New()
	e.Logger.SetOutput(io.Discard)
	query.New(func() query.Reader { return w.Engine.View() }, query.Options{
		Now: func() time.Time { return w.Now }, Log: slog.New(slog.DiscardHandler),
	}).Register(e)
	return e
}

// get asks, and raises worst to what the query cost if that was dearer.
func (w *World) get(ctx context.Context, server http.Handler, target string, worst *Counts) error {
	answer := httptest.NewRecorder()
	server.ServeHTTP(answer, httptest.NewRequestWithContext(ctx, http.MethodGet, target, nil))
	cost := w.counter.Take()
	if answer.Code != http.StatusOK {
		return fmt.Errorf("GET %s: %d %.300s", target, answer.Code, answer.Body)
	}
	if cost.RowsRead > worst.RowsRead {
		*worst = cost
	}
	return nil
}
