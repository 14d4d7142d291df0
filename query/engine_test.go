package query

import (
	"context"
	"encoding/csv"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/labstack/echo/v4"
	"pgregory.net/rapid"

	"sluice/engine"
	"sluice/internal/httperr"
	"sluice/store"
	"sluice/store/pebble"
	"sluice/telemetry"
	"sluice/telemetry/block"
)

// world is the routes over the engine on the embedded store.
type world struct {
	engine *engine.Engine
	http   *echo.Echo
}

type tester interface {
	fataler
	Helper()
	Cleanup(func())
}

func newWorld(t tester, options Options) *world {
	t.Helper()
	now := options.Now
	s, err := pebble.Open("data", pebble.Options{FS: vfs.NewMem(), Now: now})
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(func() { _ = s.Close() })
	e, err := engine.Open(context.Background(), engine.Config{
		Accounts: []store.Rows{s.Rows()}, Journal: engine.Given(s.Journal()), Now: now, Shards: 2, NewID: func() string { return "query-test" },
	})
	if err != nil {
		t.Fatalf("%v", err)
	}
	w := &world{engine: e, http: echo.New()}
	options.Log = slog.New(slog.DiscardHandler)
	w.http.HTTPErrorHandler = httperr.Handler(options.Log)
	New(func() Reader { return e.View() }, options).Register(w.http)
	return w
}

func (w *world) append(t fataler, readings []telemetry.Reading) {
	byShard := map[int][]telemetry.Reading{}
	for _, r := range readings {
		byShard[w.engine.Shard(r.Device)] = append(byShard[w.engine.Shard(r.Device)], r)
	}
	for shard, part := range byShard {
		if err := w.engine.Append(context.Background(), shard, block.FromReadings(part)); err != nil {
			t.Fatalf("%v", err)
		}
	}
}

func (w *world) merge(t fataler) {
	if err := w.engine.Compact(context.Background()); err != nil {
		t.Fatalf("%v", err)
	}
}

// The engine's views give the answers that the readings in memory give, to the
// byte, whatever of them is merged.
func TestAnswersOverTheEngine(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		options := Options{Now: at("2026-11-25T00:05:00Z"), Lateness: 1000 * time.Hour}
		readings := someReadings.Draw(t, "readings")
		for i, id := range []string{"b", "c", "d"} {
			readings = append(readings, telemetry.Reading{Device: id, Time: midnight, Stamp: telemetry.Stamp(1000 + i), Tags: []telemetry.Tag{{Key: "site", Value: id}}})
		}
		from, to, step := someRange(t)
		m := newMemory(readings...)
		reference, real := server(m, options), newWorld(t, options)
		targets := []string{"/api/v1/devices", "/api/v1/devices?limit=2&silentFor=1h", "/api/v1/devices?prefix=b&tag=site:b"}
		span := fmt.Sprintf("from=%s&to=%s", telemetry.FormatTime(from), telemetry.FormatTime(to))
		for id := range m.devices {
			path := "/api/v1/devices/" + id
			targets = append(targets, path, path+"/latest", path+"/aggregates?"+rangeQuery(from, to, step))
			for _, extra := range []string{"", "&order=desc&limit=3", "&metrics=y", "&format=csv", "&format=ndjson&order=desc"} {
				targets = append(targets, path+"/readings?"+span+extra)
			}
		}
		for _, extra := range []string{"", "&groupBy=device", "&groupBy=tag:site", "&device=b*,a"} {
			targets = append(targets, "/api/v1/aggregates?"+rangeQuery(from, to, step)+extra)
		}
		compare := func(when string) {
			for _, target := range targets {
				a, b := request(reference, http.MethodGet, target), request(real.http, http.MethodGet, target)
				if a.Code != b.Code || a.Body.String() != b.Body.String() {
					t.Fatalf("%s: %s: %d %s\nwant %d %s", when, target, b.Code, b.Body, a.Code, a.Body)
				}
			}
		}
		for chunk := range slices.Chunk(readings, rapid.IntRange(1, 20).Draw(t, "flush")) {
			real.append(t, chunk)
			if rapid.IntRange(0, 3).Draw(t, "merge") == 0 {
				real.merge(t)
			}
		}
		compare("partly merged")
		real.append(t, readings) // sent again: nothing may change
		real.merge(t)
		compare("merged")
	})
}

// A bucket is final once what arrived in time is merged.
func TestFinalOverTheEngine(t *testing.T) {
	w := newWorld(t, Options{Now: at("2026-11-23T06:00:00Z")})
	r := reading("a", midnight+3600e9, "x", 1)
	w.append(t, []telemetry.Reading{r})
	target := "/api/v1/devices/a/aggregates?metric=x&from=2026-11-23T01:00:00Z&to=2026-11-23T02:00:00Z&step=1h"
	if body := get(t, w.http, target); !strings.Contains(body, `"final":false`) {
		t.Errorf("not merged: %s", body)
	}
	w.merge(t)
	if body := get(t, w.http, target); !strings.Contains(body, `"final":true`) {
		t.Errorf("merged: %s", body)
	}
	r.Time, r.Stamp = r.Time+1, telemetry.Stamp(midnight+int64(5*time.Hour))
	w.append(t, []telemetry.Reading{r})
	if body := get(t, w.http, target); !strings.Contains(body, `"final":true`) || !strings.Contains(body, `"count":2`) {
		t.Errorf("late data: %s", body)
	}
}

// nab reads recordings of the Numenta Anomaly Benchmark.
func nab(t *testing.T) map[string][]telemetry.Reading {
	t.Helper()
	files, _ := filepath.Glob("../../shared/data/nab/*.csv")
	if len(files) == 0 {
		t.Skip("the NAB recordings are not in ../shared/data/nab")
	}
	result := map[string][]telemetry.Reading{}
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		records, err := csv.NewReader(f).ReadAll()
		_ = f.Close()
		if err != nil {
			t.Fatal(err)
		}
		device := strings.TrimSuffix(filepath.Base(file), ".csv")
		for i, record := range records[1:] {
			when, err := time.Parse(time.DateTime, record[0])
			if err != nil {
				t.Fatal(err)
			}
			x, err := strconv.ParseFloat(record[1], 64)
			if err != nil {
				t.Fatal(err)
			}
			r := reading(device, when.UnixNano(), "value", x)
			r.Stamp = telemetry.Stamp(i + 1)
			result[device] = append(result[device], r)
		}
	}
	return result
}

// Real recordings, sent in pieces and again in another order: every hourly and
// daily bucket of all aggregates, for each device and for the fleet, equals an
// independent recomputation.
func TestRealRecordings(t *testing.T) {
	recordings := nab(t)
	w := newWorld(t, Options{Now: at("2026-11-23T06:00:00Z")})
	var all []telemetry.Reading
	for device, readings := range recordings {
		all = append(all, readings...)
		for chunk := range slices.Chunk(readings, 500) {
			w.append(t, chunk)
		}
		if device < "n" {
			w.merge(t)
		}
	}
	for chunk := range slices.Chunk(slices.Clone(all), 5000) {
		slices.Reverse(chunk)
		w.append(t, chunk)
	}
	if body := get(t, w.http, "/api/v1/devices/machine_temperature_system_failure/aggregates?metric=value&from=0&step=all&agg=count"); !strings.Contains(body, `"count":22683,`) {
		t.Errorf("count over all time: %s", body)
	}
	samples := samplesOf(all)["value"]
	from, to := samples[0].time, samples[len(samples)-1].time+1
	for _, step := range []time.Duration{time.Hour, 24 * time.Hour, 0} {
		text := "all"
		if step > 0 {
			text = formatDuration(int64(step / time.Second))
		}
		length := to - from
		if step == time.Hour { // of 2.1 years there are too many hours: a year at a time
			length = int64(366 * 24 * time.Hour)
		}
		for begin := from; begin < to; begin += length {
			end := min(to, begin+length)
			query := fmt.Sprintf("metric=value&step=%s&agg=%s&from=%s&to=%s", text, every, telemetry.FormatTime(begin), telemetry.FormatTime(end))
			for extra, key := range map[string]func(sample) string{
				"":                func(sample) string { return "/value" },
				"&groupBy=device": func(s sample) string { return s.device + "/value" },
			} {
				got := flatten(t, get(t, w.http, "/api/v1/aggregates?"+query+extra))
				agree(t, text+extra, got, recompute(samples, begin, end, int64(step), key))
			}
		}
	}
}
