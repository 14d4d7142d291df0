package consume

import (
	"context"

	"sluice/deadletters"
	"sluice/hub"
)

var _ deadletters.Replayer = (*Consumer)(nil)

// Replay implements deadletters.Replayer: the whole event is judged as if it
// came again, and what is right of it made durable under the stamps that it always
// had.
func (c *Consumer) Replay(ctx context.Context, letter deadletters.Letter) (deadletters.Verdicts, error) {
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
		return deadletters.Verdicts{}, ctx.Err()
	}
	list := []judged{c.judge(eventOf(letter))}
	if _, err := c.land(ctx, list); err != nil {
		return deadletters.Verdicts{}, err
	}
	j := &list[0]
	v := deadletters.Verdicts{Accepted: j.readings, Rejected: j.rejected, Errors: j.errors}
	if j.rejected > 0 {
		v.Reason = &j.errors[0].Refusal
	}
	return v, nil
}

// eventOf is the event of a letter, as far as judging it goes.
func eventOf(l deadletters.Letter) *hub.Event {
	system := map[string]any{typeProperty: l.ContentType, encodingProperty: l.ContentEncoding}
	if l.Device != "" {
		system[senderProperty] = l.Device
	}
	return &hub.Event{
		Body: l.Body, PartitionKey: l.PartitionKey, Sequence: l.Source.Sequence, Enqueued: l.Source.Enqueued,
		System: system,
	}
}
