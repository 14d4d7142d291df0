package query

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sluice/telemetry"
)

type page struct {
	Readings []json.RawMessage
	Devices  []json.RawMessage
	Next     *string
}

// pages asks until next is null and returns the items and how many a page had.
func pages(t fataler, e http.Handler, target string) (items []string, sizes []int) {
	cursor := ""
	for len(sizes) < 1000 {
		w := request(e, http.MethodGet, target+"&cursor="+cursor)
		var p page
		if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || w.Code != http.StatusOK {
			t.Fatalf("%s: %d %s %v", target, w.Code, w.Body, err)
		}
		for _, item := range append(p.Readings, p.Devices...) {
			items = append(items, string(item))
		}
		sizes = append(sizes, len(p.Readings)+len(p.Devices))
		if p.Next == nil {
			return items, sizes
		}
		cursor = *p.Next
	}
	t.Fatalf("%s: no end", target)
	return nil, nil
}

// Paging, forward and backward, by any limit, has each reading once, in order,
// and the streams say the same.
func TestPagingHasEachReadingOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		readings := someReadings.Draw(t, "readings")
		m := newMemory(readings...)
		m.rows = rapid.IntRange(1, 7).Draw(t, "rows")
		e := server(m, Options{Now: at("2026-12-23T06:00:00Z")})
		id := readings[0].Device
		from, to, _ := someRange(t)
		metrics := rapid.SampledFrom([]string{"", "x", "y,x"}).Draw(t, "metrics")
		limit := rapid.IntRange(1, 45).Draw(t, "limit")
		target := fmt.Sprintf("/api/v1/devices/%s/readings?metrics=%s&from=%s&to=%s", id, metrics, telemetry.FormatTime(from), telemetry.FormatTime(to))

		want := expected(readings, id, metrics, from, to)
		forward, sizes := pages(t, e, fmt.Sprintf("%s&limit=%d", target, limit))
		if !slices.Equal(forward, want) {
			t.Fatalf("forward %s\nwant %s", forward, want)
		}
		for i, size := range sizes {
			if size > limit || size < limit && i < len(sizes)-1 || size == 0 && len(want) > 0 {
				t.Fatalf("pages of %v readings at limit %d", sizes, limit)
			}
		}
		backward, _ := pages(t, e, fmt.Sprintf("%s&limit=%d&order=desc", target, limit))
		slices.Reverse(backward)
		if !slices.Equal(backward, want) {
			t.Fatalf("backward %s\nwant %s", backward, want)
		}
		lines := strings.Split(strings.TrimSuffix(request(e, "GET", target+"&format=ndjson").Body.String(), "\n"), "\n")
		if len(want) > 0 && !slices.Equal(lines, want) || len(want) == 0 && lines[0] != "" {
			t.Fatalf("ndjson %s\nwant %s", lines, want)
		}
		records := strings.Count(request(e, "GET", target+"&format=csv&order=desc").Body.String(), "\r\n")
		if records != len(want)+1 {
			t.Fatalf("csv has %d records, want %d and the header", records, len(want))
		}
	})
}

// expected renders what the readings amount to with the standard library.
func expected(readings []telemetry.Reading, id, metrics string, from, to int64) []string {
	values := map[int64]map[string]any{}
	for _, r := range readings {
		if r.Device != id || r.Time < from || r.Time >= to {
			continue
		}
		for _, metric := range r.Metrics {
			if metrics != "" && !slices.Contains(strings.Split(metrics, ","), metric.Name) {
				continue
			}
			if values[r.Time] == nil {
				values[r.Time] = map[string]any{}
			}
			values[r.Time][metric.Name] = jsonValue(metric.Value)
		}
	}
	var items []string
	times := []int64{}
	for at := range values {
		times = append(times, at)
	}
	slices.Sort(times)
	for _, at := range times {
		var text strings.Builder
		encoder := json.NewEncoder(&text)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(values[at]); err != nil {
			panic(err)
		}
		items = append(items, fmt.Sprintf(`{"ts":"%s","metrics":%s}`, telemetry.FormatTime(at), strings.TrimSuffix(text.String(), "\n")))
	}
	return items
}

func jsonValue(v telemetry.Value) any {
	switch v.Kind {
	case telemetry.Integer, telemetry.Number:
		return json.RawMessage(v.AppendNumber(nil))
	case telemetry.Bool:
		return v.Bits != 0
	default:
		// The library escapes these two and DEL's like differently than RFC 8785.
		return json.RawMessage(appendString(nil, v.Text))
	}
}

func TestDevicePages(t *testing.T) {
	var readings []telemetry.Reading
	for i := range 57 {
		readings = append(readings, reading(fmt.Sprintf("d%02d", i), midnight+int64(i), "x", i))
	}
	e := server(newMemory(readings...), Options{Now: at("2026-11-24T06:00:00Z")})
	whole, _ := pages(t, e, "/api/v1/devices?limit=10000")
	if len(whole) != 57 {
		t.Fatalf("%d devices", len(whole))
	}
	for _, limit := range []int{1, 2, 3, 19, 56, 57, 58} {
		items, sizes := pages(t, e, fmt.Sprintf("/api/v1/devices?limit=%d&silentFor=1h", limit))
		if !slices.Equal(items, whole) {
			t.Errorf("limit %d: %v", limit, items)
		}
		if sizes[len(sizes)-1] == 0 {
			t.Errorf("limit %d: the last page is empty", limit)
		}
	}
	items, _ := pages(t, e, "/api/v1/devices?limit=4&prefix=d1")
	if !slices.Equal(items, whole[10:20]) {
		t.Errorf("prefix: %v", items)
	}
}

// A cursor of relative ends keeps the range of the first page.
func TestCursorKeepsItsRange(t *testing.T) {
	m := newMemory(reading("a", midnight, "x", 1), reading("a", midnight+1e9, "x", 2), reading("a", midnight+3600e9, "x", 3))
	var p page
	first := get(t, server(m, Options{Now: at("2026-11-23T00:30:00Z")}), "/api/v1/devices/a/readings?limit=1")
	if err := json.Unmarshal([]byte(first), &p); err != nil || p.Next == nil {
		t.Fatal(first, err)
	}
	second := get(t, server(m, Options{Now: at("2026-11-23T02:30:00Z")}), "/api/v1/devices/a/readings?limit=5&cursor="+*p.Next)
	if want := `{"deviceId":"a","readings":[{"ts":"2026-11-23T00:00:01Z","metrics":{"x":2}}],"next":null}` + "\n"; second != want {
		t.Errorf("second page %s, want %s", second, want)
	}
}

func TestCursorsOfOtherQueriesAreRefused(t *testing.T) {
	m := newMemory(reading("a", midnight, "x", 1), reading("a", midnight+1, "x", 2), reading("b", midnight, "x", 1))
	e := server(m, Options{Now: at("2026-11-23T00:30:00Z")})
	next := func(target string) string {
		var p page
		if err := json.Unmarshal([]byte(get(t, e, target)), &p); err != nil || p.Next == nil {
			t.Fatalf("%s has no next: %v", target, err)
		}
		return *p.Next
	}
	cursor := next("/api/v1/devices/a/readings?limit=1")
	devices := next("/api/v1/devices?limit=1")
	for _, target := range []string{
		"/api/v1/devices/b/readings?cursor=" + cursor,
		"/api/v1/devices/a/readings?order=desc&cursor=" + cursor,
		"/api/v1/devices/a/readings?metrics=x&cursor=" + cursor,
		"/api/v1/devices/a/readings?from=now-2h&cursor=" + cursor,
		"/api/v1/devices/a/readings?to=now&cursor=" + cursor,
		"/api/v1/devices?cursor=" + cursor,
		"/api/v1/devices/a/readings?cursor=" + devices,
		"/api/v1/devices?prefix=b&cursor=" + devices,
		"/api/v1/devices?tag=a:b&cursor=" + devices,
		"/api/v1/devices?silentFor=1h&cursor=" + devices,
		"/api/v1/devices?cursor=" + devices[:len(devices)-1],
		"/api/v1/devices?cursor=" + devices + "A",
		"/api/v1/devices?cursor=" + strings.Repeat("A", 600),
	} {
		w := request(e, http.MethodGet, target)
		if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), `"invalid_cursor"`) {
			t.Errorf("%s: %d %s", target, w.Code, w.Body)
		}
	}
}

func FuzzCursor(f *testing.F) {
	f.Add(encodeCursor("readings\x00a", "", 1, 2, 3), "readings\x00a")
	f.Add(encodeCursor("devices\x00", "pump-7", -1), "devices\x00")
	f.Add("AQ", "")
	f.Add(strings.Repeat("_", 100), "q")
	f.Fuzz(func(t *testing.T, cursor, query string) {
		var a, b, c int64
		if text, err := decodeCursor(cursor, query, &a, &b, &c); err == nil && encodeCursor(query, text, a, b, c) != cursor {
			// Varints of more bytes than needed pass only with a right checksum,
			// which the fuzzer does not find.
			t.Fatalf("%q decodes to %d %d %d %q, which encodes differently", cursor, a, b, c, text)
		}
		made := encodeCursor(query, cursor, a, 7)
		if len(made) > maxCursor {
			return
		}
		var x, y int64
		if text, err := decodeCursor(made, query, &x, &y); err != nil || text != cursor || x != a || y != 7 {
			t.Fatalf("%q %d %d: %v", text, x, y, err)
		}
		if _, err := decodeCursor(made, query+"x", &x, &y); err == nil {
			t.Fatal("the cursor of another query passed")
		}
		if escaped := url.QueryEscape(made); escaped != made {
			t.Fatalf("%q needs escaping", made)
		}
	})
}
