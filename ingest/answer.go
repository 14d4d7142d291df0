package ingest

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"time"

	"sluice/internal/httperr"
	"sluice/telemetry/wire"
)

// answer is the body of 200, 202, and of a 400 for content.
type answer struct {
	Accepted int       `json:"accepted"`
	Rejected int       `json:"rejected"`
	Errors   []problem `json:"errors"`
}

type problem struct {
	Index     int    `json:"index"`
	Code      string `json:"code"`
	Message   string `json:"message"`
	Retryable bool   `json:"retryable"`
}

// verdict tells how the readings of a batch fared that are durable by now, some
// of them in the queue if queued.
func verdict(b *wire.Batch, queued bool) (status int, body answer) {
	body = answer{Accepted: len(b.Readings), Rejected: b.Rejected, Errors: make([]problem, 0, len(b.Errors))}
	for _, e := range b.Errors {
		code := e.Refusal.Code
		body.Errors = append(body.Errors, problem{e.Index, string(code), e.Refusal.Message, code.Retryable()})
	}
	switch {
	case body.Accepted == 0:
		return http.StatusBadRequest, body
	case queued:
		return http.StatusAccepted, body
	}
	return http.StatusOK, body
}

// How long clients are asked to wait.
const (
	retryFull  = time.Second
	retryStore = 2 * time.Second
)

var bodyCodes = map[wire.Kind]string{
	wire.Syntax:          httperr.InvalidJSON,
	wire.Empty:           httperr.InvalidBody,
	wire.TooManyReadings: httperr.TooManyReadings,
	wire.TooLarge:        httperr.BodyTooLarge,
	wire.UnknownEncoding: httperr.UnsupportedCode,
	wire.Corrupt:         httperr.InvalidBody,
}

// explainBody tells what is wrong with a body, or with how it came.
func explainBody(err error) error {
	var refused *wire.Error
	var network net.Error
	switch {
	case errors.Is(err, ErrFull):
		return explainStore(err)
	case errors.As(err, &refused):
		return httperr.New(bodyCodes[refused.Kind], "%s", refused.Message)
	case errors.As(err, &network) && network.Timeout():
		return httperr.New(httperr.RequestTimeout, "body came too slowly: send it faster or in smaller parts")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return httperr.New(httperr.InvalidBody, "body is shorter than its Content-Length says, or its last chunk is missing")
	default:
		e := httperr.New(httperr.InvalidBody, "body could not be read to its end")
		e.Cause = err
		return e
	}
}

// explainStore tells why readings are not durable.
func explainStore(err error) error {
	switch {
	case errors.Is(err, ErrFull):
		return httperr.Retry(httperr.Overloaded, retryFull, err, "too many readings are waiting: send them again later")
	case errors.Is(err, ErrClosed):
		return httperr.Retry(httperr.Unavailable, retryStore, err, "the service is shutting down: send all of it again")
	}
	switch code, after := storeCode(err); code {
	case httperr.Timeout:
		return httperr.Retry(code, after, err, "the store took too long: parts may be durable, send all of it again")
	case httperr.Throttled:
		return httperr.Retry(code, after, err, "the store takes no more at the moment: parts may be durable, send all of it again later")
	default:
		return httperr.Retry(code, after, err, "the store did not take the readings: parts may be durable, send all of it again")
	}
}

// storeCode tells whether the store took too long, throttles or failed, and when
// to try again.
func storeCode(err error) (code string, after time.Duration) {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return httperr.Timeout, retryStore
	}
	if code, after = httperr.StoreCode(err); code == "" {
		return httperr.Unavailable, retryStore
	}
	return code, after
}
