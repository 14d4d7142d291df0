package apptest

import (
	"net/http"
	"sync/atomic"
	"time"

	"sluice/devtools/load/service"
)

// patience sends again what was refused for the store's sake (503), as a client
// should, for a minute at most.
type patience struct {
	base    http.RoundTripper
	refused atomic.Int64
}

// patient is c with patience.
func patient(c service.Client) (service.Client, *patience) {
	p := &patience{base: c.HTTP.Transport}
	c.HTTP = &http.Client{Transport: p, Timeout: c.HTTP.Timeout}
	return c, p
}

// RoundTrip implements http.RoundTripper.
func (p *patience) RoundTrip(r *http.Request) (*http.Response, error) {
	for end := time.Now().Add(time.Minute); ; {
		response, err := p.base.RoundTrip(r)
		if err != nil || response.StatusCode != http.StatusServiceUnavailable || time.Now().After(end) {
			return response, err
		}
		_ = response.Body.Close()
		p.refused.Add(1)
		time.Sleep(50 * time.Millisecond)
		r = r.Clone(r.Context())
		if r.GetBody != nil {
			if r.Body, err = r.GetBody(); err != nil {
				return nil, err
			}
		}
	}
}
