package fenced_test

import (
	"context"
	"testing"
	"time"

	"sluice/store"
	"sluice/store/fenced"
	"sluice/store/storetest"
)

func over(t *testing.T, rows store.Rows) store.Journal {
	t.Helper()
	j, err := fenced.New(func(int) store.Rows { return rows }, fenced.Options{
		Sleep: func(ctx context.Context, _ time.Duration) error { return ctx.Err() },
	})
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func inMemory(t *testing.T) store.Journal { return over(t, &storetest.Memory{}) }

func TestConformance(t *testing.T) { storetest.RunJournal(t, inMemory) }

func TestConformanceFaults(t *testing.T) { storetest.RunJournalFaults(t, inMemory) }
