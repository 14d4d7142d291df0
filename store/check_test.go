package store_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sluice/store"
)

func wantErr(t *testing.T, err, want error, part string) {
	t.Helper()
	if !errors.Is(err, want) || err != nil && !strings.Contains(err.Error(), part) {
		t.Errorf("error %v, want %v that names %q", err, want, part)
	}
}

func TestCheckTable(t *testing.T) {
	for _, name := range []string{"abc", "a00", strings.Repeat("z", 63), "sluiceheads", "tables1"} {
		wantErr(t, store.CheckTable(name), nil, "")
	}
	for _, name := range []string{"", "ab", "tables", "Abc", "aBc", "1ab", "a-b", "a_b", "äbc", "ab ", strings.Repeat("z", 64)} {
		wantErr(t, store.CheckTable(name), store.ErrInvalid, "table")
	}
}

func TestCheckKey(t *testing.T) {
	for _, key := range []string{"a", " ", "!open0", "'", "%", "ü", "日本", "\ufffd", strings.Repeat("日", store.MaxKey)} {
		wantErr(t, store.CheckKey(key), nil, "")
	}
	for key, part := range map[string]string{
		"": "empty", "a/b": "U+002F", `a\b`: "U+005C", "a#": "U+0023", "a?": "U+003F", "a\x00": "U+0000", "\x1f": "U+001F",
		"\x7f": "U+007F", "\u0080": "U+0080", "\u009f": "U+009F", "🌡": "U+1F321", "\xff": "UTF-8", "a\xed\xa0\x80": "UTF-8",
	} {
		wantErr(t, store.CheckKey(key), store.ErrInvalid, part)
	}
	wantErr(t, store.CheckKey(strings.Repeat("日", store.MaxKey+1)), store.ErrTooLarge, "513")
}

func TestCheckOps(t *testing.T) {
	one := func(p ...store.Property) []store.Op { return []store.Op{{Key: "k", Properties: p}} }
	for _, tt := range []struct {
		ops  []store.Op
		want error
		part string
	}{
		{one(), nil, ""},
		{nil, store.ErrInvalid, "0 operations"},
		{make([]store.Op, 101), store.ErrInvalid, "101 operations"},
		{[]store.Op{{Key: "k"}, {Key: "l"}, {Key: "k"}}, store.ErrInvalid, `operation 2: row "k" twice`},
		{[]store.Op{{Key: "k", Kind: 5}}, store.ErrInvalid, "no such operation: 5"},
		{[]store.Op{{Key: "k", Kind: store.Touch}}, store.ErrInvalid, "an ETag"},
		{[]store.Op{{Key: "k", IfMatch: "x"}}, store.ErrInvalid, "no ETag"},
		{[]store.Op{{Key: "k", Kind: store.Delete, IfMatch: "*", Properties: one(store.Property{Name: "A", Value: ""})[0].Properties}}, store.ErrInvalid, "no properties"},
		{one(store.Property{Name: "A", Value: nil}), store.ErrInvalid, "<nil>"},
		{one(store.Property{Name: "A", Value: int32(1)}), store.ErrInvalid, "int32"},
		{one(store.Property{Name: "A", Value: math.Inf(1)}), store.ErrInvalid, "+Inf"},
		{one(store.Property{Name: "A", Value: math.NaN()}), store.ErrInvalid, "NaN"},
		{one(store.Property{Name: "A", Value: "\xff"}), store.ErrInvalid, "UTF-8"},
		{one(store.Property{Name: "", Value: true}), store.ErrInvalid, "1 to 255"},
		{one(store.Property{Name: "9A", Value: true}), store.ErrInvalid, "9A"},
		{one(store.Property{Name: "A.B", Value: true}), store.ErrInvalid, "A.B"},
		{one(store.Property{Name: "Ä", Value: true}), store.ErrInvalid, "Ä"},
		{one(store.Property{Name: "Timestamp", Value: true}), store.ErrInvalid, "Timestamp"},
		{one(store.Property{Name: "B", Value: true}, store.Property{Name: "A", Value: true}), store.ErrInvalid, "ascend"},
		{one(store.Property{Name: "A_9z", Value: true}, store.Property{Name: "_", Value: ""}, store.Property{Name: strings.Repeat("a", 255), Value: []byte{}}), nil, ""},
		{one(store.Property{Name: strings.Repeat("a", 256), Value: []byte{}}), store.ErrInvalid, "255"},
		{one(store.Property{Name: "A", Value: strings.Repeat("🌡", store.MaxPropertyText/2)}), nil, ""},
		{one(store.Property{Name: "A", Value: strings.Repeat("🌡", store.MaxPropertyText/2) + "x"}), store.ErrTooLarge, "32769"},
		{one(store.Property{Name: "A", Value: make([]byte, store.MaxPropertyBytes+1)}), store.ErrTooLarge, "65537"},
	} {
		wantErr(t, store.CheckOps("p", tt.ops), tt.want, tt.part)
	}
	wantErr(t, store.CheckOps("", one()), store.ErrInvalid, "partition")
}

// TestCheckOpsIndex: what concerns one operation says which.
func TestCheckOpsIndex(t *testing.T) {
	var at *store.OpError
	err := store.CheckOps("p", []store.Op{{Key: "a"}, {Key: "b"}, {Key: "c?"}})
	if !errors.As(err, &at) || at.Index != 2 {
		t.Fatalf("%v, want an OpError of operation 2", err)
	}
}

// TestCheckRowAsJSON: bytes are longer in base64, and that counts too.
func TestCheckRowAsJSON(t *testing.T) {
	row := store.Row{Partition: "p", Key: "k"}
	for i := range store.MaxRow / store.MaxPropertyBytes * 3 / 4 {
		wantErr(t, store.CheckRow(row), nil, "")
		row.Properties = append(row.Properties, store.Property{Name: fmt.Sprintf("P%02d", i), Value: make([]byte, store.MaxPropertyBytes)})
	}
	wantErr(t, store.CheckRow(row), store.ErrTooLarge, "as JSON")
}

func TestPrefixEnd(t *testing.T) {
	for prefix, want := range map[string]string{"": "", "a": "b", "a!": "a\"", "a\xff": "b", "\xff\xff": "", "00007!": "00007\""} {
		if got := store.PrefixEnd(prefix); got != want {
			t.Errorf("end of prefix %q: %q, want %q", prefix, got, want)
		}
	}
	rapid.Check(t, func(rt *rapid.T) {
		b := rapid.StringOfN(rapid.RuneFrom([]rune("a!\u00ff")), 0, 4, -1)
		prefix, s := b.Draw(rt, "prefix"), b.Draw(rt, "string")
		end := store.PrefixEnd(prefix)
		if in := s >= prefix && (end == "" || s < end); in != strings.HasPrefix(s, prefix) {
			rt.Fatalf("%q in [%q, %q): %v", s, prefix, end, in)
		}
	})
}

// TestMerged holds the merge of properties against a map.
func TestMerged(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		old, changes := anyProperties(rt), anyProperties(rt)
		want := map[string]any{}
		for _, p := range slices.Concat(old, changes) {
			want[p.Name] = p.Value
		}
		got := store.Merged(old, changes)
		last := ""
		for _, p := range got {
			if p.Name <= last || want[p.Name] != p.Value {
				rt.Fatalf("%+v and %+v merged: %+v", old, changes, got)
			}
			last = p.Name
		}
		if len(got) != len(want) {
			rt.Fatalf("%+v and %+v merged: %+v", old, changes, got)
		}
	})
}

func anyProperties(rt *rapid.T) []store.Property {
	var out []store.Property
	for _, name := range []string{"A", "B", "C", "D"} {
		if rapid.Bool().Draw(rt, name) {
			out = append(out, store.Property{Name: name, Value: rapid.Int64().Draw(rt, "value")})
		}
	}
	return out
}

func TestSelected(t *testing.T) {
	all := []store.Property{{Name: "A", Value: true}, {Name: "B", Value: true}}
	if got := store.Selected(all, nil); len(got) != 2 {
		t.Errorf("all of %+v: %+v", all, got)
	}
	if got := store.Selected(all, []string{}); len(got) != 0 {
		t.Errorf("none of %+v: %+v", all, got)
	}
	if got := store.Selected(all, []string{"C", "B"}); len(got) != 1 || got[0].Name != "B" {
		t.Errorf("B of %+v: %+v", all, got)
	}
}

func TestCloneProperties(t *testing.T) {
	b := []byte("mine")
	got := store.CloneProperties([]store.Property{{Name: "B", Value: b}, {Name: "E", Value: []byte{}}})
	copy(b, "XXXX")
	if string(got[0].Value.([]byte)) != "mine" || got[1].Value.([]byte) == nil {
		t.Fatalf("%+v", got)
	}
}
