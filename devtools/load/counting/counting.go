// Package counting is an HTTP proxy before a Table service that counts what
// passes: requests, transactions, and the rows that they carry, by table.
package counting

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"
)

// Counts are what passed for one kind of table.
type Counts struct {
	Writes, RowsWritten int // a transaction is one write, whatever its rows
	Reads, RowsRead     int
	Refused             int // requests, of those above, that were not answered 2xx
}

// Add adds other to c.
func (c *Counts) Add(other Counts) {
	c.Writes += other.Writes
	c.RowsWritten += other.RowsWritten
	c.Reads += other.Reads
	c.RowsRead += other.RowsRead
	c.Refused += other.Refused
}

// Requests are reads and writes.
func (c Counts) Requests() int { return c.Writes + c.Reads }

// Tables are counts by kind of table: its name without the date.
type Tables map[string]Counts

// Total is the sum over all tables.
func (t Tables) Total() (sum Counts) {
	for _, c := range t {
		sum.Add(c)
	}
	return sum
}

// Proxy is a running proxy. Its methods may be called concurrently.
type Proxy struct {
	target    string // host:port
	address   string
	server    *http.Server
	transport *http.Transport

	mu     sync.Mutex
	counts Tables
}

// Start listens on a free port of loopback and passes on to target ("host:port").
func Start(target string) (*Proxy, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start the counting proxy: %w", err)
	}
	p := &Proxy{
		target: target, address: listener.Addr().String(), counts: Tables{},
		transport: &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true},
	}
	p.server = &http.Server{Handler: p, ReadHeaderTimeout: time.Minute}
	go func() { _ = p.server.Serve(listener) }() // ends with Close
	return p, nil
}

// Address is "host:port" of the proxy.
func (p *Proxy) Address() string { return p.address }

// Take returns what was counted since the last call.
func (p *Proxy) Take() Tables {
	p.mu.Lock()
	defer p.mu.Unlock()
	counts := p.counts
	p.counts = Tables{}
	return counts
}

// Close ends the proxy and the requests under way.
func (p *Proxy) Close() error {
	defer p.transport.CloseIdleConnections()
	return p.server.Close()
}

// maxBody bounds what is kept of a request or an answer: transactions and pages
// are smaller.
const maxBody = 16 << 20

// ServeHTTP passes a request on and counts it.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	if err != nil {
		http.Error(w, "the request's body broke off", http.StatusBadRequest)
		return
	}
	status, header, answer, err := p.pass(r.Context(), r, body)
	if err != nil {
		if !errors.Is(err, context.Canceled) {
			http.Error(w, err.Error(), http.StatusBadGateway)
		}
		return
	}
	p.count(r, body, status, answer)
	for name, values := range header {
		w.Header()[name] = values
	}
	w.WriteHeader(status)
	_, _ = w.Write(answer)
}

func (p *Proxy) pass(ctx context.Context, r *http.Request, body []byte) (int, http.Header, []byte, error) {
	out := r.Clone(ctx)
	out.URL.Scheme, out.URL.Host, out.RequestURI = "http", p.target, ""
	out.Body, out.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	response, err := p.transport.RoundTrip(out)
	if err != nil {
		return 0, nil, nil, err
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxBody))
	return response.StatusCode, response.Header, answer, err
}

func (p *Proxy) count(r *http.Request, body []byte, status int, answer []byte) {
	table, c := tally(r.Method, r.URL.Path, body, answer)
	if status >= 300 || bytes.Contains(answer, []byte("\nHTTP/1.1 4")) { // of a transaction: inside
		c.Refused = 1
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	sum := p.counts[table]
	sum.Add(c)
	p.counts[table] = sum
}

// action is the first line of an operation of a transaction.
var action = regexp.MustCompile(`(?m)^(?:POST|PUT|PATCH|MERGE|DELETE) (\S+) HTTP/1\.1\r?$`)

// tally tells what kind of table a request is about, and what it carries.
func tally(method, path string, body, answer []byte) (string, Counts) {
	switch {
	case strings.HasSuffix(path, "/$batch"):
		actions := action.FindAllSubmatch(body, -1)
		if len(actions) == 0 {
			return "unknown", Counts{Writes: 1}
		}
		u, err := url.Parse(string(actions[0][1]))
		if err != nil {
			return "unknown", Counts{Writes: 1, RowsWritten: len(actions)}
		}
		return kind(u.Path), Counts{Writes: 1, RowsWritten: len(actions)}
	case method == http.MethodGet:
		return kind(path), Counts{Reads: 1, RowsRead: bytes.Count(answer, []byte(`"RowKey":`))}
	case kind(path) == tablesOfTables:
		return tablesOfTables, Counts{Writes: 1}
	}
	return kind(path), Counts{Writes: 1, RowsWritten: 1}
}

// tablesOfTables is where tables are made, dropped and listed.
const tablesOfTables = "Tables"

// kind is the table of a path /account/table(…) without the digits of its day.
func kind(path string) string {
	name := path[strings.LastIndexByte(path, '/')+1:]
	if i := strings.IndexByte(path, '('); i >= 0 {
		name = path[strings.LastIndexByte(path[:i], '/')+1 : i]
	}
	return strings.TrimRight(name, "0123456789")
}
