package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"sluice/engine"
	"sluice/internal/settings"
	"sluice/store"
	"sluice/store/fenced"
	"sluice/store/tables"
)

// azure is a store in accounts of Azure Tables.
type azure struct {
	accounts []*tables.Store
	log      *slog.Logger
	clock    *storeClock
}

// tablesBuckets are how many buckets a shard's journal has on tables: a reader
// finds its device's tail in one of them, and a commit writes a row in each that
// it has something for (docs/adr/0012).
const tablesBuckets = 16

// openTables reads what SLUICE_TABLES says; it asks nobody. settings.Problems if
// it cannot be read.
func openTables(targets settings.Targets, log *slog.Logger) (*azure, error) {
	a := &azure{log: log}
	var problems settings.Problems
	var names []string
	for i, target := range targets {
		account, err := tables.Open(target, tables.Options{})
		switch {
		case err != nil:
			problems = append(problems, fmt.Sprintf("SLUICE_TABLES: number %d of %d: %v", i+1, len(targets), err))
		case slices.ContainsFunc(names, func(name string) bool { return strings.EqualFold(name, account.Name()) }):
			problems = append(problems, fmt.Sprintf("SLUICE_TABLES: account %s is given twice", account.Name()))
		default:
			a.accounts, names = append(a.accounts, account), append(names, account.Name())
		}
	}
	if len(problems) > 0 {
		return nil, problems
	}
	// Of the first account, which every instance asks at least each minute in which
	// it takes readings: all of them follow the same clock, whatever the others say.
	a.clock = &storeClock{skew: a.accounts[0].Skew, log: log}
	return a, nil
}

func (a *azure) names() (names []string) {
	for _, account := range a.accounts {
		names = append(names, account.Name())
	}
	return names
}

func (a *azure) name() string { return fmt.Sprint("tables ", a.names()) }

func (a *azure) now() time.Time { return a.clock.now() }

func (a *azure) open(func(error)) (backend, error) { return &openAccounts{azure: a}, nil }

func (a *azure) explain(err error) error { return err }

// isFinal is false: what only the network tells may be right the next time.
func (a *azure) isFinal(error) bool { return false }

// openAccounts are accounts over which an engine was opened.
type openAccounts struct {
	*azure
	prober *prober
}

func (o *openAccounts) configure(c *engine.Config) {
	for _, account := range o.accounts {
		c.Accounts = append(c.Accounts, account)
	}
	c.Names = o.names()
	c.Buckets = tablesBuckets
	c.Journal = func(rows func(shard int) store.Rows) (store.Journal, error) {
		return fenced.New(rows, fenced.Options{Now: o.clock.now})
	}
}

func (o *openAccounts) opened(e *engine.Engine) {
	o.prober = &prober{names: o.names(), check: e.CheckAccount, now: time.Now, away: func() bool { return o.away() != nil }}
}

// away is what calls have shown: the error of an account that does not answer.
func (o *openAccounts) away() error {
	for _, account := range o.accounts {
		if err := account.Away(); err != nil {
			return err
		}
	}
	return nil
}

func (o *openAccounts) ready(ctx context.Context) error {
	for _, s := range o.prober.ask(ctx) {
		if !s.Reachable {
			return errors.New(s.Reason)
		}
	}
	return o.away()
}

func (o *openAccounts) describe(ctx context.Context, s *storeState) error {
	skew := o.accounts[0].Skew().Seconds()
	s.Kind, s.Accounts, s.Skew = "tables", slices.Clone(o.prober.ask(ctx)), &skew
	for i, account := range o.accounts {
		s.Accounts[i].Breaker = "closed"
		if account.Away() != nil {
			s.Accounts[i].Breaker = "open"
		}
	}
	return nil
}

func (o *openAccounts) close() error {
	var errs []error
	for _, account := range o.accounts {
		errs = append(errs, account.Close())
	}
	return errors.Join(errs...)
}

// storeClock is this machine's clock, put right by the store's where they are
// further apart than instances may be (rule 6: stamps order conflicting values,
// so instances must agree on the time within seconds).
type storeClock struct {
	skew      func() time.Duration // the store's clock minus ours
	log       *slog.Logger
	corrected atomic.Bool
}

// tolerated is the difference that is left alone.
const tolerated = 3 * time.Second

func (c *storeClock) now() time.Time {
	skew := c.skew()
	off := skew.Abs() > tolerated
	if c.corrected.Swap(off) != off {
		c.tell(off, skew)
	}
	if !off {
		return time.Now()
	}
	return time.Now().Add(skew)
}

func (c *storeClock) tell(off bool, skew time.Duration) {
	if off {
		c.log.Warn("this machine's clock is off and is corrected by the store's", "by", skew.String())
		return
	}
	c.log.Info("this machine's clock agrees with the store's again")
}
