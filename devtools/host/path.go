package host

import (
	"net/url"
	"strings"
	"unicode/utf8"
)

// What happens to a request's target on its way through the host. The server
// (Kestrel) decodes it, routing sees what it decoded, and each mode writes it
// anew: that is why a path that the routes refuse in one spelling may arrive
// in another.

// serverPath is the path as the host's server understands a raw one: percent
// encodings undone but that of the slash and of what is not UTF-8, then dot
// segments taken out. It reports false for what the server refuses.
func serverPath(raw string) (string, bool) {
	decoded, ok := decodePath(raw, true)
	if !ok {
		return "", false
	}
	return removeDotSegments(decoded), true
}

// decodePath undoes percent encodings, where keepSlash says so but %2F. What
// would not be UTF-8 stays encoded, NUL is refused.
func decodePath(raw string, keepSlash bool) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(raw); {
		run, length := percentRun(raw[i:])
		if length == 0 {
			b.WriteByte(raw[i])
			i++
			continue
		}
		if !decodeRun(&b, run, raw[i:i+length], keepSlash) {
			return "", false
		}
		i += length
	}
	return b.String(), true
}

// percentRun returns the bytes of the percent encodings that s begins with and
// how long they are as written.
func percentRun(s string) (run []byte, length int) {
	for length+2 < len(s) && s[length] == '%' {
		high, low := unhex(s[length+1]), unhex(s[length+2])
		if high < 0 || low < 0 {
			break
		}
		run = append(run, byte(high<<4|low))
		length += 3
	}
	return run, length
}

// decodeRun writes bytes that were encoded as written says.
func decodeRun(b *strings.Builder, run []byte, written string, keepSlash bool) bool {
	for i := 0; i < len(run); {
		r, size := utf8.DecodeRune(run[i:])
		switch {
		case r == 0:
			return false
		case r == utf8.RuneError && size == 1, keepSlash && r == '/':
			b.WriteString(written[3*i : 3*(i+size)])
		default:
			b.Write(run[i : i+size])
		}
		i += size
	}
	return true
}

func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// removeDotSegments takes "." and ".." out of a path as RFC 3986 says. Empty
// segments stay.
func removeDotSegments(path string) string {
	if !strings.Contains(path, "/.") {
		return path
	}
	segments := strings.Split(strings.TrimPrefix(path, "/"), "/")
	kept := segments[:0]
	for i, s := range segments {
		switch s {
		case ".", "..":
			if s == ".." && len(kept) > 0 {
				kept = kept[:len(kept)-1]
			}
			if i == len(segments)-1 {
				kept = append(kept, "")
			}
		default:
			kept = append(kept, s)
		}
	}
	return "/" + strings.Join(kept, "/")
}

// forwardedPath is the path that a forwarded call arrives with. The host puts
// the decoded path and the raw query together, has them parsed as a URI (as
// .NET's Uri does), and takes the path of that: "?" and "#" end it, backslashes
// become slashes, encodings of what needs none are undone, dot segments and
// spaces at the end go. (Recorded: all of it that http-forwarded.jsonl shows.
// From descriptions of .NET's Uri: backslashes, spaces, "#", second decoding,
// marks of direction.)
func forwardedPath(decoded, rawQuery string) string {
	display := decoded
	if rawQuery == "" {
		display = strings.TrimRight(display, " \t\r\n")
	}
	if i := strings.IndexAny(display, "?#"); i >= 0 {
		display = display[:i]
	}
	display = strings.ReplaceAll(withoutDirectionMarks(display), `\`, "/")
	path := escape(display, uriPathLeaves, true)
	return removeDotSegments(decodeUnreserved(path))
}

// proxiedPath is the path that a proxied call arrives with: the decoded one,
// encoded again, with the percent sign of a %2F that was left. (From the
// description of the host: no recording.)
func proxiedPath(decoded string) string { return escape(decoded, proxyPathLeaves, false) }

const (
	unreservedMarks = "-._~"
	proxyPathLeaves = unreservedMarks + "!$&'()*+,;=:@/"
	uriPathLeaves   = unreservedMarks + "!$&'()*+,;=:@/[]"
	queryLeaves     = unreservedMarks + "!$()*,;@"
)

// escape percent-encodes all bytes of s but letters, digits and those in
// leaves; with keepEncoded also what looks encoded already is left.
func escape(s, leaves string, keepEncoded bool) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case isAlphanumeric(c) || strings.IndexByte(leaves, c) >= 0:
			b.WriteByte(c)
		case keepEncoded && c == '%' && i+2 < len(s) && unhex(s[i+1]) >= 0 && unhex(s[i+2]) >= 0:
			b.WriteByte(c)
		default:
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		}
	}
	return b.String()
}

func isAlphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// decodeUnreserved undoes encodings of letters, digits and "-._~".
func decodeUnreserved(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			high, low := unhex(s[i+1]), unhex(s[i+2])
			c := byte(high<<4 | low)
			if high >= 0 && low >= 0 && (isAlphanumeric(c) || strings.IndexByte(unreservedMarks, c) >= 0) {
				b.WriteByte(c)
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// withoutDirectionMarks drops the characters that .NET's Uri drops.
func withoutDirectionMarks(s string) string {
	return strings.Map(func(r rune) rune {
		if r == 0x200E || r == 0x200F || 0x202A <= r && r <= 0x202E {
			return -1
		}
		return r
	}, s)
}

// pair is a key of a query with its values, joined by commas.
type pair struct {
	key, value string
	last       string
}

// joinQuery reads a query as the host does: keys in the order in which they
// come first, regardless of case, the values of each in one.
func joinQuery(rawQuery string) []pair {
	var pairs []pair
	for part := range strings.SplitSeq(rawQuery, "&") {
		if part == "" {
			continue
		}
		rawKey, rawValue, _ := strings.Cut(part, "=")
		key, value := unescapeQuery(rawKey), unescapeQuery(rawValue)
		found := false
		for i := range pairs {
			if strings.EqualFold(pairs[i].key, key) {
				pairs[i].value += "," + value
				pairs[i].last = value
				found = true
			}
		}
		if !found {
			pairs = append(pairs, pair{key, value, value})
		}
	}
	return pairs
}

func unescapeQuery(s string) string {
	if out, err := url.QueryUnescape(s); err == nil {
		return out
	}
	return s
}

// forwardedQuery is the query that a forwarded call arrives with, with its
// question mark.
func forwardedQuery(rawQuery string) string {
	var b strings.Builder
	for i, p := range joinQuery(rawQuery) {
		b.WriteByte("?&"[min(i, 1)])
		b.WriteString(escape(p.key, queryLeaves, false))
		b.WriteByte('=')
		b.WriteString(escape(p.value, queryLeaves, false))
	}
	return b.String()
}
