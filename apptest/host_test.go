package apptest

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sluice/devtools/azurite"
	"sluice/devtools/host"
	"sluice/devtools/load/service"
)

// The same under the Functions host, in each of its modes: it starts the service
// again by itself, and is started again when the third crash has stopped it.
// SLUICE_HOST_KILLS sets the rounds (make soak: 15).
func TestKillUnderHost(t *testing.T) {
	t.Parallel() // much of it is waiting
	n := rounds(t, "SLUICE_HOST_KILLS", 4)
	for _, mode := range []host.Mode{host.Proxy, host.Forward} {
		t.Run(mode.String(), func(t *testing.T) {
			azurite.ForTest(t)
			k := newKilling(t, n)
			k.world.hosted, k.world.patient = true, true
			k.breakWay(t)
			u := &underHost{root: appRoot(t), mode: mode, storage: onTables(t, k.way.Address()), env: busy}
			k.run(t, u)
			u.noErrors(t)
			if want := n / crashesToStop; u.stopped < want {
				t.Errorf("the host was stopped by crashes %d times, %d are right: not what was to be shown", u.stopped, want)
			}
		})
	}
}

// crashesToStop is the number of crashes that stops a host.
const crashesToStop = 3

// underHost is the service under the Functions host.
type underHost struct {
	root    string
	mode    host.Mode
	storage storage
	env     []string
	hubs    *host.Hubs // feed the Event Hub triggers

	host    *host.Host
	stopped int // times that crashes stopped the host

	mu     sync.Mutex
	log    []string // the last lines
	errors []string // the first lines of level ERROR
}

// appRoot is an app root with the binary under test, whose timer fires every
// second.
func appRoot(t *testing.T) string {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	for _, file := range []string{"host.json", "ingest/function.json", "query/function.json", "compact/function.json"} {
		text, err := os.ReadFile(filepath.Join("..", file))
		if err != nil {
			t.Fatal(err)
		}
		if file == "compact/function.json" {
			text = regexp.MustCompile(`"schedule": *"[^"]*"`).ReplaceAll(text, []byte(`"schedule": "* * * * * *"`))
		}
		copied := filepath.Join(root, file)
		if err := os.MkdirAll(filepath.Dir(copied), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(copied, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(root, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(path, filepath.Join(root, "bin", "handler")); err != nil {
		t.Fatal(err)
	}
	return root
}

func (u *underHost) start(t *testing.T) service.Client {
	t.Helper()
	if u.host == nil {
		h, err := host.Start(context.Background(), host.Options{
			Root: u.root, Mode: u.mode, Environ: service.Environ(), Output: u.keep, Hubs: u.hubs,
			Settings: slices.Concat([]string{service.NoRate}, u.env, []string{
				"SLUICE_TABLES=" + u.storage.tables, "AZURE_FUNCTIONS_ENVIRONMENT=Development", "AzureWebJobsDisableHomepage=true",
			}),
		})
		if err != nil {
			t.Fatal(err)
		}
		u.host = h
		t.Cleanup(func() {
			h.Kill()
			if t.Failed() {
				t.Logf("the last lines of the service's log:\n%s", u.lines())
			}
		})
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := u.host.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	return service.NewClient(u.host.URL())
}

// kill kills the service and waits until the host has seen it.
func (u *underHost) kill(t *testing.T) {
	t.Helper()
	before := u.host.Crashes()
	if err := syscall.Kill(u.host.HandlerPID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	await(t, time.Minute, "the host sees the kill", func() bool { return u.host.Crashes() > before })
	if u.host.Crashes() < crashesToStop {
		return
	}
	select {
	case <-u.host.Done():
		u.host, u.stopped = nil, u.stopped+1
	case <-time.After(time.Minute):
		t.Fatalf("the host goes on after %d crashes", crashesToStop)
	}
}

// stop ends the host, which kills the service.
func (u *underHost) stop(t *testing.T) {
	t.Helper()
	if err := u.host.Close(); err != nil {
		t.Fatal(err)
	}
	u.host = nil
}

func (u *underHost) keep(l host.Line) {
	const most = 200
	u.mu.Lock()
	defer u.mu.Unlock()
	u.log = append(u.log, l.Text)
	u.log = u.log[max(0, len(u.log)-most):]
	var line struct{ Level string }
	if json.Unmarshal([]byte(l.Text), &line) == nil && line.Level == "ERROR" && len(u.errors) < most {
		u.errors = append(u.errors, l.Text)
	}
}

// noErrors wants nothing in the log that an outage or a call that ended with the
// service does not explain.
func (u *underHost) noErrors(t *testing.T, excused ...error) {
	t.Helper()
	u.mu.Lock()
	defer u.mu.Unlock()
	complain(t, u.errors, slices.Concat(outageErrors, []error{context.Canceled}, excused))
}

func (u *underHost) lines() string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return strings.Join(u.log, "\n")
}
