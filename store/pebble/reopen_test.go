package pebble

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"sluice/store"
)

// A store whose disk fails is opened again in the same process, as often as it
// takes; what was answered is there, and the failed one changes nothing more.
func TestReopen(t *testing.T) {
	var broken atomic.Bool
	fs := errorfs.Wrap(vfs.Default, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if broken.Load() && op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
			return syscall.ENOSPC
		}
		return nil
	}))
	dir := t.TempDir()
	ctx := context.Background()
	failures := make(chan error, 1)
	fatal := func(err error) { failures <- err }
	s, err := Open(dir, Options{FS: fs, OnFatal: fatal, MinFree: -1})
	mustDo(t, err)
	acked := map[string]bool{}
	for round := range 5 {
		for i := range 50 {
			name := fmt.Sprintf("%d-%d-%s", round, i, strings.Repeat("x", 4<<10))
			if err := s.Journal().Append(ctx, i%3, []store.Entry{{Data: []byte(name)}}); err != nil {
				t.Fatal(err)
			}
			acked[name] = true
		}
		broken.Store(true)
		if err := s.Journal().Append(ctx, 0, []store.Entry{{Data: []byte("lost")}}); !errors.Is(err, store.ErrUnavailable) {
			t.Fatal("append to a full disk:", err)
		}
		<-failures
		if _, err := s.Reopen(fatal); !errors.Is(err, syscall.ENOSPC) {
			t.Fatal("opened again on a full disk:", err)
		}
		broken.Store(false)
		old := s
		if s, err = old.Reopen(fatal); err != nil {
			t.Fatal(err)
		}
		if err := old.Journal().Append(ctx, 0, []store.Entry{{Data: []byte("late")}}); !errors.Is(err, store.ErrUnavailable) {
			t.Error("append to the store that failed:", err)
		}
		if _, err := Open(dir, Options{}); !errors.Is(err, store.ErrLocked) {
			t.Error("the folder is free for others:", err)
		}
		if missing := unfound(t, s, acked); missing > 0 {
			t.Fatalf("round %d: %d of %d answered entries are missing", round, missing, len(acked))
		}
	}
	mustDo(t, s.Close())
	if _, err := os.Stat(dir + "/" + ownerFile); err == nil {
		t.Error("the folder still has an owner")
	}
	s, err = Open(dir, Options{})
	mustDo(t, err)
	defer s.Close()
	if missing := unfound(t, s, acked); missing > 0 {
		t.Errorf("%d of %d answered entries are missing at the next start", missing, len(acked))
	}
}

// unfound counts the entries that are not in the first shards' journals.
func unfound(t *testing.T, s *Store, want map[string]bool) int {
	t.Helper()
	ctx := context.Background()
	found := map[string]bool{}
	for shard := range 3 {
		head, err := s.Journal().Head(ctx, shard)
		mustDo(t, err)
		for _, e := range head.Epochs {
			mustDo(t, eachEntry(ctx, s.Journal(), shard, e, func(b []byte) error {
				if found[string(b)] = true; string(b) == "late" {
					t.Error("what was refused is there")
				}
				return nil
			}))
		}
	}
	missing := 0
	for name := range want {
		if !found[name] {
			missing++
		}
	}
	return missing
}

// What has been cut changes nothing, through no door.
func TestCut(t *testing.T) {
	dir := t.TempDir()
	c := &cutFS{FS: vfs.Default}
	f, err := c.Create(dir+"/a", vfs.WriteCategoryUnspecified)
	mustDo(t, err)
	_, err = f.Write([]byte("kept"))
	mustDo(t, err)
	folder, err := c.OpenDir(dir)
	mustDo(t, err)
	c.cut()
	for name, try := range map[string]func() error{
		"write":       func() error { _, err := f.Write([]byte("x")); return err },
		"write at":    func() error { _, err := f.WriteAt([]byte("x"), 0); return err },
		"preallocate": func() error { return f.Preallocate(0, 100) },
		"sync":        f.Sync,
		"sync data":   f.SyncData,
		"sync to":     func() error { _, err := f.SyncTo(1); return err },
		"sync folder": folder.Sync,
		"create":      func() error { _, err := c.Create(dir+"/b", vfs.WriteCategoryUnspecified); return err },
		"open":        func() error { _, err := c.OpenReadWrite(dir+"/a", vfs.WriteCategoryUnspecified); return err },
		"reuse":       func() error { _, err := c.ReuseForWrite(dir+"/a", dir+"/b", vfs.WriteCategoryUnspecified); return err },
		"open folder": func() error { _, err := c.OpenDir(dir); return err },
		"link":        func() error { return c.Link(dir+"/a", dir+"/b") },
		"remove":      func() error { return c.Remove(dir + "/a") },
		"remove all":  func() error { return c.RemoveAll(dir) },
		"rename":      func() error { return c.Rename(dir+"/a", dir+"/b") },
		"make folder": func() error { return c.MkdirAll(dir+"/b", 0o755) },
	} {
		if err := try(); !errors.Is(err, errCut) {
			t.Errorf("%s: %v", name, err)
		}
	}
	mustDo(t, f.Close())
	entries, err := os.ReadDir(dir)
	mustDo(t, err)
	if text, err := os.ReadFile(dir + "/a"); err != nil || string(text) != "kept" || len(entries) != 1 {
		t.Errorf("%q, %v, %v", text, err, entries)
	}
}
