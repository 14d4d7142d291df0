package node

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// childVariable makes the test binary start a program, print where it listens
// and wait: it is there to be killed.
const childVariable = "NODE_TEST_CHILD"

// program listens until its stdin is closed.
const program = `
const server = require("net").createServer(() => {});
server.listen(0, "127.0.0.1", () => console.log("at " + server.address().port));
process.stdin.on("close", () => process.exit(0));
process.stdin.resume();
`

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		child()
	}
	os.Exit(m.Run())
}

func child() {
	_, line, err := Start(context.Background(), "a program", ".", "at ", "-e", program)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(line)
	select {}
}

// hasNode skips the test where there is no node.
func hasNode(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("node"); err != nil {
		Check(t, fmt.Errorf("%w: %w", ErrMissing, err))
	}
}

func address(line string) string { return "127.0.0.1:" + strings.TrimPrefix(line, "at ") }

func listens(address string) bool {
	connection, err := net.Dial("tcp", address)
	if err != nil {
		return false
	}
	connection.Close()
	return true
}

func TestCloseEndsIt(t *testing.T) {
	hasNode(t)
	p, line, err := Start(t.Context(), "a program", ".", "at ", "-e", program)
	if err != nil {
		t.Fatal(err)
	}
	if !listens(address(line)) {
		t.Error("it does not listen")
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if listens(address(line)) {
		t.Error("it still listens")
	}
}

// A program ends with its parent, also when that is killed.
func TestEndsWithItsParent(t *testing.T) {
	hasNode(t)
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
	if line = strings.TrimSpace(line); err != nil || !listens(address(line)) {
		t.Fatalf("before the kill: %v, %q", err, line)
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait()
	for end := time.Now().Add(patience); listens(address(line)); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it still listens")
		}
	}
}

func TestSaysWhyItDidNotStart(t *testing.T) {
	hasNode(t)
	for code, want := range map[string]string{
		`console.error("the port is taken"); process.exit(1)`: "the port is taken",
		`console.log("Welcome"); process.stdin.resume()`:      "Welcome",
	} {
		if _, _, err := Start(t.Context(), "a program", ".", "at ", "-e", code); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}

func TestNotInstalled(t *testing.T) {
	if _, err := Folder(t.TempDir(), "rhea"); !errors.Is(err, ErrMissing) {
		t.Errorf("error %v", err)
	}
}
