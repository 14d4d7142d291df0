package engine_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"sluice/engine"
	"sluice/store"
	"sluice/store/fenced"
	"sluice/store/storetest"
	"sluice/telemetry"
	"sluice/telemetry/block"
)

// dueWorld is two engines over one account, and what they write to it.
type dueWorld struct {
	*clock
	t             *testing.T
	one, other    *engine.Engine
	writes, reads int
	before        func(storetest.Call) error
	stamp         telemetry.Stamp
}

func newDueWorld(t *testing.T, shards int) *dueWorld {
	t.Helper()
	w := &dueWorld{clock: &clock{noon}, t: t}
	rows := storetest.NewFaultyRows(&storetest.Memory{}, func(c storetest.Call) storetest.Verdict {
		if c.Write {
			w.writes++
		} else {
			w.reads++
		}
		if w.before != nil {
			if err := w.before(c); err != nil {
				return storetest.Fail(err)
			}
		}
		return storetest.Pass()
	})
	for _, e := range []**engine.Engine{&w.one, &w.other} {
		var err error
		*e, err = engine.Open(t.Context(), engine.Config{
			Accounts: []store.Rows{rows}, Shards: shards, Now: w.Now, NewID: func() string { return "due" },
			Journal: func(rows func(int) store.Rows) (store.Journal, error) {
				return fenced.New(rows, fenced.Options{Now: w.Now})
			},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// send appends a reading to each shard.
func (w *dueWorld) send() {
	w.t.Helper()
	for shard := range w.one.Shards() {
		w.stamp++
		r := telemetry.Reading{
			Device: deviceOfShard(shard, w.one.Shards()), Time: noon.Add(time.Duration(w.stamp) * time.Millisecond).UnixNano(), Stamp: w.stamp,
			Metrics: []telemetry.Metric{number("x", 1)},
		}
		if err := w.one.Append(w.t.Context(), shard, block.FromReadings([]telemetry.Reading{r})); err != nil {
			w.t.Fatal(err)
		}
	}
}

func deviceOfShard(shard, shards int) string {
	id := []byte("d0")
	for engine.Place(string(id), shards) != shard {
		id[1]++
	}
	return string(id)
}

func (w *dueWorld) due(e *engine.Engine) engine.Compaction {
	w.t.Helper()
	w.writes, w.reads = 0, 0
	done, err := e.CompactDue(w.t.Context(), time.Minute, time.Second)
	if err != nil {
		w.t.Fatal(err)
	}
	return done
}

// What another instance has just merged, or is merging, is left alone: it costs
// a read a shard, and no write. Later it is due, whichever instance comes.
func TestCompactDueLeavesTheRestingAlone(t *testing.T) {
	w := newDueWorld(t, 4)
	w.send()
	if done := w.due(w.one); done != (engine.Compaction{}) { // opened just now, by the writer
		t.Fatalf("at once: %+v", done)
	}
	w.now = w.now.Add(40 * time.Second) // the timer comes a little early
	if done := w.due(w.one); done != (engine.Compaction{Shards: 4, Entries: 4}) {
		t.Fatalf("when due: %+v", done)
	}
	w.send()
	w.now = w.now.Add(5 * time.Second)
	if done := w.due(w.other); done != (engine.Compaction{}) || w.writes > 0 {
		t.Fatalf("another instance, 5 s later: %+v and %d writes", done, w.writes)
	}
	rested := w.reads
	w.now = w.now.Add(-15 * time.Second) // a clock that is behind the opener's
	if done := w.due(w.other); done != (engine.Compaction{}) {
		t.Fatalf("by a clock that is behind: %+v", done)
	}
	w.now = w.now.Add(10*time.Second - time.Hour) // one that has nothing to do with the opener's
	if done := w.due(w.other); done.Entries != 4 {
		t.Fatalf("by a clock an hour behind: %+v", done)
	}
	w.now = w.now.Add(time.Hour + time.Minute)
	w.send()
	if done := w.due(w.other); done.Entries != 4 {
		t.Fatalf("a minute later: %+v", done)
	}
	t.Logf("a run that finds 4 shards at rest: %d reads (head a shard, and retention)", rested)
}

// A compactor that comes while another one merges a shard, even in the middle of
// it, does not do its work again.
func TestCompactDueTogether(t *testing.T) {
	alone := newDueWorld(t, 4)
	alone.send()
	alone.now = alone.now.Add(time.Minute)
	alone.due(alone.one)

	w := newDueWorld(t, 4)
	w.send()
	w.now = w.now.Add(time.Minute)
	sum, inside := engine.Compaction{}, 0
	w.before = func(c storetest.Call) error {
		if c.Table == engine.ListTable && c.Write { // each shard's merge is at its end
			before := w.before
			w.before = nil
			writes := w.writes
			done, err := w.other.CompactDue(t.Context(), time.Minute, time.Second)
			sum.Entries += done.Entries
			inside += w.writes - writes
			w.before = before
			return err
		}
		return nil
	}
	done := w.due(w.one)
	if sum.Entries += done.Entries; sum.Entries != 4 {
		t.Errorf("%d entries were merged by both, want each of 4 once", sum.Entries)
	}
	if w.writes > alone.writes {
		t.Errorf("%d writes by both, %d by one alone", w.writes, alone.writes)
	}
}

// A run goes on while there is work, and begins nothing when its time is over;
// the next one goes on there. A shard that fails keeps the others waiting not.
func TestCompactDueUntilItsTimeIsOver(t *testing.T) {
	w := newDueWorld(t, 4)
	w.send()
	w.now = w.now.Add(time.Minute)
	again := true
	w.before = func(c storetest.Call) error {
		if again && c.Table == engine.ListTable && c.Write && c.Partition == "0003" {
			again = false // while the last shard is merged the first is due again
			w.now = w.now.Add(time.Minute)
			w.send()
		}
		return nil
	}
	if done := w.due(w.one); done.Entries != 8 && done.Entries != 7 || done.Shards != 4 || done.Remaining != 0 {
		t.Errorf("with more work meanwhile: %+v", done)
	}
	w.send()
	w.now = w.now.Add(2 * time.Minute)
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	done, err := w.one.CompactDue(ctx, time.Minute, 2*time.Hour)
	if err != nil || done.Entries != 0 || done.Remaining != 4 {
		t.Errorf("without time: %+v, %v", done, err)
	}
	w.before = func(c storetest.Call) error {
		if c.Table == engine.ListTable && c.Partition == "0001" {
			return store.ErrUnavailable
		}
		return nil
	}
	done, err = w.one.CompactDue(t.Context(), time.Minute, time.Second)
	if !errors.Is(err, store.ErrUnavailable) || done.Shards != 3 || done.Remaining != 1 {
		t.Errorf("with a shard that fails: %+v, %v", done, err)
	}
	w.before = nil
	w.now = w.now.Add(time.Minute)
	if done := w.due(w.other); done.Shards != 1 || done.Remaining != 0 {
		t.Errorf("afterwards: %+v", done)
	}
}
