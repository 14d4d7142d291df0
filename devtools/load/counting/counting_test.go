package counting

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

const batch = "--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\nContent-Type: application/http\r\n\r\n" +
	"PATCH http://127.0.0.1:1/acc/sluicejournal20261124(PartitionKey='p',RowKey='!open3') HTTP/1.1\r\nIf-Match: *\r\n\r\n{}\r\n--c\r\n\r\n" +
	"PUT http://127.0.0.1:1/acc/sluicejournal20261124(PartitionKey='p',RowKey='r') HTTP/1.1\r\n\r\n{\"Data\":\"POST x HTTP/1.1\"}\r\n--c--\r\n--b--\r\n"

func TestTally(t *testing.T) {
	for _, c := range []struct {
		method, path, body, answer, table string
		want                              Counts
	}{
		{"POST", "/acc/$batch", batch, "", "sluicejournal", Counts{Writes: 1, RowsWritten: 2}},
		{"GET", "/acc/sluiceleaves20261124()", "", `{"value":[{"RowKey":"a"},{"RowKey":"b"}]}`, "sluiceleaves", Counts{Reads: 1, RowsRead: 2}},
		{"GET", "/acc/sluiceheads(PartitionKey='0001',RowKey='a/b')", "", `{"RowKey":"a/b"}`, "sluiceheads", Counts{Reads: 1, RowsRead: 1}},
		{"PUT", "/acc/sluiceheads(PartitionKey='0001',RowKey='h')", "{}", "", "sluiceheads", Counts{Writes: 1, RowsWritten: 1}},
		{"POST", "/acc/Tables", `{"TableName":"x"}`, "", "Tables", Counts{Writes: 1}},
		{"GET", "/acc/Tables", "", `{"value":[{"TableName":"x"}]}`, "Tables", Counts{Reads: 1}},
		{"POST", "/acc/$batch", "nothing", "", "unknown", Counts{Writes: 1}},
	} {
		if table, got := tally(c.method, c.path, []byte(c.body), []byte(c.answer)); table != c.table || got != c.want {
			t.Errorf("%s %s: %s %+v, want %s %+v", c.method, c.path, table, got, c.table, c.want)
		}
	}
}

// What passes arrives as it was sent, and is counted.
func TestProxy(t *testing.T) {
	var got string
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = r.Method + " " + r.RequestURI + " " + r.Header.Get("Authorization") + " " + string(body)
		w.Header().Set("ETag", `W/"1"`)
		w.WriteHeader(http.StatusPreconditionFailed)
		_, _ = io.WriteString(w, "no")
	}))
	defer target.Close()
	p, err := Start(strings.TrimPrefix(target.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	path := "/acc/t(PartitionKey='a%20b',RowKey='%27%27')?$format=x&y=%2B"
	request, _ := http.NewRequest(http.MethodPut, "http://"+p.Address()+path, strings.NewReader("{}"))
	request.Header.Set("Authorization", "SharedKeyLite x")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, _ := io.ReadAll(answer.Body)
	if want := "PUT " + path + " SharedKeyLite x {}"; got != want {
		t.Errorf("what arrived: %q, want %q", got, want)
	}
	if answer.StatusCode != http.StatusPreconditionFailed || answer.Header.Get("ETag") != `W/"1"` || string(body) != "no" {
		t.Errorf("the answer: %d %v %q", answer.StatusCode, answer.Header, body)
	}
	if total := p.Take().Total(); total != (Counts{Writes: 1, RowsWritten: 1, Refused: 1}) {
		t.Errorf("counted %+v", total)
	}
	if len(p.Take()) != 0 {
		t.Error("counted twice")
	}
}
