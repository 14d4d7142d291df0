package wire

import (
	"bytes"
	"io"
)

// Text decodes what does not say which it is: NDJSON, if there are a message and
// another one on the lines that follow, else JSON. No JSON goes on like that. It holds the
// text as a whole.
func Text(r io.Reader, opt Options) (*Batch, error) {
	text, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	if isLines(text) {
		return NDJSON(bytes.NewReader(text), opt)
	}
	return JSON(bytes.NewReader(text), opt)
}

// isLines says whether the first line that is not blank is an object by its ends,
// and the next begins one.
func isLines(text []byte) bool {
	first, rest, _ := bytes.Cut(bytes.TrimSpace(text), []byte{'\n'})
	first, rest = bytes.TrimSpace(first), bytes.TrimSpace(rest)
	return len(first) > 1 && first[0] == '{' && first[len(first)-1] == '}' && len(rest) > 0 && rest[0] == '{'
}
