package ingest

import (
	"context"
	"strings"
)

// Where it stands which trace a request belongs to (W3C Trace Context).
const (
	traceparent = "traceparent" // of an event's properties
	traceHeader = "Traceparent" // as net/http has it: another spelling costs an allocation
)

type traceKey struct{}

// withTrace notes a request's trace, if its header is right.
func withTrace(ctx context.Context, header string) context.Context {
	if !isTraceparent(header) {
		return ctx
	}
	return context.WithValue(ctx, traceKey{}, header)
}

// traceOf is the trace that was noted; "" if none was.
func traceOf(ctx context.Context) string {
	trace, _ := ctx.Value(traceKey{}).(string)
	return trace
}

// isTraceparent says whether s is version-trace-span-flags in lower-case hex,
// as version 00 has it; neither id is zero, nor the version ff.
func isTraceparent(s string) bool {
	if len(s) != len("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01") {
		return false
	}
	version, trace, span, flags := s[:2], s[3:35], s[36:52], s[53:]
	return s[2] == '-' && s[35] == '-' && s[52] == '-' && version != "ff" &&
		isHex(version) && isHex(trace) && isHex(span) && isHex(flags) &&
		strings.Trim(trace, "0") != "" && strings.Trim(span, "0") != ""
}

func isHex(s string) bool {
	return strings.Trim(s, "0123456789abcdef") == ""
}
