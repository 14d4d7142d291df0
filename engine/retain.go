package engine

import (
	"context"
	"fmt"
	"slices"

	"sluice/store"
)

// Retain raises the floor of retention, drops the tables of days below it, and
// frees the journal of what was merged.
func (e *Engine) Retain(ctx context.Context) error {
	oldest, err := e.oldestEpoch(ctx)
	if err != nil {
		return err
	}
	begun := e.now()
	row, err := raiseFloor(ctx, e.config, oldest)
	if err != nil {
		return err
	}
	e.floor.keep(row, begun)
	for _, rows := range e.config.Accounts {
		if err := e.dropDays(ctx, rows, row.floor); err != nil {
			return err
		}
	}
	if err := e.journal.Drop(ctx, e.shards); err != nil {
		return fmt.Errorf("free the journal: %w", err)
	}
	return nil
}

// dropDays drops the tables of days below the floor in one account.
func (e *Engine) dropDays(ctx context.Context, rows store.Rows, floor int64) error {
	days, err := leafDays(ctx, rows)
	if err != nil {
		return err
	}
	for _, d := range days {
		if (d+1)*nanosPerDay > floor {
			continue
		}
		if err := rows.DropTable(ctx, leafTable(d)); err != nil {
			return fmt.Errorf("drop %s: %w", leafTable(d), err)
		}
		e.log.Info("dropped a day below the floor of retention", "table", leafTable(d))
	}
	return nil
}

// oldestEpoch is since when everything was appended that is not merged: when the
// oldest epoch was opened, or when it was asked, for a shard may begin its first
// epoch meanwhile.
func (e *Engine) oldestEpoch(ctx context.Context) (int64, error) {
	oldest := e.now().UnixNano()
	for shard := range e.shards {
		head, err := e.journal.Head(ctx, shard)
		if err != nil {
			return 0, fmt.Errorf("read the head of shard %d: %w", shard, err)
		}
		if len(head.Epochs) > 0 {
			oldest = min(oldest, head.Epochs[0].Opened)
		}
	}
	return oldest, nil
}

// leafDays lists the days of which an account has a table of leaves, ascending.
func leafDays(ctx context.Context, rows store.Rows) ([]int64, error) {
	var days []int64
	for token, first := "", true; first || token != ""; first = false {
		tables, next, err := rows.Tables(ctx, leafTables, token)
		if err != nil {
			return nil, fmt.Errorf("list the tables of days: %w", err)
		}
		for _, t := range tables {
			if d, ok := dayOfTable(t); ok {
				days = append(days, d)
			}
		}
		token = next
	}
	slices.Sort(days)
	return days, nil
}
