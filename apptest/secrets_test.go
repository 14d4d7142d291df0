package apptest

import (
	"bytes"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/devtools/load/service"
)

// TestSecretsAreShownNowhere runs the service with secrets in its settings, at the
// level at which it logs most, over accounts and a hub that do not answer, and asks
// it for everything, well and badly; then it has it dump its goroutines. Neither an
// answer nor a line may show one of the secrets. (Every other test that starts a
// service looks at its lines, too: see start.)
func TestSecretsAreShownNowhere(t *testing.T) {
	const nobody = "127.0.0.1:9"
	env := []string{
		"SLUICE_TABLES=DefaultEndpointsProtocol=http;AccountName=nobody;AccountKey=c2VjcmV0LXNlY3JldC1zZWNyZXQ=;TableEndpoint=http://" + nobody + "/nobody",
		"SLUICE_EVENTHUB=Endpoint=sb://" + nobody + ";SharedAccessKeyName=send;SharedAccessKey=aHVudGVyMi1odW50ZXIyLWh1bnRlcjI=;EntityPath=telemetry;UseDevelopmentEmulator=true",
		"SLUICE_LOG=debug",
	}
	secrets := service.SecretsOf(env)
	if len(secrets) == 0 {
		t.Fatal("no secrets to look for")
	}
	p := start(t, storage{folder: t.TempDir()}, env...)
	answers := askEverything(t, p.URL)
	if len(answers) < 1000 {
		t.Errorf("only %d bytes of answers: %s", len(answers), answers)
	}
	if service.Shows(answers, secrets) {
		t.Errorf("an answer shows a secret: %s", answers)
	}
	if err := syscall.Kill(p.PID, syscall.SIGQUIT); err != nil {
		t.Fatal(err)
	}
	await(t, time.Minute, "the dump", func() bool { return strings.Contains(p.Log(), "goroutine ") })
}

// askEverything asks each kind of route, well and badly, and returns all that came
// back: headers and bodies.
func askEverything(t *testing.T, url string) string {
	var all bytes.Buffer
	client := &http.Client{Timeout: 30 * time.Second}
	for _, call := range []struct{ method, path, body string }{
		{"GET", "/", ""}, {"GET", "/healthz", ""}, {"GET", "/readyz", ""}, {"GET", "/api/v1/status", ""}, {"GET", "/metrics", ""}, {"GET", "/debug/pprof/", ""}, {"GET", "/debug/vars", ""},
		{"GET", "/api/v1/devices", ""}, {"GET", "/api/v1/devices/pump-1/latest", ""}, {"GET", "/api/v1/deadletters", ""}, {"GET", "/nope", ""},
		{"POST", "/api/v1/telemetry", `{"deviceId":"pump-1","metrics":{"x":1}}`}, {"POST", "/api/v1/telemetry", "no JSON"}, {"DELETE", "/api/v1/devices/pump-1", ""},
		{"POST", "/compact", `{"Data":{"timer":{}}}`}, {"POST", "/consume", `{"Data":{"events":"[]"}}`},
	} {
		request, err := http.NewRequestWithContext(t.Context(), call.method, url+call.path, strings.NewReader(call.body))
		if err != nil {
			t.Fatal(err)
		}
		answer, err := client.Do(request)
		if err != nil {
			t.Errorf("%s %s: %v", call.method, call.path, err)
			continue
		}
		_ = answer.Header.Write(&all)
		_, _ = io.Copy(&all, answer.Body)
		_ = answer.Body.Close()
	}
	return all.String()
}

// Settings that are wrong are named, not shown.
func TestWrongSettingsShowNoSecret(t *testing.T) {
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	const key = "c2VjcmV0LXNlY3JldC1zZWNyZXQ="
	for _, setting := range []string{
		"SLUICE_TABLES=AccountKey=" + key, "SLUICE_EVENTHUB=SharedAccessKey=" + key, "SLUICE_KEYS=k1:" + key[:20], "SLUICE_KEYS=" + key,
		"SLUICE_SHARDS=AccountKey=" + key, "SLUICE_CORS=https://x?sig=" + key, "SLUICE_TLS_CERT=AccountKey=" + key, "SLUICE_TABLE=AccountKey=" + key,
	} {
		command := exec.CommandContext(t.Context(), path)
		command.Dir = t.TempDir()
		command.Env = append(service.Environ(), "SLUICE_ADDR=127.0.0.1:nope", setting)
		text, err := command.CombinedOutput()
		if err == nil || len(text) == 0 {
			t.Errorf("%s: it started", setting)
		}
		if strings.Contains(string(text), key[:16]) {
			t.Errorf("%s is shown: %s", setting, text)
		}
	}
}
