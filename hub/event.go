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

// pages reads a partition page by page. The service sends only what it is asked
// for, so a page is asked for in steps: as many events as fit into what is left
// of the budget if all are as large as the largest of the last step. When they
// become larger all of a sudden, that costs one step more than the budget.
type pages struct {
	from    receiver
	budget  int // bytes of a page
	most    int // events of a page
	step    int // events that may be asked for at once
	largest int // bytes of an event in the last step
	failed  error
}

const (
	firstStep = 8
	// least is how large an event counts at least in the bound of a step.
	least = 128 << 10
	// weight is what an event takes besides its body, about.
	weight = 512
)

func newPages(from receiver, budget, most int) *pages {
	return &pages{from: from, budget: budget, most: max(1, most), step: max(1, min(firstStep, budget/least)), largest: weight}
}

// next returns the next events, at most limit: waits for the first, which may
// take the opening of a link that was lost, and then gathers until the page is full
// or the time for that is over. None within wait is no error. An error that came
// after events is that of the next call.
func (p *pages) next(ctx context.Context, wait, gather time.Duration, limit int64) ([]Event, error) {
	if err := p.failed; err != nil {
		p.failed = nil
		return nil, err
	}
	var first []Event
	if gather < wait {
		inner, cancel := context.WithTimeout(ctx, wait)
		defer cancel()
		var err error // of one, as all that are asked for are waited for
		if first, err = p.receive(ctx, inner, 1); err != nil || len(first) == 0 {
			return nil, err
		}
		wait = gather
	}
	return p.fill(ctx, wait, first, int(min(int64(p.most), limit)))
}

// fill adds to a page what comes within wait, until it has most events or is as
// large as it may be.
func (p *pages) fill(ctx context.Context, wait time.Duration, events []Event, most int) ([]Event, error) {
	inner, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	left := p.budget - p.learn(events)
	for len(events) < most && (left > 0 || len(events) == 0) {
		asked := min(p.step, max(1, left/p.largest), most-len(events))
		received, err := p.receive(ctx, inner, asked)
		if err != nil && len(events) > 0 {
			p.failed = err
			break
		}
		if err != nil {
			return nil, err
		}
		left -= p.learn(received)
		events = append(events, received...)
		if len(received) < asked {
			break // wait is over
		}
	}
	return events, nil
}

func (p *pages) receive(ctx, inner context.Context, count int) ([]Event, error) {
	received, err := p.from.ReceiveEvents(inner, count, nil)
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
	for i, r := range received {
		events[i] = eventOf(r)
	}
	return events, nil
}

// learn sets the next step by this one, whose size it returns.
func (p *pages) learn(events []Event) (size int) {
	if len(events) == 0 {
		return 0
	}
	largest := 0
	for i := range events {
		n := len(events[i].Body) + weight
		size += n
		largest = max(largest, n)
	}
	if len(events) == 1 {
		p.largest = max(p.largest, largest) // one alone says little of those behind it
		return size
	}
	p.largest = largest
	p.step = max(1, min(p.step*2, p.budget/max(p.largest, least)))
	return size
}
