package tables

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"

	"sluice/store"
)

// Options are what Open takes besides the target. The zero Options are right
// for a service: each field that is 0 or nil has a default.
type Options struct {
	Attempts   int           // tries of a request, at most; 8
	TryTimeout time.Duration // of one try, its answer's body included; 10s
	// QuickTimeout is of one try to read a row or to send a transaction, and a
	// second more for each 512 KiB of that, up to TryTimeout; 3s.
	QuickTimeout time.Duration
	DialTimeout  time.Duration // of a connection, and of its TLS; 3s
	FirstPause   time.Duration // before the second try; doubled from try to try; 50ms
	MaxPause     time.Duration // between two tries; 2s
	MaxWait      time.Duration // that the service may ask for (Retry-After) before the caller is told instead; 30s
	Connections  int           // to the account, at most; 128

	// An account counts as away, and calls fail at once, after Silent tries in a row
	// without any answer (3), where for Silence (1s) nothing else was answered
	// either. Every Rest (1s) one call is let through.
	Silent        uint32
	Silence, Rest time.Duration

	// Credential is whose rights an https target is used by; nil: azidentity's
	// default chain.
	Credential azcore.TokenCredential

	Now    func() time.Time
	Sleep  func(context.Context, time.Duration) error // ends early, with the context's error, when that ends
	Random func() float64                             // in [0, 1), for several goroutines
}

func orElse[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

func (o Options) withDefaults() Options {
	orElse(&o.Attempts, 8)
	orElse(&o.TryTimeout, 10*time.Second)
	orElse(&o.QuickTimeout, 3*time.Second)
	orElse(&o.DialTimeout, 3*time.Second)
	orElse(&o.Silent, 3)
	orElse(&o.Silence, time.Second)
	orElse(&o.Rest, time.Second)
	orElse(&o.FirstPause, 50*time.Millisecond)
	orElse(&o.MaxPause, 2*time.Second)
	orElse(&o.MaxWait, 30*time.Second)
	orElse(&o.Connections, 128)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Sleep == nil {
		o.Sleep = sleep
	}
	if o.Random == nil {
		o.Random = rand.Float64
	}
	return o
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Store is the tables of one account. Its methods may be called concurrently.
type Store struct {
	account   account
	opts      Options
	transport *http.Transport
	service   *aztables.ServiceClient
	skew      skew
	breaker   *breaker
}

var _ store.Rows = (*Store)(nil)

// Open returns the store of the account that target names: a connection string
// (with a key or a shared access signature), UseDevelopmentStorage=true, or the
// account's address, https://account.table.core.windows.net, which is used by
// identity. It does no network I/O: whether the account is there and lets us in
// shows in the first call. ErrInvalid: the target or an option is wrong; the
// error says what would be right and repeats no secret.
func Open(target string, o Options) (*Store, error) {
	a, err := parseTarget(target)
	if err != nil {
		return nil, err
	}
	s := &Store{account: a, opts: o.withDefaults()}
	s.transport = newTransport(s.opts)
	s.breaker = newBreaker(s.opts.Silent, s.opts.Silence, s.opts.Rest, s.opts.Now)
	if s.service, err = s.client(); err != nil {
		return nil, fmt.Errorf("azure tables account %s: %w", a.name, err)
	}
	return s, nil
}

// client makes aztables's client: its retries are off, its transport is ours.
func (s *Store) client() (*aztables.ServiceClient, error) {
	o := &aztables.ClientOptions{ClientOptions: policy.ClientOptions{
		Transport:       &wire{transport: s.transport, skew: &s.skew, now: s.opts.Now},
		Retry:           policy.RetryOptions{MaxRetries: -1},
		PerCallPolicies: []policy.Policy{bodyPolicy{}},
	}}
	switch {
	case s.account.key != "":
		credential, err := aztables.NewSharedKeyCredential(s.account.name, s.account.key)
		if err != nil {
			return nil, errors.New("the key is not base64")
		}
		return aztables.NewServiceClientWithSharedKey(s.account.endpoint, credential, o)
	case s.account.sas != "":
		return aztables.NewServiceClientWithNoCredential(s.account.endpoint+"?"+s.account.sas, o)
	}
	credential := s.opts.Credential
	if credential == nil {
		chain, err := azidentity.NewDefaultAzureCredential(nil)
		if err != nil {
			return nil, fmt.Errorf("identity: %w: %w", err, store.ErrInvalid)
		}
		credential = chain
	}
	return aztables.NewServiceClient(s.account.endpoint, credential, o)
}

// Name is the account's name, for messages.
func (s *Store) Name() string { return s.account.name }

// Skew is how far the service's clock is ahead of this machine's, as far as the
// answers of the last minute show it beyond doubt: their times have whole
// seconds, took some time to come, and one alone may be wrong. 0 where the
// clocks may agree.
func (s *Store) Skew() time.Duration { return s.skew.value() }

// Away is nil while the account answers, as far as calls show it; else why it
// counts as away (store.ErrUnavailable). It asks nobody, and some call must be
// made for an account to count as back.
func (s *Store) Away() error { return s.wrap(s.breaker.away(), "reach the store") }

// Close closes the connections that are not in use.
func (s *Store) Close() error {
	s.transport.CloseIdleConnections()
	return nil
}

// wrap says which call of which account failed.
func (s *Store) wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s (account %s): %w", fmt.Sprintf(format, args...), s.account.name, err)
}
