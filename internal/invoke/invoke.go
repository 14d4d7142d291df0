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
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// ErrEnvelope is why a call is refused that is not as the host writes it.
var ErrEnvelope = errors.New("broken envelope")

// Envelope is what the host sends. Its values are as they were sent: Data and
// Meta read them.
type Envelope struct {
	data, metadata map[string]json.RawMessage
}

// Read reads an envelope of at most limit bytes. ErrEnvelope, or the reader's
// error.
func Read(r io.Reader, limit int64) (Envelope, error) {
	text, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return Envelope{}, fmt.Errorf("read the envelope: %w", err)
	}
	if int64(len(text)) > limit {
		return Envelope{}, fmt.Errorf("%w: over %d bytes", ErrEnvelope, limit)
	}
	var e struct{ Data, Metadata map[string]json.RawMessage }
	if err := json.Unmarshal(text, &e); err != nil {
		return Envelope{}, fmt.Errorf("%w: %w", ErrEnvelope, err)
	}
	if e.Data == nil {
		return Envelope{}, fmt.Errorf("%w: it has no Data", ErrEnvelope)
	}
	return Envelope{e.Data, e.Metadata}, nil
}

// Data decodes what came for a binding into to, which is a pointer as
// json.Unmarshal takes it. ErrEnvelope if nothing came or it does not fit.
func (e Envelope) Data(binding string, to any) error {
	raw, ok := e.data[binding]
	if !ok {
		return fmt.Errorf("%w: Data has no %s", ErrEnvelope, binding)
	}
	if err := decode(raw, to); err != nil {
		return fmt.Errorf("%w: Data.%s: %w", ErrEnvelope, binding, err)
	}
	return nil
}

// Meta decodes an entry of the metadata into to; false if there is none, as
// any may be missing.
func (e Envelope) Meta(name string, to any) (bool, error) {
	raw, ok := e.metadata[name]
	if !ok {
		return false, nil
	}
	if err := decode(raw, to); err != nil {
		return true, fmt.Errorf("%w: Metadata.%s: %w", ErrEnvelope, name, err)
	}
	return true, nil
}

// decode undoes how the host writes values: objects stand as they are; strings,
// numbers and arrays are JSON in a JSON string.
func decode(raw json.RawMessage, to any) error {
	if !bytes.HasPrefix(raw, []byte{'"'}) {
		return json.Unmarshal(raw, to)
	}
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		return err
	}
	return json.Unmarshal([]byte(text), to)
}

// Timer is what a timer trigger sends. The host has more to say, which nothing
// depends on.
type Timer struct {
	IsPastDue bool // it comes later than its schedule says
}

// Timer decodes a timer's binding, which must be an object.
func (e Envelope) Timer(binding string) (Timer, error) {
	var t *Timer
	if err := e.Data(binding, &t); err != nil {
		return Timer{}, err
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
