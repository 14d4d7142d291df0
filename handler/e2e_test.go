package main

import (
	"bufio"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const reading = `{"deviceId":"pump-7","ts":"2026-11-23T04:00:00Z","metrics":{"temperature":21.5,"v":1},"tags":{"site":"berlin"}}`

func TestServes(t *testing.T) {
	t.Parallel()
	p := serving(t, "SLUICE_DATA=data", "SLUICE_LOG=debug")
	do(t, "POST", p.url+"/api/v1/telemetry", reading).want(t, 200, `"accepted":1`, `"rejected":0`)
	do(t, "POST", p.url+"/api/v1/devices/fan-1/telemetry", `{"ts":1700000000,"values":{"v":2}}`).want(t, 200, `"accepted":1`)
	do(t, "GET", p.url+"/api/v1/devices", "").want(t, 200, `"deviceId":"fan-1"`, `"deviceId":"pump-7"`, `"site":"berlin"`)
	do(t, "GET", p.url+"/api/v1/devices/pump-7/latest", "").want(t, 200, `"temperature":{"value":21.5,"ts":"2026-11-23T04:00:00Z"}`)
	do(t, "GET", p.url+"/api/v1/devices/pump-7/readings?from=2026-11-23T00:00:00Z&to=2026-11-24T00:00:00Z", "").want(t, 200, `"temperature":21.5`)
	do(t, "GET", p.url+"/api/v1/devices/nobody/latest", "").want(t, 404, `{"error":{"code":"`)
	do(t, "DELETE", p.url+"/api/v1/devices/fan-1", "").want(t, 202)
	if n := count(t, p.url, "fan-1"); n != 0 {
		t.Error("deleted, and", n, "left")
	}

	do(t, "GET", p.url+"/healthz", "").want(t, 200, `"ok"`)
	do(t, "GET", p.url+"/readyz", "").want(t, 200, `"ready"`)
	do(t, "HEAD", p.url+"/healthz", "").want(t, 200)
	do(t, "GET", p.url+"/", "").want(t, 200, "<title>Sluice</title>")
	do(t, "GET", p.url+"/api/v1/status", "").want(t, 200, `"version":"v-test"`, `"shards":[{"epochs":`, `"lagSeconds":`)
	do(t, "HEAD", p.url+"/api/v1/status", "").want(t, 200)
	do(t, "GET", p.url+"/nope", "").want(t, 404, `{"error":{"code":"not_found","message":"no such path"}}`)
	if a := do(t, "PUT", p.url+"/api/v1/telemetry", reading); a.status != 405 || !strings.Contains(a.header.Get("Allow"), "POST") {
		t.Error(a)
	}
	p.stop()
	if p.stderr.Len() > 0 || !strings.Contains(p.log.String(), `"msg":"request"`) {
		t.Errorf("stderr %q", &p.stderr)
	}
	if _, err := os.Stat(filepath.Join(p.Dir, "data")); err != nil {
		t.Error(err)
	}
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	p := serving(t)
	if a := do(t, "GET", p.url+"/healthz", "", "X-Request-Id", "trace-1/2:3"); a.header.Get("X-Request-Id") != "trace-1/2:3" || a.header.Get("X-Content-Type-Options") != "nosniff" {
		t.Error(a.header)
	}
	for _, insane := range []string{"", "a b", `"quoted"`, "ümlaut", strings.Repeat("x", 129)} {
		if id := do(t, "GET", p.url+"/healthz", "", "X-Request-Id", insane).header.Get("X-Request-Id"); len(id) != 26 {
			t.Errorf("%q became %q", insane, id)
		}
	}

	var body strings.Builder
	for i := range 200 {
		fmt.Fprintf(&body, `{"deviceId":"p","ts":%d,"metrics":{"v":%d}}`+"\n", 1700000000+i, i)
	}
	do(t, "POST", p.url+"/api/v1/telemetry", body.String(), "Content-Type", "application/x-ndjson").want(t, 200, `"accepted":200`)
	url := p.url + "/api/v1/devices/p/readings?from=2000-01-01T00:00:00Z"
	plain, packed := do(t, "GET", url, ""), do(t, "GET", url, "", "Accept-Encoding", "gzip")
	if packed.header.Get("Content-Encoding") != "gzip" || plain.header.Get("Content-Encoding") != "" || len(packed.body) > len(plain.body)/2 {
		t.Error(packed.header, len(packed.body), len(plain.body))
	}
	unpack, err := gzip.NewReader(strings.NewReader(packed.body))
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(unpack); err != nil || string(text) != plain.body {
		t.Error("differs unpacked", err)
	}
	for _, refused := range []string{"gzip;q=0", "br, gzip; q=0.0", "identity"} {
		if a := do(t, "GET", url, "", "Accept-Encoding", refused); a.header.Get("Content-Encoding") != "" || a.body != plain.body {
			t.Errorf("%s gets %q", refused, a.header.Get("Content-Encoding"))
		}
	}
	if a := do(t, "GET", p.url+"/healthz", "", "Accept-Encoding", "gzip"); a.header.Get("Content-Encoding") != "" {
		t.Error("a short answer was compressed")
	}
	tag := plain.header.Get("ETag")
	if a := do(t, "GET", url, "", "If-None-Match", tag); tag != "" && a.status != 304 {
		t.Error(tag, a.status)
	}
}

func TestRestartKeepsWhatWasAcknowledged(t *testing.T) {
	t.Parallel()
	data := "SLUICE_DATA=" + t.TempDir()
	want := 0
	for round, end := range []os.Signal{syscall.SIGTERM, syscall.SIGKILL, syscall.SIGINT, syscall.SIGKILL} {
		p := serving(t, data)
		if got := count(t, p.url, "p"); got != want {
			t.Fatalf("%d readings at the start of round %d, %d were acknowledged", got, round, want)
		}
		for i := range 5 {
			do(t, "POST", p.url+"/api/v1/telemetry", fmt.Sprintf(`{"deviceId":"p","ts":%d,"metrics":{"v":1}}`, 1700000000+10*round+i)).want(t, 200)
			want++
		}
		p.signal(end)
		if code := p.code(); (code == 0) != (end != syscall.SIGKILL) {
			t.Fatalf("exit code %d after %v", code, end)
		}
	}
}

// raw is a connection on which a test writes what no client library would.
type raw struct {
	net.Conn
	t *testing.T
	*bufio.Reader
}

func dial(t *testing.T, url string) *raw {
	t.Helper()
	c, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	return &raw{c, t, bufio.NewReader(c)}
}

func (r *raw) Read(b []byte) (int, error) { return r.Reader.Read(b) }

func (r *raw) write(s string) {
	r.t.Helper()
	if _, err := io.WriteString(r.Conn, s); err != nil {
		r.t.Fatal(err)
	}
}

func (r *raw) answer() answer {
	r.t.Helper()
	response, err := http.ReadResponse(r.Reader, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	text, err := io.ReadAll(response.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return answer{response.StatusCode, response.Header, string(text)}
}

func post(length int) string {
	return fmt.Sprintf("POST /api/v1/telemetry HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", length)
}

func TestStopAnswersWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	data := "SLUICE_DATA=" + t.TempDir()
	p := serving(t, data, "SLUICE_LINGER=300ms")
	half := dial(t, p.url)
	half.write(post(len(reading)) + reading[:40])
	time.Sleep(50 * time.Millisecond)
	p.signal(syscall.SIGTERM)
	time.Sleep(200 * time.Millisecond)
	if _, err := try(t.Context(), "GET", p.url+"/healthz", ""); err == nil {
		t.Error("takes new connections after SIGTERM")
	}
	half.write(reading[40:])
	half.answer().want(t, 200, `"accepted":1`)
	if code := p.code(); code != 0 {
		t.Error("exit code", code)
	}
	if p = serving(t, data); count(t, p.url, "pump-7") != 1 {
		t.Error("the acknowledged reading is gone")
	}
}

func TestSecondSignalStopsAtOnce(t *testing.T) {
	t.Parallel()
	p := serving(t)
	half := dial(t, p.url)
	half.write(post(len(reading)) + reading[:40])
	time.Sleep(50 * time.Millisecond)
	p.signal(syscall.SIGTERM)
	time.Sleep(100 * time.Millisecond)
	p.signal(syscall.SIGTERM)
	select {
	case <-p.exited:
	case <-time.After(5 * time.Second):
		t.Error("still waits for its clients")
	}
}

func TestBodiesThatAreNotWhatTheyClaim(t *testing.T) {
	t.Parallel()
	p := serving(t, "SLUICE_MAX_BODY=1KiB")
	short := dial(t, p.url)
	short.write(post(len(reading)+10) + reading)
	_ = short.Conn.(*net.TCPConn).CloseWrite()
	short.answer().want(t, 400, `"code":"invalid_body"`, "Content-Length")
	if n := count(t, p.url, "pump-7"); n != 0 {
		t.Error("kept", n, "readings of a body that was cut")
	}

	long := dial(t, p.url)
	long.write(post(len(reading)-1) + reading)
	long.answer().want(t, 400, `"error"`)

	do(t, "POST", p.url+"/api/v1/telemetry", strings.Repeat(" ", 1025)+reading).want(t, 413, `"code":"body_too_large"`)
	chunked := dial(t, p.url)
	chunked.write("POST /api/v1/telemetry HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n800\r\n" + strings.Repeat(" ", 0x800) + "\r\n0\r\n\r\n")
	chunked.answer().want(t, 413, `"code":"body_too_large"`)
	do(t, "POST", p.url+"/api/v1/telemetry", reading, "Content-Encoding", "gzip").want(t, 400, `"error"`)
	do(t, "POST", p.url+"/api/v1/telemetry", reading, "Content-Encoding", "br").want(t, 415, `"error"`)
	do(t, "POST", p.url+"/api/v1/telemetry", reading, "Content-Type", "text/html").want(t, 415, `"error"`)

	header := dial(t, p.url)
	header.write("GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", maxHeaderBytes+(4<<10)) + "\r\n\r\n")
	header.answer().want(t, 431)
	if n := count(t, p.url, "pump-7"); n != 0 {
		t.Error("kept", n, "readings of bodies that were refused")
	}
	do(t, "POST", p.url+"/api/v1/telemetry", reading).want(t, 200)
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	busy := serving(t, "SLUICE_DATA="+filepath.Join(t.TempDir(), "held"), "SLUICE_SHARDS=3")
	held := ""
	for _, e := range busy.Env {
		if v, ok := strings.CutPrefix(e, "SLUICE_DATA="); ok {
			held = v
		}
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(t.TempDir(), "other")
	serving(t, "SLUICE_DATA="+other, "SLUICE_SHARDS=3").stop()

	for name, c := range map[string]struct {
		env  []string
		args []string
		code int
		want []string // in what it prints
	}{
		"accounts": {[]string{"SLUICE_TABLES=UseDevelopmentStorage=true,DefaultEndpointsProtocol=https;AccountName=a;AccountKey=c2VjcmV0!"}, nil, 2,
			[]string{"SLUICE_TABLES: number 2 of 2: "}},
		"account twice": {[]string{"SLUICE_TABLES=UseDevelopmentStorage=true,UseDevelopmentStorage=true;"}, nil, 2, []string{"SLUICE_TABLES: account devstoreaccount1 is given twice"}},
		"account twice, in another case": {[]string{"SLUICE_TABLES=UseDevelopmentStorage=true,AccountName=DevStoreAccount1;AccountKey=c2VjcmV0"}, nil, 2,
			[]string{"SLUICE_TABLES: account DevStoreAccount1 is given twice"}},
		"several wrong settings": {[]string{"SLUICE_SHARDS=none", "SLUICE_RETENTION=1h", "SLUICE_TABLES=,"}, nil, 2,
			[]string{"SLUICE_SHARDS=\"none\": takes ", "SLUICE_RETENTION=\"1h\": takes ", "SLUICE_TABLES="}},
		"not loopback":         {[]string{"SLUICE_ADDR=0.0.0.0:0"}, nil, 2, []string{"SLUICE_KEYS: must be set, or SLUICE_OIDC_ISSUER", "SLUICE_ADDR is not loopback"}},
		"off, not loopback":    {[]string{"SLUICE_ADDR=0.0.0.0:0", "SLUICE_AUTH=off"}, nil, 2, []string{"SLUICE_AUTH=off: others can reach the service", "off-i-know"}},
		"a short key":          {[]string{"SLUICE_KEYS=k1:c2VjcmV0"}, nil, 2, []string{"SLUICE_KEYS: keys: number 1 (k1) has 6 bytes"}},
		"token without keys":   {nil, []string{"token", "--scope", "admin"}, 2, []string{"SLUICE_KEYS: must be set"}},
		"token, no scope":      {[]string{"SLUICE_KEYS=" + keyText("k1")}, []string{"token"}, 2, []string{"--scope"}},
		"token, for nobody":    {[]string{"SLUICE_KEYS=" + keyText("k1")}, []string{"token", "--scope", "write"}, 2, []string{"one device or a prefix"}},
		"token, both":          {[]string{"SLUICE_KEYS=" + keyText("k1")}, []string{"token", "--scope", "write", "--device", "a", "--prefix", "b"}, 2, []string{"not both"}},
		"token, forever":       {[]string{"SLUICE_KEYS=" + keyText("k1")}, []string{"token", "--scope", "read", "--expires", "soon"}, 2, []string{"--expires"}},
		"token, header in it":  {[]string{"SLUICE_KEYS=" + keyText("k1")}, []string{"token", "--scope", "write", "--device", "a\r\nX: y"}, 2, []string{"deviceId"}},
		"import, no token":     {nil, []string{"import", "--token-file", file + "/x", file}, 2, []string{"--token-file"}},
		"functions host":       {[]string{"FUNCTIONS_CUSTOMHANDLER_PORT=0", "FUNCTIONS_CUSTOMHANDLER_PORT=7071"}, nil, 2, []string{"SLUICE_TABLES: must be set under the Functions host"}},
		"port in use":          {[]string{"SLUICE_ADDR=" + strings.TrimPrefix(busy.url, "http://")}, nil, 1, []string{"address already in use"}},
		"folder in use":        {[]string{"SLUICE_DATA=" + held, "SLUICE_SHARDS=3"}, nil, 1, []string{fmt.Sprintf("held by pid %d since ", busy.Process.Pid)}},
		"other shards":         {[]string{"SLUICE_DATA=" + other, "SLUICE_SHARDS=4"}, nil, 2, []string{"SLUICE_SHARDS: ", "set SLUICE_SHARDS=3"}},
		"folder is a file":     {[]string{"SLUICE_DATA=" + file}, nil, 2, []string{"SLUICE_DATA: "}},
		"folder under a file":  {[]string{"SLUICE_DATA=" + file + "/x"}, nil, 2, []string{"SLUICE_DATA: "}},
		"unknown command":      {nil, []string{"dance"}, 2, []string{"dance", "--help"}},
		"unknown flag":         {nil, []string{"import", "--dance", "x"}, 2, []string{"--dance"}},
		"import without files": {nil, []string{"import"}, 2, []string{"file"}},
		"import, wrong URL":    {nil, []string{"import", "--url", "localhost", "x.csv"}, 2, []string{"takes one such as http://127.0.0.1:8080"}},
		"import, no service":   {nil, []string{"import", "--url", "http://127.0.0.1:1", file}, 1, []string{"no service answers at http://127.0.0.1:1"}},
		"import, delimiter":    {nil, []string{"import", "--delimiter", "ab", file}, 2, []string{"takes one character"}},
		"version":              {nil, []string{"version"}, 0, []string{"v-test"}},
		"help":                 {nil, []string{"--help"}, 0, []string{"import", "serve", "version"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := append([]string{"SLUICE_ADDR=127.0.0.1:0"}, c.env...)
			p := command(t, env, c.args...)
			p.begin()
			code := p.code()
			text := p.log.String() + p.stderr.String()
			if strings.Contains(text, "c2VjcmV0") {
				t.Error("shows a key:", text)
			}
			if code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			for _, w := range c.want {
				if !strings.Contains(text, w) && !strings.Contains(strings.ReplaceAll(text, `\"`, `"`), w) {
					t.Errorf("no %q in what it says:\n%s", w, text)
				}
			}
		})
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	free, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer free.Close()
	_, port, _ := net.SplitHostPort(free.Addr().String())
	return port
}

func TestUnderTheFunctionsHostInDevelopment(t *testing.T) {
	t.Parallel()
	port := freePort(t)
	p := serving(t, "FUNCTIONS_CUSTOMHANDLER_PORT="+port, "AZURE_FUNCTIONS_ENVIRONMENT=Development", "SLUICE_ADDR=0.0.0.0:1")
	if !strings.HasSuffix(p.url, ":"+port) {
		t.Error(p.url)
	}
	do(t, "GET", p.url+"/", "").want(t, 200)
}

func TestUnknownSettingIsWarnedOf(t *testing.T) {
	t.Parallel()
	p := serving(t, "SLUICE_RETENTON=7d")
	if !strings.Contains(p.log.String(), "did you mean SLUICE_RETENTION?") {
		t.Error("no warning")
	}
}

// Where others can reach it the service serves, with access control or with
// off-i-know.
func TestServesOnAllAddresses(t *testing.T) {
	t.Parallel()
	for setting, status := range map[string]int{"SLUICE_KEYS=" + keyText("k1"): 401, "SLUICE_AUTH=off-i-know": 200} {
		p := serving(t, "SLUICE_ADDR=0.0.0.0:0", setting)
		_, port, _ := net.SplitHostPort(strings.TrimPrefix(p.url, "http://"))
		do(t, "GET", "http://127.0.0.1:"+port+"/api/v1/devices", "").want(t, status)
	}
}
