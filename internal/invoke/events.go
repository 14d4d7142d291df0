package invoke

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Batch is what an Event Hub trigger sends: events of one partition, in order.
type Batch struct {
	Namespace, Hub, ConsumerGroup string // as the host has them; "" if it does not say
	Partition                     string // its id
	Events                        []Event
	Retry                         *RetryContext // nil if function.json has no retry
}

// RetryContext says how often a call was tried before.
type RetryContext struct {
	Count int // 0 the first time
	Max   int // -1: without end
}

// Event is an event of an Event Hub, with what Event Hubs knows of it.
type Event struct {
	Body         []byte
	PartitionKey string // "" if it was sent without
	Sequence     int64
	Offset       string
	Enqueued     time.Time // in UTC
	// Properties are the sender's, System what Event Hubs and IoT Hub add:
	// strings, bools, int64, float64, nil, arrays and objects of those. Values of
	// more than 4 KiB are left out, and of more than 256 or 64 KiB all but the first.
	Properties, System map[string]any
}

// EventsLimit is what an envelope of that many events may have in bytes, as the
// host writes it, so that none is refused for its size: the partition would wait
// for ever. An event has at most 1 MiB, of which each byte may come as seven if
// it is one of a property (\\u0001), and comes as 4/3 in a body. It is no measure
// of the memory that reading takes.
func EventsLimit(events int) int64 { return int64(events)*(8<<20) + 1<<20 }

// fitting is what function.json must say.
const fitting = `function.json must have an eventHubTrigger named %q with "cardinality": "many" and "dataType": "binary"`

// Events decodes what an Event Hub trigger sends to a binding: cardinality many
// (or one), dataType binary. With any other the bodies are not what was sent, and
// it fails. The metadata may lack what is not needed (all but the id of the partition,
// and the sequence number and the time of each event). ErrEnvelope, which says
// what is missing, and what function.json should say if that is why.
func (e Envelope) Events(binding string) (Batch, error) {
	list, alone, err := e.bodies(binding)
	if err != nil {
		return Batch{}, fmt.Errorf("%w: %w: "+fitting, ErrEnvelope, err, binding)
	}
	m := columns{metadata: e.metadata, events: len(list), alone: alone}
	b, err := m.batch(list)
	if err != nil {
		return Batch{}, fmt.Errorf("%w: %w", ErrEnvelope, err)
	}
	return b, nil
}

// bodies are the bodies of the events; alone if there is one because the
// cardinality is one.
func (e Envelope) bodies(binding string) (list [][]byte, alone bool, err error) {
	d, ok := e.data[binding]
	switch {
	case !ok:
		return nil, false, within("Data", fmt.Errorf("no %s, but %s", binding, cmp.Or(strings.Join(slices.Sorted(maps.Keys(e.data)), ", "), "nothing")))
	case d.events != nil:
		return d.events.list, false, within("Data."+binding, d.events.err)
	case d.text == nil:
		return nil, false, within("Data."+binding, errParsed)
	}
	body, err := unbase64([]byte(*d.text))
	return [][]byte{body}, true, within("Data."+binding, err)
}

// columns are the arrays of the metadata, an entry for each event; of an event
// alone single values.
type columns struct {
	metadata map[string]any
	events   int
	alone    bool
	system   []any
}

func (m columns) batch(list [][]byte) (b Batch, err error) {
	context, _ := m.metadata["PartitionContext"].(map[string]any)
	b = Batch{
		Namespace: text(context["FullyQualifiedNamespace"]), Hub: text(context["EventHubName"]),
		ConsumerGroup: text(context["ConsumerGroup"]), Partition: text(context["PartitionId"]), Retry: m.retry(),
	}
	if b.Partition == "" {
		return Batch{}, errors.New("Metadata.PartitionContext has no PartitionId")
	}
	if b.Events, err = m.read(list); err != nil {
		return Batch{}, err
	}
	return b, nil
}

func (m columns) retry() *RetryContext {
	c, ok := m.metadata["RetryContext"].(map[string]any)
	if !ok {
		return nil
	}
	count, _ := c["RetryCount"].(int64)
	most, _ := c["MaxRetryCount"].(int64)
	return &RetryContext{Count: int(count), Max: int(most)}
}

// read puts the events together.
func (m columns) read(list [][]byte) ([]Event, error) {
	properties, err := m.column("Properties")
	if err != nil {
		return nil, err
	}
	if m.system, err = m.column("SystemProperties"); err != nil {
		return nil, err
	}
	events := make([]Event, len(list))
	for i := range events {
		events[i].Body = list[i]
		events[i].Properties, _ = at(properties, i).(map[string]any)
		events[i].System, _ = at(m.system, i).(map[string]any)
	}
	return events, errors.Join(
		m.fill("SequenceNumber", "x-opt-sequence-number", func(i int, v any) bool {
			n, ok := number(v)
			events[i].Sequence = n
			return ok && n >= 0 && n < math.MaxInt64 // there is a next one
		}),
		m.fill("EnqueuedTimeUtc", "x-opt-enqueued-time", func(i int, v any) bool {
			at, ok := moment(v)
			events[i].Enqueued = at
			return ok
		}),
		m.fill("PartitionKey", "x-opt-partition-key", func(i int, v any) bool {
			events[i].PartitionKey = text(v)
			return true
		}),
		m.fill("Offset", "x-opt-offset", func(i int, v any) bool {
			events[i].Offset = text(v)
			return true
		}),
	)
}

// name is that of an entry of the metadata.
func (m columns) name(column string) string {
	if m.alone {
		return column
	}
	return column + "Array"
}

// column is an entry for each event; nil if there are none. It fails if there
// are more or fewer, as nobody can tell then which is whose.
func (m columns) column(column string) ([]any, error) {
	name := m.name(column)
	value, ok := m.metadata[name]
	if !ok || value == nil {
		return nil, nil
	}
	if m.alone {
		return []any{value}, nil
	}
	list, ok := value.([]any)
	if !ok {
		return nil, within("Metadata."+name, errors.New("no array"))
	}
	if len(list) != m.events {
		return nil, within("Metadata."+name, fmt.Errorf("%d entries for %d events", len(list), m.events))
	}
	return list, nil
}

// fill hands each event's value of a column to set, which refuses what it cannot
// do without. A column that does not fit, or is not there, stands in the system
// properties, too. Of an event alone those are looked at first: its own times
// have no fractions.
func (m columns) fill(column, annotation string, set func(i int, v any) bool) error {
	list, err := m.column(column)
	if err != nil && m.system == nil {
		return err
	}
	for i := range m.events {
		system, _ := at(m.system, i).(map[string]any)
		candidates := []any{at(list, i), system[column], system[annotation]}
		if m.alone {
			candidates = append(candidates[1:], candidates[0])
		}
		v := first(candidates)
		if !set(i, v) {
			return fmt.Errorf("event %d has no %s: Metadata.%s and Metadata.%s have %v", i, column, m.name(column), m.name("SystemProperties"), v)
		}
	}
	return nil
}

func at(list []any, i int) any {
	if i >= len(list) {
		return nil
	}
	return list[i]
}

func first(values []any) any {
	for _, v := range values {
		if v != nil {
			return v
		}
	}
	return nil
}

// text is a string, or a whole number as one.
func text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case int64:
		return strconv.FormatInt(v, 10)
	}
	return ""
}

func number(v any) (int64, bool) {
	n, err := strconv.ParseInt(text(v), 10, 64)
	return n, err == nil
}

// moment reads a time; without a zone it is UTC.
func moment(v any) (time.Time, bool) {
	for _, layout := range []string{"2006-01-02T15:04:05.999999999", time.RFC3339Nano} {
		if at, err := time.Parse(layout, text(v)); err == nil {
			return at.UTC(), true
		}
	}
	return time.Time{}, false
}

// serviceProperty are the properties of Event Hubs and IoT Hub that are read: no
// number of others pushes them out.
var serviceProperty = map[string]bool{
	"SequenceNumber": true, "Offset": true, "PartitionKey": true, "EnqueuedTimeUtc": true,
	"x-opt-sequence-number": true, "x-opt-offset": true, "x-opt-partition-key": true, "x-opt-enqueued-time": true,
	"iothub-connection-device-id": true, "content-type": true, "content-encoding": true, "traceparent": true,
}
