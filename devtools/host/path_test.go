package host

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// Paths as they come, as routes see them, as a forwarded and as a proxied call
// has them.
func TestPaths(t *testing.T) {
	for _, c := range []struct{ raw, decoded, forwarded, proxied string }{
		{"/v1/enc%2Fslash/sp%20ace/pl+us/%C3%A4/%25/a%3Fb", "/v1/enc%2Fslash/sp ace/pl+us/ä/%/a?b", "/v1/enc%2Fslash/sp%20ace/pl+us/%C3%A4/%25/a", "/v1/enc%252Fslash/sp%20ace/pl+us/%C3%A4/%25/a%3Fb"},
		{"/v1/dots/../up//double", "/v1/up//double", "/v1/up//double", "/v1/up//double"},
		{"/a/%2e%2E/b/.", "/b/", "/b/", "/b/"},
		{"/../..", "/", "/", "/"},
		{"/consume%5C", `/consume\`, "/consume/", "/consume%5C"},
		{"/%5Cconsume", `/\consume`, "//consume", "/%5Cconsume"},
		{"/%2563onsume", "/%63onsume", "/consume", "/%2563onsume"},
		{"/consume%20%09", "/consume \t", "/consume", "/consume%20%09"},
		{"/consume%23x", "/consume#x", "/consume", "/consume%23x"},
		{"/x%5C..%5Cconsume", `/x\..\consume`, "/consume", "/x%5C..%5Cconsume"},
		{"/con%E2%80%8Esume", "/con\u200Esume", "/consume", "/con%E2%80%8Esume"},
		{"/%FF%C3%28", "/%FF%C3(", "/%FF%C3(", "/%25FF%25C3("},
		{"/a;b=1@c:d", "/a;b=1@c:d", "/a;b=1@c:d", "/a;b=1@c:d"},
	} {
		decoded, ok := serverPath(c.raw)
		if !ok || decoded != c.decoded || forwardedPath(decoded, "") != c.forwarded || proxiedPath(decoded) != c.proxied {
			t.Errorf("%s: %q, %q, %q\nwant %q, %q, %q", c.raw, decoded, forwardedPath(decoded, ""), proxiedPath(decoded), c.decoded, c.forwarded, c.proxied)
		}
	}
	if _, ok := serverPath("/a%00"); ok {
		t.Error("NUL was taken")
	}
	if got := forwardedPath("/consume ", "q"); got != "/consume%20" {
		t.Errorf("a space before a query: %q", got)
	}
}

func TestForwardedQuery(t *testing.T) {
	for raw, want := range map[string]string{
		"": "", "x=1&x=2&y=%20z&empty=&flag": "?x=1,2&y=%20z&empty=&flag=", "q=%2F%26+x": "?q=%2F%26%20x", "A=1&a=2&&": "?A=1,2",
		"t=a:b'c\"&%zz=%": "?t=a%3Ab%27c%22&%25zz=%25", "a=b=c": "?a=b%3Dc", "ä=ü": "?%C3%A4=%C3%BC",
	} {
		if got := forwardedQuery(raw); got != want {
			t.Errorf("%s: %s, want %s", raw, got, want)
		}
	}
}

func FuzzPaths(f *testing.F) {
	for _, seed := range []string{"/v1/a%2Fb", "/..%2f..//%2e./x", "/%C3%28%ff", "/a%00", "/%5c..%5C#?", "/%E2%80%8E%", "//", "/"} {
		f.Add(seed, "x=1&x=2&flag&y=%zz")
	}
	f.Fuzz(func(t *testing.T, raw, query string) {
		if !strings.HasPrefix(raw, "/") {
			raw = "/" + raw
		}
		decoded, ok := serverPath(raw)
		if !ok {
			return
		}
		if utf8.ValidString(raw) && !utf8.ValidString(decoded) {
			t.Errorf("%q became %q", raw, decoded)
		}
		for _, out := range []string{forwardedPath(decoded, query), proxiedPath(decoded), forwardedQuery(query)} {
			if out != "" && out[0] != '/' && out[0] != '?' {
				t.Errorf("%q begins oddly", out)
			}
			if strings.ContainsAny(out, " \t\r\n\x00\\#") {
				t.Errorf("%q cannot be in a request line", out)
			}
		}
		if strings.Contains(forwardedPath(decoded, query)+"/", "/../") {
			t.Errorf("%q: dot segments in %q", raw, forwardedPath(decoded, query))
		}
	})
}

func TestRoutes(t *testing.T) {
	const leaveOut = `{*path:regex(^(?!\s*(consume|compact)\s*(/|$)))}`
	for _, c := range []struct{ template, path, want string }{
		{"v1/{*path}", "/v1/a/b", "path=a/b"}, {"v1/{*path}", "/V1", "path="}, {"v1/{*path}", "/v2/a", "-"}, {"v1/{*path}", "/v1//a", "path=/a"},
		{"rr/{id}/{*rest}", "/rr/42/x/y", "id=42,rest=x/y"}, {"rr/{id}/{*rest}", "/rr/", "-"}, {"rr/{id?}", "/rr", ""}, {"rr/{id?}", "/rr/1", "id=1"},
		{"rr/{id?}", "/rr/1/2", "-"}, {"exact", "/exact", ""}, {"exact", "/exact/", ""}, {"exact", "/exactly", "-"}, {"", "/", ""}, {"", "/x", "-"},
		{"{*path}", "/", "path="}, {"{**path}", "/a", "path=a"},
		{leaveOut, "/x", "path=x"}, {leaveOut, "/", "path="}, {leaveOut, "/consume", "-"}, {leaveOut, "/CompacT/", "-"}, {leaveOut, "/\tconsume /x", "-"},
		{leaveOut, "/consumer", "path=consumer"}, {leaveOut, "//consume", "path=/consume"}, {leaveOut, `/consume\`, `path=consume\`},
		{`{v:regex(^\d{{2}}$)}`, "/42", "v=42"}, {`{v:regex(^\d{{2}}$)}`, "/421", "-"},
	} {
		r, err := parseRoute(c.template)
		if err != nil {
			t.Errorf("%s: %v", c.template, err)
			continue
		}
		got := "-"
		if params, ok := r.match(c.path); ok {
			var parts []string
			for _, p := range params {
				parts = append(parts, p.name+"="+p.value)
			}
			got = strings.Join(parts, ",")
		}
		if got != c.want {
			t.Errorf("%s of %s: %s, want %s", c.template, c.path, got, c.want)
		}
	}
	for _, wrong := range []string{"a//b", "{", "{}", "{a", "a{b}", "{a}b", "{*a}/b", "{a:int}", "{a:regex(}", "{a:regex([)}", "a*", "{a{b}"} {
		if _, err := parseRoute(wrong); err == nil {
			t.Errorf("%s was taken", wrong)
		}
	}
}

func FuzzRoute(f *testing.F) {
	f.Add("v1/{*path}", "/v1/x")
	f.Add("{a?}/{b:regex(^x{{2}}$)}/c", "/q/xx/c")
	f.Fuzz(func(t *testing.T, template, path string) {
		r, err := parseRoute(template)
		if err == nil && !strings.Contains(template, "regex(") { // patterns may take as long as they like
			r.match(path)
		}
	})
}

func TestSchedules(t *testing.T) {
	from := time.Date(2026, 11, 24, 10, 58, 30, 5, time.UTC) // a Tuesday
	for text, want := range map[string]string{
		"* * * * * *": "2026-11-24 10:58:31", "0 * * * * *": "2026-11-24 10:59:00", "0 */5 * * * *": "2026-11-24 11:00:00",
		"15,45 58-59 * * * *": "2026-11-24 10:58:45", "0 0 0 1 1 *": "2027-01-01 00:00:00", "0 0 9 * * Mon-Fri": "2026-11-25 09:00:00",
		"0 0 9 * * 0": "2026-11-29 09:00:00", "0 0 0 29 2 *": "2028-02-29 00:00:00", "*/30 * * * *": "2026-11-24 11:00:00",
		"0 0 0 13 * fri": "2027-08-13 00:00:00", "0 30/10 * * Nov *": "2026-11-24 11:30:00", "00:05:00": "2026-11-24 11:03:30", "1.00:00:01": "2026-11-25 10:58:31",
	} {
		s, err := parseSchedule(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := s.next(from).Format(time.DateTime); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
	for _, wrong := range []string{"", "* * * *", "60 * * * * *", "* * * * * 7", "5-1 * * * * *", "*/0 * * * * *", "x * * * * *", "0 0 0 30 2 *", "5m", "00:00:00", "24:00:00"} {
		if _, err := parseSchedule(wrong); err == nil {
			t.Errorf("%q was taken", wrong)
		}
	}
}

func FuzzSchedule(f *testing.F) {
	for _, seed := range []string{"0 */5 * * * *", "1,2-9/3 * 1 jan-dec mon", "1.02:03:04", "* * * 31 */2 *"} {
		f.Add(seed, int64(1795604310))
	}
	f.Fuzz(func(t *testing.T, text string, second int64) {
		s, err := parseSchedule(text)
		if err != nil {
			return
		}
		from := time.Unix(second%(1<<33), 0)
		if next := s.next(from); !next.After(from) && !next.IsZero() {
			t.Errorf("%q: %s comes after %s", text, next, from)
		}
	})
}

func FuzzHostKeys(f *testing.F) {
	f.Add([]byte(hostJSON(handlerPath, `,"x":[1]`)))
	f.Add([]byte(`{"bindings":[{"path":1},2],"retry":[]}`))
	f.Fuzz(func(_ *testing.T, text []byte) {
		_, _ = hostKeys.check(text)
		_, _ = functionKeys.check(text)
	})
}

func TestTimeSpans(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"00:00:01": time.Second, "1.02:03:04": 26*time.Hour + 3*time.Minute + 4*time.Second, "00:00:00.05": 50 * time.Millisecond, "00:00:01.0000001": time.Second + 100,
		"": -1, "5": -1, "00:60:00": -1, "00:00:00.": -1, "00:00:00.12345678": -1, "00:00:00.-5": -1, "-1.00:00:00": -1, "00:00:x": -1,
	} {
		got, err := parseTimeSpan(text)
		if want < 0 && err == nil || want >= 0 && (err != nil || got != want) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}
