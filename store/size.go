package store

import "unicode/utf8"

// Sizes of an entity as Azure Table Storage documents them: 4 bytes, 2 a UTF-16
// unit of both keys, and for each property 8 bytes, 2 a character of its name
// and the value's, where strings and bytes have 4 for their length.
const (
	rowOverhead      = 4
	propertyOverhead = 8
	lengthOverhead   = 4
)

// Size is the row's size as the limit MaxRow counts it.
func (r Row) Size() int { return rowSize(r.Partition, r.Key, r.Properties) }

// Size is the size that the operation's row would have in a partition.
func (o Op) Size(partition string) int { return rowSize(partition, o.Key, o.Properties) }

func rowSize(partition, key string, properties []Property) int {
	n := rowOverhead + 2*(units(partition)+units(key))
	for _, p := range properties {
		n += propertyOverhead + 2*len(p.Name) + valueSize(p.Value)
	}
	return n
}

func valueSize(v any) int {
	switch v := v.(type) {
	case string:
		return lengthOverhead + 2*units(v)
	case []byte:
		return lengthOverhead + len(v)
	case bool:
		return 1
	default:
		return 8
	}
}

// units counts the UTF-16 units of s.
func units(s string) int {
	n := 0
	for _, r := range s {
		n++
		if r > 0xFFFF {
			n++
		}
	}
	return n
}

// What a transaction is on the wire: a multipart body with a part an operation,
// each with its own boundary, headers (with an ETag) and address. Both are more
// than aztables writes, so that what fits here fits there.
const (
	wireTransaction = 1024
	wireOp          = 1024
)

// WireSize is at least the bytes that a transaction has as the body of a
// request to Azure Table Storage, which is what its limit of 4 MiB counts:
// JSON, with bytes in base64.
func WireSize(partition string, ops []Op) int {
	n := wireTransaction
	for _, o := range ops {
		n += o.WireSize(partition)
	}
	return n
}

// WireSize is the operation's share of WireSize; a transaction's own overhead
// is WireSize of no operations.
func (o Op) WireSize(partition string) int {
	n := wireOp + len(o.IfMatch) + wireKey(partition) + wireKey(o.Key)
	for _, p := range o.Properties {
		n += wireProperty(p)
	}
	return n
}

// jsonSize is at least the length of the row as JSON.
func (r Row) jsonSize() int {
	n := len(`{"PartitionKey":,"RowKey":}`) + jsonSize(r.Partition) + jsonSize(r.Key)
	for _, p := range r.Properties {
		n += wireProperty(p)
	}
	return n
}

// wireKey counts a key in the address, where each byte may be escaped, and in
// the body.
func wireKey(key string) int { return 3*len(key) + jsonSize(key) }

// wireProperty counts "name":value, and "name@odata.type":"Edm.Binary",.
func wireProperty(p Property) int {
	const punctuation, annotation = 4, len(`@odata.type"`) + len(`:"Edm.Binary",`) + 2
	const number = len(`"-1.7976931348623157e+308"`)
	n := len(p.Name) + punctuation
	switch v := p.Value.(type) {
	case string:
		return n + jsonSize(v) + len(p.Name) + annotation
	case []byte:
		return n + (len(v)+2)/3*4 + 2 + len(p.Name) + annotation
	case bool:
		return n + len("false")
	default:
		return n + number + len(p.Name) + annotation
	}
}

// jsonSize is the length of s as a JSON string that encoding/json writes.
func jsonSize(s string) int {
	n := 2
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			n += 2
		case r < ' ' || r == '<' || r == '>' || r == '&' || r == 0x7F || r == 0x2028 || r == 0x2029:
			n += 6
		default:
			n += utf8.RuneLen(r)
		}
	}
	return n
}
