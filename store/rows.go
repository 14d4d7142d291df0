// Package store has the two contracts that a store keeps: rows and journal.
// It knows no telemetry: rows have named, typed properties, journals carry
// bytes. storetest has the conformance suites.
package store

import "context"

// What a row, a transaction and a key may hold: the limits of Azure Table
// Storage, which every store enforces, so that what runs on one runs on all.
const (
	MaxOps           = 100     // operations a transaction, each row once
	MaxTransaction   = 4 << 20 // bytes a transaction, by WireSize
	MaxRow           = 1 << 20 // bytes a row, by Row.Size, and also as JSON: which of them the service counts is not documented
	MaxProperties    = 252     // properties a row
	MaxPropertyBytes = 64 << 10
	MaxPropertyText  = 32 << 10 // UTF-16 units of a string
	MaxKey           = 512      // UTF-16 units of a partition or key
	MaxPage          = 1000     // rows a page
	MaxPageBytes     = 4 << 20  // a page ends, short, with the row that reaches this (by Row.Size)
)

// ETag is the version of a row. It is opaque: neither ordered nor a time.
type ETag string

// AnyTag is the If-Match that any existing row meets.
const AnyTag ETag = "*"

// Property is a named value: string (UTF-8), bool, int64, float64 (finite; zero
// may lose its sign) or []byte. Names are ASCII identifiers ([A-Za-z_][A-Za-z0-9_]*) of at most 255 characters and not
// PartitionKey, RowKey, Timestamp or odata.etag.
type Property struct {
	Name  string
	Value any
}

// Row is a row of a table. Its properties are in ascending order of names.
// Partition and key are not empty, are UTF-8 and hold no / \ # ?, no control
// character (U+0000 to U+001F, U+007F to U+009F) and none above U+FFFF: those
// sort differently by bytes, as here, and by UTF-16, as on Azure.
type Row struct {
	Partition  string
	Key        string
	ETag       ETag // as read; ignored on writing
	Properties []Property
}

// OpKind says what an Op does and on which condition.
type OpKind uint8

// The operations of a transaction.
const (
	Insert  OpKind = iota // the row must be absent, else ErrExists
	Put                   // insert or replace, without a condition
	Replace               // If-Match: the row must exist (else ErrNotFound) with this ETag (else ErrStale)
	Touch                 // If-Match: as Replace, but the row keeps the properties that are not named (a merge)
	Delete                // If-Match: as Replace
)

// Op is one operation of a transaction.
type Op struct {
	Kind       OpKind
	Key        string
	IfMatch    ETag       // for Replace, Touch and Delete: an ETag that was read, or AnyTag; else empty
	Properties []Property // in ascending order of names; none for Delete
}

// Range selects rows: partitions in [PartitionFrom, PartitionTo) and, within
// each, keys in [KeyFrom, KeyTo). An empty upper bound is none.
type Range struct {
	PartitionFrom, PartitionTo string
	KeyFrom, KeyTo             string
	// Limit is the most rows a page may have, at most (and for 0) MaxPage.
	Limit int
	// Select names the properties to return; nil: all.
	Select []string
}

// InPartition selects the keys [from, to) of one partition.
func InPartition(partition, from, to string) Range {
	return Range{PartitionFrom: partition, PartitionTo: partition + "\x00", KeyFrom: from, KeyTo: to}
}

// Page is a part of a scan. Only an empty Next ends the scan: a page may be
// short, or empty, and still have one.
type Page struct {
	Rows []Row
	Next string // opaque; the token of the page that follows
}

// Rows is a store of tables of rows. Its methods may be called concurrently.
//
// Every method may also fail with ErrThrottled or ErrUnavailable (nothing was
// done, try again), with ErrNoAnswer (a write that may have been done, or may
// be done yet, at any later time), with ErrDenied (a wrong key, an identity that
// expired or lacks a role: nothing was done, and trying again within a request
// is in vain), or with the context's error, which for a write means the same as
// ErrNoAnswer. A store may send a write again by itself, unless the context
// says Once. Names of tables are 3 to 63 lower-case
// ASCII letters and digits, the first a letter.
type Rows interface {
	// CreateTable makes a table; one that exists is left as it is. ErrUnavailable
	// while a table of that name is being deleted.
	CreateTable(ctx context.Context, table string) error
	// DropTable removes a table with its rows; one that does not exist is fine.
	DropTable(ctx context.Context, table string) error
	// Tables lists the names of tables that begin with prefix, ascending, a page
	// at a time; token is "" or the former page's next, and only an empty next
	// ends the list.
	Tables(ctx context.Context, prefix, token string) (names []string, next string, err error)

	// Get reads one row. ErrNotFound, ErrTableNotFound.
	Get(ctx context.Context, table, partition, key string) (Row, error)
	// Scan reads a page of a range in ascending order of (partition, key). A page
	// is no snapshot: rows of it may be read at different times, each row whole.
	// token is "" or the former page's Next. ErrTableNotFound.
	Scan(ctx context.Context, table string, r Range, token string) (Page, error)
	// Commit does 1 to MaxOps operations on different rows of one partition, all
	// or none, durable when it returns nil. ErrExists, ErrNotFound, ErrStale
	// (each in an *OpError that says which), ErrTableNotFound, ErrTooLarge,
	// ErrInvalid. Of several concurrent transactions with the same condition at
	// most one succeeds.
	Commit(ctx context.Context, table, partition string, ops []Op) error
}

// LazyRows is what a Rows may offer besides: rows that follow from others need
// not be on the disk before what rests on them is.
type LazyRows interface {
	Rows
	// CommitLater is Commit, visible at once, but durable no later than whatever is
	// written to the same store afterwards and answered: another Commit, or a
	// change of a journal's head. After a crash there may be none of it, never
	// part of it, and never what came later without it.
	CommitLater(ctx context.Context, table, partition string, ops []Op) error
}
