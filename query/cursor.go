package query

import (
	"encoding/base64"
	"encoding/binary"
	"strings"

	"github.com/cespare/xxhash/v2"

	"sluice/internal/httperr"
)

// A cursor is the place where a page ended, and what of its query depends on
// the time it was asked at. It is bound to its query by a checksum over both;
// it is opaque to clients, and no secret.
//
//	version  1 byte
//	numbers  zigzag varints, as many as the route has
//	text     the rest: an id or nothing
//	checksum 8 bytes, xxhash64 of the query and of what is before it
const cursorVersion = 1

// maxCursor bounds the text of a cursor.
const maxCursor = 512

// encodeCursor makes a cursor of query, which is every parameter that shapes
// the answer but limit.
func encodeCursor(query, text string, numbers ...int64) string {
	b := []byte{cursorVersion}
	for _, n := range numbers {
		b = binary.AppendVarint(b, n)
	}
	b = append(b, text...)
	b = binary.BigEndian.AppendUint64(b, checksum(query, b))
	return base64.RawURLEncoding.EncodeToString(b)
}

func checksum(query string, b []byte) uint64 {
	d := xxhash.New()
	_, _ = d.WriteString(query)
	_, _ = d.Write([]byte{0xff})
	_, _ = d.Write(b)
	return d.Sum64()
}

// decodeCursor reads a cursor of query into numbers and returns its text.
func decodeCursor(cursor, query string, numbers ...*int64) (string, error) {
	refused := httperr.New(httperr.InvalidCursor, "the cursor is damaged or of another query: take next as it is, with the parameters of the first page")
	// The library would skip line ends.
	if len(cursor) > maxCursor || strings.ContainsAny(cursor, "\r\n") {
		return "", refused
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	if err != nil || len(b) < 9 || b[0] != cursorVersion {
		return "", refused
	}
	body, sum := b[:len(b)-8], binary.BigEndian.Uint64(b[len(b)-8:])
	if checksum(query, body) != sum {
		return "", refused
	}
	body = body[1:]
	for _, n := range numbers {
		value, size := binary.Varint(body)
		if size <= 0 {
			return "", refused
		}
		*n, body = value, body[size:]
	}
	return string(body), nil
}
