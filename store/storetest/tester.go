package storetest

import "context"

// tester is what helpers need of *testing.T or *rapid.T.
type tester interface {
	Helper()
	Fatalf(format string, args ...any)
	Context() context.Context
}
