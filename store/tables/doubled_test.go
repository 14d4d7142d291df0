package tables_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"sluice/devtools/azurite"
	"sluice/store"
	"sluice/store/storetest"
	"sluice/store/tables"
)

// doubled sends each transaction twice at once, unless it must be sent once, as
// what stands between a client and the service may.
type doubled struct{ store.Rows }

// Commit returns success if one copy had it, except of blocks: there it returns
// either copy's answer, since a block that exists is one that is done.
func (d doubled) Commit(ctx context.Context, table, partition string, ops []store.Op) error {
	if store.IsOnce(ctx) {
		return d.Rows.Commit(ctx, table, partition, ops)
	}
	var errs [2]error
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { errs[i] = d.Rows.Commit(ctx, table, partition, ops) })
	}
	wg.Wait()
	pick := rand.IntN(2)
	if block := ops[0].Kind == store.Touch; !block && errs[1-pick] == nil || errors.Is(errs[pick], store.ErrNotFound) {
		pick = 1 - pick // of a commit that a seal overtook, one copy may have been in time
	}
	return errs[pick]
}

// refusals keeps transactions going that are refused after their first row,
// beside the journal's and in another account: rolled back, they must take
// nobody else's rows with them.
func refusals(t *testing.T) {
	rows := open(t, azurite.ForTest(t).Account(), tables.Options{})
	insert := func(key string) store.Op { return store.Op{Kind: store.Insert, Key: key} }
	if err := rows.CreateTable(t.Context(), "refusals"); err != nil {
		t.Fatal(err)
	}
	if err := rows.Commit(t.Context(), "refusals", "p", []store.Op{insert("there")}); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for w := range 2 {
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				ops := []store.Op{insert(fmt.Sprintf("new %d %d", w, i)), insert("there")}
				if err := rows.Commit(ctx, "refusals", "p", ops); !errors.Is(err, store.ErrExists) && ctx.Err() == nil {
					t.Errorf("a row that is there was inserted: %v", err)
					return
				}
			}
		})
	}
	t.Cleanup(func() {
		stop()
		wg.Wait()
		page, err := rows.Scan(context.Background(), "refusals", store.InPartition("p", "", ""), "")
		if err != nil || len(page.Rows) != 1 {
			t.Errorf("%d rows, want the one that was there: %v", len(page.Rows), err)
		}
	})
}

// TestJournalDoubled: each commit lands twice at once and one copy is refused,
// which is neither a loss nor a second entry, while other transactions are
// rolled back.
func TestJournalDoubled(t *testing.T) {
	storetest.RunJournal(t, func(t *testing.T) store.Journal {
		rows := empty(t)
		refusals(t)
		return journal(t, doubled{rows})
	})
}
