package progress

import (
	"fmt"
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
		Partition:  row.Text("id"),
		Sequence:   row.Int("sequence"),
		Offset:     row.Text("offset"),
		Enqueued:   timeOf(row, "enqueued"),
		Until:      row.Int("until"),
		Lost:       row.Int("lost"),
		Written:    timeOf(row, "written"),
		Generation: row.Int("generation"),
		stored:     true, tag: row.ETag,
	}, nil
}

func checkFormat(row store.Row) error {
	if f := row.Int("format"); f > format {
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
	n := row.Int(name)
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}
