package wire

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strconv"
	"sync"

	"sluice/telemetry"
)

// lineBuffer is how much of a body is read at once.
const lineBuffer = 32 << 10

var lineReaders = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, lineBuffer) }}

// NDJSON decodes a message a line (see JSON for messages). Lines are judged one
// by one: one that is not JSON is a bad reading. The index of a reading is its
// line's, from 0, blank lines counted; messages count lines from 1, as editors
// do. Lines end in \n or \r\n, the last one may go without. A body without any message
// or with more than Options.Readings is refused as a whole.
func NDJSON(r io.Reader, opt Options) (*Batch, error) {
	p := newParser(opt)
	defer p.free()
	lines := lineReaders.Get().(*bufio.Reader)
	lines.Reset(r)
	defer func() {
		lines.Reset(nil)
		lineReaders.Put(lines)
	}()
	if err := p.lines(lines); err != nil {
		return nil, err
	}
	return p.finish(), nil
}

func (p *parser) lines(r *bufio.Reader) error {
	messages := 0
	for n := 0; ; n++ {
		line, err := p.nextLine(r)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if line = bytes.TrimSpace(line); len(line) > 0 {
			if messages++; messages > p.opt.Readings {
				return p.tooManyReadings()
			}
			p.judgeLine(line, n)
		}
		if err != nil {
			break
		}
	}
	if messages == 0 {
		return refuse(Empty, "body is empty: send a message a line, as %s", p.example())
	}
	return nil
}

// nextLine returns a line, valid until the next, with io.EOF if it is the last.
func (p *parser) nextLine(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadSlice('\n')
	if !errors.Is(err, bufio.ErrBufferFull) {
		return line, err
	}
	p.line = append(p.line[:0], line...)
	for errors.Is(err, bufio.ErrBufferFull) {
		line, err = r.ReadSlice('\n')
		p.line = append(p.line, line...)
	}
	return p.line, err
}

func (p *parser) judgeLine(line []byte, n int) {
	p.input = *bytes.NewBuffer(line) // a stream that the decoder does not copy
	p.decode(&p.input)
	refusal, err := p.message()
	if err == nil {
		err = p.end()
	}
	if err != nil {
		refusal = telemetry.Refuse(telemetry.InvalidJSON, "%v", err)
	}
	if refusal == nil {
		p.accept(n)
		return
	}
	refusal.Message = "line " + strconv.Itoa(n+1) + ": " + refusal.Message
	p.reject(n, refusal)
}
