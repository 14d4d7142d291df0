package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// script is an app root whose handler does nothing.
func script(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range map[string]string{
		"bin/handler":         "#!/bin/sh\nexec sleep 600\n",
		"host.json":           `{"version":"2.0","customHandler":{"description":{"defaultExecutablePath":"bin/handler"}}}`,
		"tick/function.json":  `{"bindings":[{"type":"timerTrigger","name":"timer","schedule":"0 0 0 1 1 *"}]}`,
		"web/function.json":   `{"bindings":[{"type":"httpTrigger","name":"req","methods":["get"]},{"type":"http","direction":"out","name":"res"}]}`,
		"hub/function.json":   `{"bindings":[{"type":"eventHubTrigger","name":"events","eventHubName":"h","connection":"HUB"}]}`,
		"off/function.json":   `{"bindings":[{"type":"timerTrigger","name":"timer","schedule":"%NOT_SET%"}]}`,
		"local.settings.json": `{"Values":{"AzureWebJobs.off.Disabled":"true"}}`,
	} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestRun(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var stdout, stderr strings.Builder
	var mu sync.Mutex // the host's log and the list of functions come at once
	lines := writer(func(p []byte) {
		mu.Lock()
		defer mu.Unlock()
		stderr.Write(p)
		if strings.Contains(stderr.String(), "off: disabled") {
			cancel()
		}
	})
	if code := run(ctx, []string{"-root", script(t), "-port", "0", "-mode", "forward"}, []string{"PATH=" + os.Getenv("PATH"), "HUB__fullyQualifiedNamespace=ns"}, &stdout, lines); code != 0 {
		t.Errorf("exit code %d", code)
	}
	for _, want := range []string{"web: [GET] http://127.0.0.1:", "/api/web", "tick: timerTrigger 0 0 0 1 1 *", "hub: eventHubTrigger h"} {
		if !strings.Contains(stderr.String(), want) {
			t.Errorf("no %q in\n%s", want, stderr.String())
		}
	}
}

type writer func([]byte)

func (w writer) Write(p []byte) (int, error) {
	w(p)
	return len(p), nil
}

func TestWrongArguments(t *testing.T) {
	for _, arguments := range [][]string{{"-mode", "both"}, {"-nothing"}, {"-root", t.TempDir()}, {"-checkpoints", t.TempDir()}} {
		var stderr strings.Builder
		if code := run(t.Context(), arguments, nil, &stderr, &stderr); code != 2 || stderr.Len() == 0 {
			t.Errorf("%q: exit code %d, %s", arguments, code, &stderr)
		}
	}
}

func TestEnvironmentWins(t *testing.T) {
	got := withoutSet([]string{"A=1", "B=2", "A=3"}, []string{"B=4"})
	if !slices.Equal(got, []string{"A=1"}) {
		t.Errorf("%q", got)
	}
}
