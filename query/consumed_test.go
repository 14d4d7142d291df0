package query

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"sluice/store"
	"sluice/telemetry"
)

// hubTargets ask for the bucket from 00:00 to 06:00, which has one reading.
var hubTargets = []string{
	"/api/v1/devices/a/aggregates?metric=x&from=2026-11-23T00:00:00Z&to=2026-11-23T06:00:00Z&step=6h&agg=count",
	"/api/v1/aggregates?metric=x&from=2026-11-23T00:00:00Z&to=2026-11-23T06:00:00Z&step=6h&agg=count",
	"/api/v1/aggregates?metric=x&from=2026-11-23T00:00:00Z&to=2026-11-23T06:00:00Z&step=6h&agg=count&device=a&format=csv",
}

// With a hub a bucket is final when what may have arrived in time is consumed; its
// tag and how long it may be kept follow.
func TestFinalWaitsForTheHub(t *testing.T) {
	arrived := at("2026-11-23T07:00:00Z")() // the lateness after the bucket's end
	m := newMemory(reading("a", midnight, "x", 1))
	ask := func(target string, upTo time.Time, err error) (final bool, tag, cache string) {
		consumed := func(context.Context) (time.Time, error) { return upTo, err }
		w := request(server(m, Options{Now: at("2026-11-26T00:00:00Z"), Consumed: consumed}), http.MethodGet, target)
		if w.Code != http.StatusOK {
			t.Fatalf("%s: %d %s", target, w.Code, w.Body)
		}
		body := w.Body.String()
		final = strings.Contains(body, `"final":true`) || strings.Contains(body, ",1,true")
		return final, w.Header().Get("ETag"), w.Header().Get("Cache-Control")
	}
	for _, target := range hubTargets {
		_, early, _ := ask(target, arrived, nil)
		for _, c := range []struct {
			name  string
			upTo  time.Time
			err   error
			final bool
		}{
			{"up to the lateness after its end", arrived, nil, false},
			{"as far as clocks differ after that", arrived.Add(clockSkew), nil, false},
			{"further", arrived.Add(clockSkew + 1), nil, true},
			{"beyond now", arrived.AddDate(1, 0, 0), nil, true},
			{"not at all", time.Time{}, nil, false},
			{"nobody knows", arrived.AddDate(0, 0, 1), store.ErrUnavailable, false},
		} {
			final, tag, cache := ask(target, c.upTo, c.err)
			if want := map[bool]string{true: cacheFinal, false: cacheNone}[c.final]; final != c.final || cache != want || (tag == early) == c.final {
				t.Errorf("%s, consumed %s: final %v, %s, the tag of one that is not final: %v", target, c.name, final, cache, tag == early)
			}
		}
	}
}

// What is consumed while an answer is read may be missing in it: how far the hub is
// consumed is asked before, once, and not where no bucket can be final.
func TestTheHubIsAskedFirst(t *testing.T) {
	for _, target := range hubTargets {
		for _, now := range []string{"2026-11-26T00:00:00Z", "2026-11-23T05:00:00Z"} {
			m, asked := newMemory(reading("a", midnight, "x", 1)), 0
			options := Options{Now: at(now), Consumed: func(context.Context) (time.Time, error) {
				asked++
				if m.views.Load() > 0 {
					t.Errorf("%s: asked after the answer was begun", target)
				}
				return time.Time{}, errors.New("away")
			}}
			get(t, server(m, options), target)
			if want := map[string]int{"2026-11-26T00:00:00Z": 1}[now]; asked != want {
				t.Errorf("%s at %s: asked %d times, want %d", target, now, asked, want)
			}
		}
	}
}

// A hub that does not answer costs an answer a second, not its deadline.
func TestAHubThatDoesNotAnswer(t *testing.T) {
	within := time.Duration(0)
	consumed := func(ctx context.Context) (time.Time, error) {
		deadline, _ := ctx.Deadline()
		within = time.Until(deadline)
		return time.Time{}, ctx.Err()
	}
	e := server(newMemory(reading("a", midnight, "x", 1)), Options{Now: at("2026-11-26T00:00:00Z"), Consumed: consumed})
	if body := get(t, e, hubTargets[0]); !strings.Contains(body, `"final":false`) || within <= 0 || within > consumedWithin {
		t.Errorf("asked for %v: %s", within, body)
	}
}

// A reading that is consumed between the question and the answer is no worse off
// than one that is not merged.
func TestFinalOverTheEngineBehindAHub(t *testing.T) {
	upTo := at("2026-11-23T01:30:00Z")()
	w := newWorld(t, Options{Now: at("2026-11-23T06:00:00Z"), Consumed: func(context.Context) (time.Time, error) { return upTo, nil }})
	r := reading("a", midnight+3600e9, "x", 1)
	w.append(t, []telemetry.Reading{r})
	w.merge(t)
	target := "/api/v1/devices/a/aggregates?metric=x&from=2026-11-23T01:00:00Z&to=2026-11-23T02:00:00Z&step=1h"
	if body := get(t, w.http, target); !strings.Contains(body, `"final":false`) {
		t.Errorf("merged, others wait: %s", body)
	}
	upTo = at("2026-11-23T04:00:00Z")()
	if body := get(t, w.http, target); !strings.Contains(body, `"final":true`) {
		t.Errorf("nothing waits: %s", body)
	}
}
