package tables

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"sluice/store"
)

// token says where a scan goes on. It is one of the service's, whose parts are
// as opaque as it is, or our own, where a page was ended before the service
// ended it: then it names the row that was last.
type token struct {
	own            bool
	partition, key string
	// top, if not 0, is how many rows the next page should have: rows so large
	// were seen that more would only be thrown away.
	top int
}

// maxToken is the longest token that is read: both parts as long as keys can be.
const maxToken = 16 << 10

// String is the token as a caller keeps it.
func (t token) String() string {
	kind := "s"
	if t.own {
		kind = "o"
	}
	enc := base64.RawURLEncoding
	return strings.Join([]string{kind, strconv.Itoa(t.top), enc.EncodeToString([]byte(t.partition)), enc.EncodeToString([]byte(t.key))}, ".")
}

// parseToken reads a token; the empty one is the zero token. ErrInvalid.
func parseToken(s string) (token, error) {
	if s == "" {
		return token{}, nil
	}
	parts := strings.Split(s, ".")
	if len(s) > maxToken || len(parts) != 4 || parts[0] != "o" && parts[0] != "s" {
		return token{}, fmt.Errorf("token: no page gave it: %w", store.ErrInvalid)
	}
	enc := base64.RawURLEncoding.Strict()
	top, err := strconv.Atoi(parts[1])
	partition, err2 := enc.DecodeString(parts[2])
	key, err3 := enc.DecodeString(parts[3])
	t := token{own: parts[0] == "o", top: top, partition: string(partition), key: string(key)}
	if err != nil || err2 != nil || err3 != nil || top < 0 || top > store.MaxPage || t.partition == "" || t.String() != s {
		return token{}, fmt.Errorf("token: no page gave it: %w", store.ErrInvalid)
	}
	if t.own && (store.CheckKey(t.partition) != nil || store.CheckKey(t.key) != nil) {
		return token{}, fmt.Errorf("token: no page gave it: %w", store.ErrInvalid)
	}
	return t, nil
}
