// Package operations counts what the service asks of a table store, without
// noise: the engine and the fenced journal run over rows in memory, fleets of
// devices and the group commit are simulated in a clock of their own.
package operations

import (
	"context"
	"sync/atomic"

	"sluice/store"
)

// Counts are operations of a store: requests, of which writes are transactions,
// and the rows and bytes that they carry. Bytes are those of a transaction on
// Azure's wire, and of rows as read.
type Counts struct {
	Writes, RowsWritten, BytesWritten int64
	Reads, RowsRead, BytesRead        int64
}

// Requests are reads and writes.
func (c Counts) Requests() int64 { return c.Writes + c.Reads }

// Add adds other to c.
func (c *Counts) Add(other Counts) {
	c.Writes += other.Writes
	c.RowsWritten += other.RowsWritten
	c.BytesWritten += other.BytesWritten
	c.Reads += other.Reads
	c.RowsRead += other.RowsRead
	c.BytesRead += other.BytesRead
}

// Counter counts the operations of a store. It may be used concurrently.
type Counter struct {
	writes, rowsWritten, bytesWritten atomic.Int64
	reads, rowsRead, bytesRead        atomic.Int64
}

// Take returns what was counted since the last call.
func (c *Counter) Take() Counts {
	return Counts{
		Writes: c.writes.Swap(0), RowsWritten: c.rowsWritten.Swap(0), BytesWritten: c.bytesWritten.Swap(0),
		Reads: c.reads.Swap(0), RowsRead: c.rowsRead.Swap(0), BytesRead: c.bytesRead.Swap(0),
	}
}

func (c *Counter) wrote(rows, size int, err error) {
	c.writes.Add(1)
	if err == nil {
		c.rowsWritten.Add(int64(rows))
		c.bytesWritten.Add(int64(size))
	}
}

func (c *Counter) read(rows, size int) {
	c.reads.Add(1)
	c.rowsRead.Add(int64(rows))
	c.bytesRead.Add(int64(size))
}

// Rows returns rows whose operations are counted. It offers no lazy commits:
// rows of Azure have none, and each is counted.
func (c *Counter) Rows(rows store.Rows) store.Rows { return &countedRows{rows, c} }

type countedRows struct {
	store.Rows
	counter *Counter
}

func (r *countedRows) CreateTable(ctx context.Context, table string) error {
	err := r.Rows.CreateTable(ctx, table)
	r.counter.wrote(0, 0, err)
	return err
}

func (r *countedRows) DropTable(ctx context.Context, table string) error {
	err := r.Rows.DropTable(ctx, table)
	r.counter.wrote(0, 0, err)
	return err
}

func (r *countedRows) Tables(ctx context.Context, prefix, token string) ([]string, string, error) {
	r.counter.read(0, 0)
	return r.Rows.Tables(ctx, prefix, token)
}

func (r *countedRows) Get(ctx context.Context, table, partition, key string) (store.Row, error) {
	row, err := r.Rows.Get(ctx, table, partition, key)
	if err != nil {
		r.counter.read(0, 0)
	} else {
		r.counter.read(1, row.Size())
	}
	return row, err
}

func (r *countedRows) Scan(ctx context.Context, table string, of store.Range, token string) (store.Page, error) {
	page, err := r.Rows.Scan(ctx, table, of, token)
	size := 0
	for i := range page.Rows {
		size += page.Rows[i].Size()
	}
	r.counter.read(len(page.Rows), size)
	return page, err
}

func (r *countedRows) Commit(ctx context.Context, table, partition string, ops []store.Op) error {
	err := r.Rows.Commit(ctx, table, partition, ops)
	r.counter.wrote(len(ops), store.WireSize(partition, ops), err)
	return err
}

// Journal returns a journal whose operations are counted: each change as a
// transaction, an Append as one of a single row.
func (c *Counter) Journal(journal store.Journal) store.Journal { return &countedJournal{journal, c} }

type countedJournal struct {
	store.Journal
	counter *Counter
}

func (j *countedJournal) Head(ctx context.Context, shard int) (store.Head, error) {
	j.counter.read(1, 0)
	return j.Journal.Head(ctx, shard)
}

func (j *countedJournal) Append(ctx context.Context, shard int, entries []store.Entry) error {
	err := j.Journal.Append(ctx, shard, entries)
	j.counter.wrote(1, sizeOf(entries), err)
	return err
}

func (j *countedJournal) Open(ctx context.Context, shard int, head store.Head) (store.Head, error) {
	opened, err := j.Journal.Open(ctx, shard, head)
	j.counter.wrote(1, 0, err)
	return opened, err
}

func (j *countedJournal) Seal(ctx context.Context, shard int, e store.Epoch) error {
	err := j.Journal.Seal(ctx, shard, e)
	j.counter.wrote(1, 0, err)
	return err
}

func (j *countedJournal) Update(ctx context.Context, shard int, from, to store.Head) error {
	err := j.Journal.Update(ctx, shard, from, to)
	j.counter.wrote(1, 0, err)
	return err
}

func (j *countedJournal) Scan(ctx context.Context, shard int, e store.Epoch, token string) (store.EntryPage, error) {
	page, err := j.Journal.Scan(ctx, shard, e, token)
	j.counter.read(len(page.Entries), sizeOf(page.Entries))
	return page, err
}

func (j *countedJournal) Tail(ctx context.Context, shard int, e store.Epoch, bucket int, token string) (store.EntryPage, error) {
	page, err := j.Journal.Tail(ctx, shard, e, bucket, token)
	j.counter.read(len(page.Entries), sizeOf(page.Entries))
	return page, err
}

func sizeOf(entries []store.Entry) (n int) {
	for i := range entries {
		n += len(entries[i].Data)
	}
	return n
}
