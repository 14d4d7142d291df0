// Package deadletters keeps events of the hub that could not be taken, whole or
// in part, until somebody replays or drops them, and for 30 days at most. It knows
// neither the hub nor how an event is judged.
package deadletters

import (
	"context"
	"errors"
	"strings"
	"time"
	"unicode/utf8"

	"sluice/store"
	"sluice/telemetry"
)

// What a caller decides by; errors of the store come through wrapped.
var (
	// ErrUnknown says that there is no such letter: there never was, it was
	// replayed or dropped, or its time is over.
	ErrUnknown = errors.New("no such dead letter")
	// ErrCut says that a letter lacks some of what its event is judged by, so that it
	// cannot be replayed.
	ErrCut = errors.New("the dead letter's event was too large to be kept whole")
	// ErrCursor says that a cursor is none that List gave.
	ErrCursor = errors.New("no cursor of this list")
	// ErrFormat says that a newer version wrote the letter.
	ErrFormat = errors.New("dead letter has a newer format")
	// ErrCorrupt says that a letter's rows do not fit together.
	ErrCorrupt = errors.New("dead letter is corrupt")
)

// Letter is an event that could not be taken, or not all of it: the event's whole
// body, and why.
type Letter struct {
	// ID names the event, the same for each delivery of it. Put ignores it.
	ID string
	// Reason is the first reason why something of the event was refused, Rejected how
	// many of its readings were (0: what it holds could not be told).
	Reason   telemetry.Refusal
	Rejected int
	// Received is when Put first had it. Put ignores it.
	Received time.Time
	Source   Source
	// Device is who sent the event, by IoT Hub; PartitionKey, ContentType and
	// ContentEncoding are the event's own. "" without.
	Device, PartitionKey, ContentType, ContentEncoding string
	// Body is the event's body, as it came. What is over MaxBody is cut off.
	Body []byte
	// Size is the length of the body as it came. Put ignores it.
	Size int
	// Cut says that the body is cut off, or that what else the event is judged by is
	// not as it came. Put ignores it.
	Cut bool
}

// Source is where an event came from.
type Source struct {
	Hub       string // its name, to be shown; no part of the identity
	Partition string
	Sequence  int64
	Enqueued  time.Time // of which whole milliseconds count, as the hub has it
}

// Replayer judges a letter's event again, as if it was delivered again, with the
// stamps of then, and makes durable what of it is right. It may be called several
// times for one letter, also at the same time. An error only if that could not be
// done (the store is away).
type Replayer interface {
	Replay(ctx context.Context, letter Letter) (Verdicts, error)
}

// Verdicts are what became of an event's readings.
type Verdicts struct {
	Accepted, Rejected int
	// Reason is the first refusal, of a reading or of the event as a whole; nil if
	// there is none: then the letter is done.
	Reason *telemetry.Refusal
	Errors []Verdict // the first 100 refusals of readings
}

// Verdict is why one reading was refused.
type Verdict struct {
	Index   int // in the event's body
	Refusal telemetry.Refusal
}

// What is kept of texts that may be anybody's. Names are longer than they would be
// right with, so that none becomes right by being cut; a content's type and encoding
// may be right or wrong in another way by that, which marks the letter.
const (
	maxMessage = 1000
	maxText    = 1000
)

// clean makes a text of an event one that every store takes: bounded, UTF-8,
// without control characters.
func clean(s string, most int) string {
	if len(s) > most {
		s = s[:most]
		for i := 0; i < utf8.UTFMax && !utf8.ValidString(s[max(0, len(s)-utf8.UTFMax):]); i++ {
			s = s[:len(s)-1]
		}
	}
	s = strings.ToValidUTF8(s, "\uFFFD")
	return strings.Map(func(r rune) rune {
		if r < ' ' || 0x7F <= r && r <= 0x9F {
			return '\uFFFD'
		}
		return r
	}, s)
}

// cleaned is the letter as it is kept.
func (l Letter) cleaned() Letter {
	l.Size = len(l.Body)
	l.Body = l.Body[:min(len(l.Body), MaxBody)]
	l.Cut = l.Size > MaxBody
	l.Reason = cleanReason(l.Reason)
	for _, s := range []*string{&l.ContentType, &l.ContentEncoding} {
		*s = strings.TrimSpace(*s)
		l.Cut = l.Cut || clean(*s, maxText) != *s
	}
	for _, s := range []*string{&l.Source.Hub, &l.Source.Partition, &l.Device, &l.PartitionKey, &l.ContentType, &l.ContentEncoding} {
		*s = clean(*s, maxText)
	}
	return l
}

// texts is how large a letter is without its body.
func (l *Letter) texts() int {
	const rest = 200
	return rest + len(l.Reason.Code) + len(l.Reason.Message) + len(l.Source.Hub) + len(l.Source.Partition) +
		len(l.Device) + len(l.PartitionKey) + len(l.ContentType) + len(l.ContentEncoding)
}

func cleanReason(r telemetry.Refusal) telemetry.Refusal {
	return telemetry.Refusal{Code: telemetry.Code(clean(string(r.Code), 100)), Message: clean(r.Message, maxMessage)}
}

// record is a letter as it lies in its row, or what remembers one that is done.
type record struct {
	Letter
	state    state
	parts    int // rows that have the body; 0: its own
	accepted int // readings, when it was replayed
	etag     store.ETag
}

// state is what became of a letter.
type state string

const (
	waiting  state = ""
	replayed state = "replayed"
	dropped  state = "dropped"
)
