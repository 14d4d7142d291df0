package oidc

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

func TestTokensOfTheIssuer(t *testing.T) {
	first, second := rsaPair(t, "r1", 2048), ecPair(t, "e1")
	i, c := newIssuer(t, first, second), newClock()
	v := verifier(i, c)
	for name, text := range map[string]string{
		"RS256":          first.token(t, i.claims(nil)),
		"ES256":          second.token(t, i.claims(nil)),
		"no key id":      token(t, first.private, jose.RS256, "", i.claims(nil)),
		"audiences":      first.token(t, i.claims(map[string]any{"aud": []string{"other", "api://sluice"}})),
		"a role alone":   first.token(t, i.claims(map[string]any{"roles": "Telemetry.Read"})),
		"no nbf":         first.token(t, i.claims(map[string]any{"nbf": nil, "iat": nil})),
		"a fraction":     first.token(t, i.claims(map[string]any{"exp": float64(noon.Unix()) + 0.5})),
		"the longest":    first.token(t, i.claims(map[string]any{"exp": int64(1) << 40})),
		"other claims":   first.token(t, i.claims(map[string]any{"groups": []int{1, 2, 3}, "nonce": "x"})),
		"4 min 59 early": first.token(t, i.claims(map[string]any{"nbf": noon.Add(5*time.Minute - time.Second).Unix()})),
		"4 min 59 late":  first.token(t, i.claims(map[string]any{"exp": noon.Add(-5*time.Minute + time.Second).Unix()})),
	} {
		got, err := v.Verify(t.Context(), text)
		if err != nil || got.Subject != "subject-1" || !slices.Contains(got.Roles, "Telemetry.Read") {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	got, err := v.Verify(t.Context(), first.token(t, i.claims(map[string]any{"roles": nil})))
	if err != nil || got.Roles != nil {
		t.Error("without roles:", got, err)
	}
	if n := i.asked.Load(); n != 1 {
		t.Errorf("the issuer was asked %d times", n)
	}
}

// confused are tokens made of what is public.
func confused(t *testing.T, i *issuer, p *pair) map[string]string {
	der, err := x509.MarshalPKIXPublicKey(p.public())
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	jwk, err := json.Marshal(jose.JSONWebKey{Key: p.public(), KeyID: p.id})
	if err != nil {
		t.Fatal(err)
	}
	right := p.token(t, i.claims(nil))
	parts := strings.Split(right, ".")
	head := func(h string) string { return base64.RawURLEncoding.EncodeToString([]byte(h)) }
	other := rsaPair(t, p.id, 2048)
	own, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: other.private}, (&jose.SignerOptions{EmbedJWK: true}).WithHeader("jku", "http://127.0.0.1:1/keys"))
	if err != nil {
		t.Fatal(err)
	}
	claims, err := json.Marshal(i.claims(nil))
	if err != nil {
		t.Fatal(err)
	}
	embedded, err := own.Sign(claims)
	if err != nil {
		t.Fatal(err)
	}
	carriesItsKey, err := embedded.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{
		"HS256 with the public key as PEM": token(t, text, jose.HS256, p.id, i.claims(nil)),
		"HS256 with it as DER":             token(t, der, jose.HS256, p.id, i.claims(nil)),
		"HS256 with it as JWK":             token(t, jwk, jose.HS256, p.id, i.claims(nil)),
		"none":                             head(`{"alg":"none","kid":"`+p.id+`"}`) + "." + parts[1] + ".",
		"None":                             head(`{"alg":"None"}`) + "." + parts[1] + "." + parts[2],
		"no algorithm":                     head(`{}`) + "." + parts[1] + "." + parts[2],
		"another that is signed with it":   token(t, p.private, jose.RS512, p.id, i.claims(nil)),
		"PS256, the key being for RS256":   token(t, p.private, jose.PS256, p.id, i.claims(nil)),
		"another key, the same id":         other.token(t, i.claims(nil)),
		"a key of its own":                 carriesItsKey,
		"no signature":                     parts[0] + "." + parts[1] + ".",
		"cut":                              right[:len(right)-1],
		"another's claims":                 parts[0] + "." + head(strings.Replace(string(claims), "Read", "Admin", 1)) + "." + parts[2],
		"two parts":                        parts[0] + "." + parts[1],
		"nothing":                          "..",
		"JSON of it":                       `{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`,
		"crit":                             head(`{"alg":"RS256","crit":["x"],"x":1}`) + "." + parts[1] + "." + parts[2],
	}
}

func TestForgedTokens(t *testing.T) {
	p := rsaPair(t, "r1", 2048)
	i, c := newIssuer(t, p), newClock()
	v := verifier(i, c)
	forged := confused(t, i, p)
	for name, more := range map[string]map[string]any{
		"another audience": {"aud": "api://other"}, "no audience": {"aud": nil}, "audience that begins so": {"aud": "api://sluice2"},
		"another issuer": {"iss": "https://issuer.example"}, "issuer with a slash": {"iss": i.URL + "/"}, "no issuer": {"iss": nil},
		"no expiry": {"exp": nil}, "no subject": {"sub": nil}, "expiry that is none": {"exp": "tomorrow"}, "negative expiry": {"exp": -1},
		"endless expiry": {"exp": 1e300}, "roles that are none": {"roles": 7},
	} {
		forged[name] = p.token(t, i.claims(more))
	}
	for name, text := range forged {
		if got, err := v.Verify(t.Context(), text); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	if n := i.asked.Load(); n > 1 {
		t.Errorf("forgeries made us ask the issuer %d times", n)
	}
}

func TestTimes(t *testing.T) {
	p := rsaPair(t, "r1", 2048)
	i, c := newIssuer(t, p), newClock()
	v := verifier(i, c)
	_, err := v.Verify(t.Context(), p.token(t, i.claims(map[string]any{"exp": noon.Add(-5 * time.Minute).Unix()})))
	if !errors.Is(err, ErrExpired) || !strings.Contains(err.Error(), "2026-11-24T11:55:00Z") {
		t.Error(err)
	}
	_, err = v.Verify(t.Context(), p.token(t, i.claims(map[string]any{"nbf": noon.Add(5*time.Minute + time.Second).Unix()})))
	if !errors.Is(err, ErrEarly) {
		t.Error(err)
	}
}

// A new key is taken at once, within the bounds of how often the issuer is asked; one
// that is withdrawn no later than the keys are read again.
func TestRotation(t *testing.T) {
	old, young := rsaPair(t, "old", 2048), rsaPair(t, "young", 2048)
	i, c := newIssuer(t, old), newClock()
	v := verifier(i, c)
	verdict := func(p *pair, want error) {
		t.Helper()
		if _, err := v.Verify(t.Context(), p.token(t, i.claims(nil))); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", p.id, err, want)
		}
	}
	verdict(old, nil)
	for range 50 { // nobody has it
		verdict(young, ErrInvalid)
	}
	if n := i.asked.Load(); n != 1 {
		t.Errorf("the issuer was asked %d times", n)
	}
	i.rotate(young, old)
	c.pass(askAgain)
	verdict(young, nil)
	verdict(old, nil)
	i.rotate(young)
	c.pass(keysFor)
	verdict(old, ErrInvalid)
	verdict(young, nil)
	if n := i.asked.Load(); n != 3 {
		t.Errorf("the issuer was asked %d times", n)
	}
}

// An issuer that fails, lies or sends what has no end changes nothing of what is
// known, and what is not known is not refused for good.
func TestOutage(t *testing.T) {
	p, unknown := rsaPair(t, "r1", 2048), rsaPair(t, "r2", 2048)
	small, secret := rsaPair(t, "small", 1024), []byte(strings.Repeat("s", 32))
	secretKey := `{"keys":[{"kty":"oct","kid":"hs","k":"` + base64.RawURLEncoding.EncodeToString(secret) + `"}]}`
	smallKey, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: small.public(), KeyID: "small"}}})
	if err != nil {
		t.Fatal(err)
	}
	forEncryption, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: p.public(), KeyID: "r1", Use: "enc"}}})
	if err != nil {
		t.Fatal(err)
	}
	private, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: p.private, KeyID: "r1"}}})
	if err != nil {
		t.Fatal(err)
	}
	status := func(code int) func(*issuer) {
		return func(i *issuer) {
			i.fault = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
		}
	}
	says := func(text string) func(*issuer) { return func(i *issuer) { i.raw = text } }
	discovery := func(format string) func(*issuer) {
		return func(i *issuer) { i.discovery = strings.ReplaceAll(format, "URL", i.URL) }
	}
	for name, fault := range map[string]func(*issuer){
		"500": status(500), "404": status(404), "redirect": func(i *issuer) {
			i.fault = func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound)
			}
		},
		"cut off":             func(i *issuer) { i.fault = func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) } },
		"no keys":             says(`{"keys":[]}`),
		"no JSON":             says(`<html>`),
		"a secret":            says(secretKey),
		"a private key":       says(string(private)),
		"a short key":         says(string(smallKey)),
		"a key to encrypt":    says(string(forEncryption)),
		"without end":         says(`{"keys":[` + strings.Repeat(" ", 2*maxAnswer) + `]}`),
		"another issuer":      discovery(`{"issuer":"https://issuer.example","jwks_uri":"URL/keys"}`),
		"keys in the clear":   discovery(`{"issuer":"URL","jwks_uri":"http://issuer.example/keys"}`),
		"keys in a file":      discovery(`{"issuer":"URL","jwks_uri":"file:///etc/passwd"}`),
		"nowhere":             discovery(`{"issuer":"URL"}`),
		"discovery no object": discovery(`[]`),
	} {
		t.Run(name, func(t *testing.T) {
			i, c := newIssuer(t, p), newClock()
			i.set(func() { fault(i) })
			v := verifier(i, c)
			verdict := func(text string, want error) {
				t.Helper()
				if _, err := v.Verify(t.Context(), text); !errors.Is(err, want) {
					t.Errorf("%v, want %v", err, want)
				}
			}
			right := p.token(t, i.claims(nil))
			verdict(right, ErrUnavailable) // nothing is known
			i.set(func() { i.fault, i.raw, i.discovery = nil, "", "" })
			verdict(right, ErrUnavailable) // asked a moment ago
			c.pass(askAgain)
			verdict(right, nil)
			i.set(func() { fault(i) })
			c.pass(keysFor + time.Second)
			verdict(right, nil)
			verdict(unknown.token(t, i.claims(nil)), ErrUnavailable)
			verdict(token(t, secret, jose.HS256, "hs", i.claims(nil)), ErrInvalid)
			verdict(small.token(t, i.claims(nil)), ErrUnavailable)
			c.pass(keysLast)
			verdict(right, ErrUnavailable)
		})
	}
}

// An issuer that hangs delays those who must wait for it as long as they have, and
// nobody whose key is known.
func TestHangingIssuer(t *testing.T) {
	p := rsaPair(t, "r1", 2048)
	i, c := newIssuer(t, p), newClock()
	v := verifier(i, c)
	right := p.token(t, i.claims(nil))
	end := make(chan struct{})
	hang := func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-end:
		case <-r.Context().Done():
		}
	}
	i.set(func() { i.fault = hang })
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			if _, err := v.Verify(ctx, right); !errors.Is(err, ErrUnavailable) {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := i.asked.Load(); n != 1 {
		t.Errorf("the issuer was asked %d times", n)
	}
	i.set(func() { i.fault = nil })
	close(end)
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		c.pass(askAgain)
		if _, err := v.Verify(t.Context(), right); err == nil {
			break
		} else if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// Not more than so many wait for an issuer that hangs: the others are told at once,
// or judged by the keys there are.
func TestWaitersAreBounded(t *testing.T) {
	p, unknown := rsaPair(t, "r1", 2048), rsaPair(t, "r2", 2048)
	i, c := newIssuer(t, p), newClock()
	v := verifier(i, c)
	right := p.token(t, i.claims(nil))
	if _, err := v.Verify(t.Context(), right); err != nil {
		t.Fatal(err)
	}
	i.set(func() { i.fault = func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() } })
	c.pass(keysFor)
	ctx, cancel := context.WithCancel(t.Context())
	forged := unknown.token(t, i.claims(nil))
	const callers = 4 * maxWaiting
	verdicts := make(chan error, callers)
	for range callers {
		go func() {
			_, err := v.Verify(ctx, forged)
			verdicts <- err
		}()
	}
	// Those are told before the issuer's time is over.
	for range callers - maxWaiting {
		select {
		case err := <-verdicts:
			if !errors.Is(err, ErrUnavailable) {
				t.Error(err)
			}
		case <-time.After(askWithin / 2):
			t.Fatal("more wait than may")
		}
	}
	began := time.Now()
	if _, err := v.Verify(t.Context(), right); err != nil || time.Since(began) > askWithin/4 {
		t.Error(err, time.Since(began))
	}
	cancel()
	for range maxWaiting {
		if err := <-verdicts; !errors.Is(err, ErrUnavailable) {
			t.Error(err)
		}
	}
	if n := v.keys.waiting; n != 0 {
		t.Errorf("%d are still waiting", n)
	}
}

// lines is a log that a test reads.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) count(what string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), what)
}

// The log has that an issuer is away, and that it is back, once each.
func TestOutageIsLoggedOnce(t *testing.T) {
	p := rsaPair(t, "r1", 2048)
	i, c, log := newIssuer(t, p), newClock(), &lines{}
	v := New(Config{Issuer: i.URL, Audience: "api://sluice", Now: c.Now, Log: slog.New(slog.NewTextHandler(log, nil))})
	right := p.token(t, i.claims(map[string]any{"exp": noon.AddDate(1, 0, 0).Unix()}))
	ask := func(want error) {
		t.Helper()
		for range 3 {
			for range 10 {
				if _, err := v.Verify(t.Context(), right); !errors.Is(err, want) {
					t.Error(err)
				}
			}
			c.pass(keysLast)
		}
	}
	has := func(away, back int) {
		t.Helper()
		for deadline := time.Now().Add(5 * time.Second); log.count("level=WARN") < away || log.count("level=INFO") < back; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				break
			}
		}
		if a, b := log.count("level=WARN"), log.count("level=INFO"); a != away || b != back {
			t.Errorf("away %d, back %d: want %d, %d", a, b, away, back)
		}
	}
	ask(nil)
	has(0, 0)
	i.set(func() { i.fault = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) } })
	ask(ErrUnavailable)
	has(1, 0)
	i.set(func() { i.fault = nil })
	ask(nil)
	has(1, 1)
}

func TestIsTrusted(t *testing.T) {
	for address, want := range map[string]bool{
		"https://login.microsoftonline.com/t/v2.0": true, "https://a:8443/x?y=z": true, "http://127.0.0.1:80": true, "http://localhost/x": true, "http://[::1]:1/": true,
		"http://issuer.example": false, "https://": false, "https://u:p@issuer.example": false, "file:///x": false, "": false, "issuer.example": false,
		"http://127.0.0.1.example/": false, "http://localhost.example": false, "https://a/#b": false,
	} {
		if got := IsTrusted(address); got != want {
			t.Errorf("%s: %v", address, got)
		}
	}
}

// Forgeries are made of a token that is right, and of parts that the fuzzer makes.
func FuzzForgedTokens(f *testing.F) {
	p := ecPair(f, "e1")
	i, c := newIssuer(f, p), newClock()
	v := verifier(i, c)
	right := p.token(f, i.claims(nil))
	parts := strings.Split(right, ".")
	var decoded [3][]byte
	for n, part := range parts {
		text, err := base64.RawURLEncoding.DecodeString(part)
		if err != nil {
			f.Fatal(err)
		}
		decoded[n] = text
	}
	f.Add(decoded[0], decoded[1], decoded[2])
	f.Add([]byte(`{"alg":"none"}`), decoded[1], []byte{})
	f.Add([]byte(`{"alg":"HS256","kid":"e1"}`), decoded[1], decoded[2])
	f.Add([]byte(`{"alg":"ES256"}`), []byte(`{}`), make([]byte, 64))
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	foreign := strings.Split(token(f, other, jose.ES256, "e1", i.claims(nil)), ".")
	signature, err := base64.RawURLEncoding.DecodeString(foreign[2])
	if err != nil {
		f.Fatal(err)
	}
	f.Add(decoded[0], decoded[1], signature)
	f.Fuzz(func(t *testing.T, head, body, signature []byte) {
		text := fmt.Sprintf("%s.%s.%s", base64.RawURLEncoding.EncodeToString(head), base64.RawURLEncoding.EncodeToString(body), base64.RawURLEncoding.EncodeToString(signature))
		_, err := v.Verify(t.Context(), text)
		if err == nil && !(bytes.Equal(head, decoded[0]) && bytes.Equal(body, decoded[1])) {
			t.Fatalf("%s is taken", text)
		}
	})
}
