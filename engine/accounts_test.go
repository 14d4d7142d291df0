package engine_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/engine"
	"sluice/store"
	"sluice/store/fenced"
	"sluice/store/storetest"
	"sluice/telemetry"
	"sluice/telemetry/block"
)

// over is a config over accounts whose names are letters.
func over(names string, accounts map[rune]store.Rows) engine.Config {
	c := engine.Config{
		Now: func() time.Time { return noon }, NewID: func() string { return "made-over-" + names }, Shards: 4,
		Journal: func(rows func(int) store.Rows) (store.Journal, error) {
			return fenced.New(rows, fenced.Options{
				Now: func() time.Time { return noon }, Sleep: func(context.Context, time.Duration) error { return nil },
			})
		},
	}
	for _, name := range names {
		if accounts[name] == nil {
			accounts[name] = &storetest.Memory{}
		}
		c.Names, c.Accounts = append(c.Names, string(name)), append(c.Accounts, accounts[name])
	}
	return c
}

func openOver(t *testing.T, names string, accounts map[rune]store.Rows) *engine.Engine {
	t.Helper()
	e, err := engine.Open(t.Context(), over(names, accounts))
	if err != nil {
		t.Fatalf("open over %s: %v", names, err)
	}
	return e
}

func sendOne(t *testing.T, e *engine.Engine, device string) {
	t.Helper()
	if err := appendOne(t.Context(), e, device); err != nil {
		t.Fatal(err)
	}
}

func appendOne(ctx context.Context, e *engine.Engine, device string) error {
	r := reading(device, noon, number("x", 1))
	r.Stamp = telemetry.Stamp(noon.UnixNano())
	return e.Append(ctx, e.Shard(device), block.FromReadings([]telemetry.Reading{r}))
}

// Accounts that are not those that the store was made over are noticed, whatever
// was done to them, and the message says what is there and what to do.
func TestOtherAccounts(t *testing.T) {
	foreign := func(table, partition, key string) func(*testing.T, map[rune]store.Rows) {
		return func(t *testing.T, accounts map[rune]store.Rows) {
			put(t, accounts['x'], table, partition, store.Op{Kind: store.Put, Key: key, Properties: []store.Property{{Name: "theirs", Value: "yes"}}})
		}
	}
	for _, c := range []struct {
		name     string
		before   string // a store is made over these, and another one over o and p
		settings string
		prepare  func(*testing.T, map[rune]store.Rows)
		want     error
		says     []string
	}{
		{"as they were", "abc", "abc", nil, nil, nil},
		{"one as it was", "a", "a", nil, nil, nil},
		{"the last two swapped", "abc", "acb", nil, engine.ErrMismatch, []string{"account c is number 3", "as number 2", "in the order"}},
		{"the first two swapped", "ab", "ba", nil, engine.ErrMismatch, []string{"account b is number 2 of the 2 accounts of store made-over-ab", "as number 1 of a new one"}},
		{"one is missing", "abc", "ab", nil, engine.ErrMismatch, []string{"lies in 3 accounts (a, b, c)", "give 2 (a, b)", "give all of its accounts"}},
		{"all but the first are missing", "ab", "a", nil, engine.ErrMismatch, []string{"lies in 2 accounts (a, b)", "give 1 (a)"}},
		{"the first is missing", "abc", "bc", nil, engine.ErrMismatch, []string{"account b is number 2 of the 3 accounts of store made-over-abc"}},
		{"one too many", "ab", "abc", nil, engine.ErrMismatch, []string{"lies in 2 accounts (a, b)", "give 3 (a, b, c)"}},
		{"one more than one", "a", "ab", nil, engine.ErrMismatch, []string{"lies in 1 accounts", "give 2 (a, b)"}},
		{"an empty one instead", "ab", "ax", nil, engine.ErrMismatch, []string{"account x has no mark of store made-over-ab", "as", "its tables were deleted"}},
		{"another store's second", "ab", "ap", nil, engine.ErrMismatch, []string{"account p belongs to another store, made-over-op", "number 2 of its 2"}},
		{"another store's first", "ab", "ao", nil, engine.ErrMismatch, []string{"account o is the first account of another store, made-over-op"}},
		{"a new store over another one's first", "", "xo", nil, engine.ErrMismatch, []string{"account o is the first account of store made-over-op"}},
		{"a new store over another one's second", "", "xp", nil, engine.ErrMismatch, []string{"account p is number 2 of the 2 accounts of store made-over-op"}},
		{"a single one's account as second", "a", "xa", nil, engine.ErrMismatch, []string{"account a is the first account of store made-over-a"}},
		{"a table of ours without a store", "", "x", foreign("sluiceheads", "0000", "head"), engine.ErrMismatch, []string{"account x has table sluiceheads", "use another account"}},
		{"… in the second", "", "ax", foreign("sluicejournal20261124", "0000", "x"), engine.ErrMismatch, []string{"account x has table sluicejournal20261124"}},
		{"a table of configs that is something else's", "", "x", foreign("sluiceconfig", "main", "k"), engine.ErrMismatch, []string{`row "main" "k" of table sluiceconfig`}},
		{"… and has a row in our place", "", "x", foreign("sluiceconfig", "config", "store"), engine.ErrCorrupt, []string{"none of a store's"}},
		{"a list without a store", "", "x", foreign("sluicelists", "0000", "p!~"), engine.ErrMismatch, []string{`row "0000" "p!~" of table sluicelists`}},
		{"twice the same", "", "aa", nil, nil, []string{"given twice: a, a"}},
		{"more accounts than shards", "", "abcde", nil, nil, []string{"5 accounts for 4 shards"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			accounts := map[rune]store.Rows{}
			sendOne(t, openOver(t, "op", accounts), "theirs")
			if c.before != "" {
				sendOne(t, openOver(t, c.before, accounts), "ours")
			}
			config := over(c.settings, accounts)
			if c.prepare != nil {
				c.prepare(t, accounts)
			}
			_, err := engine.Open(t.Context(), config)
			switch {
			case c.want == nil && c.says == nil && err != nil:
				t.Fatal(err)
			case c.says != nil && err == nil:
				t.Fatal("opened")
			case !errors.Is(err, c.want) && c.want != nil:
				t.Errorf("%v, want %v", err, c.want)
			}
			for _, part := range c.says {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not say %q", err, part)
				}
			}
			if c.before != "" { // nothing was changed on the way
				openOver(t, c.before, accounts)
			}
			openOver(t, "op", accounts)
		})
	}
}

func put(t *testing.T, rows store.Rows, table, partition string, op store.Op) {
	t.Helper()
	if err := rows.CreateTable(t.Context(), table); err != nil {
		t.Fatal(err)
	}
	if err := rows.Commit(t.Context(), table, partition, []store.Op{op}); err != nil {
		t.Fatal(err)
	}
}

// One account given under two names is noticed as soon as it can be.
func TestOneAccountTwice(t *testing.T) {
	accounts := map[rune]store.Rows{'a': &storetest.Memory{}}
	accounts['b'] = accounts['a']
	_, err := engine.Open(t.Context(), over("ab", accounts))
	if !errors.Is(err, engine.ErrMismatch) {
		t.Fatal(err)
	}
}

// Rows of newer versions, and rows that are damaged.
func TestForeignFormats(t *testing.T) {
	touch := func(name string, value any) store.Op {
		return store.Op{Kind: store.Touch, IfMatch: store.AnyTag, Properties: []store.Property{{Name: name, Value: value}}}
	}
	for _, c := range []struct {
		account rune
		key     string
		op      store.Op
		want    error
	}{
		{'a', "store", touch("format", int64(3)), engine.ErrFormat},
		{'a', "store", touch("format", int64(0)), engine.ErrCorrupt},
		{'a', "store", touch("hash", "md5"), engine.ErrMismatch},
		{'a', "store", touch("buckets", int64(0)), engine.ErrCorrupt},
		{'a', "store", touch("places", "0,1,0"), engine.ErrCorrupt},
		{'a', "store", touch("places", "0,1,0,2"), engine.ErrCorrupt},
		{'a', "store", touch("places", "0,1,0,x"), engine.ErrCorrupt},
		{'b', "account", touch("format", int64(3)), engine.ErrFormat},
		{'b', "account", touch("id", ""), engine.ErrCorrupt},
		{'b', "account", touch("accounts", int64(3)), engine.ErrCorrupt},
	} {
		accounts := map[rune]store.Rows{}
		openOver(t, "ab", accounts)
		c.op.Key = c.key
		put(t, accounts[c.account], "sluiceconfig", "config", c.op)
		if _, err := engine.Open(t.Context(), over("ab", accounts)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v: %v, want %v", c.key, c.op.Properties, err, c.want)
		}
	}
}

// A store that was made before there were several accounts is read as it is.
func TestStoreWithoutMap(t *testing.T) {
	accounts := map[rune]store.Rows{}
	openOver(t, "a", accounts)
	row, err := accounts['a'].Get(t.Context(), "sluiceconfig", "config", "store")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range row.Properties {
		names = append(names, fmt.Sprint(p.Name, "=", p.Value))
	}
	want := []string{"buckets=1", "format=1", "hash=xxh64", "id=made-over-a", "shards=4"} // as it was then
	if !slices.Equal(names, want) {
		t.Errorf("%q, want %q", names, want)
	}
	if _, err := accounts['a'].Get(t.Context(), "sluiceconfig", "config", "account"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a single account is marked: %v", err)
	}
}

// A first start that dies, or fails, at any of its calls, or of which a call
// lands late, is completed by the next, also if that gives up once and another
// instance starts at the same time.
func TestFirstStartIsInterrupted(t *testing.T) {
	for _, names := range []string{"a", "ab", "abc"} {
		for kind := range faults {
			for at := 1; ; at++ {
				s := &starts{t: t, names: names, at: at, kind: kind, accounts: map[rune]store.Rows{}}
				if !s.run() {
					if at < 5*len(names) {
						t.Fatalf("%s: only %d calls", names, at)
					}
					break
				}
			}
		}
	}
}

// starts is a number of first starts.
type starts struct {
	t        *testing.T
	names    string
	at       int // the call that fails
	kind     fault
	calls    int
	accounts map[rune]store.Rows
	floating []*storetest.Floating
}

// run says whether a call failed.
func (s *starts) run() bool {
	for _, name := range s.names {
		rows := storetest.NewFaultyRows(&storetest.Memory{}, s.hook)
		s.accounts[name], s.floating = rows, append(s.floating, &rows.Floating)
	}
	var acked [2]bool
	first, err := engine.Open(s.t.Context(), over(s.names, s.accounts))
	if err == nil {
		acked[0] = appendOne(s.t.Context(), first, "pump-1") == nil
	} else if s.kind == crashAfter {
		s.t.Errorf("%s, another start at call %d: the first one: %v", s.names, s.at, err)
	}
	before := s.calls
	other, err := engine.Open(s.t.Context(), over(s.names, s.accounts))
	if err != nil && (s.at <= before || s.at > s.calls) {
		s.t.Errorf("%s, %v at call %d: next start: %v", s.names, s.kind, s.at, err)
		return false
	}
	if other != nil {
		acked[1] = appendOne(s.t.Context(), other, "pump-2") == nil
	}
	for _, f := range s.floating {
		for f.Len() > 0 {
			_ = f.Land(0)
		}
	}
	failed := s.calls >= s.at
	s.calls = 1 << 30 // no more
	e, err := engine.Open(s.t.Context(), over(s.names, s.accounts))
	if err != nil {
		s.t.Errorf("%s, %v at call %d: last start: %v", s.names, s.kind, s.at, err)
		return false
	}
	if first != nil && e.ID() != first.ID() || other != nil && e.ID() != other.ID() {
		s.t.Errorf("%s, %v at call %d: the store was made twice", s.names, s.kind, s.at)
	}
	for i, id := range []string{"pump-1", "pump-2"} {
		_, known, err := e.View().Device(s.t.Context(), id)
		if err != nil || acked[i] && !known {
			s.t.Errorf("%s, %v at call %d: %s known %v, acknowledged %v: %v", s.names, s.kind, s.at, id, known, acked[i], err)
		}
	}
	return failed
}

func (s *starts) hook(storetest.Call) storetest.Verdict {
	if s.calls++; s.calls != s.at {
		return storetest.Pass()
	}
	switch s.kind {
	case failBefore:
		return storetest.Fail(store.ErrUnavailable)
	case loseAnswer:
		return storetest.Lose()
	case floatCall:
		return storetest.Float()
	case cutPage:
		return storetest.Cut(0)
	case crashAfter: // in between another instance does all of it
		other := map[rune]store.Rows{}
		for name, rows := range s.accounts {
			other[name] = rows
		}
		e, err := engine.Open(context.Background(), over(s.names, other))
		if err != nil {
			s.t.Errorf("%s, another start at call %d: %v", s.names, s.at, err)
			return storetest.Pass()
		}
		if err := appendOne(context.Background(), e, "pump-1"); err != nil {
			s.t.Errorf("%s, another start at call %d: %v", s.names, s.at, err)
		}
		return storetest.Pass()
	default:
		return storetest.Fail(errCrashed)
	}
}

// Days below the floor go in every account.
func TestRetentionInEveryAccount(t *testing.T) {
	accounts, clock := map[rune]store.Rows{}, &clock{noon}
	config := over("ab", accounts)
	config.Now, config.Retention = clock.Now, 48*time.Hour
	config.Journal = func(rows func(int) store.Rows) (store.Journal, error) {
		return fenced.New(rows, fenced.Options{Now: clock.Now})
	}
	e, err := engine.Open(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	for shard := range e.Shards() {
		sendOne(t, e, deviceOfShard(shard, e.Shards()))
	}
	days := func() (n []int) {
		for _, rows := range config.Accounts {
			tables, _, err := rows.Tables(t.Context(), engine.LeafTables, "")
			if err != nil {
				t.Fatal(err)
			}
			n = append(n, len(tables))
		}
		return n
	}
	if err := e.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := days(); !slices.Equal(n, []int{1, 1}) {
		t.Fatalf("days by account: %v", n)
	}
	for range 80 {
		clock.now = clock.now.Add(time.Hour)
		if err := e.Compact(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := days(); !slices.Equal(n, []int{0, 0}) {
		t.Errorf("days by account after retention: %v", n)
	}
}
