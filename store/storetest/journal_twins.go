package storetest

import (
	"testing"

	"sluice/store"
)

// runJournalTwins seals one epoch after the other, lets the copies of all that
// was written land in every order that a rotation gives, and then a process that
// slept append: it remembers an epoch that is sealed, and must not get into it.
func runJournalTwins(t *testing.T, rows store.Rows, open func(t *testing.T, rows store.Rows) store.Journal) {
	once := 0
	twins := NewFaultyRows(rows, func(c Call) Verdict {
		if c.Write && c.Once {
			once++
		}
		return Twin()
	})
	const shard = 0
	busy := open(t, twins)
	var sealed []store.Epoch
	shown := map[store.Epoch][]store.Entry{}
	for round := range 6 {
		late := twins.Len() // of the rounds before: from when the epoch was opened
		slept := open(t, rows)
		appendTo(t, slept, shard, entry(0, "slept %d", round))
		appendTo(t, busy, shard, entry(1, "busy %d", round))
		old := newestOf(t, busy, shard)
		openNext(t, busy, shard)
		must(t, busy.Seal(t.Context(), shard, old), "seal epoch %d", old.Number)
		sealed = append(sealed, old)
		entries, err := scanEpoch(t.Context(), busy, shard, old)
		must(t, err, "scan epoch %d", old.Number)
		shown[old] = entries
		for ; late > 0; late-- {
			_ = twins.Land(round * 7 % late) // most are refused
		}
		appendTo(t, slept, shard, entry(2, "woke up %d", round))
		for _, e := range sealed {
			wantScan(t, busy, shard, e, shown[e]...)
		}
		wantScan(t, busy, shard, newestOf(t, busy, shard), entry(2, "woke up %d", round))
		if round%2 == 1 {
			mergeOldest(t, busy, shard)
			must(t, busy.Drop(t.Context(), shard+1), "drop")
		}
		sealed = headOf(t, busy, shard).Epochs
		sealed = sealed[:len(sealed)-1]
	}
	if once == 0 {
		t.Fatal("nothing was sent under store.Once: then nothing keeps the copy of a fence from landing")
	}
}
