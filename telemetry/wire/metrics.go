package wire

import (
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"sluice/telemetry"
)

// keysAMetric bounds the keys of a reading, null ones included, by the metrics
// that it may have.
const keysAMetric = 10

// metricObject reads an object of metrics.
func (p *parser) metricObject() (*telemetry.Refusal, error) {
	return p.object("metrics", telemetry.InvalidMessage, p.metric)
}

// tagObject reads an object of tags.
func (p *parser) tagObject() (*telemetry.Refusal, error) {
	p.tags = p.tags[:0]
	refusal, err := p.object("tags", telemetry.InvalidTags, p.tag)
	p.msg.reading.Tags = slices.Clone(p.tags)
	clear(p.tags)
	return refusal, err
}

// object reads an object, or null for none.
func (p *parser) object(what string, code telemetry.Code, member func([]byte, int64) (*telemetry.Refusal, error)) (*telemetry.Refusal, error) {
	kind := p.dec.PeekKind()
	if kind != '{' && kind != 'n' {
		return telemetry.Refuse(code, "%s is %s: send an object of names and values", what, kindName(kind)), p.peeked()
	}
	if _, err := p.dec.ReadToken(); err != nil || kind == 'n' {
		return nil, p.ended(err)
	}
	return p.members(member)
}

// ended is failed, for an error that may be nil.
func (p *parser) ended(err error) error {
	if err == nil {
		return nil
	}
	return p.failed(err)
}

// metric reads a metric's value.
func (p *parser) metric(key []byte, at int64) (*telemetry.Refusal, error) {
	e := p.metrics.find(key)
	if e == nil {
		if refusal := telemetry.CheckMetric(key); refusal != nil {
			return refusal, nil
		}
		e = p.metrics.add(key)
	}
	if e.seen == p.serial {
		return duplicateKey(key, at), nil
	}
	e.seen = p.serial
	if p.msg.keys++; p.msg.keys > keysAMetric*p.opt.Metrics {
		return p.tooMany(), nil
	}
	value, refusal, err := p.value(e.text)
	if err != nil || refusal != nil || value.Kind == telemetry.None {
		return refusal, err
	}
	if len(p.slab)-p.msg.start >= p.opt.Metrics {
		return p.tooMany(), nil
	}
	p.add(e.text, value)
	return nil, nil
}

func (p *parser) tooMany() *telemetry.Refusal {
	return telemetry.Refuse(telemetry.TooManyMetrics, "more than %d metrics in one reading", p.opt.Metrics)
}

// value reads a metric's value; null is telemetry.None.
func (p *parser) value(metric string) (telemetry.Value, *telemetry.Refusal, error) {
	kind := p.dec.PeekKind()
	if kind == '{' || kind == '[' {
		return telemetry.Value{}, telemetry.Refuse(telemetry.InvalidValue,
			"metric %s at byte %d is %s: send numbers, booleans or strings, each under a name of its own",
			telemetry.Quote(metric), p.dec.InputOffset(), kindName(kind)), nil
	}
	v, err := p.dec.ReadValue()
	if err != nil {
		return telemetry.Value{}, nil, p.failed(err)
	}
	value, refusal := p.scalar(kind, v)
	if refusal != nil {
		refusal.Message = "metric " + telemetry.Quote(metric) + ": " + refusal.Message
	}
	return value, refusal, nil
}

func (p *parser) scalar(kind jsontext.Kind, v jsontext.Value) (telemetry.Value, *telemetry.Refusal) {
	switch kind {
	case '0':
		return telemetry.ParseNumber([]byte(v))
	case 't', 'f':
		return telemetry.BoolValue(kind == 't'), nil
	case '"':
		text, ok := p.unquote(v)
		if !ok {
			return telemetry.Value{}, refuseText("string", p.offset(v))
		}
		if refusal := telemetry.CheckText(text); refusal != nil {
			return telemetry.Value{}, refusal
		}
		return telemetry.TextValue(p.texts.share(text)), nil
	default:
		return telemetry.Value{}, nil
	}
}

// tag reads a tag's value.
func (p *parser) tag(key []byte, at int64) (*telemetry.Refusal, error) {
	if refusal := telemetry.CheckTagKey(key); refusal != nil {
		return refusal, nil
	}
	if slices.ContainsFunc(p.tags, func(t telemetry.Tag) bool { return t.Key == string(key) }) {
		return duplicateKey(key, at), nil
	}
	if len(p.tags) == telemetry.MaxTags {
		return telemetry.Refuse(telemetry.InvalidTags, "more than %d tags", telemetry.MaxTags), nil
	}
	tag := telemetry.Tag{Key: p.texts.share(key)}
	kind := p.dec.PeekKind()
	if kind == '{' || kind == '[' {
		return telemetry.Refuse(telemetry.InvalidTags, "tag %s is %s: send a string, or null to remove it",
			telemetry.Quote(tag.Key), kindName(kind)), nil
	}
	v, err := p.dec.ReadValue()
	if err != nil {
		return nil, p.failed(err)
	}
	refusal := p.tagValue(&tag, kind, v)
	p.tags = append(p.tags, tag)
	return refusal, nil
}

// tagValue sets a tag's value. Numbers and booleans are kept as they were
// written.
func (p *parser) tagValue(tag *telemetry.Tag, kind jsontext.Kind, v jsontext.Value) *telemetry.Refusal {
	text := []byte(v)
	switch kind {
	case 'n':
		tag.Removed = true
		return nil
	case '"':
		var ok bool
		if text, ok = p.unquote(v); !ok {
			return refuseText("tag "+telemetry.Quote(tag.Key), p.offset(v))
		}
	}
	tag.Value = p.texts.share(text)
	return telemetry.CheckTagValue(text)
}
