package oidc

import (
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
)

const (
	// keysFor is how long keys are used before they are asked for again, so that one
	// which the issuer withdrew is not taken for long.
	keysFor = 10 * time.Minute
	// keysLast is how long they are used if the issuer does not answer.
	keysLast = 24 * time.Hour
	// askAgain is the least between two questions, whatever tokens are shown.
	askAgain = 10 * time.Second
	// askWithin is less than what the log has a line for of each request.
	askWithin = 4 * time.Second
	// maxWaiting is how many tokens wait for the issuer's answer.
	maxWaiting = 32
	maxAnswer  = 1 << 20
	maxKeys    = 100
	minRSA     = 2048 // bits
)

// keySet is the issuer's keys as it said last. go-oidc's own asks the issuer for
// every token with a wrong signature, without bounds, and forgets nothing.
type keySet struct {
	issuer string
	client *http.Client
	now    func() time.Time
	log    *slog.Logger

	mu      sync.Mutex
	keys    []jose.JSONWebKey
	got     time.Time     // when keys were read; zero: never
	asked   time.Time     // when the issuer was asked last
	failed  error         // of that
	asking  chan struct{} // closed when an answer is there; nil: nobody asks
	waiting int           // how many wait for that
}

func newKeySet(c Config) *keySet {
	client := c.Client
	if client == nil {
		client = &http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConns: 2, IdleConnTimeout: time.Minute, TLSHandshakeTimeout: askWithin}}
	}
	own := *client
	own.Timeout = askWithin
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	own.Transport = bounded{own.Transport}
	log := c.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &keySet{issuer: c.Issuer, client: &own, now: c.Now, log: log}
}

// VerifySignature implements go-oidc's KeySet: the payload of a token that one of
// the keys signed. ErrUnavailable.
func (s *keySet) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	signed, err := jose.ParseSignedCompact(token, signatures())
	if err != nil || len(signed.Signatures) != 1 {
		return nil, errors.New("not a signed token")
	}
	id := signed.Signatures[0].Header.KeyID
	keys, fresh := s.known()
	if !fresh || !hasKey(keys, id) {
		if keys, err = s.ask(ctx, id); err != nil {
			note(ctx, err)
			return nil, err
		}
	}
	return verify(signed, keys)
}

// noteKey is under which a context has where to note why there are no keys: go-oidc
// makes text of a KeySet's errors.
type noteKey struct{}

func note(ctx context.Context, err error) {
	if to, ok := ctx.Value(noteKey{}).(*error); ok {
		*to = err
	}
}

func signatures() (all []jose.SignatureAlgorithm) {
	for _, a := range algorithms {
		all = append(all, jose.SignatureAlgorithm(a))
	}
	return all
}

func verify(signed *jose.JSONWebSignature, keys []jose.JSONWebKey) ([]byte, error) {
	header := signed.Signatures[0].Header
	for i := range keys {
		if header.KeyID != "" && keys[i].KeyID != header.KeyID || keys[i].Algorithm != "" && keys[i].Algorithm != header.Algorithm {
			continue
		}
		if payload, err := signed.Verify(&keys[i]); err == nil {
			return payload, nil
		}
	}
	return nil, errors.New("none of the issuer's keys signed it")
}

func hasKey(keys []jose.JSONWebKey, id string) bool {
	for i := range keys {
		if id == "" || keys[i].KeyID == id {
			return true
		}
	}
	return false
}

// known are the keys as read last, and whether they need not be asked for again.
func (s *keySet) known() (keys []jose.JSONWebKey, fresh bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	age := s.now().Sub(s.got)
	return s.keys, !s.got.IsZero() && age >= 0 && age < keysFor
}

// ask returns the keys to judge a token of key id by, having asked the issuer if it
// may be asked. While it does not answer, what it said last holds; ErrUnavailable if
// that is nothing, too old, or not about that key. The same is true while too many
// wait for its answer.
func (s *keySet) ask(ctx context.Context, id string) ([]jose.JSONWebKey, error) {
	err := s.wait(ctx, id)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case errors.Is(err, errCrowd) && s.lasts(id):
		return s.keys, nil
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	case s.failed == nil, s.lasts(id):
		return s.keys, nil
	default:
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, s.failed)
	}
}

// lasts says whether tokens of key id may be judged by what the issuer said last.
// mu is held.
func (s *keySet) lasts(id string) bool { return s.now().Sub(s.got) < keysLast && hasKey(s.keys, id) }

var errCrowd = errors.New("too many wait for the issuer's answer")

// wait returns when the issuer was asked not long ago, and answered. If it did not
// answer lately, it is asked, but nobody waits for it who could be judged without.
// errCrowd; the context's error.
func (s *keySet) wait(ctx context.Context, id string) error {
	s.mu.Lock()
	since := s.now().Sub(s.asked)
	if s.asking == nil && (s.asked.IsZero() || since < 0 || since >= askAgain) {
		s.asking, s.asked = make(chan struct{}), s.now()
		go s.read(s.asking) //nolint:gosec // G118: the answer is everybody's, so no one's request ends the question; it has a time-out of its own
	}
	asking, enough := s.asking, s.failed != nil && s.lasts(id)
	waits := asking != nil && !enough
	crowd := waits && s.waiting >= maxWaiting
	if waits && !crowd {
		s.waiting++
	}
	s.mu.Unlock()
	switch {
	case crowd:
		return errCrowd
	case !waits:
		return nil
	}
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.waiting--
	}()
	select {
	case <-asking:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// read asks the issuer. No request's context ends it: others wait for the same
// answer. The log has when it goes away and when it is back, whoever asks how often.
func (s *keySet) read(done chan struct{}) {
	ctx, cancel := context.WithTimeout(context.Background(), askWithin)
	defer cancel()
	keys, err := s.fetchSafely(ctx)
	s.mu.Lock()
	was := s.failed
	s.asking, s.failed = nil, err
	if err == nil {
		s.keys, s.got = keys, s.now()
	}
	s.mu.Unlock()
	close(done)
	switch {
	case err != nil && was == nil:
		s.log.Warn("the issuer of credentials does not say its keys: those it said last hold for a day", "issuer", s.issuer, "error", err)
	case err == nil && was != nil:
		s.log.Info("the issuer of credentials says its keys again", "issuer", s.issuer)
	}
}

// fetchSafely turns a panic, which would end the process in a goroutine of its own,
// into an error.
func (s *keySet) fetchSafely(ctx context.Context) (keys []jose.JSONWebKey, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("reading the issuer's keys panicked: %v", r)
		}
	}()
	return s.fetch(ctx)
}

// fetch reads where the issuer has its keys, and then them.
func (s *keySet) fetch(ctx context.Context) ([]jose.JSONWebKey, error) {
	provider, err := oidc.NewProvider(oidc.ClientContext(ctx, s.client), s.issuer)
	if err != nil {
		return nil, fmt.Errorf("discovery of %s: %.200s", s.issuer, err.Error())
	}
	var says struct {
		Keys string `json:"jwks_uri"`
	}
	if err := provider.Claims(&says); err != nil || !IsTrusted(says.Keys) {
		return nil, fmt.Errorf("discovery of %s: its jwks_uri is not one that can be trusted", s.issuer)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, says.Keys, nil)
	if err != nil {
		return nil, err
	}
	answer, err := s.client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("keys of %s: %w", s.issuer, err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("keys of %s: %s", s.issuer, answer.Status)
	}
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, fmt.Errorf("keys of %s: %w", s.issuer, err)
	}
	return parseKeys(text)
}

// parseKeys keeps the keys that may sign. What is not known is left out, as the
// standard says (RFC 7517 section 5); none at all is no answer.
func parseKeys(text []byte) ([]jose.JSONWebKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, errors.New("the issuer's keys are not JSON")
	}
	var keys []jose.JSONWebKey
	for _, item := range set.Keys {
		var key jose.JSONWebKey
		if key.UnmarshalJSON(item) == nil && maySign(&key) && len(keys) < maxKeys {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("the issuer has no keys that may sign")
	}
	return keys, nil
}

// maySign says whether a key is a public one that is for signatures.
func maySign(k *jose.JSONWebKey) bool {
	if !k.IsPublic() || !k.Valid() || k.Use != "" && k.Use != "sig" {
		return false
	}
	if key, ok := k.Key.(*rsa.PublicKey); ok {
		return key.N.BitLen() >= minRSA
	}
	return true
}

// IsTrusted says whether an issuer's address is one that nobody can forge on the
// way: https, or http on this machine.
func IsTrusted(address string) bool {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Scheme == "https" || u.Scheme == "http" && (u.Hostname() == "localhost" || ip != nil && ip.IsLoopback())
}

// bounded cuts answers that are too long.
type bounded struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	next := b.next
	if next == nil {
		next = http.DefaultTransport
	}
	answer, err := next.RoundTrip(r)
	if err == nil {
		answer.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(answer.Body, maxAnswer), answer.Body}
	}
	return answer, err
}
