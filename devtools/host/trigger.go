package host

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"time"
)

// ErrFunction says that a name is not that of a function that runs, or of none
// that can be started in this way.
var ErrFunction = errors.New("no such function")

// ErrInvocation says that a function was called and failed.
var ErrInvocation = errors.New("invocation failed")

// payload is what a trigger sends. An HTTP call in an envelope too.
type payload struct {
	data     object
	metadata object // without sys
}

// running is a function of a kind by its name.
func (h *Host) running(name, kind string) (*function, error) {
	for _, f := range h.app.functions {
		if f.name == name {
			switch {
			case f.kind != kind:
				return nil, fmt.Errorf("%w: %s has a %s, not a %s", ErrFunction, name, f.kind, kind)
			case f.disabled:
				return nil, fmt.Errorf("%w: %s is disabled", ErrFunction, name)
			case f.err != nil:
				return nil, fmt.Errorf("%w: %s did not start: %w", ErrFunction, name, f.err)
			}
			return f, nil
		}
	}
	return nil, fmt.Errorf("%w: %s", ErrFunction, name)
}

// trigger calls a function, again after a failure as its retry policy says.
// Retries come with the id of the first (recorded). givesUp, if there is one, may
// end them after any failure.
func (h *Host) trigger(ctx context.Context, f *function, p payload, givesUp func() bool) error {
	if !h.enter() {
		return errClosing
	}
	defer h.calls.Done()
	id := newID()
	for retry := 0; ; retry++ {
		err := h.invoke(f, func(ctx context.Context, i invocation) error {
			i.id = id
			_, err := h.deliverTrigger(ctx, i, p.withRetry(f.retry, retry))
			return err
		})
		if err == nil {
			h.log.Info("function succeeded", "function", f.name, "invocation", id)
			return nil
		}
		h.log.Error("function failed", "function", f.name, "invocation", id, "error", err.Error())
		if f.retry == nil || f.retry.most >= 0 && retry >= f.retry.most || givesUp != nil && givesUp() {
			return fmt.Errorf("%w: %s: %w", ErrInvocation, f.name, err)
		}
		select {
		case <-time.After(f.retry.delay(retry)):
		case <-ctx.Done():
			return fmt.Errorf("%w: %s: %w", ErrInvocation, f.name, errors.Join(ctx.Err(), err))
		case <-h.timers.Done():
			return fmt.Errorf("%w: %s: %w", ErrInvocation, f.name, errors.Join(errClosing, err))
		}
	}
}

// withRetry adds what a handler is told of a retry policy. (What Exception
// holds from the second time on is from the description.)
func (p payload) withRetry(policy *retryPolicy, retry int) payload {
	if policy == nil {
		return p
	}
	var failure any
	if retry > 0 {
		failure = object{{"ClassName", "System.Net.Http.HttpRequestException"}, {"Message", "The invocation before failed."}}
	}
	p.metadata = append(p.metadata[:len(p.metadata):len(p.metadata)], member{"RetryContext", object{
		{"RetryCount", retry}, {"MaxRetryCount", policy.most}, {"Instance", nil}, {"Exception", failure}, {"State", object{}},
	}})
	return p
}

func (p payload) encode(f *function, now time.Time) ([]byte, error) {
	sys := object{
		{"MethodName", f.name}, {"UtcNow", now.UTC().Format("2006-01-02T15:04:05.9999999Z")}, {"RandGuid", newID()},
	}
	return marshal(object{{"Data", p.data}, {"Metadata", append(p.metadata[:len(p.metadata):len(p.metadata)], member{"sys", sys})}})
}

// result is what a function answers.
type result struct {
	Outputs     map[string]json.RawMessage
	Logs        []string
	ReturnValue json.RawMessage
}

// deliverTrigger posts an envelope and reads what is answered. An answer of no
// content never ends the call: only the time a function may take does.
func (h *Host) deliverTrigger(ctx context.Context, i invocation, p payload) (*result, error) {
	body, err := p.encode(i.function, time.Now())
	if err != nil {
		return nil, err
	}
	out := &outgoing{
		method: http.MethodPost, target: "/" + i.function.name, length: -1, body: bytes.NewReader(body),
		header: []headerRow{
			{"Host", h.client.address}, {versionHeader, Version}, {invocationHeader, i.id}, {"User-Agent", userAgent},
			{"Transfer-Encoding", "chunked"}, {"Content-Type", "application/json; charset=utf-8"},
		},
	}
	in, err := h.send(ctx, i.function, out)
	if err != nil {
		return nil, err
	}
	defer in.body.Close()
	answer, err := io.ReadAll(in.body)
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	r, err := readResult(in.Response, answer)
	if errors.Is(err, errNeverCompletes) {
		h.log.Error("the answer has no content: the call never completes", "function", i.function.name)
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	for _, line := range r.Logs {
		h.log.Info(line, "function", i.function.name)
	}
	return r, nil
}

// errNeverCompletes marks an answer after which the host waits for ever.
var errNeverCompletes = errors.New("the answer has no content")

// readResult reads an answer as the host does.
func readResult(in *http.Response, body []byte) (*result, error) {
	if in.StatusCode < 200 || in.StatusCode > 299 {
		return nil, fmt.Errorf("status %d: %.500q", in.StatusCode, body)
	}
	if len(body) == 0 {
		return nil, errNeverCompletes
	}
	kind, _, _ := mime.ParseMediaType(in.Header.Get("Content-Type"))
	if kind != "application/json" && kind != "text/json" {
		return nil, fmt.Errorf("content type %q: application/json would be right", in.Header.Get("Content-Type"))
	}
	if bytes.Equal(bytes.TrimSpace(body), []byte("null")) {
		return nil, errNeverCompletes
	}
	var r result
	if err := json.Unmarshal(body, &r); err != nil {
		return nil, fmt.Errorf("the answer is no object with Outputs, Logs and ReturnValue: %w: %.500q", err, body)
	}
	return &r, nil
}
