// Package telemetry has the words that every other room uses: readings, their
// values and stamps, the limits and the codes by which a reading is refused.
// It does no I/O and imports nothing of ours.
package telemetry

// Stamp says when a reading was accepted: nanoseconds since the Unix epoch by
// the clock of the instance that accepted it, given once and carried along for
// ever. Of two values for the same device, timestamp and metric the higher
// stamp wins. 0 is before every stamp.
type Stamp int64

// Metric is one named value of a reading.
type Metric struct {
	Name  string
	Value Value
}

// Tag is a change of one of the tags that describe a device.
type Tag struct {
	Key     string
	Value   string
	Removed bool
}

// Reading is what a device measured at one time. Its identity is (Device,
// Time): the same again merges metric by metric.
type Reading struct {
	Device  string
	Time    int64 // nanoseconds since the Unix epoch
	Stamp   Stamp
	Metrics []Metric // names differ; may be empty if there are tags
	Tags    []Tag    // keys differ
}
