package main

import (
	"encoding/json"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/compact"
	"sluice/consume"
	"sluice/internal/invoke"
	"sluice/internal/settings"
)

// root is the app root: what the Functions host reads.
const root = ".."

func readJSON(t *testing.T, name string, to any) {
	t.Helper()
	text, err := os.ReadFile(root + "/" + name)
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(strings.NewReader(string(text)))
	if err := d.Decode(to); err != nil {
		t.Fatal(name, ": ", err)
	}
}

type hostFile struct {
	Version         string
	FunctionTimeout string
	CustomHandler   struct {
		Description struct {
			DefaultExecutablePath, WorkingDirectory string
			Arguments                               []string
		}
		EnableProxyingHTTPRequest, EnableForwardingHTTPRequest bool
	}
	Extensions struct {
		HTTP      struct{ RoutePrefix *string }
		EventHubs struct {
			MaxEventBatchSize, MinEventBatchSize, PrefetchCount, BatchCheckpointFrequency int
			InitialOffsetOptions                                                          struct{ Type string }
		}
	}
	ExtensionBundle struct{ ID, Version string }
	Logging         struct {
		LogLevel            map[string]string
		ApplicationInsights struct {
			SamplingSettings struct{ ExcludedTypes string }
		}
	}
}

func readHost(t *testing.T) (h hostFile, timeout time.Duration) {
	t.Helper()
	readJSON(t, "host.json", &h)
	clock, err := time.Parse(time.TimeOnly, h.FunctionTimeout)
	if err != nil {
		t.Fatal("functionTimeout: ", err)
	}
	return h, clock.Sub(clock.Truncate(24 * time.Hour))
}

func TestHostJSON(t *testing.T) {
	h, _ := readHost(t)
	if h.Version != "2.0" || h.CustomHandler.Description.DefaultExecutablePath != "bin/handler" || h.CustomHandler.Description.WorkingDirectory != "" ||
		len(h.CustomHandler.Description.Arguments) > 0 {
		t.Error(h)
	}
	if !h.CustomHandler.EnableProxyingHTTPRequest || !h.CustomHandler.EnableForwardingHTTPRequest {
		t.Error("newer hosts need one switch, older ones the other")
	}
	if p := h.Extensions.HTTP.RoutePrefix; p == nil || *p != "" {
		t.Error("paths under the host must be those of the process alone")
	}
	if h.ExtensionBundle.ID != "Microsoft.Azure.Functions.ExtensionBundle" || h.ExtensionBundle.Version != "[4.*, 5.0.0)" {
		t.Error(h.ExtensionBundle)
	}
	// The log comes through the console's category, what triggers did through the
	// function's.
	for _, category := range []string{"Host.Function.Console", "Function." + compact.Name + ".User"} {
		if h.Logging.LogLevel[category] != "Information" {
			t.Errorf("%s: %q", category, h.Logging.LogLevel[category])
		}
	}
	if !strings.Contains(h.Logging.ApplicationInsights.SamplingSettings.ExcludedTypes, "Trace") {
		t.Error("lines of the log may be sampled away")
	}
}

// A call that runs into functionTimeout has the process killed, and every other
// call with it: all that a call may take ends well before, the wait for the
// store included, and what a caller waits for before the front end gives up.
func TestCallsEndBeforeTheHostsPatience(t *testing.T) {
	_, timeout := readHost(t)
	const frontEnd = 230 * time.Second
	p := patienceFor(settings.Settings{HostPort: 7071})
	for name, c := range map[string]struct{ took, most time.Duration }{
		"request": {p.opening + p.read + p.request, frontEnd},
		"export":  {p.opening + p.export, frontEnd},
		"trigger": {p.opening + p.trigger, timeout * 2 / 3},
		"compact": {compact.Deadline, timeout / 2},
	} {
		if c.took > c.most || c.took > timeout*2/3 || c.took <= 0 {
			t.Errorf("%s: may take %v, at most %v of a functionTimeout of %v would do", name, c.took, c.most, timeout)
		}
	}
	if p.trigger <= compact.Deadline {
		t.Error("a run of the compactor is cut off before its own deadline")
	}
	if alone := patienceFor(settings.Settings{}); alone.export != time.Hour {
		t.Error("exports of a process alone end after", alone.export)
	}
}

type functionFile struct {
	Disabled bool
	Bindings []struct {
		Type, Direction, Name, AuthLevel, Route, Schedule              string
		Methods                                                        []string
		RunOnStartup, UseMonitor                                       bool
		Connection, EventHubName, ConsumerGroup, Cardinality, DataType string
	}
	Retry *struct {
		Strategy                         string
		MaxRetryCount                    int
		MinimumInterval, MaximumInterval string
	}
}

// functions reads the function.json of each direct child of the app root.
func functions(t *testing.T) map[string]functionFile {
	t.Helper()
	files, err := fs.Glob(os.DirFS(root), "*/function.json")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]functionFile{}
	for _, file := range files {
		var f functionFile
		readJSON(t, file, &f)
		all[path.Dir(file)] = f
	}
	return all
}

func TestFunctions(t *testing.T) {
	all := functions(t)
	var names, methods []string
	for name, f := range all {
		names = append(names, name)
		if trigger := f.Bindings[0]; trigger.Type == "httpTrigger" {
			methods = append(methods, trigger.Methods...)
			if len(f.Bindings) != 2 || f.Bindings[1].Type != "http" || f.Bindings[1].Direction != "out" || f.Bindings[1].Name != invoke.HTTPOutput {
				t.Errorf("%s: requests come as they are only to functions of one trigger and one output: %+v", name, f)
			}
			if trigger.AuthLevel != "anonymous" || !slices.Contains(httpFunctions, name) {
				t.Errorf("%s: %+v", name, trigger)
			}
		}
	}
	slices.Sort(names)
	slices.Sort(methods)
	if !slices.Equal(names, []string{"compact", "consume", "ingest", "query"}) {
		t.Error("functions:", names)
	}
	if !slices.Equal(methods, []string{"delete", "get", "head", "options", "post", "put"}) {
		t.Error("methods, each in one function:", methods)
	}
	timer := all[compact.Name].Bindings[0]
	if timer.Type != "timerTrigger" || timer.Name != compact.Binding || timer.RunOnStartup || timer.Schedule != "0 * * * * *" {
		t.Errorf("%+v", timer)
	}
}

// The hub is the one that the process has by the same settings, the bodies come as
// they were sent, and a batch that fails is tried until it succeeds: without a retry
// its checkpoint moves all the same.
func TestConsume(t *testing.T) {
	f := functions(t)[consume.Name]
	if len(f.Bindings) != 1 {
		t.Fatalf("%+v", f)
	}
	b := f.Bindings[0]
	if b.Type != "eventHubTrigger" || b.Direction != "in" || b.Name != consume.Binding || b.Cardinality != "many" || b.DataType != "binary" {
		t.Errorf("%+v", b)
	}
	if b.Connection != "SLUICE_EVENTHUB" || b.EventHubName != "%SLUICE_EVENTHUB_NAME%" || b.ConsumerGroup != "%SLUICE_CONSUMER_GROUP%" {
		t.Errorf("%+v", b)
	}
	if f.Retry == nil || f.Retry.Strategy != "exponentialBackoff" || f.Retry.MaxRetryCount != -1 {
		t.Fatalf("%+v", f.Retry)
	}
	least, err := time.Parse(time.TimeOnly, f.Retry.MinimumInterval)
	if err != nil {
		t.Fatal(err)
	}
	most, err := time.Parse(time.TimeOnly, f.Retry.MaximumInterval)
	if err != nil {
		t.Fatal(err)
	}
	if midnight := least.Truncate(24 * time.Hour); least.Sub(midnight) < time.Second || most.Before(least) || most.Sub(midnight) > time.Minute {
		t.Errorf("%+v: often enough to be quick after an outage, and not all the time during one", f.Retry)
	}
}

// What a host holds of a partition, and a call of this process, is bounded by the
// size of a batch: an event has up to 1 MiB.
func TestBatches(t *testing.T) {
	h, _ := readHost(t)
	e := h.Extensions.EventHubs
	if e.MaxEventBatchSize < 32 || e.MaxEventBatchSize > 64 || e.MaxEventBatchSize > consume.MaxEvents || e.PrefetchCount < e.MaxEventBatchSize || e.PrefetchCount > 2*e.MaxEventBatchSize {
		t.Errorf("%+v", e)
	}
	if e.MinEventBatchSize != 1 || e.BatchCheckpointFrequency != 1 || e.InitialOffsetOptions.Type != "fromStart" {
		t.Errorf("%+v: events wait for nothing, each batch is checkpointed, and a hub is read from its begin", e)
	}
}

// takes says whether a function's route takes a path, as the host has it: decoded,
// without the first slash. Of a constraint regex(^(?!P)) it is that ^P does not
// match, whatever the case.
func takes(t *testing.T, f functionFile, p string) bool {
	t.Helper()
	route := f.Bindings[0].Route
	if route == "{*path}" {
		return true
	}
	m := regexp.MustCompile(`^\{\*path:regex\(\^\(\?!(.*)\)\)\}$`).FindStringSubmatch(route)
	if m == nil {
		t.Fatal("a route that this test cannot read: ", route)
	}
	return !regexp.MustCompile(`(?i)^` + m[1]).MatchString(strings.TrimPrefix(p, "/"))
}

func TestRoutesLeaveTheTriggersOut(t *testing.T) {
	all := functions(t)
	for p, want := range map[string]bool{
		"/api/v1/telemetry": true, "/write": true, "/compacted": true, "/api/compact": true, "/consumer": true, "/compact-1": true, "/api/v1/devices/consume/telemetry": true,
		"/compact": false, "/consume": false, "/Compact": false, "/CONSUME": false, "/compact/": false, "/consume/x": false, "/ compact": false, "/consume ": false, "/\tconsume\n": false,
	} {
		if got := takes(t, all["ingest"], p); got != want {
			t.Errorf("POST %q: %v", p, got)
		}
		if !takes(t, all["query"], p) {
			t.Errorf("GET %q does not come", p)
		}
	}
}

func TestLocalSettingsExample(t *testing.T) {
	var local struct {
		IsEncrypted bool
		Values      map[string]string
	}
	readJSON(t, "local.settings.json.example", &local)
	for name, want := range map[string]string{
		"AzureWebJobsStorage": "UseDevelopmentStorage=true", "AzureWebJobsDisableHomepage": "true", "AzureWebJobs.consume.Disabled": "true",
		"FUNCTIONS_WORKER_RUNTIME": "custom", "AZURE_FUNCTIONS_ENVIRONMENT": "Development", "SLUICE_TABLES": "UseDevelopmentStorage=true",
		"SLUICE_CONSUMER_GROUP": "$Default", // the trigger knows no default
	} {
		if local.Values[name] != want {
			t.Errorf("%s is %q", name, local.Values[name])
		}
	}
	environ := []string{"FUNCTIONS_CUSTOMHANDLER_PORT=7071"}
	for name, value := range local.Values {
		environ = append(environ, name+"="+value)
	}
	s, warnings, err := settings.Load(environ)
	if err != nil || warnings != nil || !s.OnTables() {
		t.Error(s, warnings, err)
	}
	if _, err := chooseStorage(s, nil); err != nil {
		t.Error(err)
	}
}

// What is not left out is deployed: host.json, the functions, the binary.
func TestFuncignore(t *testing.T) {
	text, err := os.ReadFile(root + "/.funcignore")
	if err != nil {
		t.Fatal(err)
	}
	// As func reads it: a pattern matches from the beginning of a path on, **
	// anything, * anything but a slash.
	var left []*regexp.Regexp
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		pattern := regexp.QuoteMeta(strings.TrimPrefix(line, "/"))
		pattern = strings.NewReplacer(`\*\*`, ".+", `\*`, "[^/]+").Replace(pattern)
		left = append(left, regexp.MustCompile("^"+pattern))
	}
	deployed := regexp.MustCompile(`^(host\.json|[a-z]+/function\.json|bin/handler)$`)
	// What lies about in a working folder and is no part of the project.
	litter := regexp.MustCompile(`^(bin/|[^/]+\.(test|prof|out)$|local\.settings\.json\.example$)`)
	err = fs.WalkDir(os.DirFS(root), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == "." {
			return err
		}
		ignored := slices.ContainsFunc(left, func(p *regexp.Regexp) bool { return p.MatchString(name) })
		switch {
		case d.IsDir() && ignored:
			return fs.SkipDir
		case d.IsDir():
		case deployed.MatchString(name) == ignored, !ignored && !deployed.MatchString(name) && !litter.MatchString(name):
			t.Errorf("%s: left out: %v", name, ignored)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
