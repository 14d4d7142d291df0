package settings

import (
	"math"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// Auth says whether calls need a credential.
type Auth string

// The values of SLUICE_AUTH.
const (
	AuthOn       Auth = "on"
	AuthOff      Auth = "off"
	AuthOffKnown Auth = "off-i-know" // off where others can reach the service
)

// AccessControl says whether calls need a credential.
func (s *Settings) AccessControl() bool { return s.Auth == AuthOn }

// Alone says whether only this machine can reach the service.
func (s *Settings) Alone() bool {
	if s.UnderHost() {
		return s.development()
	}
	return !isAddress(s.Addr) || isLoopback(s.Addr) // what is no address is a problem of its own
}

// completeAccess turns access control on where others can reach the service.
func (s *Settings) completeAccess() {
	if s.Auth != "" {
		return
	}
	if s.Auth = AuthOff; !s.Alone() {
		s.Auth = AuthOn
	}
}

func (s *Settings) accessContradictions() (problems []string) {
	if s.Auth == AuthOff && !s.Alone() {
		problems = append(problems, "SLUICE_AUTH=off: others can reach the service ("+s.reach()+"): takes on, or off-i-know if that is meant")
	}
	if s.AccessControl() && s.Keys == "" && s.Issuer == "" {
		problems = append(problems, "SLUICE_KEYS: must be set, or SLUICE_OIDC_ISSUER, as access control is on ("+s.reach()+"): "+
			`takes id:base64, such as k1:$(openssl rand -base64 32)`)
	}
	if s.Issuer != "" && s.Audience == "" {
		problems = append(problems, "SLUICE_OIDC_AUDIENCE: must be set beside SLUICE_OIDC_ISSUER, or a token for any other service would do: takes such as api://sluice")
	}
	if s.Issuer == "" && s.Audience != "" {
		problems = append(problems, "SLUICE_OIDC_ISSUER: must be set beside SLUICE_OIDC_AUDIENCE: takes such as https://login.microsoftonline.com/{tenant}/v2.0")
	}
	return problems
}

// reach says who can reach the service.
func (s *Settings) reach() string {
	switch {
	case s.UnderHost() && !s.development():
		return "it runs under the Functions host"
	case !s.Alone():
		return "SLUICE_ADDR is not loopback"
	}
	return "SLUICE_AUTH=on"
}

func (s *Settings) accessOdd() (warnings []string) {
	switch {
	case !s.Alone() && !s.AccessControl():
		warnings = append(warnings, "SLUICE_AUTH: off: whoever reaches the service may read, write and delete")
	case !s.AccessControl() && (s.Keys != "" || s.Issuer != ""):
		warnings = append(warnings, "SLUICE_AUTH: off: credentials are not looked at, although there are keys or an issuer")
	}
	return warnings
}

// isAddress says whether addr is an IP address, localhost or nothing, and a port.
func isAddress(addr string) bool {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n > math.MaxUint16 {
		return false
	}
	return host == "" || host == "localhost" || net.ParseIP(host) != nil
}

// isLoopback says whether addr can be reached from this machine only.
func isLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
}

// isIssuer says whether an address is one that nobody can forge on the way.
func isIssuer(address string) bool {
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Scheme == "https" || u.Scheme == "http" && (u.Hostname() == "localhost" || ip != nil && ip.IsLoopback())
}

func isAudience(text string) bool { return len(text) <= 512 && !strings.ContainsFunc(text, isSpace) }

func isSpace(r rune) bool { return r <= ' ' || r == 0x7f }

// Value is a variable of an environment of "NAME=value" strings; "" if it is not set.
func Value(environ []string, name string) string { return byName(environ)[name] }
