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
