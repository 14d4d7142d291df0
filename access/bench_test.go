package access

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"
)

// What the checks of a request cost: of one that is let in, and of those that are
// not.
func BenchmarkJudge(b *testing.B) {
	keys, blocked := keysNamed(b, "k1"), NewBlocked(nil)
	for _, id := range []string{"fan-1", "fan-2", "fan-3"} {
		blocked.know(id, true)
	}
	gate := NewGate(Config{Keys: keys, Blocked: blocked, Now: func() time.Time { return noon }})
	right := signed(b, keys, Claim{Scope: Write, Reach: Device("pump-1")})
	forged := right[:len(right)-4] + "AAAA"
	for name, c := range map[string]struct {
		r    *http.Request
		want error
	}{
		"right":       {request("POST", "/api/v1/telemetry", "Bearer "+right), nil},
		"basic":       {request("POST", "/api/v1/telemetry", basic("u", right)), nil},
		"none":        {request("POST", "/api/v1/telemetry"), ErrNone},
		"forged":      {request("POST", "/api/v1/telemetry", "Bearer "+forged), ErrInvalid},
		"unknown key": {request("POST", "/api/v1/telemetry", "Bearer "+signed(b, keysNamed(b, "z1"), Claim{Scope: Admin})), ErrInvalid},
		"noise":       {request("POST", "/api/v1/telemetry", "Bearer "+strings.Repeat("x", 8<<10)), ErrInvalid},
		"query":       {request("GET", "/x?from=now-1h&to=now&metric=a,b&step=5m&token=x"), ErrQuery},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				g, err := gate.Judge(c.r)
				if err == nil {
					err = gate.Admit(g, NeedOf("POST", "/api/v1/telemetry"))
				}
				if !errors.Is(err, c.want) {
					b.Fatal(err)
				}
			}
		})
	}
}
