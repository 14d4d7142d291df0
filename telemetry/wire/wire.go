// Package wire decodes what devices send into readings: a bounded reader that
// undoes compression (Body), and one parser a format (JSON, NDJSON; Text for
// either). A parser
// takes a stream and gives a Batch: the readings that are acceptable, and why
// each of the others is not. What makes a whole body unacceptable is an *Error.
package wire

import (
	"math"
	"slices"

	"sluice/telemetry"
)

// Untimed is the time of a reading whose message has none: it gets its stamp's.
const Untimed int64 = math.MinInt64

// Options is what a parser needs to know.
type Options struct {
	// Device is the device that the address names; empty: messages name theirs.
	Device string
	// Sender says that Device is who sent the body, as whoever carried it made sure:
	// a message of another device is then forbidden, not mistaken.
	Sender bool
	// Default is, without a Device, that of the messages that name none.
	Default string
	// Window is the times that readings may have.
	Window telemetry.Window
	// Readings is how many a body may have, Metrics how many a reading.
	Readings, Metrics int
}

// Batch is a decoded body. Its strings and slices are its own: they stay valid
// and nobody else changes them.
type Batch struct {
	// Readings are the acceptable ones in order of the body. Their stamps are not
	// set, the time of those without one is Untimed: see Stamp.
	Readings []telemetry.Reading
	// Index has the place in the body of each of Readings: of an array's element,
	// of a line; from 0.
	Index []int32
	// Errors has the first telemetry.MaxErrors refused readings, in order of Index.
	Errors []Verdict
	// Rejected counts all refused readings.
	Rejected int
}

// Verdict is why the reading at a place of the body was refused.
type Verdict struct {
	Index   int
	Refusal *telemetry.Refusal
}

// Stamp gives the readings consecutive stamps from first on, and those without
// a time their stamp's.
func (b *Batch) Stamp(first telemetry.Stamp) {
	for i := range b.Readings {
		r := &b.Readings[i]
		r.Stamp = first + telemetry.Stamp(i)
		if r.Time == Untimed {
			r.Time = int64(r.Stamp)
		}
	}
}

// StampPlaces gives each reading the stamp first plus its place in the body,
// whatever became of the others, and those without a time their stamp's. Such
// ones are taken back from the place most on.
func (b *Batch) StampPlaces(first telemetry.Stamp, most int) {
	for i := range b.Readings {
		b.Readings[i].Stamp = first + telemetry.Stamp(b.Index[i])
	}
	b.Refuse(func(r *telemetry.Reading) *telemetry.Refusal {
		if r.Time != Untimed {
			return nil
		}
		if r.Stamp-first >= telemetry.Stamp(most) {
			return telemetry.Refuse(telemetry.InvalidTimestamp, "no ts: only the first %d readings of one event may be without", most)
		}
		r.Time = int64(r.Stamp)
		return nil
	})
}

// Refuse takes back readings that check refuses, as if the parser had.
func (b *Batch) Refuse(check func(*telemetry.Reading) *telemetry.Refusal) {
	kept, late := 0, 0
	for i := range b.Readings {
		refusal := check(&b.Readings[i])
		if refusal == nil {
			b.Readings[kept], b.Index[kept] = b.Readings[i], b.Index[i]
			kept++
			continue
		}
		if late++; late <= telemetry.MaxErrors {
			b.Errors = append(b.Errors, Verdict{int(b.Index[i]), refusal})
		}
	}
	if late == 0 {
		return
	}
	b.Rejected += late
	clear(b.Readings[kept:])
	b.Readings, b.Index = b.Readings[:kept], b.Index[:kept]
	slices.SortFunc(b.Errors, func(x, y Verdict) int { return x.Index - y.Index })
	b.Errors = b.Errors[:min(len(b.Errors), telemetry.MaxErrors)]
}

func (b *Batch) refuse(index int, refusal *telemetry.Refusal) {
	b.Rejected++
	if len(b.Errors) < telemetry.MaxErrors {
		b.Errors = append(b.Errors, Verdict{index, refusal})
	}
}
