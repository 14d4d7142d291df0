package host

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"
)

// ErrApp says that a real host would not run this app root, or not as its
// files seem to say.
var ErrApp = errors.New("app root")

// app is an app root as the host understands it.
type app struct {
	root       string
	executable string
	arguments  []string
	directory  string // where the executable starts
	proxying   bool
	forwarding bool
	timeout    time.Duration // of an invocation; 0: none
	batch      int           // most events of an Event Hub trigger's call
	prefetch   int           // events of a partition that are fetched ahead
	functions  []*function   // by name
	http       []*function   // in the order in which they are tried
	warnings   []string
}

// function is a folder with a function.json.
type function struct {
	name     string
	kind     string // of the trigger: httpTrigger, timerTrigger, eventHubTrigger
	binding  binding
	disabled bool
	err      error // why it did not start; the others do

	route   *route          // httpTrigger
	methods map[string]bool // nil: all
	raw     bool            // exactly httpTrigger and http: proxied or forwarded
	output  string          // name of the http output

	schedule *schedule // timerTrigger

	retry *retryPolicy
}

// hostFile is host.json, as far as it is understood here.
type hostFile struct {
	Version         string
	FunctionTimeout string
	CustomHandler   *struct {
		Description *struct {
			DefaultExecutablePath string
			DefaultWorkerPath     string
			Arguments             []string
			WorkerArguments       []string
			WorkingDirectory      string
		}
		EnableForwardingHTTPRequest bool `json:"enableForwardingHttpRequest"`
		EnableProxyingHTTPRequest   bool `json:"enableProxyingHttpRequest"`
	}
	Extensions struct {
		HTTP      struct{ RoutePrefix *string }
		EventHubs eventHubsFile
	}
}

// functionFile is function.json.
type functionFile struct {
	Bindings []binding
	Disabled json.RawMessage
	Retry    *retryFile
}

type binding struct {
	Name, Type, Direction string
	AuthLevel             string
	Methods               []string
	Route                 *string
	Schedule              string
	RunOnStartup          bool
	EventHubName          string
	Connection            string
	ConsumerGroup         string
	Cardinality, DataType string
}

type retryFile struct {
	Strategy                                        string
	MaxRetryCount                                   *int
	DelayInterval, MinimumInterval, MaximumInterval string
}

// retryPolicy says how a failed trigger is tried again.
type retryPolicy struct {
	most     int // -1: without end
	min, max time.Duration
	doubling bool
}

func (p *retryPolicy) delay(retry int) time.Duration {
	if !p.doubling {
		return p.min
	}
	return min(p.max, p.min<<min(retry, 30))
}

// loadApp reads an app root. settings are the app's, by name.
func loadApp(root string, settings map[string]string) (*app, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, fmt.Errorf("%w %s: %w", ErrApp, root, err)
	}
	a := &app{root: root}
	file, err := a.readHostFile()
	if err != nil {
		return nil, fmt.Errorf("%w %s: host.json: %w", ErrApp, root, err)
	}
	if err := a.readHandler(file); err != nil {
		return nil, fmt.Errorf("%w %s: host.json: %w", ErrApp, root, err)
	}
	prefix := "api"
	if p := file.Extensions.HTTP.RoutePrefix; p != nil {
		prefix = strings.Trim(*p, "/")
	}
	if err := a.readFunctions(prefix, settings); err != nil {
		return nil, fmt.Errorf("%w %s: %w", ErrApp, root, err)
	}
	return a, nil
}

func (a *app) readHostFile() (*hostFile, error) {
	text, err := os.ReadFile(filepath.Join(a.root, "host.json"))
	if err != nil {
		return nil, err
	}
	var file hostFile
	if err := json.Unmarshal(bytes.TrimPrefix(text, []byte("\xEF\xBB\xBF")), &file); err != nil {
		return nil, err
	}
	if file.Version != "2.0" {
		return nil, fmt.Errorf("version %q: \"2.0\" would be right", file.Version)
	}
	if file.CustomHandler == nil || file.CustomHandler.Description == nil {
		return nil, errors.New("no customHandler.description: the host would not know what to start")
	}
	warnings, err := hostKeys.check(text)
	a.warnings = append(a.warnings, warnings...)
	if err != nil {
		return nil, err
	}
	if err := file.Extensions.EventHubs.check(); err != nil {
		return nil, err
	}
	a.batch, a.prefetch = defaultBatch, defaultPrefetch
	if n := file.Extensions.EventHubs.MaxEventBatchSize; n != nil {
		a.batch = *n
	}
	if n := file.Extensions.EventHubs.PrefetchCount; n != nil {
		a.prefetch = *n
	}
	return &file, a.readTimeout(file.FunctionTimeout)
}

// defaultTimeout is that of all plans but the old Consumption plan.
const defaultTimeout = 30 * time.Minute

func (a *app) readTimeout(text string) (err error) {
	switch text {
	case "":
		a.timeout = defaultTimeout
	case "-1":
		a.timeout = 0
	default:
		if a.timeout, err = parseTimeSpan(text); err != nil {
			return fmt.Errorf("functionTimeout: %w", err)
		}
		if a.timeout < time.Second {
			return fmt.Errorf("functionTimeout %s: 00:00:01 is the least", text)
		}
	}
	return nil
}

// readHandler finds what is to be started, which must be there: a real host
// would start, say that it runs, and answer nothing.
func (a *app) readHandler(file *hostFile) error {
	description := file.CustomHandler.Description
	a.proxying, a.forwarding = file.CustomHandler.EnableProxyingHTTPRequest, file.CustomHandler.EnableForwardingHTTPRequest
	if description.DefaultExecutablePath == "" {
		return errors.New("customHandler.description.defaultExecutablePath is missing")
	}
	a.executable = description.DefaultExecutablePath
	if !filepath.IsAbs(a.executable) {
		a.executable = filepath.Join(a.root, a.executable)
	}
	if err := checkExecutable(a.executable); err != nil {
		return fmt.Errorf("customHandler.description.defaultExecutablePath %q: %w", description.DefaultExecutablePath, err)
	}
	a.directory = description.WorkingDirectory
	if !filepath.IsAbs(a.directory) {
		a.directory = filepath.Join(a.root, a.directory)
	}
	a.arguments = slices.Clone(description.Arguments)
	if description.DefaultWorkerPath != "" {
		a.arguments = append(a.arguments, description.DefaultWorkerPath)
	}
	a.arguments = append(a.arguments, description.WorkerArguments...)
	return nil
}

func checkExecutable(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && runtime.GOOS == "windows":
		return checkExecutable(path + ".exe")
	case err != nil:
		return err
	case info.IsDir():
		return errors.New("is a folder: build to a path of its own, such as bin/handler")
	case runtime.GOOS != "windows" && info.Mode()&0o111 == 0:
		return errors.New("is not executable")
	}
	return nil
}

// functionName is what a folder must be called to be a function.
var functionName = regexp.MustCompile(`(?i)^[a-z][a-z0-9_-]{0,127}$`)

// readFunctions reads the function.json of every direct child of the root.
func (a *app) readFunctions(prefix string, settings map[string]string) error {
	children, err := os.ReadDir(a.root)
	if err != nil {
		return err
	}
	for _, child := range children {
		if !child.IsDir() || strings.HasPrefix(child.Name(), ".") || child.Name() == "node_modules" {
			continue
		}
		folder := filepath.Join(a.root, child.Name())
		text, err := os.ReadFile(filepath.Join(folder, "function.json"))
		if errors.Is(err, fs.ErrNotExist) {
			a.warnDeeper(folder)
			continue
		}
		f := &function{name: child.Name()}
		if err == nil {
			err = f.read(text, prefix, settings, a)
		}
		f.err = err
		a.functions = append(a.functions, f)
		a.warnScripts(folder, child.Name())
	}
	if len(a.functions) == 0 {
		return errors.New("no direct child has a function.json: the host would have no functions")
	}
	return a.checkRoutes()
}

// warnDeeper looks for functions where no host would find them.
func (a *app) warnDeeper(folder string) {
	grandchildren, _ := os.ReadDir(folder)
	for _, g := range grandchildren {
		path := filepath.Join(folder, g.Name(), "function.json")
		if _, err := os.Stat(path); err == nil {
			a.warn("%s is not in a direct child of the app root: the host does not see it", relative(a.root, path))
		}
	}
}

// warnScripts looks for what a host would take for a function's script.
func (a *app) warnScripts(folder, name string) {
	files, _ := os.ReadDir(folder)
	for _, f := range files {
		if strings.HasPrefix(strings.ToLower(f.Name()), "run.") {
			a.warn("%s/%s: the host takes a file of this name for the function's script", name, f.Name())
		}
	}
}

func (a *app) warn(format string, arguments ...any) {
	a.warnings = append(a.warnings, fmt.Sprintf(format, arguments...))
}

func relative(root, path string) string {
	if r, err := filepath.Rel(root, path); err == nil {
		return filepath.ToSlash(r)
	}
	return path
}

// checkRoutes sorts the HTTP functions and says where two claim the same.
func (a *app) checkRoutes() error {
	for _, f := range a.functions {
		if f.kind == "httpTrigger" && f.err == nil && !f.disabled {
			a.http = append(a.http, f)
		}
	}
	byPrecedence(a.http)
	for i, f := range a.http {
		for _, g := range a.http[:i] {
			if strings.EqualFold(f.route.template, g.route.template) && f.sharesMethod(g) {
				return fmt.Errorf("functions %s and %s answer to the same methods of route %q", g.name, f.name, f.route.template)
			}
		}
	}
	return nil
}

func (f *function) sharesMethod(g *function) bool {
	if f.methods == nil || g.methods == nil {
		return true
	}
	for m := range f.methods {
		if g.methods[m] {
			return true
		}
	}
	return false
}

// read makes a function of its file. An error keeps this function from being
// started, no other.
func (f *function) read(text []byte, prefix string, settings map[string]string, a *app) error {
	if !functionName.MatchString(f.name) || strings.EqualFold(f.name, "host") {
		return fmt.Errorf("%q is no name of a function", f.name)
	}
	var file functionFile
	if err := json.Unmarshal(bytes.TrimPrefix(text, []byte("\xEF\xBB\xBF")), &file); err != nil {
		return fmt.Errorf("function.json: %w", err)
	}
	warnings, err := functionKeys.check(text)
	for _, w := range warnings {
		a.warn("%s/function.json: %s", f.name, w)
	}
	if err != nil {
		return fmt.Errorf("function.json: %w", err)
	}
	f.disabled = isDisabled(f.name, file.Disabled, settings)
	if err := f.readTrigger(file.Bindings); err != nil {
		return err
	}
	if err := f.readRetry(file.Retry); err != nil {
		return err
	}
	if f.disabled {
		return nil
	}
	return f.start(prefix, settings)
}

func (f *function) readTrigger(bindings []binding) error {
	triggers := 0
	inputs, outputs := 0, 0
	for _, b := range bindings {
		if strings.EqualFold(b.Direction, "out") {
			outputs++
			if strings.EqualFold(b.Type, "http") {
				f.output = b.Name
			}
			continue
		}
		inputs++
		if strings.HasSuffix(strings.ToLower(b.Type), "trigger") {
			triggers++
			f.binding = b
		}
	}
	if triggers != 1 {
		return fmt.Errorf("%d triggers: one would be right", triggers)
	}
	if f.binding.Name == "" {
		return errors.New("the trigger's binding has no name")
	}
	for _, kind := range []string{"httpTrigger", "timerTrigger", "eventHubTrigger"} {
		if strings.EqualFold(f.binding.Type, kind) {
			f.kind = kind
		}
	}
	f.raw = f.kind == "httpTrigger" && inputs == 1 && outputs == 1 && f.output != ""
	return nil
}

// start reads what belongs to the kind of trigger.
func (f *function) start(prefix string, settings map[string]string) (err error) {
	switch f.kind {
	case "httpTrigger":
		return f.startHTTP(prefix)
	case "timerTrigger":
		expression, err := resolve(f.binding.Schedule, settings)
		if err != nil {
			return fmt.Errorf("schedule: %w", err)
		}
		f.schedule, err = parseSchedule(expression)
		return err
	case "eventHubTrigger":
		return f.startEventHub(settings)
	}
	return fmt.Errorf("trigger %q: this stand-in has httpTrigger, timerTrigger and eventHubTrigger", f.binding.Type)
}

func (f *function) startHTTP(prefix string) (err error) {
	template := f.name
	if f.binding.Route != nil && *f.binding.Route != "" {
		template = strings.TrimPrefix(*f.binding.Route, "/")
	}
	if prefix != "" {
		template = prefix + "/" + template
	}
	for _, m := range f.binding.Methods {
		if f.methods == nil {
			f.methods = map[string]bool{}
		}
		f.methods[strings.ToUpper(m)] = true
	}
	switch strings.ToLower(f.binding.AuthLevel) {
	case "", "anonymous", "function", "admin":
	default:
		return fmt.Errorf("authLevel %q: anonymous, function or admin would be right", f.binding.AuthLevel)
	}
	f.route, err = parseRoute(template)
	return err
}

// startEventHub looks for the settings without which the trigger would not
// start: a connection string, or a namespace for an identity.
func (f *function) startEventHub(settings map[string]string) error {
	for _, text := range []string{f.binding.EventHubName, f.binding.ConsumerGroup} {
		if _, err := resolve(text, settings); err != nil {
			return err
		}
	}
	c := f.binding.Connection
	if settings[c] == "" && settings[c+"__fullyQualifiedNamespace"] == "" {
		return fmt.Errorf("connection %q: no setting of that name and no %s__fullyQualifiedNamespace", c, c)
	}
	return nil
}

func (f *function) readRetry(file *retryFile) (err error) {
	if file == nil {
		return nil
	}
	if file.MaxRetryCount == nil || *file.MaxRetryCount < -1 {
		return errors.New("retry.maxRetryCount: -1 (without end) or a number would be right")
	}
	p := &retryPolicy{most: *file.MaxRetryCount}
	switch strings.ToLower(file.Strategy) {
	case "fixeddelay":
		p.min, err = parseTimeSpan(file.DelayInterval)
	case "exponentialbackoff":
		p.doubling = true
		p.min, err = parseTimeSpan(file.MinimumInterval)
		if err == nil {
			p.max, err = parseTimeSpan(file.MaximumInterval)
		}
	default:
		return fmt.Errorf("retry.strategy %q: fixedDelay or exponentialBackoff would be right", file.Strategy)
	}
	if err != nil {
		return fmt.Errorf("retry: %w", err)
	}
	f.retry = p
	return nil
}

// isDisabled looks at function.json and at the app's settings.
func isDisabled(name string, file json.RawMessage, settings map[string]string) bool {
	var flag bool
	var setting string
	if json.Unmarshal(file, &flag) == nil && flag {
		return true
	}
	if json.Unmarshal(file, &setting) == nil && isTrue(settings[setting]) {
		return true
	}
	return isTrue(settings["AzureWebJobs."+name+".Disabled"]) || isTrue(settings["AzureWebJobs_"+name+"_Disabled"])
}

func isTrue(text string) bool { return text == "1" || strings.EqualFold(text, "true") }

var placeholder = regexp.MustCompile(`%([^%]+)%`)

// resolve puts app settings in the place of %NAME%.
func resolve(text string, settings map[string]string) (string, error) {
	var missing error
	out := placeholder.ReplaceAllStringFunc(text, func(found string) string {
		name := strings.Trim(found, "%")
		value, ok := settings[name]
		if !ok {
			missing = fmt.Errorf("%s: no setting of that name", found)
		}
		return value
	})
	return out, missing
}
