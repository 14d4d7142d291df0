package pebble

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"

	pebbledb "github.com/cockroachdb/pebble/v2"

	"sluice/store"
)

// epoch is what is known of an epoch that a head names. Its fields are guarded
// by the shard's mu (next by write).
//
// An entry's sequence is its Append's, plus its place in that. The record of an
// Append has the key of its first entry.
type epoch struct {
	sh    *shard
	place uint64

	next    uint64 // the next sequence; 0: not known yet
	gone    bool
	held    int64 // bytes of entries in memory
	buckets map[int]*bucketList

	// After a start, what an earlier process wrote (all below until; 0: nothing
	// was written since) is read when it is asked for.
	reading sync.Mutex
	unread  bool
	until   uint64
}

// bucketList is the entries of a bucket in ascending order of sequences. Only
// ever appended to or replaced, so that pages may share parts of it.
type bucketList struct {
	entries   []store.Entry // Data is nil if it must be read from the disk
	refs      []ref
	elsewhere int // entries without Data
}

// ref says where an entry lies: in the record at first, which is an Append's.
type ref struct{ sequence, first uint64 }

func newEpoch(sh *shard, place uint64, unread bool) *epoch {
	e := &epoch{sh: sh, place: place, unread: unread, buckets: map[int]*bucketList{}}
	if !unread {
		e.next = 1
	}
	return e
}

// encodeEntries: version, number of entries, and of each its bucket and length;
// then their data.
func encodeEntries(entries []store.Entry) []byte {
	n := 1 + binary.MaxVarintLen64
	for _, e := range entries {
		n += len(e.Data) + 2*binary.MaxVarintLen64
	}
	b := binary.AppendUvarint(append(make([]byte, 0, n), valueVersion), uint64(len(entries)))
	for _, e := range entries {
		b = binary.AppendUvarint(binary.AppendVarint(b, int64(e.Bucket)), uint64(len(e.Data)))
	}
	for _, e := range entries {
		b = append(b, e.Data...)
	}
	return b
}

// decodeEntries returns the entries of a record; their data shares its bytes.
func decodeEntries(data []byte, first uint64) ([]store.Entry, error) {
	r := reader{data: data}
	n := r.header()
	if r.bad || n > uint64(len(r.data)) {
		return nil, fmt.Errorf("journal entry %d: %w", first, store.ErrCorrupt)
	}
	entries, sizes := make([]store.Entry, n), make([]uint64, n)
	for i := range entries {
		entries[i].Bucket, sizes[i] = int(r.varint()), r.uvarint()
		entries[i].ID = formatID(first + uint64(i))
	}
	for i, size := range sizes {
		entries[i].Data = r.take(size)
	}
	if r.bad || len(r.data) > 0 {
		return nil, fmt.Errorf("journal entry %d: %w", first, store.ErrCorrupt)
	}
	return entries, nil
}

func formatID(sequence uint64) string { return strconv.FormatUint(sequence, 36) }

// reserve returns the sequence of the next entry. The shard's write lock is
// held.
func (e *epoch) reserve(entries int) (first uint64, err error) {
	if e.next == 0 {
		if e.next, err = e.lastOnDisk(); err != nil {
			return 0, err
		}
		e.sh.mu.Lock()
		e.until = e.next
		e.sh.mu.Unlock()
	}
	first = e.next
	e.next += uint64(entries)
	return first, nil
}

// lastOnDisk returns the sequence that follows what an earlier process wrote.
func (e *epoch) lastOnDisk() (next uint64, err error) {
	it, err := e.iterate(0)
	if err != nil {
		return 0, err
	}
	next = 1
	if it.Last() {
		var entries []store.Entry
		first := sequenceOf(it.Key())
		entries, err = decodeEntries(it.Value(), first)
		next = first + uint64(len(entries))
	}
	return next, errors.Join(err, it.Close())
}

// iterate goes over the records below until (0: all).
func (e *epoch) iterate(until uint64) (*pebbledb.Iterator, error) {
	prefix := epochPrefix(e.sh.number, e.place)
	bounds := pebbledb.IterOptions{LowerBound: prefix, UpperBound: after(prefix)}
	if until > 0 {
		bounds.UpperBound = entryKey(e.sh.number, e.place, until)
	}
	it, err := e.sh.j.s.db.NewIter(&bounds)
	if err != nil {
		return nil, fmt.Errorf("iterate: %w", err)
	}
	return it, nil
}

func sequenceOf(key []byte) uint64 { return binary.BigEndian.Uint64(key[len(key)-8:]) }

// keep adds the entries of an Append; the shard's mu is held. Their data is
// shared, not copied, as far as the bound allows.
func (e *epoch) keep(first uint64, entries []store.Entry) {
	for i, en := range entries {
		en.ID = formatID(first + uint64(i))
		e.hold(&en)
		l := e.buckets[en.Bucket]
		if l == nil {
			l = &bucketList{}
			e.buckets[en.Bucket] = l
		}
		l.add(en, ref{sequence: first + uint64(i), first: first})
	}
}

// hold takes an entry's data off it if there is no room for it.
func (e *epoch) hold(en *store.Entry) {
	n := int64(len(en.Data))
	if e.sh.j.held.Add(n) > e.sh.j.s.opts.TailBytes {
		e.sh.j.held.Add(-n)
		en.Data = nil
		return
	}
	e.held += n
}

func (l *bucketList) add(en store.Entry, r ref) {
	if en.Data == nil {
		l.elsewhere++
	}
	l.entries, l.refs = append(l.entries, en), append(l.refs, r)
}

// read makes the epoch's lists complete after a start. Appends go on meanwhile.
func (e *epoch) read() error {
	e.reading.Lock()
	defer e.reading.Unlock()
	e.sh.mu.RLock()
	unread := e.unread
	e.sh.mu.RUnlock()
	if !unread {
		return nil
	}
	if err := e.fixUntil(); err != nil {
		return err
	}
	old := &epoch{sh: e.sh, place: e.place, buckets: map[int]*bucketList{}}
	err := old.readRecords(e.until)
	e.sh.mu.Lock()
	defer e.sh.mu.Unlock()
	if err != nil || e.gone {
		e.sh.j.held.Add(-old.held)
		if e.gone {
			return store.ErrGone
		}
		return err
	}
	e.join(old)
	return nil
}

// fixUntil makes sure that until is known: what this process appends is in the
// lists already.
func (e *epoch) fixUntil() error {
	e.sh.write.Lock()
	defer e.sh.write.Unlock()
	_, err := e.reserve(0)
	return err
}

func (e *epoch) readRecords(until uint64) error {
	it, err := e.iterate(until)
	if err != nil {
		return err
	}
	for ok := it.First(); ok && err == nil; ok = it.Next() {
		first := sequenceOf(it.Key())
		var value []byte
		if value, err = it.ValueAndErr(); err != nil {
			break
		}
		var entries []store.Entry
		if entries, err = decodeEntries(slices.Clone(value), first); err == nil {
			e.keep(first, entries)
		}
	}
	return errors.Join(err, it.Close())
}

// join puts what was read before what was appended since.
func (e *epoch) join(old *epoch) {
	for bucket, l := range old.buckets {
		if since := e.buckets[bucket]; since != nil {
			l.entries, l.refs = append(l.entries, since.entries...), append(l.refs, since.refs...)
			l.elsewhere += since.elsewhere
		}
		e.buckets[bucket] = l
	}
	e.held += old.held
	e.unread = false
}
