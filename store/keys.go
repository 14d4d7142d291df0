package store

import "slices"

// After is the smallest string that is greater than s. It is a bound only: no
// key.
func After(s string) string { return s + "\x00" }

// PrefixEnd is the smallest string that is greater than every one that begins
// with prefix, so that [prefix, PrefixEnd(prefix)) has exactly those; "", no
// bound, if there is none.
func PrefixEnd(prefix string) string {
	b := []byte(prefix)
	for len(b) > 0 && b[len(b)-1] == 0xFF {
		b = b[:len(b)-1]
	}
	if len(b) == 0 {
		return ""
	}
	b[len(b)-1]++
	return string(b)
}

// Contains says whether the range has that row.
func (r Range) Contains(partition, key string) bool {
	return within(partition, r.PartitionFrom, r.PartitionTo) && within(key, r.KeyFrom, r.KeyTo)
}

func within(s, from, to string) bool { return s >= from && (to == "" || s < to) }

// PageLimit is the most rows that a page of the range may have, 1 to MaxPage.
func (r Range) PageLimit() int {
	if r.Limit <= 0 || r.Limit > MaxPage {
		return MaxPage
	}
	return r.Limit
}

// Selected returns the properties that names has, all for nil. It returns a
// part of properties or a new slice; values are shared.
func Selected(properties []Property, names []string) []Property {
	if names == nil {
		return properties
	}
	var out []Property
	for _, p := range properties {
		if slices.Contains(names, p.Name) {
			out = append(out, p)
		}
	}
	return out
}

// Merged returns the properties that a row has after a Touch: those of old,
// replaced and joined by those of changes, in ascending order of names. Values
// are shared.
func Merged(old, changes []Property) []Property {
	out := make([]Property, 0, len(old)+len(changes))
	for len(old) > 0 && len(changes) > 0 {
		switch {
		case old[0].Name < changes[0].Name:
			out, old = append(out, old[0]), old[1:]
		case old[0].Name == changes[0].Name:
			old = old[1:]
		default:
			out, changes = append(out, changes[0]), changes[1:]
		}
	}
	return append(append(out, old...), changes...)
}

// CloneProperties returns a copy that shares nothing with properties.
func CloneProperties(properties []Property) []Property {
	out := slices.Clone(properties)
	for i, p := range out {
		if b, ok := p.Value.([]byte); ok {
			out[i].Value = append([]byte{}, b...)
		}
	}
	return out
}
