// Package apptest has the tests of the whole service from outside: the real
// binary, its real store, over HTTP.
package apptest

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"sync"
	"testing"

	"sluice/devtools/load/service"
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

// start runs the service over data until the test ends. A test that has ended
// it before does no harm.
func start(t *testing.T, data string, env ...string) *service.Process {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	p, err := service.Start(path, data, env...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the last lines of the service's log:\n%s", p.Log())
		}
		_ = p.Kill()
	})
	return p
}

// stop ends the service as a supervisor does: it must end well, and must not
// have had anything to complain about.
func stop(t *testing.T, p *service.Process) {
	t.Helper()
	if err := p.Stop(); err != nil {
		t.Fatal(err)
	}
	noErrors(t, p)
}

func noErrors(t *testing.T, p *service.Process) {
	t.Helper()
	for _, line := range p.Errors() {
		t.Errorf("the service logged an error: %s", line)
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
