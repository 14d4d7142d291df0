package telemetry

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// text is what a name may come as: the checks allocate nothing.
type text interface{ ~string | ~[]byte }

// deviceBytes has what a device id is made of, at its start and further on.
var deviceBytes = func() (t [256]struct{ first, next bool }) {
	for c := range t {
		b := byte(c)
		alnum := b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9'
		t[c].first = alnum
		t[c].next = alnum || b == '-' || b == '_' || b == '.' || b == ':' || b == '=' || b == '@' || b == '~'
	}
	return t
}()

// CheckDevice returns nil for a legal device id: 1 to 128 of
// A-Z a-z 0-9 - _ . : = @ ~, the first a letter or digit.
func CheckDevice[T text](id T) *Refusal {
	if len(id) == 0 {
		return Refuse(InvalidDevice, "deviceId is empty: 1 to %d of A-Z a-z 0-9 - _ . : = @ ~", MaxDevice)
	}
	if len(id) > MaxDevice {
		return Refuse(InvalidDevice, "deviceId %s is %d bytes long: at most %d", Quote(id), len(id), MaxDevice)
	}
	if !deviceBytes[id[0]].first {
		return Refuse(InvalidDevice, "deviceId %s: the first must be a letter or digit", Quote(id))
	}
	for i := 1; i < len(id); i++ {
		if !deviceBytes[id[i]].next {
			return Refuse(InvalidDevice, "deviceId %s: byte %d is none of A-Z a-z 0-9 - _ . : = @ ~", Quote(id), i)
		}
	}
	return nil
}

// CheckMetric returns nil for a legal metric name: 1 to 128 bytes of UTF-8
// without control characters (Unicode's Cc) and commas.
func CheckMetric[T text](name T) *Refusal {
	switch problem := checkName(name, MaxMetric); problem {
	case "":
		return nil
	default:
		return Refuse(InvalidMetric, "metric %s %s", Quote(name), problem)
	}
}

// CheckText returns nil for a legal string value: at most 4 KiB of UTF-8.
func CheckText[T text](s T) *Refusal {
	if len(s) > MaxText {
		return Refuse(InvalidValue, "string of %d bytes: at most %d", len(s), MaxText)
	}
	if !validUTF8(s) {
		return Refuse(InvalidText, "string is not UTF-8")
	}
	return nil
}

// CheckTagKey returns nil for a legal tag key: 1 to 64 bytes of UTF-8 without
// control characters and commas.
func CheckTagKey[T text](key T) *Refusal {
	if problem := checkName(key, MaxTagKey); problem != "" {
		return Refuse(InvalidTags, "tag key %s %s", Quote(key), problem)
	}
	return nil
}

// CheckTagValue returns nil for a legal tag value: at most 256 bytes of UTF-8
// without control characters and commas. The empty value is legal.
func CheckTagValue[T text](value T) *Refusal {
	if len(value) == 0 {
		return nil
	}
	if problem := checkName(value, MaxTagValue); problem != "" {
		return Refuse(InvalidTags, "tag value %s %s", Quote(value), problem)
	}
	return nil
}

// checkName says what is wrong with a name of at most limit bytes, "" for
// nothing.
func checkName[T text](name T, limit int) string {
	if len(name) == 0 {
		return "is empty: 1 to " + strconv.Itoa(limit) + " bytes"
	}
	if len(name) > limit {
		return "is " + strconv.Itoa(len(name)) + " bytes long: at most " + strconv.Itoa(limit)
	}
	for i := 0; i < len(name); i++ {
		switch c := name[i]; {
		case c == ',':
			return "has a comma"
		case c < ' ', c == 0x7f:
			return "has a control character at byte " + strconv.Itoa(i)
		case c >= utf8.RuneSelf:
			return checkRunes(name, i)
		}
	}
	return ""
}

// checkRunes goes on with checkName where the first byte beyond ASCII is. The
// control characters out there are U+0080 to U+009F.
func checkRunes[T text](name T, from int) string {
	rest := string(name[from:])
	for i, r := range rest {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(rest[i:], "\uFFFD"):
			return "is not UTF-8 at byte " + strconv.Itoa(from+i)
		case r == ',':
			return "has a comma"
		case unicode.IsControl(r):
			return "has a control character at byte " + strconv.Itoa(from+i)
		}
	}
	return ""
}

func validUTF8[T text](s T) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return utf8.ValidString(string(s[i:]))
		}
	}
	return true
}

// maxQuoted is how much of an input a message repeats.
const maxQuoted = 48

// Quote is an input as messages show it: quoted, ASCII, cut to a line's part.
func Quote[T text](s T) string {
	if len(s) <= maxQuoted {
		return strconv.QuoteToASCII(string(s))
	}
	return strconv.QuoteToASCII(string(s[:maxQuoted])) + "…"
}
