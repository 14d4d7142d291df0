package store

import "context"

// MaxEntry is the most bytes that an entry's data may have: in base64 they fit
// into a row.
const MaxEntry = 720 << 10

// Epoch is a stretch of a shard's journal. Its number orders it, its place is
// the journal's own and never used again. An epoch that was sealed never
// grows again.
type Epoch struct {
	Number uint64
	Place  string
	Opened int64 // nanoseconds since the Unix epoch, by the opener's clock: to be shown, never to decide by
}

// Head is a shard's head: the epochs that are not merged, oldest first, the
// last one taking commits, and a few bytes that the engine keeps with them (at
// most 1 KiB). Both change together, under one version.
type Head struct {
	Epochs  []Epoch
	State   []byte
	Version string // opaque; "" if the shard has no head yet
}

// Entry is one block of a journal.
type Entry struct {
	ID     string // set by the journal: differs from every other entry of the epoch; given on reading
	Bucket int
	Data   []byte // 1 to MaxEntry bytes; neither side changes it
}

// EntryPage is a part of an epoch. As with Page only an empty Next ends it.
type EntryPage struct {
	Entries []Entry
	Next    string
}

// Journal keeps each shard's entries in order of arrival, cut into epochs. Its
// methods may be called concurrently, also by several processes where the
// store allows them. Every method may also fail as those of Rows do.
type Journal interface {
	// Head reads a shard's head, the zero Head if there is none. It reflects
	// every change that was answered before Head was called.
	Head(ctx context.Context, shard int) (Head, error)
	// Append makes entries durable in the shard's newest epoch (of which it opens
	// the first if need be), each entry whole or not at all and, where they fit
	// into one transaction, all or none. It returns nil only if all are durable in
	// epochs that the head named and that were not sealed at that time. Failed,
	// any of them may be there or come yet; appending them again is safe for a
	// caller whose entries are idempotent. ErrTooLarge, ErrInvalid (no entry, an
	// empty one); a *RefusedError if the store refuses some for good although they
	// are right, and all others are durable.
	Append(ctx context.Context, shard int, entries []Entry) error
	// Open opens the epoch that follows the newest one of head and names it in the
	// head, which must not have changed since it was read: else ErrStale. It
	// returns the head as written. The zero head opens the first epoch.
	Open(ctx context.Context, shard int, head Head) (Head, error)
	// Seal ends an epoch: once it has returned nil, no commit ever lands in it.
	// Sealing again, or an epoch that is gone, is fine.
	Seal(ctx context.Context, shard int, epoch Epoch) error
	// Tail reads a page of an epoch's entries of one bucket; ErrGone if the epoch
	// is gone (which the head says too, if it is read again). It has every entry
	// whose Append returned before Tail was first called.
	Tail(ctx context.Context, shard int, epoch Epoch, bucket int, token string) (EntryPage, error)
	// Scan reads a page of all entries of an epoch in ascending order of buckets;
	// otherwise as Tail. Of an epoch that is not sealed, entries that are appended
	// meanwhile may or may not be shown. ErrGone.
	Scan(ctx context.Context, shard int, epoch Epoch, token string) (EntryPage, error)
	// Update writes the head: State as given, and without those epochs of from
	// that to does not name (to must not name others, and keep the newest). The
	// head must still have from's version, else ErrStale.
	Update(ctx context.Context, shard int, from, to Head) error
	// Drop frees the space of what no head of any of the shards 0 to shards-1 names
	// any more, and never will.
	Drop(ctx context.Context, shards int) error
}
