package wire

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"sluice/telemetry"
)

// maxDepth is how deep JSON may nest; a message needs 3.
const maxDepth = 64

// What a pooled parser may hold on to.
const (
	keptReadings = 8192
	keptMetrics  = 32 << 10
	keptScratch  = 64 << 10
)

// parser decodes messages of one body. Its tables outlive the body.
type parser struct {
	dec     *jsontext.Decoder
	opt     Options
	devices names
	metrics names
	texts   texts

	serial   uint64 // of the message, never the same twice
	msg      message
	scratch  []byte // of unquoted strings
	line     []byte // NDJSON: what is left of a line that came in parts
	input    bytes.Buffer
	readings []telemetry.Reading
	index    []int32
	slab     []telemetry.Metric // of the readings from settled on, one after the other
	settled  int                // the readings before it have their metrics for good
	tags     []telemetry.Tag
	batch    *Batch
}

// message is what is known of the message under way.
type message struct {
	reading telemetry.Reading
	start   int // of its metrics in the slab
	keys    int // in its metrics, null or not
	fields  field
	bare    int // the place among its metrics' names, from 1, of the first key that makes it bare
}

// field is a set of the keys of a message.
type field uint8

const (
	fieldDevice field = 1 << iota
	fieldTime
	fieldMetrics
	fieldValues
	fieldTags
)

var parsers = sync.Pool{New: func() any {
	return &parser{dec: jsontext.NewDecoder(bytes.NewReader(nil)), texts: texts{}}
}}

func newParser(opt Options) *parser {
	p := parsers.Get().(*parser)
	p.opt, p.batch = opt, &Batch{}
	return p
}

// free gives the parser back. What the batch holds is not the parser's any
// more.
func (p *parser) free() {
	clear(p.readings)
	p.readings, p.index = p.readings[:0], p.index[:0]
	if cap(p.readings) > keptReadings {
		p.readings, p.index = nil, nil
	}
	if cap(p.scratch) > keptScratch {
		p.scratch = nil
	}
	if cap(p.line) > keptScratch {
		p.line = nil
	}
	clear(p.slab)
	p.slab, p.settled = p.slab[:0], 0
	p.batch, p.input, p.msg = nil, bytes.Buffer{}, message{}
	p.dec.Reset(bytes.NewReader(nil))
	parsers.Put(p)
}

// finish moves the readings into the batch, as copies of the right size.
func (p *parser) finish() *Batch {
	p.settle(slices.Clone(p.slab))
	p.batch.Readings, p.batch.Index = slices.Clone(p.readings), slices.Clone(p.index)
	return p.batch
}

// settle gives the readings that have none yet their metrics, which lie in slab
// one after the other: so far only their number is right.
func (p *parser) settle(slab []telemetry.Metric) {
	for i := p.settled; i < len(p.readings); i++ {
		r := &p.readings[i]
		n := len(r.Metrics)
		r.Metrics, slab = slab[:n:n], slab[n:]
	}
	p.settled = len(p.readings)
}

// add adds a metric to the message. A slab of full size is the readings' for
// good; the message under way moves on to a new one.
func (p *parser) add(name string, value telemetry.Value) {
	if len(p.slab) == cap(p.slab) && len(p.slab) >= keptMetrics {
		p.settle(p.slab)
		started := p.slab[p.msg.start:]
		p.slab = append(make([]telemetry.Metric, 0, max(keptMetrics, 2*len(started))), started...)
		p.msg.start = 0
	}
	p.slab = append(p.slab, telemetry.Metric{Name: name, Value: value})
}

// decode directs the decoder at a stream. Names twice and broken strings must
// not stop it: they make a reading bad, not the body.
func (p *parser) decode(r io.Reader) {
	p.dec.Reset(r, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
}

// begin begins a message.
func (p *parser) begin() {
	p.serial++
	p.devices.turnOver()
	p.metrics.turnOver()
	p.msg = message{start: len(p.slab)}
	p.msg.reading.Time = Untimed
}

// accept keeps the message's reading.
func (p *parser) accept(index int) {
	r := p.msg.reading
	r.Metrics = p.slab[p.msg.start:] // its length counts, see settle
	p.readings = append(p.readings, r)
	p.index = append(p.index, int32(index))
}

// reject takes the message back.
func (p *parser) reject(index int, refusal *telemetry.Refusal) {
	clear(p.slab[p.msg.start:])
	p.slab = p.slab[:p.msg.start]
	p.batch.refuse(index, refusal)
}

// unquote returns the text of a JSON string, valid until the next one; false
// if it is not UTF-8 or has half a surrogate pair.
func (p *parser) unquote(v jsontext.Value) ([]byte, bool) {
	plain := v[1 : len(v)-1]
	beyond := false
	for _, c := range plain {
		if c == '\\' {
			text, err := jsontext.AppendUnquote(p.scratch[:0], v)
			p.scratch = text
			return text, err == nil
		}
		beyond = beyond || c >= utf8.RuneSelf
	}
	return plain, !beyond || utf8.Valid(plain)
}

// offset is where in the body (a line, of NDJSON) v begins, which was read just
// now.
func (p *parser) offset(v jsontext.Value) int64 { return p.dec.InputOffset() - int64(len(v)) }

// failed tells what a decoder's error means: the body's fault is an *Error,
// anything else comes from the stream.
func (p *parser) failed(err error) error {
	var syntax *jsontext.SyntacticError
	switch {
	case !errors.As(err, &syntax):
		return err
	case errors.Is(syntax.Err, io.ErrUnexpectedEOF):
		return refuse(Syntax, "JSON ends in the middle, at byte %d", syntax.ByteOffset)
	default:
		return refuse(Syntax, "not JSON at byte %d: %v%s", syntax.ByteOffset, syntax.Err, numberHint(syntax.Err))
	}
}

// numberHint says what would be right where a client wrote NaN or Infinity, as
// some languages' encoders do unasked.
func numberHint(err error) string {
	if text := err.Error(); strings.HasPrefix(text, "invalid character 'N'") || strings.HasPrefix(text, "invalid character 'I'") {
		return "; JSON has no NaN and no Infinity: leave the metric out or send null"
	}
	return ""
}

// drain reads on until the decoder is at depth again.
func (p *parser) drain(depth int) error {
	for p.dec.StackDepth() > depth {
		if _, err := p.dec.ReadToken(); err != nil {
			return p.failed(err)
		}
		if err := p.checkDepth(); err != nil {
			return err
		}
	}
	return nil
}

// skip reads over one value.
func (p *parser) skip() error {
	depth := p.dec.StackDepth()
	if _, err := p.dec.ReadToken(); err != nil {
		return p.failed(err)
	}
	return p.drain(depth)
}

func (p *parser) checkDepth() error {
	if p.dec.StackDepth() > maxDepth {
		return refuse(Syntax, "JSON nests deeper than %d at byte %d", maxDepth, p.dec.InputOffset())
	}
	return nil
}
