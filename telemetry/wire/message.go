package wire

import (
	"github.com/go-json-experiment/json/jsontext"

	"sluice/telemetry"
)

// message reads one message. A refusal is its alone; an error is the body's.
func (p *parser) message() (*telemetry.Refusal, error) {
	p.begin()
	depth := p.dec.StackDepth()
	if kind := p.dec.PeekKind(); kind != '{' {
		refusal := telemetry.Refuse(telemetry.InvalidMessage, "%s: a message is an object, as %s", kindName(kind), p.example())
		return refusal, p.skip()
	}
	if _, err := p.dec.ReadToken(); err != nil {
		return nil, p.failed(err)
	}
	refusal, err := p.members(p.member)
	if err != nil {
		return nil, err
	}
	if refusal != nil {
		return refusal, p.drain(depth)
	}
	return p.complete(), nil
}

func (p *parser) example() string {
	if p.opt.bare() {
		return `{"temperature":21.5}`
	}
	return `{"deviceId":"pump-7","metrics":{"temperature":21.5}}`
}

// members reads the members of an object that was entered, up to its end or the
// first refusal. The key is valid until member reads on.
func (p *parser) members(member func(key []byte, at int64) (*telemetry.Refusal, error)) (*telemetry.Refusal, error) {
	for kind := p.dec.PeekKind(); kind != '}'; kind = p.dec.PeekKind() {
		if kind != '"' {
			return nil, p.noKey()
		}
		v, err := p.dec.ReadValue()
		if err != nil {
			return nil, p.failed(err)
		}
		at := p.offset(v)
		key, ok := p.unquote(v)
		if !ok {
			return refuseText("key", at), nil
		}
		if refusal, err := member(key, at); refusal != nil || err != nil {
			return refusal, err
		}
	}
	_, err := p.dec.ReadToken()
	if err != nil {
		return nil, p.failed(err)
	}
	return nil, nil
}

// noKey tells why what comes is no key, without reading a large value whole.
func (p *parser) noKey() error {
	if _, err := p.dec.ReadToken(); err != nil {
		return p.failed(err)
	}
	return refuse(Syntax, "no key before byte %d", p.dec.InputOffset())
}

func refuseText(what string, at int64) *telemetry.Refusal {
	return telemetry.Refuse(telemetry.InvalidText,
		"%s at byte %d has bytes that are not UTF-8 or half a surrogate pair", what, at)
}

// member reads a member of a message.
func (p *parser) member(key []byte, at int64) (*telemetry.Refusal, error) {
	switch string(key) {
	case "deviceId":
		return p.once(fieldDevice, key, at, p.device)
	case "ts":
		return p.once(fieldTime, key, at, p.time)
	case "tags":
		return p.once(fieldTags, key, at, p.tagObject)
	case "metrics":
		return p.nested("metrics", fieldMetrics, at)
	case "values":
		return p.nested("values", fieldValues, at)
	default:
		return p.bare(key, at)
	}
}

// nested reads what may be an object of metrics or, in a bare message, a metric.
func (p *parser) nested(key string, f field, at int64) (*telemetry.Refusal, error) {
	whole := !p.opt.bare()
	if whole && f == fieldMetrics || !whole && p.dec.PeekKind() == '{' {
		return p.once(f, []byte(key), at, p.metricObject)
	}
	return p.bare([]byte(key), at)
}

// bare reads a metric among the keys of a message.
func (p *parser) bare(key []byte, at int64) (*telemetry.Refusal, error) {
	if !p.opt.bare() {
		return unknownField(key, at, "a message has deviceId, ts, metrics and tags"), nil
	}
	if p.msg.bare == 0 {
		p.msg.bare = len(p.metrics.turn) + 1
	}
	return p.metric(key, at)
}

func unknownField(key []byte, at int64, right string) *telemetry.Refusal {
	return telemetry.Refuse(telemetry.UnknownField, "unknown key %s at byte %d: %s", telemetry.Quote(key), at, right)
}

// once reads the value of a key of a message that may be there once.
func (p *parser) once(f field, key []byte, at int64, read func() (*telemetry.Refusal, error)) (*telemetry.Refusal, error) {
	if p.msg.fields&f != 0 {
		return duplicateKey(key, at), nil
	}
	p.msg.fields |= f
	return read()
}

func duplicateKey(key []byte, at int64) *telemetry.Refusal {
	return telemetry.Refuse(telemetry.DuplicateKey, "key %s at byte %d is there a second time", telemetry.Quote(key), at)
}

// bare says whether messages may be without a device, and so bare.
func (o *Options) bare() bool { return o.Device != "" || o.Default != "" }

// complete judges a message that was read to its end.
func (p *parser) complete() *telemetry.Refusal {
	m := &p.msg
	both := m.fields&(fieldMetrics|fieldValues) == fieldMetrics|fieldValues
	switch {
	case both:
		return telemetry.Refuse(telemetry.InvalidMessage, `message has both "metrics" and "values": send one`)
	case m.bare != 0 && m.fields&(fieldMetrics|fieldValues) != 0:
		return telemetry.Refuse(telemetry.UnknownField,
			"unknown key %s beside an object of metrics: a message has ts, tags and values (or metrics)",
			telemetry.Quote(p.metrics.turn[m.bare-1].text))
	case p.opt.Device != "":
		m.reading.Device = p.opt.Device
	case m.fields&fieldDevice != 0:
		if refusal := p.whole(); refusal != nil {
			return refusal
		}
	case p.opt.Default != "":
		m.reading.Device = p.opt.Default
	default:
		return telemetry.Refuse(telemetry.InvalidDevice, "message has no deviceId")
	}
	if len(p.slab) == m.start && len(m.reading.Tags) == 0 {
		return telemetry.Refuse(telemetry.EmptyMessage, "message has neither metrics nor tags (null is no value)")
	}
	return nil
}

// whole judges a message that names its device, though it need not: then it
// has no bare form either.
func (p *parser) whole() *telemetry.Refusal {
	switch {
	case p.msg.bare != 0:
		return telemetry.Refuse(telemetry.UnknownField, "unknown key %s: a message with a deviceId has ts, metrics and tags besides",
			telemetry.Quote(p.metrics.turn[p.msg.bare-1].text))
	case p.msg.fields&fieldValues != 0:
		return telemetry.Refuse(telemetry.UnknownField, `unknown key "values": a message with a deviceId has ts, metrics and tags besides`)
	default:
		return nil
	}
}

// device reads the value of deviceId.
func (p *parser) device() (*telemetry.Refusal, error) {
	kind := p.dec.PeekKind()
	if kind != '"' {
		return telemetry.Refuse(telemetry.InvalidDevice, "deviceId is %s: send a string", kindName(kind)), p.peeked()
	}
	v, err := p.dec.ReadValue()
	if err != nil {
		return nil, p.failed(err)
	}
	id, ok := p.unquote(v)
	switch {
	case !ok:
		return refuseText("deviceId", p.offset(v)), nil
	case p.opt.Device == "":
		return p.nameDevice(id), nil
	case string(id) == p.opt.Device:
		return nil, nil
	case p.opt.Sender:
		return telemetry.Refuse(telemetry.ForbiddenDevice, "deviceId %s, but %s sent it: a device sends its own readings only",
			telemetry.Quote(id), telemetry.Quote(p.opt.Device)), nil
	default:
		return telemetry.Refuse(telemetry.DeviceMismatch, "deviceId %s, but the address names %s: leave it out or send the same",
			telemetry.Quote(id), telemetry.Quote(p.opt.Device)), nil
	}
}

func (p *parser) nameDevice(id []byte) *telemetry.Refusal {
	e := p.devices.find(id)
	if e == nil {
		if refusal := telemetry.CheckDevice(id); refusal != nil {
			return refusal
		}
		e = p.devices.add(id)
	}
	p.msg.reading.Device = e.text
	return nil
}

// peeked returns the error of a peek that found no value, nil if it found one.
func (p *parser) peeked() error {
	if p.dec.PeekKind() != 0 {
		return nil
	}
	_, err := p.dec.ReadToken()
	return p.failed(err)
}

// time reads the value of ts.
func (p *parser) time() (*telemetry.Refusal, error) {
	kind := p.dec.PeekKind()
	if kind != '"' && kind != '0' {
		return telemetry.Refuse(telemetry.InvalidTimestamp,
			"ts is %s: send RFC 3339 with a zone or a Unix number, or leave it out for the time of receipt", kindName(kind)), p.peeked()
	}
	v, err := p.dec.ReadValue()
	if err != nil {
		return nil, p.failed(err)
	}
	t, refusal := p.instant(kind, v)
	if refusal == nil {
		refusal = p.opt.Window.Check(t)
	}
	p.msg.reading.Time = t
	return refusal, nil
}

func (p *parser) instant(kind jsontext.Kind, v jsontext.Value) (int64, *telemetry.Refusal) {
	if kind == '0' {
		return telemetry.ParseUnix([]byte(v))
	}
	text, ok := p.unquote(v)
	if !ok {
		return 0, refuseText("ts", p.offset(v))
	}
	return telemetry.ParseTime(text)
}

func kindName(k jsontext.Kind) string {
	switch k {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "a string"
	case '0':
		return "a number"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	default:
		return "nothing"
	}
}
