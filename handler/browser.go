package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"sluice/internal/httperr"
	"sluice/internal/settings"
)

// What a browser may do with an answer. Answers are data: nothing in them is to be
// run or shown in a frame, whatever somebody named a device. The start page has one
// style sheet of its own.
const dataPolicy = "default-src 'none'; frame-ancestors 'none'"

// pagePolicy is the same for a page with inline style sheets, each named by its
// hash.
func pagePolicy(page []byte) string {
	policy := "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; style-src"
	for {
		_, rest, found := bytes.Cut(page, []byte("<style>"))
		if !found {
			return policy
		}
		sheet, after, _ := bytes.Cut(rest, []byte("</style>"))
		hash := sha256.Sum256(sheet)
		policy += " 'sha256-" + base64.StdEncoding.EncodeToString(hash[:]) + "'"
		page = after
	}
}

// safeHeaders tells browsers to take answers for no more than they are.
func safeHeaders(next echo.HandlerFunc) echo.HandlerFunc {
	page := pagePolicy(home)
	return func(c echo.Context) error {
		h := c.Response().Header()
		h.Set(echo.HeaderXContentTypeOptions, "nosniff")
		h.Set(echo.HeaderReferrerPolicy, "no-referrer")
		h.Set(echo.HeaderContentSecurityPolicy, dataPolicy)
		if c.Request().URL.Path == "/" {
			h.Set(echo.HeaderContentSecurityPolicy, page)
		}
		return next(c)
	}
}

// What pages of other origins may send and see.
const (
	crossMethods = "GET, HEAD, POST, PUT, DELETE"
	crossHeaders = "Authorization, Content-Type, Content-Encoding, If-None-Match, X-Request-Id"
	crossExposed = "ETag, Retry-After, RateLimit, RateLimit-Policy, X-Request-Id"
	crossMaxAge  = "600"
)

// crossOrigin lets pages of some origins call the service, and refuses what a page
// of another one would change: a browser sends a form's POST without asking, and
// whoever it belongs to may reach what the page's author cannot. Preflights are
// answered here, before anybody asks for a credential, which they never have.
// Credentials that browsers add by themselves (cookies) are never asked for.
func crossOrigin(allowed settings.Origins) echo.MiddlewareFunc {
	foreign := http.NewCrossOriginProtection()
	anyone := slices.Contains(allowed, settings.AnyOrigin)
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			r, h := c.Request(), c.Response().Header()
			if len(allowed) > 0 && !anyone {
				h.Add(echo.HeaderVary, echo.HeaderOrigin)
			}
			origin := r.Header.Get(echo.HeaderOrigin)
			switch {
			case origin != "" && (anyone || slices.Contains(allowed, strings.ToLower(origin))):
				if anyone {
					origin = settings.AnyOrigin
				}
				h.Set(echo.HeaderAccessControlAllowOrigin, origin)
				h.Set(echo.HeaderAccessControlExposeHeaders, crossExposed)
				if r.Method == http.MethodOptions && r.Header.Get(echo.HeaderAccessControlRequestMethod) != "" {
					return preflight(c)
				}
			case foreign.Check(r) != nil:
				if !isForwarded(foreign, r) {
					return errCrossOrigin
				}
				c.Set(onlyForwarded, true) // admit knows whether there is a host
			}
			return next(c)
		}
	}
}

var errCrossOrigin = httperr.New(httperr.CrossOrigin, "a web page of another origin sent this: SLUICE_CORS names those that may")

// onlyForwarded marks, in an echo.Context, a request whose page is of the origin that
// X-Forwarded-Host names, and not of the one in Host. The Functions host puts its own
// address for the process into Host, and the caller's into X-Forwarded-Host, in the
// place of whatever a client says there. Without the host admit refuses such requests.
const onlyForwarded = "sluice.onlyForwarded"

// isForwarded says whether a request is of our own page, if X-Forwarded-Host is where
// it was sent.
func isForwarded(foreign *http.CrossOriginProtection, r *http.Request) bool {
	hosts := r.Header.Values("X-Forwarded-Host")
	if len(hosts) != 1 || hosts[0] == "" {
		return false
	}
	asSent := *r
	asSent.Host = hosts[0]
	return foreign.Check(&asSent) == nil
}

func preflight(c echo.Context) error {
	h := c.Response().Header()
	h.Set(echo.HeaderAccessControlAllowMethods, crossMethods)
	h.Set(echo.HeaderAccessControlAllowHeaders, crossHeaders)
	h.Set(echo.HeaderAccessControlMaxAge, crossMaxAge)
	return c.NoContent(http.StatusNoContent)
}
