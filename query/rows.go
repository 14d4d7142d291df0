package query

import (
	"sluice/telemetry"
	"sluice/telemetry/block"
)

// renderer appends readings in one of the formats. Not used concurrently.
type renderer interface {
	// header appends what comes before all readings.
	header(dst []byte) []byte
	// begin takes the frame whose readings follow.
	begin(frame *block.Frame)
	// reading appends one, given by its time and its cells.
	reading(dst []byte, at int64, cells []block.Cell) []byte
}

// jsonReadings renders readings as JSON objects with end after each.
type jsonReadings struct {
	end   string
	names [][]byte // of each column, quoted and with a colon
	arena []byte
}

func (r *jsonReadings) header(dst []byte) []byte { return dst }

func (r *jsonReadings) begin(frame *block.Frame) {
	r.arena, r.names = r.arena[:0], r.names[:0]
	for i := range frame.Columns {
		start := len(r.arena)
		r.arena = append(appendString(r.arena, frame.Columns[i].Name), ':')
		r.names = append(r.names, r.arena[start:len(r.arena):len(r.arena)])
	}
}

func (r *jsonReadings) reading(dst []byte, at int64, cells []block.Cell) []byte {
	dst = append(dst, `{"ts":`...)
	dst = appendQuotedTime(dst, at)
	dst = append(dst, `,"metrics":{`...)
	for i := range cells {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, r.names[cells[i].Column]...)
		dst = appendValue(dst, cells[i].Value)
	}
	dst = append(dst, "}}"...)
	return append(dst, r.end...)
}

// csvReadings renders readings as CSV with a column for each metric.
type csvReadings struct {
	metrics []string
	fields  []int // of each column of the frame, its metric; -1: none
	values  []telemetry.Value
}

func newCSVReadings(metrics []string) *csvReadings {
	return &csvReadings{metrics: metrics, values: make([]telemetry.Value, len(metrics))}
}

func (r *csvReadings) header(dst []byte) []byte {
	dst = append(dst, "ts"...)
	for _, metric := range r.metrics {
		dst = appendField(append(dst, ','), metric)
	}
	return append(dst, endOfRecord...)
}

func (r *csvReadings) begin(frame *block.Frame) {
	places := make(map[string]int, len(r.metrics))
	for i, metric := range r.metrics {
		places[metric] = i
	}
	r.fields = r.fields[:0]
	for i := range frame.Columns {
		field, ok := places[frame.Columns[i].Name]
		if !ok {
			field = -1
		}
		r.fields = append(r.fields, field)
	}
}

func (r *csvReadings) reading(dst []byte, at int64, cells []block.Cell) []byte {
	clear(r.values)
	for i := range cells {
		if field := r.fields[cells[i].Column]; field >= 0 {
			r.values[field] = cells[i].Value
		}
	}
	dst = appendTime(dst, at)
	for _, v := range r.values {
		dst = appendCell(append(dst, ','), v)
	}
	return append(dst, endOfRecord...)
}
