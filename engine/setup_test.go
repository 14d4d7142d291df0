package engine_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"sluice/devtools/azurite"
	"sluice/engine"
	"sluice/store"
	"sluice/store/fenced"
	"sluice/store/pebble"
	"sluice/store/storetest"
)

// journals are the stores that worlds stand on.
const (
	embedded       = "embedded"         // rows and journal of the embedded store
	fencedOnMemory = "fenced on memory" // the fenced journal over the reference rows
	fencedOnPebble = "fenced on pebble" // … over the embedded store's rows
)

// setup is what a world is made with.
type setup struct {
	journal   string
	server    *azurite.Server // for fencedOnAzurite
	accounts  int
	shards    int
	powerCuts bool
	retention time.Duration
	buckets   int
	fences    int
	tailBytes int64
	limits    engine.TestLimits
	writers   int
	readers   int
	days      int // that readings fall on
	slots     int // different times a day
	metrics   int
}

func drawSetup(d dice, journal string) setup {
	s := setup{journal: journal, buckets: 1, fences: 1 + d.pick(3), tailBytes: 128 << 20}
	s.powerCuts = (journal == embedded || journal == fencedOnPebble) && d.rare(2)
	s.retention = []time.Duration{0, 23*time.Hour + 30*time.Minute, 12 * time.Hour, 47*time.Hour + 30*time.Minute}[d.pick(4)]
	s.accounts, s.shards = 1, 2
	if journal != embedded {
		s.buckets, s.accounts = 1+d.pick(3), 1+d.pick(3)
		s.shards = max(s.accounts, 2)
	}
	if d.rare(2) {
		s.tailBytes = 1000
	}
	s.limits = engine.TestLimits{
		LeafRows: 2 + d.pick(5), PageBytes: 1 + d.pick(200), ChunkBytes: 1 + d.pick(300), YieldRows: 1 + d.pick(4),
		BatchDevices: 1 + d.pick(4), FreshRows: 2 + d.pick(20), TransactionOps: 5 + d.pick(20),
	}
	switch d.pick(4) {
	case 1:
		s.limits.LeafBytes = 200 + d.pick(400)
	case 2:
		s.limits.LeafColumns = 1
	case 3:
		s.limits.LeafMaxBytes = 600
	}
	s.writers, s.readers = 2+d.pick(2), 1+d.pick(2)
	s.days, s.slots, s.metrics = 1+d.pick(4), 3+d.pick(14), 2+d.pick(4)
	return s
}

// disk is the store itself, below everything that goes wrong.
type disk struct {
	sim    *sim
	fs     *vfs.MemFS
	stores []*pebble.Store // of each account
	raw    []store.Rows
	bare   store.Journal            // as raw
	faulty *storetest.FaultyJournal // of the embedded store
}

func openDisk(s *sim) (*disk, error) {
	d := &disk{sim: s}
	if s.setup.journal == fencedOnMemory {
		for range s.setup.accounts {
			d.raw = append(d.raw, &storetest.Memory{})
		}
		d.wrap()
		return d, nil
	}
	if s.setup.journal == fencedOnAzurite {
		raw, err := azuriteAccounts(s.setup.server, s.setup.accounts)
		d.raw = raw
		d.wrap()
		return d, err
	}
	d.fs = vfs.NewMem()
	if s.setup.powerCuts {
		d.fs = vfs.NewCrashableMem()
	}
	return d, d.open()
}

func (d *disk) open() error {
	d.stores, d.raw = nil, nil
	for i := range d.sim.setup.accounts {
		s, err := pebble.Open(fmt.Sprint("data", i), pebble.Options{
			FS: d.fs, Now: func() time.Time { return d.sim.now }, CacheBytes: 1 << 20, MemTableBytes: 256 << 10, MinFree: -1,
			OnFatal: func(err error) { d.sim.fail("the embedded store failed: %v", err) },
		})
		if err != nil {
			return err
		}
		d.stores, d.raw = append(d.stores, s), append(d.raw, s.Rows())
	}
	d.wrap()
	return nil
}

func (d *disk) wrap() {
	s := d.sim
	if s.setup.journal == embedded {
		d.bare = d.stores[0].Journal()
	} else {
		d.bare, _ = fenced.New(func(shard int) store.Rows { return d.raw[shard%len(d.raw)] }, fenced.Options{Random: nonces{s}})
	}
	s.rows, s.floating = nil, nil
	for _, raw := range d.raw {
		rows := storetest.NewFaultyRows(&watchedRows{raw, s}, s.hook)
		s.rows, s.floating = append(s.rows, rows), append(s.floating, &rows.Floating)
	}
	if s.setup.journal == embedded {
		d.faulty = storetest.NewFaultyJournal(&watchedJournal{d.bare, s}, s.hook)
		s.floating = append(s.floating, &d.faulty.Floating)
	}
}

// journal is what a process that starts opens.
func (d *disk) journal(p *process, rows func(int) store.Rows) (store.Journal, error) {
	if d.faulty != nil {
		return d.faulty, nil
	}
	return fenced.New(rows, fenced.Options{
		Fences: d.sim.setup.fences, Attempts: 4, Now: p.now, Sleep: p.sleep, Random: nonces{d.sim},
	})
}

// nonces never come twice.
type nonces struct{ sim *sim }

func (n nonces) Read(b []byte) (int, error) {
	clear(b)
	n.sim.nonces++
	var counter [8]byte
	binary.BigEndian.PutUint64(counter[:], n.sim.nonces)
	return copy(b, counter[:]), nil
}

// powerCut leaves what was synced, and of the rest any part.
func (d *disk) powerCut(s *sim) error {
	old, fs := d.stores, d.fs.CrashClone(vfs.CrashCloneCfg{
		UnsyncedDataPercent: s.pick(101), RNG: rand.New(rand.NewPCG(uint64(s.pick(256)), 1)),
	})
	for _, s := range old {
		if err := s.Close(); err != nil {
			return err
		}
	}
	d.fs = fs
	return d.open()
}

func (d *disk) close() {
	for _, s := range d.stores {
		_ = s.Close()
	}
}

var simStart = time.Date(2026, 11, 24, 23, 10, 0, 0, time.UTC)

func newSim(d dice, logf func(string, ...any), c *counts, s setup, p plan) (*sim, error) {
	w := &sim{dice: d, logf: logf, counts: c, oracle: newOracle(), setup: s, plan: p, now: simStart}
	var err error
	if w.disk, err = openDisk(w); err != nil {
		return nil, err
	}
	for i := range s.writers {
		w.actor("writer", i, (*actor).write)
	}
	for i := range 2 {
		w.actor("compactor", i, (*actor).compact)
	}
	for i := range s.readers {
		w.actor("reader", i, (*actor).read)
	}
	w.actor("keeper", 0, (*actor).keep)
	return w, nil
}

// actor adds an actor: over a shared store to a process of its own, over the
// embedded one to that of all others, except for second compactors, which stand
// for a process that was taken for dead.
func (s *sim) actor(role string, i int, assign func(*actor)) {
	var p *process
	if s.setup.journal != embedded || len(s.processes) == 0 || role == "compactor" && i > 0 {
		p = &process{sim: s, name: role, skew: time.Duration(s.pick(7)-3) * time.Second}
		p.restart()
		s.processes = append(s.processes, p)
	} else {
		p = s.processes[0]
	}
	a := &actor{sim: s, process: p, name: role + string(rune('0'+i)), assign: assign}
	p.actors = append(p.actors, a)
	s.actors = append(s.actors, a)
}

func (p *process) config() engine.Config {
	s := p.sim
	c := engine.Config{
		Now: p.now, NewID: func() string { return "store" },
		Journal: func(rows func(int) store.Rows) (j store.Journal, err error) {
			p.journal, err = s.disk.journal(p, rows)
			return p.journal, err
		},
		Shards: s.setup.shards, Buckets: s.setup.buckets, Retention: s.setup.retention, TailBytes: s.setup.tailBytes, Parallel: 1,
	}
	for _, rows := range s.rows {
		c.Accounts = append(c.Accounts, rows)
	}
	c.SetLimits(s.setup.limits)
	return c
}
