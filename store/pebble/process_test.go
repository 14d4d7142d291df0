package pebble

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/store"
)

// TestChild is what the tests below start as a process of its own.
func TestChild(t *testing.T) {
	dir := os.Getenv("SLUICE_TEST_FOLDER")
	if dir == "" {
		t.Skip("only as a child of other tests")
	}
	s, err := Open(dir, Options{})
	if err != nil {
		fmt.Println("refused", errors.Is(err, store.ErrLocked), err)
		return
	}
	fmt.Println("open")
	if os.Getenv("SLUICE_TEST_WRITE") == "" {
		time.Sleep(time.Minute)
		return
	}
	w := newWorld(rand.Uint64(), 2, 3, 1<<20)
	var mu sync.Mutex
	w.say = func(what byte, id uint64, entries int) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Printf("%c %x %d\n", what, id, entries)
	}
	ctx := context.Background()
	for i := range w.writers {
		go func() { fmt.Println("writer:", w.write(ctx, s.Journal(), rand.New(rand.NewPCG(w.seed, uint64(i))))) }()
	}
	fmt.Println("compactor:", w.compact(ctx, s))
}

// child starts one and waits until it has opened the folder or was refused.
func child(t *testing.T, dir string, env ...string) (*exec.Cmd, *bufio.Scanner, string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestChild$")
	cmd.Env = append(os.Environ(), append(env, "SLUICE_TEST_FOLDER="+dir)...)
	out, err := cmd.StdoutPipe()
	mustDo(t, err)
	cmd.Stderr = os.Stderr
	mustDo(t, cmd.Start())
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		t.Fatal("the child said nothing")
	}
	return cmd, lines, lines.Text()
}

func TestLockedByAnotherProcess(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "data")
	cmd, _, first := child(t, dir)
	if first != "open" {
		t.Fatal(first)
	}
	start := time.Now()
	_, err := Open(dir, Options{})
	if !errors.Is(err, store.ErrLocked) || !strings.Contains(err.Error(), fmt.Sprintf("pid %d since 20", cmd.Process.Pid)) {
		t.Errorf("Open of a folder in use: %v, want ErrLocked and the process", err)
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("it took %v", took)
	}
	mustDo(t, cmd.Process.Kill())
	_ = cmd.Wait() // it was killed
	s := openReal(t, dir, Options{})
	defer s.Close()
	if _, err := Open(dir, Options{}); !errors.Is(err, store.ErrLocked) {
		t.Errorf("Open twice in a process: %v, want ErrLocked", err)
	}
	second, _, text := child(t, dir)
	_ = second.Wait()
	if !strings.HasPrefix(text, "refused true") || !strings.Contains(text, fmt.Sprintf("pid %d", os.Getpid())) {
		t.Errorf("a child that opens it: %q", text)
	}
}

// A process that is killed at a random moment, again and again, keeps what it
// answered.
func TestKilled(t *testing.T) {
	rounds := 20
	if testing.Short() {
		rounds = 3
	}
	dir := t.TempDir()
	all := newWorld(0, 2, 0, 0)
	var longest time.Duration
	for round := range rounds {
		all.runAndKill(t, dir)
		start := time.Now()
		s := openReal(t, dir, Options{})
		longest = max(longest, time.Since(start))
		if err := all.check(s); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		mustDo(t, s.Close())
	}
	if len(all.acked) < rounds {
		t.Errorf("%d appends answered in %d rounds: too few to prove anything", len(all.acked), rounds)
	}
	t.Logf("%d appends answered, %d tried; longest Open after a kill %v", len(all.acked), len(all.tried), longest)
}

func (w *world) runAndKill(t *testing.T, dir string) {
	cmd, lines, first := child(t, dir, "SLUICE_TEST_WRITE=1")
	if first != "open" {
		t.Fatal(first)
	}
	timer := time.AfterFunc(time.Duration(20+rand.IntN(150))*time.Millisecond, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	for lines.Scan() {
		var what byte
		var id uint64
		var n int
		if _, err := fmt.Sscanf(lines.Text(), "%c %x %d", &what, &id, &n); err != nil {
			t.Errorf("the child says %q", lines.Text())
			continue
		}
		w.tried[id] = n
		if what == 'a' {
			w.acked[id] = true
		}
	}
	_ = cmd.Wait() // it was killed
}
