package wire

import (
	"errors"
	"io"
	"math"
)

// JSON decodes a message or an array of messages. The whole of r must be JSON:
// a body that is not is refused as a whole (*Error), as is one of more than
// Options.Readings messages or an empty array. Errors of r come back as they
// are.
//
// A message is
//
//	{"deviceId":"pump-7","ts":"2026-11-23T04:00:00Z","metrics":{"temperature":21.5},"tags":{"site":"berlin"}}
//
// where ts and either of metrics and tags may be missing. Where the address
// names the device, or there is one for messages that name none, deviceId may be missing, values is the same as metrics, and
// a message without either of these objects is bare: each of its keys but
// deviceId, ts and tags is a metric. Other keys make a reading bad: a mistyped
// key must not lose data in silence. Null is no value: such metrics are left out,
// null for metrics or tags means none, a tag of null is removed. Tags that are numbers
// or booleans are kept as they were written.
func JSON(r io.Reader, opt Options) (*Batch, error) {
	p := newParser(opt)
	defer p.free()
	p.decode(r)
	if err := p.body(); err != nil {
		return nil, err
	}
	if err := p.end(); err != nil {
		return nil, err
	}
	return p.finish(), nil
}

func (p *parser) body() error {
	switch p.dec.PeekKind() {
	case '[':
		return p.array()
	case 0:
		_, err := p.dec.ReadToken()
		if errors.Is(err, io.EOF) {
			return refuse(Empty, "body is empty: send a message, as %s", p.example())
		}
		return p.failed(err)
	default:
		return p.element(0)
	}
}

func (p *parser) array() error {
	if _, err := p.dec.ReadToken(); err != nil {
		return p.failed(err)
	}
	n := 0
	for ; p.dec.PeekKind() != ']'; n++ {
		if err := p.element(n); err != nil {
			return err
		}
	}
	if n == 0 {
		return refuse(Empty, "array is empty: send at least one message, as %s", p.example())
	}
	_, err := p.dec.ReadToken()
	return p.ended(err)
}

// element reads and judges the message at an index.
func (p *parser) element(index int) error {
	if index >= p.opt.Readings {
		return p.tooManyReadings()
	}
	refusal, err := p.message()
	if err != nil {
		return err
	}
	if refusal != nil {
		p.reject(index, refusal)
		return nil
	}
	p.accept(index)
	return nil
}

func (p *parser) tooManyReadings() error {
	return refuse(TooManyReadings, "more than %d readings in one body: send several", min(p.opt.Readings, math.MaxInt32))
}

// end makes sure that nothing follows.
func (p *parser) end() error {
	kind := p.dec.PeekKind()
	at := p.dec.InputOffset()
	if _, err := p.dec.ReadToken(); err != nil {
		if errors.Is(err, io.EOF) {
			return nil
		}
		return p.failed(err)
	}
	if kind == '{' {
		return refuse(Syntax, "a second message after byte %d: send an array, or a message a line as application/x-ndjson", at)
	}
	return refuse(Syntax, "%s after the end of the JSON at byte %d", kindName(kind), at)
}
