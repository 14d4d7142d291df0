package storetest

import (
	"context"
	"slices"

	"sluice/store"
)

// FaultyRows is a store.Rows whose faults a test decides, call by call. It has
// no randomness and no goroutines of its own. What was cut off a page is kept,
// as it was read, for the page that follows.
type FaultyRows struct {
	faults
	rows   store.Rows
	pages  remains[store.Row]
	tables remains[string]
}

var _ store.Rows = (*FaultyRows)(nil)

// NewFaultyRows wraps rows.
func NewFaultyRows(rows store.Rows, hook Hook) *FaultyRows {
	return &FaultyRows{rows: rows, faults: faults{hook: hook}}
}

// CreateTable implements store.Rows.
func (f *FaultyRows) CreateTable(ctx context.Context, table string) error {
	return f.write(Call{Context: ctx, Method: "CreateTable", Table: table}, func(ctx context.Context) error {
		return f.rows.CreateTable(ctx, table)
	})
}

// DropTable implements store.Rows.
func (f *FaultyRows) DropTable(ctx context.Context, table string) error {
	return f.write(Call{Context: ctx, Method: "DropTable", Table: table}, func(ctx context.Context) error {
		return f.rows.DropTable(ctx, table)
	})
}

// Tables implements store.Rows.
func (f *FaultyRows) Tables(ctx context.Context, prefix, token string) (names []string, next string, err error) {
	err = f.read(Call{Context: ctx, Method: "Tables", Table: prefix, Token: token}, func(v Verdict) error {
		names, next, err = f.tables.page(v, token, func() ([]string, string, error) {
			return f.rows.Tables(ctx, prefix, token)
		})
		return err
	})
	return names, next, err
}

// Get implements store.Rows.
func (f *FaultyRows) Get(ctx context.Context, table, partition, key string) (row store.Row, err error) {
	c := Call{Context: ctx, Method: "Get", Table: table, Partition: partition, Key: key}
	err = f.read(c, func(Verdict) error {
		row, err = f.rows.Get(ctx, table, partition, key)
		return err
	})
	return row, err
}

// Scan implements store.Rows.
func (f *FaultyRows) Scan(ctx context.Context, table string, r store.Range, token string) (p store.Page, err error) {
	c := Call{Context: ctx, Method: "Scan", Table: table, Partition: r.PartitionFrom, Key: r.KeyFrom, Range: r, Token: token}
	err = f.read(c, func(v Verdict) error {
		p.Rows, p.Next, err = f.pages.page(v, token, func() ([]store.Row, string, error) {
			p, err := f.rows.Scan(ctx, table, r, token)
			return p.Rows, p.Next, err
		})
		return err
	})
	return p, err
}

// Commit implements store.Rows.
func (f *FaultyRows) Commit(ctx context.Context, table, partition string, ops []store.Op) error {
	ops = cloneOps(ops) // it may land when the caller has them no more
	c := Call{Context: ctx, Method: "Commit", Table: table, Partition: partition, Ops: ops}
	return f.write(c, func(ctx context.Context) error { return f.rows.Commit(ctx, table, partition, ops) })
}

func cloneOps(ops []store.Op) []store.Op {
	out := slices.Clone(ops)
	for i := range out {
		out[i].Properties = store.CloneProperties(out[i].Properties)
	}
	return out
}
