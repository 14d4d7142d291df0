package store

import "context"

type onceKey struct{}

// Once returns a context whose writes to Rows are sent to the store at most
// once, whatever becomes of the answer: for one that must never be done again
// later by a copy of it. A write that is not answered then fails with
// ErrNoAnswer, also where the store would try again by itself.
func Once(ctx context.Context) context.Context { return context.WithValue(ctx, onceKey{}, true) }

// IsOnce says whether ctx is one that Once returned, or derived from one.
func IsOnce(ctx context.Context) bool {
	once, _ := ctx.Value(onceKey{}).(bool)
	return once
}
