package consume

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"mime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"sluice/deadletters"
	"sluice/hub"
	"sluice/telemetry"
	"sluice/telemetry/block"
	"sluice/telemetry/event"
	"sluice/telemetry/wire"
)

// judged is an event and what it says.
type judged struct {
	event   *hub.Event
	devices []block.Device // what is right, ascending by ID
	// first is, of what a device sent itself, the stamp of the reading in place 0: a
	// reading's place is what its stamp is above it. 0: an event of ours.
	first telemetry.Stamp

	readings int // of the event that are right as far as is known
	rejected int
	outlived int                   // of those rejected: may have been right, and are too old or blocked by now
	errors   []deadletters.Verdict // the first telemetry.MaxErrors
}

// reject counts a refusal.
func (j *judged) reject(index int, refusal *telemetry.Refusal) {
	j.rejected++
	if len(j.errors) < telemetry.MaxErrors {
		j.errors = append(j.errors, deadletters.Verdict{Index: index, Refusal: *refusal})
	}
}

// size is the memory that the devices take.
func (j *judged) size() int {
	n := 0
	for i := range j.devices {
		n += j.devices[i].Size()
	}
	return n
}

// judge reads an event. Whatever is in it, the event alone suffers.
func (c *Consumer) judge(e *hub.Event) (j judged) {
	defer func() {
		if r := recover(); r != nil {
			c.log.Error("an event could not be judged", "sequence", e.Sequence, "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
			j = judged{event: e}
			j.reject(0, telemetry.Refuse(telemetry.Internal, "judging the event failed: a fault of the service"))
		}
	}()
	j = judged{event: e}
	var refusal *telemetry.Refusal
	if event.IsOurs(e.Body) {
		refusal = c.readOurs(&j)
	} else {
		refusal = c.readForeign(&j)
	}
	if refusal != nil {
		j.devices, j.readings = nil, 0
		j.reject(0, refusal)
	}
	j.takeBack(c.cfg.Refuse)
	return j
}

// takeBack takes back all of the devices that are refused.
func (j *judged) takeBack(refuse func(device string) *telemetry.Refusal) {
	kept, row := j.devices[:0], 0
	for i := range j.devices {
		d := &j.devices[i]
		refusal := refuse(d.ID)
		if refusal == nil {
			kept = append(kept, *d)
		} else {
			before := j.rejected
			j.rejectDevice(d, row, refusal)
			j.outlived += j.rejected - before // it may have been let in when the event came first
		}
		row += count(d)
	}
	if len(kept) == len(j.devices) {
		return
	}
	j.devices = kept
	slices.SortStableFunc(j.errors, func(a, b deadletters.Verdict) int { return cmp.Compare(a.Index, b.Index) })
}

// rejectDevice refuses all readings of a device, whose first row is one of all rows
// of the event.
func (j *judged) rejectDevice(d *block.Device, first int, refusal *telemetry.Refusal) {
	j.readings -= count(d)
	for i, stamp := range d.Readings.Stamps {
		j.reject(j.place(first+i, stamp), refusal)
	}
	if d.Readings.Len() == 0 && len(d.Tags) > 0 {
		j.reject(j.place(first, d.Tags[0].Stamp), refusal)
	}
}

// count is how many readings there are of a device. Readings of tags alone count
// as one each.
func count(d *block.Device) int {
	n := d.Readings.Len()
	if n == 0 && len(d.Tags) > 0 {
		n = 1
	}
	return n
}

// untimed is how many readings of an event may be without a time: they get a
// nanosecond each, and the next event's begin a microsecond later.
const untimed = 1000

// readForeign reads what a device sent.
func (c *Consumer) readForeign(j *judged) *telemetry.Refusal {
	e := j.event
	if refusal := checkTime(e); refusal != nil {
		return refusal
	}
	opt, refusal := c.options(e)
	if refusal != nil {
		return refusal
	}
	body, err := wire.Body(bytes.NewReader(e.Body), encodingOf(e), wire.Limits{Sent: int64(len(e.Body)), Decoded: c.cfg.MaxDecoded})
	if err != nil {
		return refuseBody(err)
	}
	defer body.Close()
	batch, err := parserOf(e)(body, opt)
	if err != nil {
		return refuseBody(err)
	}
	j.first = firstStamp(e)
	batch.StampPlaces(j.first, untimed)
	for _, v := range batch.Errors {
		j.errors = append(j.errors, deadletters.Verdict{Index: v.Index, Refusal: *v.Refusal})
	}
	j.rejected, j.readings = batch.Rejected, len(batch.Readings)
	j.devices = block.FromReadings(batch.Readings)
	return nil
}

// options is how a device's body is read: times are judged as of when the hub
// had it, so that the verdict is the same whenever it comes.
func (c *Consumer) options(e *hub.Event) (wire.Options, *telemetry.Refusal) {
	opt := wire.Options{
		Window:   telemetry.NewWindow(e.Enqueued, c.floor(e.Enqueued)),
		Readings: c.cfg.MaxReadings,
		Metrics:  c.cfg.MaxMetrics,
	}
	if sender := senderOf(e); sender != "" {
		if sender == nobody {
			return opt, telemetry.Refuse(telemetry.ForbiddenDevice, "%s, which IoT Hub sets, names no device", senderProperty)
		}
		if refusal := telemetry.CheckDevice(sender); refusal != nil {
			refusal.Message = "IoT Hub's " + refusal.Message
			return opt, refusal
		}
		opt.Device, opt.Sender = sender, true
		return opt, nil
	}
	if telemetry.CheckDevice(e.PartitionKey) == nil {
		opt.Default = e.PartitionKey
	}
	return opt, nil
}

// floor is the first time that is kept at a time.
func (c *Consumer) floor(at time.Time) int64 {
	if c.cfg.Retention == 0 {
		return telemetry.Year2000
	}
	return at.Add(-c.cfg.Retention).UTC().Truncate(24 * time.Hour).UnixNano()
}

// firstStamp is the stamp of an event's first reading: the time at which the hub
// had it, in whole milliseconds, and its number in the place of the microseconds.
func firstStamp(e *hub.Event) telemetry.Stamp {
	return telemetry.Stamp(e.Enqueued.UnixMilli()*int64(time.Millisecond) + e.Sequence%1000*int64(time.Microsecond))
}

// bodyCodes are the codes of bodies that are refused as a whole.
var bodyCodes = map[wire.Kind]telemetry.Code{
	wire.Syntax:          telemetry.InvalidJSON,
	wire.Empty:           telemetry.EmptyMessage,
	wire.TooManyReadings: telemetry.TooManyReadings,
	wire.TooLarge:        telemetry.BodyTooLarge,
	wire.UnknownEncoding: telemetry.UnsupportedEncoding,
	wire.Corrupt:         telemetry.CorruptEvent,
}

func refuseBody(err error) *telemetry.Refusal {
	var refused *wire.Error
	if errors.As(err, &refused) {
		return telemetry.Refuse(bodyCodes[refused.Kind], "%s", refused.Message)
	}
	return telemetry.Refuse(telemetry.CorruptEvent, "%v", err)
}

// What an event says of itself.
const (
	senderProperty   = "iothub-connection-device-id"
	typeProperty     = "content-type"
	encodingProperty = "content-encoding"
)

// nobody stands for a sender that IoT Hub's property does not name: no device id,
// so that nothing of the event is taken, in a letter that is replayed neither.
const nobody = "?"

// senderOf is who sent an event, by IoT Hub; "" if it came another way, nobody if
// the property is there and names none.
func senderOf(e *hub.Event) string {
	value, ok := e.System[senderProperty]
	if !ok {
		return ""
	}
	return cmp.Or(text(value), nobody)
}

// typeOf and headerOf are the content's type and encoding, as AMQP has them or as
// senders that speak HTTP put them.
func typeOf(e *hub.Event) string { return described(e, typeProperty) }

func headerOf(e *hub.Event) string { return described(e, encodingProperty) }

// described is a property by its name, in whatever case if not as it is written,
// and of several the first in order of bytes: the same whenever the event comes.
func described(e *hub.Event, name string) string {
	if s := text(e.System[name]); s != "" {
		return s
	}
	if s := text(e.Properties[name]); s != "" {
		return s
	}
	var found, said string
	for key, value := range e.Properties {
		if s := text(value); s != "" && strings.EqualFold(key, name) && (found == "" || key < found) {
			found, said = key, s
		}
	}
	return said
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

// encodingOf is a content's compressions. IoT Hub has the charset in their place.
func encodingOf(e *hub.Event) string {
	header := headerOf(e)
	switch name := strings.ToLower(strings.TrimSpace(header)); {
	case strings.HasPrefix(name, "utf-"), name == "utf8", name == "us-ascii":
		return ""
	default:
		return header
	}
}

// parserOf finds the parser of a content: that of its type, if it has one, else
// the text tells.
func parserOf(e *hub.Event) func(io.Reader, wire.Options) (*wire.Batch, error) {
	kind, _, _ := mime.ParseMediaType(typeOf(e))
	switch kind {
	case "application/json":
		return wire.JSON
	case "application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines":
		return wire.NDJSON
	default:
		return wire.Text
	}
}
