// Package azurite runs Azurite's Table service for tests: in memory, on a free
// port of loopback, with any number of accounts, so that each test has one of
// its own. It keeps its tables in memory and forgets them when it ends: no test
// of durability may end it. It does not enforce the limits of the real service.
//
// Azurite is a program of npm's, pinned in devtools/package-lock.json; "make
// standins" installs it.
package azurite

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

//go:embed serve.js
var serve string

// accounts is how many accounts a server has: a test may take hundreds.
const accounts = 20_000

// patience is how long a server may take to listen: a busy machine is slow.
const patience = time.Minute

// ErrMissing says that Azurite, or the node that runs it, is not installed.
var ErrMissing = errors.New("azurite is not installed: run make standins (it needs node and npm)")

// Options of a server. The zero value is right for tests in this module.
type Options struct {
	// Folder is the one that node_modules lies in. Empty: devtools of the
	// module that the working directory lies in.
	Folder string
}

// Server is a running Azurite. Its methods may be called concurrently.
type Server struct {
	endpoint string // http://host:port
	secret   string // of the accounts' keys
	next     atomic.Int64

	cmd   *exec.Cmd
	stdin io.Closer // the process ends when it is closed
	log   complaints
}

// Account is an account of a server. Its name and key are right for that server
// only.
type Account struct {
	Name     string
	Key      string // base64
	Endpoint string // of its tables, with the account's name as the path
}

// ConnectionString is what SLUICE_TABLES takes.
func (a Account) ConnectionString() string {
	return "DefaultEndpointsProtocol=http;AccountName=" + a.Name + ";AccountKey=" + a.Key + ";TableEndpoint=" + a.Endpoint + ";"
}

// At is the account reached through another address, "host:port", such as that
// of a proxy.
func (a Account) At(address string) Account {
	a.Endpoint = "http://" + address + "/" + a.Name
	return a
}

// Start runs a server and waits until it listens. ErrMissing: it is not
// installed. The process ends with Close, and with this process, however it
// ends; ctx bounds the start only.
func Start(ctx context.Context, o Options) (*Server, error) {
	folder, err := o.folder()
	if err != nil {
		return nil, err
	}
	s := &Server{secret: rand.Text()}
	s.cmd = exec.Command("node", "-e", serve, "--", s.secret, fmt.Sprint(accounts))
	s.cmd.Dir = folder
	s.cmd.Stderr = &s.log
	s.cmd.SysProcAttr = attributes()
	if s.stdin, err = s.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("start azurite: %w", err)
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start azurite: %w", err)
	}
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start azurite: %w", err)
	}
	if err := s.await(ctx, out); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// folder finds where node_modules lies and sees that Azurite is there.
func (o Options) folder() (string, error) {
	folder := o.Folder
	if folder == "" {
		root, err := moduleRoot()
		if err != nil {
			return "", err
		}
		folder = filepath.Join(root, "devtools")
	}
	if _, err := os.Stat(filepath.Join(folder, "node_modules", "azurite", "package.json")); err != nil {
		return "", fmt.Errorf("%w: no node_modules/azurite in %s", ErrMissing, folder)
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

// await waits for the line with the address.
func (s *Server) await(ctx context.Context, out io.Reader) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	line := make(chan string, 1)
	go func() {
		text, _ := bufio.NewReader(out).ReadString('\n')
		line <- strings.TrimSpace(text)
		_, _ = io.Copy(&s.log, out)
	}()
	select {
	case s.endpoint = <-line:
		if !strings.HasPrefix(s.endpoint, "http://") {
			return fmt.Errorf("start azurite: it ended before it listened: %s%s", s.endpoint, &s.log)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("start azurite: it did not listen: %w %s", ctx.Err(), &s.log)
	}
}

// Address is "host:port" of the server.
func (s *Server) Address() string { return strings.TrimPrefix(s.endpoint, "http://") }

// PID is the id of the server's process.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Account hands out an account that nobody has had before. It panics after the
// twenty-thousandth.
func (s *Server) Account() Account {
	n := s.next.Add(1) - 1
	if n >= accounts {
		panic("azurite: a server has no more accounts")
	}
	name := fmt.Sprintf("account%d", n)
	return Account{Name: name, Key: key(s.secret, name), Endpoint: s.endpoint + "/" + name}
}

// key is that of an account, as serve.js derives it.
func key(secret, account string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(account))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// Close ends the server. All that it kept is gone.
func (s *Server) Close() error {
	if err := s.stdin.Close(); err != nil {
		return fmt.Errorf("end azurite: %w", err)
	}
	late := time.AfterFunc(patience, func() { _ = s.cmd.Process.Kill() })
	defer late.Stop()
	if err := s.cmd.Wait(); err != nil {
		return fmt.Errorf("end azurite: %w %s", err, &s.log)
	}
	return nil
}

// shared is the server of this process's tests.
var shared = sync.OnceValues(func() (*Server, error) { return Start(context.Background(), Options{}) })

// ForTest returns the server of this process's tests, one for all of them. Not
// installed: the test is skipped, or fails if SLUICE_STANDINS=require (make
// test says that).
func ForTest(tb testing.TB) *Server {
	tb.Helper()
	s, err := shared()
	switch {
	case errors.Is(err, ErrMissing) && os.Getenv("SLUICE_STANDINS") != "require":
		tb.Skipf("SKIPPED, NOTHING WAS TESTED: %v", err)
	case err != nil:
		tb.Fatal(err)
	}
	return s
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
