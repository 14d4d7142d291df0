package apptest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/devtools/load/service"
)

// answer is that of the aggregates.
type answer struct {
	Series []struct {
		DeviceID string
		Group    map[string]*string
		Metric   string
		Buckets  []map[string]any
	}
}

// question is a query of aggregates over a fleet, or of one device, and which
// devices make which series of its answer, by what name tells.
type question struct {
	path   string
	query  url.Values
	series map[string][]string
}

// name is what a series is told apart by: a device, the values of tags, or
// nothing.
func name(device string, group map[string]*string) string {
	if group == nil {
		return device
	}
	var parts []string
	for key, value := range group {
		if value == nil {
			parts = append(parts, key+" is null")
		} else {
			parts = append(parts, key+"="+*value)
		}
	}
	slices.Sort(parts)
	return strings.Join(parts, ",")
}

// check asks for all aggregates of a range and compares each bucket of each
// series with what is recomputed. It returns the number of buckets compared.
func (s *stream) check(t *testing.T, q question, from, to int64, step time.Duration) int {
	t.Helper()
	query := url.Values{}
	for key, values := range q.query {
		query[key] = values
	}
	query.Set("metric", metric)
	query.Set("from", instant(from))
	query.Set("to", instant(to))
	query.Set("agg", "count,"+strings.Join(aggregateNames, ","))
	query.Set("step", "all")
	if step > 0 {
		query.Set("step", fmt.Sprintf("%ds", int(step.Seconds())))
	}
	var got answer
	if err := s.client.Get(t.Context(), q.path, query, &got); err != nil {
		t.Fatal(err)
	}
	seen, compared := map[string]bool{}, 0
	for _, line := range got.Series {
		key := name(line.DeviceID, line.Group)
		devices, known := q.series[key]
		if !known || seen[key] || line.Metric != metric {
			t.Fatalf("%s?%s: the series %q of %q is not wanted, or there twice", q.path, query.Encode(), key, line.Metric)
		}
		seen[key] = true
		want := s.recompute(devices, from, to, step)
		compared += compare(t, fmt.Sprintf("%s?%s, series %q", q.path, query.Encode(), key), line.Buckets, want)
	}
	for key, devices := range q.series {
		if seen[key] {
			continue
		}
		if n := len(s.recompute(devices, from, to, step)); n > 0 {
			t.Fatalf("%s?%s: no series %q, of %d buckets", q.path, query.Encode(), key, n)
		}
	}
	return compared
}

// compare checks the buckets of a series. The first that differs ends the
// test: others would say the same.
func compare(t *testing.T, where string, got []map[string]any, want map[int64]*wanted) int {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d buckets, %d are right", where, len(got), len(want))
	}
	last := ""
	for _, b := range got {
		start, _ := b["start"].(string)
		at, err := time.Parse(time.RFC3339Nano, start)
		w := want[at.UnixNano()]
		if err != nil || w == nil || start <= last {
			t.Fatalf("%s: the bucket of %q (after %q) should not be there", where, start, last)
		}
		last = start
		if n, _ := b["count"].(float64); int64(n) != w.count {
			t.Fatalf("%s: bucket of %s: count %v, %d is right", where, start, b["count"], w.count)
		}
		for _, aggregate := range aggregateNames {
			x, ok := b[aggregate].(float64)
			if !ok || differs(x, w.values[aggregate]) {
				t.Fatalf("%s: bucket of %s: %s is %v, %v is right", where, start, aggregate, b[aggregate], w.values[aggregate])
			}
		}
	}
	return len(got)
}

// checkAll checks a question for the whole range, by days and by hours.
func (s *stream) checkAll(t *testing.T, q question) (compared int) {
	t.Helper()
	from, to := s.fleet.span()
	const most = 400 * 24 * int64(time.Hour) // below 11,000 buckets of an hour
	compared += s.check(t, q, from, to, 0)
	compared += s.check(t, q, from, to, 24*time.Hour)
	for at := from; at < to; at += most {
		compared += s.check(t, q, at, min(at+most, to), time.Hour)
	}
	return compared
}

// metric is the one that all devices of these tests have.
const metric = "value"

// ofDevice asks for one device by its own address.
func ofDevice(id string) question {
	return question{path: "/api/v1/devices/" + id + "/aggregates", series: map[string][]string{id: {id}}}
}

// ofFleet asks for a fleet: query is "key=value&…".
func ofFleet(query string, series map[string][]string) question {
	values, err := url.ParseQuery(query)
	if err != nil {
		panic(err) // a mistake of the test
	}
	return question{path: "/api/v1/aggregates", query: values, series: series}
}

// message is a reading as a client sends it.
type message struct {
	DeviceID string             `json:"deviceId,omitempty"`
	TS       string             `json:"ts"`
	Metrics  map[string]float64 `json:"metrics"`
	Tags     map[string]string  `json:"tags,omitempty"`
}

// post sends messages as an array and wants all accepted.
func post(t *testing.T, c service.Client, messages []message, encode func([]byte) ([]byte, string)) {
	t.Helper()
	if err := postMessages(t.Context(), c, messages, encode); err != nil {
		t.Fatal(err)
	}
}

func postMessages(ctx context.Context, c service.Client, messages []message, encode func([]byte) ([]byte, string)) error {
	body, err := json.Marshal(messages)
	if err != nil {
		return err
	}
	encoding := ""
	if encode != nil {
		body, encoding = encode(body)
	}
	v, err := c.Post(ctx, "/api/v1/telemetry", "application/json", encoding, body)
	if err == nil && (v.Accepted != len(messages) || v.Rejected != 0) {
		err = fmt.Errorf("%d of %d readings accepted: %+v", v.Accepted, len(messages), v)
	}
	return err
}
