package oidc

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// pair is a key of an issuer.
type pair struct {
	id      string
	private any
	alg     jose.SignatureAlgorithm
}

func (p *pair) public() any {
	return p.private.(interface{ Public() crypto.PublicKey }).Public()
}

func rsaPair(tb testing.TB, id string, bits int) *pair {
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		tb.Fatal(err)
	}
	return &pair{id, key, jose.RS256}
}

func ecPair(tb testing.TB, id string) *pair {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return &pair{id, key, jose.ES256}
}

// issuer is one that speaks OpenID Connect over a real connection.
type issuer struct {
	*httptest.Server
	asked atomic.Int64

	mu        sync.Mutex
	keys      []jose.JSONWebKey
	raw       string // in the place of keys
	discovery string // in the place of what is right
	fault     http.HandlerFunc
}

func newIssuer(tb testing.TB, keys ...*pair) *issuer {
	i := &issuer{}
	i.rotate(keys...)
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		i.mu.Lock()
		text := i.discovery
		i.mu.Unlock()
		if text == "" {
			text = fmt.Sprintf(`{"issuer":%q,"jwks_uri":%q,"id_token_signing_alg_values_supported":["RS256","none","HS256"]}`, i.URL, i.URL+"/keys")
		}
		fmt.Fprint(w, text)
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		i.mu.Lock()
		defer i.mu.Unlock()
		if i.raw != "" {
			fmt.Fprint(w, i.raw)
			return
		}
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: i.keys})
	})
	i.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i.mu.Lock()
		fault := i.fault
		i.mu.Unlock()
		if r.URL.Path == "/.well-known/openid-configuration" {
			i.asked.Add(1)
		}
		if fault != nil {
			fault(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	tb.Cleanup(i.CloseClientConnections)
	tb.Cleanup(i.Close)
	return i
}

// rotate makes these the issuer's keys.
func (i *issuer) rotate(keys ...*pair) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = nil
	for _, k := range keys {
		i.keys = append(i.keys, jose.JSONWebKey{Key: k.public(), KeyID: k.id, Algorithm: string(k.alg), Use: "sig"})
	}
}

func (i *issuer) set(change func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	change()
}

// claims are those of a token that is right at noon; more replaces them, nil removes.
func (i *issuer) claims(more map[string]any) map[string]any {
	c := map[string]any{
		"iss": i.URL, "aud": "api://sluice", "sub": "subject-1", "roles": []string{"Telemetry.Read", "Other"},
		"iat": noon.Unix(), "nbf": noon.Unix(), "exp": noon.Add(time.Hour).Unix(),
	}
	for name, value := range more {
		if value == nil {
			delete(c, name)
			continue
		}
		c[name] = value
	}
	return c
}

// token signs claims by a key.
func token(tb testing.TB, key any, alg jose.SignatureAlgorithm, id string, claims any) string {
	tb.Helper()
	options := (&jose.SignerOptions{}).WithType("JWT")
	if id != "" {
		options = options.WithHeader("kid", id)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, options)
	if err != nil {
		tb.Fatal(err)
	}
	text, err := json.Marshal(claims)
	if err != nil {
		tb.Fatal(err)
	}
	signed, err := signer.Sign(text)
	if err != nil {
		tb.Fatal(err)
	}
	compact, err := signed.CompactSerialize()
	if err != nil {
		tb.Fatal(err)
	}
	return compact
}

func (p *pair) token(tb testing.TB, claims any) string {
	tb.Helper()
	return token(tb, p.private, p.alg, p.id, claims)
}

// clock is a clock that a test sets.
type clock struct{ nanos atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.nanos.Store(noon.UnixNano())
	return c
}

func (c *clock) Now() time.Time       { return time.Unix(0, c.nanos.Load()) }
func (c *clock) pass(d time.Duration) { c.nanos.Add(int64(d)) }

func verifier(i *issuer, c *clock) *Verifier {
	return New(Config{Issuer: i.URL, Audience: "api://sluice", Now: c.Now})
}
