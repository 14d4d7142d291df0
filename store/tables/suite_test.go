package tables_test

import (
	"context"
	"testing"
	"time"

	"sluice/devtools/azurite"
	"sluice/store"
	"sluice/store/fenced"
	"sluice/store/storetest"
	"sluice/store/tables"
)

// open returns the store of an account.
func open(t testing.TB, a azurite.Account, o tables.Options) *tables.Store {
	t.Helper()
	s, err := tables.Open(a.ConnectionString(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func empty(t *testing.T) store.Rows {
	return open(t, azurite.ForTest(t).Account(), tables.Options{})
}

func TestConformance(t *testing.T) { storetest.RunRows(t, empty) }

func TestConformanceFaults(t *testing.T) { storetest.RunRowsFaults(t, empty) }

func journal(t *testing.T, rows store.Rows) store.Journal {
	t.Helper()
	j, err := fenced.New(func(int) store.Rows { return rows }, fenced.Options{
		Sleep: func(ctx context.Context, _ time.Duration) error { return ctx.Err() },
	})
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// TestJournal: the fenced journal over Azure Tables.
func TestJournal(t *testing.T) {
	storetest.RunJournal(t, func(t *testing.T) store.Journal { return journal(t, empty(t)) })
}

func TestJournalFaults(t *testing.T) {
	storetest.RunJournalFaults(t, func(t *testing.T) store.Journal { return journal(t, empty(t)) })
}
