package consume

import (
	"time"

	"sluice/hub"
	"sluice/telemetry"
)

// Times from firstYear on and before endYear can be counted in nanoseconds, and
// so can what is reckoned from them.
const (
	firstYear = 2000
	endYear   = 2200
)

// ahead is how far beyond this machine's clock the time of an event is believed.
// Clocks that differ by more have no business with the hub: their tokens are refused.
const ahead = time.Hour

// timed is events without those times that no hub can have given: metadata is
// broken then, and that must not keep the partition. Events of ours do not need
// theirs.
func timed(events []hub.Event) []hub.Event {
	copied := false
	for i := range events {
		if year := events[i].Enqueued.UTC().Year(); year >= firstYear && year < endYear || events[i].Enqueued.IsZero() {
			continue
		}
		if !copied {
			events, copied = append([]hub.Event(nil), events...), true
		}
		events[i].Enqueued = time.Time{}
	}
	return events
}

// believes says whether the time of an event, one of timed, tells how far the
// partition is: one in the future would say that all before it is consumed.
func (c *Consumer) believes(e *hub.Event) bool {
	return !e.Enqueued.IsZero() && e.Enqueued.Sub(c.cfg.Now()) <= ahead
}

// checkTime refuses an event without a time: its window and its stamps are made of
// it.
func checkTime(e *hub.Event) *telemetry.Refusal {
	if e.Enqueued.IsZero() {
		return telemetry.Refuse(telemetry.CorruptEvent, "the hub does not say when it had the event, or says a time that cannot be")
	}
	return nil
}
