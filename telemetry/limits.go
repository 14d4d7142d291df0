package telemetry

import "time"

// The limits of the contract. Lengths are in bytes of UTF-8.
const (
	MaxDevice   = 128     // a device id
	MaxMetric   = 128     // a metric's name
	MaxText     = 4 << 10 // a string value
	MaxTags     = 32      // tags in one reading
	MaxTagKey   = 64
	MaxTagValue = 256

	MaxMetrics  = 1000     // metrics of one reading; the default, it is a setting
	MaxReadings = 100_000  // readings of one body
	MaxBody     = 4 << 20  // a body as sent; the default
	MaxDecoded  = 16 << 20 // a body decompressed; the default
	MaxErrors   = 100      // verdicts listed in an answer

	// MaxAhead is how far a reading may lie in the future: from there on it is
	// refused.
	MaxAhead = 10 * time.Minute
	// Year2000 is the first time that a reading may have, whatever the retention
	// (nanoseconds since the Unix epoch).
	Year2000 int64 = 946_684_800_000_000_000
)
