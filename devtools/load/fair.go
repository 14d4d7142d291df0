package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sluice/devtools/load/body"
	"sluice/devtools/load/service"
)

// A fleet within its limits, and a device at fifty times its own.
const (
	fairRate   = 100 // readings a second, SLUICE_DEVICE_RATE
	fairQuiet  = 100 // devices that send a body of 10 readings a second
	fairTimes  = 50  // what the loud one sends of its rate, in bodies of fairBody
	fairBody   = 50
	fairLength = 10 * time.Second
	// The burst that every device may send is over by then.
	fairWarm = 3 * time.Second
)

// fair measures how long the answers of a well-behaved fleet take beside a loud
// device and without one, by turns.
func (b *bench) fair() error {
	fmt.Println("| run | loud device | bodies of the others | refused | median | 99% | readings of the loud one that were taken/s |\n|---|---|---|---|---|---|---|")
	p99 := map[bool][]time.Duration{}
	for run := range b.repeats {
		for _, loud := range []bool{run%2 == 0, run%2 != 0} {
			r, err := b.fairRun(fmt.Sprintf("fair-%d-%t", run, loud), loud)
			if err != nil {
				return err
			}
			slices.Sort(r.waits)
			p99[loud] = append(p99[loud], at(r.waits, 0.99))
			fmt.Printf("| %d | %t | %d | %d | %s | %s | %.0f |\n", run+1, loud, len(r.waits), r.refused.Load(),
				milli(at(r.waits, 0.5)), milli(at(r.waits, 0.99)), float64(r.taken.Load())/fairLength.Seconds())
		}
	}
	slices.Sort(p99[true])
	slices.Sort(p99[false])
	with, without := at(p99[true], 0.5), at(p99[false], 0.5)
	fmt.Printf("\nMedian of the 99%%: %s beside the loud device, %s without: %.2f times.\n", milli(with), milli(without), float64(with)/float64(without))
	return nil
}

// fairRun is what one run shows: of the others how long each body took and how
// many were not taken whole, of the loud one how many readings were taken.
type fairRun struct {
	mu      sync.Mutex
	waits   []time.Duration
	refused atomic.Int64
	taken   atomic.Int64
}

func (b *bench) fairRun(name string, loud bool) (*fairRun, error) {
	r := &fairRun{}
	err := b.with(filepath.Join(b.folder, name), func(p *service.Process) error {
		ctx, cancel := context.WithTimeout(b.ctx, fairWarm+fairLength)
		defer cancel()
		measured := time.Now().Add(fairWarm)
		var devices sync.WaitGroup
		for i := range fairQuiet {
			devices.Go(func() {
				time.Sleep(time.Duration(i) * time.Second / fairQuiet)
				every(ctx, time.Second, func() { r.quiet(ctx, p.Client, i, measured) })
			})
		}
		if loud {
			const clients = 10
			for i := range clients {
				devices.Go(func() {
					every(ctx, clients*time.Second*fairBody/(fairRate*fairTimes), func() { r.loud(ctx, p.Client, i, measured) })
				})
			}
		}
		devices.Wait()
		return b.ctx.Err()
	}, fmt.Sprintf("SLUICE_DEVICE_RATE=%d", fairRate))
	return r, err
}

// every calls f at a steady pace until ctx ends; what is late is not made up for.
func every(ctx context.Context, interval time.Duration, f func()) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for ctx.Err() == nil {
		f()
		select {
		case <-ticker.C:
		case <-ctx.Done():
		}
	}
}

func (r *fairRun) quiet(ctx context.Context, c service.Client, device int, measured time.Time) {
	const readings = 10
	t := body.New(device, 1, readings, 100*time.Millisecond)
	t.At(time.Now().Add(-time.Minute))
	began := time.Now()
	v, err := c.Post(ctx, "/api/v1/telemetry", "application/json", "", t.Bytes)
	if ctx.Err() != nil || began.Before(measured) {
		return
	}
	if err != nil || v.Accepted != readings {
		r.refused.Add(1)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waits = append(r.waits, time.Since(began))
}

func (r *fairRun) loud(ctx context.Context, c service.Client, client int, measured time.Time) {
	t := body.New(fairQuiet, 1, fairBody, time.Millisecond)
	t.At(time.Now().Add(-time.Duration(client+1) * time.Hour))
	v, err := c.Post(ctx, "/api/v1/telemetry", "application/json", "", t.Bytes)
	if err == nil && !time.Now().Before(measured) {
		r.taken.Add(int64(v.Accepted))
	}
}
