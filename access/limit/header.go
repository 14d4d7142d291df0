package limit

import (
	"encoding/base64"
	"net/http"
	"strconv"
	"time"
)

// The header fields of draft-ietf-httpapi-ratelimit-headers-11.
const (
	policyField = "RateLimit-Policy"
	stateField  = "RateLimit"
)

// The names of the limits, as headers and messages have them.
const (
	DeviceRate        = "device-rate"
	CallerConcurrency = "concurrency"
)

// State is what a limit has left for somebody.
type State struct {
	Limit string
	Left  int
	// Device is whose limit it is; "" for the caller's own.
	Device string
	// Wait is when more is to be had; 0: no statement.
	Wait time.Duration
}

// Announce says in an answer what the rate is and what a device has left of it.
// The unit of the draft's registry that comes nearest is "requests", which would
// be wrong by the size of a batch; so ours is named.
func (r *Rate) Announce(h http.Header, s State) {
	h.Set(policyField, quoted(DeviceRate)+";q="+strconv.Itoa(r.Size())+`;qu="readings";w=`+strconv.Itoa(int(Burst/time.Second)))
	announce(h, s)
}

// Announce says in an answer that the caller's calls are bounded, and that none is
// left.
func (c *Concurrency) Announce(h http.Header, s State) {
	h.Set(policyField, quoted(CallerConcurrency)+";q="+strconv.Itoa(c.most)+`;qu="concurrent-requests"`)
	announce(h, s)
}

func announce(h http.Header, s State) {
	b := append(make([]byte, 0, 96), quoted(s.Limit)...)
	b = append(b, ";r="...)
	b = strconv.AppendInt(b, int64(s.Left), 10)
	if s.Wait > 0 {
		b = append(b, ";t="...)
		b = strconv.AppendInt(b, int64((s.Wait+time.Second-1)/time.Second), 10)
	}
	if s.Device != "" {
		b = append(b, ";pk=:"...)
		b = base64.StdEncoding.AppendEncode(b, []byte(s.Device))
		b = append(b, ':')
	}
	h.Set(stateField, string(b))
}

func quoted(name string) string { return `"` + name + `"` }
