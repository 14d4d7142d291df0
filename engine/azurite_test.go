package engine_test

import (
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sluice/devtools/azurite"
	"sluice/store"
	"sluice/store/tables"
)

// fencedOnAzurite is the fenced journal over Azure Tables, as Azurite plays
// them, with an empty account for each account of each world.
const fencedOnAzurite = "fenced on azurite"

// azuriteAccounts opens new accounts.
func azuriteAccounts(server *azurite.Server, n int) (rows []store.Rows, err error) {
	for range n {
		s, err := tables.Open(server.Account().ConnectionString(), tables.Options{})
		if err != nil {
			return nil, err
		}
		rows = append(rows, s)
	}
	return rows, nil
}

// azuriteCases reads how many cases run against Azurite: few, unless the
// environment says otherwise.
func azuriteCases(otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv("SLUICE_AZURITE_CASES")); err == nil && n > 0 {
		return n
	}
	return otherwise
}

// TestPropertyOnAzurite is TestProperty over Azure Tables. SLUICE_AZURITE_CASES
// sets the number of cases.
func TestPropertyOnAzurite(t *testing.T) {
	server, n, total := azurite.ForTest(t), azuriteCases(5), &counts{}
	setFlag(t, "rapid.checks", strconv.Itoa(n))
	setFlag(t, "rapid.nofailfile", "true")
	setFlag(t, "rapid.shrinktime", "20s")
	begun := time.Now()
	rapid.Check(t, func(t *rapid.T) {
		d := rapidDice{t}
		p := plan{at: 1 + d.pick(400), kind: fault(d.pick(int(faults))), bits: []int{0, 6, 4, 3}[d.pick(4)]}
		s := drawSetup(d, fencedOnAzurite)
		s.server = server
		if err := live(d, t.Logf, total, s, p, 150+d.pick(500)); err != nil {
			t.Fatal(err)
		}
	})
	t.Logf("%d cases in %v, %d calls of the store", n, time.Since(begun).Round(time.Second), total.calls)
	text, zero := total.table()
	t.Logf("what happened:\n%s", text)
	zero = slices.DeleteFunc(zero, func(name string) bool { // there are none, and hardly any in 300 cases
		return name == "powerCuts" || name == "epochsGone"
	})
	if n >= 300 && len(zero) > 0 {
		t.Errorf("these never happened, so that the test says less than it should: %v", zero)
	}
}

// TestEveryCallOnAzurite runs small worlds over Azure Tables with a fault at
// every call in turn: one short one, or with SLUICE_AZURITE_CASES five.
func TestEveryCallOnAzurite(t *testing.T) {
	server, worlds, steps, total := azurite.ForTest(t), 1, 25, &counts{}
	if azuriteCases(0) > 0 {
		worlds, steps = 5, 80
	}
	run := func(seed int, p plan) int {
		before, d := total.calls, newSeededDice(uint64(seed))
		s := drawSetup(d, fencedOnAzurite)
		s.server = server
		if err := live(d, discard, total, s, p, steps); err != nil {
			t.Errorf("seed %d, %v at call %d: %v", seed, p.kind, p.at, err)
		}
		return total.calls - before
	}
	runs, begun := 0, time.Now()
	for seed := range worlds {
		calls := run(seed, plan{})
		for at := 1; at <= calls && !t.Failed(); at++ {
			run(seed, plan{at: at, kind: fault((at + seed) % int(faults))})
			runs++
		}
	}
	t.Logf("%d worlds, %d runs with a fault at one call, in %v", worlds, runs, time.Since(begun).Round(time.Second))
}
