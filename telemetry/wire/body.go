package wire

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"sync"
)

// Limits bounds the bytes of a body.
type Limits struct {
	Sent    int64 // as sent
	Decoded int64 // decompressed, also between two compressions
	// Hold, if not nil, is asked for the memory of a decoder before that takes it,
	// which it does at the word of some bytes of a body. Its error is Body's.
	Hold func(bytes int64) error
}

// Stream is a body without its compression. Reading it fails with an *Error
// for what the client did wrong, and with the source's own error where that
// failed. It is for one goroutine.
type Stream struct {
	out    *bufio.Reader // of the last layer
	layers []layer
}

// layer is the source or a decompressor, and the buffer over it.
type layer struct {
	decompressor *decompressor // nil: the source
	buffer       *bufio.Reader
}

// maxLayers bounds how many compressions lie over each other.
const maxLayers = 3

const peekBuffer = 4 << 10

var peekers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, peekBuffer) }}

// Body opens a body: contentEncoding is the header, a list of gzip, deflate
// (with zlib's frame or without), zstd and identity, in the order in which they
// were applied. What the bytes say counts more: gzip and zstd are known by their
// first bytes, whatever the header says or lacks. A byte order mark of UTF-8
// at the start of the text is dropped. Close the stream; the source is the caller's.
func Body(r io.Reader, contentEncoding string, limits Limits) (*Stream, error) {
	encodings, err := parseEncodings(contentEncoding)
	if err != nil {
		return nil, err
	}
	s := &Stream{}
	s.push(&capped{r: r, limit: limits.Sent, sent: true}, nil)
	for i := len(encodings) - 1; i >= 0; i-- {
		if err := s.undo(encodings[i], limits); err != nil {
			s.Close()
			return nil, err
		}
	}
	if err := s.undoUnlabelled(limits); err != nil {
		s.Close()
		return nil, err
	}
	s.dropMark()
	return s, nil
}

// parseEncodings reads a Content-Encoding header; identity is left out.
func parseEncodings(header string) ([]string, error) {
	var list []string
	for part := range strings.SplitSeq(header, ",") {
		switch e := strings.ToLower(strings.TrimSpace(part)); e {
		case "", "identity":
		case "gzip", "x-gzip":
			list = append(list, "gzip")
		case "deflate", "zstd":
			list = append(list, e)
		default:
			return nil, refuse(UnknownEncoding, "Content-Encoding %.40q is not known: send gzip, deflate, zstd or none", e)
		}
	}
	if len(list) > maxLayers {
		return nil, refuse(UnknownEncoding, "Content-Encoding has %d compressions: at most %d", len(list), maxLayers)
	}
	return list, nil
}

// push makes r what the stream reads from.
func (s *Stream) push(r io.Reader, d *decompressor) {
	s.out = peekers.Get().(*bufio.Reader)
	s.out.Reset(r)
	s.layers = append(s.layers, layer{d, s.out})
}

// undo takes off the compression that the header says lies on top.
func (s *Stream) undo(encoding string, limits Limits) error {
	actual, err := s.magic()
	if err != nil {
		return err
	}
	switch {
	case actual != "":
		encoding = actual
	case encoding != "deflate":
		return refuse(Corrupt, "Content-Encoding says %s, but the body does not begin as %s does", encoding, encoding)
	}
	return s.decompress(encoding, limits)
}

// undoUnlabelled takes off what the header does not tell.
func (s *Stream) undoUnlabelled(limits Limits) error {
	for {
		actual, err := s.magic()
		if err != nil || actual == "" {
			return err
		}
		if len(s.layers) > maxLayers {
			return refuse(Corrupt, "body has more than %d compressions", maxLayers)
		}
		if err := s.decompress(actual, limits); err != nil {
			return err
		}
	}
}

func (s *Stream) decompress(encoding string, limits Limits) error {
	window := zstdSmall
	if encoding == "zstd" {
		window = windowOf(s.out)
	}
	if limits.Hold != nil {
		if err := limits.Hold(memoryOf(encoding, window)); err != nil {
			return err
		}
	}
	d, err := newDecompressor(encoding, s.out, limits.Decoded, window)
	if err != nil {
		return err
	}
	s.push(d, d)
	return nil
}

// magic tells the compression by the first bytes (RFC 1952 section 2.3.1, RFC
// 8878 sections 3.1.1 and 3.1.2), "" for none.
func (s *Stream) magic() (string, error) {
	b, err := s.out.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	switch {
	case len(b) >= 2 && b[0] == 0x1f && b[1] == 0x8b:
		return "gzip", nil
	case len(b) == 4 && b[1] == 0xb5 && b[2] == 0x2f && b[3] == 0xfd && b[0] == 0x28,
		len(b) == 4 && b[1] == 0x2a && b[2] == 0x4d && b[3] == 0x18 && b[0]&0xf0 == 0x50:
		return "zstd", nil
	default:
		return "", nil
	}
}

func (s *Stream) dropMark() {
	if b, _ := s.out.Peek(3); string(b) == "\xef\xbb\xbf" {
		_, _ = s.out.Discard(3)
	}
}

// Read reads the decompressed body.
func (s *Stream) Read(p []byte) (int, error) { return s.out.Read(p) }

// Close gives the decoders back; the stream must not be used any more.
func (s *Stream) Close() {
	for _, l := range s.layers {
		if l.decompressor != nil {
			l.decompressor.free()
		}
		l.buffer.Reset(nil)
		peekers.Put(l.buffer)
	}
	s.layers, s.out = nil, nil
}

// capped passes on a reader's bytes up to a limit; more is an error.
type capped struct {
	r     io.Reader
	limit int64
	n     int64
	sent  bool
}

// sourceError carries an error of the source through decoders that would
// otherwise mistake it for one of the data.
type sourceError struct{ err error }

func (e *sourceError) Error() string { return e.err.Error() }
func (e *sourceError) Unwrap() error { return e.err }

func (c *capped) Read(p []byte) (int, error) {
	if room := c.limit - c.n + 1; int64(len(p)) > room {
		p = p[:max(room, 1)]
	}
	n, err := c.r.Read(p)
	c.n += int64(n)
	if c.n > c.limit {
		return 0, c.tooLarge()
	}
	if c.sent && err != nil && !errors.Is(err, io.EOF) {
		err = &sourceError{err}
	}
	return n, err
}

func (c *capped) tooLarge() error {
	if c.sent {
		return &sourceError{refuse(TooLarge, "body is over %d bytes: send several", c.limit)}
	}
	return refuse(TooLarge, "body is over %d bytes decompressed: send several", c.limit)
}
