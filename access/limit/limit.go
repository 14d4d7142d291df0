// Package limit bounds what one client may have of a service that many share:
// the readings that a device sends (Rate), the calls of a credential that are
// under way (Concurrency). It knows neither HTTP servers nor stores; what it says
// of a limit is in the words of the IETF's RateLimit headers (Policy, State).
package limit

import "context"

// Caller is who makes a call, as far as limits are concerned.
type Caller struct {
	// Key tells callers apart: a credential's name, never the credential itself. ""
	// where nobody asks for one: then only devices are bounded.
	Key string
	// Device is the only device that the caller may write for; "" where that is not
	// so.
	Device string
	// Exempt callers are bounded by nothing but the memory: those of the scope admin.
	Exempt bool
}

type callerKey struct{}

// WithCaller says who makes the call that ctx belongs to.
func WithCaller(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// CallerOf is who makes the call; the zero Caller if nobody has said.
func CallerOf(ctx context.Context) Caller {
	c, _ := ctx.Value(callerKey{}).(Caller)
	return c
}
