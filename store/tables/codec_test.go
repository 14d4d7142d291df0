package tables

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"pgregory.net/rapid"

	"sluice/store"
)

// noToken is an identity that has no token.
type noToken struct{}

func (noToken) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{}, errors.New("no token")
}

// anyKey draws keys that a store takes, many of them odd.
var anyKey = rapid.StringOfN(rapid.OneOf(
	rapid.RuneFrom([]rune("ab!'\",;.%+&=(){}~ \u00a0\u2028\u2029é日\ufffd\uffff")), rapid.Rune(),
), 1, 8, -1).Filter(func(s string) bool { return store.CheckKey(s) == nil })

// anyBound draws bounds of ranges, which may be any bytes.
var anyBound = rapid.OneOf(
	anyKey, rapid.Map(anyKey, store.After), rapid.Map(anyKey, store.PrefixEnd),
	rapid.Map(rapid.SliceOfN(rapid.SampledFrom([]byte("a!~\x00\x1f /\x7f\x80\x9f\xa0\xbf\xc2\xc3\xed\xef\xf0\xf4\xff")), 0, 4), func(b []byte) string { return string(b) }),
)

// TestBound: a bound that is sent divides the keys as the one that was asked
// for.
func TestBound(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		b, key := anyBound.Draw(rt, "bound"), anyKey.Draw(rt, "key")
		beginning := b[:sendablePrefix(b)]
		near := rapid.SampledFrom([]string{key, beginning, beginning + key}).Draw(rt, "near")
		if store.CheckKey(near) == nil {
			key = near
		}
		s, follows, ok := bound(b)
		below := !ok || key < s || follows && key == s
		if below != (key < b) {
			rt.Fatalf("%q < %q is %v, and by %q (follows: %v, ok: %v) %v", key, b, key < b, s, follows, ok, below)
		}
		if !sendable(s) {
			rt.Fatalf("%q of bound %q cannot be sent", s, b)
		}
	})
}

func TestFilter(t *testing.T) {
	last := token{own: true, partition: "p'", key: "k'1"}
	for _, tt := range []struct {
		r     store.Range
		after token
		want  string
	}{
		{store.Range{}, token{}, ""},
		{store.InPartition("p", "", ""), token{}, "PartitionKey eq 'p'"},
		{store.InPartition("it's", "00007!", "00007\""), token{}, "PartitionKey eq 'it''s' and RowKey ge '00007!' and RowKey lt '00007\"'"},
		{store.InPartition("p", "k", "k\x00"), token{}, "PartitionKey eq 'p' and RowKey eq 'k'"},
		{store.InPartition("p", "k\x00", "l\x00"), token{}, "PartitionKey eq 'p' and RowKey gt 'k' and RowKey le 'l'"},
		{store.Range{PartitionFrom: "a", PartitionTo: "b/", KeyTo: "x\x7f"}, token{}, "PartitionKey ge 'a' and PartitionKey lt 'b/' and RowKey lt 'x\u00a0'"},
		{store.InPartition("p'", "a", ""), last, "PartitionKey eq 'p''' and RowKey ge 'a' and RowKey gt 'k''1'"},
		{store.Range{KeyTo: "z"}, last, "RowKey lt 'z' and (PartitionKey gt 'p''' or (PartitionKey eq 'p''' and RowKey gt 'k''1'))"},
		{store.Range{KeyTo: "\xff"}, token{}, ""},
		{store.Range{KeyTo: "a"}, token{partition: "1!", key: "2!"}, "RowKey lt 'a'"},
	} {
		if got, ok := filter(tt.r, tt.after); got != tt.want || !ok {
			t.Errorf("filter of %+v: %q, %v, want %q", tt.r, got, ok, tt.want)
		}
	}
	if _, ok := filter(store.Range{KeyFrom: "\xff"}, token{}); ok {
		t.Error("a range above all keys may have rows")
	}
}

func anyValue(rt *rapid.T) any {
	return rapid.OneOf(
		rapid.String().AsAny(), rapid.Bool().AsAny(), rapid.Int64().AsAny(), rapid.SliceOf(rapid.Byte()).AsAny(),
		rapid.StringOf(rapid.RuneFrom([]rune("<>&\"\\/{}\x00\x1f\x7f\u2028\u2029ü🌡\n\r"))).AsAny(),
		rapid.Float64().Filter(func(f float64) bool { return !math.IsNaN(f) && !math.IsInf(f, 0) }).AsAny(),
	).Draw(rt, "value")
}

func anyOps(rt *rapid.T) []store.Op {
	return rapid.SliceOfNDistinct(rapid.Custom(func(rt *rapid.T) store.Op {
		o := store.Op{Key: anyKey.Draw(rt, "key"), Kind: store.OpKind(rapid.IntRange(0, 4).Draw(rt, "kind"))}
		if o.Kind > store.Put {
			o.IfMatch = rapid.SampledFrom([]store.ETag{store.AnyTag, `W/"datetime'2026-11-24T08%3A00%3A00.1234567Z'"`}).Draw(rt, "tag")
		}
		for i := range rapid.IntRange(0, 4).Draw(rt, "properties") {
			if o.Kind != store.Delete {
				o.Properties = append(o.Properties, store.Property{Name: fmt.Sprint("P", i), Value: anyValue(rt)})
			}
		}
		return o
	}), 1, 12, func(o store.Op) string { return o.Key }).Draw(rt, "ops")
}

// TestEncodeBatch: a transaction is a multipart that the standard library reads
// as what it was made of, on as many bytes as store.WireSize allows; each row's
// JSON is on one line.
func TestEncodeBatch(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		partition, ops := anyKey.Draw(rt, "partition"), anyOps(rt)
		if store.CheckOps(partition, ops) != nil {
			return
		}
		b := encodeBatch("https://acme.table.core.windows.net/tab", partition, ops)
		if n := store.WireSize(partition, ops); len(b.body) > n {
			rt.Fatalf("%d bytes, WireSize %d", len(b.body), n)
		}
		for i, req := range requestsOf(rt, b) {
			checkRequest(rt, req, partition, ops[i])
		}
	})
}

// TestEncodeEntity: each value has the form, and where JSON does not say it the
// type, that the service documents.
func TestEncodeEntity(t *testing.T) {
	o := store.Op{Key: "k'\"", Properties: []store.Property{
		{Name: "A", Value: 20.0}, {Name: "B", Value: 1e300}, {Name: "C", Value: int64(-5)}, {Name: "D", Value: []byte("x")},
		{Name: "E", Value: true}, {Name: "F", Value: "a\\\n\u2028ü"}, {Name: "G", Value: []byte(nil)},
	}}
	want := `{"PartitionKey":"p","RowKey":"k'\"","A@odata.type":"Edm.Double","A":20,"B@odata.type":"Edm.Double","B":1e+300,` +
		`"C@odata.type":"Edm.Int64","C":"-5","D@odata.type":"Edm.Binary","D":"eA==","E":true,"F":"a\\\u000a\u2028ü","G@odata.type":"Edm.Binary","G":""}`
	if got := string(appendEntity(nil, []byte(`"p"`), o)); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func requestsOf(rt *rapid.T, b batch) []*http.Request {
	outer := nextPart(rt, b.contentType, b.body)
	var out []*http.Request
	for rest := multipart.NewReader(bytes.NewReader(outer.body), outer.boundary); ; {
		part, err := rest.NextRawPart()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			rt.Fatal(err)
		}
		text, _ := io.ReadAll(part)
		req, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(text)))
		if err != nil {
			rt.Fatalf("%v in %q", err, text)
		}
		body, _ := io.ReadAll(req.Body)
		req.Body = io.NopCloser(bytes.NewReader(body))
		out = append(out, req)
	}
}

type part struct {
	boundary string
	body     []byte
}

func nextPart(rt *rapid.T, contentType string, body []byte) part {
	_, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		rt.Fatal(err)
	}
	p, err := multipart.NewReader(bytes.NewReader(body), params["boundary"]).NextPart()
	if err != nil {
		rt.Fatal(err)
	}
	_, inner, err := mime.ParseMediaType(p.Header.Get("Content-Type"))
	if err != nil {
		rt.Fatal(err)
	}
	text, err := io.ReadAll(p)
	if err != nil {
		rt.Fatal(err)
	}
	return part{inner["boundary"], text}
}

func checkRequest(rt *rapid.T, req *http.Request, partition string, o store.Op) {
	method := map[store.OpKind]string{store.Insert: "POST", store.Put: "PUT", store.Replace: "PUT", store.Touch: "PATCH", store.Delete: "DELETE"}[o.Kind]
	path := "/tab"
	if o.Kind != store.Insert {
		quote := func(s string) string { return strings.ReplaceAll(s, "'", "''") }
		path += "(PartitionKey='" + quote(partition) + "',RowKey='" + quote(o.Key) + "')"
	}
	if req.Method != method || req.URL.Path != path || req.URL.RawQuery != "" || req.Header.Get("If-Match") != string(o.IfMatch) {
		rt.Fatalf("%+v is %s %s, If-Match %q", o, req.Method, req.URL.Path, req.Header.Get("If-Match"))
	}
	body, _ := io.ReadAll(req.Body)
	if o.Kind == store.Delete {
		if len(body) > 0 {
			rt.Fatalf("deletion with a body: %q", body)
		}
		return
	}
	if bytes.ContainsAny(body, "\r\n\u2028\u2029") || !json.Valid(body) {
		rt.Fatalf("entity %q", body)
	}
	row, err := newDecoder(bytes.NewReader(body)).row()
	if err != nil || row.Partition != partition || row.Key != o.Key || len(row.Properties) != len(o.Properties) {
		rt.Fatalf("%q was read as %+v, %v, want %+v", body, row, err, o)
	}
	for i, p := range row.Properties {
		if !same(p, o.Properties[i]) {
			rt.Fatalf("%q was read as %#v, want %#v", body, p, o.Properties[i])
		}
	}
}

// same compares types and values.
func same(a, b store.Property) bool {
	x, bytes1 := a.Value.([]byte)
	y, bytes2 := b.Value.([]byte)
	if bytes1 || bytes2 {
		return a.Name == b.Name && bytes1 && bytes2 && bytes.Equal(x, y)
	}
	return a == b
}

func FuzzParseToken(f *testing.F) {
	for _, t := range []token{{partition: "p"}, {own: true, partition: "p", key: "k", top: 12}, {partition: "1!8!cA--", key: "1!4!aw--"}} {
		f.Add(t.String())
	}
	f.Add("")
	f.Add("o.1..")
	f.Fuzz(func(t *testing.T, s string) {
		got, err := parseToken(s)
		if err != nil {
			if !errors.Is(err, store.ErrInvalid) {
				t.Fatal(err)
			}
			return
		}
		if s != "" && got.String() != s {
			t.Fatalf("%q was read as %q", s, got.String())
		}
		if _, ok := filter(store.Range{}, got); !ok || got.top < 0 || got.top > store.MaxPage {
			t.Fatalf("token %+v", got)
		}
	})
}

func TestToken(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		want := token{
			own: rapid.Bool().Draw(rt, "own"), partition: anyKey.Draw(rt, "partition"), key: anyKey.Draw(rt, "key"),
			top: rapid.IntRange(0, store.MaxPage).Draw(rt, "top"),
		}
		if got, err := parseToken(want.String()); err != nil || got != want {
			rt.Fatalf("%+v, %v, want %+v", got, err, want)
		}
	})
	for _, s := range []string{"x", "s", "s.1", "s.1.cA.cA.cA", "z.1.cA.cA", "s.-1.cA.cA", "s.1001.cA.cA", "s.01.cA.cA", "s.1.c.cA", "s.1..cA", "o.1.cA.", "o.1.AA.cA", "rest:1"} {
		if _, err := parseToken(s); !errors.Is(err, store.ErrInvalid) {
			t.Errorf("token %q: %v", s, err)
		}
	}
}

const goodAnswer = "--batchresponse_1\r\nContent-Type: multipart/mixed; boundary=changesetresponse_2\r\n\r\n" +
	"--changesetresponse_2\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\nHTTP/1.1 204 No Content\r\nETag: x\r\n\r\n\r\n" +
	"--changesetresponse_2--\r\n--batchresponse_1--\r\n"

// FuzzReadBatch: no body is taken for more success than the answers it has, and
// a body that was cut off is never whole.
func FuzzReadBatch(f *testing.F) {
	f.Add([]byte(goodAnswer))
	f.Add([]byte(strings.ReplaceAll(goodAnswer, "\r\n", "\n")))
	f.Add([]byte(strings.ReplaceAll(goodAnswer, "204 No Content", "409 Conflict")))
	f.Add([]byte("--b\r\nContent-Type: application/http\r\n\r\nHTTP/1.1 404 Not Found\r\n\r\n{}\r\n--b--"))
	for _, s := range []string{"", "-", "--", "--\r\n", "--a\n\n", "{}", "--a\r\nContent-Type: multipart/mixed; boundary=\r\n\r\n--\r\n----\r\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		a := readBatch(bytes.Clone(body))
		if n := bytes.Count(body, []byte("HTTP/")); a.done > n {
			t.Fatalf("%d of %d answers are successes", a.done, n)
		}
		if a.refused != nil && (a.refused.status < 100 || a.refused.status > 599 || len(a.refused.message) > 300) {
			t.Fatalf("refusal %+v", a.refused)
		}
		if a.whole && !bytes.Contains(body, []byte("--\n")) && !bytes.Contains(body, []byte("--\r\n")) && !bytes.HasSuffix(bytes.TrimSuffix(body, []byte("\r")), []byte("--")) {
			t.Fatalf("whole, without an end")
		}
	})
}

// TestReadBatchCut: however an answer is cut off, it is no success.
func TestReadBatchCut(t *testing.T) {
	end := strings.Index(goodAnswer, "--changesetresponse_2--") + len("--changesetresponse_2--")
	for n := range end {
		if a := readBatch([]byte(goodAnswer[:n])); a.whole {
			t.Fatalf("%d bytes are whole: %q", n, goodAnswer[:n])
		}
	}
	for _, good := range []string{goodAnswer, goodAnswer[:end], strings.ReplaceAll(goodAnswer, "\r\n", "\n"), "\r\n" + goodAnswer,
		strings.ReplaceAll(goodAnswer, "boundary=changesetresponse_2", `boundary="changesetresponse_2"; charset=utf-8`)} {
		if a := readBatch([]byte(good)); a.done != 1 || !a.whole || a.refused != nil {
			t.Errorf("%q: %+v", good, a)
		}
	}
}

// FuzzReadRefusal: what an error says is one bounded line, and its code a word.
func FuzzReadRefusal(f *testing.F) {
	f.Add([]byte(`{"odata.error":{"code":"EntityAlreadyExists","message":{"lang":"en-US","value":"12:x\ny"}}}`))
	f.Add([]byte("\xef\xbb\xbf<?xml version=\"1.0\"?><error><code>x</code><message>3:y</message></error>"))
	f.Add([]byte("<Error><Code>A</Code><Message>m</Message></Error>"))
	f.Fuzz(func(t *testing.T, body []byte) {
		r := readRefusal(400, http.Header{}, body)
		if strings.ContainsAny(r.message, "\r\n\x00") || len(r.message) > 300 || word(r.code) != r.code || r.index < -1 {
			t.Fatalf("%+v", r)
		}
	})
}

// FuzzDecodeRow: no answer makes the decoder panic or give a row without keys.
func FuzzDecodeRow(f *testing.F) {
	f.Add([]byte(`{"odata.etag":"x","PartitionKey":"p","RowKey":"k","B@odata.type":"Edm.Binary","B":"AA==","F":1.5}`))
	f.Add([]byte(`{"PartitionKey":"p","RowKey":"k","A":{},"@":1}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		row, err := newDecoder(bytes.NewReader(body)).row()
		if err != nil {
			return
		}
		last := ""
		for _, p := range row.Properties {
			if p.Name < last {
				t.Fatalf("properties of %+v do not ascend", row)
			}
			last = p.Name
		}
		if row.Partition == "" || row.Key == "" {
			t.Fatalf("row %+v", row)
		}
	})
}

// TestSkew: only what neither whole seconds nor the way explain is a skew, and
// several answers narrow it.
func TestSkew(t *testing.T) {
	local := time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC)
	answer := func(s *skew, sent, took, ahead time.Duration) {
		at := local.Add(sent)
		s.observe(at, at.Add(took), at.Add(took/2+ahead).Format(http.TimeFormat))
	}
	var s skew
	if s.value() != 0 {
		t.Error("a skew before any answer")
	}
	answer(&s, 500*time.Millisecond, 10*time.Millisecond, 0)
	answer(&s, 700*time.Millisecond, 2*time.Second, 400*time.Millisecond)
	if got := s.value(); got != 0 {
		t.Errorf("clocks that may agree are %v apart", got)
	}
	for _, ahead := range []time.Duration{90 * time.Second, -90 * time.Second, 5 * time.Second, -3 * time.Second, 2500 * time.Millisecond} {
		var s skew
		for i := range 20 {
			answer(&s, time.Duration(i)*1370*time.Millisecond, 20*time.Millisecond, ahead)
		}
		if got := s.value(); (got-ahead).Abs() > 150*time.Millisecond || got.Abs() > ahead.Abs() {
			t.Errorf("a clock that is %v ahead: %v", ahead, got)
		}
	}
	answer(&s, 4*time.Second, 10*time.Millisecond, 365*24*time.Hour) // nonsense
	if got := s.value(); got != 0 {
		t.Errorf("one answer of next year changed the skew to %v", got)
	}
	answer(&s, 5*time.Second, 10*time.Millisecond, time.Hour) // the clock was set
	answer(&s, 5*time.Second, 20*time.Millisecond, time.Hour)
	if got := s.value(); got < 59*time.Minute {
		t.Errorf("after a clock was set by an hour: %v", got)
	}
	s.observe(local, local.Add(-time.Second), local.Format(http.TimeFormat))
	s.observe(local, local, "yesterday")
	if got := s.value(); got < 59*time.Minute {
		t.Errorf("nonsense changed the skew to %v", got)
	}
	answer(&s, 80*time.Second, 10*time.Millisecond, -365*24*time.Hour)
	if got := s.value(); got < 59*time.Minute {
		t.Errorf("one answer of last year changed the skew to %v", got)
	}
	answer(&s, 90*time.Second, 10*time.Millisecond, 0) // and set right
	answer(&s, 91*time.Second, 10*time.Millisecond, 0)
	if got := s.value(); got != 0 {
		t.Errorf("after it was set right: %v", got)
	}
}

func TestTopAfter(t *testing.T) {
	for _, tt := range [][4]int{
		{0, 1000, 100, 0}, {0, 5, store.MaxPageBytes, 5}, {5, 5, store.MaxPageBytes - 1, 5}, {5, 5, 100, 10},
		{400, 400, 100, 800}, {600, 600, 100, 0}, {1, 1, store.MaxPageBytes, 1},
	} {
		if got := topAfter(tt[0], tt[1], tt[2]); got != tt[3] {
			t.Errorf("after a page of %d rows and %d bytes with top %d: %d, want %d", tt[1], tt[2], tt[0], got, tt[3])
		}
	}
}
