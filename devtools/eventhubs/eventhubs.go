// Package eventhubs runs a stand-in of Azure Event Hubs for tests: AMQP 1.0
// without TLS on a port of loopback, with any number of hubs, so that each test
// has one of its own. The hubs, their partitions and events are in memory,
// bounded, and gone when it ends.
//
// As the service does, it numbers events by partition, never lets enqueued
// times fall there, refuses a reader without an owner level beside one with
// (and a sixth one without), ends readers whose level is surpassed, and drops
// events by retention. Its partitions are chosen by a hash of its own. Faults
// are ordered hub by hub; what they do is said at Hub's methods.
//
// It is written on rhea, a package of npm's, pinned in
// devtools/package-lock.json; "make standins" installs it.
package eventhubs

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"sluice/devtools/node"
)

// ErrMissing says that rhea, or the node that runs the stand-in, is not
// installed.
var ErrMissing = node.ErrMissing

// keyName is that of every hub's key.
const keyName = "RootManageSharedAccessKey"

// Defaults of hubs and servers.
const (
	defaultPartitions = 4
	defaultMaxMessage = 1 << 20
	defaultMemory     = 512 << 20
)

// Options of a server. The zero value is right for tests in this module.
type Options struct {
	// Folder is the one that node_modules lies in. Empty: devtools of the
	// module that the working directory lies in.
	Folder string

	// Memory is how many bytes all events may have together; more are refused
	// with amqp:resource-limit-exceeded. 0: 512 MiB.
	Memory int64
}

// HubOptions are those of a hub.
type HubOptions struct {
	Partitions int      // 0: 4
	Retention  int      // events that a partition keeps; 0: all of them
	MaxMessage int      // bytes of a message, which may be a batch; 0: 1 MiB
	Groups     []string // consumer groups; none: any name is one
}

// Server is a running stand-in. Its methods may be called concurrently.
type Server struct {
	address string // host:port of AMQP
	control string // host:port of the control port
	process *node.Process
	client  *http.Client
}

// Start runs a server and waits until it listens. ErrMissing: it is not
// installed. The process ends with Close, and with this process, however it
// ends; ctx bounds the start only.
func Start(ctx context.Context, o Options) (*Server, error) {
	folder, err := node.Folder(o.Folder, "rhea")
	if err != nil {
		return nil, fmt.Errorf("event hubs stand-in: %w", err)
	}
	memory := o.Memory
	if memory == 0 {
		memory = defaultMemory
	}
	settings, err := json.Marshal(map[string]any{"memory": memory})
	if err != nil {
		return nil, fmt.Errorf("start the event hubs stand-in: %w", err)
	}
	process, line, err := node.Start(ctx, "event hubs stand-in", folder, "{", filepath.Join("eventhubs", "serve.js"), string(settings))
	if err != nil {
		return nil, err
	}
	s := &Server{process: process, client: &http.Client{Transport: &http.Transport{}}}
	var addresses struct{ Address, Control string }
	if err := json.Unmarshal([]byte(line), &addresses); err != nil {
		return nil, errors.Join(fmt.Errorf("start the event hubs stand-in: %w", err), s.Close())
	}
	s.address, s.control = addresses.Address, addresses.Control
	return s, nil
}

// Address is "host:port" of the server.
func (s *Server) Address() string { return s.address }

// Control is "host:port" of the control port.
func (s *Server) Control() string { return s.control }

// PID is the id of the server's process.
func (s *Server) PID() int { return s.process.PID() }

// Complaints are what the server has written on its standard error: nothing, as
// long as all goes as it should.
func (s *Server) Complaints() string { return s.process.Complaints() }

// Close ends the server. All that it kept is gone.
func (s *Server) Close() error {
	s.client.CloseIdleConnections()
	return s.process.Close()
}

// Stop closes the port and cuts all connections; what the hubs keep stays. A
// server that others use must not be stopped: Hub.Refuse does that to one hub.
func (s *Server) Stop(ctx context.Context) error { return s.order(ctx, "stop", nil, nil) }

// Restart opens the port of a stopped server again.
func (s *Server) Restart(ctx context.Context) error { return s.order(ctx, "start", nil, nil) }

// Hub is a hub of a server, as a client of the service sees it, with orders
// beside. A copy is the same hub.
type Hub struct {
	Name string

	server  *Server
	key     string
	address string // host:port, the server's or a proxy's
}

// NewHub makes a hub that nobody has had before. Drop ends it.
func (s *Server) NewHub(ctx context.Context, o HubOptions) (Hub, error) {
	h := Hub{Name: "hub-" + strings.ToLower(rand.Text()), server: s, key: rand.Text(), address: s.address}
	if o.Partitions == 0 {
		o.Partitions = defaultPartitions
	}
	if o.MaxMessage == 0 {
		o.MaxMessage = defaultMaxMessage
	}
	err := s.order(ctx, "create", map[string]any{
		"name": h.Name, "keyName": keyName, "key": h.key,
		"partitions": o.Partitions, "retention": o.Retention, "maxMessage": o.MaxMessage, "groups": o.Groups,
	}, nil)
	return h, err
}

// Hub makes a hub for a test, and drops it at the test's end.
func (s *Server) Hub(tb testing.TB, o HubOptions) Hub {
	tb.Helper()
	h, err := s.NewHub(context.Background(), o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := h.Drop(context.Background()); err != nil {
			tb.Errorf("drop the hub: %v", err)
		}
	})
	return h
}

// Key is the hub's key, of the name RootManageSharedAccessKey.
func (h Hub) Key() string { return h.key }

// ConnectionString is what SLUICE_EVENTHUB takes: the official emulator's form,
// with the port, and the hub's name as EntityPath.
func (h Hub) ConnectionString() string {
	return h.NamespaceString() + "EntityPath=" + h.Name + ";"
}

// NamespaceString is the connection string without the hub's name.
func (h Hub) NamespaceString() string {
	return "Endpoint=sb://" + h.address + ";SharedAccessKeyName=" + keyName + ";SharedAccessKey=" + h.key + ";UseDevelopmentEmulator=true;"
}

// At is the hub reached through another address, "host:port", such as that of a
// proxy.
func (h Hub) At(address string) Hub {
	h.address = address
	return h
}

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
