package tables

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"net/http"
	"strconv"
	"strings"
)

// refusal is what the service says in an answer that is no success.
type refusal struct {
	status  int
	code    string // the service's word for it; "" if it has none
	message string // its first line
	index   int    // of the operation that it is about; -1 if it names none
	odata   bool   // said in OData's JSON: by the Table service, not by what stands before it
}

// readRefusal reads the body of an error: OData's JSON, or XML, or none that
// can be read.
func readRefusal(status int, header http.Header, body []byte) refusal {
	r := refusal{status: status, index: -1, code: header.Get("x-ms-error-code")}
	var message string
	body = bytes.TrimSpace(body)
	switch {
	case bytes.HasPrefix(body, []byte("{")):
		var e struct {
			Error struct {
				Code    string
				Message struct{ Value string }
			} `json:"odata.error"`
		}
		if json.Unmarshal(body, &e) == nil {
			r.code, message = first(e.Error.Code, r.code), e.Error.Message.Value
			r.odata = e.Error.Code != ""
		}
	case bytes.HasPrefix(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")), []byte("<")):
		var e struct {
			Code    string `xml:"code"`
			Message string `xml:"message"`
			Code2   string `xml:"Code"`
			Text2   string `xml:"Message"`
		}
		if xml.Unmarshal(body, &e) == nil {
			r.code, message = first(e.Code, e.Code2, r.code), first(e.Message, e.Text2)
		}
	}
	r.code = word(r.code)
	r.index, r.message = splitIndex(message)
	return r
}

func first(s ...string) string {
	for _, s := range s {
		if s != "" {
			return s
		}
	}
	return ""
}

// word is a code that is a plain word; anything else is none, so that no answer
// can write what it likes into a log.
func word(s string) string {
	letter := func(r rune) bool { return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' }
	if len(s) > 64 || strings.ContainsFunc(s, func(r rune) bool { return !letter(r) }) {
		return ""
	}
	return s
}

// splitIndex cuts the index of an operation off a message, "2:The specified
// entity already exists.", and what follows its first line.
func splitIndex(message string) (index int, line string) {
	const most = 200
	line, _, _ = strings.Cut(strings.TrimSpace(message), "\n")
	line = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7F {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(line, "?"))
	if len(line) > most {
		line = strings.ToValidUTF8(line[:most], "") + "..."
	}
	digits, rest, ok := strings.Cut(line, ":")
	if index, err := strconv.ParseUint(digits, 10, 16); ok && err == nil {
		return int(index), rest
	}
	return -1, line
}

// batchAnswer is what a transaction's answer says.
type batchAnswer struct {
	done    int      // operations that are said to be done
	whole   bool     // the answer reaches its end
	refused *refusal // the first one that is said to be refused
}

// readBatch reads the body of a transaction's answer, a multipart of one
// multipart of HTTP answers: one an operation, or one that says which was
// refused and why. What it cannot read it leaves out, and then the answer is
// not whole: nothing is taken for success that does not say so.
func readBatch(body []byte) batchAnswer {
	r := lines{rest: body}
	boundary, ok := r.boundaries()
	if !ok {
		return batchAnswer{}
	}
	var a batchAnswer
	last := append(bytes.Clone(boundary), "--"...)
	for {
		line, ok := r.next()
		switch {
		case !ok:
			return a
		case bytes.Equal(line, last):
			a.whole = true
			return a
		case bytes.Equal(line, boundary):
			status, header, text, ok := r.part(boundary)
			if !ok {
				return a
			}
			a.take(status, header, text)
		}
	}
}

func (a *batchAnswer) take(status int, header http.Header, text []byte) {
	if 200 <= status && status < 300 {
		a.done++
	} else if a.refused == nil {
		r := readRefusal(status, header, text)
		a.refused = &r
	}
}

// lines reads a body line by line; a line ends with LF or CR LF.
type lines struct{ rest []byte }

// next returns the next line. A last line without an end counts as one.
func (l *lines) next() ([]byte, bool) {
	if len(l.rest) == 0 {
		return nil, false
	}
	line, rest, _ := bytes.Cut(l.rest, []byte("\n"))
	l.rest = rest
	return bytes.TrimSuffix(line, []byte("\r")), true
}

// boundaries reads the head of the outer part and returns the delimiter of the
// inner ones: the outer one itself if there is no inner multipart.
func (l *lines) boundaries() ([]byte, bool) {
	outer, ok := l.next()
	for ok && len(outer) == 0 {
		outer, ok = l.next()
	}
	if !bytes.HasPrefix(outer, []byte("--")) || len(outer) < 3 {
		return nil, false
	}
	ahead := *l
	for {
		line, ok := ahead.next()
		if !ok {
			return nil, false
		}
		if len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		_, boundary, ok := bytes.Cut(value, []byte("boundary="))
		if ok && bytes.EqualFold(bytes.TrimSpace(name), []byte("Content-Type")) {
			*l = ahead
			boundary, _, _ = bytes.Cut(boundary, []byte(";"))
			return append([]byte("--"), bytes.Trim(bytes.TrimSpace(boundary), `"`)...), true
		}
	}
	l.rest = append(append(bytes.Clone(outer), '\n'), l.rest...)
	return bytes.Clone(outer), true
}

// part reads an HTTP answer and stops before the delimiter that follows it.
// header is nil for a success, where nobody looks at it.
func (l *lines) part(boundary []byte) (status int, header http.Header, text []byte, ok bool) {
	if !l.skipHeaders() {
		return 0, nil, nil, false
	}
	line, _ := l.next()
	status, ok = statusOf(line)
	if !ok {
		return 0, nil, nil, false
	}
	if status >= 300 {
		header = http.Header{}
	}
	if !l.headers(header) {
		return 0, nil, nil, false
	}
	return status, header, l.until(boundary), true
}

func (l *lines) skipHeaders() bool { return l.headers(nil) }

// headers reads to the blank line that ends a head, into header if it is not
// nil.
func (l *lines) headers(header http.Header) bool {
	for {
		line, ok := l.next()
		if !ok {
			return false
		}
		if len(line) == 0 {
			return true
		}
		if name, value, ok := bytes.Cut(line, []byte(":")); ok && header != nil {
			header.Add(string(name), strings.TrimSpace(string(value)))
		}
	}
}

// until returns what stands before the next line that begins with boundary,
// which is left to be read.
func (l *lines) until(boundary []byte) []byte {
	start := l.rest
	for {
		before := l.rest
		line, ok := l.next()
		if !ok {
			return start
		}
		if bytes.HasPrefix(line, boundary) {
			l.rest = before
			return start[:len(start)-len(before)]
		}
	}
}

// statusOf reads a status line, "HTTP/1.1 204 No Content".
func statusOf(line []byte) (int, bool) {
	version, rest, _ := bytes.Cut(line, []byte(" "))
	digits, _, _ := bytes.Cut(rest, []byte(" "))
	status, err := strconv.ParseUint(string(digits), 10, 16)
	return int(status), bytes.HasPrefix(version, []byte("HTTP/")) && err == nil && 100 <= status && status < 600
}
