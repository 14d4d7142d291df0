package pebble

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"sluice/store"
	"sluice/store/storetest"
)

// memory opens a store on a file system in memory, which Crash can be called
// on.
func memory(t testing.TB) *Store {
	t.Helper()
	return openOn(t, vfs.NewCrashableMem(), Options{})
}

func openOn(t testing.TB, fs vfs.FS, o Options) *Store {
	t.Helper()
	o.FS = fs
	if o.OnFatal == nil {
		o.OnFatal = func(err error) { t.Errorf("store failed: %v", err) }
	}
	s, err := Open("data", o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

func TestRows(t *testing.T) {
	storetest.RunRows(t, func(t *testing.T) store.Rows { return memory(t).Rows() })
}

func TestRowsFaults(t *testing.T) {
	storetest.RunRowsFaults(t, func(t *testing.T) store.Rows { return memory(t).Rows() })
}

func TestJournal(t *testing.T) {
	storetest.RunJournal(t, func(t *testing.T) store.Journal { return memory(t).Journal() })
}

// With hardly any room in memory the entries are read from the disk.
func TestJournalFromDisk(t *testing.T) {
	storetest.RunJournal(t, func(t *testing.T) store.Journal {
		return openOn(t, vfs.NewCrashableMem(), Options{TailBytes: 100}).Journal()
	})
}

func TestJournalFaults(t *testing.T) {
	storetest.RunJournalFaults(t, func(t *testing.T) store.Journal { return memory(t).Journal() })
}
