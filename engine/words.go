// Package engine is the log-structured engine, once for all stores: it appends
// blocks to the journal, merges them into leaves and lists, and reads leaves,
// lists and the tail that is not merged yet as one.
package engine

import (
	"errors"
	"fmt"
	"time"

	"sluice/telemetry"
)

// What a caller of the engine decides by; errors of the store come through
// wrapped.
var (
	// ErrAgain says that what was being read was removed meanwhile (retention):
	// begin the page again with a new View.
	ErrAgain = errors.New("store changed under the reader: read the page again")
	// ErrFormat says that the store was written by a newer version.
	ErrFormat = errors.New("store has a newer format")
	// ErrMismatch says that the store was made with other settings.
	ErrMismatch = errors.New("store was made with other settings")
	// ErrFloor says that readings to be appended are older than what may be
	// accepted by now: judge them again, by Floor.
	ErrFloor = errors.New("older than the floor of retention, which has been raised meanwhile")
	// ErrCorrupt says that a row or block does not decode.
	ErrCorrupt = errors.New("stored data is corrupt")
)

// FloorError is the ErrFloor of appends: of what was to be appended some is older
// than Floor, and nothing of it is acknowledged. What is not older may be appended
// without the rest.
type FloorError struct {
	Floor int64 // nanoseconds since the Unix epoch
}

func (e *FloorError) Error() string {
	return fmt.Sprintf("%v, to %s", ErrFloor, time.Unix(0, e.Floor).UTC().Format(time.RFC3339))
}

// Unwrap returns ErrFloor.
func (e *FloorError) Unwrap() error { return ErrFloor }

// Info is what is known of a device.
type Info struct {
	ID string
	// FirstSeen and LastSeen are the times of its oldest and newest readings
	// (nanoseconds since the Unix epoch), if HasReadings. FirstSeen may lie before
	// the floor of retention.
	FirstSeen, LastSeen int64
	HasReadings         bool
	// Tags are in ascending order of keys, without removed ones.
	Tags []telemetry.Tag
	// Latest has each metric's newest value by the device's own time, in ascending
	// order of names.
	Latest []Latest
}

// Latest is the newest value of a metric.
type Latest struct {
	Metric string
	Time   int64
	Value  telemetry.Value
}

// Span says what to read of a device: the readings in [From, To), nanoseconds
// since the Unix epoch; of Metrics only (nil: all; readings that have none of
// them are left out); the newest frames first if Descending.
type Span struct {
	From, To   int64
	Metrics    []string
	Descending bool
}
