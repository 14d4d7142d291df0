package telemetry

import (
	"math"
	"time"
)

// Window is the times that readings may have, nanoseconds since the Unix epoch.
type Window struct {
	Oldest int64 // the first that is taken
	Newest int64 // the last that is taken
}

// NewWindow is the window at now of a store that keeps readings back to floor
// (the retention's day, nanoseconds since the Unix epoch): never before the
// year 2000, and less than MaxAhead in the future.
func NewWindow(now time.Time, floor int64) Window {
	return Window{Oldest: max(floor, Year2000), Newest: now.Add(MaxAhead).UnixNano() - 1}
}

// Check returns nil for a time in the window.
func (w Window) Check(t int64) *Refusal {
	switch {
	case t < w.Oldest:
		return Refuse(TimestampTooOld, "time %s is before %s, the oldest that is kept (a Unix number's unit is told by its size)",
			written(t), FormatTime(w.Oldest))
	case t > w.Newest:
		return Refuse(TimestampInFuture, "time %s is after %s, %s from now: check the clock and the unit",
			written(t), FormatTime(w.Newest), "10 minutes")
	default:
		return nil
	}
}

// written is a time in a message. What lies outside of what nanoseconds can
// count was read as the first or last time that they can.
func written(t int64) string {
	switch t {
	case math.MaxInt64:
		return FormatTime(t) + " or later"
	case math.MinInt64:
		return FormatTime(t) + " or earlier"
	default:
		return FormatTime(t)
	}
}

// FormatTime is a time as answers have it: RFC 3339 in UTC, a fraction only
// where it is not zero.
func FormatTime(t int64) string { return time.Unix(0, t).UTC().Format(time.RFC3339Nano) }
