package storetest

import (
	"testing"

	"sluice/store"
)

func newMemory(*testing.T) store.Rows { return &Memory{} }

func TestMemory(t *testing.T) { RunRows(t, newMemory) }

func TestMemoryFaults(t *testing.T) { RunRowsFaults(t, newMemory) }

// TestMemoryPages runs the suite over pages that are short and empty.
func TestMemoryPages(t *testing.T) {
	RunRows(t, func(*testing.T) store.Rows {
		n := 0
		return &Memory{Pages: func(rows int) int { n++; return min(rows, n%4) }}
	})
}
