package azurite

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// patience is how long a killed server may take to end.
const patience = time.Minute

// childVariable makes the test binary start a server, print its address and
// wait: it is there to be killed.
const childVariable = "AZURITE_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		child()
	}
	os.Exit(m.Run())
}

func child() {
	s, err := Start(context.Background(), Options{})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(s.Address())
	select {}
}

// ask sends a request to a, signed with its key (Shared Key Lite), and returns
// the status and the body's names of tables.
func ask(t *testing.T, a Account, method, body string) (status int, tables []string) {
	t.Helper()
	secret, err := base64.StdEncoding.DecodeString(a.Key)
	if err != nil {
		t.Fatal(err)
	}
	path := strings.TrimPrefix(a.Endpoint[len("http://"):], strings.Split(a.Endpoint[len("http://"):], "/")[0]) + "/Tables"
	date := time.Now().UTC().Format(http.TimeFormat)
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(date + "\n/" + a.Name + path))
	r, err := http.NewRequestWithContext(t.Context(), method, a.Endpoint+"/Tables", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Ms-Date", date)
	r.Header.Set("X-Ms-Version", "2019-02-02")
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json;odata=nometadata")
	r.Header.Set("Authorization", "SharedKeyLite "+a.Name+":"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var list struct {
		Value []struct{ TableName string }
	}
	if err := json.NewDecoder(response.Body).Decode(&list); err != nil && response.StatusCode == http.StatusOK {
		t.Fatal(err)
	}
	for _, table := range list.Value {
		tables = append(tables, table.TableName)
	}
	return response.StatusCode, tables
}

func TestAccountsAreSeparate(t *testing.T) {
	s := ForTest(t)
	a, b := s.Account(), s.Account()
	if status, _ := ask(t, a, http.MethodPost, `{"TableName":"things"}`); status != http.StatusCreated {
		t.Fatalf("make a table: status %d", status)
	}
	if status, tables := ask(t, a, http.MethodGet, ""); status != http.StatusOK || len(tables) != 1 || tables[0] != "things" {
		t.Errorf("tables of the account: status %d, %q", status, tables)
	}
	if status, tables := ask(t, b, http.MethodGet, ""); status != http.StatusOK || len(tables) != 0 {
		t.Errorf("tables of another account: status %d, %q", status, tables)
	}
	a.Key = b.Key
	if status, _ := ask(t, a, http.MethodGet, ""); status != http.StatusForbidden {
		t.Errorf("with another account's key: status %d", status)
	}
}

func TestLastAccountIsKnown(t *testing.T) {
	s := ForTest(t)
	name := fmt.Sprintf("account%d", accounts-1)
	a := Account{Name: name, Key: key(s.secret, name), Endpoint: s.endpoint + "/" + name}
	if status, _ := ask(t, a, http.MethodGet, ""); status != http.StatusOK {
		t.Errorf("status %d", status)
	}
}

func TestCloseEndsIt(t *testing.T) {
	ForTest(t) // skips if it is not installed
	s, err := Start(t.Context(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	awaitRefusal(t, s.Address())
}

// A server ends with its parent, also when that is killed.
func TestEndsWithItsParent(t *testing.T) {
	ForTest(t)
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), childVariable+"=1")
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	address := strings.TrimSpace(line)
	if err != nil {
		t.Fatal(err, line)
	}
	connection, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatalf("before the kill: %v", err)
	}
	connection.Close()
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait()
	awaitRefusal(t, address)
}

// awaitRefusal waits until nobody listens at address.
func awaitRefusal(t *testing.T, address string) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		connection, err := net.Dial("tcp", address)
		if err != nil {
			return
		}
		connection.Close()
	}
	t.Error("somebody still listens")
}

func TestNotInstalled(t *testing.T) {
	if _, err := Start(t.Context(), Options{Folder: t.TempDir()}); !errors.Is(err, ErrMissing) {
		t.Errorf("error %v", err)
	}
}
