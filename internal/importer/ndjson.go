package importer

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json/jsontext"
)

type ndjsonSource struct {
	in     *bufio.Reader
	fixed  string
	line   int
	long   []byte
	object bytes.Reader
	dec    *jsontext.Decoder
}

func newNDJSON(in *input, m Mapping) (source, error) {
	if m.DeviceColumn != "" || m.TimeColumn != "" || len(m.Metrics)+len(m.Text) > 0 || m.Delimiter != 0 {
		return nil, errors.New("the flags on columns are for CSV: lines of NDJSON are messages as the service takes them")
	}
	in.span.left = maxInt // lines are bounded here
	return &ndjsonSource{in: in.Reader, fixed: m.Device, dec: jsontext.NewDecoder(bytes.NewReader(nil))}, nil
}

const maxInt = int(^uint(0) >> 1)

func (s *ndjsonSource) next() (record, error) {
	for {
		line, err := s.readLine()
		if errors.Is(err, errLongLine) {
			return record{}, &lineError{s.line, err}
		}
		if err != nil {
			return record{}, err
		}
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		device, err := s.inspect(line)
		if err != nil {
			return record{line: s.line}, &lineError{s.line, err}
		}
		return record{line: s.line, device: device, json: line}, nil
	}
}

// readLine reads a line, the last one also without its end. A line over the
// bound is read to its end and refused.
func (s *ndjsonSource) readLine() ([]byte, error) {
	s.line++
	s.long = s.long[:0]
	for long := false; ; {
		part, err := s.in.ReadSlice('\n')
		long = long || len(s.long)+len(part) > maxLine
		switch {
		case err == nil && len(s.long) == 0 && !long:
			return part, nil
		case !long:
			s.long = append(s.long, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil && (!errors.Is(err, io.EOF) || len(s.long) == 0 && !long):
			return nil, err
		case long:
			return nil, errLongLine
		}
		return s.long, nil
	}
}

// inspect finds the device of a message and sees that it has a time: without
// one it could not be sent again safely.
func (s *ndjsonSource) inspect(line []byte) (device string, err error) {
	device = s.fixed
	s.object.Reset(line)
	s.dec.Reset(&s.object)
	if s.dec.PeekKind() != '{' {
		return "", errors.New("not a JSON object")
	}
	_, _ = s.dec.ReadToken()
	timed := false
	for s.dec.PeekKind() == '"' {
		key, err := s.dec.ReadToken()
		if err != nil {
			return "", fmt.Errorf("not JSON: %w", err)
		}
		name := key.String()
		value, err := s.dec.ReadValue()
		if err != nil {
			return "", fmt.Errorf("not JSON: %w", err)
		}
		switch name {
		case "ts":
			timed = value.Kind() != 'n'
		case "deviceId":
			device = string(value)
		}
	}
	if _, err := s.dec.ReadToken(); err != nil {
		return "", fmt.Errorf("not JSON: %w", err)
	}
	if _, err := s.dec.ReadToken(); !errors.Is(err, io.EOF) {
		return "", errors.New("not JSON: something follows the object")
	}
	switch {
	case !timed:
		return "", errors.New("no ts: sent again, the reading would be another one")
	case device == "":
		return "", errors.New("no deviceId; --device names one for all lines")
	}
	return device, nil
}
