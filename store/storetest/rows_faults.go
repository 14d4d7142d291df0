package storetest

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"

	"sluice/store"
)

func runRowsFaults(t *testing.T, rows store.Rows) {
	t.Run("Random", func(t *testing.T) {
		n := 0
		rapid.Check(t, func(rt *rapid.T) {
			n++
			newRowsModel(t, rt, rows, n).run()
		})
	})
	t.Run("Sleepers", func(t *testing.T) { rowsSleepers(t, rows) })
}

// rowsModel does the same with the store that is tested, under faults, and with
// a Memory, and compares every answer.
type rowsModel struct {
	t     *testing.T
	rt    *rapid.T
	real  *FaultyRows
	model Memory

	tables []string
	calm   bool
	last   Verdict                       // of the call that was done last
	late   []func() error                // the floating calls' counterparts
	tags   map[[3]string][][2]store.ETag // ETags that were read of a row: the store's, the model's
}

func newRowsModel(t *testing.T, rt *rapid.T, rows store.Rows, n int) *rowsModel {
	m := &rowsModel{t: t, rt: rt, tags: map[[3]string][][2]store.ETag{}}
	m.real = NewFaultyRows(rows, m.hook)
	m.tables = []string{fmt.Sprintf("faultsa%d", n), fmt.Sprintf("faultsb%d", n)}
	return m
}

func (m *rowsModel) run() {
	m.rt.Repeat(map[string]func(*rapid.T){
		"commit":  func(rt *rapid.T) { m.commit() },
		"commit2": func(rt *rapid.T) { m.commit() },
		"commit3": func(rt *rapid.T) { m.commit() },
		"read":    func(rt *rapid.T) { m.read() },
		"scan":    func(rt *rapid.T) { m.scan() },
		"table":   func(rt *rapid.T) { m.table() },
		"land":    func(rt *rapid.T) { m.land() },
		"forget":  func(rt *rapid.T) { m.forget() },
	})
	for len(m.late) > 0 {
		m.same(m.real.Land(0), m.late[0]())
		m.late = m.late[1:]
	}
	m.calm = true
	for range m.tables {
		m.scan()
	}
	for _, table := range m.tables {
		must(m.rt, m.real.DropTable(m.t.Context(), table), "drop")
	}
}

func (m *rowsModel) hook(Call) Verdict {
	m.last = Pass()
	if !m.calm {
		m.last = anyVerdict(m.rt)
	}
	return m.last
}

// anyVerdict draws a verdict; most calls pass.
func anyVerdict(rt *rapid.T) Verdict {
	switch n := rapid.IntRange(0, 19).Draw(rt, "fault"); n {
	case 19:
		return Fail(store.ErrThrottled)
	case 18:
		return Fail(store.ErrUnavailable)
	case 17, 16:
		return Lose()
	case 15, 14, 13:
		return Float()
	case 12, 11, 10:
		return Cut(n - 10)
	default:
		return Pass()
	}
}

// faulty says whether a read's answer is the fault that was injected.
func (m *rowsModel) faulty(err error) bool {
	want := m.last.before
	if m.last.float || m.last.after != nil {
		want = store.ErrUnavailable
	}
	if want != nil {
		wantErr(m.rt, err, want, "read under a fault")
	}
	return want != nil
}

// wrote compares a write's answer, and does it to the model where it was done.
func (m *rowsModel) wrote(err error, model func() error) {
	switch v := m.last; {
	case v.before != nil:
		wantErr(m.rt, err, v.before, "write that failed before anything was done")
	case v.float:
		wantErr(m.rt, err, store.ErrNoAnswer, "write that was given up")
		m.late = append(m.late, model)
	case v.after != nil:
		wantErr(m.rt, err, store.ErrNoAnswer, "write whose answer was lost")
		_ = model()
	default:
		m.same(err, model())
	}
}

// same compares what a caller decides by.
func (m *rowsModel) same(got, want error) {
	m.rt.Helper()
	if a, b := reason(got), reason(want); a != b {
		m.rt.Fatalf("the store says %q (%v), the model %q (%v)", a, got, b, want)
	}
}

func reason(err error) string {
	var at *store.OpError
	for _, e := range []error{store.ErrTableNotFound, store.ErrNotFound, store.ErrExists, store.ErrStale, store.ErrInvalid, store.ErrTooLarge} {
		switch {
		case errors.Is(err, e) && errors.As(err, &at):
			return fmt.Sprintf("operation %d: %v", at.Index, e)
		case errors.Is(err, e):
			return e.Error()
		}
	}
	return fmt.Sprint(err)
}

func (m *rowsModel) anyTable() string { return rapid.SampledFrom(m.tables).Draw(m.rt, "table") }

func (m *rowsModel) anyKey() (partition, key string) {
	return rapid.SampledFrom([]string{"p", "p!1", "q"}).Draw(m.rt, "partition"), m.key()
}

func (m *rowsModel) key() string {
	return rapid.SampledFrom([]string{"!f", "a", "b", "c"}).Draw(m.rt, "key")
}

// commit does a random transaction, whose ETags are ones that were read.
func (m *rowsModel) commit() {
	ctx, table := m.t.Context(), m.anyTable()
	partition, _ := m.anyKey()
	real, model := m.ops(table, partition)
	err := m.real.Commit(ctx, table, partition, real)
	m.wrote(err, func() error { return m.model.Commit(ctx, table, partition, model) })
}

func (m *rowsModel) ops(table, partition string) (real, model []store.Op) {
	for range rapid.IntRange(1, 4).Draw(m.rt, "operations") {
		o := store.Op{Kind: store.OpKind(rapid.IntRange(0, 4).Draw(m.rt, "kind")), Key: m.key()}
		if slices.ContainsFunc(real, func(p store.Op) bool { return p.Key == o.Key }) {
			continue
		}
		if o.Kind != store.Delete {
			o.Properties = m.properties()
		}
		r := o
		if o.Kind > store.Put {
			r.IfMatch, o.IfMatch = m.match([3]string{table, partition, o.Key})
		}
		real, model = append(real, r), append(model, o)
	}
	return real, model
}

func (m *rowsModel) match(row [3]string) (real, model store.ETag) {
	known := m.tags[row]
	if i := rapid.IntRange(-1, len(known)-1).Draw(m.rt, "ETag"); i >= 0 {
		return known[i][0], known[i][1]
	}
	return store.AnyTag, store.AnyTag
}

func (m *rowsModel) properties() []store.Property {
	var out []store.Property
	for _, name := range []string{"A", "B"} {
		if rapid.Bool().Draw(m.rt, "has "+name) {
			out = append(out, store.Property{Name: name, Value: rapid.SampledFrom(oddValues).Draw(m.rt, name)})
		}
	}
	return out
}

func (m *rowsModel) read() {
	table := m.anyTable()
	partition, key := m.anyKey()
	got, err := m.real.Get(m.t.Context(), table, partition, key)
	if m.faulty(err) {
		return
	}
	want, err2 := m.model.Get(m.t.Context(), table, partition, key)
	m.same(err, err2)
	if err == nil {
		m.sameRow(table, got, want)
	}
}

// sameRow compares rows, and that an ETag of the one stands for an ETag of the
// other.
func (m *rowsModel) sameRow(table string, got, want store.Row) {
	if got.Partition != want.Partition || got.Key != want.Key || !sameProperties(got.Properties, want.Properties) {
		m.rt.Fatalf("row %+v, the model's is %+v", got, want)
	}
	at := [3]string{table, got.Partition, got.Key}
	for _, pair := range m.tags[at] {
		if (pair[0] == got.ETag) != (pair[1] == want.ETag) {
			m.rt.Fatalf("row %q: ETag %q read for the model's %q, formerly %q for %q", at, got.ETag, want.ETag, pair[0], pair[1])
		}
		if pair[0] == got.ETag {
			return
		}
	}
	m.tags[at] = append(m.tags[at], [2]store.ETag{got.ETag, want.ETag})
}

// scan reads a whole range; a page that fails is asked for again.
func (m *rowsModel) scan() {
	table := m.anyTable()
	r := store.Range{Limit: rapid.IntRange(0, 3).Draw(m.rt, "limit")}
	if rapid.Bool().Draw(m.rt, "one partition") {
		p, from := m.anyKey()
		r.PartitionFrom, r.PartitionTo, r.KeyFrom = p, store.After(p), from
	}
	want, wantErr := scanRows(m.rt, &m.model, table, r)
	var got []store.Row
	for token := ""; ; {
		p, err := m.real.Scan(m.t.Context(), table, r, token)
		if m.faulty(err) {
			continue
		}
		if m.same(err, wantErr); err != nil {
			return
		}
		got = append(got, p.Rows...)
		if token = p.Next; token == "" {
			break
		}
	}
	wantTexts(m.rt, "scan under faults", names(got), names(want))
	for i := range got {
		m.sameRow(table, got[i], want[i])
	}
}

func (m *rowsModel) table() {
	ctx, table := m.t.Context(), m.anyTable()
	if rapid.IntRange(0, 3).Draw(m.rt, "drop") == 3 {
		m.wrote(m.real.DropTable(ctx, table), func() error { return m.model.DropTable(ctx, table) })
		return
	}
	m.wrote(m.real.CreateTable(ctx, table), func() error { return m.model.CreateTable(ctx, table) })
}

// land does a floating call, to the store and to the model.
func (m *rowsModel) land() {
	if i := rapid.IntRange(-1, len(m.late)-1).Draw(m.rt, "floating call"); i >= 0 {
		m.same(m.real.Land(i), m.late[i]())
		m.late = slices.Delete(m.late, i, i+1)
	}
}

func (m *rowsModel) forget() {
	if i := rapid.IntRange(-1, len(m.late)-1).Draw(m.rt, "floating call"); i >= 0 {
		m.real.Lose(i)
		m.late = slices.Delete(m.late, i, i+1)
	}
}

// rowsSleepers: writers that wait before their write, while another one comes
// first: their condition is judged when they write.
func rowsSleepers(t *testing.T, rows store.Rows) {
	newTable(t, rows, testTable)
	prize := func(p string) []store.Op {
		return []store.Op{put("own", p), op(store.Insert, "prize", "", value(p)...)}
	}
	asleep(t, rows, prize("insert"), prize("insert"), store.ErrExists)
	commit(t, rows, "p", put("row", "1"))
	tag := get(t, rows, "p", "row").ETag
	for _, kind := range []store.OpKind{store.Replace, store.Touch, store.Delete} {
		asleep(t, rows, []store.Op{op(kind, "row", tag)}, []store.Op{put("row", "2")}, store.ErrStale)
		tag = get(t, rows, "p", "row").ETag
		asleep(t, rows, []store.Op{op(kind, "row", store.AnyTag)}, []store.Op{op(store.Delete, "row", tag)}, store.ErrNotFound)
		commit(t, rows, "p", put("row", "1"))
		tag = get(t, rows, "p", "row").ETag
	}
}

// asleep begins one transaction, holds it before it is done, does another one,
// and lets the first go on.
func asleep(t *testing.T, rows store.Rows, first, second []store.Op, want error) {
	t.Helper()
	var awake atomic.Bool
	reached, release, done := make(chan struct{}), make(chan struct{}), make(chan error)
	held := NewFaultyRows(rows, func(Call) Verdict {
		if !awake.Swap(true) {
			close(reached)
			<-release
		}
		return Pass()
	})
	go func() { done <- held.Commit(t.Context(), testTable, "p", first) }()
	<-reached
	must(t, held.Commit(t.Context(), testTable, "p", second), "the second transaction")
	close(release)
	wantErr(t, <-done, want, "the first transaction")
}
