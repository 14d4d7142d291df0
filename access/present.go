package access

import (
	"encoding/base64"
	"errors"
	"net/http"
	"strconv"
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
// string, as bare makes them. No route of ours has one of them.
var queryNames = map[string]bool{
	"accesstoken": true, "apikey": true, "apitoken": true, "auth": true, "authorization": true, "authtoken": true, "bearer": true,
	"clientsecret": true, "code": true, "credential": true, "devicetoken": true, "idtoken": true, "jwt": true, "key": true,
	"ocpapimsubscriptionkey": true, "p": true, "pass": true, "passwd": true, "password": true, "pw": true, "pwd": true, "sas": true,
	"secret": true, "sharedaccesssignature": true, "sig": true, "signature": true, "subscriptionkey": true, "token": true, "u": true,
	"xapikey": true, "xfunctionskey": true,
}

// bare is a parameter's name without what its spellings differ in.
func bare(name string) string {
	return strings.Map(func(c rune) rune {
		if strings.ContainsRune("-_[] ", c) {
			return -1
		}
		return c
	}, strings.ToLower(name))
}

// inQuery says whether a query string has a credential: it would be in the logs of
// every proxy on the way. Clients and proxies escape what is escaped already, so it is
// read twice.
func inQuery(query string) bool {
	for query != "" {
		var pair string
		pair, query = cutAny(query)
		name, value, _ := strings.Cut(pair, "=")
		for range 3 {
			if queryNames[bare(name)] || looksSecret(name) || looksSecret(value) {
				return true
			}
			if !strings.ContainsAny(pair, "%+") {
				break
			}
			name, value = unescape(name), unescape(value)
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

// unescape reads what is escaped in a query string, and leaves what is not well-formed
// as it is: it hides nothing of the rest.
func unescape(text string) string {
	if !strings.ContainsAny(text, "%+") {
		return text
	}
	plain := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '+':
			c = ' '
		case c == '%' && i+2 < len(text):
			if v, err := strconv.ParseUint(text[i+1:i+3], 16, 8); err == nil {
				c = byte(v)
				i += 2
			}
		}
		plain = append(plain, c)
	}
	return string(plain)
}

// hasSecret says whether a part of a path has what looks like a credential somewhere:
// clients paste "#token=…" and ";token=…" behind addresses.
func hasSecret(part string) bool {
	return strings.Contains(part, tokenMark) || strings.Contains(part, "eyJ") && strings.Count(part, ".") >= 2
}

// looksSecret knows a token of ours anywhere in a text, and a JWT as a word of it.
func looksSecret(text string) bool {
	if strings.Contains(text, tokenMark) {
		return true
	}
	if !strings.Contains(text, "eyJ") {
		return false
	}
	for word := range strings.FieldsFuncSeq(text, func(c rune) bool { return c > 'z' || c != '.' && !isToken68(string(c)) }) {
		if strings.HasPrefix(word, "eyJ") && strings.Count(word, ".") == 2 {
			return true
		}
	}
	return false
}
