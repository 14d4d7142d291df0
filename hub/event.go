package hub

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
)

// System properties that AMQP has in another place than the annotations.
const (
	contentType     = "content-type"
	contentEncoding = "content-encoding"
)

// eventOf is an event in this room's words.
func eventOf(received *azeventhubs.ReceivedEventData) Event {
	e := Event{
		Body: received.Body, Sequence: received.SequenceNumber, Offset: received.Offset,
		Properties: received.Properties, System: received.SystemProperties,
	}
	if received.PartitionKey != nil {
		e.PartitionKey = *received.PartitionKey
	}
	if received.EnqueuedTime != nil {
		e.Enqueued = received.EnqueuedTime.UTC()
	}
	raw := received.RawAMQPMessage
	if raw == nil {
		return e
	}
	if e.Body == nil {
		e.Body = bytes.Join(raw.Body.Data, nil) // in several sections, or none
	}
	if raw.Properties != nil {
		e.note(contentType, raw.Properties.ContentType)
		e.note(contentEncoding, raw.Properties.ContentEncoding)
	}
	return e
}

func (e *Event) note(name string, value *string) {
	if value == nil || *value == "" {
		return
	}
	if e.System == nil {
		e.System = map[string]any{}
	}
	e.System[name] = *value
}

// receiver is what the SDK has of an open partition.
type receiver interface {
	ReceiveEvents(ctx context.Context, count int, options *azeventhubs.ReceiveEventsOptions) ([]*azeventhubs.ReceivedEventData, error)
}

// pages reads a partition page by page. The service sends only what was asked
// for, so a page bounds the memory: as many events as fit into the budget if all
// are as large as the largest of the last page. A page that is suddenly of larger
// ones is over it once, by least at most.
type pages struct {
	from   receiver
	budget int // bytes
	most   int // events
	size   int // of the next page
}

// least is how large an event counts at least when the largest page is
// reckoned, firstPage how many events the first one has.
const (
	least     = 128 << 10
	firstPage = 8
)

func newPages(from receiver, budget, most int) *pages {
	most = max(1, min(most, budget/least))
	return &pages{from: from, budget: budget, most: most, size: min(firstPage, most)}
}

// next returns the next events, at most limit, that came within wait: as soon as
// a page is full, else when wait is over. None is no error.
func (p *pages) next(ctx context.Context, wait time.Duration, limit int64) ([]Event, error) {
	inner, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	received, err := p.from.ReceiveEvents(inner, int(min(int64(p.size), limit)), nil)
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return nil, fmt.Errorf("event hub: %w", ctx.Err())
	case errors.Is(err, context.DeadlineExceeded):
		return nil, nil
	default:
		return nil, fmt.Errorf("receive: %w", explain(ctx, err))
	}
	events := make([]Event, len(received))
	largest := 1
	for i, r := range received {
		events[i] = eventOf(r)
		largest = max(largest, len(events[i].Body))
	}
	p.size = max(1, min(p.size*2, p.budget/largest, p.most))
	return events, nil
}
