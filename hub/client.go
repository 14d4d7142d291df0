package hub

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
)

// retries of the SDK: one, at once, for a connection that the service has ended
// since it was last used. Whatever takes longer is the breaker's.
var retries = azeventhubs.RetryOptions{MaxRetries: 1, RetryDelay: 20 * time.Millisecond, MaxRetryDelay: 100 * time.Millisecond}

const application = "sluice"

// errClosed says that the hub was closed.
var errClosed = fmt.Errorf("%w: it was closed", ErrUnavailable)

// closeTimeout bounds the end of a connection that nobody needs any more.
const closeTimeout = 5 * time.Second

// producer is a connection that sends.
type producer struct{ client *azeventhubs.ProducerClient }

// asker is a connection that asks how far the hub is.
type asker struct{ client *azeventhubs.ConsumerClient }

func (p *producer) close(ctx context.Context) {
	if p != nil {
		_ = p.client.Close(ctx) // it is gone either way
	}
}

func (a *asker) close(ctx context.Context) {
	if a != nil {
		_ = a.client.Close(ctx)
	}
}

func (h *Hub) newProducer() (*producer, error) {
	options := &azeventhubs.ProducerClientOptions{ApplicationID: application, RetryOptions: retries}
	var (
		client *azeventhubs.ProducerClient
		err    error
	)
	if h.target.connection != "" {
		client, err = azeventhubs.NewProducerClientFromConnectionString(h.target.connection, h.target.name, options)
	} else {
		client, err = azeventhubs.NewProducerClient(h.target.namespace, h.target.name, h.target.identity, options)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return &producer{client}, nil
}

// newConsumer makes a connection that reads in a group.
func (h *Hub) newConsumer(group string) (*azeventhubs.ConsumerClient, error) {
	options := &azeventhubs.ConsumerClientOptions{ApplicationID: application, InstanceID: h.cfg.Instance, RetryOptions: retries}
	var (
		client *azeventhubs.ConsumerClient
		err    error
	)
	if h.target.connection != "" {
		client, err = azeventhubs.NewConsumerClientFromConnectionString(h.target.connection, h.target.name, group, options)
	} else {
		client, err = azeventhubs.NewConsumerClient(h.target.namespace, h.target.name, group, h.target.identity, options)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return client, nil
}

// sender returns the connection that sends.
func (h *Hub) sender() (*producer, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.closed:
		return nil, errClosed
	case h.producer == nil:
		p, err := h.newProducer()
		if err != nil {
			return nil, err
		}
		h.producer = p
	}
	return h.producer, nil
}

// questioner returns the connection that asks.
func (h *Hub) questioner() (*asker, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.closed:
		return nil, errClosed
	case h.asker == nil:
		client, err := h.newConsumer(h.cfg.ConsumerGroup)
		if err != nil {
			return nil, err
		}
		h.asker = &asker{client}
	}
	return h.asker, nil
}

// dropSender throws a connection away whose state nobody knows: a message may
// be half written.
func (h *Hub) dropSender(p *producer) {
	h.mu.Lock()
	if h.producer != p {
		h.mu.Unlock()
		return
	}
	h.producer = nil
	h.mu.Unlock()
	h.discard(p.close)
}

func (h *Hub) dropAsker(a *asker) {
	h.mu.Lock()
	if h.asker != a {
		h.mu.Unlock()
		return
	}
	h.asker = nil
	h.mu.Unlock()
	h.discard(a.close)
}

// discard closes what is not needed any more, behind everybody's back.
func (h *Hub) discard(end func(context.Context)) {
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		end(ctx)
	}()
}

// errSilent says that an answer did not come in time.
var errSilent = errors.New("no answer in time")

// call runs do, which the SDK may keep longer than ctx allows, and returns at
// most after timeout. errSilent if that was it, the context's error if ctx ended
// first. A hub that answers is not away because more ask it than may at once (each
// shard sends for itself): they wait for each other.
func (h *Hub) call(ctx context.Context, timeout time.Duration, do func(context.Context) error) error {
	inner, cancel := context.WithTimeout(ctx, timeout)
	select {
	case h.calls <- struct{}{}:
	case <-inner.Done():
		cancel()
		if err := ctx.Err(); err != nil {
			return err
		}
		return fmt.Errorf("%w: %w after %v: %d calls are under way that do not end", ErrUnavailable, errSilent, timeout, maxCalls)
	}
	done := make(chan error, 1)
	go func() {
		defer func() {
			cancel()
			<-h.calls
		}()
		done <- contained(inner, do)
	}()
	var err error
	select {
	case err = <-done:
	case <-inner.Done():
		select {
		case err = <-done: // both at once
		default:
			err = inner.Err()
		}
	}
	if err != nil && errors.Is(inner.Err(), context.DeadlineExceeded) && ctx.Err() == nil {
		return fmt.Errorf("%w: %w after %v", ErrUnavailable, errSilent, timeout)
	}
	return err
}

// contained turns a panic of the SDK into an error.
func contained(ctx context.Context, do func(context.Context) error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: the client panicked: %v", ErrUnavailable, r)
		}
	}()
	return do(ctx)
}
