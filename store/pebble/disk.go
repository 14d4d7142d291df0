package pebble

import (
	"errors"
	"fmt"
	"io/fs"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"sluice/store"
)

// diskGuard refuses writes before the disk is full, because pebble cannot go on
// once its log or manifest could not be written, and freeing space takes space.
type diskGuard struct {
	fs    vfs.FS
	dir   string
	least int64
	start time.Time
	// witness is a file that is there as long as the folder is the one that was
	// opened; "": nobody looks. What is written into a removed folder is kept by
	// the system without a fault, and lost when the process ends.
	witness string
	// asked is when the free space was last asked for, in nanoseconds since
	// start, plus 1.
	asked atomic.Int64
	free  atomic.Int64
	gone  atomic.Bool
}

// effect is what a write does to the disk.
type effect int64

// What adds data needs all of the reserve to be left, what changes or frees
// some a half or an eighth of it.
const (
	adds    effect = 1
	changes effect = 2
	frees   effect = 8
)

const diskInterval = time.Second

func newDiskGuard(o Options, dir string) *diskGuard {
	return &diskGuard{fs: o.FS, dir: dir, least: o.MinFree, start: time.Now()}
}

// tried is what a disk must take before a store that it has failed is opened
// again.
const tried = 4 << 20

// tryDisk writes, syncs and removes a file.
func tryDisk(o Options, dir string) error {
	if err := newDiskGuard(o, dir).check(adds); err != nil {
		return err
	}
	name := o.FS.PathJoin(dir, "try")
	f, err := o.FS.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return fmt.Errorf("try the disk: %w", err)
	}
	_, err = f.Write(make([]byte, tried))
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close(), o.FS.Remove(name)); err != nil {
		return fmt.Errorf("try the disk: %w", err)
	}
	return nil
}

// check asks the file system at most once a second. One that cannot tell is
// taken for large enough.
func (g *diskGuard) check(e effect) error {
	if g.least < 0 {
		return nil
	}
	now := int64(time.Since(g.start)) + 1
	if last := g.asked.Load(); last == 0 || now-last > int64(diskInterval) {
		usage, err := g.fs.GetDiskUsage(g.dir)
		if err != nil {
			usage.AvailBytes = 1 << 62
		}
		g.free.Store(int64(min(usage.AvailBytes, 1<<62)))
		g.gone.Store(g.isGone())
		g.asked.Store(now)
	}
	if g.gone.Load() {
		return fmt.Errorf("folder %q was removed or replaced while the process has it open: put it back, or restart to make a new store: %w", g.dir, store.ErrUnavailable)
	}
	if free, least := g.free.Load(), g.least/int64(e); free < least {
		return fmt.Errorf("disk of %q has %d MiB left, at least %d are needed: %w", g.dir, free>>20, least>>20, store.ErrUnavailable)
	}
	return nil
}

// isGone says whether the folder is no longer there under its name.
func (g *diskGuard) isGone() bool {
	if g.witness == "" {
		return false
	}
	_, err := g.fs.Stat(g.witness)
	return errors.Is(err, fs.ErrNotExist)
}
