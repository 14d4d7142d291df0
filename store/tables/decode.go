package tables

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"sluice/store"
)

// decoder reads rows from an answer as they come, so that a page may be ended
// before the service ended it.
type decoder struct {
	json  *jsontext.Decoder
	names map[string]string // one string for each property's name
	cells []cell            // of the row that is being read
	texts []byte            // what cells have
}

// cell is a property as it was read: its type may be said before or after its
// value.
type cell struct {
	name string
	edm  string
	kind jsontext.Kind // 0: the value has not been read
	from int           // its JSON is texts[from:to]
	to   int
}

func newDecoder(r io.Reader) *decoder {
	return &decoder{
		// A property that is there twice is found when they are sorted.
		json:  jsontext.NewDecoder(r, jsontext.AllowDuplicateNames(true)),
		names: map[string]string{},
	}
}

// page reads {…,"value":[row,…],…}. It ends with the row that has enough said
// of; more says that there were others.
func (d *decoder) page(enough func(store.Row) bool) (rows []store.Row, more bool, err error) {
	if err := d.begin("value"); err != nil {
		return nil, false, err
	}
	if err := d.token('['); err != nil {
		return nil, false, err
	}
	for d.json.PeekKind() != ']' {
		row, err := d.row()
		if err != nil {
			return nil, false, err
		}
		rows = append(rows, row)
		if enough(row) {
			return rows, d.json.PeekKind() != ']', nil
		}
	}
	return rows, false, d.rest()
}

// rest reads to the end, so that the connection can be used again.
func (d *decoder) rest() error {
	for {
		switch _, err := d.json.ReadToken(); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}

// begin reads an object's beginning up to the value of a name.
func (d *decoder) begin(name string) error {
	if err := d.token('{'); err != nil {
		return err
	}
	for d.json.PeekKind() != '}' {
		got, err := d.json.ReadToken()
		if err != nil {
			return err
		}
		if got.String() == name {
			return nil
		}
		if err := d.json.SkipValue(); err != nil {
			return err
		}
	}
	return fmt.Errorf("answer without %q", name)
}

func (d *decoder) token(kind jsontext.Kind) error {
	got, err := d.json.ReadToken()
	if err == nil && got.Kind() != kind {
		err = fmt.Errorf("answer has %v where %v should be", got.Kind(), kind)
	}
	return err
}

// row reads a row. Errors of what the row holds are store.ErrCorrupt, all
// others mean that the answer cannot be read.
func (d *decoder) row() (store.Row, error) {
	d.cells, d.texts = d.cells[:0], d.texts[:0]
	if err := d.token('{'); err != nil {
		return store.Row{}, err
	}
	var row store.Row
	for d.json.PeekKind() != '}' {
		if err := d.member(&row); err != nil {
			return store.Row{}, err
		}
	}
	if err := d.token('}'); err != nil {
		return store.Row{}, err
	}
	if row.Partition == "" || row.Key == "" {
		return store.Row{}, errors.New("answer has a row without its keys")
	}
	var err error
	if row.Properties, err = d.properties(); err != nil {
		return store.Row{}, fmt.Errorf("row %q %q: %w", row.Partition, row.Key, err)
	}
	return row, nil
}

// member reads one name and its value.
func (d *decoder) member(row *store.Row) error {
	name, err := d.name()
	if err != nil {
		return err
	}
	value, err := d.json.ReadValue()
	if err != nil {
		return err
	}
	switch name {
	case "PartitionKey":
		row.Partition, err = unquote(value)
	case "RowKey":
		row.Key, err = unquote(value)
	case "odata.etag":
		var tag string
		tag, err = unquote(value)
		row.ETag = store.ETag(tag)
	case "Timestamp", "Timestamp@odata.type":
	default:
		err = d.keep(name, value)
	}
	return err
}

// name reads a name; those that were read before cost no memory.
func (d *decoder) name() (string, error) {
	raw, err := d.json.ReadValue()
	if err != nil {
		return "", err
	}
	if name, ok := d.names[string(raw)]; ok {
		return name, nil
	}
	name, err := unquote(raw)
	if len(d.names) < 4*store.MaxProperties {
		d.names[string(raw)] = name
	}
	return name, err
}

// keep keeps a property's value or type.
func (d *decoder) keep(name string, value jsontext.Value) error {
	if base, ok := strings.CutSuffix(name, "@odata.type"); ok {
		edm, err := unquote(value)
		d.cell(base).edm = edm
		return err
	}
	if strings.Contains(name, ".") || strings.Contains(name, "@") { // odata.id and its kin
		return nil
	}
	c := d.cell(name)
	c.kind, c.from = value.Kind(), len(d.texts)
	d.texts = append(d.texts, value...)
	c.to = len(d.texts)
	return nil
}

// cell is the property of that name: the last one, or a new one. Its type
// stands next to its value.
func (d *decoder) cell(name string) *cell {
	if n := len(d.cells); n > 0 && d.cells[n-1].name == name {
		return &d.cells[n-1]
	}
	d.cells = append(d.cells, cell{name: name})
	return &d.cells[len(d.cells)-1]
}

// properties makes properties of what was read, in ascending order of names.
func (d *decoder) properties() ([]store.Property, error) {
	ascending := func(a, b cell) int { return strings.Compare(a.name, b.name) }
	if !slices.IsSortedFunc(d.cells, ascending) {
		slices.SortStableFunc(d.cells, ascending)
	}
	var out []store.Property
	for i, c := range d.cells {
		if i > 0 && c.name == d.cells[i-1].name {
			return nil, fmt.Errorf("property %q twice: %w", c.name, store.ErrCorrupt)
		}
		if c.kind == 0 || c.kind == 'n' {
			continue // null is absent
		}
		v, err := c.value(d.texts[c.from:c.to])
		if err != nil {
			return nil, fmt.Errorf("property %q: %w", c.name, err)
		}
		if out == nil {
			out = make([]store.Property, 0, len(d.cells)-i)
		}
		out = append(out, store.Property{Name: c.name, Value: v})
	}
	return out, nil
}

// value reads a property's value. A number without a type is a float, whether
// or not it has a fraction: our integers always have theirs.
func (c cell) value(text []byte) (any, error) {
	switch {
	case c.edm == "Edm.Binary" && c.kind == '"':
		return readBinary(text)
	case c.edm == "Edm.Int64" && c.kind == '"', c.edm == "Edm.Int32" && c.kind == '0':
		return readInteger(text)
	case (c.edm == "" || c.edm == "Edm.Double") && c.kind == '0':
		return readFloat(text)
	case (c.edm == "" || c.edm == "Edm.Boolean") && (c.kind == 't' || c.kind == 'f'):
		return c.kind == 't', nil
	case (c.edm == "" || c.edm == "Edm.String") && c.kind == '"':
		return unquote(text)
	}
	return nil, fmt.Errorf("a value of type %q, which no row of ours has (written by another program?): %w", clip(c.edm), store.ErrCorrupt)
}

func readFloat(text []byte) (any, error) {
	f, err := strconv.ParseFloat(string(text), 64)
	if err != nil || math.IsInf(f, 0) {
		return nil, fmt.Errorf("the number %q is none that a float has: %w", clip(string(text)), store.ErrCorrupt)
	}
	return f, nil
}

func readInteger(text []byte) (any, error) {
	n, err := strconv.ParseInt(string(bytes.Trim(text, `"`)), 10, 64)
	if err != nil {
		return nil, fmt.Errorf("an integer that is none: %w", store.ErrCorrupt)
	}
	return n, nil
}

func readBinary(text []byte) (any, error) {
	text = text[1 : len(text)-1]
	if bytes.IndexByte(text, '\\') >= 0 { // a slash may be escaped
		s, err := unquote(slices.Concat([]byte{'"'}, text, []byte{'"'}))
		if err != nil {
			return nil, err
		}
		text = []byte(s)
	}
	out := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Decode(out, text)
	if err != nil {
		return nil, fmt.Errorf("bytes that are not base64: %w", store.ErrCorrupt)
	}
	return out[:n], nil
}

// unquote reads a JSON string.
func unquote(text []byte) (string, error) {
	if len(text) < 2 || text[0] != '"' {
		return "", errors.New("answer has no string where one should be")
	}
	if bytes.IndexByte(text, '\\') < 0 {
		return string(text[1 : len(text)-1]), nil
	}
	b, err := jsontext.AppendUnquote(nil, text)
	return string(b), err
}

// clip keeps messages short.
func clip(s string) string {
	const most = 40
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "..."
}
