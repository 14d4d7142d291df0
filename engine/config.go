package engine

import (
	"context"
	"log/slog"
	"time"

	"sluice/store"
)

// Format is the version of the leaves and pages of lists that this code
// writes: each carries it.
const Format = 1

// Config says over what and how an Engine works. Accounts, Journal and Now are
// needed, the rest has defaults.
type Config struct {
	// Accounts are the stores of rows over which the shards are spread when the
	// store is made: as many, and in the same order, at every later start
	// (ErrMismatch). The embedded store is one.
	Accounts []store.Rows
	// Names are the accounts' names for messages, without secrets, each once; nil:
	// their numbers.
	Names []string
	// Journal makes the journal. rows says in which account a shard lies: its head
	// and journal lie there too.
	Journal func(rows func(shard int) store.Rows) (store.Journal, error)
	// Now is the wall clock.
	Now func() time.Time
	// NewID names a store that is made.
	NewID func() string
	// Shards and Buckets are fixed when the store is made; Shards must be the
	// same at every later start (ErrMismatch), Buckets is then read from it.
	Shards, Buckets int
	// Retention is how long readings are kept; 0: for ever.
	Retention time.Duration
	// Consumed says how far a hub is consumed in which accepted readings wait for
	// AppendQueued, by whichever instance: all that it had confirmed before upTo is
	// durable in the journal. Never too late a time; an error where that is not
	// known. The floor of retention waits for it; what it rests on may be cached by
	// whoever gives it. nil: there is no hub.
	Consumed func(ctx context.Context) (upTo time.Time, err error)
	// Merge is how often a shard's journal is merged by Run, MergeBytes the
	// unmerged bytes of a shard that were appended here which bring it forward.
	Merge      time.Duration
	MergeBytes int64
	// TailBytes bounds the decoded tail that is kept for readers.
	TailBytes int64
	// Parallel is how many shards are merged at a time; at 1 every call of the
	// store is made by the caller's own goroutine.
	Parallel int
	Logger   *slog.Logger

	limits *limits // nil: defaultLimits
}

// Given is the Journal of a Config for a journal that there is already.
func Given(j store.Journal) func(func(shard int) store.Rows) (store.Journal, error) {
	return func(func(int) store.Rows) (store.Journal, error) { return j, nil }
}

func (c Config) withDefaults() Config {
	def := func(v *int, to int) {
		if *v == 0 {
			*v = to
		}
	}
	def(&c.Shards, 8)
	def(&c.Buckets, 1)
	def(&c.Parallel, 1)
	if c.Merge == 0 {
		c.Merge = 30 * time.Second
	}
	if c.MergeBytes == 0 {
		c.MergeBytes = 4 << 20
	}
	if c.TailBytes == 0 {
		c.TailBytes = 128 << 20
	}
	if c.limits == nil {
		l := defaultLimits()
		c.limits = &l
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}
