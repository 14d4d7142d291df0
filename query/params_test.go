package query

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"sluice/telemetry"
)

// Each bad input gets its status, its code and a message that names it and says
// what would be right.
func TestBadInput(t *testing.T) {
	const aggregates = "/api/v1/devices/pump-7/aggregates?metric=a&"
	const fleet = "/api/v1/aggregates?metric=a&"
	const readings = "/api/v1/devices/pump-7/readings?"
	const day = "from=2026-11-22T00:00:00Z&to=2026-11-23T00:00:00Z&"
	for _, c := range []struct {
		target, code string
		says         []string
	}{
		{"/api/v1/devices?limit=0", "invalid_parameter", []string{`limit="0"`, "1 to 10000"}},
		{"/api/v1/devices?limit=10001", "invalid_parameter", []string{"10001", "1 to 10000"}},
		{"/api/v1/devices?limit=1e3", "invalid_parameter", []string{"1e3"}},
		{"/api/v1/devices?limit=10&limit=20", "invalid_parameter", []string{"limit", "twice"}},
		{"/api/v1/devices?tag=berlin", "invalid_parameter", []string{"berlin", "key:value"}},
		{"/api/v1/devices?tag=:berlin", "invalid_parameter", []string{":berlin", "key:value"}},
		{"/api/v1/devices?silentFor=9m59s", "invalid_parameter", []string{"9m59s", "at least 10m"}},
		{"/api/v1/devices?silentFor=ten", "invalid_parameter", []string{"ten", "10m"}},
		{"/api/v1/devices?cursor=x", "invalid_cursor", []string{"next"}},
		{"/api/v1/devices?perfix=pump", "invalid_parameter", []string{"perfix", "prefix, tag, silentFor, limit, cursor"}},
		{"/api/v1/devices?prefix=%zz", "invalid_parameter", []string{"%zz"}},
		{"/api/v1/devices/pump-7?x=1", "invalid_parameter", []string{`"x"`}},
		{"/api/v1/devices/a%2Fb/latest", "invalid_device", []string{"a/b"}},
		{"/api/v1/devices/" + strings.Repeat("a", 129), "invalid_device", []string{"129", "128"}},
		{readings + "metric=a", "invalid_parameter", []string{`"metric"`, "metrics"}},
		{readings + "order=up", "invalid_parameter", []string{"up", "asc, desc"}},
		{readings + "format=xml", "invalid_parameter", []string{"xml", "json, ndjson, csv"}},
		{readings + "from=yesterday", "invalid_parameter", []string{"from", "yesterday", "now-15m"}},
		{readings + "from=now-15", "invalid_parameter", []string{"now-15", "now-15m"}},
		{readings + "from=now-15x", "invalid_parameter", []string{"now-15x"}},
		{readings + "to=2026-02-30T00:00:00Z", "invalid_parameter", []string{"to", "2026-02-30", "no such day"}},
		{readings + "from=2026-11-23T00:00:00", "invalid_parameter", []string{"zone"}},
		{readings + "from=2026-11-23", "invalid_parameter", []string{"2026-11-23"}},
		{readings + "from=2026-11-23T05:00:00Z&to=2026-11-23T05:00:00Z", "invalid_parameter", []string{"from", "not before to"}},
		{readings + "from=now&to=now-1h", "invalid_parameter", []string{"not before"}},
		{readings + "from=NaN", "invalid_parameter", []string{"NaN"}},
		{readings + "format=csv&cursor=AA", "invalid_cursor", []string{"format=json"}},
		{"/api/v1/devices/pump-7/aggregates", "invalid_parameter", []string{"metric"}},
		{"/api/v1/aggregates?metric=,", "invalid_parameter", []string{"metric"}},
		{aggregates + "step=9s", "invalid_parameter", []string{"9s", "10s to 1d"}},
		{aggregates + "step=25h", "invalid_parameter", []string{"25h", "10s to 1d"}},
		{aggregates + "step=1.5m", "invalid_parameter", []string{"1.5m"}},
		{aggregates + "step=500ms", "invalid_parameter", []string{"500ms"}},
		{aggregates + "step=60", "invalid_parameter", []string{"60"}},
		{aggregates + "step=-5m", "invalid_parameter", []string{"-5m"}},
		{aggregates + "step=99999999999w", "invalid_parameter", []string{"99999999999w"}},
		{aggregates + "step=10s&from=2026-11-20T00:00:00Z&to=2026-11-23T00:00:00Z", "invalid_parameter", []string{"25920", "11000", "step=30s would do"}},
		{aggregates + "step=1h&from=0", "invalid_parameter", []string{"step=all would do"}},
		{aggregates + "step=1h&from=2000-01-01T00:00:00Z", "invalid_parameter", []string{"step=1d would do"}},
		{aggregates + day + "step=1w", "not_supported", []string{"1w"}},
		{aggregates + day + "step=1mo", "not_supported", []string{"1mo"}},
		{aggregates + day + "step=1y", "not_supported", []string{"1y"}},
		{aggregates + "agg=p95", "not_supported", []string{"p95"}},
		{aggregates + "agg=p100", "invalid_parameter", []string{"p100", "stddev"}},
		{aggregates + "agg=mean", "invalid_parameter", []string{"mean", "avg"}},
		{aggregates + "tz=Europe/Berlin", "not_supported", []string{"Europe/Berlin"}},
		{aggregates + "fill=null", "not_supported", []string{"null"}},
		{aggregates + "fill=0", "not_supported", []string{"0"}},
		{aggregates + "format=ndjson", "invalid_parameter", []string{"ndjson", "json, csv"}},
		{aggregates + "groupBy=device", "invalid_parameter", []string{"groupBy"}},
		{fleet + "device=pump/*", "invalid_device", []string{"pump/*"}},
		{fleet + "groupBy=site", "invalid_parameter", []string{"site", "tag:key"}},
		{fleet + "groupBy=tag:", "invalid_parameter", []string{"tag:"}},
		{fleet + "groupBy=device,tag:site", "invalid_parameter", []string{"not both"}},
		{fleet + "metric=" + strings.Repeat("a,b,c,d,e,f,g,", 1) + manyItems(), "invalid_parameter", []string{"metric", "1000"}},
	} {
		m := newMemory(reading("pump-7", 1, "a", 1.0))
		w := request(server(m, Options{Now: at("2026-11-23T06:00:00Z")}), http.MethodGet, c.target)
		var answer struct {
			Error struct{ Code, Message string }
		}
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
			t.Errorf("%.90s: %d %s: %v", c.target, w.Code, w.Body, err)
			continue
		}
		if w.Code != http.StatusBadRequest || answer.Error.Code != c.code {
			t.Errorf("%.90s: %d %s, want 400 %s", c.target, w.Code, w.Body, c.code)
		}
		for _, part := range c.says {
			if !strings.Contains(answer.Error.Message, part) {
				t.Errorf("%.90s: %q does not say %q", c.target, answer.Error.Message, part)
			}
		}
		if m.views.Load() != 0 {
			t.Errorf("%.90s: the store was read for it", c.target)
		}
	}
}

func manyItems() string {
	items := make([]string, 1000)
	for i := range items {
		items[i] = "m" + string(rune('a'+i%26)) + strings.Repeat("x", i/26)
	}
	return strings.Join(items, ",")
}

// What is not given, given as nothing, in lists or with repeated keys.
func TestListsAndEmptyParameters(t *testing.T) {
	m := newMemory(reading("pump-7", 1, "a", 1.0, "b", 2.0))
	e := server(m, Options{Now: at("1970-01-01T00:00:10Z")})
	want := get(t, e, "/api/v1/devices/pump-7/readings?metrics=a,b")
	for _, query := range []string{"metrics=a&metrics=b", "metrics=,a,,b,", "metrics=a,b&order=&limit=&cursor=&format=&from=&to=", "metrics=a,b,a&limit=5&limit=5"} {
		if got := get(t, e, "/api/v1/devices/pump-7/readings?"+query); got != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
}

func TestDurations(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"10s": 10 * time.Second, "1h30m": 90 * time.Minute, "2w": 14 * 24 * time.Hour, "1d12h": 36 * time.Hour,
	} {
		if got, err := parseDuration(text); err != nil || got != want {
			t.Errorf("%s = %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "5", "m", "5 m", "1m1h", "1h1h", "-1h", "9999999999w", "1e3s", "99999999999s"} {
		if got, err := parseDuration(text); err == nil {
			t.Errorf("%q = %v, want an error", text, got)
		}
	}
	for seconds, want := range map[int64]string{10: "10s", 90: "90s", 300: "5m", 5400: "90m", 3600: "1h", 86400: "1d", 0: "0s"} {
		if got := formatDuration(seconds); got != want {
			t.Errorf("%d = %s, want %s", seconds, got, want)
		}
	}
}

func TestDefaultSteps(t *testing.T) {
	from := int64(1_795_392_000_000_000_000) // a midnight
	for length, want := range map[time.Duration]string{
		time.Second: "10s", 50 * time.Minute: "10s", 51 * time.Minute: "30s", time.Hour: "30s", 3 * time.Hour: "1m",
		24 * time.Hour: "5m", 3 * 24 * time.Hour: "15m", 7 * 24 * time.Hour: "1h", 30 * 24 * time.Hour: "6h",
		90 * 24 * time.Hour: "1d", 300 * 24 * time.Hour: "1d", 3000 * 24 * time.Hour: "1d", 20000 * 24 * time.Hour: "all",
	} {
		p := defaultPlan(instant{at: from}, instant{at: from + int64(length)})
		if p.step.String() != want {
			t.Errorf("%v: step %s, want %s", length, p.step, want)
		}
	}
}

func TestMatchGlob(t *testing.T) {
	for _, c := range []struct {
		pattern, id string
		want        bool
	}{
		{"pump-*", "pump-7", true}, {"pump-*", "pump-", true}, {"pump-*", "pump", false}, {"*", "x", true},
		{"*-7", "pump-7", true}, {"*-7", "pump-77", false}, {"a*b*c", "aXbYbZc", true}, {"a*b*c", "aXcYb", false},
		{"pump-7", "pump-7", true}, {"pump-7", "pump-70", false}, {"**", "ab", true}, {"a**", "a", true}, {"*a*", "bbb", false},
	} {
		if got := matchGlob(c.pattern, c.id); got != c.want {
			t.Errorf("%s on %s: %v", c.pattern, c.id, got)
		}
	}
}

func FuzzParams(f *testing.F) {
	for _, seed := range []string{
		"from=now-1h&to=now&step=5m&agg=avg,p95&metric=a", "from=2026-11-23T04:00:00+01:00&to=1795406400.5&step=all",
		"from=-9e99&to=9e99", "from=0001-01-01T00:00:00Z&to=9999-12-31T23:59:59Z", "step=1d&from=now-9999999999w&to=now+9999999999w",
		"device=pump-*,*,a**b&tag=a:b:c&groupBy=tag:a,tag:b", "limit=10000&silentFor=1w2d&prefix=%00", "from=now 5m&to=now+6m", "a;b", "%zz",
	} {
		f.Add(seed, "pump-7")
	}
	s := New(newMemory().view, Options{Now: at("2026-11-23T06:00:00Z")})
	now := s.options.Now().UnixNano()
	f.Fuzz(func(t *testing.T, raw, id string) {
		values, err := url.ParseQuery(raw)
		if err != nil {
			return
		}
		p := params(values)
		if q, err := s.parseFleet(p); err == nil {
			checkPlan(t, q.plan)
			for _, pattern := range q.devices {
				if matchGlob(pattern, id) && !strings.HasPrefix(id, q.devices.prefix()) {
					t.Fatalf("%q matches %q, which has no prefix %q", pattern, id, q.devices.prefix())
				}
			}
		}
		if from, to, err := parseRange(p, now); err == nil && (from.at >= to.at || from.at < -farthest || to.at > farthest) {
			t.Fatalf("range %v %v", from, to)
		}
		if d, err := parseDuration(raw); err == nil && d < 0 {
			t.Fatalf("%q = %v", raw, d)
		}
	})
}

// checkPlan checks what every plan promises, at its edges.
func checkPlan(t *testing.T, p plan) {
	t.Helper()
	if p.from >= p.to {
		t.Fatalf("plan %+v is empty", p)
	}
	if n := p.buckets(); n < 1 || n > maxPlanned {
		t.Fatalf("plan %+v has %d buckets", p, n)
	}
	for _, at := range []int64{p.from, p.from/2 + p.to/2, p.to - 1} {
		start, end := p.bucket(at)
		if at < start || at >= end {
			t.Fatalf("%s is not in its bucket [%s, %s)", telemetry.FormatTime(at), telemetry.FormatTime(start), telemetry.FormatTime(end))
		}
		for _, length := range p.tiers() {
			if p.step != wholeRange && (floorTo(at, length) < start || floorTo(at, length)+length > end) {
				t.Fatalf("the window of %d is not within its bucket [%d, %d)", at, start, end)
			}
		}
	}
}
