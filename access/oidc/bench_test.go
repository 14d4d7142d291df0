package oidc

import (
	"errors"
	"testing"
)

// What a token costs: one that is right, and those that anybody can make.
func BenchmarkVerify(b *testing.B) {
	rsa, ec := rsaPair(b, "r1", 2048), ecPair(b, "e1")
	i := newIssuer(b, rsa, ec)
	v := verifier(i, newClock())
	stranger := ecPair(b, "e1")
	other := rsaPair(b, "r1", 2048)
	for name, c := range map[string]struct {
		token string
		want  error
	}{
		"right RS256": {rsa.token(b, i.claims(nil)), nil}, "right ES256": {ec.token(b, i.claims(nil)), nil},
		"forged RS256": {other.token(b, i.claims(nil)), ErrInvalid}, "forged ES256": {stranger.token(b, i.claims(nil)), ErrInvalid},
		"another issuer's": {rsa.token(b, i.claims(map[string]any{"iss": "https://issuer.example"})), ErrInvalid},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := v.Verify(b.Context(), c.token); !errors.Is(err, c.want) {
					b.Fatal(err)
				}
			}
		})
	}
}
