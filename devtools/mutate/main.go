// Mutate plants bugs, one at a time, and demands that a test catches each: one
// a rule of the design and one a clause of the journal.
//
//	go run ./devtools/mutate [-run regexp]
//
// It changes nothing in the module: the compiler is given the changed files in
// the place of the real ones. It prints a table in Markdown, and ends with 1 if
// a mutant survives, does not compile, or no longer fits the code.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
)

// mutant is a planted bug.
type mutant struct {
	name  string
	rule  string // that it breaks
	edits []edit
	// pkg and test say what catches it, args what the test binary is given, cases
	// how many cases the property test of the engine runs (0: its own number).
	pkg, test string
	args      []string
	cases     int
}

// edit replaces the only occurrence of old in a file.
type edit struct{ file, old, new string }

const limit = 4 * time.Minute // a mutant

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("mutate", flag.ContinueOnError)
	only := flags.String("run", "", "plant those whose names match this `regexp`")
	if err := flags.Parse(args); err != nil {
		return err
	}
	wanted, err := regexp.Compile(*only)
	if err != nil {
		return err
	}
	root, err := moduleRoot(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "| mutant | breaks | caught by | how |\n|---|---|---|---|\n")
	var bad []string
	for _, m := range slices.Concat(engineMutants, embeddedMutants, fencedMutants, tablesMutants, hubMutants, consumeMutants, letterMutants) {
		if !wanted.MatchString(m.name) {
			continue
		}
		by, how, err := plant(ctx, root, m)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			bad = append(bad, m.name)
			by, how = "**nothing**", err.Error()
		}
		fmt.Fprintf(out, "| %s | %s | %s | %s |\n", m.name, cell(m.rule), cell(by), cell(how))
	}
	if len(bad) > 0 {
		return fmt.Errorf("%d not caught: %s", len(bad), strings.Join(bad, ", "))
	}
	return nil
}

func moduleRoot(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("find the module: %w", err)
	}
	return filepath.Dir(strings.TrimSpace(string(out))), nil
}

// plant runs a mutant's test and returns which test failed and what it said.
func plant(ctx context.Context, root string, m mutant) (by, how string, err error) {
	dir, err := os.MkdirTemp("", "mutant-")
	if err != nil {
		return "", "", err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	overlay, err := mutate(root, dir, m.edits)
	if err != nil {
		return "", "", err
	}
	text, err := test(ctx, root, overlay, m)
	switch {
	case err == nil:
		return "", "", errors.New("survived")
	case strings.Contains(text, "[build failed]") || strings.Contains(text, "[setup failed]"):
		return "", "", fmt.Errorf("does not compile: %s", firstLine(text, ".go:"))
	case !strings.Contains(text, "FAIL"):
		return "", "", fmt.Errorf("not done within %v", limit)
	}
	by, how = verdict(text)
	return by, how, nil
}

func test(ctx context.Context, root, overlay string, m mutant) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	args := append([]string{"test", "-overlay", overlay, "-vet=off", "-ldflags=-s -w", "-count=1", "-failfast", "-run", m.test, m.pkg}, m.args...)
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // as it is built
	if m.cases > 0 {
		cmd.Env = append(cmd.Env, fmt.Sprintf("SLUICE_PROPERTY_CASES=%d", m.cases))
	}
	output, err := cmd.CombinedOutput()
	return string(output), err
}

// mutate writes the changed files to dir and returns the overlay that puts
// them in place.
func mutate(root, dir string, edits []edit) (string, error) {
	replace := map[string]string{}
	for _, e := range edits {
		path, from := filepath.Join(root, e.file), filepath.Join(root, e.file)
		if changed, ok := replace[path]; ok {
			from = changed
		}
		data, err := os.ReadFile(from)
		if err != nil {
			return "", err
		}
		if n := strings.Count(string(data), e.old); n != 1 {
			return "", fmt.Errorf("does not fit any more: %q is %d times in %s", e.old, n, e.file)
		}
		to := filepath.Join(dir, strings.ReplaceAll(e.file, "/", "_"))
		if err := os.WriteFile(to, []byte(strings.Replace(string(data), e.old, e.new, 1)), 0o600); err != nil {
			return "", err
		}
		replace[path] = to
	}
	data, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "overlay.json")
	return path, os.WriteFile(path, data, 0o600)
}

var (
	failedTest = regexp.MustCompile(`--- FAIL: (\S+)`)
	caseOf     = regexp.MustCompile(`\[rapid\] (?:failed|panic|flaky test).* after (\d+) tests?: (.*)`)
	message    = regexp.MustCompile(`\w+_test\.go:\d+: (.*)`)
)

// verdict finds in a test's output which test failed, and what it said first.
func verdict(text string) (by, how string) {
	by = "the test binary"
	for _, m := range failedTest.FindAllStringSubmatch(text, -1) {
		by = m[1] // the innermost one comes last
	}
	switch {
	case caseOf.MatchString(text):
		m := caseOf.FindStringSubmatch(text)
		return by, fmt.Sprintf("case %s: %s", m[1], m[2])
	case strings.Contains(text, "panic: "):
		return by, firstLine(text, "panic: ")
	case message.MatchString(text):
		return by, message.FindStringSubmatch(text)[1]
	}
	return by, firstLine(text, "")
}

func firstLine(text, with string) string {
	for line := range strings.Lines(text) {
		if strings.Contains(line, with) {
			return strings.TrimSpace(line)
		}
	}
	return ""
}

// cell makes a text fit into a table.
func cell(text string) string {
	const most = 200
	text = strings.ReplaceAll(strings.Join(strings.Fields(text), " "), "|", `\|`)
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + " …"
	}
	return text
}
