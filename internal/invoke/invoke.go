// Package invoke is how the Functions host calls a function that is no HTTP
// trigger: POST /{function} with an envelope of what it has,
//
//	{"Data":{"timer":{…}},"Metadata":{"sys":{…}}}
//
// answered with 200 and an envelope of what was done, or with another status,
// which makes the invocation fail:
//
//	{"Outputs":{},"Logs":["…"],"ReturnValue":null}
//
// What the functions do knows nothing of it.
package invoke

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// ErrEnvelope is why a call is refused that is not as the host writes it.
var ErrEnvelope = errors.New("broken envelope")

// Envelope is what the host sends: what came for each binding, and of what it
// says besides, what somebody here reads.
type Envelope struct {
	data     map[string]datum
	metadata map[string]any // as element decodes it, an array as []any
}

// datum is what came for a binding: JSON as it stands; or, of a string, the
// events that it holds as an array, or else what it says.
type datum struct {
	raw    json.RawMessage
	events *bodies
	text   *string
}

// Read reads an envelope of at most limit bytes and events, as it comes: what it
// holds of a batch of events is their bodies, decoded, and a few KiB for each (some
// hundred at most). ErrEnvelope, at the first event or entry of the metadata too
// many, or the reader's error.
func Read(r io.Reader, limit int64, events int) (Envelope, error) {
	from := &limited{from: r, left: limit}
	reader := reader{scanner: newScanner(from), inner: newScanner(nil), events: events}
	e, err := reader.envelope()
	switch {
	case err == nil && e.data == nil:
		return Envelope{}, fmt.Errorf("%w: it has no Data", ErrEnvelope)
	case err == nil:
		return e, nil
	case from.over:
		return Envelope{}, fmt.Errorf("%w: over %d bytes", ErrEnvelope, limit)
	case from.err != nil:
		return Envelope{}, fmt.Errorf("read the envelope: %w", from.err)
	}
	return Envelope{}, fmt.Errorf("%w: %w", ErrEnvelope, err)
}

// limited reads no more than there may be, and remembers what kept it from more.
type limited struct {
	from io.Reader
	left int64
	over bool
	err  error // of the reader, other than its end
}

func (l *limited) Read(p []byte) (int, error) {
	if l.over {
		return 0, ErrEnvelope
	}
	n, err := l.from.Read(p[:min(int64(len(p)), l.left+1)])
	if l.left -= int64(n); l.left < 0 {
		l.over = true
		return 0, ErrEnvelope
	}
	if err != nil && !errors.Is(err, io.EOF) {
		l.err = err
	}
	return n, err
}

// Timer is what a timer trigger sends. The host has more to say, which nothing
// depends on.
type Timer struct {
	IsPastDue bool // it comes later than its schedule says
}

// Timer decodes a timer's binding, which must be an object.
func (e Envelope) Timer(binding string) (Timer, error) {
	d, ok := e.data[binding]
	if !ok {
		return Timer{}, fmt.Errorf("%w: Data has no %s", ErrEnvelope, binding)
	}
	var t *Timer
	if err := json.Unmarshal(d.raw, &t); err != nil {
		return Timer{}, fmt.Errorf("%w: Data.%s: %w", ErrEnvelope, binding, err)
	}
	if t == nil {
		return Timer{}, fmt.Errorf("%w: Data.%s is null", ErrEnvelope, binding)
	}
	return *t, nil
}

// answer is what the host is told. All three must be there: an answer of
// another shape, or none, leaves the invocation open until it times out, and
// then the host kills the process.
type answer struct {
	Outputs     map[string]any
	Logs        []string
	ReturnValue any
}

// Done is the body of a successful answer: what was done, a line each.
func Done(logs ...string) any { return answer{map[string]any{}, lines(logs), nil} }

// HTTPOutput is the name that every HTTP function gives its output binding.
const HTTPOutput = "res"

// Reply is the body that has the host answer an HTTP call which it sent as an
// envelope: a status and a text of JSON.
func Reply(status int, body string, logs ...string) any {
	return answer{map[string]any{HTTPOutput: reply{status, map[string]string{"Content-Type": "application/json"}, body}}, lines(logs), nil}
}

type reply struct {
	Status  int               `json:"statusCode"`
	Headers map[string]string `json:"headers"`
	Body    string            `json:"body"`
}

// lines is never nil, which JSON would write as null.
func lines(logs []string) []string { return append([]string{}, logs...) }
