package engine

import (
	"context"
	"fmt"

	"sluice/store"
)

// CheckAccount asks an account whether it is still the one that the engine was
// opened over, and, with write, whether it takes writes: one request each.
// ErrMismatch if it is not, and the store's errors.
func (e *Engine) CheckAccount(ctx context.Context, account int, write bool) error {
	rows := e.config.Accounts[account]
	key := markKey
	if account == 0 {
		key = identityKey
	}
	row, err := rows.Get(ctx, configTable, configPartition, key)
	switch {
	case absent(err):
		return fmt.Errorf("%w: the store is gone from %s", ErrMismatch, e.config.name(account))
	case err != nil:
		return err
	case row.Text("id") != e.id:
		return fmt.Errorf("%w: %s belongs to another store now", ErrMismatch, e.config.name(account))
	case !write:
		return nil
	}
	return rows.Commit(ctx, configTable, probePartition, []store.Op{{Kind: store.Put, Key: probeKey}})
}

// What CheckAccount writes: a row that says nothing.
const (
	probePartition = "probe"
	probeKey       = "probe"
)
