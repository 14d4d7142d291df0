package access

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// The bounds of keys.
const (
	minKey   = 32 // bytes: as many as the hash has
	maxKey   = 1024
	maxKeyID = 32
	maxKeys  = 16
)

// ErrKeys is why keys cannot be read. It never says what they are.
var ErrKeys = errors.New("keys")

// Keys are the secrets that tokens are signed with. They may be used concurrently.
type Keys struct {
	signs string
	byID  map[string][]byte
}

// ParseKeys reads id:base64,id:base64…: the first signs, all verify. ErrKeys.
func ParseKeys(text string) (Keys, error) {
	k := Keys{byID: map[string][]byte{}}
	items := strings.Split(text, ",")
	if len(items) > maxKeys {
		return Keys{}, fmt.Errorf("%w: %d of them, at most %d", ErrKeys, len(items), maxKeys)
	}
	for i, item := range items {
		id, encoded, ok := strings.Cut(strings.TrimSpace(item), ":")
		if !ok || !isKeyID(id) {
			return Keys{}, fmt.Errorf("%w: number %d has no id of 1 to %d letters, digits, - and _ before a colon", ErrKeys, i+1, maxKeyID)
		}
		key, err := decodeKey(encoded)
		switch {
		case err != nil:
			return Keys{}, fmt.Errorf("%w: number %d (%s) is not base64", ErrKeys, i+1, id)
		case len(key) < minKey || len(key) > maxKey:
			return Keys{}, fmt.Errorf("%w: number %d (%s) has %d bytes, %d to %d are right", ErrKeys, i+1, id, len(key), minKey, maxKey)
		case k.byID[id] != nil:
			return Keys{}, fmt.Errorf("%w: id %s is given twice", ErrKeys, id)
		}
		k.byID[id] = key
		if i == 0 {
			k.signs = id
		}
	}
	return k, nil
}

// decodeKey takes either alphabet of base64, padded or not.
func decodeKey(text string) ([]byte, error) {
	text = strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(text, "="))
	return base64.RawStdEncoding.DecodeString(text)
}

func isKeyID(id string) bool {
	const allowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return id != "" && len(id) <= maxKeyID && strings.Trim(id, allowed) == ""
}

// Signer is the id of the key that signs; "" if there is none.
func (k Keys) Signer() string { return k.signs }
