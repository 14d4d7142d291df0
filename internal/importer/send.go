package importer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

var errTooLarge = errors.New("too large for the service")

const (
	firstPause = 100 * time.Millisecond
	maxPause   = 30 * time.Second
	maxAnswer  = 1 << 20
)

// verdict is the service's answer to a batch.
type verdict struct {
	Accepted int64 `json:"accepted"`
	Rejected int64 `json:"rejected"`
	Errors   []struct {
		Index     int    `json:"index"`
		Code      string `json:"code"`
		Message   string `json:"message"`
		Retryable bool   `json:"retryable"`
	} `json:"errors"`
	Error *struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
}

// sender posts batches until the service has judged them. It may be used
// concurrently.
type sender struct {
	client  *http.Client
	base    string
	target  string
	giveUp  time.Duration
	token   string       // "": none
	waiting func(string) // is told why a batch is tried again
}

func newSender(base, device string, client *http.Client, giveUp time.Duration) (*sender, error) {
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("%w: url %q: takes one such as http://127.0.0.1:8080", ErrConfig, base)
	}
	s := &sender{client: client, base: strings.TrimSuffix(base, "/"), giveUp: giveUp, waiting: func(string) {}}
	s.target = s.base + "/api/v1/telemetry"
	if device != "" {
		s.target = s.base + "/api/v1/devices/" + url.PathEscape(device) + "/telemetry"
	}
	return s, nil
}

// ping sees that there is a service, so that a wrong address is told at once
// and not after all tries.
func (s *sender) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.base+"/healthz", nil)
	if err != nil {
		return err
	}
	answer, err := s.client.Do(r)
	if err != nil {
		return fmt.Errorf("no service answers at %s: %w", s.base, err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s/healthz answers %s: is that a Sluice service?", s.base, answer.Status)
	}
	return nil
}

// send posts a body of NDJSON, again and again while the service or the way to
// it is at fault. Readings have their times, so that this is safe.
func (s *sender) send(ctx context.Context, body []byte) (verdict, error) {
	deadline := time.Now().Add(s.giveUp)
	for try := 0; ; try++ {
		v, again, err := s.post(ctx, body)
		if again == nil {
			return v, err
		}
		if again.partly && try > 0 {
			// It came when it was asked to and was too much even so: halves of it will not be.
			return verdict{}, fmt.Errorf("%w: %w", errTooLarge, again.reason)
		}
		pause := again.pause(try)
		if time.Now().Add(pause).After(deadline) {
			return verdict{}, fmt.Errorf("given up after %v: %w", s.giveUp, again.reason)
		}
		s.waiting(fmt.Sprintf("waiting %v: %v", pause.Round(time.Millisecond), again.reason))
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return verdict{}, ctx.Err()
		}
	}
}

// retry says that a body may be taken later.
type retry struct {
	reason error
	after  time.Duration // what the service asked for; 0: nothing
	partly bool          // some of the body was taken
}

func (r *retry) pause(try int) time.Duration {
	if r.after > 0 {
		return r.after
	}
	pause := min(firstPause<<min(try, 10), maxPause)
	return pause/2 + rand.N(pause/2+1) //nolint:gosec // how long a pause is, is no secret
}

func (s *sender) post(ctx context.Context, body []byte) (verdict, *retry, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.target, bytes.NewReader(body))
	if err != nil {
		return verdict{}, nil, err
	}
	request.Header.Set("Content-Type", "application/x-ndjson")
	if s.token != "" { // of the request, so that it does not follow a redirect to another host
		request.Header.Set("Authorization", "Bearer "+s.token)
	}
	answer, err := s.client.Do(request)
	if err != nil {
		if ctx.Err() != nil {
			return verdict{}, nil, ctx.Err()
		}
		return verdict{}, &retry{reason: err}, nil
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return verdict{}, &retry{reason: err}, nil
	}
	return judge(answer, text)
}

// judge says what an answer means: done, try again, or an end.
func judge(answer *http.Response, text []byte) (verdict, *retry, error) {
	var v verdict
	parsed := json.Unmarshal(text, &v) == nil
	reason := fmt.Errorf("the service answers %s%s", answer.Status, detail(v))
	switch status := answer.StatusCode; {
	case status == http.StatusRequestEntityTooLarge:
		return v, nil, fmt.Errorf("%w: %w", errTooLarge, reason)
	case status == http.StatusTooManyRequests, status == http.StatusRequestTimeout, status >= 500:
		return v, &retry{reason: reason, after: retryAfter(answer, time.Now())}, nil
	case parsed && v.Error == nil && (status == http.StatusOK || status == http.StatusAccepted || status == http.StatusBadRequest):
		for _, e := range v.Errors {
			if e.Retryable {
				return v, &retry{
					reason: fmt.Errorf("%s: %s", e.Code, e.Message),
					after:  max(retryAfter(answer, time.Now()), time.Second), partly: v.Accepted > 0,
				}, nil
			}
		}
		return v, nil, nil
	}
	return v, nil, reason
}

func detail(v verdict) string {
	if v.Error == nil {
		return ""
	}
	return ", " + v.Error.Code + ": " + v.Error.Message
}

// retryAfter reads the header: seconds or a date.
func retryAfter(answer *http.Response, now time.Time) time.Duration {
	text := answer.Header.Get("Retry-After")
	if seconds, err := strconv.Atoi(text); err == nil && seconds >= 0 && seconds < 1<<31 {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(at.Sub(now), 0)
	}
	return 0
}
