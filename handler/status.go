package main

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"sluice/engine"
)

// status is the answer of /api/v1/status.
type status struct {
	Version string     `json:"version"`
	Started time.Time  `json:"started"`
	Uptime  int64      `json:"uptimeSeconds"`
	Store   storeState `json:"store"`
	Shards  []shard    `json:"shards"`
	// Lag is the age of the oldest readings that are not merged yet, at most.
	Lag    int64       `json:"lagSeconds"`
	Limits limitsState `json:"limits"`
	// Of the Event Hub, if there is one.
	Hub         *hubState    `json:"eventhub,omitempty"`
	Consumption *consumption `json:"consumption,omitempty"`
	DeadLetters *letterState `json:"deadletters,omitempty"`
}

type storeState struct {
	Kind  string    `json:"kind,omitempty"` // embedded or tables
	ID    string    `json:"id,omitempty"`
	Floor time.Time `json:"floor,omitzero"` // nothing earlier is kept
	// Of the embedded store: its files, and what is free of the disk (0 where it
	// does not tell).
	Bytes *uint64 `json:"bytes,omitempty"`
	Free  *uint64 `json:"freeBytes,omitempty"`
	// Of tables.
	Accounts []accountState `json:"accounts,omitempty"`
	Reason   string         `json:"reason,omitempty"`           // why the shards could not be read, or the store not opened
	Skew     *float64       `json:"clockSkewSeconds,omitempty"` // the store's clock minus this machine's
}

// accountState is what an account answered when it was last asked.
type accountState struct {
	Name      string `json:"name"`
	Reachable bool   `json:"reachable"`
	// Breaker is "open" while calls fail at once because the account does not
	// answer, else "closed".
	Breaker string `json:"breaker,omitempty"`
	Reason  string `json:"reason,omitempty"`
}

// statusWithin bounds how long a status waits for the store.
const statusWithin = 5 * time.Second

type shard struct {
	Epochs     int        `json:"epochs"` // of the head
	Oldest     *time.Time `json:"oldest"` // when the first of them was opened
	Unmerged   int64      `json:"unmergedBytes"`
	LastMerged *time.Time `json:"lastMerged"`
	LastError  string     `json:"lastError,omitempty"`
	// Carried are the devices whose rows the store refused in the last merge: what
	// they have stays in the journal.
	Carried int `json:"carriedDevices"`
}

const statusPath = "/api/v1/status"

var statusMethods = []string{http.MethodGet, http.MethodHead}

// statusHandler answers with what ask says. It is there before the store is open,
// too.
func statusHandler(ask func(context.Context) (status, error), l *life) echo.HandlerFunc {
	return func(c echo.Context) error {
		answer, err := ask(c.Request().Context())
		if err != nil {
			return err
		}
		answer.Version, answer.Started = versionText(), l.started.UTC()
		answer.Uptime = int64(time.Since(l.started).Seconds())
		c.Response().Header().Set("Cache-Control", "no-store")
		return c.JSON(http.StatusOK, answer)
	}
}

// status is what there is to say without a house.
func (f *front) status(context.Context) (status, error) {
	answer := status{Shards: []shard{}, Limits: f.ground.limitsState(), Hub: f.ground.hubState()}
	if err := f.whyNotOpen(); err != nil {
		answer.Store.Reason = err.Error()
	}
	return answer, nil
}

func (h *house) status(ctx context.Context) (status, error) {
	answer := status{
		Shards: []shard{}, Store: storeState{ID: h.engine.ID(), Floor: time.Unix(0, h.engine.Floor()).UTC()},
		Limits: h.limitsState(), Hub: h.hubState(),
	}
	if err := h.store.describe(ctx, &answer.Store); err != nil {
		return status{}, err
	}
	within, cancel := context.WithTimeout(ctx, statusWithin)
	defer cancel()
	var rest sync.WaitGroup
	rest.Go(func() { answer.Consumption = h.consumption(within) })
	rest.Go(func() { answer.DeadLetters = h.letterState(within) })
	e, err := h.engine.Status(within)
	rest.Wait()
	if err != nil { // an operator asks just then
		answer.Store.Reason = err.Error()
		return answer, nil
	}
	answer.Store.Floor = time.Unix(0, e.Floor).UTC()
	for _, s := range e.Shards {
		answer.Shards = append(answer.Shards, shardOf(s))
		if s.Appended > 0 && !s.Oldest.IsZero() {
			answer.Lag = max(answer.Lag, int64(time.Since(s.Oldest).Seconds()))
		}
	}
	return answer, nil
}

func shardOf(s engine.ShardStatus) shard {
	return shard{
		Epochs: s.Epochs, Oldest: known(s.Oldest), Unmerged: s.Appended,
		LastMerged: known(s.LastMerged), LastError: s.LastError, Carried: s.Carried,
	}
}

func known(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}
