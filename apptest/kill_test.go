package apptest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"sluice/devtools/load/service"
)

// killWorld is a data folder, and what the service said of it through all its
// lives.
type killWorld struct {
	ledger  *ledger
	data    string
	base    int64 // the time of the earliest readings
	devices int
	clients int
}

// Load from 8 clients, kill -9 at a random moment, start again: every
// acknowledged reading is there once, with the value of the newest attempt.
// SLUICE_KILLS sets the rounds (make soak: 50).
func TestKill(t *testing.T) {
	n := rounds(t, "SLUICE_KILLS", 3)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	dice := rand.New(rand.NewPCG(seed, 1))
	w := &killWorld{
		ledger: newLedger(), data: t.TempDir(), devices: 40, clients: 8,
		base: time.Now().Add(-4 * 24 * time.Hour).Truncate(time.Second).UnixNano(),
	}
	p := start(t, w.data, busy...)
	for round := range n {
		life := time.Duration(dice.IntN(2500)) * time.Millisecond
		if dice.IntN(5) == 0 {
			life = time.Duration(dice.IntN(100)) * time.Millisecond
		}
		w.load(t, p, life, dice.Uint64())
		w.ledger.crash(never)
		noErrors(t, p)
		p = start(t, w.data, busy...)
		w.check(t, p, fmt.Sprintf("after kill %d, %s after the start of the load", round+1, life))
	}
	if err := p.AwaitMerged(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.check(t, p, "all merged")
	stop(t, p)
	p = start(t, w.data, busy...)
	w.check(t, p, "after a stop")
	stop(t, p)
	t.Logf("%d kills: %d bodies of %d readings acknowledged, %d places", n, w.ledger.bodies, w.ledger.readings, len(w.ledger.attempts))
	if w.ledger.readings == 0 {
		t.Error("nothing was acknowledged: the test has shown nothing")
	}
}

// load runs the clients against a service that is killed meanwhile.
func (w *killWorld) load(t *testing.T, p *service.Process, life time.Duration, seed uint64) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var clients sync.WaitGroup
	problems := make(chan error, w.clients)
	for i := range w.clients {
		clients.Go(func() {
			if err := w.client(ctx, p.Client, rand.New(rand.NewPCG(seed, uint64(i)))); err != nil {
				problems <- err
			}
		})
	}
	time.Sleep(life)
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	cancel()
	clients.Wait()
	select {
	case err := <-problems:
		t.Fatal(err)
	default:
	}
}

// client sends bodies until ctx ends.
func (w *killWorld) client(ctx context.Context, c service.Client, dice *rand.Rand) error {
	for ctx.Err() == nil {
		sent := w.ledger.send(w.somePlaces(dice))
		path, contentType, data := encodeBody(sent, dice)
		encoding := ""
		if dice.IntN(4) == 0 {
			data, encoding = gzipped(data)
		}
		v, err := c.Post(ctx, path, contentType, encoding, data)
		var status *service.StatusError
		switch {
		case err == nil && v.Accepted == len(sent.places):
			w.ledger.ack(sent)
		case err == nil:
			return fmt.Errorf("%d of %d readings accepted: %+v", v.Accepted, len(sent.places), v)
		case errors.As(err, &status) && status.Status != http.StatusServiceUnavailable:
			return fmt.Errorf("a body of %d readings: %w", len(sent.places), err)
		}
		time.Sleep(time.Duration(dice.IntN(30)) * time.Millisecond)
	}
	return nil
}

// somePlaces are mostly few, now and then many, of one device or of several;
// some of them were sent before, by this client or another one.
func (w *killWorld) somePlaces(dice *rand.Rand) []place {
	n := 1 + dice.IntN(20)
	switch dice.IntN(12) {
	case 0:
		n = 200 + dice.IntN(400)
	case 1, 2, 3:
		n = 1
	}
	one := dice.IntN(w.devices)
	several := dice.IntN(2) == 0
	places := make([]place, n)
	for i := range places {
		device := one
		if several {
			device = dice.IntN(w.devices)
		}
		places[i] = place{deviceName(device), someTime(w.base, dice.IntN(16_000))}
	}
	return places
}

// encodeBody writes a body in one of the forms that clients send.
func encodeBody(b sending, dice *rand.Rand) (path, contentType string, data []byte) {
	form := dice.IntN(3)
	one := !slices.ContainsFunc(b.places, func(p place) bool { return p.device != b.places[0].device })
	messages := make([]message, len(b.places))
	for i, p := range b.places {
		messages[i] = message{DeviceID: p.device, TS: instant(p.at), Metrics: metricsOf(b.attempts[i].value)}
		if one && form == 0 {
			messages[i].DeviceID = ""
		}
	}
	switch {
	case one && form == 0:
		data, _ = json.Marshal(messages) // nothing in it can fail
		return "/api/v1/devices/" + b.places[0].device + "/telemetry", "application/json", data
	case form == 1:
		for _, m := range messages {
			line, _ := json.Marshal(m)
			data = append(append(data, line...), '\n')
		}
		return "/api/v1/telemetry", "application/x-ndjson", data
	default:
		data, _ = json.Marshal(messages)
		return "/api/v1/telemetry", "application/json", data
	}
}

// check compares all that the service has with the ledger.
func (w *killWorld) check(t *testing.T, p *service.Process, when string) {
	t.Helper()
	for i := range w.devices {
		device := deviceName(i)
		found, err := w.page(t.Context(), p.Client, device)
		if err == nil {
			err = w.ledger.verify(device, found)
		}
		if err == nil {
			err = w.count(t.Context(), p.Client, device, len(found))
		}
		if err != nil {
			t.Fatalf("%s: %v", when, err)
		}
	}
}

func (w *killWorld) all() url.Values {
	return url.Values{"from": {instant(w.base)}, "to": {"now"}}
}

// page reads all readings of a device.
func (w *killWorld) page(ctx context.Context, c service.Client, device string) (found []point, err error) {
	query := w.all()
	query.Set("limit", "3000")
	for {
		var page struct {
			Readings []struct {
				TS      string
				Metrics map[string]float64
			}
			Next *string
		}
		err := c.Get(ctx, "/api/v1/devices/"+device+"/readings", query, &page)
		var status *service.StatusError
		if errors.As(err, &status) && status.Status == http.StatusNotFound {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		for _, r := range page.Readings {
			at, err := time.Parse(time.RFC3339Nano, r.TS)
			if err != nil {
				return nil, err
			}
			value, err := valueOf(r.Metrics)
			if err != nil {
				return nil, fmt.Errorf("device %s at %s: %w", device, r.TS, err)
			}
			found = append(found, point{device, at.UnixNano(), value})
		}
		if page.Next == nil {
			return found, nil
		}
		query.Set("cursor", *page.Next)
	}
}

// count asks by aggregates what was read by paging.
func (w *killWorld) count(ctx context.Context, c service.Client, device string, readings int) error {
	if readings == 0 {
		return nil
	}
	query := w.all()
	query.Set("metric", "v,half")
	query.Set("step", "all")
	query.Set("agg", "count")
	var a answer
	if err := c.Get(ctx, "/api/v1/devices/"+device+"/aggregates", query, &a); err != nil {
		return err
	}
	if len(a.Series) != 2 {
		return fmt.Errorf("device %s has %d series, 2 are right", device, len(a.Series))
	}
	for _, s := range a.Series {
		if got := s.Buckets[0]["count"]; got != float64(readings) {
			return fmt.Errorf("device %s, metric %s: aggregates count %v, paging found %s", device, s.Metric, got, strconv.Itoa(readings))
		}
	}
	return nil
}
