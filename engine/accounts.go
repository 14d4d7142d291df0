package engine

import (
	"context"
	"fmt"

	"sluice/store"
)

// mark is the row that says whose an account is. The first one has the config
// row instead.
type mark struct {
	format        int64
	id            string
	index, number int
}

func (c Config) readMark(ctx context.Context, account int) (mark, error) {
	row, err := c.Accounts[account].Get(ctx, configTable, configPartition, markKey)
	return mark{row.Int("format"), row.Text("id"), int(row.Int("index")), int(row.Int("accounts"))}, err
}

// claimAccounts makes sure that every account is the one that it was when the
// store was made. Until all of them are marked, accounts without anything in
// them are marked; afterwards one without its mark is another one.
func (c Config) claimAccounts(ctx context.Context, id identity) error {
	for i := 1; i < len(c.Accounts); i++ {
		m, err := c.readMark(ctx, i)
		switch {
		case absent(err) && id.made:
			return c.explainUnmarked(ctx, i, id)
		case absent(err):
			m, err = c.claim(ctx, i, id)
		}
		if err == nil {
			err = c.checkMark(i, m, id)
		}
		if err != nil {
			return fmt.Errorf("read the mark of %s: %w", c.name(i), err)
		}
	}
	if id.made {
		return nil
	}
	op := store.Op{Kind: store.Touch, Key: identityKey, IfMatch: id.etag, Properties: []store.Property{{Name: "made", Value: true}}}
	err := c.Accounts[0].Commit(ctx, configTable, configPartition, []store.Op{op})
	if err != nil && !refused(err) { // refused: another instance came to this end
		return fmt.Errorf("write that all accounts are marked: %w", err)
	}
	return nil
}

// claim marks an account.
func (c Config) claim(ctx context.Context, account int, id identity) (mark, error) {
	if err := c.checkVacant(ctx, account); err != nil {
		// Another instance may have marked it meanwhile and gone on: the mark is there
		// before anything else.
		if m, again := c.readMark(ctx, account); again == nil {
			return m, nil
		}
		return mark{}, err
	}
	rows := c.Accounts[account]
	if err := makeTables(ctx, rows); err != nil {
		return mark{}, err
	}
	op := store.Op{Kind: store.Insert, Key: markKey, Properties: []store.Property{
		{Name: "accounts", Value: int64(id.accounts)},
		{Name: "format", Value: int64(formatAccounts)},
		{Name: "id", Value: id.id},
		{Name: "index", Value: int64(account)},
	}}
	if err := rows.Commit(ctx, configTable, configPartition, []store.Op{op}); err != nil && !refused(err) {
		return mark{}, fmt.Errorf("insert: %w", err)
	}
	return c.readMark(ctx, account)
}

// checkMark holds an account's mark against the store.
func (c Config) checkMark(account int, m mark, id identity) error {
	switch {
	case m.format > formatAccounts:
		return fmt.Errorf("%w: %d, this version reads up to %d", ErrFormat, m.format, formatAccounts)
	case m.id == "":
		return fmt.Errorf("%w: row %s of table %s is none of a store's", ErrCorrupt, markKey, configTable)
	case m.id != id.id:
		return fmt.Errorf("%w: %s belongs to another store, %s, as number %d of its %d accounts; the settings give it to store %s as number %d",
			ErrMismatch, c.name(account), m.id, m.index+1, m.number, id.id, account+1)
	case m.index != account:
		return fmt.Errorf("%w: %s is number %d of the store's accounts, the settings have it as number %d; give them in the order in which the store was made",
			ErrMismatch, c.name(account), m.index+1, account+1)
	case m.number != id.accounts:
		return fmt.Errorf("%w: the mark of %s speaks of %d accounts, the config row of %d", ErrCorrupt, c.name(account), m.number, id.accounts)
	}
	return nil
}

// explainUnmarked says what an account is that should have a mark.
func (c Config) explainUnmarked(ctx context.Context, account int, id identity) error {
	row, err := c.Accounts[account].Get(ctx, configTable, configPartition, identityKey)
	switch {
	case err == nil && row.Text("id") == id.id:
		return fmt.Errorf("%w: %s and %s are one, the first account of store %s; give each of its accounts once", ErrMismatch, c.name(0), c.name(account), id.id)
	case err == nil:
		return fmt.Errorf("%w: %s is the first account of another store, %s; the settings give it to store %s as number %d",
			ErrMismatch, c.name(account), row.Text("id"), id.id, account+1)
	case !absent(err):
		return err
	}
	return fmt.Errorf("%w: %s has no mark of store %s, of which it should be number %d: it is another account, or its tables were deleted; give the store's accounts in their order",
		ErrMismatch, c.name(account), id.id, account+1)
}

// checkVacant makes sure that an account has nothing in it that a store which
// is made would be mixed with, or hide.
func (c Config) checkVacant(ctx context.Context, account int) error {
	m, err := c.readMark(ctx, account)
	switch {
	case err == nil:
		return fmt.Errorf("%w: %s is number %d of the %d accounts of store %s, the settings have it as number %d of a new one; give a store's accounts in the order in which it was made",
			ErrMismatch, c.name(account), m.index+1, m.number, m.id, account+1)
	case !absent(err):
		return err
	}
	if account > 0 {
		row, err := c.Accounts[account].Get(ctx, configTable, configPartition, identityKey)
		if err == nil {
			return fmt.Errorf("%w: %s is the first account of store %s, the settings have it as number %d of another one",
				ErrMismatch, c.name(account), row.Text("id"), account+1)
		}
		if !absent(err) {
			return err
		}
	}
	return c.checkEmpty(ctx, account)
}

// checkEmpty looks for tables and rows of which no config row or mark says what
// they are.
func (c Config) checkEmpty(ctx context.Context, account int) error {
	for token, first := "", true; first || token != ""; first = false {
		tables, next, err := c.Accounts[account].Tables(ctx, tablesPrefix, token)
		if err != nil {
			return fmt.Errorf("list the tables of %s: %w", c.name(account), err)
		}
		for _, table := range tables {
			if err := c.checkTable(ctx, account, table); err != nil {
				return err
			}
		}
		token = next
	}
	return nil
}

// checkTable allows the tables that a start which died has left.
func (c Config) checkTable(ctx context.Context, account int, table string) error {
	if table != configTable && table != listTable {
		return c.occupied(account, "table "+table)
	}
	for token, first := "", true; first || token != ""; first = false {
		page, err := c.Accounts[account].Scan(ctx, table, store.Range{Limit: 2, Select: []string{"format"}}, token)
		if absent(err) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("look into table %s of %s: %w", table, c.name(account), err)
		}
		for _, row := range page.Rows {
			if table != configTable || row.Partition != configPartition || row.Key != floorKey {
				return c.occupied(account, fmt.Sprintf("row %q %q of table %s", row.Partition, row.Key, table))
			}
		}
		token = page.Next
	}
	return nil
}

func (c Config) occupied(account int, what string) error {
	return fmt.Errorf("%w: %s has %s, but no row that says to which store that belongs: it is something else's, or what is left of a store; use another account, or remove the tables whose names begin with %q",
		ErrMismatch, c.name(account), what, tablesPrefix)
}
