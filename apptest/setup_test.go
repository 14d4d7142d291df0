// Package apptest has the tests of the whole service from outside: the real
// binary, its real store, over HTTP.
package apptest

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/devtools/azurite"
	"sluice/devtools/load/service"
	"sluice/store"
)

// binary is the path of the service, built once a run of the tests.
var binary = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("SLUICE_TEST_BINARY"); path != "" {
		return path, nil
	}
	return service.Build(context.Background(), buildFolder)
})

// buildFolder is where the binary is built.
var buildFolder string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	folder, err := os.MkdirTemp("", "sluice-apptest-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(folder) }()
	buildFolder = folder
	return m.Run()
}

// storage is what a service keeps its readings in through all its lives: a
// folder, or accounts of a Table service.
type storage struct {
	folder string
	tables string // SLUICE_TABLES; empty: the embedded store in folder
}

func embedded(t *testing.T) storage { return storage{folder: t.TempDir()} }

// onTables is an account of Azurite's, reached at address ("host:port", such as
// that of a proxy) or, if that is empty, directly.
func onTables(t *testing.T, address string) storage {
	account := azurite.ForTest(t).Account()
	if address != "" {
		account = account.At(address)
	}
	return storage{t.TempDir(), account.ConnectionString()}
}

// onEach runs a test on each store.
func onEach(t *testing.T, test func(*testing.T, storage)) {
	t.Run("embedded", func(t *testing.T) { test(t, embedded(t)) })
	t.Run("tables", func(t *testing.T) { test(t, onTables(t, "")) })
}

// start runs the service over s until the test ends. A test that has ended it
// before does no harm.
func start(t *testing.T, s storage, env ...string) *service.Process {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	if s.tables != "" {
		env = append(slices.Clone(env), "SLUICE_TABLES="+s.tables)
	}
	p, err := service.Start(path, s.folder, env...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the last lines of the service's log:\n%s", p.Log())
		}
		_ = p.Kill()
		for _, line := range p.Leaks() {
			t.Errorf("the service showed a secret of its settings: %s", line)
		}
	})
	return p
}

// stop ends the service as a supervisor does: it must end well, and must not
// have had anything to complain about but what is excused.
func stop(t *testing.T, p *service.Process, excused ...error) {
	t.Helper()
	if err := p.Stop(); err != nil {
		t.Fatal(err)
	}
	noErrors(t, p, excused...)
}

func noErrors(t *testing.T, p *service.Process, excused ...error) {
	t.Helper()
	complain(t, p.Errors(), excused)
}

// complain fails for each line of a log that is not excused.
func complain(t *testing.T, lines []string, excused []error) {
	t.Helper()
	for _, line := range lines {
		if !slices.ContainsFunc(excused, func(e error) bool { return strings.Contains(line, e.Error()) }) {
			t.Errorf("the service logged an error: %s", line)
		}
	}
}

// outageErrors are what a service may complain about if its store was away.
var outageErrors = []error{store.ErrUnavailable, store.ErrNoAnswer, context.DeadlineExceeded}

// await waits until holds says so.
func await(t *testing.T, most time.Duration, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(most); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %s", what, most)
		}
	}
}

// rounds is a number of rounds from the environment, or a few.
func rounds(t *testing.T, name string, few int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return few
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s=%q: a number of rounds would be right", name, text)
	}
	return n
}
