package operations

import (
	"context"
	"fmt"
	"sync"

	"sluice/store"
	"sluice/store/storetest"
)

// partitions are rows in memory, each partition by itself: storetest.Memory
// moves all rows of a table for each that it inserts, and a day's journal is a
// long table. Scans are of one partition.
type partitions struct {
	tables storetest.Memory // which there are

	mu    sync.Mutex
	parts map[[2]string]*storetest.Memory
}

var _ store.Rows = (*partitions)(nil)

func (p *partitions) CreateTable(ctx context.Context, table string) error {
	return p.tables.CreateTable(ctx, table)
}

func (p *partitions) DropTable(ctx context.Context, table string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for at := range p.parts {
		if at[0] == table {
			delete(p.parts, at)
		}
	}
	return p.tables.DropTable(ctx, table)
}

func (p *partitions) Tables(ctx context.Context, prefix, token string) ([]string, string, error) {
	return p.tables.Tables(ctx, prefix, token)
}

// part is the memory of a partition, an empty one where the table is not there.
func (p *partitions) part(ctx context.Context, table, partition string) (store.Rows, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := [2]string{table, partition}
	if m := p.parts[at]; m != nil {
		return m, nil
	}
	m := &storetest.Memory{}
	names, _, err := p.tables.Tables(ctx, table, "")
	if err != nil || len(names) == 0 || names[0] != table {
		return m, err
	}
	if p.parts == nil {
		p.parts = map[[2]string]*storetest.Memory{}
	}
	p.parts[at] = m
	return m, m.CreateTable(ctx, table)
}

func (p *partitions) Get(ctx context.Context, table, partition, key string) (store.Row, error) {
	m, err := p.part(ctx, table, partition)
	if err != nil {
		return store.Row{}, err
	}
	return m.Get(ctx, table, partition, key)
}

func (p *partitions) Scan(ctx context.Context, table string, r store.Range, token string) (store.Page, error) {
	if r.PartitionTo != r.PartitionFrom+"\x00" {
		return store.Page{}, fmt.Errorf("scan of partitions %q to %q, not of one: %w", r.PartitionFrom, r.PartitionTo, store.ErrInvalid)
	}
	m, err := p.part(ctx, table, r.PartitionFrom)
	if err != nil {
		return store.Page{}, err
	}
	return m.Scan(ctx, table, r, token)
}

func (p *partitions) Commit(ctx context.Context, table, partition string, ops []store.Op) error {
	m, err := p.part(ctx, table, partition)
	if err != nil {
		return err
	}
	return m.Commit(ctx, table, partition, ops)
}
