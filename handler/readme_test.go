package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every command of the README that needs a running service works as pasted.
func TestReadme(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("no curl")
	}
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	p := serving(t)
	ran := 0
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		script := block[1]
		if !strings.Contains(script, "curl") && !strings.Contains(script, "/tmp/pump.csv") {
			continue // needs a file that is not here, or is make
		}
		ran++
		script = strings.NewReplacer(
			"curl ", "curl --silent --show-error --fail-with-body ",
			"http://127.0.0.1:8080", p.url,
			"bin/handler import ", binary+" import --url "+p.url+" ",
			"/tmp/pump.csv", filepath.Join(p.Dir, "pump.csv"),
		).Replace(script)
		out, err := exec.CommandContext(t.Context(), "sh", "-ec", script).CombinedOutput()
		if err != nil {
			t.Errorf("%v\n%s\n%s", err, script, out)
		}
		t.Logf("%s", out)
	}
	if ran < 5 {
		t.Error("only", ran, "blocks found")
	}
	do(t, "GET", p.url+"/api/v1/devices", "").want(t, 200, `"fan-1"`, `"pump-7"`, `"pump-8"`)
}
