package tables

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"sluice/store"
)

// batch is a transaction as the body of a request. The service counts its
// length against store.MaxTransaction, so it must never be longer than
// store.WireSize.
type batch struct {
	body        []byte
	contentType string
}

// encodeBatch writes a transaction of operations that store.CheckOps took, to
// the table at that address.
func encodeBatch(address, partition string, ops []store.Op) batch {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	name := hex.EncodeToString(id[:])
	e := encoder{
		address:   address,
		partition: partition,
		inBody:    appendString(nil, partition),
		inURL:     escapeKey(partition),
		buf:       make([]byte, 0, roughSize(partition, ops)),
	}
	e.text("--batch_", name, "\r\nContent-Type: multipart/mixed; boundary=changeset_", name, "\r\n\r\n")
	for _, o := range ops {
		e.text("--changeset_", name, "\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n")
		e.op(o)
		e.text("\r\n")
	}
	e.text("--changeset_", name, "--\r\n\r\n--batch_", name, "--\r\n")
	return batch{body: e.buf, contentType: "multipart/mixed; boundary=batch_" + name}
}

// roughSize is about the length of a transaction's body.
func roughSize(partition string, ops []store.Op) int {
	n := 512
	for _, o := range ops {
		n += 512 + 4*(len(partition)+len(o.Key))
		for _, p := range o.Properties {
			n += 2*len(p.Name) + 64
			switch v := p.Value.(type) {
			case string:
				n += len(v) + len(v)/8
			case []byte:
				n += base64.StdEncoding.EncodedLen(len(v))
			}
		}
	}
	return n
}

type encoder struct {
	address   string
	partition string
	inBody    []byte // the partition as JSON
	inURL     string
	entity    []byte // of the operation, kept from one to the next
	buf       []byte
}

func (e *encoder) text(parts ...string) {
	for _, p := range parts {
		e.buf = append(e.buf, p...)
	}
}

// op writes an operation as a request.
func (e *encoder) op(o store.Op) {
	if o.Kind == store.Insert {
		e.text("POST ", e.address)
	} else {
		e.text(method(o.Kind), " ", e.address, "(PartitionKey='", e.inURL, "',RowKey='", escapeKey(o.Key), "')")
	}
	e.text(" HTTP/1.1\r\nAccept: application/json;odata=minimalmetadata\r\nDataServiceVersion: 3.0\r\n")
	if o.IfMatch != "" {
		e.text("If-Match: ", string(o.IfMatch), "\r\n")
	}
	if o.Kind == store.Delete {
		e.text("\r\n")
		return
	}
	if o.Kind == store.Insert {
		e.text("Prefer: return-no-content\r\n")
	}
	e.entity = appendEntity(e.entity[:0], e.inBody, o)
	e.text("Content-Type: application/json\r\nContent-Length: ", strconv.Itoa(len(e.entity)), "\r\n\r\n")
	e.buf = append(e.buf, e.entity...)
}

// method is the verb that an operation on a named row has. Without If-Match a
// PUT inserts or replaces.
func method(k store.OpKind) string {
	switch k {
	case store.Touch:
		return "PATCH"
	case store.Delete:
		return "DELETE"
	default:
		return "PUT"
	}
}

// escapeKey writes a key for an address: quotes twice, as OData has it, and
// escaped, as addresses have it.
func escapeKey(key string) string {
	return url.PathEscape(strings.ReplaceAll(key, "'", "''"))
}

// appendEntity writes a row as JSON.
func appendEntity(b, partition []byte, o store.Op) []byte {
	b = append(append(b, `{"PartitionKey":`...), partition...)
	b = appendString(append(b, `,"RowKey":`...), o.Key)
	for _, p := range o.Properties {
		b = appendProperty(b, p)
	}
	return append(b, '}')
}

// appendProperty writes ,"name":value with its type where JSON does not say it.
// A float has it always: 20.0 would else be read as an integer.
func appendProperty(b []byte, p store.Property) []byte {
	named := func(b []byte) []byte { return append(append(append(b, ',', '"'), p.Name...), '"', ':') }
	typed := func(b []byte, edm string) []byte {
		b = append(append(append(b, ',', '"'), p.Name...), `@odata.type":"`...)
		return named(append(append(b, edm...), '"'))
	}
	switch v := p.Value.(type) {
	case string:
		return appendString(named(b), v)
	case bool:
		return strconv.AppendBool(named(b), v)
	case int64:
		return append(strconv.AppendInt(append(typed(b, "Edm.Int64"), '"'), v, 10), '"')
	case float64:
		return strconv.AppendFloat(typed(b, "Edm.Double"), v, 'g', -1, 64)
	case []byte:
		return append(base64.StdEncoding.AppendEncode(append(typed(b, "Edm.Binary"), '"'), v), '"')
	default:
		panic(fmt.Sprintf("property of type %T passed store.CheckOps", v))
	}
}

// appendString writes s as a JSON string on one line: also the characters that
// JavaScript takes for line ends are escaped, because Azurite finds a row's
// JSON by its line.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	plain := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if r >= utf8.RuneSelf && r != 0x2028 && r != 0x2029 {
			i += size
			continue
		}
		b = append(b, s[plain:i]...)
		if r == '"' || r == '\\' {
			b = append(b, '\\', byte(r))
		} else {
			const digits = "0123456789abcdef"
			b = append(b, '\\', 'u', digits[r>>12&15], digits[r>>8&15], digits[r>>4&15], digits[r&15])
		}
		i += size
		plain = i
	}
	return append(append(b, s[plain:]...), '"')
}
