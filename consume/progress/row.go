package progress

import (
	"fmt"
	"strconv"
	"time"

	"sluice/store"
)

// encode is a position as a row's properties, in order of names.
func encode(p Position) []store.Property {
	return []store.Property{
		{Name: "enqueued", Value: nanos(p.Enqueued)},
		{Name: "format", Value: int64(format)},
		{Name: "generation", Value: p.Generation},
		{Name: "id", Value: p.Partition},
		{Name: "lost", Value: p.Lost},
		{Name: "offset", Value: p.Offset},
		{Name: "sequence", Value: p.Sequence},
		{Name: "until", Value: p.Until},
		{Name: "written", Value: nanos(p.Written)},
	}
}

func decode(row store.Row) (Position, error) {
	if err := checkFormat(row); err != nil {
		return Position{}, err
	}
	return Position{
		Partition:  textOf(row, "id"),
		Sequence:   intOf(row, "sequence"),
		Offset:     textOf(row, "offset"),
		Enqueued:   timeOf(row, "enqueued"),
		Until:      intOf(row, "until"),
		Lost:       intOf(row, "lost"),
		Written:    timeOf(row, "written"),
		Generation: intOf(row, "generation"),
		stored:     true, tag: row.ETag,
	}, nil
}

func checkFormat(row store.Row) error {
	if f := intOf(row, "format"); f > format {
		return fmt.Errorf("%w: row %q of table %s has format %d, this version reads up to %d", store.ErrFormat, row.Key, Table, f, format)
	}
	return nil
}

// nanos is a time as it is stored; 0 for none.
func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func timeOf(row store.Row, name string) time.Time {
	n := intOf(row, name)
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}

func property(row store.Row, name string) any {
	for _, p := range row.Properties {
		if p.Name == name {
			return p.Value
		}
	}
	return nil
}

// intOf reads an integer property, 0 without. (A table may give small ones
// back as text.)
func intOf(row store.Row, name string) int64 {
	switch v := property(row, name).(type) {
	case int64:
		return v
	case string:
		n, _ := strconv.ParseInt(v, 10, 64)
		return n
	}
	return 0
}

func textOf(row store.Row, name string) string {
	s, _ := property(row, name).(string)
	return s
}
