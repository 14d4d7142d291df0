package consume

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sluice/consume/progress"
	"sluice/hub"
)

// Two events of a hub lie in time as their numbers say, but for what the clocks
// of the machines that take a partition over from each other differ. moment is how
// exactly the time of an event is told everywhere.
const (
	clockGap = time.Minute
	moment   = time.Second
)

// begin reads what is durable. Where nothing is known, all that the hub has is to
// come, or without a hub what the call has.
func (t *taking) begin(ctx context.Context, events []hub.Event) error {
	var err error
	if t.at, err = t.cfg.Progress.Read(ctx, t.partition); err != nil {
		return err
	}
	if t.at.Stored() {
		return t.checkAnew(ctx, events)
	}
	first := events[0].Sequence
	if t.cfg.Hub != nil {
		p, err := t.cfg.Hub.Partition(ctx, t.partition)
		if err != nil {
			return fmt.Errorf("look for the oldest event: %w", err)
		}
		first = min(first, p.First)
	}
	t.at.Sequence = first - 1
	return nil
}

// checkAnew notices that the hub is another one than that of the progress: it
// has numbers that came before with times that did not. The hub's numbers tell
// where times are too close.
func (t *taking) checkAnew(ctx context.Context, events []hub.Event) error {
	var closely bool
	for i := range events {
		switch e := &events[i]; {
		case t.at.Enqueued.IsZero() || e.Sequence > t.at.Sequence || !t.believes(e):
		case e.Enqueued.Sub(t.at.Enqueued) > clockGap, t.differs(e):
			return t.anew(ctx, events[0].Sequence)
		case e.Enqueued.After(t.at.Enqueued):
			closely = true
		}
	}
	if !closely || t.cfg.Hub == nil {
		return nil
	}
	p, err := t.cfg.Hub.Partition(ctx, t.partition)
	if err != nil || p.Last >= t.at.Sequence {
		return nil //nolint:nilerr // a later call will tell
	}
	return t.anew(ctx, events[0].Sequence)
}

// differs says that an event has the number of the last durable one and is
// another. (Where events were lost behind that one, or its time is not believed, it
// has no offset.)
func (t *taking) differs(e *hub.Event) bool {
	return e.Sequence == t.at.Sequence && t.at.Offset != "" && e.Enqueued.Sub(t.at.Enqueued).Abs() >= moment
}

// anew begins with the first event of a hub that was made anew.
func (t *taking) anew(ctx context.Context, first int64) error {
	if t.cfg.Hub != nil {
		p, err := t.cfg.Hub.Partition(ctx, t.partition)
		if err != nil {
			return fmt.Errorf("look for the oldest event: %w", err)
		}
		first = min(first, p.First)
	}
	t.log.Warn("the event hub is another one than before: its partition is consumed from its beginning", "partition", t.partition, "first", first, "former", t.at.Sequence)
	var err error
	t.at, err = t.cfg.Progress.Anew(ctx, t.at, first)
	return err
}

// rereadShare is the part of a call's time for which it rereads: what it comes to
// stays, the next one goes on, and other partitions have their turn between.
const rereadShare = 5

// errPatience ends the rereading of a gap before the host ends the call.
var errPatience = errors.New("time is over")

// fill rereads the events that are not durable before until, if there are any.
// What it reread stays so if it does not come to the end.
func (t *taking) fill(ctx context.Context, next *hub.Event) error {
	until := next.Sequence
	if until <= t.at.Sequence+1 || t.former {
		return nil
	}
	if t.cfg.Hub == nil {
		return fmt.Errorf("events %d to %d were not given, and cannot be read from the hub: set SLUICE_EVENTHUB for the service too", t.at.Sequence+1, until-1)
	}
	p, err := t.skipExpired(ctx, until)
	if err != nil {
		return err
	}
	missing := until - 1 - t.at.Sequence
	if missing == 0 {
		return nil
	}
	t.log.Warn("events were not given: they are reread from the hub", "partition", t.partition, "from", t.at.Sequence+1, "to", until-1)
	if t.at, err = t.cfg.Progress.Reread(ctx, t.at, until); err != nil {
		return err
	}
	if p.Last <= t.at.Sequence { // a hub refuses to be read from beyond its end
		err = t.ends(p, next)
	} else {
		t.patience = time.Now().Add(t.cfg.Deadline / rereadShare)
		err = t.reread(ctx, next)
	}
	switch {
	case errors.Is(err, errFormer):
		return t.leave(ctx, until)
	case err != nil:
		return fmt.Errorf("reread %d of %d events, goes on at the next try: %w", missing-max(until-1-t.at.Sequence, 0), missing, err)
	}
	t.log.Info("events were reread", "partition", t.partition, "events", missing, "to", until-1)
	return nil
}

// errFormer ends a rereading: the hub never had, or has no more, what came before
// the call's events.
var errFormer = errors.New("the event hub ends before these events")

// leave goes on with events that the hub does not have: they are of a former one,
// and come late. They are taken, as nobody else has them, but they do not say how far
// the hub is. Should it be behind with its answers instead, the next call rereads.
func (t *taking) leave(ctx context.Context, until int64) error {
	t.former = true
	t.log.Warn("the event hub ends before the events that were given: they are another one's, made durable without being counted", "partition", t.partition, "first", until, "durable", t.at.Sequence)
	var err error
	t.at, err = t.cfg.Progress.Leave(ctx, t.at, until)
	return err
}

// staleAnswers is for how long a hub may be behind with its answer to which event
// is its last.
const staleAnswers = 10 * time.Minute

// ends says what it means that a hub ends before an event that was given: that it
// is another one than the event's (errFormer), if it has a later event or the event
// is so old that it would be in the answer. Else the answer may be an old one:
// whoever took the call for done then would leave a gap.
func (t *taking) ends(p hub.Partition, next *hub.Event) error {
	if p.LastEnqueued.After(next.Enqueued) || t.cfg.Now().Sub(next.Enqueued) >= staleAnswers {
		return errFormer
	}
	return fmt.Errorf("the hub says that it ends with event %d, and event %d was given: it is behind, or another one", p.Last, next.Sequence)
}

// skipExpired passes over what the hub has no more, and says what it has.
func (t *taking) skipExpired(ctx context.Context, until int64) (hub.Partition, error) {
	p, err := t.cfg.Hub.Partition(ctx, t.partition)
	if err != nil {
		return p, fmt.Errorf("look for the oldest event: %w", err)
	}
	return p, t.skip(ctx, min(p.First, until))
}

// skip passes over the events before first, which are lost.
func (t *taking) skip(ctx context.Context, first int64) error {
	lost := first - 1 - t.at.Sequence
	if lost <= 0 {
		return nil
	}
	before := t.at.Lost
	var err error
	if t.at, err = t.cfg.Progress.Skip(ctx, t.at, first); err != nil {
		return err
	}
	t.result.Lost += t.at.Lost - before
	t.log.Error("events are lost: they expired in the hub before they were consumed", "partition", t.partition, "events", lost, "to", first-1)
	return nil
}

// reread reads events up to until from the hub, a page at a time.
func (t *taking) reread(ctx context.Context, next *hub.Event) error {
	from, until := t.at.Sequence+1, next.Sequence
	if t.at.Offset != "" {
		from-- // the last durable one must still be the same
	}
	beyond := false // the hub came to until, so that it has no more before that
	err := t.cfg.Hub.Read(ctx, t.partition, from, until+1, t.cfg.Page, func(page []hub.Event) error {
		page = timed(page)
		if len(page) > 0 && t.differs(&page[0]) {
			return errAnew
		}
		n := len(page)
		for n > 0 && page[n-1].Sequence >= until {
			n, beyond = n-1, true
		}
		return t.rereadPage(ctx, page[:n])
	})
	switch {
	case errors.Is(err, errAnew):
		return errors.Join(err, t.anew(ctx, from))
	case err != nil:
		return err
	case beyond:
		return t.skip(ctx, until)
	}
	p, err := t.skipExpired(ctx, until)
	switch {
	case err != nil || t.at.Sequence >= until-1:
		return err
	case p.Last < until-1:
		return t.ends(p, next)
	}
	return fmt.Errorf("the hub says that it has event %d, and did not give it", t.at.Sequence+1)
}

// errAnew ends a rereading: the next try begins where the new hub begins.
var errAnew = errors.New("the event hub is another one than before")

func (t *taking) rereadPage(ctx context.Context, page []hub.Event) error {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < t.cfg.Deadline/10 || time.Now().After(t.patience) {
		return errPatience
	}
	for len(page) > 0 && page[0].Sequence <= t.at.Sequence {
		page = page[1:]
	}
	for len(page) > 0 {
		if err := t.skip(ctx, page[0].Sequence); err != nil {
			return err
		}
		n := 1
		for n < len(page) && page[n].Sequence == page[n-1].Sequence+1 {
			n++
		}
		if err := t.take(ctx, page[:n]); err != nil {
			return err
		}
		t.result.Reread += n
		page = page[n:]
	}
	return nil
}

// durable notes that the events up to and including e are durable. If its time is
// not believed, the partition stays as far in time as it is.
func (t *taking) durable(ctx context.Context, e *hub.Event) error {
	if t.former || t.at.Stored() && e.Sequence <= t.at.Sequence {
		return nil
	}
	to := progress.Event{Sequence: e.Sequence, Offset: e.Offset, Enqueued: e.Enqueued}
	if !t.believes(e) {
		to.Offset, to.Enqueued = "", t.at.Enqueued
	}
	var err error
	t.at, err = t.cfg.Progress.Advance(ctx, t.at, to)
	return err
}
