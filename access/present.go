package access

import (
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"strings"
)

// maxCredential bounds what is looked at: JWTs of people in many groups have some
// KiB.
const maxCredential = 16 << 10

// Why a request shows no credential that could be judged.
var (
	ErrNone   = errors.New("no credential")
	ErrQuery  = errors.New("a credential in the query string")
	ErrTwice  = errors.New("more than one Authorization header")
	ErrScheme = errors.New("not Bearer, Token or Basic")
)

// Present finds the credential that a request shows: the token of Bearer or Token,
// the password of Basic, or, without an Authorization header, the token in a path
// of ThingsBoard's. ErrNone, ErrQuery, ErrTwice, ErrScheme, ErrInvalid.
func Present(r *http.Request) (string, error) {
	if inQuery(r.URL.RawQuery) {
		return "", ErrQuery
	}
	switch headers := r.Header.Values("Authorization"); len(headers) {
	case 0:
		if token, ok := pathToken(r.URL.Path); ok {
			return token, nil
		}
		return "", ErrNone
	case 1:
		return fromHeader(headers[0])
	}
	return "", ErrTwice
}

// fromHeader reads an Authorization header. The Functions host joins several with
// commas, which no credential of ours has.
func fromHeader(header string) (string, error) {
	if strings.Contains(header, ",") {
		return "", ErrTwice
	}
	scheme, credential, _ := strings.Cut(strings.TrimSpace(header), " ")
	credential = strings.TrimLeft(credential, " ")
	switch {
	case len(credential) > maxCredential:
		return "", ErrInvalid
	case strings.EqualFold(scheme, "Bearer"), strings.EqualFold(scheme, "Token"):
	case strings.EqualFold(scheme, "Basic"):
		plain, err := base64.StdEncoding.DecodeString(credential)
		if err != nil {
			return "", ErrInvalid
		}
		_, credential, _ = strings.Cut(string(plain), ":")
	default:
		return "", ErrScheme
	}
	if !isToken68(credential) {
		return "", ErrInvalid
	}
	return credential, nil
}

// isToken68 says whether text is what RFC 9110 section 11.2 lets a credential be:
// nothing that could be two of them.
func isToken68(text string) bool {
	text = strings.TrimRight(text, "=")
	for i := range len(text) {
		c := text[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && strings.IndexByte("-._~+/", c) < 0 {
			return false
		}
	}
	return text != ""
}

// pathToken is the token of /api/v1/{token}/telemetry and …/attributes, where
// ThingsBoard's devices have it.
func pathToken(path string) (string, bool) {
	rest, ok := strings.CutPrefix(path, "/api/v1/")
	token, door, two := strings.Cut(rest, "/")
	if !ok || !two || door != "telemetry" && door != "attributes" || !isToken68(token) || len(token) > maxCredential {
		return "", false
	}
	return token, true
}

// hidden stands for a credential where a person reads.
const hidden = "(hidden)"

// HidePath is a path as logs may have it: without what may be a credential.
func HidePath(path string) string {
	parts := strings.Split(path, "/")
	for i, part := range parts {
		if hasSecret(part) || i == 3 && len(parts) == 5 && parts[2] == "v1" && part != "devices" {
			parts[i] = hidden
		}
	}
	return strings.Join(parts, "/")
}

// queryNames are the parameters by which credentials are known to come in a query
// string, in small letters. No route of ours has one of them.
var queryNames = map[string]bool{
	"access_token": true, "accesstoken": true, "api-key": true, "api_key": true, "apikey": true, "auth": true, "auth_token": true,
	"authorization": true, "bearer": true, "code": true, "id_token": true, "jwt": true, "key": true, "p": true, "passwd": true,
	"password": true, "pwd": true, "secret": true, "sig": true, "token": true, "x-api-key": true, "x-functions-key": true,
}

// inQuery says whether a query string has a credential: it would be in the logs of
// every proxy on the way.
func inQuery(query string) bool {
	for query != "" {
		var pair string
		pair, query = cutAny(query)
		name, value, _ := strings.Cut(pair, "=")
		if queryNames[strings.ToLower(unescape(name))] || looksSecret(unescape(value)) || looksSecret(unescape(name)) {
			return true
		}
	}
	return false
}

// cutAny cuts a query at its first separator, whichever of the two it uses.
func cutAny(query string) (pair, rest string) {
	if i := strings.IndexAny(query, "&;"); i >= 0 {
		return query[:i], query[i+1:]
	}
	return query, ""
}

func unescape(text string) string {
	if plain, err := url.QueryUnescape(text); err == nil {
		return plain
	}
	return text
}

// hasSecret says whether a part of a path has what looks like a credential somewhere:
// clients paste "#token=…" and ";token=…" behind addresses.
func hasSecret(part string) bool {
	return strings.Contains(part, tokenMark) || strings.Contains(part, "eyJ") && strings.Count(part, ".") >= 2
}

// looksSecret knows a token of ours and a JWT by their form.
func looksSecret(text string) bool {
	return isToken(text) || strings.HasPrefix(text, "eyJ") && strings.Count(text, ".") == 2
}
