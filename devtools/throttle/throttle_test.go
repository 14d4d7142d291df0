package throttle

import (
	"bufio"
	"encoding/json"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

const (
	single      = "/account/table"
	transaction = "/account/$batch"
)

// service counts what it is asked, and answers with the path and the body.
type service struct {
	*httptest.Server
	asked atomic.Int64
}

func newService(t *testing.T) *service {
	t.Helper()
	s := &service{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked.Add(1)
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Host", r.Host)
		w.WriteHeader(http.StatusAccepted)
		io.WriteString(w, r.RequestURI+" "+string(body))
	}))
	t.Cleanup(s.Close)
	return s
}

func start(t *testing.T, target string, o Options) *Proxy {
	t.Helper()
	p, err := Start(target, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func send(t *testing.T, p *Proxy, path string) (*http.Response, string) {
	t.Helper()
	response, err := http.Post("http://"+p.Address()+path, "text/plain", strings.NewReader("content"))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(body)
}

func TestPassesOnAsItCame(t *testing.T) {
	s := newService(t)
	p := start(t, s.Listener.Addr().String(), Options{})
	const path = "/account/t(PartitionKey='a%2Fb',RowKey='%27')?$filter=x%20eq%201&y"
	response, body := send(t, p, path)
	if response.StatusCode != http.StatusAccepted || body != path+" content" {
		t.Errorf("status %d, %q", response.StatusCode, body)
	}
	if got := response.Header.Get("X-Host"); got != p.Address() {
		t.Errorf("host %q", got)
	}
	if got := p.Counts(); got != (Counts{Passed: 1}) {
		t.Errorf("%+v", got)
	}
}

// fault reads the error of an answer: its status, whether it was inside of the
// answer to a transaction, and its code and message.
func readFault(t *testing.T, response *http.Response, body string) (status int, inner bool, code, message string) {
	t.Helper()
	status = response.StatusCode
	if status == http.StatusAccepted {
		status, body = readInner(t, response, body)
		inner = true
	}
	var e struct {
		Error struct {
			Code    string
			Message struct{ Value string }
		} `json:"odata.error"`
	}
	if err := json.Unmarshal([]byte(body), &e); err != nil {
		t.Fatalf("%v in %q", err, body)
	}
	return status, inner, e.Error.Code, e.Error.Message.Value
}

func part(t *testing.T, contentType string, body io.Reader) *multipart.Part {
	t.Helper()
	_, parameters, err := mime.ParseMediaType(contentType)
	if err != nil {
		t.Fatal(err)
	}
	p, err := multipart.NewReader(body, parameters["boundary"]).NextPart()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func readInner(t *testing.T, response *http.Response, body string) (status int, inner string) {
	t.Helper()
	changes := part(t, response.Header.Get("Content-Type"), strings.NewReader(body))
	action := part(t, changes.Header.Get("Content-Type"), changes)
	if got := action.Header.Get("Content-Type"); got != "application/http" {
		t.Fatalf("the part's content type is %q", got)
	}
	r, err := http.ReadResponse(bufio.NewReader(action), nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(text)
}

func TestFaults(t *testing.T) {
	s := newService(t)
	p := start(t, s.Listener.Addr().String(), Options{Seed: 1, Busy: 0.3, Internal: 0.2})
	const requests = 1000
	seen := map[string]int{}
	for i := range requests {
		path := single
		if i%2 == 0 {
			path = transaction
		}
		response, body := send(t, p, path)
		if body == path+" content" {
			seen["passed"]++
			continue
		}
		status, inner, code, message := readFault(t, response, body)
		if inner {
			seen["inner"]++
		}
		if inner && path == single || inner != strings.HasPrefix(message, "0:") {
			t.Fatalf("%s was answered with %q", path, body)
		}
		seen[code]++
		if want := map[string]int{"ServerBusy": 503, "InternalError": 500, "OperationTimedOut": 500}[code]; status != want {
			t.Fatalf("code %q with status %d", code, status)
		}
	}
	want := p.Counts()
	got := Counts{Passed: seen["passed"], Busy: seen["ServerBusy"], Internal: seen["InternalError"], Done: seen["OperationTimedOut"]}
	if got != want {
		t.Errorf("seen %+v, counted %+v", got, want)
	}
	if done := int(s.asked.Load()); done != want.Passed+want.Done {
		t.Errorf("%d requests done, %+v", done, want)
	}
	if want.Busy < 250 || want.Busy > 350 || want.Internal < 70 || want.Done < 70 || seen["inner"] < 80 {
		t.Errorf("shares: %+v, %d inside of transactions", want, seen["inner"])
	}
}

func TestSameSeedSameFate(t *testing.T) {
	s := newService(t)
	var counts [2]Counts
	for i := range counts {
		p := start(t, s.Listener.Addr().String(), Options{Seed: 7, Busy: 0.5})
		for range 50 {
			send(t, p, single)
		}
		p.Set(Options{})
		send(t, p, single)
		counts[i] = p.Counts()
	}
	if counts[0] != counts[1] || counts[0].Busy == 0 || counts[0].Passed < 2 {
		t.Errorf("%+v", counts)
	}
}
