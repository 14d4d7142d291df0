package pebble

import (
	"bytes"
	"cmp"
	"math"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"sluice/store"
)

func drawValue(t *rapid.T) any {
	return rapid.OneOf(
		rapid.Bool().AsAny(), rapid.Int64().AsAny(), rapid.String().AsAny(),
		rapid.Custom(func(t *rapid.T) float64 { return math.Float64frombits(rapid.Uint64().Draw(t, "bits")) }).AsAny(),
		rapid.SliceOf(rapid.Byte()).AsAny(),
	).Draw(t, "value")
}

func bitsEqual(a, b float64) bool { return math.Float64bits(a) == math.Float64bits(b) }

// Values come back exactly, of their type, and share nothing with what was
// encoded.
func TestRowRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var in []store.Property
		for _, name := range rapid.SliceOfNDistinct(rapid.StringMatching(`[A-Za-z_]\w{0,9}`), 0, 12, rapid.ID).Draw(t, "names") {
			in = append(in, store.Property{Name: name, Value: drawValue(t)})
		}
		tag := rapid.Uint64().Draw(t, "tag")
		data, err := encodeRow(tag, in)
		if err != nil {
			t.Fatal(err)
		}
		got, out, err := decodeRow(data, nil, map[string]string{})
		clear(data)
		if err != nil || got != tag {
			t.Fatalf("tag %d, want %d: %v", got, tag, err)
		}
		if len(in) == 0 {
			in = []store.Property{}
		}
		if d := gocmp.Diff(in, out, gocmp.Comparer(bitsEqual)); d != "" {
			t.Fatal(d)
		}
	})
}

// Keys order as (partition, key) do, and bounds with zero bytes, which no
// partition has, cut where they should.
func TestRowKeysOrder(t *testing.T) {
	name := rapid.StringMatching(`[!-~é￿]{1,4}`)
	bound := rapid.StringMatching(`[!-~é￿]{0,4}\x00?`)
	rapid.Check(t, func(t *rapid.T) {
		p, k, q, l := name.Draw(t, "p"), name.Draw(t, "k"), name.Draw(t, "q"), name.Draw(t, "l")
		a, b := rowKey(7, p, k), rowKey(7, q, l)
		want := cmp.Or(strings.Compare(p, q), strings.Compare(k, l))
		if got := bytes.Compare(a, b); got != want {
			t.Fatalf("(%q %q) and (%q %q): %d, want %d", p, k, q, l, got, want)
		}
		x := bound.Draw(t, "bound")
		if got := bytes.Compare(a[tablePrefixLen:], appendPartition(nil, x)) >= 0; got != (p >= x) {
			t.Fatalf("partition %q from %q: %v", p, x, got)
		}
		gotP, gotK, ok := splitRowKey(a[tablePrefixLen:])
		if string(gotP) != p || string(gotK) != k || !ok {
			t.Fatalf("(%q %q) comes back as (%q %q)", p, k, gotP, gotK)
		}
	})
}

// FuzzDecode: what the disk gives back broken is refused, never a panic, and
// what decodes does so the same again.
func FuzzDecode(f *testing.F) {
	row, _ := encodeRow(3, []store.Property{{Name: "A", Value: int64(-5)}, {Name: "B", Value: "text"}, {Name: "C", Value: 1.5}, {Name: "D", Value: []byte{1}}, {Name: "E", Value: true}})
	f.Add(row)
	f.Add(encodeEntries([]store.Entry{{Bucket: 1, Data: []byte("abc")}, {Bucket: 31, Data: []byte("d")}}))
	f.Add(head{version: 2, epochs: []epochRecord{{number: 1, place: 9, opened: 5, sealed: true}}, state: []byte("s")}.encode())
	f.Add([]byte{valueVersion, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, data []byte) {
		if tag, p, err := decodeRow(data, nil, map[string]string{}); err == nil {
			again, err := encodeRow(tag, p)
			if err != nil {
				t.Fatal(err)
			}
			_, q, err := decodeRow(again, nil, map[string]string{})
			if d := gocmp.Diff(p, q, gocmp.Comparer(bitsEqual)); err != nil || d != "" {
				t.Fatal(err, d)
			}
		}
		if e, err := decodeEntries(data, 1); err == nil {
			if again, err := decodeEntries(encodeEntries(e), 1); err != nil || gocmp.Diff(e, again) != "" {
				t.Fatal(err, gocmp.Diff(e, again))
			}
		}
		if h, err := decodeHead(data); err == nil {
			if again, err := decodeHead(h.encode()); err != nil || gocmp.Diff(h.outer(), again.outer()) != "" {
				t.Fatal(err, gocmp.Diff(h.outer(), again.outer()))
			}
		}
	})
}
