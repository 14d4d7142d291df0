package tables

import (
	"sort"
	"strings"
	"unicode/utf8"

	"sluice/store"
)

// filter is a range as the service reads it. ok is false for a range that can
// have no row.
func filter(r store.Range, after token) (expr string, ok bool) {
	var terms []string
	one := r.PartitionTo != "" && r.PartitionTo == store.After(r.PartitionFrom)
	for _, side := range []struct{ column, from, to string }{
		{"PartitionKey", r.PartitionFrom, r.PartitionTo},
		{"RowKey", r.KeyFrom, r.KeyTo},
	} {
		more, ok := between(side.column, side.from, side.to)
		if !ok {
			return "", false
		}
		terms = append(terms, more...)
	}
	if after.own {
		terms = append(terms, behind(after, one))
	}
	return strings.Join(terms, " and "), true
}

// behind selects what follows a row.
func behind(after token, onePartition bool) string {
	key := "RowKey gt " + literal(after.key)
	if onePartition {
		return key
	}
	partition := literal(after.partition)
	return "(PartitionKey gt " + partition + " or (PartitionKey eq " + partition + " and " + key + "))"
}

// between has the terms of [from, to), by bytes, for a column of keys.
func between(column, from, to string) (terms []string, ok bool) {
	if to != "" && to == store.After(from) && sendable(from) {
		return []string{column + " eq " + literal(from)}, true
	}
	if from != "" {
		b, follows, ok := bound(from)
		if !ok {
			return nil, false
		}
		terms = append(terms, column+pick(follows, " gt ", " ge ")+literal(b))
	}
	if to != "" {
		if b, follows, ok := bound(to); ok {
			terms = append(terms, column+pick(follows, " le ", " lt ")+literal(b))
		}
	}
	return terms, true
}

func pick(b bool, yes, no string) string {
	if b {
		return yes
	}
	return no
}

// bound turns a bound, which may be any bytes, into one that the service reads
// and that divides the keys in the same way: s, or, if follows, the string that
// follows s. ok is false for a bound that is above every key.
func bound(b string) (s string, follows, ok bool) {
	for {
		n := sendablePrefix(b)
		p, rest := b[:n], b[n:]
		if rest == "" {
			return p, false, true
		}
		if rest[0] < ' ' { // below every character of a key
			return p, true, true
		}
		if r, ok := nextRune(rest); ok {
			return p + string(r), false, true
		}
		if b = store.PrefixEnd(p); b == "" {
			return "", false, false
		}
	}
}

// sendable says whether s can stand in a filter.
func sendable(s string) bool { return sendablePrefix(s) == len(s) }

// sendablePrefix is the length of the longest prefix that has only what a
// filter may hold: the characters of keys, and those of / \ # ?.
func sendablePrefix(s string) int {
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && size == 1 || !sendableRune(r) {
			return i
		}
		i += size
	}
	return len(s)
}

func sendableRune(r rune) bool { return r >= ' ' && (r < 0x7F || r > 0x9F) && r <= 0xFFFF }

// nextRune is the least sendable character whose bytes are greater than rest,
// which begins with none.
func nextRune(rest string) (rune, bool) {
	// UTF-8 sorts as the characters do.
	r := rune(sort.Search(0x10000, func(r int) bool {
		return utf8.ValidRune(rune(r)) && string(rune(r)) > rest || 0xD800 <= r && r <= 0xDFFF && "\ue000" > rest
	}))
	for r <= 0xFFFF && (!sendableRune(r) || !utf8.ValidRune(r)) {
		r++
	}
	return r, r <= 0xFFFF
}

// literal quotes s for a filter.
func literal(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
