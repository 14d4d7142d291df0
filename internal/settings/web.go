package settings

import (
	"errors"
	"net/url"
	"slices"
	"strings"
)

// AnyOrigin is the origin that stands for all of them.
const AnyOrigin = "*"

// Origins are the web sites whose pages may call the service, as browsers write
// them (https://dash.example.com), or AnyOrigin alone.
type Origins []string

var errNoOrigin = errors.New("no origin")

// ParseOrigins cuts a list at its commas and writes each as browsers do.
func ParseOrigins(s string) (Origins, error) {
	var all Origins
	for text := range strings.SplitSeq(s, ",") {
		origin, ok := originOf(strings.TrimSpace(text))
		if !ok || slices.Contains(all, origin) {
			return nil, errNoOrigin
		}
		all = append(all, origin)
	}
	if len(all) > 1 && slices.Contains(all, AnyOrigin) {
		return nil, errNoOrigin
	}
	return all, nil
}

// originOf is an origin in lower case and without its scheme's own port (RFC 6454
// section 6.2). A slash at the end, which people paste, is let pass.
func originOf(s string) (string, bool) {
	if s == AnyOrigin {
		return s, true
	}
	u, err := url.Parse(strings.ToLower(s))
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || strings.ContainsAny(u.Host, "*") ||
		u.User != nil || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		return "", false
	}
	if port := u.Port(); u.Scheme == "http" && port == "80" || u.Scheme == "https" && port == "443" {
		u.Host = strings.TrimSuffix(u.Host, ":"+port)
	}
	return u.Scheme + "://" + u.Host, true
}

// HasTLS says whether the process serves HTTPS by itself.
func (s *Settings) HasTLS() bool { return s.TLSCert != "" && s.TLSKey != "" }

// webContradictions are settings of what browsers and gateways meet that are each
// right but not together.
func (s *Settings) webContradictions() (problems []string) {
	switch {
	case s.TLSCert != "" && s.TLSKey == "":
		problems = append(problems, "SLUICE_TLS_CERT: takes effect only with SLUICE_TLS_KEY, the file of its private key")
	case s.TLSCert == "" && s.TLSKey != "":
		problems = append(problems, "SLUICE_TLS_KEY: takes effect only with SLUICE_TLS_CERT, the file of its certificate")
	case s.HasTLS() && s.UnderHost():
		problems = append(problems, "SLUICE_TLS_CERT: must not be set under the Functions host, which speaks plain HTTP to the process and TLS to everybody else")
	}
	return problems
}

// webOdd says what is right of these settings, but may not be what was meant.
func (s *Settings) webOdd() (warnings []string) {
	if len(s.CORS) > 0 && s.Auth != "on" {
		warnings = append(warnings, "SLUICE_CORS: with access control off, pages of these origins may read, write and delete through the browser of whoever reaches the service")
	}
	return warnings
}
