// Package service runs the real binary from outside, as tests of it and the
// load generator need it: start, ask, measure, stop, kill.
package service

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Build compiles the binary from the module that the working directory lies
// in, into folder, and returns its path.
func Build(ctx context.Context, folder string) (string, error) {
	binary := filepath.Join(folder, "handler")
	build := exec.CommandContext(ctx, "go", "build", "-o", binary, "sluice/handler")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the binary: %w\n%s", err, out)
	}
	return binary, nil
}

// keptLines is how much of a process's log is kept: its last lines.
const keptLines = 200

// Process is a running service. Its methods may be called concurrently.
type Process struct {
	Client
	PID     int
	Data    string    // its folder
	Started time.Time // before exec

	cmd   *exec.Cmd
	ended chan struct{}
	err   error // of Wait, once ended is closed

	secrets []string // that it was given

	mu    sync.Mutex
	log   []string
	errs  []string
	leaks []string // lines with one of the secrets
}

// Start runs binary on a free port of loopback over the folder data and waits
// until it listens (its store may still be opening: requests wait for it). Devices
// have no rate. env are settings ("NAME=value") on top of an environment without any of ours.
func Start(binary, data string, env ...string) (*Process, error) {
	p := &Process{Data: data, cmd: exec.Command(binary), ended: make(chan struct{})}
	p.cmd.Env = append(Environ(), "SLUICE_DATA="+data, "SLUICE_ADDR=127.0.0.1:0", NoRate)
	p.cmd.Env = append(p.cmd.Env, env...)
	p.secrets = SecretsOf(env)
	p.cmd.SysProcAttr = attributes()
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", binary, err)
	}
	p.cmd.Stderr = p.cmd.Stdout
	p.Started = time.Now()
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", binary, err)
	}
	p.PID = p.cmd.Process.Pid
	listening := make(chan string, 1)
	go func() {
		p.read(out, listening)
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	return p, p.await(listening)
}

// NoRate is what lets devices send as much as they like: those of a load or of a
// test stand for more than they are.
const NoRate = "SLUICE_DEVICE_RATE=0"

// Environ is this process's environment without any setting of the service or of
// the Functions host.
func Environ() []string {
	return slices.DeleteFunc(os.Environ(), func(e string) bool {
		return strings.HasPrefix(e, "SLUICE_") || strings.HasPrefix(e, "FUNCTIONS_") || strings.HasPrefix(e, "AZURE_")
	})
}

// patience is how long a process may take to listen and to stop: a busy
// machine is slow.
const patience = time.Minute

func (p *Process) await(listening <-chan string) error {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case address := <-listening:
		p.Client = NewClient("http://" + address)
		return nil
	case <-p.ended:
		return fmt.Errorf("the service ended before it listened: %w\n%s", errors.Join(p.err), p.Log())
	case <-timer.C:
		return errors.Join(fmt.Errorf("the service did not listen within %s\n%s", patience, p.Log()), p.Kill())
	}
}

// read keeps the log's last lines and all errors, and tells the address.
func (p *Process) read(out io.Reader, listening chan<- string) {
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var line struct{ Level, Msg, Address string }
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "listening" {
			listening <- line.Address
		}
		p.keep(lines.Text(), line.Level == "ERROR")
	}
	_, _ = io.Copy(io.Discard, out)
}

func (p *Process) keep(line string, isError bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if isError && len(p.errs) < keptLines {
		p.errs = append(p.errs, line)
	}
	if len(p.leaks) < keptLines && Shows(line, p.secrets) {
		p.leaks = append(p.leaks, line)
	}
	if len(p.log) == keptLines {
		p.log = slices.Delete(p.log, 0, 1)
	}
	p.log = append(p.log, line)
}

// Log returns the last lines of what the process wrote.
func (p *Process) Log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.log, "\n")
}

// Errors returns the lines of level ERROR that the process wrote.
func (p *Process) Errors() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.errs)
}

// Leaks returns the lines, of all that the process wrote, that show a secret of
// its settings.
func (p *Process) Leaks() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.leaks)
}

// Kill ends the process with SIGKILL and waits until it is gone.
func (p *Process) Kill() error {
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill the service: %w", err)
	}
	<-p.ended
	return nil
}

// Stop asks the process to end and returns an error if it does not end with
// exit code 0 in time.
func (p *Process) Stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop the service: %w", errors.Join(err, p.err))
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-p.ended:
		if p.err != nil {
			return fmt.Errorf("stop the service: %w\n%s", p.err, p.Log())
		}
		return nil
	case <-timer.C:
		return errors.Join(fmt.Errorf("the service did not stop within %s\n%s", patience, p.Log()), p.Kill())
	}
}
