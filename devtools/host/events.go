package host

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Event is an event of an Event Hub.
type Event struct {
	Body           []byte
	PartitionKey   *string // nil: none
	SequenceNumber int64
	Offset         int64
	Enqueued       time.Time
	Properties     []Property // the sender's
	System         []Property // beside what every event has, as IoT Hub adds
}

// Property is one of an event's.
type Property struct {
	Name  string
	Value any // what encoding/json can write
}

// ErrNotBuilt says that this stand-in does not do what a real host would.
var ErrNotBuilt = errors.New("this stand-in cannot do that")

// eventTime is how the host writes times of events: in UTC, without saying so.
const eventTime = "2006-01-02T15:04:05.9999999"

// TriggerEvents sends a batch of a partition to a function with an
// eventHubTrigger of cardinality many and a dataType, and waits for its end,
// retries of its policy included. It fails with ErrFunction, ErrNotBuilt or
// ErrInvocation; a real host goes on to the next batch after any of those.
// Whoever calls it keeps the batches of a partition one after the other.
func (h *Host) TriggerEvents(ctx context.Context, name, partition string, events []Event) error {
	f, err := h.running(name, "eventHubTrigger")
	if err != nil {
		return err
	}
	where, err := f.place(h.settings)
	if err != nil {
		return err
	}
	p, err := eventPayload(f, where.partition(partition), events)
	if err != nil {
		return err
	}
	return h.trigger(ctx, f, p, nil)
}

// partition is how a trigger is told of a partition.
func (p hubPlace) partition(id string) object {
	return object{
		{"IsCheckpointingAfterInvocation", true}, {"FullyQualifiedNamespace", p.namespace},
		{"EventHubName", p.hub}, {"ConsumerGroup", p.group}, {"PartitionId", id},
	}
}

// namespace is where a connection leads, from its setting.
func namespace(connection string, settings map[string]string) string {
	if n := settings[connection+"__fullyQualifiedNamespace"]; n != "" {
		return n
	}
	for part := range strings.SplitSeq(settings[connection], ";") {
		if endpoint, ok := strings.CutPrefix(part, "Endpoint=sb://"); ok {
			return strings.TrimSuffix(endpoint, "/")
		}
	}
	return ""
}

// eventPayload writes a batch. Recorded.
func eventPayload(f *function, partition object, events []Event) (payload, error) {
	if !strings.EqualFold(f.binding.Cardinality, "many") {
		return payload{}, fmt.Errorf("%w: cardinality %q (many would be right)", ErrNotBuilt, f.binding.Cardinality)
	}
	var bodies []string
	switch {
	case strings.EqualFold(f.binding.DataType, "binary"):
		for _, e := range events {
			bodies = append(bodies, base64.StdEncoding.EncodeToString(e.Body))
		}
	case strings.EqualFold(f.binding.DataType, "string"):
		for _, e := range events {
			bodies = append(bodies, string([]rune(string(e.Body))))
		}
	default:
		return payload{}, fmt.Errorf("%w: dataType %q (binary or string would be right)", ErrNotBuilt, f.binding.DataType)
	}
	data, err := text(bodies)
	if err != nil {
		return payload{}, err
	}
	metadata, err := eventMetadata(partition, events)
	return payload{data: object{{f.binding.Name, data}}, metadata: metadata}, err
}

func eventMetadata(partition object, events []Event) (object, error) {
	var keys []*string
	var offsets, times []string
	var numbers []int64
	var properties, system []object
	for _, e := range events {
		keys = append(keys, e.PartitionKey)
		offsets = append(offsets, fmt.Sprint(e.Offset))
		numbers = append(numbers, e.SequenceNumber)
		times = append(times, e.Enqueued.UTC().Format(eventTime))
		properties = append(properties, members(e.Properties))
		system = append(system, e.system())
	}
	metadata := object{{"PartitionContext", partition}}
	for _, array := range []member{
		{"PartitionKeyArray", keys}, {"OffsetArray", offsets}, {"SequenceNumberArray", numbers},
		{"EnqueuedTimeUtcArray", times}, {"PropertiesArray", properties}, {"SystemPropertiesArray", system},
	} {
		written, err := text(array.value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", array.name, err)
		}
		metadata = append(metadata, member{array.name, written})
	}
	return metadata, nil
}

func (e Event) system() object {
	at := e.Enqueued.UTC()
	return append(object{
		{"x-opt-sequence-number", e.SequenceNumber}, {"x-opt-offset", fmt.Sprint(e.Offset)},
		{"x-opt-enqueued-time", at.Format(timerTime)}, {"SequenceNumber", e.SequenceNumber}, {"Offset", e.Offset},
		{"PartitionKey", e.PartitionKey}, {"EnqueuedTimeUtc", at.Format(eventTime)},
	}, members(e.System)...)
}

func members(properties []Property) object {
	o := object{}
	for _, p := range properties {
		o = append(o, member{p.Name, p.Value})
	}
	return o
}
