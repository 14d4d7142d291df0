package fenced_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"sluice/store"
	"sluice/store/fenced"
	"sluice/store/storetest"
)

func over(t *testing.T, rows store.Rows) store.Journal {
	t.Helper()
	j, err := fenced.New(func(int) store.Rows { return rows }, fenced.Options{
		Sleep: func(ctx context.Context, _ time.Duration) error { return ctx.Err() },
	})
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func inMemory(t *testing.T) store.Journal { return over(t, &storetest.Memory{}) }

func TestConformance(t *testing.T) { storetest.RunJournal(t, inMemory) }

func TestConformanceFaults(t *testing.T) { storetest.RunJournalFaults(t, inMemory) }

// TestConformanceTwins: copies of writes that land late change nothing.
func TestConformanceTwins(t *testing.T) {
	storetest.RunJournalTwins(t, &storetest.Memory{}, over)
}

// fleet is several processes' journals over the same rows, used in turn, so
// that each one's memory of the newest epoch is often old.
type fleet struct {
	journals []store.Journal
	next     atomic.Int64
}

func newFleet(t *testing.T) store.Journal {
	f, rows := &fleet{}, &storetest.Memory{}
	for range 3 {
		f.journals = append(f.journals, over(t, rows))
	}
	return f
}

// TestConformanceFleet: several processes are one journal.
func TestConformanceFleet(t *testing.T) {
	storetest.RunJournal(t, newFleet)
	storetest.RunJournalFaults(t, newFleet)
}

func (f *fleet) one() store.Journal { return f.journals[f.next.Add(1)%int64(len(f.journals))] }

func (f *fleet) Head(ctx context.Context, shard int) (store.Head, error) {
	return f.one().Head(ctx, shard)
}

func (f *fleet) Append(ctx context.Context, shard int, entries []store.Entry) error {
	return f.one().Append(ctx, shard, entries)
}

func (f *fleet) Open(ctx context.Context, shard int, head store.Head) (store.Head, error) {
	return f.one().Open(ctx, shard, head)
}

func (f *fleet) Seal(ctx context.Context, shard int, epoch store.Epoch) error {
	return f.one().Seal(ctx, shard, epoch)
}

func (f *fleet) Tail(ctx context.Context, shard int, epoch store.Epoch, bucket int, token string) (store.EntryPage, error) {
	return f.one().Tail(ctx, shard, epoch, bucket, token)
}

func (f *fleet) Scan(ctx context.Context, shard int, epoch store.Epoch, token string) (store.EntryPage, error) {
	return f.one().Scan(ctx, shard, epoch, token)
}

func (f *fleet) Update(ctx context.Context, shard int, from, to store.Head) error {
	return f.one().Update(ctx, shard, from, to)
}

func (f *fleet) Drop(ctx context.Context, shards int) error { return f.one().Drop(ctx, shards) }
