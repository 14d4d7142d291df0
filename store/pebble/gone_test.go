package pebble

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sluice/store"
)

// TestFolderGone: nothing is acknowledged that would go into a folder which is
// no longer there, though its files can be written as before; one that is put
// back is used again.
func TestFolderGone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, rows := t.Context(), s.Rows()
	if err := rows.CreateTable(ctx, "tab"); err != nil {
		t.Fatal(err)
	}
	away := dir + ".away"
	if err := os.Rename(dir, away); err != nil {
		t.Skipf("this system moves no folder in use: %v", err)
	}
	// In its place: an empty folder, as somebody who makes room leaves behind.
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	await(t, "unready without its folder", func() bool { return errors.Is(s.Ready(), store.ErrUnavailable) })
	if err := rows.CreateTable(ctx, "other"); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("a write into a folder that is gone: %v, want ErrUnavailable", err)
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(away, dir); err != nil {
		t.Fatal(err)
	}
	await(t, "ready with its folder", func() bool { return s.Ready() == nil })
	if err := rows.CreateTable(ctx, "other"); err != nil {
		t.Errorf("a write after the folder came back: %v", err)
	}
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not %s after a minute", what)
		}
	}
}
