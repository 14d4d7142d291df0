package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"sluice/devtools/load/body"
	"sluice/devtools/load/service"
)

// poster posts bodies over one connection. It writes requests by hand, so that
// little of the machine goes into the client.
type poster struct {
	conn   net.Conn
	reader *bufio.Reader
	buffer []byte
}

func dial(address string) (*poster, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		return nil, err
	}
	return &poster{conn: conn, reader: bufio.NewReader(conn)}, nil
}

// post sends a body, wants all of it accepted, and returns the status.
func (p *poster) post(t *body.Template) (status int, err error) {
	p.buffer = fmt.Appendf(p.buffer[:0], "POST /api/v1/telemetry HTTP/1.1\r\nHost: load\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", len(t.Bytes))
	p.buffer = append(p.buffer, t.Bytes...)
	if _, err := p.conn.Write(p.buffer); err != nil {
		return 0, err
	}
	response, err := http.ReadResponse(p.reader, nil)
	if err != nil {
		return 0, err
	}
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err
	}
	good := response.StatusCode == http.StatusOK || response.StatusCode == http.StatusAccepted
	var v service.Verdict
	if err := json.Unmarshal(answer, &v); err != nil || !good || v.Accepted != t.Readings {
		return 0, fmt.Errorf("status %d: %.300s", response.StatusCode, answer)
	}
	return response.StatusCode, nil
}

// load is what is posted: from each connection bodies of devices of its own,
// each reading of a device interval after the former one.
type load struct {
	connections, devices, each int
	interval                   time.Duration
	begin                      time.Time
	readings                   int           // in all, at least; 0: for length
	length                     time.Duration // then: no body is begun after it

	rate  float64                    // readings/s, evenly, if the service is as fast; 0: as fast as it is
	stop  <-chan struct{}            // no body is begun after it; nil: never
	taken func(status, readings int) // is told of each body; nil: nobody
}

// run posts and returns the number of readings that were accepted.
func (l load) run(address string) (int, error) {
	var left atomic.Int64
	left.Store(int64(l.readings))
	started := time.Now()
	another := func(n int) bool {
		select {
		case <-l.stop:
			return false
		default:
		}
		if l.readings == 0 {
			return time.Since(started) < l.length
		}
		return left.Add(-int64(n)) > -int64(n)
	}
	var accepted atomic.Int64
	var clients sync.WaitGroup
	errs := make(chan error, l.connections)
	for i := range l.connections {
		clients.Go(func() {
			p, err := dial(address)
			if err != nil {
				errs <- err
				return
			}
			defer func() { _ = p.conn.Close() }()
			t := body.New(i*l.devices, l.devices, l.each, l.interval)
			due := started.Add(l.gap(i, t.Readings))
			for at := l.begin; another(t.Readings); at = at.Add(t.Span()) {
				time.Sleep(time.Until(due))
				due = due.Add(l.gap(l.connections, t.Readings))
				t.At(at)
				status, err := p.post(t)
				if err != nil {
					errs <- err
					return
				}
				accepted.Add(int64(t.Readings))
				if l.taken != nil {
					l.taken(status, t.Readings)
				}
			}
		})
	}
	clients.Wait()
	select {
	case err := <-errs:
		return 0, fmt.Errorf("post: %w", err)
	default:
		return int(accepted.Load()), nil
	}
}

// gap is the time in which so many bodies are due.
func (l load) gap(bodies, readings int) time.Duration {
	if l.rate == 0 {
		return 0
	}
	return time.Duration(float64(bodies*readings) / l.rate * float64(time.Second))
}
