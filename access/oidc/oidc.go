// Package oidc judges the JWTs of one issuer: OpenID Connect discovery, its keys
// with their rotation, and what a token says of itself. It is the only room that
// knows go-oidc.
package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
)

// Why a token is not taken.
var (
	// ErrInvalid: forged, of somebody else or for somebody else, or not as tokens are.
	ErrInvalid = errors.New("not valid")
	// ErrExpired: it was right.
	ErrExpired = errors.New("expired")
	// ErrEarly: it will be right.
	ErrEarly = errors.New("not valid yet")
	// ErrUnavailable: the issuer does not say by which keys to judge.
	ErrUnavailable = errors.New("the issuer's keys are not known")
)

// skew is how far the issuer's clock and ours may be apart.
const skew = 5 * time.Minute

// algorithms are what may sign: of pairs of keys only, so that nothing public is a
// secret. "none" is not among them either.
var algorithms = []string{oidc.RS256, oidc.PS256, oidc.ES256}

// Config is what a Verifier needs to know.
type Config struct {
	Issuer   string // as it is in tokens; https, or http on loopback
	Audience string
	// Client asks the issuer; its redirects are not followed. Default: one with
	// bounds.
	Client *http.Client
	Now    func() time.Time
	// Log has when the issuer goes away and is back; nil: nothing has.
	Log *slog.Logger
}

// Claims is what a token says.
type Claims struct {
	// Subject is who it is about: the same for each token of theirs.
	Subject string
	Roles   []string
}

// Verifier judges tokens. It may be used concurrently, and asks nobody before it has
// to.
type Verifier struct {
	now    func() time.Time
	keys   *keySet
	tokens *oidc.IDTokenVerifier
}

// New makes a Verifier.
func New(c Config) *Verifier {
	keys := newKeySet(c)
	return &Verifier{now: c.Now, keys: keys, tokens: oidc.NewVerifier(c.Issuer, keys, &oidc.Config{
		ClientID: c.Audience, SupportedSigningAlgs: algorithms,
		SkipExpiryCheck: true, // it has no leeway for clocks
	})}
}

// claims are those that go-oidc leaves to others.
type claims struct {
	NotBefore *number `json:"nbf"`
	Expires   *number `json:"exp"`
	Roles     roles   `json:"roles"`
}

// Verify judges a token. The errors of this package.
func (v *Verifier) Verify(ctx context.Context, token string) (Claims, error) {
	var noted error
	t, err := v.tokens.Verify(context.WithValue(ctx, noteKey{}, &noted), token)
	if noted != nil {
		return Claims{}, noted
	}
	if err != nil {
		return Claims{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	var c claims
	if err := t.Claims(&c); err != nil || c.Expires == nil || t.Subject == "" {
		return Claims{}, fmt.Errorf("%w: its claims are not as they should be", ErrInvalid)
	}
	switch now := v.now(); {
	case !now.Before(c.Expires.time().Add(skew)):
		return Claims{}, fmt.Errorf("%w on %s", ErrExpired, c.Expires.time().UTC().Format(time.RFC3339))
	case c.NotBefore != nil && now.Before(c.NotBefore.time().Add(-skew)):
		return Claims{}, fmt.Errorf("%w, from %s on", ErrEarly, c.NotBefore.time().UTC().Format(time.RFC3339))
	}
	return Claims{Subject: t.Subject, Roles: c.Roles}, nil
}

// number is a NumericDate: seconds since the Unix epoch, possibly a fraction.
type number float64

func (n number) time() time.Time { return time.Unix(int64(n), 0) }

// UnmarshalJSON takes those that are times.
func (n *number) UnmarshalJSON(text []byte) error {
	var f float64
	if err := json.Unmarshal(text, &f); err != nil {
		return err
	}
	if f < 0 || f > 1<<40 {
		return errors.New("not a time")
	}
	*n = number(f)
	return nil
}

// roles is a list of roles, or one alone.
type roles []string

// UnmarshalJSON takes either.
func (r *roles) UnmarshalJSON(text []byte) error {
	var one string
	if json.Unmarshal(text, &one) == nil {
		*r = roles{one}
		return nil
	}
	return json.Unmarshal(text, (*[]string)(r))
}
