// Package hub is the Event Hub: it sends, reads and tells how far the hub's
// partitions are. It is the only room that knows azeventhubs, and it knows no
// telemetry: bodies are bytes.
//
// The SDK waits here and there without its context (a partition's properties, a
// lock that another call holds while it dials). So every call runs in a
// goroutine of its own, their number is bounded, and whoever asked is answered
// when its time is up.
package hub

import (
	"context"
	"crypto/rand"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
)

// Config is what a Hub needs to know; zero fields get their defaults.
type Config struct {
	// Connection is a connection string; its EntityPath names the hub where Name
	// does not. Or Namespace, NAME.servicebus.windows.net, is used by identity.
	Connection, Namespace, Name string
	// Credential and ClientID say which identity, as the Functions host reads them:
	// "managedidentity" is the app's or, with a client id, a user-assigned one;
	// empty: azidentity's chain. Identity, if not nil, is used instead.
	Credential, ClientID string
	Identity             azcore.TokenCredential
	// ConsumerGroup (default $Default) is whose events Consume reads and Read
	// rereads.
	ConsumerGroup string
	// Instance names this process to the hub and to the others that share its
	// partitions; default: made up.
	Instance string

	// SendTimeout (3 s) bounds one Send, AskTimeout (5 s) one question and the
	// opening of a reader.
	SendTimeout, AskTimeout time.Duration
	// Failures (3) in a row open the breaker, a silence at once; Rest (5 s) later a
	// probe is sent, and so on until one is confirmed.
	Failures uint32
	Rest     time.Duration
	// Probe is the body of a probe: an event that means nothing to whoever reads it.
	// Without one a probe asks for the hub's properties.
	Probe []byte
	// ReadBytes (32 MiB) is about how many bytes of events are in memory at once in
	// one Read or, over all partitions, in Consume; never less than an event each.
	ReadBytes int
	// Poll (100 ms) is how long a page of events gathers from its first on. Claim (5 s) is how often
	// partitions are shared out, Expiry (30 s) after how long one is free whose owner
	// is not heard of.
	Poll, Claim, Expiry time.Duration

	Log *slog.Logger // default: none
}

func (c Config) withDefaults() Config {
	c.ConsumerGroup = orDefault(c.ConsumerGroup, defaultGroup)
	c.SendTimeout = orDefault(c.SendTimeout, 3*time.Second)
	c.AskTimeout = orDefault(c.AskTimeout, 5*time.Second)
	c.Failures = orDefault(c.Failures, 3)
	c.Rest = orDefault(c.Rest, 5*time.Second)
	c.ReadBytes = orDefault(c.ReadBytes, 32<<20)
	c.Poll = orDefault(c.Poll, 100*time.Millisecond)
	c.Claim = orDefault(c.Claim, 5*time.Second)
	c.Expiry = orDefault(c.Expiry, 30*time.Second)
	c.Instance = orDefault(c.Instance, rand.Text())
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

func orDefault[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// Event is an event as the hub gives it.
type Event struct {
	Body         []byte
	PartitionKey string
	Sequence     int64 // within its partition, rising
	Offset       string
	Enqueued     time.Time
	// Properties are what the sender gave, System what the hub and IoT Hub added
	// (iothub-connection-device-id), content-type and content-encoding among them.
	Properties, System map[string]any
}

// Partition is how far a partition is.
type Partition struct {
	ID string
	// First and Last are the sequence numbers of the oldest and the newest event;
	// Last < First: it holds none.
	First, Last  int64
	LastEnqueued time.Time
}

// Hub is an Event Hub. It may be used concurrently.
type Hub struct {
	cfg     Config
	target  target
	breaker *breaker
	calls   chan struct{} // a place for each call under way
	limit   atomic.Int64  // bytes that the link takes in one message, 0: not known

	mu       sync.Mutex
	producer *producer // nil: made when needed
	asker    *asker    // nil: made when needed
	closed   bool
}

// maxCalls bounds the calls that are under way, also those that nobody waits for
// any more.
const maxCalls = 64

// Open makes a Hub; it connects when first used. An error is ErrInvalid, says
// what would be right, and shows nothing of what was given.
func Open(cfg Config) (*Hub, error) {
	cfg = cfg.withDefaults()
	t, err := newTarget(cfg)
	if err != nil {
		return nil, err
	}
	h := &Hub{cfg: cfg, target: t, calls: make(chan struct{}, maxCalls)}
	h.breaker = newBreaker(cfg, h.probe)
	return h, nil
}

// Name is the hub's name, Namespace the host that it is in.
func (h *Hub) Name() string { return h.target.name }

// Namespace is the host that the hub is in.
func (h *Hub) Namespace() string { return h.target.namespace }

// ConsumerGroup is the group that Consume reads in.
func (h *Hub) ConsumerGroup() string { return h.cfg.ConsumerGroup }

// Away is why nothing is sent at the moment, nil if sending is tried.
func (h *Hub) Away() error { return h.breaker.away() }

// Close ends all connections. Calls under way fail.
func (h *Hub) Close(ctx context.Context) error {
	h.breaker.close()
	h.mu.Lock()
	h.closed = true
	p, a := h.producer, h.asker
	h.producer, h.asker = nil, nil
	h.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.close(ctx)
		a.close(ctx)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
