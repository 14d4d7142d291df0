package host

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// recorded is a line of a recording.
type recorded struct {
	Name, Client, Method, Path string
	Headers                    [][2]string
	Body, BodyHex              string
	Deliveries, ClientGot      int
}

func (r recorded) body(t *testing.T) []byte {
	if r.BodyHex == "" {
		return []byte(r.Body)
	}
	b, err := hex.DecodeString(r.BodyHex)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func recording(t *testing.T, name string) (lines []recorded) {
	t.Helper()
	text, err := os.ReadFile("testdata/recorded/" + name)
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(bytes.ReplaceAll(text, []byte("…"), []byte("x"))) {
		var r recorded
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, r)
	}
	return lines
}

var curlOption = regexp.MustCompile(` (-X|-H|-d|-I|--data-binary|--path-as-is)( |$)`)

// curlRequest is what curl 7.88.1 sends for arguments of a recording. gz is
// what the file b.json.gz held.
func curlRequest(t *testing.T, arguments, host string, gz []byte) (method, request string) {
	t.Helper()
	path, _, _ := strings.Cut(strings.TrimPrefix(arguments, "curl "), " ")
	header := map[string][]string{"Host": {host}, "User-Agent": {"curl/7.88.1"}, "Accept": {"*/*"}}
	method = http.MethodGet
	var body []byte
	hasBody := false
	matches := curlOption.FindAllStringIndex(arguments, -1)
	for i, m := range matches {
		end := len(arguments)
		if i+1 < len(matches) {
			end = matches[i+1][0]
		}
		option := strings.TrimSpace(arguments[m[0]:m[1]])
		value := arguments[min(m[1], end):end]
		switch option {
		case "-X":
			method = value
		case "-I":
			method = http.MethodHead
		case "-H":
			name, text, _ := strings.Cut(value, ":")
			if text == "" {
				header[name] = nil
				break
			}
			header[name] = append(header[name], strings.TrimPrefix(text, " "))
		case "-d", "--data-binary":
			hasBody = true
			body = []byte(value)
			switch value {
			case "@b.json.gz":
				body = gz
			case "@b.json":
				body = []byte(`{"a":1}`)
			}
			if method == http.MethodGet {
				method = http.MethodPost
			}
		}
	}
	return method, writeRequest(method, path, header, hasBody, body)
}

func writeRequest(method, path string, header map[string][]string, hasBody bool, body []byte) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\n", method, path)
	for name, values := range header {
		for _, v := range values {
			fmt.Fprintf(&b, "%s: %s\r\n", name, v)
		}
	}
	switch {
	case header["Transfer-Encoding"] != nil:
		fmt.Fprintf(&b, "\r\n%x\r\n%s\r\n0\r\n\r\n", len(body), body)
	case hasBody:
		fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(body), body)
	default:
		b.WriteString("\r\n")
	}
	return b.String()
}

func readAnswer(from io.Reader, method string) (got, error) {
	r, err := http.ReadResponse(bufio.NewReader(from), &http.Request{Method: method})
	if err != nil {
		return got{}, err
	}
	body, err := io.ReadAll(r.Body)
	return got{r.StatusCode, r.Header, string(body)}, err
}

// normal makes headers comparable: names in lower case, in order, ids and
// ports as the recordings have them.
func normal(headers [][2]string, addresses ...string) map[string]string {
	out := map[string]string{}
	for _, h := range headers {
		name, value := strings.ToLower(h[0]), h[1]
		if name == "host" && slices.Contains(addresses, value) {
			value = "127.0.0.1:PORT"
		}
		if name == strings.ToLower(invocationHeader) && isID.MatchString(value) {
			value = "an id"
		}
		if before, ok := out[name]; ok {
			value = before + " AND " + value
		}
		out[name] = value
	}
	return out
}

var isID = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// What a real host forwarded, this one forwards.
func TestForwardedAsRecorded(t *testing.T) {
	w := start(t, nil, func(o *Options) { o.Mode = Forward })
	lines := recording(t, "http-forwarded.jsonl")
	if len(lines) != 18 {
		t.Fatalf("%d lines", len(lines))
	}
	gz := lines[3].body(t)
	for _, line := range lines {
		before := len(w.requests())
		method, request := curlRequest(t, line.Client, w.Addr(), gz)
		if g := w.mustRaw(method, request); g.status != line.ClientGot {
			t.Errorf("%s: the caller got %d, want %d", line.Client, g.status, line.ClientGot)
		}
		seen := w.requests()[before:]
		if len(seen) != line.Deliveries {
			t.Errorf("%s: %d deliveries, want %d", line.Client, len(seen), line.Deliveries)
			continue
		}
		for _, s := range seen {
			if s.Method != line.Method || s.Target != line.Path || !bytes.Equal(s.Body, line.body(t)) {
				t.Errorf("%s: came as %s %s %q\nwant %s %s %q", line.Client, s.Method, s.Target, s.Body, line.Method, line.Path, line.body(t))
			}
			if d := cmp.Diff(normal(line.Headers), normal(s.Headers, w.Addr())); d != "" {
				t.Errorf("%s: headers (-recorded +here):\n%s", line.Client, d)
			}
		}
	}
}

// sysOf cuts what is new in every call out of an envelope.
var sysOf = regexp.MustCompile(`"UtcNow":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,7})?Z","RandGuid":"[0-9a-f-]{36}"`)

// comparable makes an envelope's body comparable.
func comparableBody(body []byte, addresses ...string) string {
	s := sysOf.ReplaceAllString(string(body), `"UtcNow":"now","RandGuid":"an id"`)
	for _, a := range append(addresses, "127.0.0.1:7071") {
		s = strings.ReplaceAll(s, a, "127.0.0.1:PORT")
	}
	return s
}

// compareTrigger compares what came for a trigger with a line of a recording.
func compareTrigger(t *testing.T, w *world, line recorded, seen record, change func(string) string) {
	t.Helper()
	if seen.Method != line.Method || seen.Target != line.Path {
		t.Errorf("%s: came as %s %s, want %s %s", line.Name, seen.Method, seen.Target, line.Method, line.Path)
	}
	if d := cmp.Diff(normal(line.Headers), normal(seen.Headers, w.client.address)); d != "" {
		t.Errorf("%s: headers (-recorded +here):\n%s", line.Name, d)
	}
	if d := cmp.Diff(change(comparableBody([]byte(line.Body))), change(comparableBody(seen.Body))); d != "" {
		t.Errorf("%s: body (-recorded +here):\n%s", line.Name, d)
	}
}

func TestTimerAsRecorded(t *testing.T) {
	w := start(t, nil, nil)
	line := recording(t, "triggers.jsonl")[2]
	if err := w.Trigger(t.Context(), "manual"); err != nil {
		t.Fatal(err)
	}
	seen := w.requests()
	if len(seen) != 1 {
		t.Fatalf("%d deliveries", len(seen))
	}
	dates := regexp.MustCompile(`"Next":"\d{4}-01-01T00:00:00\+00:00","LastUpdated":"[^"]*\+00:00"`)
	compareTrigger(t, w, line, seen[0], func(s string) string { return dates.ReplaceAllString(s, "the first of January") })
}

// recordedEvents are those behind the recording.
func recordedEvents(t *testing.T) []Event {
	t.Helper()
	key := func(s string) *string { return &s }
	at := func(s string) time.Time {
		when, err := time.Parse(time.RFC3339Nano, s)
		if err != nil {
			t.Fatal(err)
		}
		return when
	}
	binary, err := base64.StdEncoding.DecodeString("H4sA//6A")
	if err != nil {
		t.Fatal(err)
	}
	return []Event{
		{
			Body: []byte(`{"device":"d1","temp":21.5,"ts":"2026-11-23T05:00:00Z"}`), PartitionKey: key("d1"), SequenceNumber: 9007199254740993,
			Offset: 4294967296, Enqueued: at("2026-11-23T05:00:01.116Z"), Properties: []Property{{"schema", "v1"}, {"n", 5}},
		},
		{Body: []byte("plain \"text\" äö <b>&\n2"), SequenceNumber: 12, Offset: 4294967400, Enqueued: at("2026-11-23T05:00:00.135Z")},
		{Body: []byte("[1,2]"), PartitionKey: key("d3"), SequenceNumber: 13, Offset: 4294967500, Enqueued: at("2026-11-23T05:00:00.136Z")},
		{Body: binary, SequenceNumber: 14, Offset: 1, Enqueued: at("2026-11-23T05:00:00.137Z")},
	}
}

func TestEventsAsRecorded(t *testing.T) {
	w := start(t, nil, nil)
	for i, name := range []string{"consume_str", "consume_bin"} {
		if err := w.TriggerEvents(t.Context(), name, "3", recordedEvents(t)); err != nil {
			t.Fatal(err)
		}
		seen := w.requests()
		compareTrigger(t, w, recording(t, "triggers.jsonl")[i], seen[len(seen)-1], func(s string) string { return s })
	}
}

// With neither switch HTTP comes in the envelope; members may come in another
// order.
func TestEnvelopeAsRecorded(t *testing.T) {
	w := start(t, map[string]string{"host.json": hostJSON(`"description":{"defaultExecutablePath":"bin/handler"}`, "")}, nil)
	lines := recording(t, "http-envelope.jsonl")
	gz, err := hex.DecodeString("1f8b08083ed1036b0003622e6a736f6e00ab564ace28cdcb56b22a292a4dad0500ed74f64f0e000000")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range lines {
		line.Name = line.Client
		w.setAnswer("res")
		if line.ClientGot == http.StatusNoContent {
			w.setAnswer("ok")
		}
		method, request := curlRequest(t, line.Client, w.Addr(), gz)
		if g := w.mustRaw(method, request); g.status != line.ClientGot {
			t.Errorf("%s: the caller got %d, want %d", line.Client, g.status, line.ClientGot)
		}
		seen := w.requests()
		compareTrigger(t, w, line, seen[len(seen)-1], func(s string) string {
			var v any
			if err := json.Unmarshal([]byte(strings.ReplaceAll(s, w.Addr(), "127.0.0.1:PORT")), &v); err != nil {
				t.Fatal(err)
			}
			out, err := json.MarshalIndent(v, "", " ")
			if err != nil {
				t.Fatal(err)
			}
			return string(out)
		})
	}
}

// hostJSON is a host.json with this in customHandler, and more.
func hostJSON(handler, more string) string {
	return fmt.Sprintf(`{"version":"2.0","extensions":{"http":{"routePrefix":""}},"customHandler":{%s}%s}`, handler, more)
}
