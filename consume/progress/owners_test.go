package progress_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"sluice/consume/progress"
	"sluice/hub"
	"sluice/store"
	"sluice/store/storetest"
)

func TestOwners(t *testing.T) {
	stores(t, func(t *testing.T, rows store.Rows) {
		s, ctx := open(rows), t.Context()
		if all, err := s.Owners(ctx); err != nil || len(all) != 0 {
			t.Fatal(all, err)
		}
		first, err := s.Claim(ctx, []hub.Owner{{Partition: "0", ID: "one"}, {Partition: "1", ID: "one"}})
		if err != nil || len(first) != 2 || first[0].Version == "" || !first[0].Since.Equal(noon) {
			t.Fatalf("%+v, %v", first, err)
		}
		// Somebody else read that there was none, too.
		late, err := s.Claim(ctx, []hub.Owner{{Partition: "0", ID: "two"}, {Partition: "2", ID: "two"}})
		if err != nil || len(late) != 1 || late[0].Partition != "2" {
			t.Errorf("%+v, %v", late, err)
		}
		later := progress.New(rows, "telemetry", "$default", func() time.Time { return noon.Add(time.Minute) })
		again, err := later.Claim(ctx, first)
		if err != nil || len(again) != 2 || again[0].Version == first[0].Version || !again[0].Since.Equal(noon.Add(time.Minute)) {
			t.Errorf("%+v, %v", again, err)
		}
		stale, err := s.Claim(ctx, []hub.Owner{{Partition: "0", ID: "two", Version: first[0].Version}})
		if err != nil || len(stale) != 0 {
			t.Errorf("%+v, %v", stale, err)
		}
		again[1].ID = "" // given up
		if given, err := s.Claim(ctx, again[1:]); err != nil || len(given) != 1 || given[0].ID != "" {
			t.Errorf("%+v, %v", given, err)
		}
		all, err := s.Owners(ctx)
		if err != nil || len(all) != 3 || all[0].ID != "one" || all[1].ID != "" || all[2].ID != "two" || all[0].Version != again[0].Version {
			t.Errorf("%+v, %v", all, err)
		}
		// Owners and positions do not mix.
		if p := read(t, s, "0"); p.Stored() {
			t.Errorf("%+v", p)
		}
		if positions, err := s.All(ctx); err != nil || len(positions) != 0 {
			t.Errorf("%+v, %v", positions, err)
		}
	})
}

// Of many that claim the same partition at the same time one gets it.
func TestClaimsRace(t *testing.T) {
	stores(t, func(t *testing.T, rows store.Rows) {
		var version string
		for round := range 5 {
			var mu sync.Mutex
			var winners []hub.Owner
			var all sync.WaitGroup
			for i := range 8 {
				all.Go(func() {
					got, err := open(rows).Claim(t.Context(), []hub.Owner{{Partition: "0", ID: fmt.Sprint(round, i), Version: version}})
					if err != nil {
						t.Error(err)
					}
					mu.Lock()
					winners = append(winners, got...)
					mu.Unlock()
				})
			}
			all.Wait()
			if len(winners) != 1 {
				t.Fatalf("%+v", winners)
			}
			version = winners[0].Version
		}
	})
}

// A claim that was not answered counts if it was done.
func TestClaimWithoutAnAnswer(t *testing.T) {
	verdict := storetest.Pass()
	rows := storetest.NewFaultyRows(&storetest.Memory{}, func(c storetest.Call) storetest.Verdict {
		if c.Method == "Commit" {
			return verdict
		}
		return storetest.Pass()
	})
	s := open(rows)
	if _, err := s.Claim(t.Context(), []hub.Owner{{Partition: "9", ID: "x"}}); err != nil {
		t.Fatal(err)
	}
	verdict = storetest.Lose()
	got, err := s.Claim(t.Context(), []hub.Owner{{Partition: "0", ID: "one"}})
	if err != nil || len(got) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	verdict = storetest.Float()
	if lost, err := s.Claim(t.Context(), []hub.Owner{{Partition: "1", ID: "one"}}); err != nil || len(lost) != 0 {
		t.Errorf("%+v, %v", lost, err)
	}
}

func TestPlaces(t *testing.T) {
	s, ctx := open(&storetest.Memory{}), t.Context()
	for i, n := range []int64{7, 0} {
		if _, err := s.Advance(ctx, progress.Position{Partition: fmt.Sprint(i), Sequence: -1}, event(n)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Reread(ctx, progress.Position{Partition: "2", Sequence: -1}, 50); err != nil {
		t.Fatal(err)
	}
	places, err := s.Places(ctx)
	if err != nil || len(places) != 2 || places[0] != (hub.Place{Partition: "0", Sequence: 7}) || places[1] != (hub.Place{Partition: "1", Sequence: 0}) {
		t.Errorf("%+v, %v", places, err)
	}
}
