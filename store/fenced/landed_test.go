package fenced_test

import (
	"testing"

	"sluice/store"
	"sluice/store/storetest"
)

// A commit whose answer was lost, and that landed, is done when it is sent
// again: its rows are there once.
func TestLandedIsDone(t *testing.T) {
	r := newRig(t, 1)
	r.must(r.append("first"))
	r.calls = nil
	lost := 0
	r.hook = func(c storetest.Call) storetest.Verdict {
		if c.Method == "Commit" && c.Ops[0].Kind == store.Touch && lost == 0 {
			lost++
			return storetest.Lose()
		}
		return storetest.Pass()
	}
	r.must(r.append("second"))
	commits := 0
	for _, c := range r.calls {
		if c.Method == "Commit" && c.Ops[0].Kind == store.Touch {
			commits++
		}
	}
	if head := r.head(); commits != 2 || r.texts(head.Epochs[0]) != "first second" {
		t.Errorf("%d commits, the epoch has %q", commits, r.texts(head.Epochs[0]))
	}
}

// A commit that is refused because its rows exist, and does not find them, is
// sent again: a refusal alone makes nothing durable.
func TestExistingIsLookedFor(t *testing.T) {
	r := newRig(t, 1)
	r.must(r.append("first"))
	refused := 0
	r.hook = func(c storetest.Call) storetest.Verdict {
		if c.Method == "Commit" && c.Ops[0].Kind == store.Touch && refused == 0 {
			refused++
			return storetest.Fail(store.ErrExists)
		}
		return storetest.Pass()
	}
	r.must(r.append("second"))
	if texts := r.texts(r.head().Epochs[0]); refused != 1 || texts != "first second" {
		t.Errorf("%d refusals, the epoch has %q", refused, texts)
	}
}

// An append that loses the race to open the first epoch, whose head exists
// then, has nothing of its own in the store: it appends to the winner's.
func TestLoserOfFirstOpenAppends(t *testing.T) {
	r := newRig(t, 1)
	winner := over(t, r.memory)
	lost := false
	r.hook = func(c storetest.Call) storetest.Verdict {
		if c.Method == "Commit" && c.Table == "sluiceheads" && !lost {
			lost = true
			r.must(winner.Append(t.Context(), 0, []store.Entry{{Bucket: 1, Data: []byte("winner")}}))
		}
		return storetest.Pass()
	}
	r.must(r.append("loser"))
	head := r.head()
	if !lost || len(head.Epochs) != 1 || r.texts(head.Epochs[0]) != "loser winner" {
		t.Errorf("lost: %v, %d epochs, the first has %q", lost, len(head.Epochs), r.texts(head.Epochs[0]))
	}
}
