package tables

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
)

// Bounds of answers, in bytes. Pages are read as a stream and end by
// store.MaxPageBytes.
const (
	maxAnswer = 8 << 20  // a row, a transaction's answer, a list of tables
	maxPage   = 64 << 20 // as JSON
	maxError  = 64 << 10
)

// exchange is one request and its answer. aztables makes the request, signs it
// and sends it through its pipeline; the exchange, which lies in the context,
// gives the pipeline a transaction's body at its beginning and takes the answer
// at its end. aztables sees an empty answer in its place: its own reading of
// answers is slow, takes a transaction's answer that was cut off for success,
// and panics over one of a few bytes (see ADR 0008).
type exchange struct {
	batch batch // the body; the zero batch: aztables's own

	sent   bool        // the pipeline's end was reached
	tried  atomic.Bool // a connection was there: the service may have the request
	status int         // 0: there was no answer
	header http.Header
	body   io.ReadCloser
}

type exchangeKey struct{}

func withExchange(ctx context.Context, ex *exchange) context.Context {
	return context.WithValue(ctx, exchangeKey{}, ex)
}

func exchangeOf(ctx context.Context) (*exchange, error) {
	ex, ok := ctx.Value(exchangeKey{}).(*exchange)
	if !ok {
		return nil, fmt.Errorf("a request that no exchange asked for")
	}
	return ex, nil
}

func (ex *exchange) close() {
	if ex.body != nil {
		_ = ex.body.Close()
	}
}

// bodyPolicy is the pipeline's beginning.
type bodyPolicy struct{}

// Do implements policy.Policy.
func (bodyPolicy) Do(req *policy.Request) (*http.Response, error) {
	ex, err := exchangeOf(req.Raw().Context())
	if err != nil {
		return nil, err
	}
	if ex.batch.body != nil {
		body := streaming.NopCloser(bytes.NewReader(ex.batch.body))
		if err := req.SetBody(body, ex.batch.contentType); err != nil {
			return nil, fmt.Errorf("set the body: %w", err)
		}
	}
	return req.Next()
}

// wire is the pipeline's end.
type wire struct {
	transport *http.Transport
	skew      *skew
	now       func() time.Time
}

// Do implements policy.Transporter. It follows no redirections, and its errors
// do not have the address, whose query may be a signature.
func (w *wire) Do(req *http.Request) (*http.Response, error) {
	ex, err := exchangeOf(req.Context())
	if err != nil {
		return nil, err
	}
	ex.close() // of an answer that asked for other credentials
	ex.sent, ex.status, ex.header, ex.body = true, 0, nil, nil
	if err := rewindable(req, ex.batch.body); err != nil {
		return nil, err
	}
	trace := &httptrace.ClientTrace{
		// Asked for once more, the transport found the connection closed before
		// anything of the request was written.
		GetConn: func(string) { ex.tried.Store(false) },
		GotConn: func(httptrace.GotConnInfo) { ex.tried.Store(true) },
	}
	sent := w.now()
	resp, err := w.transport.RoundTrip(req.WithContext(httptrace.WithClientTrace(req.Context(), trace)))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode < 300 {
		// Errors may be of something between here and the service, whose clock is
		// nobody's; stamps by a wrong one cannot be taken back.
		w.skew.observe(sent, w.now(), resp.Header.Get("Date"))
	}
	ex.status, ex.header, ex.body = resp.StatusCode, resp.Header, resp.Body
	resp.Body = io.NopCloser(strings.NewReader(standIn(req, resp.StatusCode)))
	resp.ContentLength = -1
	return resp, nil
}

// rewindable lets the transport send a body again that it did not begin to send
// because the connection was closed before. (What it may have begun to send it
// never sends again: only POST and DELETE have bodies or effects.)
func rewindable(req *http.Request, body []byte) error {
	if req.Body == nil || req.Body == http.NoBody {
		return nil
	}
	if body == nil {
		b, err := io.ReadAll(io.LimitReader(req.Body, maxError))
		if err != nil {
			return fmt.Errorf("read the request's body: %w", err)
		}
		body = b
	}
	req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	req.Body, _ = req.GetBody()
	req.ContentLength = int64(len(body))
	return nil
}

// standIn is the body that aztables sees instead of the answer's.
func standIn(req *http.Request, status int) string {
	switch {
	case status >= 300:
		return ""
	case strings.HasSuffix(req.URL.Path, "/$batch"):
		return "--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n" +
			"--c\r\nContent-Type: application/http\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n\r\n--c--\r\n--b--\r\n"
	default:
		return `{"value":[]}`
	}
}

// newTransport is the transport of one account. It takes no proxy from the
// environment: what the process can see of the world does not depend on who
// started it.
func newTransport(o Options) *http.Transport {
	dialer := &net.Dialer{Timeout: o.DialTimeout, KeepAlive: 30 * time.Second}
	return &http.Transport{
		DialContext:            dialer.DialContext,
		TLSHandshakeTimeout:    o.DialTimeout,
		ResponseHeaderTimeout:  o.TryTimeout,
		MaxIdleConnsPerHost:    o.Connections,
		MaxIdleConns:           o.Connections,
		MaxConnsPerHost:        o.Connections,
		IdleConnTimeout:        90 * time.Second, // Azure's balancers cut idle ones after 4 minutes
		MaxResponseHeaderBytes: maxError,
		DisableCompression:     true,
		WriteBufferSize:        64 << 10,
		ReadBufferSize:         64 << 10,
	}
}
