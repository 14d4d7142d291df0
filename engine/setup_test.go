package engine_test

import (
	"encoding/binary"
	"math/rand/v2"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

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

const simShards = 2

// setup is what a world is made with.
type setup struct {
	journal   string
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
	s.powerCuts = journal != fencedOnMemory && d.rare(2)
	s.retention = []time.Duration{0, 23*time.Hour + 30*time.Minute, 12 * time.Hour, 47*time.Hour + 30*time.Minute}[d.pick(4)]
	if journal != embedded {
		s.buckets = 1 + d.pick(3)
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
	store  *pebble.Store
	raw    store.Rows
	bare   store.Journal            // as raw
	faulty *storetest.FaultyJournal // of the embedded store
}

func openDisk(s *sim) (*disk, error) {
	d := &disk{sim: s}
	if s.setup.journal == fencedOnMemory {
		d.raw = &storetest.Memory{}
		d.wrap()
		return d, nil
	}
	d.fs = vfs.NewMem()
	if s.setup.powerCuts {
		d.fs = vfs.NewCrashableMem()
	}
	return d, d.open()
}

func (d *disk) open() (err error) {
	d.store, err = pebble.Open("data", pebble.Options{
		FS: d.fs, Now: func() time.Time { return d.sim.now }, CacheBytes: 1 << 20, MemTableBytes: 256 << 10, MinFree: -1,
		OnFatal: func(err error) { d.sim.fail("the embedded store failed: %v", err) },
	})
	if err != nil {
		return err
	}
	d.raw = d.store.Rows()
	d.wrap()
	return nil
}

func (d *disk) wrap() {
	s := d.sim
	if s.setup.journal == embedded {
		d.bare = d.store.Journal()
	} else {
		d.bare, _ = fenced.New(func(int) store.Rows { return d.raw }, fenced.Options{Random: nonces{s}})
	}
	s.rows = storetest.NewFaultyRows(&watchedRows{d.raw, s}, s.hook)
	s.floating = []*storetest.Floating{&s.rows.Floating}
	if s.setup.journal == embedded {
		d.faulty = storetest.NewFaultyJournal(&watchedJournal{d.store.Journal(), s}, s.hook)
		s.floating = append(s.floating, &d.faulty.Floating)
	}
}

// journal is what a process that starts opens.
func (d *disk) journal(p *process) store.Journal {
	if d.faulty != nil {
		return d.faulty
	}
	rows := d.sim.rows
	j, err := fenced.New(func(int) store.Rows { return rows }, fenced.Options{
		Fences: d.sim.setup.fences, Attempts: 4, Now: p.now, Sleep: p.sleep, Random: nonces{d.sim},
	})
	if err != nil {
		d.sim.fail("open the journal: %v", err)
	}
	return j
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
	old, fs := d.store, d.fs.CrashClone(vfs.CrashCloneCfg{
		UnsyncedDataPercent: s.pick(101), RNG: rand.New(rand.NewPCG(uint64(s.pick(256)), 1)),
	})
	if err := old.Close(); err != nil {
		return err
	}
	d.fs = fs
	return d.open()
}

func (d *disk) close() {
	if d.store != nil {
		_ = d.store.Close()
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
		Rows: s.rows, Journal: p.journal, Now: p.now, NewID: func() string { return "store" },
		Shards: simShards, Buckets: s.setup.buckets, Retention: s.setup.retention, TailBytes: s.setup.tailBytes, Parallel: 1,
	}
	c.SetLimits(s.setup.limits)
	return c
}
