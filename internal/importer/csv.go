package importer

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// Mapping says what the columns of a CSV file are. For NDJSON only Device
// means something.
type Mapping struct {
	// Device is the device of every reading; "" if DeviceColumn has it, which
	// left out is a column called deviceId, device_id or device.
	Device, DeviceColumn string
	// TimeColumn left out is a column called timestamp, ts or time.
	TimeColumn string
	// Metrics are the columns that are metrics, as column=metric or the column's
	// name alone; none: all the others.
	Metrics []string
	// Text are columns whose values stay strings, whatever they look like.
	Text []string
	// Delimiter is between two columns; 0 is a comma.
	Delimiter rune
}

// column is a column that is a metric.
type column struct {
	index int
	name  []byte // the metric's, as JSON
	text  bool
}

type csvSource struct {
	r       *csv.Reader
	in      *input
	time    int
	device  int // -1: fixed
	fixed   string
	width   int
	metrics []column
	buf     []byte
}

func newCSV(in *input, m Mapping) (source, error) {
	r := csv.NewReader(in)
	r.FieldsPerRecord, r.ReuseRecord = -1, true
	if m.Delimiter != 0 {
		r.Comma = m.Delimiter
	}
	header, err := r.Read()
	if errors.Is(err, io.EOF) {
		return nil, errors.New("empty, takes a line with the columns' names first")
	}
	if err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	columns := make([]string, len(header))
	for i, name := range header {
		columns[i] = strings.TrimSpace(name)
	}
	s := &csvSource{r: r, in: in, device: -1, fixed: m.Device, width: len(columns)}
	return s, s.resolve(columns, m)
}

// resolve finds the columns that the mapping names.
func (s *csvSource) resolve(columns []string, m Mapping) (err error) {
	if err := checkHeader(columns); err != nil {
		return err
	}
	if s.time, err = find(columns, m.TimeColumn, "--time-column", "timestamp", "ts", "time"); err != nil {
		return err
	}
	switch {
	case m.Device != "" && m.DeviceColumn != "":
		return errors.New("--device and --device-column exclude each other")
	case m.Device == "":
		if s.device, err = find(columns, m.DeviceColumn, "--device-column (or --device)", "deviceid", "device_id", "device"); err != nil {
			return err
		}
	}
	return s.resolveMetrics(columns, m)
}

func checkHeader(columns []string) error {
	for i, name := range columns {
		switch {
		case !utf8.ValidString(name):
			return fmt.Errorf("header: column %d is not UTF-8: %q", i+1, name)
		case slices.Index(columns, name) != i:
			return fmt.Errorf("header: two columns are called %q", name)
		}
	}
	return nil
}

// find returns the index of the column called name, or like one of usual.
func find(columns []string, name, flag string, usual ...string) (int, error) {
	for i, c := range columns {
		if name != "" && c == name || name == "" && slices.Contains(usual, strings.ToLower(c)) {
			return i, nil
		}
	}
	if name == "" {
		return 0, fmt.Errorf("header: no column is called %s; name it with %s, one of: %s", strings.Join(usual, " or "), flag, strings.Join(columns, ", "))
	}
	return 0, fmt.Errorf("header: no column is called %q; there are: %s", name, strings.Join(columns, ", "))
}

func (s *csvSource) resolveMetrics(columns []string, m Mapping) error {
	for _, t := range m.Text {
		if _, err := find(columns, t, "--text"); err != nil {
			return err
		}
	}
	taken := map[string]bool{}
	add := func(index int, metric string) error {
		if taken[metric] {
			return fmt.Errorf("two columns would be the metric %q", metric)
		}
		taken[metric] = true
		quoted, err := jsontext.AppendQuote(nil, metric)
		if err != nil {
			return fmt.Errorf("metric %q: %w", metric, err)
		}
		s.metrics = append(s.metrics, column{index, quoted, slices.Contains(m.Text, columns[index])})
		return nil
	}
	if len(m.Metrics) == 0 {
		return s.addOthers(columns, add)
	}
	for _, text := range m.Metrics {
		index, metric, err := splitMetric(columns, text)
		if err == nil {
			err = add(index, metric)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// addOthers makes metrics of all columns that are nothing else.
func (s *csvSource) addOthers(columns []string, add func(int, string) error) error {
	for i, name := range columns {
		if i == s.time || i == s.device {
			continue
		}
		if err := add(i, name); err != nil {
			return err
		}
	}
	if len(s.metrics) == 0 {
		return errors.New("header: no column is left to be a metric")
	}
	return nil
}

// splitMetric reads column=metric, or a column's name alone. As a column may
// have a = in its name, the longest one that there is counts.
func splitMetric(columns []string, text string) (index int, metric string, err error) {
	if i := slices.Index(columns, text); i >= 0 {
		return i, text, nil
	}
	for end := len(text); ; {
		end = strings.LastIndexByte(text[:end], '=')
		if end < 0 {
			break
		}
		if i := slices.Index(columns, text[:end]); i >= 0 {
			return i, text[end+1:], nil
		}
	}
	name, _, _ := strings.Cut(text, "=")
	_, err = find(columns, name, "--metric")
	return 0, "", err
}

func (s *csvSource) next() (record, error) {
	s.in.span.grant()
	fields, err := s.r.Read()
	var parse *csv.ParseError
	if errors.As(err, &parse) {
		return record{}, &lineError{parse.StartLine, csvReason(parse)}
	}
	if err != nil {
		return record{}, err
	}
	line, _ := s.r.FieldPos(0)
	rec := record{line: line, device: s.fixed}
	if len(fields) != s.width {
		return rec, &lineError{line, fmt.Errorf("%d columns, the header has %d", len(fields), s.width)}
	}
	if s.device >= 0 {
		rec.device = strings.TrimSpace(fields[s.device])
	}
	if err := s.encode(&rec, fields); err != nil {
		return rec, &lineError{line, err}
	}
	return rec, nil
}

func csvReason(e *csv.ParseError) error {
	if e.Line != e.StartLine {
		return fmt.Errorf("to line %d: %w", e.Line, e.Err)
	}
	return e.Err
}

// encode writes the reading of a row.
func (s *csvSource) encode(rec *record, fields []string) (err error) {
	b := append(s.buf[:0], `{"deviceId":`...)
	if b, err = jsontext.AppendQuote(b, rec.device); err != nil {
		return fmt.Errorf("device: %w", err)
	}
	b = append(b, `,"ts":`...)
	if b, err = appendTime(b, strings.TrimSpace(fields[s.time])); err != nil {
		return err
	}
	b = append(b, `,"metrics":{`...)
	empty := len(b)
	for _, c := range s.metrics {
		before := len(b)
		if before > empty {
			b = append(b, ',')
		}
		b = append(append(b, c.name...), ':')
		var kind cellKind
		if b, kind, err = appendCell(b, fields[c.index], c.text); err != nil {
			return fmt.Errorf("column %d: %w", c.index+1, err)
		}
		if kind != cellValue {
			b = b[:before]
		}
		if kind == cellMissing {
			rec.missing++
		}
	}
	s.buf = b
	if len(b) > empty {
		rec.json = append(b, "}}"...)
		s.buf = rec.json
	}
	return nil
}
