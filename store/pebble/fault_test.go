package pebble

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	pebbledb "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"sluice/store"
)

// A log that cannot be written or synced: nothing is answered from then on, the
// failure is reported once, and calls do not hang.
func TestLogFails(t *testing.T) {
	for name, kinds := range map[string][]errorfs.OpKind{
		"sync":  {errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo},
		"write": {errorfs.OpFileWrite},
	} {
		t.Run(name, func(t *testing.T) { testLogFails(t, kinds) })
	}
}

func testLogFails(t *testing.T, kinds []errorfs.OpKind) {
	var broken atomic.Bool
	mem := vfs.NewCrashableMem()
	fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if broken.Load() && strings.HasSuffix(op.Path, ".log") {
			for _, k := range kinds {
				if op.Kind == k {
					return syscall.EIO
				}
			}
		}
		return nil
	}))
	var reports atomic.Int64
	s, err := Open("data", Options{FS: fs, OnFatal: func(error) { reports.Add(1) }})
	mustDo(t, err)
	ctx := context.Background()
	mustDo(t, s.Rows().CreateTable(ctx, "table1"))
	mustDo(t, s.Journal().Append(ctx, 0, []store.Entry{{Data: []byte("before")}}))
	broken.Store(true)
	for i := range 3 {
		err := s.Journal().Append(ctx, 0, []store.Entry{{Data: []byte("after")}})
		if !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("append %d on a broken log: %v, want ErrUnavailable", i, err)
		}
		if i == 0 && !errors.Is(err, store.ErrNoAnswer) {
			t.Errorf("the append that broke it: %v, want ErrNoAnswer", err)
		}
	}
	op := []store.Op{{Kind: store.Put, Key: "a"}}
	if err := s.Rows().Commit(ctx, "table1", "p", op); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("commit on a broken log: %v, want ErrUnavailable", err)
	}
	if s.Healthy() == nil || s.Ready() == nil {
		t.Error("a store that failed says it is well")
	}
	if n := reports.Load(); n != 1 {
		t.Errorf("%d reports, want 1", n)
	}
	if err := s.Close(); err == nil {
		t.Error("Close of a store that failed says nothing")
	}
	again := openOn(t, mem.CrashClone(vfs.CrashCloneCfg{}), Options{})
	h, err := again.Journal().Head(ctx, 0)
	mustDo(t, err)
	found := 0
	mustDo(t, eachEntry(ctx, again.Journal(), 0, h.Epochs[0], func(b []byte) error { found++; return nil }))
	if found != 1 {
		t.Errorf("%d entries after the crash, want the one that was answered", found)
	}
}

type smallDisk struct {
	vfs.FS
	free *atomic.Int64
}

func (d smallDisk) GetDiskUsage(string) (vfs.DiskUsage, error) {
	return vfs.DiskUsage{AvailBytes: uint64(d.free.Load())}, nil
}

func TestDiskNearlyFull(t *testing.T) {
	var free atomic.Int64
	free.Store(200 << 20)
	s := openOn(t, smallDisk{vfs.NewCrashableMem(), &free}, Options{})
	ctx := context.Background()
	put := func(kind store.OpKind) error {
		return s.Rows().Commit(ctx, "table1", "p", []store.Op{{Kind: kind, Key: "a", IfMatch: map[bool]store.ETag{true: store.AnyTag}[kind == store.Delete]}})
	}
	mustDo(t, s.Rows().CreateTable(ctx, "table1"))
	mustDo(t, put(store.Put))
	free.Store(100 << 20)
	s.disk.asked.Store(0)
	if err := put(store.Put); !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "100 MiB left, at least 128") {
		t.Errorf("put on a disk that is nearly full: %v", err)
	}
	if err := s.Journal().Append(ctx, 0, []store.Entry{{Data: []byte("x")}}); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("append on a disk that is nearly full: %v", err)
	}
	if s.Ready() == nil || s.Healthy() != nil {
		t.Errorf("ready %v, healthy %v", s.Ready(), s.Healthy())
	}
	mustDo(t, put(store.Delete))
	mustDo(t, s.Rows().DropTable(ctx, "table1"))
	free.Store(200 << 20)
	s.disk.asked.Store(0)
	mustDo(t, s.Journal().Append(ctx, 0, []store.Entry{{Data: []byte("x")}}))
	mustDo(t, s.Ready())
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	mustDo(t, os.WriteFile(file, []byte("x"), 0o600))
	if _, err := Open(file, Options{}); err == nil || !strings.Contains(err.Error(), "is a file, a folder is needed") {
		t.Errorf("Open of a file: %v", err)
	}
	if _, err := Open(filepath.Join(file, "below"), Options{}); err == nil {
		t.Error("Open below a file succeeds")
	}
	closed := filepath.Join(dir, "closed")
	mustDo(t, os.Mkdir(closed, 0o500))
	if os.Geteuid() == 0 {
		t.Log("root may write anywhere: the folder that is not writable is not tested")
		return
	}
	if _, err := Open(closed, Options{}); err == nil || errors.Is(err, store.ErrLocked) || !strings.Contains(err.Error(), "must be writable") {
		t.Errorf("Open of a folder that is not writable: %v", err)
	}
}

func TestNewerFormat(t *testing.T) {
	fs := vfs.NewMem()
	s, err := Open("data", Options{FS: fs})
	mustDo(t, err)
	mustDo(t, s.db.Set(metaKey, meta{format: formatVersion + 1, starts: 1}.encode(), pebbledb.Sync))
	mustDo(t, s.Close())
	if _, err := Open("data", Options{FS: fs}); !errors.Is(err, store.ErrFormat) || !strings.Contains(err.Error(), "format 2, this version reads up to 1") {
		t.Errorf("Open of a newer format: %v", err)
	}
	// It was let go of: the lock is free.
	if _, err := Open("data", Options{FS: fs}); errors.Is(err, store.ErrLocked) {
		t.Error(err)
	}
}

// Readers of an epoch that is let go of meanwhile see all of it, or that it is
// gone; from memory and from the disk, also after a start.
func TestGoneOrWhole(t *testing.T) {
	for _, tail := range []int64{1, 1 << 20} {
		t.Run(fmt.Sprint("memory=", tail), func(t *testing.T) {
			fs := vfs.NewCrashableMem()
			for round := range 30 {
				s, err := Open("data", Options{FS: fs, TailBytes: tail})
				mustDo(t, err)
				goneOrWhole(t, s, round)
				mustDo(t, s.Close())
			}
		})
	}
}

func goneOrWhole(t *testing.T, s *Store, round int) {
	const each = 20
	ctx, j := context.Background(), s.Journal()
	h, err := j.Head(ctx, 0)
	mustDo(t, err)
	if round > 0 { // the epochs of the former process
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				for {
					n := 0
					err := eachEntry(ctx, j, 0, h.Epochs[0], func([]byte) error { n++; return nil })
					if errors.Is(err, store.ErrGone) {
						return
					}
					if err != nil || n != each {
						t.Errorf("%d entries of %d: %v", n, each, err)
						return
					}
				}
			})
		}
		time.Sleep(time.Duration(round%4) * 100 * time.Microsecond)
		to := h
		to.Epochs = h.Epochs[1:]
		mustDo(t, j.Update(ctx, 0, h, to))
		wg.Wait()
		h, err = j.Head(ctx, 0)
		mustDo(t, err)
	}
	for i := range each {
		mustDo(t, j.Append(ctx, 0, []store.Entry{{Bucket: i % 3, Data: make([]byte, 1000)}}))
	}
	if h, err = j.Head(ctx, 0); err == nil {
		_, err = j.Open(ctx, 0, h)
	}
	mustDo(t, err)
	mustDo(t, j.Seal(ctx, 0, h.Epochs[0]))
}

// What the first process appended and what the second one does are one epoch.
func TestEpochAcrossStarts(t *testing.T) {
	fs := vfs.NewCrashableMem()
	ctx := context.Background()
	ids := map[string]bool{}
	for round := range 4 {
		s, err := Open("data", Options{FS: fs})
		mustDo(t, err)
		for i := range 10 {
			mustDo(t, s.Journal().Append(ctx, 0, []store.Entry{{Bucket: i % 2, Data: fmt.Append(nil, round, i)}, {Bucket: 5, Data: []byte("y")}}))
		}
		h, err := s.Journal().Head(ctx, 0)
		mustDo(t, err)
		p, err := s.Journal().Tail(ctx, 0, h.Epochs[0], 0, "")
		mustDo(t, err)
		if n := len(p.Entries); n != 5*(round+1) {
			t.Fatalf("round %d: %d entries", round, n)
		}
		for i, e := range p.Entries {
			if want := fmt.Sprint(i/5, i%5*2); string(e.Data) != want {
				t.Errorf("round %d: entry %d is %q, want %q", round, i, e.Data, want)
			}
			if i >= 5*round == ids[e.ID] {
				t.Errorf("round %d: ID %s of entry %d: known is %v", round, e.ID, i, ids[e.ID])
			}
			ids[e.ID] = true
		}
		mustDo(t, s.Close())
	}
}
