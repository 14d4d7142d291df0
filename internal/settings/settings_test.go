package settings

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestDefaults(t *testing.T) {
	got, warnings, err := Load([]string{"PATH=/bin", "SLUICE_SHARDS=", "SLUICE_TABLES="})
	if err != nil || warnings != nil {
		t.Fatal(err, warnings)
	}
	want := Settings{
		Data: "./data", Addr: "127.0.0.1:8080", Shards: 8, Merge: 30 * time.Second, Lateness: time.Hour,
		Retention: Age(90 * 24 * time.Hour), MaxBody: 4 << 20, MaxDecoded: 16 << 20, MaxMetrics: 1000, Auth: AuthOff, Log: slog.LevelInfo,
		Consume: BySelf, ConsumerGroup: "$Default", DeviceRate: 1000,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	got.Limit(GiB)
	if got.Memory != GiB || got.MaxInflight != 256*MiB {
		t.Error(got.Memory, got.MaxInflight)
	}
}

func TestEverySetting(t *testing.T) {
	got, _, err := Load([]string{
		"SLUICE_DATA=/var/lib/sluice", "SLUICE_ADDR=[::1]:0", "SLUICE_SHARDS=3", "SLUICE_MERGE=1s", "SLUICE_LINGER=100ms",
		"SLUICE_LATENESS=0", "SLUICE_RETENTION=forever", "SLUICE_MAX_BODY=1KiB", "SLUICE_MAX_DECODED=2KB", "SLUICE_MAX_METRICS=7",
		"SLUICE_MAX_INFLIGHT=1MiB", "SLUICE_MEMORY=1GiB", "SLUICE_AUTH=off-i-know", "SLUICE_LOG=warn",
		"SLUICE_EVENTHUB=" + hubSecret + ";EntityPath=telemetry", "SLUICE_EVENTHUB_NAME=telemetry", "SLUICE_CONSUME=off", "SLUICE_CONSUMER_GROUP=sluice",
		"SLUICE_DEVICE_RATE=0", "SLUICE_TABLES=UseDevelopmentStorage=true, https://b.table.core.windows.net",
		"FUNCTIONS_CUSTOMHANDLER_PORT=7071", "AZURE_FUNCTIONS_ENVIRONMENT=Development",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := Settings{
		Tables: Targets{"UseDevelopmentStorage=true", "https://b.table.core.windows.net"},
		Data:   "/var/lib/sluice", Addr: "[::1]:0", Shards: 3, Merge: time.Second, Linger: 100 * time.Millisecond,
		Retention: Forever, MaxBody: 1024, MaxDecoded: 2000, MaxMetrics: 7, MaxInflight: MiB, Memory: GiB, Auth: AuthOffKnown,
		Log: slog.LevelWarn, HostPort: 7071, Environment: "Development",
		EventHub: hubSecret + ";EntityPath=telemetry", EventHubName: "telemetry", Consume: ByNobody, ConsumerGroup: "sluice",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got.Listen() != "127.0.0.1:7071" {
		t.Error(got.Listen())
	}
	got.Limit(8 * GiB)
	if got.Memory != GiB || got.MaxInflight != MiB {
		t.Error("what is set was overwritten:", got.Memory, got.MaxInflight)
	}
}

// Every wrong value stops the start, alone, with a line that names it.
func TestWrong(t *testing.T) {
	for _, e := range []string{
		"SLUICE_ADDR=8080", "SLUICE_ADDR=example.com:80", "SLUICE_ADDR=127.0.0.1", "SLUICE_ADDR=127.0.0.1:65536", "SLUICE_ADDR=127.0.0.1:-1", "SLUICE_ADDR=127.0.0.1:http",
		"SLUICE_SHARDS=0", "SLUICE_SHARDS=257", "SLUICE_SHARDS=eight", "SLUICE_SHARDS=8.5",
		"SLUICE_MERGE=0", "SLUICE_MERGE=30", "SLUICE_MERGE=-1s", "SLUICE_MERGE=25h",
		"SLUICE_LINGER=11s", "SLUICE_LATENESS=53w", "SLUICE_RETENTION=12h", "SLUICE_RETENTION=for ever", "SLUICE_RETENTION=300y",
		"SLUICE_MAX_BODY=4 MiB", "SLUICE_MAX_BODY=0", "SLUICE_MAX_BODY=1GiB", "SLUICE_MAX_DECODED=1MiB", "SLUICE_MAX_DECODED=lots",
		"SLUICE_MAX_METRICS=0", "SLUICE_MAX_INFLIGHT=1", "SLUICE_MEMORY=1MiB", "SLUICE_AUTH=yes", "SLUICE_AUTH=On", "SLUICE_LOG=loud",
		"SLUICE_TABLES=,", "SLUICE_TABLES=a,", "SLUICE_TABLES= ", "SLUICE_TABLES=a, b,a", "SLUICE_EVENTHUB=x",
		"SLUICE_EVENTHUB_NAME=telemetry", "SLUICE_EVENTHUB_NAME=a/b", "SLUICE_EVENTHUB_NAME=-", "SLUICE_CONSUME=self", "SLUICE_CONSUME=on", "SLUICE_CONSUME=Trigger",
		"SLUICE_CONSUMER_GROUP=a b", "SLUICE_CONSUMER_GROUP=$default2", "SLUICE_CONSUMER_GROUP=" + strings.Repeat("g", 51), "SLUICE_CONSUMER_GROUP=größe",
		"SLUICE_TLS_CERT=x", "SLUICE_ROLLUP_RETENTION=5y", "SLUICE_LP_TAGS=site",
	} {
		name, _, _ := strings.Cut(e, "=")
		var problems Problems
		_, _, err := Load([]string{e})
		if !errors.As(err, &problems) || len(problems) != 1 || !strings.HasPrefix(problems[0], name) {
			t.Errorf("%s: %q", e, problems)
		}
	}
}

func TestAllProblemsAtOnce(t *testing.T) {
	_, _, err := Load([]string{"SLUICE_SHARDS=none", "SLUICE_MERGE=never", "SLUICE_KEYS=secret-secret", "SLUICE_ADDR=:80\nFORGED=1"})
	var problems Problems
	if !errors.As(err, &problems) || len(problems) != 3 {
		t.Fatalf("%q", problems)
	}
	if strings.Contains(err.Error(), "secret-secret") || strings.Contains(err.Error(), "\nFORGED") {
		t.Error(err)
	}
	if want := `SLUICE_SHARDS="none": takes a whole number from 1 to 256`; !strings.Contains(err.Error(), want) {
		t.Errorf("%v\nlacks %s", err, want)
	}
}

func TestUnderHost(t *testing.T) {
	_, _, err := Load([]string{"FUNCTIONS_CUSTOMHANDLER_PORT=7071"})
	if err == nil || !strings.Contains(err.Error(), "SLUICE_TABLES") {
		t.Error(err)
	}
	if _, _, err = Load([]string{"FUNCTIONS_CUSTOMHANDLER_PORT=70710", "AZURE_FUNCTIONS_ENVIRONMENT=Development"}); err == nil {
		t.Error("took a port over 65535")
	}
	if _, _, err = Load([]string{"FUNCTIONS_CUSTOMHANDLER_PORT=0"}); err == nil || !strings.Contains(err.Error(), "FUNCTIONS_CUSTOMHANDLER_PORT") {
		t.Errorf("port 0 was taken for no host at all: %v", err)
	}
}

// What holds a key is in no message, wherever it was put.
func TestSecretsAreNotShown(t *testing.T) {
	const secret = "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=c2VjcmV0LXNlY3JldA==;EndpointSuffix=core.windows.net"
	for _, name := range []string{"SLUICE_TABLES", "SLUICE_DATA", "SLUICE_ADDR", "SLUICE_MERGE", "SLUICE_SHARDS", "SLUICE_TABLE", "SLUICE_AUTH", "SLUICE_KEYS", "SLUICE_OIDC_ISSUER", "SLUICE_OIDC_AUDIENCE", "SLUICE_EVENTHUB", "SLUICE_EVENTHUB_NAME", "SLUICE_EVENTHUB__fullyQualifiedNamespace", "SLUICE_EVENTHUB__credential", "SLUICE_EVENTHUB__clientId", "SLUICE_CONSUME", "SLUICE_CONSUMER_GROUP", "FUNCTIONS_CUSTOMHANDLER_PORT"} {
		s, warnings, err := Load([]string{name + "=" + secret + "," + secret})
		if text := fmt.Sprint(warnings, err); strings.Contains(text, "c2VjcmV0") || strings.Contains(text, "AccountName") {
			t.Error(name, text)
		}
		if name != "SLUICE_DATA" && name != "SLUICE_TABLE" && name != "SLUICE_KEYS" && err == nil {
			t.Error(name, "was taken:", s)
		}
	}
	if _, _, err := Load([]string{"SLUICE_TABLES=c2VjcmV0LXNlY3JldA==,"}); err == nil || strings.Contains(err.Error(), "c2VjcmV0") {
		t.Error("a key alone:", err)
	}
	s, _, err := Load([]string{"SLUICE_TABLES=" + secret, "SLUICE_EVENTHUB=" + hubSecret + ";EntityPath=x"})
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "settings", s, "tables", s.Tables, "hub", s.EventHub, "pointer", &s)
	for _, shown := range []string{fmt.Sprint(s), fmt.Sprintf("%+v %#v %q %s %x", s, s, s.Tables, s.Tables, s.EventHub), string(text), log.String()} {
		if strings.Contains(shown, "c2VjcmV0") || strings.Contains(shown, "AccountName") {
			t.Error(shown)
		}
	}
}

func TestOnTables(t *testing.T) {
	for env, want := range map[string]time.Duration{"": time.Minute, "SLUICE_MERGE=30s": 30 * time.Second} {
		if s, _, err := Load([]string{"SLUICE_TABLES=x", env}); err != nil || s.Merge != want || !s.OnTables() {
			t.Error(s.Merge, err)
		}
	}
	_, warnings, err := Load([]string{"SLUICE_TABLES=x", "SLUICE_DATA=/x", "FUNCTIONS_CUSTOMHANDLER_PORT=7071", "SLUICE_KEYS=x"})
	if err != nil || len(warnings) != 1 || !strings.HasPrefix(warnings[0], "SLUICE_DATA: ignored") {
		t.Errorf("%q, %v", warnings, err)
	}
	if _, warnings, err = Load([]string{"SLUICE_TABLES=x", "FUNCTIONS_CUSTOMHANDLER_PORT=7071", "AZURE_FUNCTIONS_ENVIRONMENT=Development"}); err != nil || warnings != nil {
		t.Errorf("%q, %v", warnings, err)
	}
}

func TestMoreAccountsThanShards(t *testing.T) {
	if _, _, err := Load([]string{"SLUICE_TABLES=a,b", "SLUICE_SHARDS=2"}); err != nil {
		t.Error(err)
	}
	_, _, err := Load([]string{"SLUICE_TABLES=a,b,c", "SLUICE_SHARDS=2"})
	if err == nil || !strings.HasPrefix(err.Error(), "SLUICE_TABLES: 3 accounts for SLUICE_SHARDS=2: ") {
		t.Error(err)
	}
}

func TestUnknownNamesTheNearest(t *testing.T) {
	_, warnings, err := Load([]string{"SLUICE_RETENTON=7d", "SLUICE_TABLE=x", "SLUCE_DATA=x", "SLUICE_EVENTHUB_CONNECTION=x", "SLUICE_EVENTHUB_NAMES=x"})
	want := []string{
		"SLUICE_EVENTHUB_CONNECTION: unknown setting, ignored; did you mean SLUICE_EVENTHUB?",
		"SLUICE_EVENTHUB_NAMES: unknown setting, ignored; did you mean SLUICE_EVENTHUB_NAME?",
		"SLUICE_RETENTON: unknown setting, ignored; did you mean SLUICE_RETENTION?",
		"SLUICE_TABLE: unknown setting, ignored; did you mean SLUICE_TABLES?",
	}
	if diff := cmp.Diff(want, warnings); err != nil || diff != "" {
		t.Error(err, diff)
	}
}

func TestParseDuration(t *testing.T) {
	for s, want := range map[string]time.Duration{
		"0": 0, "0s": 0, "1ns": 1, "2us": 2000, "2µs": 2000, "3ms": 3e6, "90s": 90e9, "1h30m": 90 * time.Minute,
		"90d": 90 * day, "52w": 364 * day, "10y": 3650 * day, "1d1s": day + time.Second,
	} {
		if got, err := ParseDuration(s); err != nil || got != want {
			t.Errorf("%q: %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "1", "s", "-1s", "1.5h", "1 s", "1mo", "293y", "9999999999999999999s", "292y1y", "forever", "1h30", "١s"} {
		if got, err := ParseDuration(s); err == nil {
			t.Errorf("%q: %v", s, got)
		}
	}
}

func TestParseSize(t *testing.T) {
	for s, want := range map[string]Size{"0": 0, "1": 1, "12B": 12, "4MiB": 4 << 20, "4MB": 4e6, "1TiB": 1 << 40, "512KiB": 512 << 10} {
		if got, err := ParseSize(s); err != nil || got != want {
			t.Errorf("%q: %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "MiB", "-1", "1.5GiB", "4 MiB", "4mib", "4M", "9223372036854775808", "9007199254740992KiB"} {
		if got, err := ParseSize(s); err == nil {
			t.Errorf("%q: %v", s, got)
		}
	}
}

func TestMemory(t *testing.T) {
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	meminfo := file("MemTotal:       16384000 kB\nMemFree: 1 kB\n")
	for name, c := range map[string]struct {
		root fstest.MapFS
		want Size
	}{
		"nothing known":    {fstest.MapFS{}, GiB},
		"machine":          {fstest.MapFS{"proc/meminfo": meminfo}, 16384000 * KiB},
		"container":        {fstest.MapFS{"proc/meminfo": meminfo, "sys/fs/cgroup/memory.max": file("536870912\n")}, 512 * MiB},
		"no limit":         {fstest.MapFS{"proc/meminfo": meminfo, "sys/fs/cgroup/memory.max": file("max\n")}, 16384000 * KiB},
		"version 1":        {fstest.MapFS{"proc/meminfo": meminfo, "sys/fs/cgroup/memory/memory.limit_in_bytes": file("268435456\n")}, 256 * MiB},
		"version 1, none":  {fstest.MapFS{"proc/meminfo": meminfo, "sys/fs/cgroup/memory/memory.limit_in_bytes": file("9223372036854771712\n")}, 16384000 * KiB},
		"a parent's limit": {fstest.MapFS{"proc/meminfo": meminfo, "proc/self/cgroup": file("0::/system.slice/sluice.service\n"), "sys/fs/cgroup/system.slice/memory.max": file("1073741824"), "sys/fs/cgroup/system.slice/sluice.service/memory.max": file("max")}, GiB},
		"version 1, nested": {fstest.MapFS{"proc/meminfo": meminfo, "proc/self/cgroup": file("4:memory:/a\n3:cpu:/b\n"), "sys/fs/cgroup/memory/a/memory.limit_in_bytes": file("104857600"),
			"sys/fs/cgroup/b/memory.max": file("1")}, 100 * MiB},
	} {
		if got := Memory(c.root); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// FuzzSettings holds that no value of any setting does more than be refused,
// and that sizes read back as they are written.
func FuzzSettings(f *testing.F) {
	for _, seed := range []string{"", "0", "90d", "52w", "10y", "forever", "1h30m", "4MiB", "4MB", "127.0.0.1:8080", "[::1]:0", "-1", "9223372036854775807ns", "1.5h", "µs", "\xff", "a\nb"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if d, err := ParseDuration(s); err == nil && d < 0 {
			t.Errorf("duration %q: %v", s, d)
		}
		if a, err := ParseAge(s); err == nil && a < 0 {
			t.Errorf("age %q: %v", s, a)
		}
		if size, err := ParseSize(s); err == nil {
			if back, err := ParseSize(size.String()); size < 0 || err != nil || back != size {
				t.Errorf("size %q: %d, written as %s", s, size, size)
			}
		}
		for _, name := range names() {
			_, _, err := Load([]string{name + "=" + s})
			var problems Problems
			if err != nil && !errors.As(err, &problems) {
				t.Errorf("%s=%q: %v", name, s, err)
			}
			for _, p := range problems {
				if strings.ContainsAny(p, "\n\r") {
					t.Errorf("%s=%q: more than a line: %q", name, s, p)
				}
			}
		}
	})
}

// The table of docs/operations.md has every setting, with its default.
func TestDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	for field := range reflect.TypeFor[Settings]().Fields() {
		name, value := field.Tag.Get("env"), field.Tag.Get("envDefault")
		if !strings.HasPrefix(name, prefix) {
			continue
		}
		row := regexp.MustCompile("(?m)^\\| `" + name + "` \\|.*\\| (.*) \\|$").FindStringSubmatch(string(text))
		if row == nil || value != "" && !strings.Contains(row[1], "`"+value+"`") {
			t.Errorf("%s, default %q: the table has %q", name, value, row)
		}
	}
}
