package access

import (
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// request is one with Authorization headers, each a value.
func request(method, target string, authorization ...string) *http.Request {
	u, err := url.Parse(target)
	if err != nil {
		u = &url.URL{Path: target}
	}
	r := &http.Request{Method: method, URL: u, Header: http.Header{}}
	for _, value := range authorization {
		r.Header.Add("Authorization", value)
	}
	return r
}

func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

func TestPresent(t *testing.T) {
	const token = "slt1.YQ.Yg"
	for _, c := range []struct {
		target  string
		headers []string
		want    string
		err     error
	}{
		{"/x", []string{"Bearer " + token}, token, nil},
		{"/x", []string{"bearer  " + token}, token, nil},
		{"/x", []string{"Token " + token}, token, nil},
		{"/x", []string{basic("whoever", token)}, token, nil},
		{"/x", []string{basic("", token)}, token, nil},
		{"/x", []string{"Bearer eyJhbGciOi.eyJhdWQiOi.c2ln"}, "eyJhbGciOi.eyJhdWQiOi.c2ln", nil},
		{"/x", nil, "", ErrNone},
		{"/x", []string{"Bearer " + token, "Bearer " + token}, "", ErrTwice},
		{"/x", []string{"Bearer " + token + ", Bearer " + token}, "", ErrTwice}, // as the host joins them
		{"/x", []string{"Bearer " + token + ","}, "", ErrTwice},
		{"/x", []string{"Digest username=x"}, "", ErrScheme},
		{"/x", []string{token}, "", ErrScheme},
		{"/x", []string{""}, "", ErrScheme},
		{"/x", []string{"Bearer"}, "", ErrInvalid},
		{"/x", []string{"Bearer a b"}, "", ErrInvalid},
		{"/x", []string{"Bearer " + strings.Repeat("a", maxCredential+1)}, "", ErrInvalid},
		{"/x", []string{"Bearer a\x00b"}, "", ErrInvalid},
		{"/x", []string{"Basic !!!"}, "", ErrInvalid},
		{"/x", []string{basic("no-password", "")}, "", ErrInvalid},
		{"/x", []string{basic("u", "p,p")}, "", ErrInvalid},
		{"/api/v1/" + token + "/telemetry", nil, token, nil},
		{"/api/v1/" + token + "/attributes", nil, token, nil},
		{"/api/v1/" + token + "/telemetry/", nil, "", ErrNone},
		{"/api/v1/" + token + "/rpc", nil, "", ErrNone},
		{"/api/v1//telemetry", nil, "", ErrNone},
		{"/api/v1/telemetry", nil, "", ErrNone},
		{"/api/v1/devices/x/telemetry", nil, "", ErrNone},
		{"/api/v1/" + token + "/telemetry", []string{"Bearer other"}, "other", nil},
		{"/x?token=" + token, nil, "", ErrQuery},
		{"/x?limit=1&Access_Token=x", []string{"Bearer " + token}, "", ErrQuery},
		{"/x?limit=1;p=secret", nil, "", ErrQuery},
		{"/x?%74oken=x", nil, "", ErrQuery},
		{"/x?q=" + token, nil, "", ErrQuery},
		{"/x?q=slt1%2EYQ.Yg", nil, "", ErrQuery},
		{"/x?eyJhbGciOi.eyJhdWQiOi.c2ln", nil, "", ErrQuery},
		{"/x?q=x%20" + token, nil, "", ErrQuery},
		{"/x?q=Bearer%20" + token, nil, "", ErrQuery},
		{"/x?q=Bearer+" + token, nil, "", ErrQuery},
		{"/x?limit=1%26token=" + token, nil, "", ErrQuery},
		{"/x?limit=1%2526token%253D" + "slt1%252EYQ.Yg", nil, "", ErrQuery},
		{"/x?q=slt1%2EYQ.Yg%zz", nil, "", ErrQuery}, // not well-formed, but a proxy's log has it
		{"/x?q=Bearer%20eyJhbGciOi.eyJhdWQiOi.c2ln", nil, "", ErrQuery},
		{"/x?%2574oken=x", nil, "", ErrQuery},
		{"/x?metric=temp.x,rate&device=pump-1,eyJ,a.b.c&agg=mean,p95&cursor=eyJhIjoxfQ&step=5m&tz=Europe%2FBerlin&from=2026-11-24T12:00:00%2B01:00&limit=1&format=csv&tag.site=a%20b&fill=none", []string{"Bearer " + token}, token, nil},
		{"/x?metric=tokens&device=token&prefix=p&format=csv&from=now-1h", []string{"Bearer " + token}, token, nil},
	} {
		got, err := Present(request("GET", c.target, c.headers...))
		if got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%s %.80q: %q, %v, want %q, %v", c.target, c.headers, got, err, c.want, c.err)
		}
	}
}

// However a credential's name is spelt, it is one.
func TestNamesInQueries(t *testing.T) {
	for _, name := range strings.Fields("token accesstoken authtoken apitoken apikey devicetoken clientsecret password passwd pass pw signature sig sas sharedaccesssignature credential subscriptionkey authorization u p " +
		"access_token ACCESS-TOKEN Access%5FToken token[] token%5B%5D auth_token Api-Token x-api-key X-Functions-Key device_token client_secret sharedAccessSignature shared-access-signature subscription-key Ocp-Apim-Subscription-Key id_token jwt key code auth bearer pwd secret") {
		if _, err := Present(request("GET", "/x?limit=1&"+name+"=x", "Bearer a")); !errors.Is(err, ErrQuery) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range strings.Fields("metric metrics device devices prefix agg from to step limit cursor order format tz fill tag until since tokens keys user") {
		if _, err := Present(request("GET", "/x?"+name+"=x", "Bearer a")); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestHidePath(t *testing.T) {
	for path, want := range map[string]string{
		"/api/v1/slt1.YQ.Yg/telemetry":       "/api/v1/(hidden)/telemetry",
		"/api/v1/anything/attributes":        "/api/v1/(hidden)/attributes",
		"/api/v1/devices/pump-7":             "/api/v1/devices/pump-7",
		"/api/v1/devices/pump-7/telemetry":   "/api/v1/devices/pump-7/telemetry",
		"/api/v1/devices/slt1.YQ.Yg/latest":  "/api/v1/devices/(hidden)/latest",
		"/slt1.YQ.Yg":                        "/(hidden)",
		"/api/v1/devices#token=slt1.YQ.Yg":   "/api/v1/(hidden)",
		"/x;Bearer eyJa.eyJb.c2ln":           "/(hidden)",
		"/api/v1/telemetry":                  "/api/v1/telemetry",
		"/api/v1/eyJa.eyJb.c2ln/rpc/request": "/api/v1/(hidden)/rpc/request",
	} {
		if got := HidePath(path); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}

// Whatever a request shows, it is one credential of the header's or none.
func FuzzPresent(f *testing.F) {
	for _, seed := range [][2]string{{"/x", "Bearer a"}, {"/x?token=b", ""}, {"/api/v1/t/telemetry", "Basic Ojph"}, {"/x?a;b&%zz", "Token a, Token b"}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, target, header string) {
		r := request("GET", target, header)
		credential, err := Present(r)
		if (err == nil) != (credential != "") || err == nil && !isToken68(credential) {
			t.Fatalf("%q, %q: %q, %v", target, header, credential, err)
		}
		if err == nil && HidePath("/"+tokenMark+credential) != "/"+hidden && !strings.Contains(credential, "/") {
			t.Fatal("shown:", credential)
		}
	})
}

// A blocked device's own token is known as such, a prefix's and an admin's are not
// affected, and access control that is off lets everybody through.
func TestJudge(t *testing.T) {
	keys, blocked := keysNamed(t, "k1"), NewBlocked(nil)
	blocked.know("pump-1", true)
	gate := NewGate(Config{Keys: keys, Blocked: blocked, Now: func() time.Time { return noon }})
	bearer := func(c Claim) string { return "Bearer " + signed(t, keys, c) }
	for i, c := range []struct {
		headers []string
		want    error
	}{
		{[]string{bearer(Claim{Scope: Write, Reach: Device("pump-1")})}, ErrBlocked},
		{[]string{bearer(Claim{Scope: Write, Reach: Device("pump-10")})}, nil},
		{[]string{bearer(Claim{Scope: Write, Reach: Prefix("pump-1")})}, nil},
		{[]string{bearer(Claim{Scope: Admin})}, nil},
		{[]string{bearer(Claim{Scope: Admin, Expires: noon})}, ErrExpired},
		{[]string{"Bearer a.b.c"}, ErrInvalid}, // a JWT, and there is no issuer
		{nil, ErrNone},
	} {
		if g, err := gate.Judge(request("GET", "/x", c.headers...)); !errors.Is(err, c.want) || err != nil && g != (Grant{}) {
			t.Errorf("%d: %v, %v", i, g, err)
		}
	}
	if g, err := NewGate(Config{Off: true}).Judge(request("GET", "/x?token=1")); err != nil || !g.IsAdmin() {
		t.Error(g, err)
	}
}

func TestWriter(t *testing.T) {
	keys, blocked := keysNamed(t, "k1"), NewBlocked(nil)
	blocked.know("pump-2", true)
	gate := NewGate(Config{Keys: keys, Blocked: blocked, Now: func() time.Time { return noon }})
	verdict := func(c Claim, device string) string {
		g, err := keys.Verify(signed(t, keys, c), noon)
		if err != nil {
			t.Fatal(err)
		}
		if refusal := gate.Writer(With(t.Context(), g))(device); refusal != nil {
			return string(refusal.Code)
		}
		return ""
	}
	for _, c := range []struct {
		claim        Claim
		device, want string
	}{
		{Claim{Scope: Write, Reach: Device("pump-1")}, "pump-1", ""},
		{Claim{Scope: Write, Reach: Device("pump-1")}, "pump-10", "forbidden_device"},
		{Claim{Scope: Write, Reach: Device("pump-1")}, "pump-2", "forbidden_device"}, // not that it is blocked
		{Claim{Scope: Write, Reach: Prefix("pump-1")}, "pump-10", ""},
		{Claim{Scope: Write, Reach: Prefix("pump-")}, "pump-2", "device_blocked"},
		{Claim{Scope: Admin}, "pump-2", "device_blocked"},
		{Claim{Scope: Read}, "pump-1", "forbidden_device"},
	} {
		if got := verdict(c.claim, c.device); got != c.want {
			t.Errorf("%v, %s: %q, want %q", c.claim, c.device, got, c.want)
		}
	}
	if refusal := gate.Writer(t.Context())("pump-1"); refusal == nil {
		t.Error("a request that nobody judged writes")
	}
}
