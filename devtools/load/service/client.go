package service

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// Client asks a service.
type Client struct {
	URL  string
	HTTP *http.Client
}

// NewClient makes a client with connections of its own.
func NewClient(url string) Client {
	return Client{URL: url, HTTP: &http.Client{
		Transport: &http.Transport{MaxIdleConnsPerHost: 64}, Timeout: 2 * time.Minute,
	}}
}

// Verdict is the answer to readings.
type Verdict struct {
	Status   int `json:"-"` // 200: all that is accepted is in the store; 202: it waits in the hub
	Accepted int
	Rejected int
	Errors   []struct {
		Index         int
		Code, Message string
	}
}

// StatusError is an answer other than 200, or 202 to readings.
type StatusError struct {
	Status     int
	Body       string
	RetryAfter string // the header
}

func (e *StatusError) Error() string { return fmt.Sprintf("status %d: %.500s", e.Status, e.Body) }

// IsStatus says whether err is an answer with that status.
func IsStatus(err error, status int) bool {
	var e *StatusError
	return errors.As(err, &e) && e.Status == status
}

// Post sends readings and returns the verdict; *StatusError if it is neither
// 200 nor 202.
func (c Client) Post(ctx context.Context, path, contentType, encoding string, body []byte) (Verdict, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.URL+path, bytes.NewReader(body))
	if err != nil {
		return Verdict{}, err
	}
	request.Header.Set("Content-Type", contentType)
	if encoding != "" {
		request.Header.Set("Content-Encoding", encoding)
	}
	var v Verdict
	v.Status, err = c.do(request, &v)
	return v, err
}

// Get asks for path with a query and decodes the answer into out.
func (c Client) Get(ctx context.Context, path string, query url.Values, out any) error {
	target := c.URL + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return err
	}
	if _, err := c.do(request, out); err != nil {
		return fmt.Errorf("GET %s?%s: %w", path, query.Encode(), err)
	}
	return nil
}

// do decodes a good answer into out and returns its status.
func (c Client) do(request *http.Request, out any) (int, error) {
	response, err := c.HTTP.Do(request)
	if err != nil {
		return 0, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, fmt.Errorf("read the answer: %w", err)
	}
	switch response.StatusCode {
	case http.StatusOK, http.StatusAccepted:
		return response.StatusCode, json.Unmarshal(body, out)
	default:
		return 0, &StatusError{response.StatusCode, string(body), response.Header.Get("Retry-After")}
	}
}

// Status is what /api/v1/status tells, as far as it is needed here.
type Status struct {
	Store  struct{ Bytes int64 }
	Shards []struct {
		Epochs        int
		UnmergedBytes int64
		LastMerged    time.Time
		LastError     string
	}
	EventHub    *struct{ Breaker, Reason string } // nil without a hub
	Consumption *struct {
		AsOf                  time.Time
		LagEvents, LostEvents int64
		Reason                string // why the partitions could not be read
	}
	DeadLetters *struct{ Count int }
}

// Status asks for the state.
func (c Client) Status(ctx context.Context) (Status, error) {
	var s Status
	return s, c.Get(ctx, "/api/v1/status", nil, &s)
}

// AwaitMerged returns once all that was acknowledged before is merged: each
// shard's compactor has ended twice since, so that its last run began since.
func (c Client) AwaitMerged(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	var first, last []time.Time
	for {
		s, err := c.Status(ctx)
		if err != nil {
			return fmt.Errorf("wait for the compactor: %w", err)
		}
		if first == nil {
			first, last = make([]time.Time, len(s.Shards)), make([]time.Time, len(s.Shards))
			for i := range s.Shards {
				first[i] = s.Shards[i].LastMerged
			}
		}
		done := true
		for i, shard := range s.Shards {
			if shard.LastError != "" {
				return errors.New("the compactor failed: " + shard.LastError)
			}
			if last[i].IsZero() && shard.LastMerged.After(first[i]) {
				last[i] = shard.LastMerged
			}
			done = done && !last[i].IsZero() && shard.LastMerged.After(last[i]) && shard.Epochs <= 1
		}
		if done {
			return nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("wait for the compactor: %w", ctx.Err())
		}
	}
}

// AwaitConsumed returns once all that the hub has by now is consumed.
func (c Client) AwaitConsumed(ctx context.Context) error {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	for {
		s, err := c.Status(ctx)
		switch {
		case err != nil:
		case s.Consumption == nil:
			return errors.New("wait until the hub is consumed: the service has none")
		case s.Consumption.Reason != "":
			err = errors.New(s.Consumption.Reason)
		case s.Consumption.AsOf.Before(began):
			err = errors.New("nobody has looked since")
		case s.Consumption.LagEvents == 0:
			return nil
		default:
			err = fmt.Errorf("%d events wait", s.Consumption.LagEvents)
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("wait until the hub is consumed: %w", err)
		}
	}
}

// Ready asks whether readings can be accepted: nil, or *StatusError with the
// reason.
func (c Client) Ready(ctx context.Context) error { return c.Get(ctx, "/readyz", nil, &struct{}{}) }

// AwaitReady returns once readings can be accepted.
func (c Client) AwaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		err := c.Ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("wait until the service is ready: %w", err)
		}
	}
}
