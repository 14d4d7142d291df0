package store

import (
	"fmt"
	"math"
	"strings"
	"unicode/utf8"
)

// CheckTable says whether name may name a table. ErrInvalid.
func CheckTable(name string) error {
	if len(name) < 3 || len(name) > 63 || name == "tables" {
		return fmt.Errorf("table %q: 3 to 63 characters, and not \"tables\": %w", clip(name), ErrInvalid)
	}
	for i := range len(name) {
		letter, digit := 'a' <= name[i] && name[i] <= 'z', '0' <= name[i] && name[i] <= '9'
		if !letter && (i == 0 || !digit) {
			return fmt.Errorf("table %q: lower-case letters and digits, the first a letter: %w", name, ErrInvalid)
		}
	}
	return nil
}

// CheckOps says whether operations make a transaction that every store takes,
// as far as that can be told without the rows that exist: a Touch may still
// make one too large (CheckRow). ErrInvalid, ErrTooLarge; what concerns one
// operation is in an *OpError.
func CheckOps(partition string, ops []Op) error {
	if len(ops) == 0 || len(ops) > MaxOps {
		return fmt.Errorf("transaction of %d operations: 1 to %d: %w", len(ops), MaxOps, ErrInvalid)
	}
	if err := CheckKey(partition); err != nil {
		return fmt.Errorf("partition: %w", err)
	}
	seen := make(map[string]struct{}, len(ops))
	for i, o := range ops {
		err := checkOp(partition, o)
		if _, twice := seen[o.Key]; twice && err == nil {
			err = fmt.Errorf("row %q twice in a transaction: %w", clip(o.Key), ErrInvalid)
		}
		if err != nil {
			return &OpError{Index: i, Err: err}
		}
		seen[o.Key] = struct{}{}
	}
	if n := WireSize(partition, ops); n > MaxTransaction {
		return fmt.Errorf("transaction of %d bytes on the wire, at most %d: %w", n, MaxTransaction, ErrTooLarge)
	}
	return nil
}

func checkOp(partition string, o Op) error {
	if err := CheckKey(o.Key); err != nil {
		return err
	}
	conditional := o.Kind == Replace || o.Kind == Touch || o.Kind == Delete
	switch {
	case o.Kind > Delete:
		return fmt.Errorf("row %q: no such operation: %d: %w", clip(o.Key), o.Kind, ErrInvalid)
	case conditional && o.IfMatch == "":
		return fmt.Errorf("row %q: an ETag or %q is needed: %w", clip(o.Key), AnyTag, ErrInvalid)
	case !conditional && o.IfMatch != "":
		return fmt.Errorf("row %q: insert and put take no ETag: %w", clip(o.Key), ErrInvalid)
	case o.Kind == Delete && len(o.Properties) > 0:
		return fmt.Errorf("row %q: delete takes no properties: %w", clip(o.Key), ErrInvalid)
	}
	return CheckRow(Row{Partition: partition, Key: o.Key, Properties: o.Properties})
}

// CheckRow says whether a row's properties are ones that every store takes.
// ErrInvalid, ErrTooLarge.
func CheckRow(r Row) error {
	if n := len(r.Properties); n > MaxProperties {
		return fmt.Errorf("row %q: %d properties, at most %d: %w", clip(r.Key), n, MaxProperties, ErrTooLarge)
	}
	last := ""
	for _, p := range r.Properties {
		if err := checkProperty(p, last); err != nil {
			return fmt.Errorf("row %q: %w", clip(r.Key), err)
		}
		last = p.Name
	}
	if n := r.Size(); n > MaxRow {
		return fmt.Errorf("row %q: %d bytes, at most %d: %w", clip(r.Key), n, MaxRow, ErrTooLarge)
	}
	if n := r.jsonSize(); n > MaxRow {
		return fmt.Errorf("row %q: %d bytes as JSON, at most %d: %w", clip(r.Key), n, MaxRow, ErrTooLarge)
	}
	return nil
}

func checkProperty(p Property, last string) error {
	if err := checkName(p.Name); err != nil {
		return err
	}
	if p.Name <= last {
		return fmt.Errorf("property %q after %q: names ascend: %w", p.Name, last, ErrInvalid)
	}
	if err := checkValue(p.Value); err != nil {
		return fmt.Errorf("property %q: %w", p.Name, err)
	}
	return nil
}

func checkName(name string) error {
	if name == "" || len(name) > 255 {
		return fmt.Errorf("property %q: 1 to 255 characters: %w", clip(name), ErrInvalid)
	}
	switch name {
	case "PartitionKey", "RowKey", "Timestamp":
		return fmt.Errorf("property %q: the name is the service's own: %w", name, ErrInvalid)
	}
	for i := range len(name) {
		c := name[i] | 0x20
		letter, digit := 'a' <= c && c <= 'z' || name[i] == '_', '0' <= name[i] && name[i] <= '9'
		if !letter && (i == 0 || !digit) {
			return fmt.Errorf("property %q: letters, digits and _, the first no digit: %w", name, ErrInvalid)
		}
	}
	return nil
}

func checkValue(v any) error {
	switch v := v.(type) {
	case bool, int64:
		return nil
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("%v is not finite: %w", v, ErrInvalid)
		}
	case string:
		if !utf8.ValidString(v) {
			return fmt.Errorf("a string that is not UTF-8: %w", ErrInvalid)
		}
		if n := units(v); n > MaxPropertyText {
			return fmt.Errorf("a string of %d UTF-16 units, at most %d: %w", n, MaxPropertyText, ErrTooLarge)
		}
	case []byte:
		if len(v) > MaxPropertyBytes {
			return fmt.Errorf("%d bytes, at most %d: %w", len(v), MaxPropertyBytes, ErrTooLarge)
		}
	default:
		return fmt.Errorf("a value of type %T: string, bool, int64, float64 or []byte: %w", v, ErrInvalid)
	}
	return nil
}

// CheckKey says whether s may be a partition or a key. ErrInvalid, ErrTooLarge.
func CheckKey(s string) error {
	switch n := units(s); {
	case n == 0:
		return fmt.Errorf("key: it is empty: %w", ErrInvalid)
	case n > MaxKey:
		return fmt.Errorf("key %q: %d UTF-16 units, at most %d: %w", clip(s), n, MaxKey, ErrTooLarge)
	case !utf8.ValidString(s):
		return fmt.Errorf("key %q: not UTF-8: %w", clip(s), ErrInvalid)
	}
	if i := strings.IndexFunc(s, refused); i >= 0 {
		r, _ := utf8.DecodeRuneInString(s[i:])
		return fmt.Errorf("key %q: it holds %U, which a key must not: %w", clip(s), r, ErrInvalid)
	}
	return nil
}

func refused(r rune) bool {
	return r < ' ' || 0x7F <= r && r <= 0x9F || r > 0xFFFF || r == '/' || r == '\\' || r == '#' || r == '?'
}

// clip keeps messages short.
func clip(s string) string {
	const most = 64
	if len(s) <= most {
		return s
	}
	return s[:most] + "..."
}
