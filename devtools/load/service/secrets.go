package service

import (
	"encoding/base64"
	"encoding/hex"
	"net/url"
	"strings"
)

// keyed are the names by which connection strings have their secrets.
var keyed = []string{"accountkey=", "sharedaccesskey=", "sharedaccesssignature=", "sig="}

// whole are settings that are secrets from end to end, lists with commas.
var whole = []string{"SLUICE_KEYS", "SLUICE_TOKEN"}

// SecretsOf is what must be shown nowhere of settings ("NAME=value"): keys of
// connection strings, keys that sign tokens, tokens; each as it stands there, and as
// it would look decoded or in another writing.
func SecretsOf(env []string) (secrets []string) {
	for _, e := range env {
		name, value, _ := strings.Cut(e, "=")
		for _, w := range whole {
			if name != w {
				continue
			}
			for part := range strings.SplitSeq(value, ",") {
				if _, key, ok := strings.Cut(part, ":"); ok {
					part = key
				}
				secrets = append(secrets, writings(part)...)
			}
		}
		for part := range strings.FieldsFuncSeq(value, func(r rune) bool { return strings.ContainsRune(";,&?", r) }) {
			for _, k := range keyed {
				if len(part) > len(k) && strings.EqualFold(part[:len(k)], k) {
					secrets = append(secrets, writings(part[len(k):])...)
				}
			}
		}
	}
	return secrets
}

// writings are a secret as it stands, as a query or JSON has it, and as bytes.
func writings(secret string) []string {
	if len(secret) < 8 { // it would be found anywhere
		return nil
	}
	all := []string{secret, url.QueryEscape(secret), strings.TrimRight(secret, "=")}
	if raw, err := base64.StdEncoding.DecodeString(secret); err == nil && len(raw) >= 8 {
		all = append(all, string(raw), hex.EncodeToString(raw), base64.RawURLEncoding.EncodeToString(raw))
	}
	return all
}

// Shows says whether a text has one of some secrets.
func Shows(text string, secrets []string) bool {
	for _, secret := range secrets {
		if strings.Contains(text, secret) {
			return true
		}
	}
	return false
}
