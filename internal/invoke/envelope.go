package invoke

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// reader reads an envelope. The host writes objects as they are; strings,
// numbers and arrays as JSON in a JSON string, which inner reads.
type reader struct {
	scanner
	inner   scanner
	scratch bytes.Buffer
	events  int // there may be
}

// mostBindings is how many things may come in Data: a function has few bindings.
const mostBindings = 16

func (r *reader) envelope() (e Envelope, err error) {
	err = r.object(func(name string) error {
		switch name {
		case "Data":
			e.data = map[string]datum{}
			return r.object(func(binding string) (err error) {
				if len(e.data) == mostBindings {
					return fmt.Errorf("over %d bindings in Data", mostBindings)
				}
				e.data[binding], err = r.datum()
				return within("Data."+binding, err)
			})
		case "Metadata":
			e.metadata = map[string]any{}
			return r.object(func(name string) (err error) {
				if !known[name] {
					return r.skip()
				}
				e.metadata[name], err = r.meta()
				return within("Metadata."+name, err)
			})
		}
		return r.skip()
	})
	if err == nil {
		err = r.end()
	}
	return e, err
}

func within(place string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", place, err)
}

func (s scanner) skip() error {
	_, err := s.raw(0)
	return err
}

// unwrap has read do with the text in the string that comes next.
func (r *reader) unwrap(read func(first byte) error) error {
	if err := r.take('"'); err != nil {
		return err
	}
	r.inner.in.Reset(&said{in: r.in})
	first, err := r.inner.next()
	if errors.Is(err, io.ErrUnexpectedEOF) {
		first, err = 0, nil // nothing but white space
	}
	if err == nil {
		err = read(first)
	}
	if err == nil {
		err = r.inner.end()
	}
	return err
}

// datum reads what came for a binding.
func (r *reader) datum() (d datum, err error) {
	first, err := r.next()
	switch {
	case err != nil:
		return datum{}, err
	case first == '[':
		d.events, err = r.bodies(r.scanner)
	case first == '"':
		err = r.unwrap(func(first byte) (err error) {
			if first == '[' {
				d.events, err = r.bodies(r.inner)
				return err
			}
			d.text, err = r.alone()
			return err
		})
	default:
		d.raw, err = r.raw(mostObject)
	}
	return d, err
}

// mostObject is how large an object may be that comes for a binding.
const mostObject = 1 << 20

// mostText is how much a string may say: one event of the largest that a hub takes.
const mostText = 32 << 20

// alone reads what a string says that may be an event in base64.
func (r *reader) alone() (*string, error) {
	text, err := io.ReadAll(io.LimitReader(r.inner.in, mostText+1))
	if err == nil && len(text) > mostText {
		err = fmt.Errorf("it is a string of over %d bytes", mostText)
	}
	s := string(text)
	return &s, err
}

// list reads an array with an entry for each event. Nobody waits for the end of one
// that has more: an entry takes many times the memory that it takes in the text.
func (r *reader) list(from scanner, each func() error) error {
	n := 0
	return from.array(func() error {
		if n++; n > r.events {
			return fmt.Errorf("over %d events, which a call may have at most: a lower maxEventBatchSize in host.json is right", r.events)
		}
		return each()
	})
}

// bodies are those of a batch of events, or why they are none.
type bodies struct {
	list [][]byte
	err  error
}

// Why elements are no bodies: function.json does not say what it must.
var (
	errText   = errors.New("it is text and not base64")
	errParsed = errors.New("it is JSON and not a string of base64")
)

// bodies reads an array of base64. The elements after one that is none are not
// kept.
func (r *reader) bodies(from scanner) (*bodies, error) {
	all := &bodies{}
	err := r.list(from, func() error {
		body, err := r.body(from)
		switch {
		case all.err != nil || errors.Is(err, errText) || errors.Is(err, errParsed):
			if all.err == nil {
				all.err = fmt.Errorf("event %d: %w", len(all.list), err)
			}
			all.list = nil
			return nil
		case err != nil:
			return err
		}
		all.list = append(all.list, body)
		return nil
	})
	return all, err
}

// body reads one event's; null is an empty one.
func (r *reader) body(from scanner) ([]byte, error) {
	first, err := from.next()
	switch {
	case err != nil:
		return nil, err
	case first == 'n':
		null, err := from.raw(len("null"))
		if err == nil && string(null) != "null" {
			err = fmt.Errorf("%w: %s", errJSON, null)
		}
		return []byte{}, err
	case first != '"':
		return nil, errors.Join(from.skip(), errParsed)
	}
	if err := from.take('"'); err != nil {
		return nil, err
	}
	r.scratch.Reset()
	if _, err := r.scratch.ReadFrom(&said{in: from.in}); err != nil {
		return nil, err
	}
	return unbase64(r.scratch.Bytes())
}

func unbase64(text []byte) ([]byte, error) {
	body := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Decode(body, text)
	if err != nil {
		return nil, errText
	}
	return body[:n], nil
}

// known are the entries of the metadata that are read; an event alone has the
// same without Array. What the host may add is passed over.
var known = map[string]bool{
	"PartitionContext": true, "RetryContext": true,
	"PartitionKeyArray": true, "OffsetArray": true, "SequenceNumberArray": true, "EnqueuedTimeUtcArray": true,
	"PropertiesArray": true, "SystemPropertiesArray": true,
	"PartitionKey": true, "Offset": true, "SequenceNumber": true, "EnqueuedTimeUtc": true, "Properties": true, "SystemProperties": true,
}

// meta reads an entry of the metadata. A string that holds no JSON stands for
// itself.
func (r *reader) meta() (value any, err error) {
	first, err := r.next()
	switch {
	case err != nil:
		return nil, err
	case first == '[':
		return r.column(r.scanner)
	case first != '"':
		return r.element()
	}
	err = r.unwrap(func(first byte) (err error) {
		if first == '[' {
			value, err = r.column(r.inner)
			return err
		}
		text, err := io.ReadAll(io.LimitReader(r.inner.in, longestValue))
		if err != nil {
			return err
		}
		if value, err = decode(text); err != nil {
			value = string(text)
		}
		_, err = io.Copy(io.Discard, r.inner.in)
		return err
	})
	return value, err
}

// What is kept of what senders say of their events: nobody reads longer values,
// and an event that has nothing but millions of properties is no reason to run
// out of memory.
const (
	longestValue = 4 << 10
	mostMembers  = 256
	mostOfAll    = 64 << 10
)

// column decodes an array, element by element.
func (r *reader) column(from scanner) ([]any, error) {
	list := []any{}
	err := r.list(from, func() error {
		v, err := from.element()
		list = append(list, v)
		return err
	})
	return list, err
}

// element decodes a value: objects as map[string]any, of which the members with
// longer values than anyone reads are left out, and those beyond the first
// mostMembers or mostOfAll bytes, except what is read of Event Hubs and IoT Hub;
// numbers as int64 where they are whole, else float64; another value that is too long
// as nil.
func (s scanner) element() (any, error) {
	first, err := s.next()
	if err != nil {
		return nil, err
	}
	if first == '{' {
		return s.members()
	}
	raw, err := s.raw(longestValue)
	if err != nil || raw == nil {
		return nil, err
	}
	return decode(raw)
}

func (s scanner) members() (map[string]any, error) {
	o, size := map[string]any{}, 0
	err := s.object(func(name string) error {
		raw, err := s.raw(longestValue)
		if err != nil || raw == nil {
			return err
		}
		over := len(o) >= mostMembers || size+len(name)+len(raw) > mostOfAll
		if over && !serviceProperty[name] && !serviceProperty[strings.ToLower(name)] {
			return nil
		}
		size += len(name) + len(raw)
		o[name], err = decode(raw)
		return within(name, err)
	})
	return o, err
}

// decode decodes a whole value.
func decode(raw []byte) (any, error) {
	if len(raw) > 0 && raw[0] == '"' {
		var s string
		err := json.Unmarshal(raw, &s)
		return s, err
	}
	if json.Valid(raw) && (raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9') {
		return numbers(json.Number(raw)), nil
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, unexpected(err)
	}
	if d.More() {
		return nil, fmt.Errorf("%w: more after its end", errJSON)
	}
	return numbers(v), nil
}

// numbers has Go's own in the place of json.Number.
func numbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		f, _ := v.Float64() // infinite if it is too large
		return f
	case []any:
		for i := range v {
			v[i] = numbers(v[i])
		}
	case map[string]any:
		for name := range v {
			v[name] = numbers(v[name])
		}
	}
	return v
}
