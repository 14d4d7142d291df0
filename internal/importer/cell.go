package importer

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

type cellKind int

const (
	cellEmpty cellKind = iota
	cellMissing
	cellValue
)

// appendCell appends a cell's value as JSON: numbers and booleans as such,
// unless text says otherwise, everything else as a string. NaN, infinities
// and null are how tools write that there is no value.
func appendCell(dst []byte, cell string, text bool) ([]byte, cellKind, error) {
	trimmed := strings.TrimSpace(cell)
	if trimmed == "" {
		return dst, cellEmpty, nil
	}
	if !text {
		switch lower := strings.ToLower(trimmed); {
		case isNumber(trimmed):
			return append(dst, trimmed...), cellValue, nil
		case lower == "true" || lower == "false":
			return append(dst, lower...), cellValue, nil
		case isMissing(lower):
			return dst, cellMissing, nil
		}
		if number, ok := plainNumber(trimmed); ok {
			return append(dst, number...), cellValue, nil
		}
	}
	dst, err := jsontext.AppendQuote(dst, cell)
	return dst, cellValue, err
}

func isMissing(lower string) bool {
	switch strings.TrimLeft(lower, "+-") {
	case "null", "nan", "inf", "infinity":
		return true
	}
	return false
}

// isNumber says whether s is a number as JSON writes it. Such a number goes to
// the service as it stands, so that none of its digits is lost.
func isNumber(s string) bool {
	s = strings.TrimPrefix(s, "-")
	whole := digits(s)
	if whole == 0 || whole > 1 && s[0] == '0' {
		return false
	}
	if s = s[whole:]; strings.HasPrefix(s, ".") {
		fraction := digits(s[1:])
		if fraction == 0 {
			return false
		}
		s = s[1+fraction:]
	}
	if s == "" {
		return true
	}
	if s[0] != 'e' && s[0] != 'E' {
		return false
	}
	if s = s[1:]; s != "" && (s[0] == '+' || s[0] == '-') {
		s = s[1:]
	}
	exponent := digits(s)
	return exponent > 0 && exponent == len(s)
}

func digits(s string) int { return len(s) - len(strings.TrimLeft(s, "0123456789")) }

// plainNumber rewrites the other ways to write a decimal number: +1, 007, .5,
// 1. as JSON has them.
func plainNumber(s string) (string, bool) {
	sign := ""
	switch s[0] {
	case '-':
		sign, s = "-", s[1:]
	case '+':
		s = s[1:]
	}
	mantissa, exponent := s, ""
	if e := strings.IndexAny(s, "eE"); e >= 0 {
		mantissa, exponent = s[:e], s[e:]
	}
	if !strings.ContainsAny(mantissa, "0123456789") {
		return "", false
	}
	mantissa = strings.TrimSuffix(strings.TrimLeft(mantissa, "0"), ".")
	if digits(mantissa) == 0 {
		mantissa = "0" + mantissa
	}
	s = sign + mantissa + exponent
	return s, isNumber(s)
}

// layouts of times. Without a zone a time is UTC.
var layouts = []string{
	time.RFC3339,
	"2006-01-02 15:04:05Z07:00",
	"2006-01-02T15:04:05",
	"2006-01-02 15:04:05",
	"2006-01-02T15:04Z07:00",
	"2006-01-02T15:04",
	"2006-01-02 15:04",
	"2006-01-02",
}

// appendTime appends a time as the service takes it: RFC 3339, or a Unix
// number as it stands.
func appendTime(dst []byte, s string) ([]byte, error) {
	if s == "" {
		return dst, fmt.Errorf("no time: sent again, the reading would be another one")
	}
	if isNumber(s) {
		return append(dst, s...), nil
	}
	for _, layout := range layouts {
		if t, err := time.Parse(layout, s); err == nil {
			dst = append(dst, '"')
			dst = t.UTC().AppendFormat(dst, time.RFC3339Nano)
			return append(dst, '"'), nil
		}
	}
	return dst, fmt.Errorf("time %s: takes RFC 3339, 2006-01-02 15:04:05 (UTC without a zone), or a Unix number", shorten(s))
}

// shorten quotes what may be of any length.
func shorten(s string) string {
	if len(s) > 64 {
		return strconv.Quote(s[:64]) + "…"
	}
	return strconv.Quote(s)
}
