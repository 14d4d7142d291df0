package importer

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
)

// maxLine bounds a line of NDJSON and a record of CSV.
const maxLine = 1 << 20

const bufferSize = 64 << 10

var (
	errLongLine   = fmt.Errorf("longer than %d bytes", maxLine)
	errLongRecord = fmt.Errorf("a record of more than %d bytes: does a quoted field lack its closing quote?", maxLine)
)

// input is an open file, decompressed.
type input struct {
	*bufio.Reader
	span *spanReader
	raw  *countingReader
	size int64 // as stored; 0 if not known
	file io.Closer
}

func openInput(name string, stdin io.Reader) (*input, error) {
	in := &input{file: io.NopCloser(nil)}
	if name == "-" {
		in.raw = &countingReader{r: stdin}
		return in, in.unpack()
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		err = fmt.Errorf("%s: is a folder, takes files", name)
	}
	if err == nil {
		in.file, in.raw, in.size = f, &countingReader{r: f}, info.Size()
		err = in.unpack()
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return in, nil
}

// unpack tells gzip by its first bytes, whatever the name, and leaves out a
// byte order mark.
func (in *input) unpack() error {
	stored := bufio.NewReaderSize(in.raw, bufferSize)
	in.span = &spanReader{r: stored}
	if head, _ := stored.Peek(2); bytes.Equal(head, []byte{0x1f, 0x8b}) {
		unpacked, err := gzip.NewReader(stored)
		if err != nil {
			return fmt.Errorf("gzip: %w", err)
		}
		in.span.r = unpacked
	}
	in.span.grant()
	in.Reader = bufio.NewReaderSize(in.span, bufferSize)
	head, err := in.Peek(3)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if bytes.Equal(head, []byte("\xef\xbb\xbf")) {
		_, err = in.Discard(3)
		return err
	}
	return nil
}

// Close closes the file.
func (in *input) Close() error { return in.file.Close() }

// read is how much of the stored bytes was read.
func (in *input) read() int64 { return in.raw.n.Load() }

// spanReader bounds what may be read without a record coming to its end: the
// CSV library keeps a whole record in memory, however long it is.
type spanReader struct {
	r    io.Reader
	left int
}

func (s *spanReader) grant() { s.left = maxLine + bufferSize }

func (s *spanReader) Read(b []byte) (int, error) {
	if s.left <= 0 {
		return 0, errLongRecord
	}
	n, err := s.r.Read(b[:min(len(b), s.left)])
	s.left -= n
	return n, err
}

type countingReader struct {
	r io.Reader
	n atomic.Int64
}

func (c *countingReader) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n.Add(int64(n))
	return n, err
}

// record is a reading, as a line of NDJSON without its end.
type record struct {
	line   int
	device string // for the order only: equal for equal devices
	json   []byte // valid until the next one is read
	// missing are the values that were left out; a record without a value has no
	// json.
	missing int
}

// source yields the records of a file. io.EOF ends it, after a *lineError it
// goes on, other errors are the end of the file.
type source interface {
	next() (record, error)
}

// lineError is a line that cannot be taken.
type lineError struct {
	line int
	err  error
}

func (e *lineError) Error() string { return fmt.Sprintf("line %d: %v", e.line, e.err) }

func (e *lineError) Unwrap() error { return e.err }

func newSource(in *input, name string, c Config) (source, error) {
	format := c.Format
	if format == "" {
		format = guess(in, name)
	}
	if format == "ndjson" {
		return newNDJSON(in, c.Mapping)
	}
	return newCSV(in, c.Mapping)
}

func guess(in *input, name string) string {
	name = strings.TrimSuffix(strings.ToLower(name), ".gz")
	for _, ending := range []string{".ndjson", ".jsonl", ".json"} {
		if strings.HasSuffix(name, ending) {
			return "ndjson"
		}
	}
	if head, _ := in.Peek(1); len(head) == 1 && (head[0] == '{' || head[0] == '[') {
		return "ndjson"
	}
	return "csv"
}
