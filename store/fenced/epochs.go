package fenced

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"sluice/store"
)

// Seal implements store.Journal: it deletes all fences. Answered, no commit can
// land in the epoch any more, whoever slept or comes late: each one touches a
// fence.
func (j *Journal) Seal(ctx context.Context, shard int, epoch store.Epoch) error {
	p, err := parsePlace(shard, epoch.Place)
	if err == nil {
		err = j.lower(ctx, shard, p)
	}
	if err != nil {
		return fmt.Errorf("seal epoch %d of shard %d: %w", epoch.Number, shard, err)
	}
	j.bury(shard, epoch)
	return nil
}

func (j *Journal) lower(ctx context.Context, shard int, p place) error {
	rows, ops := j.rows(shard), p.fenceOps(store.Delete, store.AnyTag)
	err := rows.Commit(ctx, p.table, p.partition, ops)
	if !errors.Is(err, store.ErrNotFound) {
		return unlessGone(err)
	}
	// Somebody has begun before, or is at it: what is left goes one by one.
	for _, op := range ops {
		err := rows.Commit(ctx, p.table, p.partition, []store.Op{op})
		if err := unlessGone(err); err != nil {
			return err
		}
	}
	return nil
}

func unlessGone(err error) error {
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrTableNotFound) {
		return nil
	}
	return err
}

// Tail implements store.Journal.
func (j *Journal) Tail(ctx context.Context, shard int, epoch store.Epoch, bucket int, token string) (store.EntryPage, error) {
	prefix := bucketPrefix(bucket)
	page, err := j.page(ctx, shard, epoch, prefix, store.PrefixEnd(prefix), token)
	if err != nil {
		return page, fmt.Errorf("tail of bucket %d of epoch %d of shard %d: %w", bucket, epoch.Number, shard, err)
	}
	return page, nil
}

// Scan implements store.Journal.
func (j *Journal) Scan(ctx context.Context, shard int, epoch store.Epoch, token string) (store.EntryPage, error) {
	page, err := j.page(ctx, shard, epoch, "0", "", token) // fences sort below
	if err != nil {
		return page, fmt.Errorf("scan epoch %d of shard %d: %w", epoch.Number, shard, err)
	}
	return page, nil
}

func (j *Journal) page(ctx context.Context, shard int, epoch store.Epoch, from, to, token string) (store.EntryPage, error) {
	p, err := parsePlace(shard, epoch.Place)
	if err != nil {
		return store.EntryPage{}, err
	}
	rows, err := j.rows(shard).Scan(ctx, p.table, store.InPartition(p.partition, from, to), token)
	if errors.Is(err, store.ErrTableNotFound) {
		return store.EntryPage{}, fmt.Errorf("%w: %w", store.ErrGone, err)
	}
	if err != nil {
		return store.EntryPage{}, err
	}
	page := store.EntryPage{Next: rows.Next}
	for _, row := range rows.Rows {
		e, err := decodeEntry(row)
		if err != nil {
			return store.EntryPage{}, err
		}
		page.Entries = append(page.Entries, e)
	}
	return page, nil
}

// Drop implements store.Journal: it drops the tables before all that any head
// names. Since an opener never goes back behind the table of its head's newest
// epoch, none of them can be named again; but a shard that has no head yet
// might open its first epoch in any, so that then nothing is dropped.
func (j *Journal) Drop(ctx context.Context, shards int) error {
	oldest, err := j.oldestTable(ctx, shards)
	if err != nil || oldest == "" {
		return wrap("drop tables of journals", err)
	}
	var done []store.Rows
	for shard := range shards {
		rows := j.rows(shard)
		if slices.Contains(done, rows) {
			continue
		}
		if err := dropBefore(ctx, rows, oldest); err != nil {
			return fmt.Errorf("drop tables of journals before %s: %w", oldest, err)
		}
		done = append(done, rows)
	}
	return nil
}

// oldestTable returns the first table that a head names; "" if a shard has no
// head.
func (j *Journal) oldestTable(ctx context.Context, shards int) (string, error) {
	oldest := ""
	for shard := range shards {
		head, err := j.Head(ctx, shard)
		if err != nil || len(head.Epochs) == 0 {
			return "", err
		}
		for _, e := range head.Epochs {
			p, err := parsePlace(shard, e.Place)
			if err != nil {
				return "", err
			}
			if oldest == "" || p.table < oldest {
				oldest = p.table
			}
		}
	}
	return oldest, nil
}

func dropBefore(ctx context.Context, rows store.Rows, oldest string) error {
	for token := ""; ; {
		names, next, err := rows.Tables(ctx, tablePrefix, token)
		if err != nil {
			return err
		}
		for _, name := range names {
			if !isJournalTable(name) || name >= oldest {
				continue
			}
			if err := rows.DropTable(ctx, name); err != nil {
				return err
			}
		}
		if token = next; next == "" {
			return nil
		}
	}
}
