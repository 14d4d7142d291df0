package query

import (
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"sluice/telemetry"
)

// appendTime appends a time as answers have it: RFC 3339 in UTC, a fraction
// only where it is not zero.
func appendTime(dst []byte, at int64) []byte {
	return time.Unix(0, at).UTC().AppendFormat(dst, time.RFC3339Nano)
}

// appendQuotedTime is appendTime as a JSON string.
func appendQuotedTime(dst []byte, at int64) []byte {
	dst = append(dst, '"')
	dst = appendTime(dst, at)
	return append(dst, '"')
}

// appendString appends a JSON string. Bytes that are not UTF-8, which are never
// accepted, would become U+FFFD.
func appendString(dst []byte, s string) []byte {
	dst, _ = jsontext.AppendQuote(dst, s)
	return dst
}

// appendValue appends a value as JSON, null for none.
func appendValue(dst []byte, v telemetry.Value) []byte {
	switch v.Kind {
	case telemetry.Number, telemetry.Integer:
		return v.AppendNumber(dst)
	case telemetry.Bool:
		return strconv.AppendBool(dst, v.Bits != 0)
	case telemetry.String:
		return appendString(dst, v.Text)
	default:
		return append(dst, "null"...)
	}
}

// appendNext appends the end of a page: its cursor, and null on the last one.
func appendNext(dst []byte, cursor string) []byte {
	dst = append(dst, `],"next":`...)
	if cursor == "" {
		dst = append(dst, "null"...)
	} else {
		dst = appendString(dst, cursor)
	}
	return append(dst, "}\n"...)
}

// appendCell appends a value as a field of CSV (RFC 4180): nothing for none,
// so that it differs from the empty string, which is quoted.
func appendCell(dst []byte, v telemetry.Value) []byte {
	if v.Kind == telemetry.String {
		return appendField(dst, v.Text)
	}
	if v.Kind == telemetry.None {
		return dst
	}
	return appendValue(dst, v)
}

// appendField appends text as a field of CSV.
func appendField(dst []byte, s string) []byte {
	if s != "" && !strings.ContainsAny(s, ",\"\r\n") && s[0] != ' ' && s[len(s)-1] != ' ' {
		return append(dst, s...)
	}
	dst = append(dst, '"')
	for i := range len(s) {
		if s[i] == '"' {
			dst = append(dst, '"')
		}
		dst = append(dst, s[i])
	}
	return append(dst, '"')
}

const endOfRecord = "\r\n"
