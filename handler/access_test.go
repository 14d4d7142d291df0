package main

import (
	"bytes"
	"cmp"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/labstack/echo/v4"

	"sluice/access"
	"sluice/internal/settings"
)

// keyText is a SLUICE_KEYS with one key, of one letter.
func keyText(id string) string {
	return id + ":" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte(id[:1]), 32))
}

// mint makes a token by the key of an id.
func mint(t testing.TB, key string, c access.Claim) string {
	t.Helper()
	keys, err := access.ParseKeys(keyText(key))
	if err != nil {
		t.Fatal(err)
	}
	token, err := keys.Sign(c)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// issuer makes JWTs that a server of its own says how to judge.
type issuer struct {
	*httptest.Server
	signer jose.Signer
}

func newIssuer(t testing.TB) *issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	i := &issuer{}
	if i.signer, err = jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, (&jose.SignerOptions{}).WithHeader("kid", "e1")); err != nil {
		t.Fatal(err)
	}
	i.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/keys" {
			_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "e1"}}})
			return
		}
		fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q}`, i.URL, i.URL+"/keys")
	}))
	t.Cleanup(i.Close)
	return i
}

func (i *issuer) token(t testing.TB, roles ...string) string {
	t.Helper()
	text, err := json.Marshal(map[string]any{"iss": i.URL, "aud": "api://sluice", "sub": "s", "exp": time.Now().Add(time.Hour).Unix(), "roles": roles})
	if err != nil {
		t.Fatal(err)
	}
	signed, err := i.signer.Sign(text)
	if err != nil {
		t.Fatal(err)
	}
	compact, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return compact
}

// guarded is a service with access control, and its router.
type guarded struct {
	*httptest.Server
	app    *echo.Echo
	house  *house
	issuer *issuer
}

func newGuarded(t testing.TB, env ...string) *guarded {
	t.Helper()
	g := &guarded{issuer: newIssuer(t)}
	s, _, err := settings.Load(append([]string{
		"SLUICE_DATA=" + t.TempDir(), "SLUICE_RETENTION=forever", "SLUICE_AUTH=on", "SLUICE_KEYS=" + keyText("k1"),
		"SLUICE_OIDC_ISSUER=" + g.issuer.URL, "SLUICE_OIDC_AUDIENCE=api://sluice",
	}, env...))
	if err != nil {
		t.Fatal(err)
	}
	s.Limit(settings.GiB)
	log := slog.New(slog.DiscardHandler)
	keys, err := openKeys(s)
	if err != nil {
		t.Fatal(err)
	}
	if g.house, err = openHouse(t.Context(), newGround(s, &embedded{settings: s, log: log}, nil, keys, log)); err != nil {
		t.Fatal(err)
	}
	g.app = newApp(g.house, &life{started: time.Now()}, log, defaultPatience)
	g.Server = httptest.NewServer(g.app)
	t.Cleanup(func() {
		g.Close()
		if err := g.house.close(t.Context()); err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
	})
	return g
}

// credentials are those of the matrix by the names of its columns. Requests are
// about the device pump-1.
func (g *guarded) credentials(t testing.TB) map[string]string {
	t.Helper()
	if err := g.house.blocked.Block(t.Context(), "pump-9"); err != nil {
		t.Fatal(err)
	}
	write := func(id string) access.Claim { return access.Claim{Scope: access.Write, Reach: access.Device(id)} }
	expired := access.Claim{Scope: access.Admin, Expires: time.Now().Add(-time.Second)}
	return map[string]string{
		"none":                "",
		"wrong":               mint(t, "z1", access.Claim{Scope: access.Admin}),
		"expired":             mint(t, "k1", expired),
		"blocked":             mint(t, "k1", write("pump-9")),
		"write, other device": mint(t, "k1", write("pump-10")),
		"write":               mint(t, "k1", write("pump-1")),
		"read, other prefix":  mint(t, "k1", access.Claim{Scope: access.Read, Reach: access.Prefix("fan-")}),
		"read":                mint(t, "k1", access.Claim{Scope: access.Read}),
		"admin":               mint(t, "k1", access.Claim{Scope: access.Admin}),
		"JWT, no role":        g.issuer.token(t, "Other"),
		"JWT Write":           g.issuer.token(t, "Telemetry.Write"),
		"JWT Read":            g.issuer.token(t, "Telemetry.Read"),
		"JWT Admin":           g.issuer.token(t, "Telemetry.Admin"),
	}
}

// matrix reads the table of docs/security.md: by route, what each credential gets.
func matrix(t *testing.T) (columns []string, rows map[string][]string) {
	t.Helper()
	text, err := os.ReadFile("../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	rows = map[string][]string{}
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
		for i := range cells {
			cells[i] = strings.Trim(cells[i], " `|")
		}
		switch {
		case cells[0] == "route":
			columns = cells[1:]
		case columns != nil && line == "\n":
			return columns, rows
		case columns != nil && !strings.HasPrefix(line, "|--"):
			if len(cells) != len(columns)+1 || rows[cells[0]] != nil {
				t.Fatalf("a row of %d columns, or a second one: %s", len(cells), line)
			}
			rows[cells[0]] = cells[1:]
		}
	}
	t.Fatal("docs/security.md has no table of routes that ends")
	return nil, nil
}

// outcome is an answer as the matrix has it.
func outcome(a answer) string {
	var body struct {
		Error struct {
			Code string `json:"code"`
		} `json:"error"`
	}
	_ = json.Unmarshal([]byte(a.body), &body)
	switch a.status {
	case http.StatusUnauthorized:
		if body.Error.Code != "unauthorized" || !strings.HasPrefix(a.header.Get("WWW-Authenticate"), "Bearer ") {
			return "401 without a reason"
		}
		return "401"
	case http.StatusForbidden:
		short := map[string]string{"forbidden": "scope", "forbidden_device": "device", "device_blocked": "blocked"}[body.Error.Code]
		return cmp.Or(short, "403 without a reason")
	case http.StatusServiceUnavailable:
		return "503"
	}
	return "ok"
}

// aRequest makes of a route one about pump-1.
func aRequest(route string) (method, path, body string) {
	method, path, _ = strings.Cut(route, " ")
	if strings.Contains(path, "/devices/") {
		path = strings.NewReplacer(":deviceId", "pump-1", ":id", "pump-1").Replace(path)
	}
	path = strings.ReplaceAll(path, ":id", "no-such-letter")
	if strings.HasSuffix(path, "aggregates") {
		path += "?metric=x"
	}
	switch {
	case path == "/api/v1/telemetry":
		body = `{"deviceId":"pump-1","metrics":{"x":1}}`
	case strings.HasSuffix(path, "/telemetry"):
		body = `{"x":1}`
	case path == "/compact":
		body = `{"Data":{"timer":{}},"Metadata":{}}`
	case path == "/consume":
		body = `{"Data":{"events":"[]"},"Metadata":{}}`
	}
	return method, path, body
}

// Every route × every credential gets what docs/security.md says, and what is not
// said there is not there.
func TestRoutesAndCredentials(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	columns, rows := matrix(t)
	credentials := g.credentials(t)
	if got, want := slices.Sorted(maps.Keys(credentials)), slices.Sorted(slices.Values(columns)); !slices.Equal(got, want) {
		t.Fatalf("the table has the credentials %q, the test %q", want, got)
	}
	routes := map[string]string{ // requests, and their rows
		"GET /no/such/path": "any other", "POST /no/such/path": "any other", "PUT /api/v1/telemetry": "any other", "OPTIONS /api/v1/devices": "any other",
		"GET /api/v1/devices/pump-1/telemetry": "any other", "GET /compact": "any other", "POST /Compact": "any other", "GET //": "any other", "GET /healthz/": "any other", "GET /%68ealthz": "any other",
	}
	seen := map[string]bool{"any other": true}
	for _, r := range g.app.Routes() {
		row := strings.Replace(r.Method, http.MethodHead, http.MethodGet, 1) + " " + r.Path
		if rows[row] == nil {
			t.Errorf("docs/security.md lacks the route %s", row)
			continue
		}
		routes[r.Method+" "+r.Path], seen[row] = row, true
	}
	for row := range rows {
		if !seen[row] {
			t.Errorf("docs/security.md has %s, which is no route", row)
		}
	}
	for route, row := range routes {
		method, path, body := aRequest(route)
		for i, name := range columns {
			var header []string
			if credentials[name] != "" {
				header = []string{"Authorization", "Bearer " + credentials[name]}
			}
			a := do(t, method, g.URL+path, body, header...)
			if method == http.MethodHead { // it has no body that says why
				a.body = do(t, http.MethodGet, g.URL+path, body, header...).body
			}
			if err := g.house.blocked.Unblock(t.Context(), "pump-1"); err != nil {
				t.Fatal(err)
			}
			if got := outcome(a); got != rows[row][i] {
				t.Errorf("%s, %s: %s, want %s\n%d %s", route, name, got, rows[row][i], a.status, a.body)
			}
		}
	}
}

// What a credential is told of a device that it may not ask for does not depend on
// whether there is such a one.
func TestDevicesAreNotGivenAway(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	credentials := g.credentials(t)
	admin := []string{"Authorization", "Bearer " + credentials["admin"]}
	do(t, "POST", g.URL+"/api/v1/telemetry", `{"deviceId":"pump-1","metrics":{"x":1}}`, admin...).want(t, 200)
	if err := g.house.blocked.Block(t.Context(), "pump-1"); err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(credentials)) {
		if strings.Contains(name, "dmin") || name == "read" || name == "write" || strings.HasPrefix(name, "JWT ") {
			continue // they may ask
		}
		for _, path := range []string{"", "/latest", "/readings", "/aggregates?metric=x", "/telemetry", "/block"} {
			method, body := "GET", ""
			if path == "/telemetry" || path == "/block" {
				method, body = "POST", `{"x":1}`
			}
			var answers [2]string
			for i, device := range []string{"pump-1", "pump-0"} {
				var header []string
				if credentials[name] != "" {
					header = []string{"Authorization", "Bearer " + credentials[name]}
				}
				a := do(t, method, g.URL+"/api/v1/devices/"+device+path, body, header...)
				a.header.Del("Date")
				a.header.Del("X-Request-Id")
				answers[i] = strings.ReplaceAll(fmt.Sprint(a.status, a.header, a.body), device, "DEVICE")
			}
			if answers[0] != answers[1] || !strings.HasPrefix(answers[0], "40") {
				t.Errorf("%s, %s:\n%s\n%s", name, path, answers[0], answers[1])
			}
		}
	}
}

// A token for the device pump-1 is none for pump-10, by whatever door; one for the
// prefix is.
func TestADevicesTokenIsForItAlone(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	device := []string{"Authorization", "Token " + mint(t, "k1", access.Claim{Scope: access.Write, Reach: access.Device("pump-1")})}
	prefix := []string{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte("user:"+mint(t, "k1", access.Claim{Scope: access.Write, Reach: access.Prefix("pump-1")})))}
	reader := []string{"Authorization", "Bearer " + mint(t, "k1", access.Claim{Scope: access.Read, Reach: access.Prefix("pump-1")})}
	admin := []string{"Authorization", "Bearer " + mint(t, "k1", access.Claim{Scope: access.Admin})}
	one := func(id string) string { return `{"deviceId":"` + id + `","metrics":{"x":1}}` }
	all := g.URL + "/api/v1/telemetry"

	do(t, "POST", all, one("pump-1"), device...).want(t, 200, `"accepted":1`)
	do(t, "POST", all, one("pump-10"), device...).want(t, 403, `"code":"forbidden_device"`)
	do(t, "POST", g.URL+"/api/v1/devices/pump-10/telemetry", `{"x":1}`, device...).want(t, 403, `"code":"forbidden_device"`)
	do(t, "POST", g.URL+"/api/v1/devices/pump-1/telemetry", one("pump-10"), device...).want(t, 400, `"code":"device_mismatch"`)
	do(t, "POST", all, one("pump-10"), prefix...).want(t, 200, `"accepted":1`)
	do(t, "POST", all, one("fan-1"), admin...).want(t, 200)

	// One by one in a batch, whatever its form; bad readings are no reason for a 403.
	mixed := "[" + one("pump-10") + "," + one("pump-1") + "," + one("fan-1") + `,{"deviceId":"pump-1"}]`
	do(t, "POST", all, mixed, device...).want(t, 200, `"accepted":1,"rejected":3`, `{"index":0,"code":"forbidden_device"`, `{"index":2,"code":"forbidden_device"`, `{"index":3,"code":"empty_message"`)
	do(t, "POST", all, one("pump-2")+"\n"+one("pump-1")+"\n", append([]string{"Content-Type", "application/x-ndjson"}, device...)...).want(t, 200, `"accepted":1,"rejected":1`)
	do(t, "POST", all, "["+one("fan-1")+","+one("fan-2")+"]", device...).want(t, 403, `"code":"forbidden_device"`)
	do(t, "POST", all, `[{"deviceId":"pump-1"}]`, device...).want(t, 400, `"code":"empty_message"`)
	do(t, "POST", all, "", device...).want(t, 400)

	// Blocked, whoever brings it.
	for range 2 {
		do(t, "POST", g.URL+"/api/v1/devices/pump-10/block", "", admin...).want(t, 204)
	}
	do(t, "POST", all, one("pump-10"), admin...).want(t, 403, `"code":"device_blocked"`)
	do(t, "POST", all, "["+one("pump-10")+","+one("pump-11")+"]", prefix...).want(t, 200, `{"index":0,"code":"device_blocked"`)
	do(t, "POST", g.URL+"/api/v1/devices/a%20b/block", "", admin...).want(t, 400, `"code":"invalid_device"`)

	// What a reader of a prefix sees.
	do(t, "GET", g.URL+"/api/v1/devices/pump-10/latest", "", reader...).want(t, 200)
	do(t, "GET", g.URL+"/api/v1/devices/fan-1/latest", "", reader...).want(t, 403, `"code":"forbidden_device"`)
	for path, want := range map[string][2]string{
		"/api/v1/devices":                                                {"pump-11", "fan-1"},
		"/api/v1/devices?prefix=pump-10":                                 {"pump-10", "pump-11"},
		"/api/v1/devices?prefix=p":                                       {"pump-11", "fan-1"},
		"/api/v1/devices?prefix=fan-":                                    {`"devices":[]`, "fan-1"},
		"/api/v1/aggregates?metric=x&groupBy=device":                     {"pump-11", "fan-1"},
		"/api/v1/aggregates?metric=x&groupBy=device&device=fan-1,pump-1": {"pump-1", "fan-1"},
		"/api/v1/aggregates?metric=x&groupBy=device&device=*1":           {"pump-11", "fan-1"},
		"/api/v1/aggregates?metric=x&groupBy=device&device=fan-*":        {`"series":[]`, "fan-1"},
	} {
		a := do(t, "GET", g.URL+path, "", reader...)
		if a.want(t, 200, want[0]); strings.Contains(a.body, want[1]) {
			t.Errorf("%s shows %s: %s", path, want[1], a.body)
		}
	}
	do(t, "POST", g.URL+"/api/v1/devices/pump-10/unblock", "", admin...).want(t, 204)
	do(t, "POST", all, one("pump-10"), prefix...).want(t, 200)
}

// How a credential must not come.
func TestCredentialsThatAreRefused(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	token := mint(t, "k1", access.Claim{Scope: access.Admin})
	bearer := "Bearer " + token
	path := "/api/v1/devices"
	do(t, "GET", g.URL+path+"?token="+token, "").want(t, 401, "query string")
	do(t, "GET", g.URL+path+"?token="+token, "", "Authorization", bearer).want(t, 401, "query string")
	do(t, "GET", g.URL+"/no/such/path?access_token=x", "").want(t, 401, "query string")
	do(t, "GET", g.URL+"/healthz?token=x", "").want(t, 200)
	do(t, "GET", g.URL+path, "", "Authorization", bearer+", "+bearer).want(t, 401, "one Authorization header")
	do(t, "GET", g.URL+path, "", "Authorization", "Negotiate x").want(t, 401, "Bearer, Token or Basic")
	do(t, "GET", g.URL+path, "", "Authorization", "Bearer "+strings.Repeat("a", 8<<10)).want(t, 401, "not valid")
	do(t, "GET", g.URL+path, "", "Authorization", "Bearer "+mint(t, "k1", access.Claim{Scope: access.Admin, Expires: time.Unix(1, 0)})).want(t, 401, "expired on 1970-01-01T00:00:01Z")
	two := dial(t, g.URL)
	two.write("GET " + path + " HTTP/1.1\r\nHost: x\r\nAuthorization: " + bearer + "\r\nAuthorization: " + bearer + "\r\n\r\n")
	two.answer().want(t, 401, "one Authorization header")
	a := do(t, "GET", g.URL+path, "")
	if a.want(t, 401, `"code":"unauthorized"`); a.header.Get("WWW-Authenticate") != `Bearer realm="sluice"` {
		t.Error(a.header)
	}
	if a = do(t, "GET", g.URL+path, "", "Authorization", "Bearer x"); a.header.Get("WWW-Authenticate") != `Bearer realm="sluice", error="invalid_token"` {
		t.Error(a.header)
	}
	do(t, "GET", g.URL+path, "", "Authorization", bearer).want(t, 200)
	// An issuer that is away is no fault of the credential's.
	other := newGuarded(t)
	jwt := other.issuer.token(t, "Telemetry.Admin")
	other.issuer.Close()
	a = do(t, "GET", other.URL+path, "", "Authorization", "Bearer "+jwt)
	if a.want(t, 503, `"code":"unavailable"`); a.header.Get("Retry-After") != "5" {
		t.Error(a.header)
	}
}

// Who sends what looks like an issuer's token while it is away writes no lines into
// the log.
func TestAnIssuersAbsenceFillsNoLog(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	var log bytes.Buffer
	server := httptest.NewServer(newApp(g.house, &life{started: time.Now()}, slog.New(slog.NewTextHandler(&log, nil)), defaultPatience))
	forged := g.issuer.token(t, "Telemetry.Admin")
	g.issuer.Close()
	for range 20 {
		a := do(t, "GET", server.URL+"/api/v1/devices", "", "Authorization", "Bearer "+forged)
		if a.want(t, 503, `"code":"unavailable"`); a.header.Get("Retry-After") != "5" {
			t.Error(a.header)
		}
	}
	server.Close()
	if log.Len() > 0 {
		t.Error(log.String())
	}
}

// Behind the host's proxy Host is the process's own address, and the caller's is in
// X-Forwarded-Host; who is reached without a host believes no such header.
func TestOurOwnPageUnderTheHost(t *testing.T) {
	t.Parallel()
	for underHost, env := range map[bool][]string{false: nil, true: {"FUNCTIONS_CUSTOMHANDLER_PORT=1", "AZURE_FUNCTIONS_ENVIRONMENT=Development"}} {
		g := newGuarded(t, env...)
		bearer := "Bearer " + mint(t, "k1", access.Claim{Scope: access.Admin})
		post := func(status int, header ...string) {
			t.Helper()
			do(t, "POST", g.URL+"/api/v1/devices/pump-1/telemetry", `{"t":1}`, append(header, "Authorization", bearer)...).want(t, status)
		}
		ours := 403
		if underHost {
			ours = 200
		}
		post(ours, "Origin", "https://app.example.com", "X-Forwarded-Host", "app.example.com")
		post(403, "Origin", "https://evil.example", "X-Forwarded-Host", "app.example.com")
		post(403, "Origin", "https://app.example.com.evil.example", "X-Forwarded-Host", "app.example.com")
		post(403, "Origin", "https://app.example.com", "X-Forwarded-Host", "app.example.com, app.example.com")
		post(403, "Origin", "null", "X-Forwarded-Host", "null")
		post(403, "Origin", "https://app.example.com")
		post(403, "Origin", "https://app.example.com", "X-Forwarded-Host", "app.example.com", "Sec-Fetch-Site", "cross-site")
		post(200, "Origin", g.URL)
		// Nor are public paths left out.
		do(t, "POST", g.URL+"/healthz", "", "Origin", "https://app.example.com", "X-Forwarded-Host", "evil.example").want(t, 403)
	}
}

// Under the host its triggers are its own, whatever others show; all else asks for
// credentials.
func TestAccessUnderTheHost(t *testing.T) {
	t.Parallel()
	g := newGuarded(t, "FUNCTIONS_CUSTOMHANDLER_PORT=1", "AZURE_FUNCTIONS_ENVIRONMENT=Development")
	admin := "Authorization: Bearer " + mint(t, "k1", access.Claim{Scope: access.Admin}) + "\r\n"
	chunked := func(path, header string) answer {
		c := dial(t, g.URL)
		body := `{"Data":{"timer":{}},"Metadata":{"sys":{}}}`
		c.write(fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\n%sTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", path, header, len(body), body))
		return c.answer()
	}
	chunked("/compact", "").want(t, 200, `"Outputs":{}`)
	chunked("/ingest", "").want(t, 200, "enableForwardingHttpRequest")
	for _, path := range []string{"/compact", "/consume"} {
		for _, header := range []string{"", admin} {
			chunked(path, header+"X-Forwarded-For: 1.2.3.4\r\n").want(t, 404)
		}
		do(t, "POST", g.URL+path, "{}").want(t, 404)
		do(t, "GET", g.URL+path, "").want(t, 404)
	}
	chunked("/compact/", "").want(t, 401)
	chunked("//consume", "").want(t, 401)
	chunked("/api/v1/telemetry", "").want(t, 401)
	do(t, "POST", g.URL+"/ingest", "{}").want(t, 401)
	do(t, "GET", g.URL+"/api/v1/status", "").want(t, 401)
	do(t, "GET", g.URL+"/", "").want(t, 200)
}

// While the store is not open, who has no credential is told so at once, and does not
// learn that; who has one waits.
func TestAccessBeforeTheStoreIsOpen(t *testing.T) {
	t.Parallel()
	log := slog.New(slog.DiscardHandler)
	keys, err := access.ParseKeys(keyText("k1"))
	if err != nil {
		t.Fatal(err)
	}
	ground := bareGround(log)
	ground.gate = access.NewGate(access.Config{Keys: keys, Blocked: access.NewBlocked(log), Now: time.Now})
	p := impatient
	p.opening = time.Minute
	f := newFront(ground, p)
	server := httptest.NewServer(f)
	defer server.Close()
	for _, method := range []string{"GET", "POST"} {
		do(t, method, server.URL+"/api/v1/telemetry", "").want(t, 401)
		do(t, method, server.URL+"/no/such/path", "", "Authorization", "Bearer x").want(t, 401)
	}
	do(t, "GET", server.URL+"/healthz", "").want(t, 200)
	f.shut(fmt.Errorf("no store"))
	do(t, "GET", server.URL+"/api/v1/devices", "", "Authorization", "Bearer "+mint(t, "k1", access.Claim{Scope: access.Read})).want(t, 503)
}

// The program as people use it: keys, a token by its command, an import with it; and
// nothing of that in what it says.
func TestTokensEndToEnd(t *testing.T) {
	t.Parallel()
	keys := "SLUICE_KEYS=" + keyText("k1")
	secret := strings.TrimPrefix(keyText("k1"), "k1:")
	p := serving(t, "SLUICE_AUTH=on", keys, "SLUICE_LOG=debug")
	token := func(args ...string) string {
		t.Helper()
		c := command(t, []string{keys}, append([]string{"token"}, args...)...)
		c.begin()
		if code := c.code(); code != 0 || strings.Contains(c.stderr.String(), secret) {
			t.Fatal(code, c.stderr.String())
		}
		lines := strings.Split(strings.TrimSpace(c.log.String()), "\n")
		return lines[len(lines)-1]
	}
	device, reader, admin := token("--scope", "write", "--device", "pump-7"), token("--scope", "read", "--expires", "never"), token("--scope", "admin", "--expires", "1h")

	file := p.Dir + "/a.ndjson"
	text := fmt.Sprintf("{\"deviceId\":\"pump-7\",\"ts\":%d,\"metrics\":{\"x\":1}}\n", time.Now().Unix())
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p.Dir+"/token", []byte(device+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		env, args []string
		code      int
		want      string
	}{
		"none":     {nil, nil, 1, "401"},
		"file":     {nil, []string{"--token-file", p.Dir + "/token"}, 0, "accepted 1"},
		"variable": {[]string{"SLUICE_TOKEN=" + device}, nil, 0, "accepted 1"},
		"reader's": {[]string{"SLUICE_TOKEN=" + reader}, nil, 1, "lacks the scope write"},
	} {
		i := command(t, c.env, append([]string{"import", "--url", p.url, file}, c.args...)...)
		i.begin()
		code, said := i.code(), i.log.String()+i.stderr.String()
		if code != c.code || !strings.Contains(said, c.want) || strings.Contains(said, "slt1.") {
			t.Errorf("%s: %d\n%s", name, code, said)
		}
	}
	as := func(token string) []string { return []string{"Authorization", "Bearer " + token} }
	do(t, "GET", p.url+"/api/v1/devices/pump-7/latest", "", as(reader)...).want(t, 200, `"x"`)
	do(t, "POST", p.url+"/api/v1/devices/pump-7/block", "", as(admin)...).want(t, 204)
	do(t, "POST", p.url+"/api/v1/telemetry", text, as(device)...).want(t, 403, "device_blocked")
	do(t, "POST", p.url+"/api/v1/"+device+"/telemetry", `{"x":1}`).want(t, 403)
	do(t, "GET", p.url+"/api/v1/"+admin, "").want(t, 401)
	do(t, "GET", p.url+"/api/v1/devices?token="+admin, "").want(t, 401)
	do(t, "GET", p.url+"/api/v1/devices", "", "Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("x:"+reader))).want(t, 200)
	p.stop()
	// A restart remembers who is blocked.
	again := serving(t, "SLUICE_AUTH=on", keys, "SLUICE_DATA="+p.Dir+"/data")
	do(t, "POST", again.url+"/api/v1/telemetry", text, as(device)...).want(t, 403, "device_blocked")
	again.stop()
	said := p.log.String() + p.stderr.String() + again.log.String() + again.stderr.String()
	for _, token := range []string{secret, device, reader, admin} {
		_, mac, _ := strings.Cut(strings.TrimPrefix(token, "slt1."), ".")
		if strings.Contains(said, token) || mac != "" && strings.Contains(said, mac) {
			t.Error("a secret is in the log")
		}
	}
	if !strings.Contains(said, `"path":"/api/v1/(hidden)/telemetry"`) {
		t.Error("the requests are not in the log: this test sees nothing")
	}
}

// What access control adds to a small POST, all of it but the connection.
func BenchmarkPostWithAccess(b *testing.B) {
	for name, auth := range map[string]string{"off": "off", "token": "on", "JWT": "on"} {
		b.Run(name, func(b *testing.B) {
			g := newGuarded(b, "SLUICE_AUTH="+auth)
			bearer := "Bearer " + mint(b, "k1", access.Claim{Scope: access.Write, Reach: access.Device("pump-1")})
			if name == "JWT" {
				bearer = "Bearer " + g.issuer.token(b, "Telemetry.Write")
			}
			b.ReportAllocs()
			for b.Loop() {
				r := httptest.NewRequest(http.MethodPost, "/api/v1/telemetry", strings.NewReader(`{"deviceId":"pump-1","metrics":{"x":1}}`))
				r.Header.Set("Authorization", bearer)
				w := httptest.NewRecorder()
				if g.app.ServeHTTP(w, r); w.Code != http.StatusOK {
					b.Fatal(w.Code, w.Body)
				}
			}
		})
	}
}
