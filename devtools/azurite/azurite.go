// Package azurite runs Azurite's Table service for tests: in memory, on a free
// port of loopback, with any number of accounts, so that each test has one of
// its own. It keeps its tables in memory and forgets them when it ends: no test
// of durability may end it. It does not enforce the limits of the real service.
//
// Azurite is a program of npm's, pinned in devtools/package-lock.json; "make
// standins" installs it.
package azurite

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"sluice/devtools/node"
)

//go:embed serve.js
var serve string

// accounts is how many accounts a server has: a test may take hundreds.
const accounts = 20_000

// ErrMissing says that Azurite, or the node that runs it, is not installed.
var ErrMissing = node.ErrMissing

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

	process *node.Process
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
	folder, err := node.Folder(o.Folder, "azurite")
	if err != nil {
		return nil, fmt.Errorf("azurite: %w", err)
	}
	s := &Server{secret: rand.Text()}
	s.process, s.endpoint, err = node.Start(ctx, "azurite", folder, "http://", "-e", serve, "--", s.secret, strconv.Itoa(accounts))
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Address is "host:port" of the server.
func (s *Server) Address() string { return strings.TrimPrefix(s.endpoint, "http://") }

// PID is the id of the server's process.
func (s *Server) PID() int { return s.process.PID() }

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
func (s *Server) Close() error { return s.process.Close() }

// shared is the server of this process's tests.
var shared = sync.OnceValues(func() (*Server, error) { return Start(context.Background(), Options{}) })

// ForTest returns the server of this process's tests, one for all of them. Not
// installed: the test is skipped, or fails if SLUICE_STANDINS=require (make
// test says that).
func ForTest(tb testing.TB) *Server {
	tb.Helper()
	s, err := shared()
	node.Check(tb, err)
	return s
}
