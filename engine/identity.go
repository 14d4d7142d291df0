package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"sluice/store"
)

const (
	tablesPrefix = "sluice" // of every table of a store, its journal's too
	configTable  = "sluiceconfig"
	listTable    = "sluicelists"
	leafTables   = "sluiceleaves" // and the day, yyyymmdd

	configPartition = "config"  // of the config table's rows
	identityKey     = "store"   // what the store was made with; in the first account
	markKey         = "account" // whose an account is; in the others

	hashName = "xxh64"

	// The config row of a store over one account has format 1 and no map.
	formatOne      = 1
	formatAccounts = 2
)

// identity is the config row: what a store was made with, once and for ever.
type identity struct {
	id              string
	shards, buckets int
	accounts        int
	places          []int  // of each shard: its account
	names           string // of the accounts, as they were then
	made            bool   // every account is marked: one without its mark is another
	etag            store.ETag
}

// identify makes the store if it is new and reads what it was made with. Of
// several first starts one inserts the row and all read it; whichever comes to
// its end marks the accounts. Each step may be done again, so that a start that
// died is completed by the next.
func identify(ctx context.Context, c Config) (identity, error) {
	if err := c.checkAccounts(); err != nil {
		return identity{}, err
	}
	row, err := c.readConfig(ctx)
	if absent(err) {
		row, err = c.beginStore(ctx)
	}
	if err != nil {
		return identity{}, fmt.Errorf("read the store's config: %w", err)
	}
	id, err := c.decodeIdentity(row)
	if err == nil {
		err = c.claimAccounts(ctx, id)
	}
	return id, err
}

func (c Config) checkAccounts() error {
	n := len(c.Accounts)
	names := slices.Clone(c.Names)
	slices.Sort(names)
	switch {
	case n == 0:
		return errors.New("no account to keep a store in")
	case n > c.Shards:
		return fmt.Errorf("%d accounts for %d shards: some would stay empty; give fewer accounts, or make the store with more shards", n, c.Shards)
	case names != nil && len(names) != n:
		return fmt.Errorf("%d names of %d accounts", len(names), n)
	case len(slices.Compact(names)) != len(c.Names):
		return fmt.Errorf("an account is given twice: %s", strings.Join(c.Names, ", "))
	}
	return nil
}

// name is an account as messages have it.
func (c Config) name(account int) string {
	if c.Names == nil {
		return "account " + strconv.Itoa(account+1)
	}
	return "account " + c.Names[account]
}

func (c Config) readConfig(ctx context.Context) (store.Row, error) {
	return c.Accounts[0].Get(ctx, configTable, configPartition, identityKey)
}

// beginStore inserts the config row, if nothing else is in the way. What was
// seen in an account may be this store's own, made meanwhile by another
// instance: then its config row is there by now, for that comes first.
func (c Config) beginStore(ctx context.Context) (store.Row, error) {
	for i := range c.Accounts {
		if err := c.checkVacant(ctx, i); err != nil {
			if row, again := c.readConfig(ctx); again == nil {
				return row, nil
			}
			return store.Row{}, err
		}
	}
	if err := makeTables(ctx, c.Accounts[0]); err != nil {
		return store.Row{}, err
	}
	if err := makeFloor(ctx, c); err != nil {
		return store.Row{}, err
	}
	op := store.Op{Kind: store.Insert, Key: identityKey, Properties: c.newIdentity()}
	err := c.Accounts[0].Commit(ctx, configTable, configPartition, []store.Op{op})
	if err != nil && !errors.Is(err, store.ErrExists) {
		return store.Row{}, fmt.Errorf("insert the config: %w", err)
	}
	return c.readConfig(ctx)
}

func makeTables(ctx context.Context, rows store.Rows) error {
	for _, table := range []string{configTable, listTable} {
		if err := rows.CreateTable(ctx, table); err != nil {
			return fmt.Errorf("make table %s: %w", table, err)
		}
	}
	return nil
}

// newIdentity is the config row of a store that is made with these settings.
// Shards are dealt to the accounts in turn.
func (c Config) newIdentity() []store.Property {
	properties := []store.Property{
		{Name: "buckets", Value: int64(c.Buckets)},
		{Name: "format", Value: int64(formatOne)},
		{Name: "hash", Value: hashName},
		{Name: "id", Value: c.NewID()},
		{Name: "shards", Value: int64(c.Shards)},
	}
	if len(c.Accounts) == 1 {
		return properties
	}
	places := make([]string, c.Shards)
	for shard := range places {
		places[shard] = strconv.Itoa(shard % len(c.Accounts))
	}
	properties[1].Value = int64(formatAccounts)
	properties = append(properties,
		store.Property{Name: "accounts", Value: int64(len(c.Accounts))},
		store.Property{Name: "made", Value: false},
		store.Property{Name: "names", Value: strings.Join(c.Names, ", ")},
		store.Property{Name: "places", Value: strings.Join(places, ",")})
	sortProperties(properties)
	return properties
}

// decodeIdentity reads the config row and holds it against the settings.
func (c Config) decodeIdentity(row store.Row) (identity, error) {
	format := row.Int("format")
	id := identity{
		id: row.Text("id"), shards: int(row.Int("shards")), buckets: int(row.Int("buckets")),
		accounts: 1, made: true, etag: row.ETag,
	}
	if format == formatAccounts {
		id.accounts, id.names = int(row.Int("accounts")), row.Text("names")
		id.made, _ = row.Property("made").(bool)
	}
	switch hash := row.Text("hash"); {
	case format > formatAccounts:
		return id, fmt.Errorf("%w: %d, this version reads up to %d", ErrFormat, format, formatAccounts)
	case format < formatOne || id.id == "":
		return id, fmt.Errorf("%w: row %s of table %s in %s is none of a store's: the table is something else's, or damaged; use another account",
			ErrCorrupt, identityKey, configTable, c.name(0))
	case id.shards != c.Shards:
		return id, fmt.Errorf("%w: it has %d shards, the settings say %d; set SLUICE_SHARDS=%d or use another store",
			ErrMismatch, id.shards, c.Shards, id.shards)
	case hash != hashName:
		return id, fmt.Errorf("%w: it places devices by %q, this version by %q", ErrMismatch, hash, hashName)
	case id.buckets < 1:
		return id, fmt.Errorf("%w: the config row says %d buckets", ErrCorrupt, id.buckets)
	case id.accounts != len(c.Accounts):
		return id, c.otherAccounts(id)
	}
	return id, id.decodePlaces(row.Text("places"))
}

func (c Config) otherAccounts(id identity) error {
	them, us := "", ""
	if id.names != "" {
		them = " (" + id.names + ")"
	}
	if c.Names != nil {
		us = " (" + strings.Join(c.Names, ", ") + ")"
	}
	return fmt.Errorf("%w: store %s in %s lies in %d accounts%s, the settings give %d%s; give all of its accounts, in their order, or use other ones",
		ErrMismatch, id.id, c.name(0), id.accounts, them, len(c.Accounts), us)
}

// decodePlaces reads the map from shards to accounts.
func (id *identity) decodePlaces(text string) error {
	id.places = make([]int, id.shards)
	if id.accounts == 1 {
		return nil
	}
	parts := strings.Split(text, ",")
	if len(parts) != id.shards {
		return fmt.Errorf("%w: the config row places %d shards of %d", ErrCorrupt, len(parts), id.shards)
	}
	for shard, part := range parts {
		account, err := strconv.Atoi(part)
		if err != nil || account < 0 || account >= id.accounts {
			return fmt.Errorf("%w: the config row places shard %d in account %q of %d", ErrCorrupt, shard, part, id.accounts)
		}
		id.places[shard] = account
	}
	return nil
}
