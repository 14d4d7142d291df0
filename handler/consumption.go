package main

import (
	"context"
	"time"

	"sluice/consume"
)

// hubState is what the status says of the Event Hub.
type hubState struct {
	Namespace     string `json:"namespace"`
	Name          string `json:"name"`
	ConsumerGroup string `json:"consumerGroup"`
	// Breaker is "open" while nothing is sent, since the hub does not take it, else
	// "closed".
	Breaker string `json:"breaker"`
	Reason  string `json:"reason,omitempty"`
}

// consumption is how far the hub is consumed, by whichever process, as of some
// seconds ago.
type consumption struct {
	By   string     `json:"by"` // SLUICE_CONSUME of this process
	AsOf *time.Time `json:"asOf"`
	// Lag is of all partitions together, Seconds of the one that is furthest behind;
	// nil while there is a Reason: an old lag is none.
	Lag        *int64           `json:"lagEvents"`
	Seconds    *int64           `json:"lagSeconds"`
	Lost       int64            `json:"lostEvents"` // expired in the hub before they were consumed
	Partitions []partitionState `json:"partitions"`
	Reason     string           `json:"reason,omitempty"` // why that is not known, or not newer
}

type partitionState struct {
	Partition string     `json:"partition"`
	Sequence  int64      `json:"sequenceNumber"` // of the last event that is durable; -1: none
	Enqueued  *time.Time `json:"enqueuedAt"`     // when the hub got it
	Last      int64      `json:"lastSequenceNumber"`
	Lag       int64      `json:"lagEvents"`
	// Seconds are between that event and the last one that the hub has.
	Seconds int64 `json:"lagSeconds"`
	Lost    int64 `json:"lostEvents"`
	// Rereading is the event before which all are read again from the hub, as the
	// trigger left them out.
	Rereading *int64 `json:"rereadingUntil,omitempty"`
}

// hubState describes the hub, without asking it; nil without one.
func (g *ground) hubState() *hubState {
	if g.hub == nil {
		return nil
	}
	s := &hubState{Namespace: g.hub.Namespace(), Name: g.hub.Name(), ConsumerGroup: g.hub.ConsumerGroup(), Breaker: "closed"}
	if err := g.hub.Away(); err != nil {
		s.Breaker, s.Reason = "open", err.Error()
	}
	return s
}

// consumption is nil without a hub.
func (h *house) consumption(ctx context.Context) *consumption {
	if h.hub == nil {
		return nil
	}
	c := &consumption{By: string(h.settings.Consume), Partitions: []partitionState{}}
	lags, asOf, err := h.frontier.Lags(ctx)
	c.AsOf = known(asOf)
	lag, seconds := c.count(lags)
	if err != nil {
		c.Reason = err.Error()
	} else {
		c.Lag, c.Seconds = &lag, &seconds
	}
	return c
}

// count lists the partitions, and says how far all of them are behind.
func (c *consumption) count(lags []consume.Lag) (lag, seconds int64) {
	for _, l := range lags {
		s := partitionState{
			Partition: l.Partition, Sequence: l.Sequence, Enqueued: known(l.Enqueued), Last: l.Last,
			Lag: l.Events, Seconds: int64(l.Behind.Seconds()), Lost: l.Lost,
		}
		if l.Until > 0 {
			s.Rereading = &l.Until
		}
		c.Partitions = append(c.Partitions, s)
		lag, seconds, c.Lost = lag+s.Lag, max(seconds, s.Seconds), c.Lost+s.Lost
	}
	return lag, seconds
}

// letterState is how many dead letters wait.
type letterState struct {
	Count int `json:"count"`
	// More says that there are others, which were not counted.
	More   bool   `json:"more,omitempty"`
	Reason string `json:"reason,omitempty"` // why they could not be counted
}

func (h *house) letterState(ctx context.Context) *letterState {
	n, more, err := h.deadletters.Count(ctx)
	if err != nil {
		return &letterState{Reason: err.Error()}
	}
	return &letterState{Count: n, More: more}
}
