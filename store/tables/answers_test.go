package tables_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/store"
	"sluice/store/tables"
)

const (
	secret    = "c2VjcmV0LWtleS10aGF0LW5vYm9keS1tYXktc2Vl"
	signature = "c2lnbmF0dXJlLXRoYXQtbm9ib2R5LW1heS1zZWU"
	jsonType  = "application/json;odata=minimalmetadata;streaming=true;charset=utf-8"
)

// reply is an answer of the scripted service.
type reply struct {
	status int
	header map[string]string
	body   string
	hangUp bool // close the connection instead of answering, or after the body
}

// service answers with its replies, the last one for ever. It stands where
// Azurite cannot say what Azure says.
type service struct {
	mu      sync.Mutex
	replies []reply
	calls   []string // method and address of each request
	bodies  []string
	opened  int // connections
}

func (s *service) connection(_ net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if state == http.StateNew {
		s.opened++
	}
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	s.calls, s.bodies = append(s.calls, r.Method+" "+r.RequestURI), append(s.bodies, string(body))
	a := s.replies[0]
	if len(s.replies) > 1 {
		s.replies = s.replies[1:]
	}
	s.mu.Unlock()
	for name, value := range a.header {
		w.Header().Set(name, value)
	}
	if a.status == 0 {
		panic(http.ErrAbortHandler)
	}
	w.WriteHeader(a.status)
	fmt.Fprint(w, a.body)
	if a.hangUp {
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
}

func (s *service) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.calls)
}

// scripted opens a store whose service gives these replies.
func scripted(t *testing.T, o tables.Options, replies ...reply) (*tables.Store, *service) {
	t.Helper()
	s := &service{replies: replies}
	server := httptest.NewUnstartedServer(s)
	server.Config.ConnState = s.connection
	server.Start()
	t.Cleanup(server.Close)
	if o.Sleep == nil {
		o.Sleep = noSleep
	}
	if o.Silence == 0 {
		o.Silence = time.Hour // the breaker has tests of its own
	}
	target := "AccountName=acme;AccountKey=" + secret + ";TableEndpoint=" + server.URL + "/acme"
	rows, err := tables.Open(target, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = rows.Close() })
	return rows, s
}

// odata is an error as the Table service writes it.
func odata(status int, code, message string) reply {
	return reply{status, map[string]string{"Content-Type": jsonType, "x-ms-request-id": "11111111-2222-3333-4444-555555555555"}, fmt.Sprintf(
		`{"odata.error":{"code":%q,"message":{"lang":"en-US","value":"%s\nRequestId:11111111-2222-3333-4444-555555555555\nTime:2026-11-24T08:00:00.0000000Z"}}}`, code, message), false}
}

// transaction is a transaction's answer with these parts.
func transaction(parts ...string) reply {
	const b, c = "batchresponse_e69b1c6c-62ff-471e-ab88-9a4aeef0880d", "changesetresponse_61c2b4f3-4d23-4ff7-9b2d-1c3e1a0a5b6c"
	var text strings.Builder
	text.WriteString("--" + b + "\r\nContent-Type: multipart/mixed; boundary=" + c + "\r\n\r\n")
	for _, p := range parts {
		text.WriteString("--" + c + "\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n" + p + "\r\n")
	}
	text.WriteString("--" + c + "--\r\n--" + b + "--\r\n")
	return reply{202, map[string]string{"Content-Type": "multipart/mixed; boundary=" + b}, text.String(), false}
}

const done = "HTTP/1.1 204 No Content\r\nX-Content-Type-Options: nosniff\r\nCache-Control: no-cache\r\nDataServiceVersion: 1.0;\r\nETag: W/\"datetime'2026-11-24T08%3A00%3A00.1234567Z'\"\r\n\r\n"

func inner(status int, code, message string) string {
	return fmt.Sprintf("HTTP/1.1 %d %s\r\nX-Content-Type-Options: nosniff\r\nDataServiceVersion: 3.0;\r\nContent-Type: %s\r\n\r\n%s\r\n",
		status, http.StatusText(status), jsonType, odata(status, code, message).body)
}

func xmlError(status int, code, message string) reply {
	return reply{status, map[string]string{"Content-Type": "application/xml"}, fmt.Sprintf(
		"\xef\xbb\xbf<?xml version=\"1.0\" encoding=\"utf-8\"?><m:error xmlns:m=\"http://schemas.microsoft.com/ado/2007/08/dataservices/metadata\"><m:code>%s</m:code><m:message xml:lang=\"en-US\">%s</m:message></m:error>", code, message), false}
}

var twoOps = []store.Op{{Kind: store.Put, Key: "a"}, {Kind: store.Insert, Key: "b"}}

// TestCommitAnswers: every answer to a transaction has one meaning. Codes and
// forms are those that Microsoft documents.
func TestCommitAnswers(t *testing.T) {
	for name, tt := range map[string]struct {
		replies []reply
		want    error
		index   int // -1: no OpError
		calls   int
		says    string
	}{
		"done":            {[]reply{transaction(done, done)}, nil, -1, 1, ""},
		"exists":          {[]reply{transaction(inner(409, "EntityAlreadyExists", "1:The specified entity already exists."))}, store.ErrExists, 1, 1, "EntityAlreadyExists"},
		"stale":           {[]reply{transaction(inner(412, "UpdateConditionNotSatisfied", "0:The update condition specified in the request was not satisfied."))}, store.ErrStale, 0, 1, "412"},
		"not found":       {[]reply{transaction(inner(404, "ResourceNotFound", "0:The specified resource does not exist."))}, store.ErrNotFound, 0, 1, ""},
		"no index":        {[]reply{transaction(inner(412, "ConditionNotMet", "The condition is not met."))}, store.ErrStale, -1, 1, ""},
		"index too large": {[]reply{transaction(inner(412, "ConditionNotMet", "2:The condition is not met."))}, store.ErrStale, -1, 1, ""},
		"no table":        {[]reply{transaction(inner(404, "TableNotFound", "0:The table specified does not exist."))}, store.ErrTableNotFound, -1, 1, ""},
		"dropped":         {[]reply{transaction(inner(409, "TableBeingDeleted", "0:The specified table is being deleted."))}, store.ErrTableNotFound, -1, 1, "being deleted"},
		"entity too large": {[]reply{transaction(inner(400, "EntityTooLarge", "1:The entity is larger than the maximum allowed size (1MB)."))},
			store.ErrTooLarge, 1, 1, ""},
		"refused for good":  {[]reply{transaction(inner(400, "InvalidInput", "1:One of the request inputs is not valid."))}, store.ErrInvalid, 1, 1, "InvalidInput"},
		"twice":             {[]reply{transaction(inner(400, "InvalidDuplicateRow", "1:The batch request contains multiple changes with same row key."))}, store.ErrInvalid, 1, 1, ""},
		"outer refused":     {[]reply{odata(400, "InvalidInput", "One of the request inputs is not valid.")}, store.ErrInvalid, -1, 1, ""},
		"body too large":    {[]reply{odata(413, "RequestBodyTooLarge", "The request body is too large.")}, store.ErrTooLarge, -1, 1, ""},
		"413 of a gateway":  {[]reply{{status: 413, body: "<html>413</html>"}}, store.ErrTooLarge, -1, 1, "413 Request Entity Too Large"},
		"busy, then done":   {[]reply{odata(503, "ServerBusy", "The server is busy."), transaction(inner(503, "ServerBusy", "0:The server is busy.")), transaction(done, done)}, nil, -1, 3, ""},
		"busy, then exists": {[]reply{odata(503, "ServerBusy", "x"), transaction(inner(409, "EntityAlreadyExists", "1:x"))}, store.ErrExists, 1, 2, "2 tries"},
		"busy as a 500":     {[]reply{odata(500, "ServerBusy", "x"), transaction(inner(409, "EntityAlreadyExists", "1:x"))}, store.ErrExists, 1, 2, ""},
		"busy for ever":     {[]reply{odata(503, "ServerBusy", "x")}, store.ErrThrottled, -1, 4, "4 tries"},
		"429 for ever":      {[]reply{{status: 429}}, store.ErrThrottled, -1, 4, ""},
		"500, then done":    {[]reply{odata(500, "InternalError", "x"), transaction(done, done)}, nil, -1, 2, ""},
		"500, then exists":  {[]reply{odata(500, "InternalError", "x"), transaction(inner(409, "EntityAlreadyExists", "1:x"))}, store.ErrNoAnswer, -1, 2, "EntityAlreadyExists"},
		"500, then no table": {[]reply{odata(500, "OperationTimedOut", "x"), transaction(inner(404, "TableNotFound", "0:x"))},
			store.ErrNoAnswer, -1, 2, "TableNotFound"},
		"500, then denied":     {[]reply{odata(500, "InternalError", "x"), odata(403, "AuthenticationFailed", "x")}, store.ErrNoAnswer, -1, 2, "AuthenticationFailed"},
		"500, then busy":       {[]reply{odata(500, "InternalError", "x"), odata(503, "ServerBusy", "x")}, store.ErrNoAnswer, -1, 4, ""},
		"500, then too large":  {[]reply{odata(500, "InternalError", "x"), transaction(inner(400, "EntityTooLarge", "1:x"))}, store.ErrTooLarge, 1, 2, ""},
		"inner 500 for ever":   {[]reply{transaction(inner(500, "OperationTimedOut", "0:Operation could not be completed within the specified time."))}, store.ErrNoAnswer, -1, 4, "OperationTimedOut"},
		"504 of a gateway":     {[]reply{{status: 504, body: "<html>"}}, store.ErrNoAnswer, -1, 4, ""},
		"hang up":              {[]reply{{}}, store.ErrNoAnswer, -1, 4, "no answer"},
		"hang up, then done":   {[]reply{{}, transaction(done, done)}, nil, -1, 2, ""},
		"hang up, then stale":  {[]reply{{}, transaction(inner(412, "UpdateConditionNotSatisfied", "0:x"))}, store.ErrNoAnswer, -1, 2, ""},
		"one answer too few":   {[]reply{transaction(done)}, store.ErrNoAnswer, -1, 4, "1 of 2"},
		"one answer too many":  {[]reply{transaction(done, done, done)}, store.ErrNoAnswer, -1, 4, "3 of 2"},
		"no answers":           {[]reply{transaction()}, store.ErrNoAnswer, -1, 4, ""},
		"cut off":              {[]reply{cut(transaction(done, done), 80)}, store.ErrNoAnswer, -1, 4, ""},
		"cut off, chunked":     {[]reply{hangUp(cut(transaction(done, done), 80))}, store.ErrNoAnswer, -1, 4, ""},
		"empty":                {[]reply{{status: 202}}, store.ErrNoAnswer, -1, 4, ""},
		"a byte":               {[]reply{{status: 202, body: "-"}}, store.ErrNoAnswer, -1, 4, ""},
		"204":                  {[]reply{{status: 204}}, store.ErrNoAnswer, -1, 4, ""},
		"garbage":              {[]reply{{status: 200, body: "<html>Please log in</html>"}}, store.ErrNoAnswer, -1, 4, ""},
		"redirection":          {[]reply{{status: 302, header: map[string]string{"Location": "/elsewhere"}}}, store.ErrNoAnswer, -1, 4, "302"},
		"huge":                 {[]reply{{status: 202, body: "--b\r\n\r\n" + strings.Repeat("x", 9<<20)}}, store.ErrNoAnswer, -1, 4, ""},
		"denied":               {[]reply{odata(403, "AuthenticationFailed", "Server failed to authenticate the request. The MAC signature "+signature)}, store.ErrDenied, -1, 1, "AuthenticationFailed: check the account's name and key"},
		"denied in XML":        {[]reply{xmlError(403, "AuthorizationFailure", "This request is not authorized to perform this operation.")}, store.ErrDenied, -1, 1, "AuthorizationFailure"},
		"no role":              {[]reply{odata(403, "AuthorizationPermissionMismatch", "x")}, store.ErrDenied, -1, 1, "Storage Table Data Contributor"},
		"no keys":              {[]reply{odata(403, "KeyBasedAuthenticationNotPermitted", "x")}, store.ErrDenied, -1, 1, "https address alone"},
		"401":                  {[]reply{odata(401, "InvalidAuthenticationInfo", "x")}, store.ErrDenied, -1, 1, ""},
		"403 of a gateway":     {[]reply{{status: 403, body: "no"}}, store.ErrDenied, -1, 1, "403 Forbidden"},
		"no account":           {[]reply{xmlError(404, "ResourceNotFound", "The specified resource does not exist.")}, store.ErrUnavailable, -1, 1, "no account of that name"},
		"no table service":     {[]reply{{status: 404, body: "404 page not found"}}, store.ErrUnavailable, -1, 1, "may not be that of a Table service"},
		"400 of a proxy":       {[]reply{{status: 400, body: "<html><h1>Bad Request</h1></html>"}}, store.ErrUnavailable, -1, 1, "may not be that of a Table service"},
		"405 of a proxy":       {[]reply{{status: 405}}, store.ErrUnavailable, -1, 1, "405"},
		"400 in XML":           {[]reply{xmlError(400, "InvalidInput", "x")}, store.ErrInvalid, -1, 1, "InvalidInput"},
		"an unknown code":      {[]reply{odata(400, "SomethingNew", "x")}, store.ErrInvalid, -1, 1, "SomethingNew"},
		"a code that is none":  {[]reply{odata(400, "a b\\nc", "x")}, store.ErrInvalid, -1, 1, "400 Bad Request"},
		"a new code in a part": {[]reply{transaction(inner(400, "SomethingNew", "1:x"))}, store.ErrInvalid, 1, 1, ""},
	} {
		t.Run(name, func(t *testing.T) {
			rows, s := scripted(t, tables.Options{Attempts: 4}, tt.replies...)
			err := rows.Commit(t.Context(), "tab", "p", twoOps)
			if !errors.Is(err, tt.want) || err != nil && tt.want == nil {
				t.Fatalf("%v, want %v", err, tt.want)
			}
			var at *store.OpError
			if got := errors.As(err, &at); got != (tt.index >= 0) || got && at.Index != tt.index {
				t.Errorf("%v: want an OpError of operation %d", err, tt.index)
			}
			if n := s.count(); n != tt.calls {
				t.Errorf("%d requests, want %d: %v", n, tt.calls, err)
			}
			if err != nil && !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%v does not say %q", err, tt.says)
			}
			onlyOne(t, err)
			noSecret(t, fmt.Sprint(err))
		})
	}
}

func cut(r reply, n int) reply {
	r.body = r.body[:len(r.body)-n]
	return r
}

func hangUp(r reply) reply {
	r.hangUp = true
	return r
}

// onlyOne sees that an error has one meaning.
func onlyOne(t *testing.T, err error) {
	t.Helper()
	var all []error
	for _, e := range []error{store.ErrTableNotFound, store.ErrNotFound, store.ErrExists, store.ErrStale, store.ErrThrottled,
		store.ErrUnavailable, store.ErrNoAnswer, store.ErrDenied, store.ErrTooLarge, store.ErrInvalid, store.ErrCorrupt} {
		if errors.Is(err, e) {
			all = append(all, e)
		}
	}
	if len(all) > 1 {
		t.Errorf("%v means %q", err, all)
	}
}

func noSecret(t *testing.T, text string) {
	t.Helper()
	key, _ := base64.StdEncoding.DecodeString(secret)
	for _, s := range []string{secret, string(key), signature, "SharedKeyLite", "Bearer"} {
		if strings.Contains(text, s) {
			t.Errorf("a secret, %q, is in %q", s, text)
		}
	}
}

// TestEchoedRequest: an answer that repeats the request, as those of proxies do,
// tells nobody its signature.
func TestEchoedRequest(t *testing.T) {
	for _, echo := range []string{"SharedKeyLite acme:" + signature, "GET /acme/tab?sv=2021&SIG=" + signature, "authorization: bearer " + signature} {
		rows, _ := scripted(t, tables.Options{}, odata(400, "InvalidInput", "what was sent: "+echo))
		for name, err := range allFail(t.Context(), rows) {
			if !errors.Is(err, store.ErrInvalid) || !strings.Contains(err.Error(), "InvalidInput") {
				t.Errorf("%s: %v", name, err)
			}
			noSecret(t, err.Error())
		}
	}
}

// TestOnceIsOnce: under store.Once nothing is sent twice, whatever the answer.
func TestOnceIsOnce(t *testing.T) {
	for name, tt := range map[string]struct {
		reply reply
		want  error
	}{
		"busy":     {odata(503, "ServerBusy", "x"), store.ErrThrottled},
		"internal": {odata(500, "InternalError", "x"), store.ErrNoAnswer},
		"hang up":  {reply{}, store.ErrNoAnswer},
		"cut off":  {cut(transaction(done, done), 80), store.ErrNoAnswer},
	} {
		rows, s := scripted(t, tables.Options{}, tt.reply, transaction(done, done))
		if err := rows.Commit(store.Once(t.Context()), "tab", "p", twoOps); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
		if s.count() != 1 {
			t.Errorf("%s: %d requests", name, s.count())
		}
	}
}

// TestTableAnswers: tables that exist, are being deleted, or were.
func TestTableAnswers(t *testing.T) {
	exists := odata(409, "TableAlreadyExists", "The table specified already exists.")
	deleted := odata(409, "TableBeingDeleted", "The specified table is being deleted. Try operation later.")
	gone := odata(404, "ResourceNotFound", "The specified resource does not exist.")
	internal := odata(500, "InternalError", "x")
	for name, tt := range map[string]struct {
		replies    []reply
		make, drop error
		makeCalls  int
	}{
		"exists":                  {[]reply{exists}, nil, nil, 1},
		"being deleted":           {[]reply{deleted}, store.ErrUnavailable, nil, 1},
		"gone":                    {[]reply{gone}, store.ErrNotFound, nil, 1},
		"500, then exists":        {[]reply{internal, exists}, nil, nil, 2},
		"500, then being dropped": {[]reply{internal, deleted}, store.ErrUnavailable, nil, 2},
		"500 for ever":            {[]reply{internal}, store.ErrNoAnswer, store.ErrNoAnswer, 3},
		"denied":                  {[]reply{odata(403, "AuthorizationFailure", "x")}, store.ErrDenied, store.ErrDenied, 1},
	} {
		rows, s := scripted(t, tables.Options{Attempts: 3}, tt.replies...)
		if err := rows.CreateTable(t.Context(), "tab"); !errors.Is(err, tt.make) || err != nil && tt.make == nil {
			t.Errorf("%s: create: %v, want %v", name, err, tt.make)
		}
		if s.count() != tt.makeCalls {
			t.Errorf("%s: %d requests to create", name, s.count())
		}
		if tt.drop == nil && tt.make == nil {
			continue // "exists" is no answer to a deletion
		}
		rows, _ = scripted(t, tables.Options{Attempts: 3}, tt.replies...)
		if err := rows.DropTable(t.Context(), "tab"); !errors.Is(err, tt.drop) || err != nil && tt.drop == nil {
			t.Errorf("%s: drop: %v, want %v", name, err, tt.drop)
		}
	}
}

// TestTablesAnswers: only a list of tables is one. No tables would mean no data.
func TestTablesAnswers(t *testing.T) {
	for _, body := range []string{"", "{}", "<html>", `{"value":null}`, `{"value":{}}`, `{"value":[`} {
		rows, _ := scripted(t, tables.Options{Attempts: 2}, reply{status: 200, body: body})
		if names, _, err := rows.Tables(t.Context(), "", ""); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%q: %q, %v", body, names, err)
		}
	}
}

func page(next bool, rows ...string) reply {
	r := reply{200, map[string]string{"Content-Type": jsonType}, `{"odata.metadata":"https://acme/$metadata#tab","value":[` + strings.Join(rows, ",") + `]}`, false}
	if next {
		r.header["x-ms-continuation-NextPartitionKey"], r.header["x-ms-continuation-NextRowKey"] = "1!8!cA--", "1!4!aw--"
	}
	return r
}

// TestScanAnswers: pages that are empty or short and go on, a continuation
// without a row key, and pages that cannot be read.
func TestScanAnswers(t *testing.T) {
	row := func(key string) string {
		return fmt.Sprintf(`{"odata.etag":"W/\"datetime'x'\"","PartitionKey":"p","RowKey":%q,"Timestamp":"2026-11-24T08:00:00Z","A":1}`, key)
	}
	noKey := page(true)
	delete(noKey.header, "x-ms-continuation-NextRowKey")
	rows, s := scripted(t, tables.Options{}, page(true), page(true, row("a")), noKey, hangUp(cut(page(false, row("b")), 9)), page(false, row("b")))
	var keys []string
	for token := ""; ; {
		p, err := rows.Scan(t.Context(), "tab", store.InPartition("p'", "", ""), token)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range p.Rows {
			keys = append(keys, r.Key)
		}
		if token = p.Next; token == "" {
			break
		}
	}
	if fmt.Sprint(keys) != "[a b]" || s.count() != 5 {
		t.Errorf("rows %q in %d requests: %q", keys, s.count(), s.calls)
	}
	if !strings.Contains(s.calls[1], "NextPartitionKey=1%218%21cA--") || !strings.Contains(s.calls[1], "NextRowKey=1%214%21aw--") || strings.Contains(s.calls[3], "NextRowKey") {
		t.Errorf("continuations: %q", s.calls)
	}
	if !strings.HasSuffix(s.calls[0], "?%24filter=PartitionKey+eq+%27p%27%27%27&%24top=1000") {
		t.Errorf("filter: %q", s.calls[0])
	}
	for name, tt := range map[string]struct {
		reply reply
		want  error
		says  string
	}{
		"not JSON":   {reply{status: 200, body: "<html>"}, store.ErrUnavailable, "cannot be read"},
		"no rows":    {reply{status: 200, body: "{}"}, store.ErrUnavailable, ""},
		"no keys":    {page(false, `{"A":1}`), store.ErrUnavailable, ""},
		"not a list": {reply{status: 200, body: `{"value":{}}`}, store.ErrUnavailable, ""},
		"deep":       {reply{status: 200, body: `{"x":` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000) + `,"value":[]}`}, store.ErrUnavailable, ""},
		"a date":     {page(false, `{"PartitionKey":"p","RowKey":"k","D@odata.type":"Edm.DateTime","D":"2026-11-24T08:00:00Z"}`), store.ErrCorrupt, `property "D"`},
		"a GUID":     {page(false, `{"PartitionKey":"p","RowKey":"k","G@odata.type":"Edm.Guid","G":"c9da6455-213d-42c9-9a79-3e9149a57833"}`), store.ErrCorrupt, "Edm.Guid"},
		"NaN":        {page(false, `{"PartitionKey":"p","RowKey":"k","F@odata.type":"Edm.Double","F":"NaN"}`), store.ErrCorrupt, `row "p" "k"`},
		"no base64":  {page(false, `{"PartitionKey":"p","RowKey":"k","B@odata.type":"Edm.Binary","B":"%"}`), store.ErrCorrupt, "base64"},
		"twice":      {page(false, `{"PartitionKey":"p","RowKey":"k","A":1,"B":1,"A":2}`), store.ErrCorrupt, "twice"},
		"gone":       {odata(404, "TableNotFound", "The table specified does not exist."), store.ErrTableNotFound, ""},
		"gone too":   {odata(404, "ResourceNotFound", "The specified resource does not exist."), store.ErrTableNotFound, ""},
		"dropped":    {odata(409, "TableBeingDeleted", "x"), store.ErrTableNotFound, ""},
	} {
		rows, _ := scripted(t, tables.Options{Attempts: 2}, tt.reply)
		if _, err := rows.Scan(t.Context(), "tab", store.Range{}, ""); !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v, want %v that says %q", name, err, tt.want, tt.says)
		}
	}
}

// TestGetAnswers: values of every form that another program may have written,
// and another row than was asked for.
func TestGetAnswers(t *testing.T) {
	rows, _ := scripted(t, tables.Options{Attempts: 2}, reply{status: 200, header: map[string]string{"ETag": "W/\"tag\""}, body: `{"PartitionKey":"p","RowKey":"k",
		"Z":"last","I32":20,"F":20.0,"E":1E+300,"N":null,"I@odata.type":"Edm.Int64","I":"-9223372036854775808","S@odata.type":"Edm.String","S":"a\/\u0041",
		"J@odata.type":"Edm.Int32","J":7,"B":"\/\/8=","B@odata.type":"Edm.Binary","T":true,"odata.type":"x","odata.id":{"a":[1]}}`})
	row, err := rows.Get(t.Context(), "tab", "p", "k")
	want := `[{B [255 255]} {E 1e+300} {F 20} {I -9223372036854775808} {I32 20} {J 7} {S a/A} {T true} {Z last}]`
	if err != nil || fmt.Sprint(row.Properties) != want || row.ETag != "W/\"tag\"" {
		t.Errorf("%v, %v, want %s", row, err, want)
	}
	for i, v := range []any{[]byte{}, 0.0, 0.0, int64(0), 0.0, int64(0), "", true, ""} {
		if got, want := fmt.Sprintf("%T", row.Properties[i].Value), fmt.Sprintf("%T", v); got != want {
			t.Errorf("property %s is of type %s, want %s", row.Properties[i].Name, got, want)
		}
	}
	if _, err := rows.Get(t.Context(), "tab", "p", "other"); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("another row's answer: %v", err)
	}
	rows, s := scripted(t, tables.Options{}, odata(404, "ResourceNotFound", "x"))
	if _, err := rows.Get(t.Context(), "tab", "p", "k"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a row that is not there: %v", err)
	}
	if _, err := rows.Get(t.Context(), "tab", "p", "a/b"); !errors.Is(err, store.ErrNotFound) || s.count() != 1 {
		t.Errorf("a key that no row has: %v, %d requests", err, s.count())
	}
}

// TestRetryAfter: what the service asks for is obeyed up to a bound and the
// deadline; beyond it the caller is told at once.
func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		header   map[string]string
		deadline time.Duration
		want     time.Duration // 0: no second try
	}{
		"seconds":         {map[string]string{"Retry-After": "7"}, 0, 7 * time.Second},
		"milliseconds":    {map[string]string{"x-ms-retry-after-ms": "1500"}, 0, 1500 * time.Millisecond},
		"a time":          {map[string]string{"Retry-After": now.Add(9 * time.Second).Format(http.TimeFormat)}, 0, 9 * time.Second},
		"in the past":     {map[string]string{"Retry-After": now.Add(-time.Hour).Format(http.TimeFormat)}, 0, 75 * time.Millisecond},
		"nonsense":        {map[string]string{"Retry-After": "soon"}, 0, 75 * time.Millisecond},
		"none":            {nil, 0, 75 * time.Millisecond},
		"too long":        {map[string]string{"Retry-After": "31"}, 0, 0},
		"absurd":          {map[string]string{"Retry-After": "99999999999999999999"}, 0, 75 * time.Millisecond},
		"past a deadline": {map[string]string{"Retry-After": "20"}, 10 * time.Second, 0},
	} {
		busy := odata(503, "ServerBusy", "x")
		for k, v := range tt.header {
			busy.header[k] = v
		}
		var slept []time.Duration
		rows, s := scripted(t, tables.Options{
			Now: func() time.Time { return now }, Random: func() float64 { return 0.5 }, FirstPause: 100 * time.Millisecond,
			Sleep: func(_ context.Context, d time.Duration) error { slept = append(slept, d); return nil },
		}, busy, transaction(done, done))
		ctx := t.Context()
		if tt.deadline > 0 {
			ctx = deadlined{ctx, now.Add(tt.deadline)}
		}
		err := rows.Commit(ctx, "tab", "p", twoOps)
		if tt.want == 0 && (!errors.Is(err, store.ErrThrottled) || s.count() != 1 || slept != nil) {
			t.Errorf("%s: %v after %d requests and %v", name, err, s.count(), slept)
		}
		if tt.want > 0 && (err != nil || len(slept) != 1 || slept[0] != tt.want) {
			t.Errorf("%s: %v after %v, want %v", name, err, slept, tt.want)
		}
	}
}

// deadlined has a deadline of an injected clock.
type deadlined struct {
	context.Context
	at time.Time
}

func (d deadlined) Deadline() (time.Time, bool) { return d.at, true }

// TestPauses: they grow to a bound, and half of each is random.
func TestPauses(t *testing.T) {
	var slept []time.Duration
	random := []float64{0, 0.999, 0, 0.5, 0.25}
	rows, _ := scripted(t, tables.Options{
		Attempts: 6, FirstPause: 100 * time.Millisecond, MaxPause: 500 * time.Millisecond,
		Random: func() float64 { r := random[0]; random = random[1:]; return r },
		Sleep:  func(_ context.Context, d time.Duration) error { slept = append(slept, d); return nil },
	}, odata(503, "ServerBusy", "x"))
	err := rows.Commit(t.Context(), "tab", "p", twoOps)
	if !errors.Is(err, store.ErrThrottled) || fmt.Sprint(slept) != "[50ms 199.9ms 200ms 375ms 312.5ms]" {
		t.Errorf("%v after pauses %v", err, slept)
	}
}

// TestConnectionsAreKept: whatever the answer, its connection serves the next
// request.
func TestConnectionsAreKept(t *testing.T) {
	long := odata(400, "InvalidInput", strings.Repeat("x", 5000))
	rows, s := scripted(t, tables.Options{}, transaction(done, done), page(true), reply{status: 200, body: `{"PartitionKey":"p","RowKey":"k"}` + strings.Repeat(" ", 5000)},
		reply{status: 201, body: `{"TableName":"tab"}` + strings.Repeat(" ", 5000)}, reply{status: 204}, long, transaction(inner(409, "EntityAlreadyExists", "1:x")), page(false))
	_ = rows.Commit(t.Context(), "tab", "p", twoOps)
	_, _ = rows.Scan(t.Context(), "tab", store.Range{}, "")
	_, _ = rows.Get(t.Context(), "tab", "p", "k")
	_ = rows.CreateTable(t.Context(), "tab")
	_ = rows.DropTable(t.Context(), "tab")
	_ = rows.CreateTable(t.Context(), "tab")
	_ = rows.Commit(t.Context(), "tab", "p", twoOps)
	_, _, _ = rows.Tables(t.Context(), "", "")
	if s.count() != 8 || s.opened != 1 {
		t.Errorf("%d requests on %d connections", s.count(), s.opened)
	}
}

// TestETagThatNoRowHas: an ETag cannot write into the request around it.
func TestETagThatNoRowHas(t *testing.T) {
	rows, s := scripted(t, tables.Options{}, transaction(done))
	err := rows.Commit(t.Context(), "tab", "p", []store.Op{{Kind: store.Delete, Key: "a", IfMatch: "*\r\nIf-Match: *"}})
	var at *store.OpError
	if !errors.Is(err, store.ErrInvalid) || !errors.As(err, &at) || s.count() != 0 {
		t.Errorf("%v after %d requests", err, s.count())
	}
}
