package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/devtools/azurite"
	"sluice/devtools/netfault"
)

// onTables starts the program over accounts.
func onTables(t *testing.T, accounts []azurite.Account, env ...string) *process {
	t.Helper()
	return serving(t, append([]string{"SLUICE_TABLES=" + targets(accounts)}, env...)...)
}

func targets(accounts []azurite.Account) string {
	var all []string
	for _, a := range accounts {
		all = append(all, a.ConnectionString())
	}
	return strings.Join(all, ",")
}

// within tries until ok, for at most half a minute.
func within(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("never came to be: ", what)
		}
	}
}

// unready waits until /readyz gives a reason that has all texts.
func unready(t *testing.T, url string, texts ...string) {
	t.Helper()
	last := ""
	defer func() {
		if t.Failed() {
			t.Log("the last /readyz: ", last)
		}
	}()
	within(t, fmt.Sprint("unready because of ", texts), func() bool {
		a := do(t, "GET", url+"/readyz", "")
		last = a.body
		for _, text := range texts {
			if !strings.Contains(a.body, text) {
				return false
			}
		}
		return a.status == 503
	})
}

func ready(t *testing.T, url string) {
	t.Helper()
	within(t, "ready", func() bool { return do(t, "GET", url+"/readyz", "").status == 200 })
}

func someReading(device string, n int) string {
	return fmt.Sprintf(`{"deviceId":%q,"ts":%d,"metrics":{"v":%d}}`, device, 1700000000+n, n)
}

func TestTables(t *testing.T) {
	t.Parallel()
	server := azurite.ForTest(t)
	accounts := []azurite.Account{server.Account(), server.Account()}
	want := 0
	for round, end := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL, syscall.SIGTERM} {
		p := onTables(t, accounts, "SLUICE_MERGE=1s")
		for n := range 20 {
			do(t, "POST", p.url+"/api/v1/telemetry", someReading("p"+fmt.Sprint(n%4), round*100+n)).want(t, 200)
			want++
		}
		do(t, "POST", p.url+"/compact", `{"Data":{"timer":{}},"Metadata":{}}`).want(t, 200, `"Logs":["all shards merged in `)
		got := 0
		for device := range 4 {
			got += count(t, p.url, fmt.Sprint("p", device))
		}
		if got != want {
			t.Fatalf("round %d: %d readings, %d were acknowledged", round, got, want)
		}
		var s status
		a := do(t, "GET", p.url+"/api/v1/status", "")
		if err := json.Unmarshal([]byte(a.body), &s); err != nil || s.Store.Kind != "tables" || len(s.Store.Accounts) != 2 || len(s.Shards) != 8 {
			t.Error(a)
		}
		for i, account := range s.Store.Accounts {
			if account.Name != accounts[i].Name || !account.Reachable {
				t.Error(account)
			}
		}
		for _, account := range accounts {
			if strings.Contains(p.log.String()+a.body, account.Key) {
				t.Error("a key is shown")
			}
		}
		p.signal(end)
		if code := p.code(); (code == 0) != (end == syscall.SIGTERM) {
			t.Fatalf("exit code %d after %v", code, end)
		}
	}
}

// What only the network can tell never ends the process: /readyz and the log,
// once, say what is wrong, every other call gets 503.
func TestWrongAccounts(t *testing.T) {
	t.Parallel()
	server := azurite.ForTest(t)
	a, b, other := server.Account(), server.Account(), server.Account()
	onTables(t, []azurite.Account{a, b}).stop()
	onTables(t, []azurite.Account{other}).stop()
	badKey := a
	badKey.Key = other.Key
	for name, c := range map[string]struct {
		accounts []azurite.Account
		env      string
		want     []string
	}{
		"swapped":   {[]azurite.Account{b, a}, "", []string{b.Name, "in the order in which it was made"}},
		"missing":   {[]azurite.Account{a}, "", []string{"2 accounts"}},
		"foreign":   {[]azurite.Account{a, other}, "", []string{other.Name}},
		"wrong key": {[]azurite.Account{badKey, b}, "", []string{"check the account's name and key"}},
		"shards":    {[]azurite.Account{a, b}, "SLUICE_SHARDS=5", []string{"set SLUICE_SHARDS=8"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := command(t, []string{"SLUICE_ADDR=127.0.0.1:0", "SLUICE_TABLES=" + targets(c.accounts), c.env})
			p.begin()
			p.url = p.log.await(t, "listening").url
			unready(t, p.url, append(c.want, `"status":"unready"`)...)
			answer := do(t, "POST", p.url+"/api/v1/telemetry", reading)
			if answer.want(t, 503, `"code":"unavailable"`, "/readyz"); answer.header.Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
			do(t, "POST", p.url+"/compact", `{"Data":{"timer":{}}}`).want(t, 500, c.want...)
			do(t, "GET", p.url+"/healthz", "").want(t, 200)
			time.Sleep(2 * time.Second) // some tries
			if n := strings.Count(p.log.String(), "it is tried again and again"); n != 1 {
				t.Errorf("the reason is logged %d times:\n%s", n, p.log)
			}
			for _, account := range c.accounts {
				if strings.Contains(p.log.String(), account.Key) {
					t.Error("a key is in the log")
				}
			}
			p.stop()
		})
	}
}

func TestStoreIsAwayAtTheStart(t *testing.T) {
	t.Parallel()
	server := azurite.ForTest(t)
	proxy := behind(t, server)
	mustSet(t, proxy, netfault.Refuse)
	p := command(t, []string{"SLUICE_ADDR=127.0.0.1:0", "SLUICE_RETENTION=forever", "SLUICE_TABLES=" + server.Account().At(proxy.Address()).ConnectionString()})
	p.begin()
	p.url = p.log.await(t, "listening").url
	unready(t, p.url, `"status":"unready"`, "refused")
	do(t, "POST", p.url+"/api/v1/telemetry", reading).want(t, 503)
	mustSet(t, proxy, netfault.Pass)
	ready(t, p.url)
	do(t, "POST", p.url+"/api/v1/telemetry", reading).want(t, 200)
	p.stop()
}

// An outage: 503 meanwhile, in bounded time, and as before after it.
func TestOutages(t *testing.T) {
	t.Parallel()
	server := azurite.ForTest(t)
	for _, mode := range []netfault.Mode{netfault.Refuse, netfault.Reset, netfault.BlackHole, netfault.AnswerLost} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			proxy := behind(t, server)
			p := onTables(t, []azurite.Account{server.Account().At(proxy.Address())})
			do(t, "POST", p.url+"/api/v1/telemetry", someReading("p", 1)).want(t, 200)
			mustSet(t, proxy, mode)
			answers := make(chan answer, 3)
			for _, call := range [][3]string{
				{"POST", "/api/v1/telemetry", someReading("p", 2)},
				{"GET", "/api/v1/devices/p/latest", ""},
				{"GET", "/api/v1/devices", ""},
			} {
				go func() {
					a, err := try(t.Context(), call[0], p.url+call[1], call[2])
					if err != nil {
						a.body = err.Error()
					}
					answers <- a
				}()
			}
			unready(t, p.url, `"status":"unready"`)
			do(t, "GET", p.url+"/api/v1/status", "").want(t, 200, `"reachable":false`, `"breaker":"`, `"reason":"`)
			for range cap(answers) {
				a := <-answers
				if a.want(t, 503, `"error"`); a.header.Get("Retry-After") == "" {
					t.Error("no Retry-After:", a)
				}
			}
			mustSet(t, proxy, netfault.Pass)
			ready(t, p.url)
			within(t, "taken again", func() bool {
				return do(t, "POST", p.url+"/api/v1/telemetry", someReading("p", 2)).status == 200
			})
			if n := count(t, p.url, "p"); n != 2 {
				t.Error(n, "readings of 2")
			}
			p.stop()
		})
	}
}

func behind(t *testing.T, server *azurite.Server) *netfault.Proxy {
	t.Helper()
	proxy, err := netfault.Start(server.Address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = proxy.Close() })
	return proxy
}

func mustSet(t *testing.T, p *netfault.Proxy, mode netfault.Mode) {
	t.Helper()
	if err := p.Set(mode); err != nil {
		t.Fatal(err)
	}
}

// Under the host the timer merges, nothing else, and only the host's own call
// reaches it.
func TestTablesUnderTheHost(t *testing.T) {
	t.Parallel()
	account := azurite.ForTest(t).Account()
	p := onTables(t, []azurite.Account{account}, "FUNCTIONS_CUSTOMHANDLER_PORT="+freePort(t), "SLUICE_MERGE=100ms", "SLUICE_AUTH=off-i-know")
	if !strings.Contains(p.log.String(), "whoever reaches the service may read, write and delete") {
		t.Error("no warning that everyone is let in")
	}
	do(t, "POST", p.url+"/api/v1/telemetry", someReading("p", 1)).want(t, 200)
	merged := func() bool {
		return strings.Contains(do(t, "GET", p.url+"/api/v1/status", "").body, `"lastMerged":"`)
	}
	time.Sleep(time.Second)
	if merged() {
		t.Error("merged without the timer")
	}
	envelope := `{"Data":{"timer":{"Schedule":{"AdjustForDST":true},"ScheduleStatus":null,"IsPastDue":false}},"Metadata":{"sys":{}}}`
	do(t, "POST", p.url+"/compact", envelope).want(t, 404)
	own := dial(t, p.url)
	own.write(fmt.Sprintf("POST /compact HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(envelope), envelope))
	own.answer().want(t, http.StatusOK, `{"Outputs":{},"Logs":["1 entries of 1 shards merged in `, `],"ReturnValue":null}`)
	if !merged() {
		t.Error("not merged")
	}
	wrapped := dial(t, p.url)
	wrapped.write("POST /ingest HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n")
	wrapped.answer().want(t, http.StatusOK, "enableForwardingHttpRequest")
	if n := count(t, p.url, "p"); n != 1 {
		t.Error(n, "readings")
	}
	p.stop()
}
