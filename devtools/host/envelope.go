package host

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// envelope sends an HTTP call as triggers are sent, which a host does for a
// function that has more than httpTrigger and http, or where host.json has
// neither switch. The request is as recorded; the answer is read as described.
func (h *Host) envelope(ctx context.Context, w http.ResponseWriter, q hostRequest, i invocation) error {
	p, err := envelopePayload(q, i.function)
	if err != nil {
		return err
	}
	r, err := h.deliverTrigger(ctx, i, p)
	if err != nil {
		return err
	}
	return answerFrom(w, r, i.function.output)
}

// headerOrder is how the host lists what it knows, before all else.
var headerOrder = []string{"Accept", "Host", "User-Agent"}

func envelopePayload(q hostRequest, f *function) (payload, error) {
	var query, lastQuery, params, headers, joined, metadata object
	for _, p := range joinQuery(q.rawQuery) {
		query = append(query, member{p.key, p.value})
		lastQuery = append(lastQuery, member{p.key, p.last})
		metadata = append(metadata, member{p.key, asText(p.last)})
	}
	for _, p := range q.params {
		if p.value != "" {
			params = append(params, member{p.name, p.value})
			metadata = append(metadata, member{p.name, asText(p.value)})
		}
	}
	for _, row := range envelopeHeader(q.Request) {
		headers = append(headers, member{row.name, row.values})
		joined = append(joined, member{row.name, strings.Join(row.values, ",")})
	}
	request := object{
		{"Url", "http://" + q.Host + q.path + withMark(q.rawQuery)}, {"Method", q.Method}, {"Query", orEmpty(query)},
		{"Headers", orEmpty(headers)}, {"Params", orEmpty(params)}, {"Identities", []any{anonymous}},
	}
	if q.ContentLength > 0 {
		body, err := io.ReadAll(q.Body)
		if err != nil {
			return payload{}, fmt.Errorf("read the body: %w", err)
		}
		request = append(request, member{"Body", envelopeBody(body, q.Header.Get("Content-Type"))})
		metadata = append(bodyMembers(body), metadata...)
	}
	metadata = append(metadata, member{"Query", orEmpty(lastQuery)}, member{"Headers", orEmpty(joined)})
	return payload{data: object{{f.binding.Name, request}}, metadata: metadata}, nil
}

func orEmpty(o object) object {
	if o == nil {
		return object{}
	}
	return o
}

func withMark(rawQuery string) string {
	if rawQuery == "" {
		return ""
	}
	return "?" + rawQuery
}

func asText(v any) string {
	s, _ := text(v) // strings and what was decoded from JSON can be encoded
	return s
}

// anonymous is whom the host takes a caller for.
var anonymous = object{
	{"AuthenticationType", nil}, {"IsAuthenticated", false}, {"Actor", nil}, {"BootstrapContext", nil}, {"Claims", []any{}},
	{"Label", nil}, {"Name", nil},
	{"NameClaimType", "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/name"},
	{"RoleClaimType", "http://schemas.microsoft.com/ws/2008/06/identity/claims/role"},
}

type headerValues struct {
	name   string
	values []string
}

func envelopeHeader(r *http.Request) (rows []headerValues) {
	all := r.Header.Clone()
	all["Host"] = []string{r.Host}
	delete(all, "Content-Length")
	if r.ContentLength > 0 {
		all["Content-Length"] = []string{strconv.FormatInt(r.ContentLength, 10)}
	}
	if r.ContentLength < 0 {
		all["Transfer-Encoding"] = []string{"chunked"}
	}
	for _, name := range headerOrder {
		if values, ok := all[name]; ok {
			rows = append(rows, headerValues{name, values})
			delete(all, name)
		}
	}
	for name, values := range all {
		rows = append(rows, headerValues{name, values})
	}
	return rows
}

// envelopeBody is base64 of what is binary by its type, else text in which
// what is not UTF-8 is lost.
func envelopeBody(body []byte, contentType string) string {
	kind, _, _ := mime.ParseMediaType(contentType)
	if kind == "application/octet-stream" || strings.HasPrefix(kind, "multipart/") {
		return base64.StdEncoding.EncodeToString(body)
	}
	return string([]rune(string(body)))
}

// bodyMembers are the members of a body that is a JSON object, which the host
// copies into the metadata. What looks like a time it takes for one.
func bodyMembers(body []byte) (members object) {
	var fields map[string]json.RawMessage
	if json.Unmarshal(body, &fields) != nil {
		return nil
	}
	for name, value := range fields {
		var scalar any
		if json.Unmarshal(value, &scalar) != nil {
			continue
		}
		switch s := scalar.(type) {
		case string:
			if at, err := time.Parse(time.RFC3339, s); err == nil {
				s = at.UTC().Format("01/02/2006 15:04:05")
			}
			members = append(members, member{name, asText(s)})
		case float64, bool:
			members = append(members, member{name, asText(string(value))})
		}
	}
	return members
}

// answerFrom makes an HTTP answer of an output.
func answerFrom(w http.ResponseWriter, r *result, output string) error {
	value, ok := r.Outputs[output]
	if !ok && output == "$return" {
		value, ok = r.ReturnValue, r.ReturnValue != nil
	}
	if !ok || string(value) == "null" {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	var answer struct {
		StatusCode, Status json.Number
		Headers            map[string]string
		Body               json.RawMessage
	}
	if err := json.Unmarshal(value, &answer); err != nil {
		return fmt.Errorf("output %s: %w", output, err)
	}
	status := http.StatusOK
	for _, n := range []json.Number{answer.Status, answer.StatusCode} {
		if s, err := strconv.Atoi(n.String()); err == nil {
			status = s
		}
	}
	if status < 200 || status > 999 {
		return fmt.Errorf("output %s: status %d", output, status)
	}
	for name, value := range answer.Headers {
		w.Header().Set(name, value)
	}
	w.WriteHeader(status)
	var s string
	if json.Unmarshal(answer.Body, &s) == nil {
		_, _ = io.WriteString(w, s)
		return nil
	}
	_, _ = w.Write(answer.Body)
	return nil
}
