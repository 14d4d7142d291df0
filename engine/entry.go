package engine

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"sluice/telemetry"
	"sluice/telemetry/block"
)

// entry is what the list has of a device: what follows from all of its
// readings that were merged. Merging is a maximum in everything, so it may be
// done twice and in any order, as with readings.
type entry struct {
	id string
	// cut is the stamp of the newest deletion; it stays for good.
	cut         telemetry.Stamp
	seen        bool
	first, last int64
	// tags are in ascending order, of each key those changes that are its newest
	// now, or may become it when a deletion takes the newer ones away. Removals keep
	// their time.
	tags   []block.TagChange
	latest []latest // one a metric, ascending
	// folded says that latest was left out because it does not fit: it is to be
	// folded from the leaves.
	folded bool
}

// latest is a metric's newest value. Of a long string only the beginning is
// kept; it stands in the leaf of its time.
type latest struct {
	metric  string
	time    int64
	stamp   telemetry.Stamp
	value   telemetry.Value
	omitted bool
}

const (
	inlineText = 64        // bytes of a string that an entry carries
	entryBytes = 128 << 10 // of an entry whose latest values are kept
	maxTags    = 64        // changes of tags that are kept, removals among them
)

// newer tells whether a wins over b as the latest value of one metric. Long
// strings are compared as far as entries keep them; where that does not decide,
// the one that has to be looked up wins.
func newer(a, b latest) bool {
	if a.time != b.time {
		return a.time > b.time
	}
	if a.stamp != b.stamp {
		return a.stamp > b.stamp
	}
	if c := telemetry.Compare(a.kept(), b.kept()); c != 0 {
		return c > 0
	}
	if a.long() != b.long() {
		return a.long()
	}
	return a.omitted && !b.omitted
}

func (l latest) long() bool { return l.omitted || len(l.value.Text) > inlineText }

func (l latest) kept() telemetry.Value {
	l.value.Text = l.value.Text[:min(len(l.value.Text), inlineText)]
	return l.value
}

// summarize makes the entry of a resolved frame and changes of tags, all above
// any deletion.
func summarize(id string, f *block.Frame, tags []block.TagChange) entry {
	e := entry{id: id}
	if n := f.Len(); n > 0 {
		e.seen, e.first, e.last = true, f.Times[0], f.Times[n-1]
	}
	e.latest = make([]latest, len(f.Columns))
	for i := range f.Columns {
		c := &f.Columns[i]
		row := c.Row(c.Len() - 1)
		e.latest[i] = latest{metric: c.Name, time: f.Times[row], stamp: f.Stamps[row], value: c.Value(c.Len() - 1)}
	}
	e.tags = boundTags(lasting(slices.Clone(tags)))
	return e
}

// lasting leaves out, and sorts, changes of tags: one that is not newer, by
// time, than another of its key counts only if a deletion can remove that other
// one alone, that is if its stamp is higher. Such occur where late data meet a
// deletion that comes late itself.
func lasting(tags []block.TagChange) []block.TagChange {
	slices.SortFunc(tags, block.TagChange.Compare)
	out := tags[:0]
	for i := range tags {
		t := tags[i]
		for n := len(out); n > 0 && out[n-1].Key == t.Key && out[n-1].Stamp <= t.Stamp; n-- {
			out = out[:n-1]
		}
		out = append(out, t)
	}
	return out
}

// newestTags are the changes that count, one a key.
func newestTags(tags []block.TagChange) []block.TagChange {
	var out []block.TagChange
	for i, t := range tags {
		if i+1 == len(tags) || tags[i+1].Key != t.Key {
			out = append(out, t)
		}
	}
	return out
}

// boundTags bounds what a device's tags can grow to over the years: maxTags
// changes stay, those that count before others, the newest before older ones. A
// key's change only ever gets newer, so what is left out once would be left out
// later too, and the order of merging does not matter.
func boundTags(tags []block.TagChange) []block.TagChange {
	if len(tags) <= maxTags {
		return tags
	}
	counts := make(map[block.TagChange]bool, len(tags))
	for _, t := range newestTags(tags) {
		counts[t] = true
	}
	kept := slices.SortedFunc(slices.Values(tags), func(a, b block.TagChange) int {
		if counts[a] != counts[b] {
			if counts[a] {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(b.Time, a.Time), cmp.Compare(b.Stamp, a.Stamp), strings.Compare(a.Key, b.Key))
	})[:maxTags]
	slices.SortFunc(kept, block.TagChange.Compare)
	return kept
}

// join merges two entries of one device, neither of which has anything that
// the other one's cut deletes.
func join(a, b entry) entry {
	out := entry{id: a.id, cut: max(a.cut, b.cut), seen: a.seen || b.seen, folded: a.folded || b.folded}
	switch {
	case a.seen && b.seen:
		out.first, out.last = min(a.first, b.first), max(a.last, b.last)
	case a.seen:
		out.first, out.last = a.first, a.last
	case b.seen:
		out.first, out.last = b.first, b.last
	}
	out.tags = boundTags(lasting(slices.Concat(a.tags, b.tags)))
	out.latest = joinSorted(a.latest, b.latest,
		func(x, y latest) int { return strings.Compare(x.metric, y.metric) }, newer)
	return out
}

func joinSorted[T any](a, b []T, order func(x, y T) int, wins func(x, y T) bool) []T {
	out := make([]T, 0, max(len(a), len(b)))
	for len(a) > 0 && len(b) > 0 {
		switch c := order(a[0], b[0]); {
		case c < 0:
			out, a = append(out, a[0]), a[1:]
		case c > 0:
			out, b = append(out, b[0]), b[1:]
		default:
			win := b[0]
			if wins(a[0], b[0]) {
				win = a[0]
			}
			out, a, b = append(out, win), a[1:], b[1:]
		}
	}
	return append(append(out, a...), b...)
}

// tagsAbove leaves out what a deletion removed.
func tagsAbove(tags []block.TagChange, cut telemetry.Stamp) []block.TagChange {
	if !slices.ContainsFunc(tags, func(t block.TagChange) bool { return t.Stamp <= cut }) {
		return tags
	}
	return slices.DeleteFunc(slices.Clone(tags), func(t block.TagChange) bool { return t.Stamp <= cut })
}

// Flags of an encoded entry and of a latest value.
const (
	flagSeen = 1 << iota
	flagFolded
)

const (
	flagOmitted = 1 << 7 // beside the kind
	kindMask    = 1<<7 - 1
)

// appendEntry encodes an entry: numbers as varints, strings with their
// lengths, in the order of the fields above.
func appendEntry(dst []byte, e entry) []byte {
	start := len(dst)
	dst = appendHeader(dst, e, e.folded)
	if e.folded {
		return binary.AppendUvarint(dst, 0)
	}
	dst = binary.AppendUvarint(dst, uint64(len(e.latest)))
	for _, l := range e.latest {
		dst = appendLatest(dst, e.last, l)
	}
	if len(dst)-start > entryBytes {
		dst = appendHeader(dst[:start], e, true)
		dst = binary.AppendUvarint(dst, 0)
	}
	return dst
}

func appendHeader(dst []byte, e entry, folded bool) []byte {
	dst = appendText(dst, e.id)
	var flags byte
	if e.seen {
		flags |= flagSeen
	}
	if folded {
		flags |= flagFolded
	}
	dst = binary.AppendVarint(append(dst, flags), int64(e.cut))
	dst = binary.AppendVarint(binary.AppendVarint(dst, e.first), e.last)
	dst = binary.AppendUvarint(dst, uint64(len(e.tags)))
	for _, t := range e.tags {
		removed := byte(0)
		if t.Removed {
			removed = 1
		}
		dst = append(appendText(appendText(dst, t.Key), t.Value), removed)
		dst = binary.AppendVarint(binary.AppendVarint(dst, t.Time), int64(t.Stamp))
	}
	return dst
}

func appendLatest(dst []byte, last int64, l latest) []byte {
	kind := byte(l.value.Kind)
	if l.long() {
		kind |= flagOmitted
	}
	dst = append(appendText(dst, l.metric), kind)
	dst = binary.AppendVarint(binary.AppendVarint(dst, last-l.time), int64(l.stamp))
	if l.value.Kind == telemetry.String {
		return appendText(dst, l.kept().Text)
	}
	return binary.LittleEndian.AppendUint64(dst, l.value.Bits)
}

func appendText(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// reader takes an encoding apart; after the first thing that is not there it
// is bad and gives zeros.
type reader struct {
	data string
	bad  bool
}

func (r *reader) take(n uint64) string {
	if n > uint64(len(r.data)) {
		r.bad, r.data = true, ""
		return ""
	}
	s := r.data[:n]
	r.data = r.data[n:]
	return s
}

func (r *reader) uvarint() uint64 {
	var v uint64
	for shift := 0; shift < 70; shift += 7 {
		b := r.take(1)
		if b == "" {
			return 0
		}
		v |= uint64(b[0]&0x7f) << shift
		if b[0] < 0x80 {
			return v
		}
	}
	r.bad = true
	return 0
}

func (r *reader) varint() int64 {
	v := r.uvarint()
	return int64(v>>1) ^ -int64(v&1)
}

func (r *reader) text() string { return r.take(r.uvarint()) }

func (r *reader) byte() byte {
	if b := r.take(1); b != "" {
		return b[0]
	}
	return 0
}

// count reads a number of items of at least size bytes each.
func (r *reader) count(size int) int {
	n := r.uvarint()
	if n > uint64(len(r.data)/size) {
		r.bad = true
		return 0
	}
	return int(n)
}

func (r *reader) entry() entry {
	e := entry{id: r.text()}
	flags := r.byte()
	e.seen, e.folded = flags&flagSeen != 0, flags&flagFolded != 0
	e.cut, e.first, e.last = telemetry.Stamp(r.varint()), r.varint(), r.varint()
	if n := r.count(5); n > 0 {
		e.tags = make([]block.TagChange, n)
	}
	for i := range e.tags {
		t := &e.tags[i]
		t.Key, t.Value, t.Removed = r.text(), r.text(), r.byte() == 1
		t.Time, t.Stamp = r.varint(), telemetry.Stamp(r.varint())
	}
	if n := r.count(4); n > 0 {
		e.latest = make([]latest, n)
	}
	for i := range e.latest {
		e.latest[i] = r.latest(e.last)
	}
	return e
}

func (r *reader) latest(last int64) latest {
	l := latest{metric: r.text()}
	kind := r.byte()
	l.omitted, l.value.Kind = kind&flagOmitted != 0, telemetry.Kind(kind&kindMask)
	l.time, l.stamp = last-r.varint(), telemetry.Stamp(r.varint())
	if l.value.Kind == telemetry.String {
		l.value.Text = r.text()
	} else if b := r.take(8); b != "" {
		l.value.Bits = binary.LittleEndian.Uint64([]byte(b))
	}
	return l
}

// decodeEntries reads the entries of a page.
func decodeEntries(data []byte) ([]entry, error) {
	r := reader{data: string(data)}
	var entries []entry
	for len(r.data) > 0 && !r.bad {
		entries = append(entries, r.entry())
	}
	if r.bad {
		return nil, fmt.Errorf("%w: list entry %d", ErrCorrupt, len(entries))
	}
	return entries, nil
}
