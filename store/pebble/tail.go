package pebble

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strconv"
	"strings"

	"sluice/store"
)

// Tail implements store.Journal. What is in memory comes as one page, which
// shares it.
func (j *journal) Tail(ctx context.Context, number int, ep store.Epoch, bucket int, token string) (page store.EntryPage, err error) {
	err = j.call(ctx, "read the tail", number, func(sh *shard) error {
		from, err := parseSequence(token)
		if err != nil {
			return err
		}
		e, err := sh.find(ep)
		if err != nil {
			return err
		}
		entries, next, err := e.page(bucket, from)
		page = store.EntryPage{Entries: entries, Next: formatSequence(next)}
		return err
	})
	if err != nil {
		return store.EntryPage{}, err
	}
	return page, nil
}

// Scan implements store.Journal. A page is of one bucket.
func (j *journal) Scan(ctx context.Context, number int, ep store.Epoch, token string) (page store.EntryPage, err error) {
	err = j.call(ctx, "scan an epoch", number, func(sh *shard) error {
		bucket, from, err := parseScanToken(token)
		if err != nil {
			return err
		}
		e, err := sh.find(ep)
		if err != nil {
			return err
		}
		page, err = e.scanPage(bucket, from)
		return err
	})
	if err != nil {
		return store.EntryPage{}, err
	}
	return page, nil
}

// find returns an epoch whose lists are complete. store.ErrGone.
func (sh *shard) find(ep store.Epoch) (*epoch, error) {
	place, err := parsePlace(ep)
	if err != nil {
		return nil, err
	}
	sh.mu.RLock()
	e := sh.epochs[place]
	unread := e != nil && e.unread
	sh.mu.RUnlock()
	if e == nil {
		return nil, fmt.Errorf("epoch %d: %w", ep.Number, store.ErrGone)
	}
	if unread {
		if err := e.read(); err != nil {
			return nil, fmt.Errorf("epoch %d: %w", ep.Number, err)
		}
	}
	return e, nil
}

// page returns the entries of a bucket from a sequence on, and the sequence at
// which the next page begins, 0 if there is none.
func (e *epoch) page(bucket int, from uint64) (entries []store.Entry, next uint64, err error) {
	entries, refs, whole, err := e.list(bucket, from)
	if err != nil || whole {
		return entries, 0, err
	}
	return e.fetch(entries, refs)
}

// list returns a part of a bucket's list; whole says that all of it is in
// memory.
func (e *epoch) list(bucket int, from uint64) ([]store.Entry, []ref, bool, error) {
	e.sh.mu.RLock()
	defer e.sh.mu.RUnlock()
	if e.gone {
		return nil, nil, false, store.ErrGone
	}
	l := e.buckets[bucket]
	if l == nil {
		return nil, nil, true, nil
	}
	i := sort.Search(len(l.refs), func(i int) bool { return l.refs[i].sequence >= from })
	n := len(l.refs)
	return l.entries[i:n:n], l.refs[i:n:n], l.elsewhere == 0, nil
}

// fetch fills a page with entries, reading from the disk those that are not in
// memory. An epoch that is removed meanwhile is gone, not empty.
func (e *epoch) fetch(list []store.Entry, refs []ref) (entries []store.Entry, next uint64, err error) {
	size := 0
	for i, en := range list {
		if size >= pageBytes || len(entries) == store.MaxPage {
			return entries, refs[i].sequence, nil
		}
		if en.Data == nil {
			if en.Data, err = e.fetchData(refs[i]); err != nil {
				return nil, 0, err
			}
		}
		size += len(en.Data)
		entries = append(entries, en)
	}
	return entries, 0, nil
}

func (e *epoch) fetchData(r ref) (data []byte, err error) {
	err = e.sh.j.s.rows.read(entryKey(e.sh.number, e.place, r.first), func(record []byte) error {
		all, err := decodeEntries(record, r.first)
		if err != nil {
			return err
		}
		i := r.sequence - r.first
		if i >= uint64(len(all)) {
			return fmt.Errorf("journal entry %d: %w", r.sequence, store.ErrCorrupt)
		}
		data = slices.Clone(all[i].Data)
		return nil
	})
	if !errors.Is(err, store.ErrNotFound) {
		return data, err
	}
	e.sh.mu.RLock()
	defer e.sh.mu.RUnlock()
	if e.gone {
		return nil, store.ErrGone
	}
	return nil, fmt.Errorf("journal entry %d is missing: %w", r.sequence, store.ErrCorrupt)
}

// scanPage returns a page of the first bucket from the given one on that has
// entries.
func (e *epoch) scanPage(bucket int, from uint64) (store.EntryPage, error) {
	e.sh.mu.RLock()
	buckets := slices.Sorted(maps.Keys(e.buckets))
	e.sh.mu.RUnlock()
	i, exact := slices.BinarySearch(buckets, bucket)
	if i == len(buckets) {
		return store.EntryPage{}, e.stillThere()
	}
	if !exact {
		from = 0
	}
	entries, next, err := e.page(buckets[i], from)
	if err != nil {
		return store.EntryPage{}, err
	}
	p := store.EntryPage{Entries: entries}
	switch {
	case next != 0:
		p.Next = formatScanToken(buckets[i], next)
	case i+1 < len(buckets):
		p.Next = formatScanToken(buckets[i+1], 0)
	}
	return p, nil
}

func (e *epoch) stillThere() error {
	e.sh.mu.RLock()
	defer e.sh.mu.RUnlock()
	if e.gone {
		return store.ErrGone
	}
	return nil
}

// The token of a tail is a sequence, that of a scan a bucket and a sequence.

func formatSequence(sequence uint64) string {
	if sequence == 0 {
		return ""
	}
	return formatID(sequence)
}

func parseSequence(token string) (uint64, error) {
	if token == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(token, 36, 64)
	if err != nil {
		return 0, fmt.Errorf("token %q: %w", token, store.ErrInvalid)
	}
	return n, nil
}

func formatScanToken(bucket int, sequence uint64) string {
	return strconv.Itoa(bucket) + "." + formatID(sequence)
}

func parseScanToken(token string) (bucket int, sequence uint64, err error) {
	if token == "" {
		return 0, 0, nil
	}
	b, s, _ := strings.Cut(token, ".")
	bucket, err = strconv.Atoi(b)
	sequence, errSequence := parseSequence(s)
	if err != nil || errSequence != nil || s == "" {
		return 0, 0, fmt.Errorf("token %q: %w", token, store.ErrInvalid)
	}
	return bucket, sequence, nil
}
