package invoke

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// window is how much of a text is looked at in one go.
const window = 32 << 10

// errJSON is why a text is no JSON.
var errJSON = errors.New("no JSON")

// scanner reads JSON as a stream, so that a value of many megabytes need not be
// held to get at what it says. What it hands out as it stands is not checked
// further: whoever decodes that does. It goes no deeper with a text that nests.
type scanner struct{ in *bufio.Reader }

func newScanner(r io.Reader) scanner { return scanner{bufio.NewReaderSize(r, window)} }

// next is the first byte that is no white space; it is not taken. At the end of
// the text it fails with io.ErrUnexpectedEOF.
func (s scanner) next() (byte, error) {
	for {
		c, err := s.in.ReadByte()
		switch {
		case errors.Is(err, io.EOF):
			return 0, io.ErrUnexpectedEOF
		case err != nil:
			return 0, err
		case c != ' ' && c != '\t' && c != '\n' && c != '\r':
			return c, s.in.UnreadByte()
		}
	}
}

// take takes the next byte, which must be c.
func (s scanner) take(c byte) error {
	got, err := s.next()
	if err != nil {
		return err
	}
	if got != c {
		return fmt.Errorf("%w: %q where %q would be right", errJSON, got, c)
	}
	_, err = s.in.Discard(1)
	return err
}

// end wants nothing more to come.
func (s scanner) end() error {
	c, err := s.next()
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return nil
	case err != nil:
		return err
	}
	return fmt.Errorf("%w: %q after its end", errJSON, c)
}

// sequence reads what stands between two brackets, of which each takes one part.
func (s scanner) sequence(opens, closes byte, each func() error) error {
	if err := s.take(opens); err != nil {
		return err
	}
	for first := true; ; first = false {
		c, err := s.next()
		if err != nil {
			return err
		}
		if c == closes {
			return s.take(closes)
		}
		if !first {
			if err := s.take(','); err != nil {
				return err
			}
		}
		if err := each(); err != nil {
			return err
		}
	}
}

// longestName is how much of a member's name is kept.
const longestName = 256

// object reads an object; each reads a member's value.
func (s scanner) object(each func(name string) error) error {
	return s.sequence('{', '}', func() error {
		name, _, err := s.string(longestName)
		if err != nil {
			return err
		}
		if err := s.take(':'); err != nil {
			return err
		}
		return each(name)
	})
}

// array reads an array; each reads an element.
func (s scanner) array(each func() error) error { return s.sequence('[', ']', each) }

// string reads what a string says; of more than most bytes only the first, and
// then it is not whole.
func (s scanner) string(most int) (text string, whole bool, err error) {
	if err := s.take('"'); err != nil {
		return "", false, err
	}
	said := &said{in: s.in}
	var b strings.Builder
	n, err := io.Copy(&b, io.LimitReader(said, int64(most)))
	if err != nil {
		return "", false, err
	}
	more, err := io.Copy(io.Discard, said)
	return b.String(), n+more <= int64(most), err
}

// raw reads a value as it stands; nil for one of more than most bytes, which is
// passed over.
func (s scanner) raw(most int) (json.RawMessage, error) {
	if _, err := s.next(); err != nil {
		return nil, err
	}
	r := rawValue{most: most}
	for {
		c, err := s.in.ReadByte()
		switch {
		case errors.Is(err, io.EOF) && r.scalar():
			return r.text(), nil
		case errors.Is(err, io.EOF):
			return nil, io.ErrUnexpectedEOF
		case err != nil:
			return nil, err
		}
		if r.endsBefore(c) {
			return r.text(), s.in.UnreadByte()
		}
		if r.add(c); r.ended() {
			return r.text(), nil
		}
	}
}

// rawValue collects a value byte by byte.
type rawValue struct {
	most     int
	kept     []byte
	size     int
	depth    int
	inString bool
	escaped  bool
	first    byte
}

func (r *rawValue) add(c byte) {
	if r.size == 0 {
		r.first = c
	}
	if r.size++; r.size <= r.most {
		r.kept = append(r.kept, c)
	}
	switch {
	case r.escaped:
		r.escaped = false
	case r.inString && c == '\\':
		r.escaped = true
	case c == '"':
		r.inString = !r.inString
	case r.inString:
	case c == '{' || c == '[':
		r.depth++
	case c == '}' || c == ']':
		r.depth--
	}
}

// scalar says whether the value so far is a number, true, false or null, of
// which only what follows shows the end.
func (r *rawValue) scalar() bool {
	return r.size > 0 && r.first != '"' && r.first != '{' && r.first != '['
}

func (r *rawValue) endsBefore(c byte) bool {
	if r.size == 0 {
		return c == ',' || c == '}' || c == ']' || c == ':'
	}
	return r.scalar() && strings.IndexByte(" \t\r\n,:}]", c) >= 0
}

func (r *rawValue) ended() bool {
	return !r.scalar() && r.depth == 0 && !r.inString
}

func (r *rawValue) text() json.RawMessage {
	if r.size > r.most {
		return nil
	}
	return r.kept
}

// said reads what a JSON string says, after its opening quote and up to its
// closing one, which it takes. Half a surrogate becomes U+FFFD.
type said struct {
	in   *bufio.Reader
	rest []byte // of an escape, not handed out yet
	err  error

	escape [utf8.UTFMax]byte
}

func (s *said) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for s.err == nil && len(s.rest) == 0 {
		n, err := s.plain(p)
		if n > 0 {
			return n, nil
		}
		if s.err = err; err == nil {
			s.err = s.special()
		}
	}
	if len(s.rest) > 0 {
		n := copy(p, s.rest)
		s.rest = s.rest[n:]
		return n, nil
	}
	if errors.Is(s.err, errClosed) {
		return 0, io.EOF
	}
	return 0, s.err
}

// errClosed marks the closing quote.
var errClosed = errors.New("closed")

// plain copies what stands for itself.
func (s *said) plain(p []byte) (int, error) {
	if _, err := s.in.Peek(1); err != nil {
		return 0, unexpected(err)
	}
	seen, err := s.in.Peek(min(s.in.Buffered(), len(p)))
	if err != nil {
		return 0, unexpected(err)
	}
	n := 0
	for n < len(seen) && seen[n] != '"' && seen[n] != '\\' && seen[n] >= ' ' {
		n++
	}
	copy(p, seen[:n])
	return s.in.Discard(n)
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// escapes are what stands after a backslash, and what it means.
var escapes = map[byte]string{'"': `"`, '\\': `\`, '/': "/", 'b': "\b", 'f': "\f", 'n': "\n", 'r': "\r", 't': "\t"}

// special reads what does not stand for itself: the closing quote or an escape.
func (s *said) special() error {
	c, err := s.in.ReadByte()
	switch {
	case err != nil:
		return unexpected(err)
	case c == '"':
		return errClosed
	case c != '\\':
		return fmt.Errorf("%w: byte %#x in a string", errJSON, c)
	}
	if c, err = s.in.ReadByte(); err != nil {
		return unexpected(err)
	}
	if means, ok := escapes[c]; ok {
		s.rest = append(s.escape[:0], means...)
		return nil
	}
	if c != 'u' {
		return fmt.Errorf("%w: \\%c in a string", errJSON, c)
	}
	return s.unicode()
}

// unicode reads what stands after \u, and the other half of a pair.
func (s *said) unicode() error {
	r, err := s.hex()
	if err != nil {
		return err
	}
	if utf16.IsSurrogate(r) {
		whole, err := s.pair(r)
		if err != nil {
			return err
		}
		r = whole
	}
	s.rest = utf8.AppendRune(s.escape[:0], r)
	return nil
}

// pair reads the second half of a pair, if it is there.
func (s *said) pair(high rune) (rune, error) {
	seen, err := s.in.Peek(6)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	if len(seen) < 6 || seen[0] != '\\' || seen[1] != 'u' {
		return utf8.RuneError, nil
	}
	low, err := hexRune(seen[2:])
	if err != nil {
		return 0, err
	}
	whole := utf16.DecodeRune(high, low)
	if whole == utf8.RuneError {
		return whole, nil // what follows stands for itself
	}
	_, err = s.in.Discard(6)
	return whole, err
}

func (s *said) hex() (rune, error) {
	var four [4]byte
	if _, err := io.ReadFull(s.in, four[:]); err != nil {
		return 0, unexpected(err)
	}
	return hexRune(four[:])
}

func hexRune(four []byte) (r rune, err error) {
	for _, c := range four {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, fmt.Errorf("%w: \\u%s in a string", errJSON, four)
		}
		r = r<<4 | rune(c)
	}
	return r, nil
}
