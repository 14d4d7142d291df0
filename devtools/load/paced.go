package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"sluice/devtools/azurite"
	"sluice/devtools/load/body"
)

const (
	pacedDevices = 10_000
	pacedWarm    = 10 * time.Second
	pacedLength  = time.Minute // a merge interval, so that each shard is merged once
)

// paced has 10,000 devices send a reading a minute, in a request each and in
// real time, and counts what reaches the tables.
func (b *bench) paced() error {
	return b.withAzurite(func(server *azurite.Server) (err error) {
		s, err := b.counted(server, server.Account(), "SLUICE_LINGER=100ms", "SLUICE_MERGE=1m")
		if err != nil {
			return err
		}
		defer func() { err = s.end(err) }()
		f := newPacedFleet(s.URL)
		if _, err := f.run(b.ctx, pacedWarm); err != nil {
			return err
		}
		s.proxy.Take()
		waits, err := f.run(b.ctx, pacedLength)
		if err != nil {
			return err
		}
		counts, seconds := s.proxy.Take(), pacedLength.Seconds()
		total := counts.Total()
		slices.Sort(waits)
		fmt.Println("| readings/s | requests to the tables/s | of which write | rows written/s | answered after: median | 95% | at most |\n|---|---|---|---|---|---|---|")
		fmt.Printf("| %.0f | %.1f | %.1f | %.0f | %s | %s | %s |\n\n", float64(len(waits))/seconds, float64(total.Requests())/seconds,
			float64(total.Writes)/seconds, float64(total.RowsWritten)/seconds, milli(at(waits, 0.5)), milli(at(waits, 0.95)), milli(at(waits, 1)))
		printCounts(counts, seconds, "second")
		return nil
	})
}

// at is the value within which a share of ascending ones lies.
func at(sorted []time.Duration, share float64) time.Duration {
	return sorted[min(len(sorted)-1, int(share*float64(len(sorted))))]
}

func milli(d time.Duration) string { return fmt.Sprintf("%.1f ms", d.Seconds()*1e3) }

// pacedFleet sends the devices' readings one after the other, evenly.
type pacedFleet struct {
	url     string
	http    *http.Client
	next    int // device
	devices int
	period  time.Duration // between two requests of a device
	each    int           // readings of a request
}

// newPacedFleet has 10,000 devices that send a reading a minute.
func newPacedFleet(url string) *pacedFleet { return newFleet(url, pacedDevices, time.Minute, 1) }

// newFastFleet has 500 devices that send ten readings a second, in a request a
// second.
func newFastFleet(url string) *pacedFleet { return newFleet(url, 500, time.Second, 10) }

func newFleet(url string, devices int, period time.Duration, each int) *pacedFleet {
	return &pacedFleet{url: url, devices: devices, period: period, each: each, http: &http.Client{
		Transport: &http.Transport{MaxIdleConnsPerHost: 256}, Timeout: time.Minute,
	}}
}

// run sends for as long as that and returns how long each request took.
func (f *pacedFleet) run(ctx context.Context, length time.Duration) ([]time.Duration, error) {
	gap := f.period / time.Duration(f.devices)
	n := int(length / gap)
	waits, errs := make([]time.Duration, n), make([]error, n)
	started := time.Now()
	var requests sync.WaitGroup
	for i := range n {
		if wait := time.Until(started.Add(time.Duration(i) * gap)); wait > 0 {
			time.Sleep(wait)
		}
		device := f.next
		f.next = (f.next + 1) % f.devices
		requests.Go(func() {
			begun := time.Now()
			errs[i] = f.send(ctx, device)
			waits[i] = time.Since(begun)
		})
	}
	requests.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return waits, nil
}

func (f *pacedFleet) send(ctx context.Context, device int) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, f.url+"/api/v1/telemetry", strings.NewReader(f.body(device)))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := f.http.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK && response.StatusCode != http.StatusAccepted {
		err = fmt.Errorf("status %d: %.300s", response.StatusCode, answer)
	}
	return err
}

// body is a request's: one reading of now, or several that end now.
func (f *pacedFleet) body(device int) string {
	metrics := fmt.Sprintf(`"metrics":{"temperature":%.1f,"humidity":%d,"running":true,"state":"OK"}`, 20+float64(device%100)/10, 40+device%40)
	if f.each == 1 {
		return fmt.Sprintf(`{"deviceId":%q,%s}`, body.Device(device), metrics)
	}
	messages := make([]string, f.each)
	for i := range messages {
		ts := time.Now().Add(-f.period * time.Duration(f.each-1-i) / time.Duration(f.each))
		messages[i] = fmt.Sprintf(`{"deviceId":%q,"ts":%q,%s}`, body.Device(device), ts.UTC().Format(time.RFC3339Nano), metrics)
	}
	return "[" + strings.Join(messages, ",") + "]"
}
