// Package storetest has what the tests of stores share: conformance suites of
// store.Rows and store.Journal, the reference Rows in memory, and wrappers that
// inject faults as a test decides.
package storetest

import (
	"testing"

	"sluice/store"
)

// RunRows runs the conformance suite of store.Rows. open returns an empty store
// that lives until the end of its test.
func RunRows(t *testing.T, open func(t *testing.T) store.Rows) {
	for _, c := range rowsCases {
		t.Run(c.name, func(t *testing.T) { c.run(t, open(t)) })
	}
}

// RunRowsFaults runs random operations under injected faults against a model:
// calls that land after the caller gave up, lost answers, throttling, cut
// pages. All cases run on one store that open returns, each in tables of its
// own.
func RunRowsFaults(t *testing.T, open func(t *testing.T) store.Rows) { runRowsFaults(t, open(t)) }

// RunJournal runs the conformance suite of store.Journal. open returns an empty
// journal that lives until the end of its test.
func RunJournal(t *testing.T, open func(t *testing.T) store.Journal) {
	for _, c := range journalCases {
		t.Run(c.name, func(t *testing.T) { c.run(t, open(t)) })
	}
}

// RunJournalFaults runs appenders and compactors under injected faults against
// an oracle. All cases run on one journal that open returns, each on shards of
// its own.
func RunJournalFaults(t *testing.T, open func(t *testing.T) store.Journal) {
	runJournalFaults(t, open(t))
}

// RunJournalTwins runs a journal over rows of which each write is sent twice,
// the second time late, unless it is sent under store.Once: no copy may let an
// epoch that was sealed grow, or bring back what was removed. open returns the
// journal of one more process over the rows that it is given.
func RunJournalTwins(t *testing.T, rows store.Rows, open func(t *testing.T, rows store.Rows) store.Journal) {
	runJournalTwins(t, rows, open)
}

type rowsCase struct {
	name string
	run  func(*testing.T, store.Rows)
}

type journalCase struct {
	name string
	run  func(*testing.T, store.Journal)
}
