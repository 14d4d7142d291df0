package host

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const handlerPath = `"description":{"defaultExecutablePath":"bin/handler"}`

func TestRefusedApps(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		want  string
	}{
		"no host.json":   {map[string]string{"host.json": ""}, "host.json"},
		"no JSON":        {map[string]string{"host.json": "{"}, "host.json"},
		"version 1":      {map[string]string{"host.json": `{"version":"1.0"}`}, `"2.0" would be right`},
		"no handler":     {map[string]string{"host.json": `{"version":"2.0"}`}, "customHandler.description"},
		"no executable":  {map[string]string{"host.json": hostJSON(`"description":{}`, "")}, "defaultExecutablePath"},
		"not there":      {map[string]string{"bin/handler": ""}, "no such file"},
		"a folder":       {map[string]string{"host.json": hostJSON(`"description":{"defaultExecutablePath":"bin"}`, "")}, "is a folder"},
		"not executable": {map[string]string{"host.json": hostJSON(`"description":{"defaultExecutablePath":"host.json"}`, "")}, "not executable"},
		"time-out":       {map[string]string{"host.json": hostJSON(handlerPath, `,"functionTimeout":"5m"`)}, "hh:mm:ss"},
		"short time-out": {map[string]string{"host.json": hostJSON(handlerPath, `,"functionTimeout":"00:00:00"`)}, "is the least"},
		"no functions": {map[string]string{
			"ingest": "", "all": "", "retreturn": "", "noout": "", "manual": "", "consume_str": "", "consume_bin": "",
			"deep/er/function.json": everySecond,
		}, "no direct child"},
		"one route twice": {map[string]string{"again/function.json": strings.ReplaceAll(routed, "%s", `, "route": "v1/{*path}", "methods": ["get"]`)}, "ingest"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := loadApp(appRoot(t, c.files), nil)
			if !errors.Is(err, ErrApp) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// What a real host ignores without a word is named here.
func TestWarnings(t *testing.T) {
	root := appRoot(t, map[string]string{
		"host.json":             hostJSON(`"enableForwardingHTTPRequest":true,"description":{"defaultExecutablePath":"bin/handler","enableProxyingHttpRequest":true},"port":1`, `,"routePrefix":""`),
		"ingest/run.go":         "package main",
		"deep/er/function.json": everySecond,
		"noout/function.json":   strings.ReplaceAll(routed, "%s", `, "authlevel": "anonymous", "path": "x"`),
	})
	a, err := loadApp(root, nil)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(a.warnings)
	want := []string{
		"customHandler.description.enableProxyingHttpRequest is ignored here: it belongs to customHandler.enableProxyingHttpRequest",
		"customHandler.port is not known: a host ignores it",
		"deep/er/function.json is not in a direct child of the app root: the host does not see it",
		"ingest/run.go: the host takes a file of this name for the function's script",
		"noout/function.json: bindings[0].path is not known: a host ignores it",
		"routePrefix is ignored here: it belongs to extensions.http.routePrefix",
	}
	if !slices.Equal(a.warnings, want) {
		t.Errorf("%s\nwant\n%s", strings.Join(a.warnings, "\n"), strings.Join(want, "\n"))
	}
	if !a.forwarding || a.proxying || a.timeout != 30*time.Minute {
		t.Errorf("forwarding %t, proxying %t, time-out %s", a.forwarding, a.proxying, a.timeout)
	}
}

// A function that cannot start leaves the others alone.
func TestFunctionsThatDoNotStart(t *testing.T) {
	w := start(t, map[string]string{
		"1st/function.json":   everySecond,
		"text/function.json":  "{",
		"two/function.json":   `{"bindings":[{"type":"httpTrigger","name":"a"},{"type":"timerTrigger","name":"b"}]}`,
		"queue/function.json": `{"bindings":[{"type":"queueTrigger","name":"a"}]}`,
		"time/function.json":  everySecond,
		"level/function.json": strings.ReplaceAll(routed, "%s", `, "authLevel": "nobody"`),
		"int/function.json":   strings.ReplaceAll(routed, "%s", `, "route": "{id:int}"`),
		"retry/function.json": `{"bindings":[{"type":"timerTrigger","name":"a","schedule":"0 0 0 1 1 *"}],"retry":{"strategy":"fixedDelay"}}`,
	}, func(o *Options) {
		o.Settings = []string{"AzureWebJobs.consume_str.Disabled=true", "HUB__fullyQualifiedNamespace="}
	})
	for _, f := range w.Functions() {
		want := map[string]string{
			"1st": "no name", "text": "function.json", "two": "2 triggers", "queue": "queueTrigger", "time": "%EVERY%", "level": "authLevel",
			"int": "regex", "retry": "maxRetryCount", "consume_bin": `connection "HUB"`,
		}[f.Name]
		if want == "" && f.Err != nil || want != "" && (f.Err == nil || !strings.Contains(f.Err.Error(), want)) {
			t.Errorf("%s: %v, want %q", f.Name, f.Err, want)
		}
		if f.Disabled != (f.Name == "consume_str") {
			t.Errorf("%s: disabled %t", f.Name, f.Disabled)
		}
	}
	if g := w.mustAsk("GET", "/v1/x", "body=others", ""); g.body != "others" {
		t.Errorf("%+v", g)
	}
}

func TestLocalSettings(t *testing.T) {
	root := t.TempDir()
	if s, err := LocalSettings(root); s != nil || err != nil {
		t.Errorf("without a file: %q, %v", s, err)
	}
	for text, want := range map[string]string{
		`{"IsEncrypted":false,"Values":{"B":"2","A":"1=1"}}`: "A=1=1 B=2", `{"IsEncrypted":true,"Values":{}}`: "encrypted", `{"Values":{"A":1}}`: "string",
	} {
		if err := os.WriteFile(filepath.Join(root, "local.settings.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := LocalSettings(root)
		if err == nil && strings.Join(s, " ") != want || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %q, %v", text, s, err)
		}
	}
}

func FuzzFunctionFile(f *testing.F) {
	f.Add([]byte(everySecond), "api")
	f.Add([]byte(retried), "")
	f.Add([]byte(strings.ReplaceAll(routed, "%s", `, "route": "{id?}/{*p:regex(^x)}", "methods": ["get", ""]`)), "a/b")
	settings := map[string]string{"EVERY": "0 0 * * * *", "HUB": "x", "HUB_NAME": "h"}
	f.Fuzz(func(t *testing.T, text []byte, prefix string) {
		fn := &function{name: "fuzzed"}
		if err := fn.read(text, prefix, settings, &app{}); err != nil || fn.disabled {
			return
		}
		if (fn.kind == "httpTrigger") != (fn.route != nil) || (fn.kind == "timerTrigger") != (fn.schedule != nil) {
			t.Errorf("a %s with route %v and schedule %v", fn.kind, fn.route, fn.schedule)
		}
	})
}
