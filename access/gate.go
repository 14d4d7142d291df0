package access

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"sluice/access/oidc"
	"sluice/telemetry"
)

// Why a credential does not do.
var (
	// ErrUnavailable: it cannot be judged at the moment.
	ErrUnavailable = oidc.ErrUnavailable
	// ErrEarly: it is not valid yet.
	ErrEarly = oidc.ErrEarly
	// ErrBlocked: it is a blocked device's own.
	ErrBlocked = errors.New("the device is blocked")
)

// MissingError says which scope a route asks for and a grant has not.
type MissingError struct{ Scope Scope }

func (e *MissingError) Error() string { return "scope " + e.Scope.String() + " is missing" }

// Config is what a Gate needs to know.
type Config struct {
	// Off: everybody may do everything.
	Off     bool
	Keys    Keys
	Issuer  *oidc.Verifier // nil: no JWTs are taken
	Blocked *Blocked
	Now     func() time.Time
}

// Gate is the one place that decides. It may be used concurrently.
type Gate struct{ cfg Config }

// NewGate makes a Gate.
func NewGate(c Config) *Gate { return &Gate{c} }

// IsOff says whether everybody may do everything.
func (g *Gate) IsOff() bool { return g.cfg.Off }

// Judge says what a request's credential grants. Those of Present, ErrInvalid,
// ErrExpired, ErrEarly, ErrUnavailable, ErrBlocked, the context's error.
func (g *Gate) Judge(r *http.Request) (Grant, error) {
	if g.cfg.Off {
		return Everything(), nil
	}
	credential, err := Present(r)
	if err != nil {
		return Grant{}, err
	}
	grant, err := g.judge(r.Context(), credential)
	if err == nil && grant.reach.exact && g.cfg.Blocked.Has(grant.reach.id) {
		return Grant{}, ErrBlocked
	}
	return grant, err
}

func (g *Gate) judge(ctx context.Context, credential string) (Grant, error) {
	switch {
	case isToken(credential):
		return g.cfg.Keys.Verify(credential, g.cfg.Now())
	case g.cfg.Issuer != nil && strings.Count(credential, ".") == 2:
		claims, err := g.cfg.Issuer.Verify(ctx, credential)
		if err != nil {
			return Grant{}, explain(err)
		}
		return Grant{scope: scopeOf(claims.Roles), id: "jwt " + claims.Subject}, nil
	}
	return Grant{}, ErrInvalid
}

// explain makes an error of an issuer's one of ours.
func explain(err error) error {
	switch {
	case errors.Is(err, oidc.ErrExpired):
		return fmt.Errorf("%w%s", ErrExpired, strings.TrimPrefix(err.Error(), oidc.ErrExpired.Error()))
	case errors.Is(err, oidc.ErrInvalid):
		return ErrInvalid
	}
	return err
}

// roles are what an issuer calls the scopes.
var roles = map[string]Scope{"Telemetry.Write": Write, "Telemetry.Read": Read, "Telemetry.Admin": Admin}

func scopeOf(names []string) (s Scope) {
	for _, name := range names {
		s |= roles[name]
	}
	return s
}

// Admit says whether a grant is enough for a route: nil, or a *MissingError.
func (g *Gate) Admit(grant Grant, need Need) error {
	if s := need.scope(); s != 0 && !grant.May(s) {
		return &MissingError{s}
	}
	return nil
}

// Writer judges, for one request, of which devices it may bring readings: nil, or
// why not. It knows no more of a device than the request says: whether there is such
// a one it does not.
func (g *Gate) Writer(ctx context.Context) func(device string) *telemetry.Refusal {
	grant := From(ctx)
	return func(device string) *telemetry.Refusal {
		if !grant.MayWrite(device) {
			return telemetry.Refuse(telemetry.ForbiddenDevice, "the credential does not write for %s", telemetry.Quote(device))
		}
		return g.cfg.Blocked.Refuse(device)
	}
}

// Refuse says of a blocked device that it is; nil for others.
func (b *Blocked) Refuse(device string) *telemetry.Refusal {
	if !b.Has(device) {
		return nil
	}
	return telemetry.Refuse(telemetry.DeviceBlocked, "device %s is blocked", telemetry.Quote(device))
}
