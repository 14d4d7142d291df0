package deadletters

import (
	"bytes"
	"math"
	"strings"
	"testing"
	"time"

	"sluice/store"
)

// FuzzID reads ids, which are cursors too, as clients may send them: what is read is
// written alike, lies under a legal key, and is found again from it.
func FuzzID(f *testing.F) {
	for _, seed := range []string{
		"019ab3c4d5e6-2a-0123456789abcdef01234567", "000000000000-0-000000000000000000000000",
		"ffffffffffff-7fffffffffffffff-ffffffffffffffffffffffff", "019AB3C4D5E6-2a-0123456789abcdef01234567",
		"019ab3c4d5e6-02a-0123456789abcdef01234567", "+19ab3c4d5e6-2a-0123456789abcdef01234567", "a-b-c", "--", "",
		"019ab3c4d5e6-2a-0123456789abcdef0123456/",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		i, ok := parseID(text)
		if !ok {
			return
		}
		if i.String() != text {
			t.Errorf("%q is written %q", text, i)
		}
		for _, key := range []string{i.partition(), i.key(), i.partKey(3)} {
			if err := store.CheckKey(key); err != nil {
				t.Error(err)
			}
		}
		if back, ok := idOfKey(i.key()); !ok || back != i {
			t.Errorf("%v from the key of %v", back, i)
		}
		if !strings.HasPrefix(i.key(), letterKeys) || i.key() >= letterKeysEnd {
			t.Errorf("key %q", i.key())
		}
	})
}

// FuzzIdentity makes ids of any events: they are read again, and later ones sort
// before earlier ones.
func FuzzIdentity(f *testing.F) {
	f.Add(int64(1795492800000), int64(42), "0", []byte("{}"), int64(1795492800001), int64(43))
	f.Add(int64(-1), int64(-1), "", []byte{}, int64(math.MaxInt64), int64(math.MaxInt64))
	f.Fuzz(func(t *testing.T, millis, sequence int64, partition string, body []byte, otherMillis, otherSequence int64) {
		a := idOf(Source{Partition: partition, Sequence: sequence, Enqueued: time.UnixMilli(millis)}, body)
		b := idOf(Source{Partition: partition, Sequence: otherSequence, Enqueued: time.UnixMilli(otherMillis)}, body)
		for _, i := range []id{a, b} {
			if back, ok := parseID(i.String()); !ok || back != i {
				t.Errorf("%v from %v", back, i)
			}
		}
		if a.millis > b.millis && a.partition()+a.key() >= b.partition()+b.key() {
			t.Errorf("%v does not sort before %v", a, b)
		}
		if same := millis == otherMillis && sequence == otherSequence; same != (a == b) {
			t.Errorf("%v and %v", a, b)
		}
	})
}

// FuzzClean makes texts that every store takes.
func FuzzClean(f *testing.F) {
	for _, seed := range []string{"", "a", "\xff", "ü", "\x00", "a\u0085b", "🌡🌡", "\xf0\x9f\x8c"} {
		f.Add(seed, 5)
	}
	f.Fuzz(func(t *testing.T, text string, most int) {
		most = 1 + most&15
		cleaned := clean(text, most)
		row := store.Op{Key: "k", Properties: []store.Property{{Name: "text", Value: cleaned}}}
		if err := store.CheckOps("p", []store.Op{row}); err != nil || len(cleaned) > 3*most {
			t.Errorf("%q of %q: %v", cleaned, text, err)
		}
		if len(text) <= most && !bytes.ContainsFunc([]byte(text), func(r rune) bool { return r < ' ' || r >= 0x7F }) && cleaned != text {
			t.Errorf("%q became %q", text, cleaned)
		}
	})
}
