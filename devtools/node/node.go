// Package node runs the stand-ins that are programs of Node.js, pinned in
// devtools/package-lock.json: each says with its first line where it listens,
// and ends when its stdin is closed, so with its parent, however that ends.
package node

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience is how long a program may take to listen, or to end: a busy machine
// is slow.
const patience = time.Minute

// ErrMissing says that a program's package, or the node that runs it, is not
// installed.
var ErrMissing = errors.New("it is not installed: run make standins (it needs node and npm)")

// Process is a running program. Its methods may be called concurrently.
type Process struct {
	name  string
	cmd   *exec.Cmd
	stdin io.Closer // the process ends when it is closed
	log   complaints
}

// Folder is where node_modules lies: folder, or devtools of the module that the
// working directory lies in if that is empty. ErrMissing: the package of npm is
// not installed there, or there is no node.
func Folder(folder, npm string) (string, error) {
	if folder == "" {
		root, err := moduleRoot()
		if err != nil {
			return "", err
		}
		folder = filepath.Join(root, "devtools")
	}
	if _, err := os.Stat(filepath.Join(folder, "node_modules", npm, "package.json")); err != nil {
		return "", fmt.Errorf("%w: no node_modules/%s in %s", ErrMissing, npm, folder)
	}
	if _, err := exec.LookPath("node"); err != nil {
		return "", fmt.Errorf("%w: %w", ErrMissing, err)
	}
	return folder, nil
}

// moduleRoot is the nearest folder with a go.mod, from the working directory up.
func moduleRoot() (string, error) {
	folder, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the module: %w", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(folder, "go.mod")); err == nil {
			return folder, nil
		}
		parent := filepath.Dir(folder)
		if parent == folder {
			return "", errors.New("find the module: no go.mod here or above")
		}
		folder = parent
	}
}

// Start runs node with arguments in a folder and returns the program's first
// line, which begins with prefix. name says what it is in errors. The process
// ends with Close, and with this process; ctx bounds the start only.
func Start(ctx context.Context, name, folder, prefix string, arguments ...string) (p *Process, line string, err error) {
	p = &Process{name: name, cmd: exec.Command("node", arguments...)}
	p.cmd.Dir = folder
	p.cmd.Stderr = &p.log
	p.cmd.SysProcAttr = attributes()
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, "", fmt.Errorf("start %s: %w", name, err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, "", fmt.Errorf("start %s: %w", name, err)
	}
	if err := p.cmd.Start(); err != nil {
		return nil, "", fmt.Errorf("start %s: %w", name, err)
	}
	if line, err = p.await(ctx, out, prefix); err != nil {
		return nil, "", errors.Join(err, p.Close())
	}
	return p, line, nil
}

// await waits for the first line.
func (p *Process) await(ctx context.Context, out io.Reader, prefix string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	first := make(chan string, 1)
	go func() {
		text, _ := bufio.NewReader(out).ReadString('\n')
		first <- strings.TrimSpace(text)
		_, _ = io.Copy(&p.log, out)
	}()
	select {
	case line := <-first:
		if !strings.HasPrefix(line, prefix) {
			return "", fmt.Errorf("start %s: it ended before it listened: %s%s", p.name, line, &p.log)
		}
		return line, nil
	case <-ctx.Done():
		return "", fmt.Errorf("start %s: it did not listen: %w %s", p.name, ctx.Err(), &p.log)
	}
}

// PID is the id of the process.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Close ends the process and waits for its end.
func (p *Process) Close() error {
	if err := p.stdin.Close(); err != nil {
		return fmt.Errorf("end %s: %w", p.name, err)
	}
	late := time.AfterFunc(patience, func() { _ = p.cmd.Process.Kill() })
	defer late.Stop()
	if err := p.cmd.Wait(); err != nil {
		return fmt.Errorf("end %s: %w %s", p.name, err, &p.log)
	}
	return nil
}

// Complaints are the beginning of what the process has complained about.
func (p *Process) Complaints() string { return p.log.String() }

// Check ends a test whose program did not start: not installed, it is skipped,
// or fails if SLUICE_STANDINS=require (make test says that).
func Check(tb testing.TB, err error) {
	tb.Helper()
	switch {
	case errors.Is(err, ErrMissing) && os.Getenv("SLUICE_STANDINS") != "require":
		tb.Skipf("SKIPPED, NOTHING WAS TESTED: %v", err)
	case err != nil:
		tb.Fatal(err)
	}
}

// complaints keep the beginning of what a process complained about.
type complaints struct {
	mu   sync.Mutex
	text []byte
}

func (t *complaints) Write(p []byte) (int, error) {
	const most = 16 << 10
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p[:min(len(p), most-len(t.text))]...)
	return len(p), nil
}

func (t *complaints) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}
