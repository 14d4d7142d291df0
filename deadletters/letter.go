// Package deadletters keeps events of the hub that could not be taken, whole or
// in part, until somebody replays or drops them, and for 30 days at most. It knows
// neither the hub nor how an event is judged.
package deadletters

import (
	"context"
	"errors"
	"time"

	"sluice/store"
	"sluice/telemetry"
)

// What a caller decides by; errors of the store come through wrapped.
var (
	// ErrUnknown says that there is no such letter: there never was, it was
	// replayed or dropped, or its time is over.
	ErrUnknown = errors.New("no such dead letter")
	// ErrCut says that a letter has no whole body, so that it cannot be replayed.
	ErrCut = errors.New("the dead letter's body was too large to be kept whole")
)

// Letter is an event that could not be taken, or not all of it: the event's whole
// body, and why.
type Letter struct {
	// ID names the event: the same for each delivery of it (ID). Put and List set it.
	ID string
	// Reason is the first reason why something of the event was refused, Rejected how
	// many of its readings were (0: it is none of readings at all).
	Reason   telemetry.Refusal
	Rejected int
	// Received is when Put first had it; Put sets it.
	Received time.Time
	Source   Source
	// Device is who sent the event, by IoT Hub; PartitionKey, ContentType and
	// ContentEncoding are the event's own. "" without.
	Device, PartitionKey, ContentType, ContentEncoding string
	// Body is the event's body, as it came. Size is its length, also where the body
	// is not read (List) or was cut (over MaxBody).
	Body []byte
	Size int

	state state
	parts int
	etag  store.ETag
}

// Source is where an event came from.
type Source struct {
	Hub       string // its name, to be shown; not part of the identity
	Partition string
	Sequence  int64
	Enqueued  time.Time // in whole milliseconds, as the hub has it
}

// Replayer judges a letter's event again, as if it was delivered again, with the
// stamps of then, and makes durable what of it is right. An error only if that
// could not be done (the store is away).
type Replayer interface {
	Replay(ctx context.Context, letter Letter) (Verdicts, error)
}

// Verdicts are what became of an event's readings.
type Verdicts struct {
	Accepted, Rejected int
	Errors             []Verdict // the first 100
	// Reason is the first refusal, nil if there was none: then the letter is done.
	Reason *telemetry.Refusal
}

// Verdict is why one reading was refused.
type Verdict struct {
	Index   int // in the event's body
	Refusal telemetry.Refusal
}

// state is what became of a letter.
type state string

const (
	waiting  state = ""
	replayed state = "replayed"
	dropped  state = "dropped"
)
