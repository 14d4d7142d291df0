package tables_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	azlog "github.com/Azure/azure-sdk-for-go/sdk/azcore/log"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"

	"sluice/devtools/azurite"
	"sluice/store"
	"sluice/store/tables"
)

// allFail does every method and returns its errors.
func allFail(ctx context.Context, s store.Rows) map[string]error {
	_, get := s.Get(ctx, "tab", "p", "k")
	_, scan := s.Scan(ctx, "tab", store.Range{}, "")
	_, _, list := s.Tables(ctx, "", "")
	return map[string]error{
		"create": s.CreateTable(ctx, "tab"), "drop": s.DropTable(ctx, "tab"), "tables": list, "get": get, "scan": scan,
		"commit": s.Commit(ctx, "tab", "p", twoOps),
	}
}

func neverSleep(t *testing.T) func(context.Context, time.Duration) error {
	return func(context.Context, time.Duration) error {
		t.Error("tried again")
		return nil
	}
}

// TestWrongKey: refused at the first try, with what to do, by Azurite itself.
func TestWrongKey(t *testing.T) {
	a, other := azurite.ForTest(t).Account(), azurite.ForTest(t).Account()
	a.Key = other.Key
	for name, err := range allFail(t.Context(), open(t, a, tables.Options{Sleep: neverSleep(t)})) {
		if !errors.Is(err, store.ErrDenied) || !strings.Contains(err.Error(), "check the account's name and key") || !strings.Contains(err.Error(), a.Name) {
			t.Errorf("%s with a wrong key: %v", name, err)
		}
		if strings.Contains(fmt.Sprint(err), a.Key) {
			t.Errorf("%s: the key is in %v", name, err)
		}
	}
}

// TestNoSuchAccount: an account that is not there is not an empty one.
func TestNoSuchAccount(t *testing.T) {
	a := azurite.ForTest(t).Account()
	a.Name, a.Endpoint = "nosuch", strings.TrimSuffix(a.Endpoint, a.Name)+"nosuch"
	for name, err := range allFail(t.Context(), open(t, a, tables.Options{Sleep: neverSleep(t)})) {
		if !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "no account of that name") {
			t.Errorf("%s of an account that is not there: %v", name, err)
		}
	}
	s, err := tables.Open("AccountName=acme;AccountKey="+secret+";EndpointSuffix=core.invalid", tables.Options{Attempts: 2, Sleep: noSleep})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := s.CreateTable(ctx, "tab"); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("an account whose host is not there: %v", err)
	}
}

// TestSharedAccessSignature: it suffices for everything, and is nowhere to be
// read.
func TestSharedAccessSignature(t *testing.T) {
	a := azurite.ForTest(t).Account()
	sas := signed(t, a, aztables.AccountSASPermissions{Read: true, Write: true, Delete: true, List: true, Add: true, Update: true})
	s, err := tables.Open("TableEndpoint="+a.Endpoint+";SharedAccessSignature="+sas, tables.Options{Sleep: neverSleep(t)})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, direct: s, faulty: s}
	w.must(s.CreateTable(t.Context(), "faults"))
	for _, b := range bystanders() {
		if _, err := w.try(t.Context(), b); err != nil {
			t.Errorf("%s: %v", b.name, err)
		}
	}
	readOnly := signed(t, a, aztables.AccountSASPermissions{Read: true, List: true})
	s, err = tables.Open("TableEndpoint="+a.Endpoint+";SharedAccessSignature="+readOnly, tables.Options{Sleep: neverSleep(t)})
	if err != nil {
		t.Fatal(err)
	}
	err = s.DropTable(t.Context(), "faults")
	if !errors.Is(err, store.ErrDenied) || strings.Contains(err.Error(), "sig=") {
		t.Errorf("dropped with a signature that is for reading: %v", err)
	}
	s, err = tables.Open("TableEndpoint=http://127.0.0.1:1/acme;SharedAccessSignature="+sas, tables.Options{Attempts: 2, Sleep: noSleep})
	if err != nil {
		t.Fatal(err)
	}
	for name, err := range allFail(t.Context(), s) {
		if !errors.Is(err, store.ErrUnavailable) || strings.Contains(err.Error(), "sig") {
			t.Errorf("%s of a service that does not listen: %v", name, err)
		}
	}
}

func signed(t *testing.T, a azurite.Account, p aztables.AccountSASPermissions) string {
	t.Helper()
	credential, err := aztables.NewSharedKeyCredential(a.Name, a.Key)
	if err != nil {
		t.Fatal(err)
	}
	query, err := aztables.AccountSASSignatureValues{
		Protocol: aztables.SASProtocolHTTPSandHTTP, Services: "t", ExpiryTime: time.Now().UTC().Add(time.Hour),
		ResourceTypes: aztables.AccountSASResourceTypes{Service: true, Container: true, Object: true}.String(), Permissions: p.String(),
	}.Sign(credential)
	if err != nil {
		t.Fatal(err)
	}
	return query.Encode()
}

// TestLogLeaksNothing: aztables's own log, should somebody turn it on, has
// neither key nor signature.
func TestLogLeaksNothing(t *testing.T) {
	a := azurite.ForTest(t).Account()
	sas := signed(t, a, aztables.AccountSASPermissions{Read: true})
	var mu sync.Mutex
	var log strings.Builder
	azlog.SetListener(func(_ azlog.Event, text string) {
		mu.Lock()
		defer mu.Unlock()
		log.WriteString(text)
	})
	defer azlog.SetListener(nil)
	allFail(t.Context(), open(t, a, tables.Options{}))
	s, err := tables.Open("TableEndpoint="+a.Endpoint+";SharedAccessSignature="+sas, tables.Options{Sleep: noSleep})
	if err != nil {
		t.Fatal(err)
	}
	allFail(t.Context(), s)
	mu.Lock()
	defer mu.Unlock()
	_, sig, _ := strings.Cut(sas, "sig=")
	sig, _, _ = strings.Cut(sig, "&")
	if log.Len() == 0 || strings.Contains(log.String(), a.Key) || strings.Contains(log.String(), sig) || strings.Contains(log.String(), "SharedKeyLite") {
		t.Errorf("a log of %d bytes with a secret, or none at all", log.Len())
	}
}

// identity is a credential whose token, or whose error, a test decides.
type identity struct {
	mu     sync.Mutex
	err    error
	tokens int
	claims string
}

func (i *identity) GetToken(_ context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.tokens++
	i.claims = o.Claims
	return azcore.AccessToken{Token: fmt.Sprint("token", i.tokens), ExpiresOn: time.Now().Add(time.Hour)}, i.err
}

// TestIdentity: a token is asked for and shown, one that was revoked is asked
// for anew, and an identity without one is refused, or unavailable where the
// giver of tokens is.
func TestIdentity(t *testing.T) {
	var auth []string
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		auth = append(auth, r.Header.Get("Authorization"))
		if len(auth) == 1 {
			w.Header().Set("WWW-Authenticate", `Bearer authorization_uri="https://login.example", error="insufficient_claims", claims="eyJhIjoxfQ=="`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		a := transaction(done, done)
		w.WriteHeader(a.status)
		fmt.Fprint(w, a.body)
	}))
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError) // of strangers' handshakes
	server.StartTLS()
	defer server.Close()
	id := &identity{}
	s := identified(t, server, tables.Options{Credential: id, Sleep: neverSleep(t)})
	if err := s.Commit(t.Context(), "tab", "p", twoOps); err != nil || id.claims != `{"a":1}` || fmt.Sprint(auth) != "[Bearer token1 Bearer token2]" {
		t.Errorf("%v, claims %q, shown %q", err, id.claims, auth)
	}
	stranger, err := tables.Open(server.URL+"/acme", tables.Options{Credential: id, Attempts: 2, Sleep: noSleep})
	if err != nil {
		t.Fatal(err)
	}
	for name, err := range allFail(t.Context(), stranger) {
		if !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("%s of a server whose certificate is not trusted: %v", name, err)
		}
	}
	for _, tt := range []struct{ err, want error }{
		{&azidentity.AuthenticationFailedError{RawResponse: tokenAnswer(400)}, store.ErrDenied},
		{azidentity.NewCredentialUnavailableError("no identity here"), store.ErrDenied},
		{&azidentity.AuthenticationFailedError{RawResponse: tokenAnswer(503)}, store.ErrUnavailable},
		{context.DeadlineExceeded, store.ErrUnavailable},
	} {
		s := identified(t, server, tables.Options{Credential: &identity{err: tt.err}, Attempts: 2, Sleep: noSleep})
		for name, err := range allFail(t.Context(), s) {
			if !errors.Is(err, tt.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s, token refused with %T: %v, want %v", name, tt.err, err, tt.want)
			}
			onlyOne(t, err)
		}
	}
}

func identified(t *testing.T, server *httptest.Server, o tables.Options) *tables.Store {
	t.Helper()
	s, err := tables.Open(server.URL+"/acme", o)
	if err != nil {
		t.Fatal(err)
	}
	s.Trust(server.Certificate())
	return s
}

// TestSkewOfErrors: an answer that is no success may be of anything that stands
// between, whatever its clock says; a success is the service's.
func TestSkewOfErrors(t *testing.T) {
	date := map[string]string{"Date": "Fri, 01 Jan 2100 00:00:00 GMT"}
	for _, tt := range []struct {
		status  int
		counted bool
	}{{http.StatusNoContent, true}, {http.StatusFound, false}, {http.StatusForbidden, false}, {http.StatusServiceUnavailable, false}} {
		s, _ := scripted(t, tables.Options{Attempts: 1}, reply{tt.status, date, "", false}, reply{tt.status, date, "", false})
		for range 2 { // two that agree are believed
			_ = s.DropTable(t.Context(), "tab")
		}
		if got := s.Skew(); (got > 0) != tt.counted {
			t.Errorf("two answers with status %d and a Date of the year 2100: skew %v, counted should be %v", tt.status, got, tt.counted)
		}
	}
}

// tokenAnswer is an answer of what gives tokens.
func tokenAnswer(status int) *http.Response {
	return &http.Response{StatusCode: status, Body: http.NoBody, Request: &http.Request{Method: http.MethodPost, URL: &url.URL{Scheme: "https", Host: "login.example"}}}
}

// TestSkewOfAnswers: Azurite's clock is ours; one that is an hour ahead of
// Azurite's is told so.
func TestSkewOfAnswers(t *testing.T) {
	for _, ahead := range []time.Duration{0, time.Hour, -time.Hour} {
		s := open(t, azurite.ForTest(t).Account(), tables.Options{Now: func() time.Time { return time.Now().Add(ahead) }})
		allFail(t.Context(), s)
		if got := s.Skew() + ahead; got.Abs() > 30*time.Second || ahead == 0 && got != 0 {
			t.Errorf("a clock %v ahead of the service's: skew %v", ahead, s.Skew())
		}
	}
}
