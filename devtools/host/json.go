package host

import (
	"bytes"
	"encoding/json"
)

// object is a JSON object whose members keep their order, as the host's do.
type object []member

type member struct {
	name  string
	value any
}

// MarshalJSON writes the members in order, nothing escaped that need not be.
func (o object) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, m := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		for _, part := range []any{m.name, m.value} {
			text, err := marshal(part)
			if err != nil {
				return nil, err
			}
			b.Write(text)
			b.WriteByte(':')
		}
		b.Truncate(b.Len() - 1)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// marshal is json.Marshal without the escapes for HTML, which the host does
// not make either.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// text is how the host writes what is not an object: as JSON in a string.
func text(v any) (string, error) {
	b, err := marshal(v)
	return string(b), err
}
