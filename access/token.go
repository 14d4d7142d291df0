package access

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"sluice/telemetry"
)

// A token of ours is
//
//	slt1.{what it grants}.{HMAC-SHA256 of all before the last dot}
//
// both in base64url, so that it can stand in a header, a password and a path. What
// it grants is five fields with commas between them: the id of the key, the scope,
// when it expires (Unix seconds, 0: never), how devices are named (device, prefix or
// all) and their id or prefix. All of it is signed: a token needs no look-up.
const (
	tokenMark = "slt1."
	maxToken  = 512 // bytes; the largest has less
	fields    = 5
)

// domain keeps what is signed here apart from whatever else the same key signs.
const domain = "sluice token 1\x00"

// Why a credential is not taken.
var (
	ErrInvalid = errors.New("not valid")
	ErrExpired = errors.New("expired")
)

// Claim is what a token says.
type Claim struct {
	Scope   Scope
	Reach   Reach
	Expires time.Time // zero: never
}

// ErrClaim is why no token of a claim is made.
var ErrClaim = errors.New("no such token")

// Check says what is wrong with a claim: ErrClaim.
func (c Claim) Check() error {
	id, exact := c.Reach.id, c.Reach.exact
	switch c.Scope {
	case Write:
		if id == "" {
			return fmt.Errorf("%w: a write token is for one device or a prefix", ErrClaim)
		}
	case Read:
		if exact {
			return fmt.Errorf("%w: a read token is for everything or a prefix", ErrClaim)
		}
	case Admin:
		if exact || id != "" {
			return fmt.Errorf("%w: an admin token is for everything", ErrClaim)
		}
	default:
		return fmt.Errorf("%w: a token has one scope: write, read or admin", ErrClaim)
	}
	if id == "" {
		return nil
	}
	// A prefix is what ids begin with, so what holds for them holds for it.
	if refusal := telemetry.CheckDevice(id); refusal != nil {
		return fmt.Errorf("%w: %s", ErrClaim, refusal.Message)
	}
	return nil
}

// Sign makes a token. ErrClaim; ErrKeys if there is no key.
func (k Keys) Sign(c Claim) (string, error) {
	if err := c.Check(); err != nil {
		return "", err
	}
	if k.signs == "" {
		return "", fmt.Errorf("%w: there is none", ErrKeys)
	}
	body := tokenMark + base64.RawURLEncoding.EncodeToString([]byte(c.text(k.signs)))
	return body + "." + base64.RawURLEncoding.EncodeToString(sign(k.byID[k.signs], body)), nil
}

func (c Claim) text(key string) string {
	expires := int64(0)
	if !c.Expires.IsZero() {
		expires = c.Expires.Unix()
	}
	kind := "all"
	switch {
	case c.Reach.exact:
		kind = "device"
	case c.Reach.id != "":
		kind = "prefix"
	}
	return strings.Join([]string{key, c.Scope.String(), strconv.FormatInt(expires, 10), kind, c.Reach.id}, ",")
}

func sign(key []byte, body string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(domain))
	mac.Write([]byte(body))
	return mac.Sum(nil)
}

// isToken says whether a credential has the form of a token of ours.
func isToken(text string) bool { return strings.HasPrefix(text, tokenMark) }

// Verify says what a token grants at a time. ErrInvalid; ErrExpired for one that was
// right. Nothing of what it says is looked at before its signature is known to be
// right, but which key that would be of.
func (k Keys) Verify(token string, now time.Time) (Grant, error) {
	text, err := k.verify(token)
	if err != nil {
		return Grant{}, err
	}
	c, err := parseClaim(text)
	if err != nil {
		return Grant{}, err
	}
	if !c.Expires.IsZero() && !now.Before(c.Expires) {
		return Grant{}, fmt.Errorf("%w on %s", ErrExpired, c.Expires.UTC().Format(time.RFC3339))
	}
	return Grant{scope: c.Scope, reach: c.Reach, id: text}, nil
}

// verify returns what a token says if one of the keys signed it.
func (k Keys) verify(token string) (text string, err error) {
	if len(token) > maxToken || !isToken(token) || !isToken68(token) { // base64 would skip line ends
		return "", ErrInvalid
	}
	end := strings.LastIndexByte(token, '.')
	if end < len(tokenMark) {
		return "", ErrInvalid
	}
	body := token[:end]
	said, err := strict.DecodeString(body[len(tokenMark):])
	if err != nil {
		return "", ErrInvalid
	}
	mac, err := strict.DecodeString(token[end+1:])
	if err != nil {
		return "", ErrInvalid
	}
	id, _, _ := strings.Cut(string(said), ",")
	key := k.byID[id]
	if key == nil || !hmac.Equal(mac, sign(key, body)) {
		return "", ErrInvalid
	}
	return string(said), nil
}

// strict reads each text in one spelling only.
var strict = base64.RawURLEncoding.Strict()

// parseClaim reads what a token says. What was signed by us is right; a newer
// version may have signed more.
func parseClaim(text string) (Claim, error) {
	parts := strings.Split(text, ",")
	if len(parts) != fields {
		return Claim{}, ErrInvalid
	}
	scope, known := ParseScope(parts[1])
	expires, err := strconv.ParseInt(parts[2], 10, 64)
	if !known || err != nil {
		return Claim{}, ErrInvalid
	}
	c := Claim{Scope: scope}
	if expires != 0 {
		c.Expires = time.Unix(expires, 0)
	}
	switch kind, id := parts[3], parts[4]; {
	case kind == "device":
		c.Reach = Device(id)
	case kind == "prefix" && id != "":
		c.Reach = Prefix(id)
	case kind != "all" || id != "":
		return Claim{}, ErrInvalid
	}
	if c.Check() != nil {
		return Claim{}, ErrInvalid
	}
	return c, nil
}
