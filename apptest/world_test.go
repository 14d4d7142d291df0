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
	"sync/atomic"
	"testing"
	"time"

	"sluice/devtools/load/service"
)

// world is a fleet with its clients, and what the service said to them through
// all its lives.
type world struct {
	ledger  *ledger
	base    int64 // the time of the earliest readings
	devices int
	places  int // of a device: the fewer, the more repeats
	clients int
	// away is the number of the outage that keeps everybody from the store just
	// now, 0 if none does.
	away atomic.Int64
	// hosted: a host answers 500 by itself when the service died.
	hosted bool
	// patient clients wait for the answer to what they sent when they are stopped: a
	// host may still hand it to the service's next life.
	patient bool
	// repeated is the share of the acknowledged requests that is sent again.
	repeated float64
	wrong    atomic.Bool // a client has found something wrong, and ended

	// queued and direct are the bodies that were acknowledged out of the hub (202)
	// and out of the store (200), slowest what the slowest answer of any kind took.
	queued, direct, slowest atomic.Int64
}

func newWorld() *world {
	return &world{
		ledger: newLedger(), devices: 40, places: 16_000, clients: 8,
		base: time.Now().Add(-4 * 24 * time.Hour).Truncate(time.Second).UnixNano(),
	}
}

// send runs the clients, each against one of the instances, until stop is
// called, which returns what was wrong.
func (w *world) send(ctx context.Context, seed uint64, instances ...service.Client) (stop func() error) {
	ctx, cancel := context.WithCancel(ctx)
	var clients sync.WaitGroup
	problems := make([]error, w.clients)
	for i := range w.clients {
		instance := i % len(instances)
		clients.Go(func() {
			problems[i] = w.client(ctx, instance, instances[instance], rand.New(rand.NewPCG(seed, uint64(i))))
			if problems[i] != nil {
				w.wrong.Store(true)
			}
		})
	}
	return func() error {
		cancel()
		clients.Wait()
		return errors.Join(problems...)
	}
}

// await waits until the ledger shows something; stop is that of the clients.
func (w *world) await(t *testing.T, what string, stop func() error, holds func() bool) {
	t.Helper()
	await(t, 10*time.Minute, what, func() bool { return w.wrong.Load() || holds() })
	if w.wrong.Load() {
		t.Fatal(stop())
	}
}

// client sends bodies to an instance until ctx ends.
func (w *world) client(ctx context.Context, instance int, c service.Client, dice *rand.Rand) error {
	asking := ctx
	if w.patient {
		asking = context.WithoutCancel(ctx)
	}
	for ctx.Err() == nil {
		sent := w.ledger.send(instance, w.somePlaces(dice))
		path, contentType, data := encodeBody(sent, dice)
		encoding := ""
		if dice.IntN(4) == 0 {
			data, encoding = gzipped(data)
		}
		for again := true; again; {
			away, began := w.away.Load(), time.Now()
			v, err := c.Post(asking, path, contentType, encoding, data)
			w.note(v.Status, time.Since(began))
			if err == nil && away != 0 && w.away.Load() == away {
				return errors.New("a body was acknowledged that nobody could have made durable")
			}
			if err := w.judge(sent, v, err); err != nil {
				return err
			}
			if again = w.repeated > 0 && err == nil && dice.Float64() < w.repeated; again {
				sent = w.ledger.again(instance, sent)
			}
		}
		time.Sleep(time.Duration(dice.IntN(30)) * time.Millisecond)
	}
	return nil
}

// note counts an answer.
func (w *world) note(status int, took time.Duration) {
	switch status {
	case http.StatusOK:
		w.direct.Add(1)
	case http.StatusAccepted:
		w.queued.Add(1)
	}
	for {
		slowest := w.slowest.Load()
		if int64(took) <= slowest || w.slowest.CompareAndSwap(slowest, int64(took)) {
			return
		}
	}
}

// judge enters an answer into the ledger. An error is one that no failure of the
// store or death of the service explains.
func (w *world) judge(sent sending, v service.Verdict, err error) error {
	var status *service.StatusError
	switch {
	case err == nil && v.Accepted == len(sent.places):
		w.ledger.ack(sent)
	case err == nil:
		return fmt.Errorf("%d of %d readings accepted: %+v", v.Accepted, len(sent.places), v)
	case service.IsStatus(err, http.StatusServiceUnavailable), service.IsStatus(err, http.StatusInternalServerError) && w.hosted:
		w.ledger.fail(sent)
	case errors.As(err, &status):
		return fmt.Errorf("a body of %d readings: %w", len(sent.places), err)
	}
	return nil
}

// somePlaces are mostly few, now and then many, of one device or of several;
// some of them were sent before, by this client or another one.
func (w *world) somePlaces(dice *rand.Rand) []place {
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
		places[i] = place{deviceName(device), someTime(w.base, dice.IntN(w.places))}
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

// check compares all that the service has with the ledger, while nobody sends.
func (w *world) check(t *testing.T, c service.Client, when string) {
	t.Helper()
	for i := range w.devices {
		if err := w.checkDevice(t.Context(), c, deviceName(i)); err != nil {
			t.Fatalf("%s: %v", when, err)
		}
	}
}

// checkDevice pages and counts. What a process that died had sent to the store,
// and nobody acknowledged, may come between the two: then once more.
func (w *world) checkDevice(ctx context.Context, c service.Client, device string) error {
	for before := -1; ; {
		found, err := w.page(ctx, c, device)
		if err == nil {
			err = w.ledger.verify(device, found, never)
		}
		if err != nil {
			return err
		}
		err = w.count(ctx, c, device, len(found))
		if err == nil || len(found) == before {
			return err
		}
		before = len(found)
	}
}

func (w *world) all() url.Values {
	return url.Values{"from": {instant(w.base)}, "to": {"now"}}
}

// page reads all readings of a device.
func (w *world) page(ctx context.Context, c service.Client, device string) (found []point, err error) {
	err = eachReading(ctx, c, device, w.all(), func(at int64, metrics map[string]float64) error {
		value, err := valueOf(metrics)
		found = append(found, point{device, at, value})
		return err
	})
	return found, err
}

// eachReading pages through the readings of a device in a range; there are none
// of an unknown one.
func eachReading(ctx context.Context, c service.Client, device string, span url.Values, take func(at int64, metrics map[string]float64) error) error {
	query := url.Values{"limit": {"3000"}, "from": span["from"], "to": span["to"]}
	for {
		var page struct {
			Readings []struct {
				TS      string
				Metrics map[string]float64
			}
			Next *string
		}
		err := c.Get(ctx, "/api/v1/devices/"+device+"/readings", query, &page)
		if service.IsStatus(err, http.StatusNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, r := range page.Readings {
			at, err := time.Parse(time.RFC3339Nano, r.TS)
			if err == nil {
				err = take(at.UnixNano(), r.Metrics)
			}
			if err != nil {
				return fmt.Errorf("device %s at %s: %w", device, r.TS, err)
			}
		}
		if page.Next == nil {
			return nil
		}
		query.Set("cursor", *page.Next)
	}
}

// count asks by aggregates what was read by paging.
func (w *world) count(ctx context.Context, c service.Client, device string, readings int) error {
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
