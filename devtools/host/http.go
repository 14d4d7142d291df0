package host

import (
	"bytes"
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Headers of the host's own.
const (
	versionHeader    = "X-Azure-Functions-HostVersion"
	invocationHeader = "X-Azure-Functions-InvocationId"
	userAgent        = "Azure-Functions-Host/" + Version
)

const homepage = "<!DOCTYPE html><html><body><h1>Your Functions 4.0 app is up and running</h1></body></html>\n"

// ServeHTTP takes a caller's request.
func (h *Host) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path, rawQuery, status := target(r)
	switch {
	case status != 0:
		w.WriteHeader(status)
	case isAdmin(path):
		h.admin(w, r, path)
	case path == "/" && !isTrue(h.settings["AzureWebJobsDisableHomepage"]):
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, homepage)
	default:
		h.route(w, r, path, rawQuery)
	}
}

// target is the decoded path and the raw query that a request asks for, or the
// status with which the server refuses it. (What becomes of a target in
// absolute form is from the description of the server, which refuses one for
// another host than the Host header names; net/http does not tell us that.)
func target(r *http.Request) (path, rawQuery string, status int) {
	raw, rawQuery, _ := strings.Cut(r.RequestURI, "?")
	if strings.HasPrefix(raw, "/") {
		path, ok := serverPath(raw)
		if !ok {
			return "", "", http.StatusBadRequest
		}
		return path, rawQuery, 0
	}
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		return "", "", http.StatusBadRequest
	}
	_, rest, _ := strings.Cut(raw, "://")
	_, rest, _ = strings.Cut(rest, "/")
	canonical := decodeUnreserved(strings.ReplaceAll("/"+rest, `\`, "/"))
	path, ok := decodePath(removeDotSegments(canonical), false)
	if !ok {
		return "", "", http.StatusBadRequest
	}
	return path, rawQuery, 0
}

// isAdmin says whether a path is the host's own, whatever routes say.
func isAdmin(path string) bool {
	lower := strings.ToLower(path)
	return lower == "/admin" || strings.HasPrefix(lower, "/admin/")
}

func (h *Host) route(w http.ResponseWriter, r *http.Request, path, rawQuery string) {
	f, params := h.find(r.Method, path)
	switch {
	case f == nil:
		w.WriteHeader(http.StatusNotFound)
	case !strings.EqualFold(f.binding.AuthLevel, "anonymous") && !h.hasKey(r):
		w.WriteHeader(http.StatusUnauthorized)
	default:
		h.call(w, r, f, hostRequest{r, path, rawQuery, params})
	}
}

// find is the function for a method and a path, nil if there is none.
func (h *Host) find(method, path string) (*function, []param) {
	for _, f := range h.app.http {
		if params, ok := f.route.match(path); ok && (f.methods == nil || f.methods[strings.ToUpper(method)]) {
			return f, params
		}
	}
	return nil, nil
}

func (h *Host) hasKey(r *http.Request) bool {
	given := r.Header.Get("X-Functions-Key")
	if given == "" {
		given = r.URL.Query().Get("code")
	}
	return h.key != "" && subtle.ConstantTimeCompare([]byte(given), []byte(h.key)) == 1
}

// hostRequest is a caller's request as the host understands it.
type hostRequest struct {
	*http.Request
	path     string // decoded
	rawQuery string
	params   []param
}

// call hands a request on in the way that function and host.json allow.
func (h *Host) call(w http.ResponseWriter, r *http.Request, f *function, q hostRequest) {
	do := h.envelope
	switch {
	case f.raw && h.app.proxying && h.mode == Newer:
		do = h.proxy
	case f.raw && h.app.forwarding:
		do = h.forward
	}
	started := time.Now()
	err := h.invoke(f, func(ctx context.Context, i invocation) error { return do(ctx, w, q, i) })
	if err == nil {
		return
	}
	h.log.Error("call failed", "function", f.name, "method", r.Method, "error", err.Error(), "after", time.Since(started).String())
	if errors.Is(err, errAnswered) {
		panic(http.ErrAbortHandler)
	}
	// The connection is not used again: a body may not have been read.
	w.Header().Set("Connection", "close")
	w.WriteHeader(http.StatusInternalServerError)
}

// errAnswered says that a call failed when part of its answer was out already:
// all that is left is to break the connection.
var errAnswered = errors.New("the answer broke off")

// errRefused says that the host itself fails a call, which is never delivered.
var errRefused = errors.New("not delivered")

// forward rebuilds a request and gives back the answer when it has all of it
// (enableForwardingHttpRequest). Recorded.
func (h *Host) forward(ctx context.Context, w http.ResponseWriter, q hostRequest, i invocation) error {
	if q.ContentLength < 0 {
		return fmt.Errorf("%w: a chunked body cannot be forwarded", errRefused)
	}
	if q.ContentLength > h.habits.maxBody {
		return fmt.Errorf("%w: a body of %d bytes is over %d", errRefused, q.ContentLength, h.habits.maxBody)
	}
	out := &outgoing{method: q.Method, target: forwardedPath(q.path, q.rawQuery) + forwardedQuery(q.rawQuery)}
	out.header = forwardedHeader(q.Request, i.id)
	switch {
	case q.ContentLength > 0:
		out.body, out.length = q.Body, q.ContentLength
		out.add("Content-Length", strconv.FormatInt(q.ContentLength, 10))
		if t := q.Header.Get("Content-Type"); t != "" {
			out.add("Content-Type", t)
		}
	case saysEmpty(q.Method):
		out.add("Content-Length", "0")
	}
	in, err := h.send(ctx, i.function, out)
	if err != nil {
		return err
	}
	defer in.body.Close()
	body, err := io.ReadAll(in.body)
	if err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	copyAnswer(w, in.Response)
	if q.Method != http.MethodHead && bodyAllowed(in.StatusCode) {
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	}
	w.WriteHeader(in.StatusCode)
	_, _ = w.Write(body)
	return nil
}

func (o *outgoing) add(name, value string) { o.header = append(o.header, headerRow{name, value}) }

// saysEmpty says whether .NET's client tells that there is no body.
func saysEmpty(method string) bool {
	return !slices.Contains([]string{"GET", "HEAD", "OPTIONS", "DELETE", "CONNECT"}, method)
}

// contentHeaders are those that .NET counts to the body: a forwarded request
// has none of them but length and type.
var contentHeaders = []string{
	"Allow", "Content-Disposition", "Content-Encoding", "Content-Language", "Content-Length", "Content-Location",
	"Content-Md5", "Content-Range", "Content-Type", "Expires", "Last-Modified",
}

func forwardedHeader(r *http.Request, id string) []headerRow {
	rows := []headerRow{{"Host", r.Host}}
	agent := userAgent
	for name, values := range r.Header {
		switch {
		case slices.Contains(contentHeaders, name), name == "Transfer-Encoding":
		case name == "User-Agent":
			agent = strings.Join(values, " ") + " " + userAgent
		case name == "Cookie":
			rows = append(rows, headerRow{name, strings.Join(values, "; ")})
		default:
			rows = append(rows, headerRow{name, strings.Join(values, ", ")})
		}
	}
	return append(rows, headerRow{"User-Agent", agent}, headerRow{versionHeader, Version}, headerRow{invocationHeader, id})
}

// copyAnswer hands on the header of an answer.
func copyAnswer(w http.ResponseWriter, in *http.Response) {
	for name, values := range in.Header {
		if !slices.Contains(hopByHop, name) {
			w.Header()[name] = values
		}
	}
	if w.Header().Get("Content-Type") == "" {
		w.Header()["Content-Type"] = nil // not to be guessed
	}
}

// hopByHop are headers that belong to one connection.
var hopByHop = []string{
	"Alt-Svc", "Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection", "Te", "Trailer",
	"Transfer-Encoding", "Upgrade", "Http2-Settings", "Upgrade-Insecure-Requests",
}

func bodyAllowed(status int) bool {
	return status != http.StatusNoContent && status != http.StatusNotModified
}

// proxy streams a request through (enableProxyingHttpRequest). There is no
// recording of this: it is built from descriptions of newer hosts and of the
// proxy they use.
func (h *Host) proxy(ctx context.Context, w http.ResponseWriter, q hostRequest, i invocation) error {
	if q.ContentLength > h.habits.maxBody {
		return fmt.Errorf("%w: a body of %d bytes is over %d", errRefused, q.ContentLength, h.habits.maxBody)
	}
	ctx, alive := withActivity(ctx, h.habits.activity)
	defer alive.stop()
	body := &proxiedBody{ReadCloser: http.MaxBytesReader(nil, q.Body, h.habits.maxBody), alive: alive}
	out := &outgoing{method: q.Method, target: proxiedPath(q.path), header: proxiedHeader(q, i.id, h.client.address)}
	if q.rawQuery != "" {
		out.target += "?" + q.rawQuery
	}
	switch {
	case q.ContentLength < 0:
		out.add("Transfer-Encoding", "chunked")
		out.body, out.length = body, -1
	case q.ContentLength > 0:
		out.add("Content-Length", strconv.FormatInt(q.ContentLength, 10))
		out.body, out.length = body, q.ContentLength
	case saysEmpty(q.Method):
		out.add("Content-Length", "0")
	}
	in, err := h.sendProxied(ctx, i.function, out, body)
	if err != nil {
		return err
	}
	defer in.body.Close()
	copyAnswer(w, in.Response)
	w.WriteHeader(in.StatusCode)
	if err := stream(w, in.body, alive); err != nil {
		return fmt.Errorf("%w: %w", errAnswered, err)
	}
	return nil
}

// What a newer host does where a proxied call does not come through.
const (
	proxyAttempts   = 10
	proxyFirstDelay = 50 * time.Millisecond
	proxyMostDelay  = 250 * time.Millisecond
)

// sendProxied tries again after any failure of the connection, as long as
// nothing of the body was taken. One that ends without an answer counts
// several times in each attempt: a GET is delivered 40 times.
func (h *Host) sendProxied(ctx context.Context, f *function, out *outgoing, body *proxiedBody) (*incoming, error) {
	delay := proxyFirstDelay
	for attempt := 1; ; attempt++ {
		in, err := h.send(ctx, f, out)
		if err == nil || attempt == proxyAttempts || body.begun.Load() || ctx.Err() != nil {
			return in, err
		}
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		delay = min(2*delay, proxyMostDelay)
	}
}

func proxiedHeader(q hostRequest, id, address string) []headerRow {
	remote, _, err := net.SplitHostPort(q.RemoteAddr)
	if err != nil {
		remote = q.RemoteAddr
	}
	rows := []headerRow{{"Host", address}}
	for name, values := range q.Header {
		switch name {
		case versionHeader, http.CanonicalHeaderKey(invocationHeader), "Content-Length", "X-Forwarded-Host", "X-Forwarded-Proto":
		case "X-Forwarded-For":
			remote = strings.Join(values, ", ") + ", " + remote
		case "Cookie":
			rows = append(rows, headerRow{name, strings.Join(values, "; ")})
		default:
			if !slices.Contains(hopByHop, name) {
				rows = append(rows, headerRow{name, strings.Join(values, ", ")})
			}
		}
	}
	return append(rows, headerRow{versionHeader, Version}, headerRow{invocationHeader, id},
		headerRow{"X-Forwarded-For", remote}, headerRow{"X-Forwarded-Host", q.Host}, headerRow{"X-Forwarded-Proto", "http"})
}

// stream copies an answer as it comes.
func stream(w http.ResponseWriter, from io.Reader, alive *activity) error {
	control := http.NewResponseController(w)
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		alive.seen()
		if n > 0 {
			if _, err := io.Copy(w, bytes.NewReader(buffer[:n])); err != nil {
				return err
			}
			_ = control.Flush()
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
