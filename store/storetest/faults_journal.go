package storetest

import (
	"context"

	"sluice/store"
)

// FaultyJournal is a store.Journal whose faults a test decides, call by call.
// It has no randomness and no goroutines of its own. An Open whose answer is
// lost or comes late returns the zero head.
type FaultyJournal struct {
	faults
	journal store.Journal
	pages   remains[store.Entry]
}

var _ store.Journal = (*FaultyJournal)(nil)

// NewFaultyJournal wraps journal.
func NewFaultyJournal(journal store.Journal, hook Hook) *FaultyJournal {
	return &FaultyJournal{journal: journal, faults: faults{hook: hook}}
}

// Head implements store.Journal.
func (f *FaultyJournal) Head(ctx context.Context, shard int) (h store.Head, err error) {
	err = f.read(Call{Context: ctx, Method: "Head", Shard: shard}, func(Verdict) error {
		h, err = f.journal.Head(ctx, shard)
		return err
	})
	return h, err
}

// Append implements store.Journal.
func (f *FaultyJournal) Append(ctx context.Context, shard int, entries []store.Entry) error {
	c := Call{Context: ctx, Method: "Append", Shard: shard, Entries: entries}
	return f.write(c, func(ctx context.Context) error { return f.journal.Append(ctx, shard, entries) })
}

// Open implements store.Journal.
func (f *FaultyJournal) Open(ctx context.Context, shard int, head store.Head) (store.Head, error) {
	var h store.Head
	err := f.write(Call{Context: ctx, Method: "Open", Shard: shard, Head: head}, func(ctx context.Context) (err error) {
		h, err = f.journal.Open(ctx, shard, head)
		return err
	})
	if err != nil {
		return store.Head{}, err
	}
	return h, nil
}

// Seal implements store.Journal.
func (f *FaultyJournal) Seal(ctx context.Context, shard int, epoch store.Epoch) error {
	c := Call{Context: ctx, Method: "Seal", Shard: shard, Epoch: epoch}
	return f.write(c, func(ctx context.Context) error { return f.journal.Seal(ctx, shard, epoch) })
}

// Tail implements store.Journal.
func (f *FaultyJournal) Tail(ctx context.Context, shard int, epoch store.Epoch, bucket int, token string) (store.EntryPage, error) {
	c := Call{Context: ctx, Method: "Tail", Shard: shard, Epoch: epoch, Bucket: bucket, Token: token}
	return f.page(c, func() (store.EntryPage, error) { return f.journal.Tail(ctx, shard, epoch, bucket, token) })
}

// Scan implements store.Journal.
func (f *FaultyJournal) Scan(ctx context.Context, shard int, epoch store.Epoch, token string) (store.EntryPage, error) {
	c := Call{Context: ctx, Method: "Scan", Shard: shard, Epoch: epoch, Token: token}
	return f.page(c, func() (store.EntryPage, error) { return f.journal.Scan(ctx, shard, epoch, token) })
}

func (f *FaultyJournal) page(c Call, fetch func() (store.EntryPage, error)) (p store.EntryPage, err error) {
	err = f.read(c, func(v Verdict) error {
		p.Entries, p.Next, err = f.pages.page(v, c.Token, func() ([]store.Entry, string, error) {
			p, err := fetch()
			return p.Entries, p.Next, err
		})
		return err
	})
	return p, err
}

// Update implements store.Journal.
func (f *FaultyJournal) Update(ctx context.Context, shard int, from, to store.Head) error {
	c := Call{Context: ctx, Method: "Update", Shard: shard, Head: from, To: to}
	return f.write(c, func(ctx context.Context) error { return f.journal.Update(ctx, shard, from, to) })
}

// Drop implements store.Journal. Call.Shard is the number of shards.
func (f *FaultyJournal) Drop(ctx context.Context, shards int) error {
	return f.write(Call{Context: ctx, Method: "Drop", Shard: shards}, func(ctx context.Context) error {
		return f.journal.Drop(ctx, shards)
	})
}
