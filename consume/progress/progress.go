// Package progress keeps in the store how far each partition of an Event Hub
// is consumed, and who consumes it where no host decides that. One row a
// partition: it says which event is the last one that is durable together with
// all before it, and it only moves forward, whoever writes it.
package progress

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"sluice/store"
)

// Table has the rows, in the store's first account.
const Table = "sluiceprogress"

// format is the version of the rows that this code writes.
const format = 1

// ErrMoved says that what a caller rests on does not hold: the row was begun anew
// or removed since it was read, or it lies behind what the caller goes on from, as
// when another one wrote the first, or when the store was put back. Read it again.
var ErrMoved = errors.New("progress is not where it was thought to be: it was begun anew, or lies further back")

// Position is how far a partition is consumed. Every event of it up to and
// including Sequence is durable, or lost.
type Position struct {
	Partition string
	// Sequence, Offset and Enqueued are those of the last event that is durable;
	// Offset is empty if that was lost, or if its time cannot be, and Enqueued then an
	// earlier one's, or none. Before the
	// first one Sequence is one less than that of the first to come.
	Sequence int64
	Offset   string
	Enqueued time.Time
	// Until is the event before which all are being read again from the hub, as a
	// call began beyond Sequence; 0: none are.
	Until int64
	// Lost counts the events that were gone from the hub before they were consumed.
	Lost int64
	// Written is when the row was last written, by its writer's clock.
	Written time.Time
	// Generation counts how often the hub was found to be another one, made anew.
	Generation int64

	stored bool       // there is a row
	tag    store.ETag // of the row as read; "": not known since it was written
}

// Stored says whether the store has the position.
func (p Position) Stored() bool { return p.stored }

// Store keeps the positions of one hub and consumer group. It may be used
// concurrently, also by several processes.
type Store struct {
	rows      store.Rows
	partition string
	now       func() time.Time
}

// New makes a store of positions over the rows of the store's first account.
// Names of hubs and groups are the same in upper and lower case.
func New(rows store.Rows, hub, group string, now func() time.Time) *Store {
	name := url.PathEscape(strings.ToLower(hub)) + "!" + url.PathEscape(strings.ToLower(group))
	return &Store{rows: rows, partition: name, now: now}
}

// Kinds of rows: the key is one of these and the partition's id.
const (
	positionKey = "p!"
	ownerKey    = "o!"
)

// Read reads a partition's position. Where there is none yet it is not Stored
// and has the partition alone.
func (s *Store) Read(ctx context.Context, partition string) (Position, error) {
	row, err := s.rows.Get(ctx, Table, s.partition, positionKey+url.PathEscape(partition))
	if absent(err) {
		return Position{Partition: partition}, nil
	}
	if err != nil {
		return Position{}, fmt.Errorf("read the progress of partition %s: %w", partition, err)
	}
	return decode(row)
}

// All reads the positions of all partitions that have one.
func (s *Store) All(ctx context.Context) ([]Position, error) {
	var all []Position
	err := s.scan(ctx, positionKey, func(row store.Row) error {
		p, err := decode(row)
		all = append(all, p)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the progress of all partitions: %w", err)
	}
	return all, nil
}

// scan reads the rows of a kind.
func (s *Store) scan(ctx context.Context, kind string, each func(store.Row) error) error {
	all := store.InPartition(s.partition, kind, kind[:len(kind)-1]+"\"")
	for token, first := "", true; first || token != ""; first = false {
		page, err := s.rows.Scan(ctx, Table, all, token)
		if errors.Is(err, store.ErrTableNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, row := range page.Rows {
			if err := each(row); err != nil {
				return err
			}
		}
		token = page.Next
	}
	return nil
}
