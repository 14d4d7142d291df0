package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"sluice/access"
	"sluice/access/limit"
	"sluice/access/oidc"
	"sluice/internal/httperr"
	"sluice/internal/invoke"
	"sluice/internal/settings"
)

// openKeys reads SLUICE_KEYS: settings.Problems if it cannot be read.
func openKeys(s settings.Settings) (access.Keys, error) {
	if s.Keys == "" {
		return access.Keys{}, nil
	}
	keys, err := access.ParseKeys(string(s.Keys))
	if err != nil {
		return access.Keys{}, settings.Problems{"SLUICE_KEYS: " + err.Error() + ": takes id:base64, at least 32 bytes each, with commas between them"}
	}
	return keys, nil
}

func newGate(s settings.Settings, keys access.Keys, blocked *access.Blocked, now func() time.Time, log *slog.Logger) *access.Gate {
	c := access.Config{Off: !s.AccessControl(), Keys: keys, Blocked: blocked, Now: now}
	if s.Issuer != "" {
		c.Issuer = oidc.New(oidc.Config{Issuer: s.Issuer, Audience: s.Audience, Now: now, Log: log})
	}
	return access.NewGate(c)
}

// admit lets those through to a route who may use it. Credentials are judged before
// paths: who has none is not told which there are.
func admit(gate *access.Gate, underHost bool) echo.MiddlewareFunc {
	var routes routes
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			r := c.Request()
			if !underHost && c.Get(onlyForwarded) != nil {
				return errCrossOrigin
			}
			if access.IsPublic(r.URL.EscapedPath()) || underHost && isHosts(c) {
				return next(c)
			}
			grant, err := gate.Judge(r)
			if err == nil {
				err = gate.Admit(grant, routes.need(c))
			}
			if err != nil {
				return refuse(c, err)
			}
			ctx := limit.WithCaller(access.With(r.Context(), grant), callerOf(grant))
			c.SetRequest(r.WithContext(ctx))
			return next(c)
		}
	}
}

// callerOf is whose limits a call meets. Where access control is off nobody is
// known, and everybody's devices have their rate.
func callerOf(g access.Grant) limit.Caller {
	return limit.Caller{Key: g.ID(), Device: g.Device(), Exempt: g.IsAdmin() && g.ID() != ""}
}

// isHosts says whether a call is one that only the host may make, and others find
// nothing at: its routes see to that.
func isHosts(c echo.Context) bool {
	if slices.Contains(triggers, c.Path()) {
		return true
	}
	return slices.ContainsFunc(httpFunctions, func(name string) bool { return invoke.FromHost(c.Request(), name) })
}

// routes knows what there is to ask for.
type routes struct {
	once sync.Once
	all  map[string]bool
}

// need is what a request's route asks for. What the router finds nothing for it
// tells whoever has a credential.
func (r *routes) need(c echo.Context) access.Need {
	r.once.Do(func() {
		r.all = map[string]bool{}
		for _, route := range c.Echo().Routes() {
			r.all[route.Method+" "+route.Path] = true
		}
	})
	method, path := c.Request().Method, c.Path()
	if path == anyPath || !r.all[method+" "+path] {
		return access.NeedAny
	}
	return access.NeedOf(method, path)
}

// readable is what the ids of all devices begin with that a request may read of; ok,
// if it may of any.
func readable(ctx context.Context) (prefix string, ok bool) { return access.From(ctx).ReadPrefix() }

// retryIssuer is how long clients are asked to wait while an issuer is away.
const retryIssuer = 5 * time.Second

// refuse says why a credential does not do. Nothing of it depends on what there is.
func refuse(c echo.Context, err error) error {
	var missing *access.MissingError
	switch {
	case errors.As(err, &missing):
		return httperr.New(httperr.Forbidden, "the credential lacks the scope %s", missing.Scope)
	case errors.Is(err, access.ErrBlocked):
		return httperr.New(httperr.DeviceBlocked, "the device of this credential is blocked")
	case errors.Is(err, access.ErrUnavailable):
		// Written here, and not by the server's error handler, which has a warning for each
		// such answer: whoever sends forged tokens would fill the log. That the issuer is
		// away it has once.
		return httperr.Write(c, httperr.Retry(httperr.Unavailable, retryIssuer, err, "the issuer of the credential does not answer: try again"))
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	}
	challenge := `Bearer realm="sluice"`
	message := "no credential: Authorization: Bearer and a token would be right"
	switch {
	case errors.Is(err, access.ErrNone):
	case errors.Is(err, access.ErrQuery):
		message = "a credential in the query string is not taken, as it ends up in logs on the way: Authorization: Bearer and a token would be right"
	case errors.Is(err, access.ErrTwice):
		message = "more than one credential: one Authorization header, once, would be right"
	case errors.Is(err, access.ErrScheme):
		message = "unknown kind of credential: Authorization with Bearer, Token or Basic would be right"
	default:
		challenge += `, error="invalid_token"`
		message = "the credential is " + err.Error()
	}
	c.Response().Header().Set(echo.HeaderWWWAuthenticate, challenge)
	return httperr.New(httperr.Unauthorized, "%s", message)
}

// mayWait says whether who sends a request may wait for the store to open: who has
// no credential is told so at once.
func mayWait(gate *access.Gate, r *http.Request, underHost bool) bool {
	if underHost && isTrigger(r) {
		return true
	}
	_, err := gate.Judge(r)
	return err == nil
}
