package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"sluice/store"
)

// Format is the version of everything that this code writes: the config row
// carries it, and every leaf and page of a list.
const Format = 1

// Config says over what and how an Engine works. Rows, Journal and Now are
// needed, the rest has defaults.
type Config struct {
	Rows    store.Rows
	Journal store.Journal
	// Now is the wall clock.
	Now func() time.Time
	// NewID names a store that is made.
	NewID func() string
	// Shards and Buckets are fixed when the store is made; Shards must be the
	// same at every later start (ErrMismatch), Buckets is then read from it.
	Shards, Buckets int
	// Retention is how long readings are kept; 0: for ever.
	Retention time.Duration
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

const (
	configTable = "sluiceconfig"
	listTable   = "sluicelists"
	leafTables  = "sluiceleaves" // and the day, yyyymmdd
	hashName    = "xxh64"
)

// identity is the config row: what a store was made with, once and for ever.
type identity struct {
	id              string
	shards, buckets int
}

// identify makes the store if it is new and reads what it was made with. Of
// several first starts one inserts the row and all read it.
func identify(ctx context.Context, c Config) (identity, error) {
	row, err := c.Rows.Get(ctx, configTable, "config", "store")
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrTableNotFound) {
		row, err = makeStore(ctx, c)
	}
	if err != nil {
		return identity{}, fmt.Errorf("read the store's config: %w", err)
	}
	return checkIdentity(row, c)
}

func makeStore(ctx context.Context, c Config) (store.Row, error) {
	for _, table := range []string{configTable, listTable} {
		if err := c.Rows.CreateTable(ctx, table); err != nil {
			return store.Row{}, fmt.Errorf("make table %s: %w", table, err)
		}
	}
	if err := makeFloor(ctx, c); err != nil {
		return store.Row{}, err
	}
	err := c.Rows.Commit(ctx, configTable, "config", []store.Op{{Kind: store.Insert, Key: "store", Properties: []store.Property{
		{Name: "buckets", Value: int64(c.Buckets)},
		{Name: "format", Value: int64(Format)},
		{Name: "hash", Value: hashName},
		{Name: "id", Value: c.NewID()},
		{Name: "shards", Value: int64(c.Shards)},
	}}})
	if err != nil && !errors.Is(err, store.ErrExists) {
		return store.Row{}, fmt.Errorf("insert the config: %w", err)
	}
	return c.Rows.Get(ctx, configTable, "config", "store")
}

func checkIdentity(row store.Row, c Config) (identity, error) {
	if v := intOf(row, "format"); v != Format {
		return identity{}, fmt.Errorf("%w: %d, this version reads up to %d", ErrFormat, v, Format)
	}
	id := identity{id: textOf(row, "id"), shards: int(intOf(row, "shards")), buckets: int(intOf(row, "buckets"))}
	switch hash := textOf(row, "hash"); {
	case id.shards != c.Shards:
		return identity{}, fmt.Errorf("%w: it has %d shards, the settings say %d; set SLUICE_SHARDS=%d or use another store",
			ErrMismatch, id.shards, c.Shards, id.shards)
	case hash != hashName:
		return identity{}, fmt.Errorf("%w: it places devices by %q, this version by %q", ErrMismatch, hash, hashName)
	case id.buckets < 1:
		return identity{}, fmt.Errorf("%w: the config row says %d buckets", ErrCorrupt, id.buckets)
	}
	return id, nil
}

func property(row store.Row, name string) any {
	for _, p := range row.Properties {
		if p.Name == name {
			return p.Value
		}
	}
	return nil
}

// intOf reads an integer property, 0 without. (A table may give small ones
// back as another type, or as text.)
func intOf(row store.Row, name string) int64 {
	switch v := property(row, name).(type) {
	case int64:
		return v
	case string:
		n, _ := strconv.ParseInt(v, 10, 64)
		return n
	}
	return 0
}

func textOf(row store.Row, name string) string {
	s, _ := property(row, name).(string)
	return s
}

func bytesOf(row store.Row, name string) []byte {
	b, _ := property(row, name).([]byte)
	return b
}
