package main

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/devtools/azurite"
)

const nab = "../../shared/data/nab/machine_temperature_system_failure.csv"

// The file has 22,695 rows, of which 12 repeat a time with another value.
func TestImportOfRealData(t *testing.T) {
	t.Parallel()
	file, err := filepath.Abs(nab)
	if _, statErr := os.Stat(file); err != nil || statErr != nil {
		t.Skip("no", nab)
	}
	p := serving(t, "SLUICE_MERGE=100ms")
	in := command(t, nil, "import", "--url", p.url, "--device", "machine-temp", "--metric", "value=v", file)
	in.begin()
	if code := in.code(); code != 0 || !strings.HasPrefix(in.log.String(), "accepted 22695, rejected 0, in ") {
		t.Fatal(code, in.log, &in.stderr)
	}
	if n := count(t, p.url, "machine-temp"); n != 22683 {
		t.Error(n, "readings, not 22683")
	}
	// Of each repeated time the later row counts.
	do(t, "GET", p.url+"/api/v1/devices/machine-temp/latest", "").want(t, 200, `"ts":"2014-02-19T15:25:00Z"`, `"value":96.90386085`)
}

// fleet writes a file of readings of devices, a line each, from n on.
func fleet(t *testing.T, name string, rows, devices int) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("device;when;v;state\n")
	for i := range rows {
		fmt.Fprintf(&b, "d%d;2026-01-01 %02d:%02d:%02d.%03d;%d;\"ok; so far\"\n", i%devices, i/3600000%24, i/60000%60, i/1000%60, i%1000, i)
	}
	path := filepath.Join(t.TempDir(), name)
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w := gzip.NewWriter(f)
	if _, err := w.Write([]byte(b.String())); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// The service is killed in the middle of an import and comes back on the same
// address: the import waits and ends with every reading there once.
func TestImportOutlivesTheService(t *testing.T) {
	t.Parallel()
	const rows, devices = 40000, 4
	data := "SLUICE_DATA=" + t.TempDir()
	p := serving(t, data, "SLUICE_LINGER=20ms")
	address := "SLUICE_ADDR=" + strings.TrimPrefix(p.url, "http://")
	in := command(t, nil, "import", "--url", p.url, "--delimiter", ";", "--time-column", "when", "--metric", "v", "--metric", "state",
		"--batch", "200", fleet(t, "x.csv.gz", rows, devices))
	in.begin()
	for n := 0; n == 0; time.Sleep(5 * time.Millisecond) {
		n = count(t, p.url, "d0")
	}
	p.signal(syscall.SIGKILL)
	p.code()
	q := serving(t, data, address)
	if code := in.code(); code != 0 || !strings.HasPrefix(in.log.String(), fmt.Sprintf("accepted %d, rejected 0,", rows)) {
		t.Fatal(code, in.log, &in.stderr)
	}
	for d := range devices {
		if n := count(t, q.url, fmt.Sprintf("d%d", d)); n != rows/devices {
			t.Errorf("d%d has %d readings of %d", d, n, rows/devices)
		}
	}
}

// Stopped, the import says where it was; called again it goes on there.
func TestImportGoesOn(t *testing.T) {
	t.Parallel()
	const rows = 20000
	p := serving(t, "SLUICE_LINGER=30ms")
	state := filepath.Join(t.TempDir(), "state.json")
	args := []string{"import", "--url", p.url, "--delimiter", ";", "--time-column", "when", "--metric", "v", "--batch", "100", "--resume", state, fleet(t, "x.gz", rows, 1)}
	in := command(t, nil, args...)
	in.begin()
	// The device's batches go one after the other: with three there, two were
	// answered.
	for n := 0; n < 300; time.Sleep(5 * time.Millisecond) {
		n = count(t, p.url, "d0")
	}
	in.signal(os.Interrupt)
	if code := in.code(); code != 1 || !strings.Contains(in.stderr.String(), "the same command goes on there") {
		t.Fatal(code, in.log, &in.stderr)
	}
	var was struct{ Files map[string]struct{ Line int } }
	text, err := os.ReadFile(state)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &was); err != nil || len(was.Files) != 1 {
		t.Fatal(string(text), err)
	}
	in = command(t, nil, args...)
	in.begin()
	if code := in.code(); code != 0 {
		t.Fatal(code, in.log, &in.stderr)
	}
	var again int
	if _, err := fmt.Sscanf(in.log.String(), "accepted %d,", &again); err != nil || again >= rows {
		t.Error("began anew:", in.log)
	}
	if n := count(t, p.url, "d0"); n != rows {
		t.Error(n, "readings of", rows)
	}
}

func TestImportTellsWhatWasRejected(t *testing.T) {
	t.Parallel()
	p := serving(t)
	file := filepath.Join(t.TempDir(), "x.csv")
	text := "ts,deviceId,v\n2026-01-01T00:00:00Z,a,1\n2026-01-01T00:00:01Z,a b,2\n1999-01-01T00:00:00Z,a,3\nnever,a,4\n2026-01-01T00:00:04Z,a,NaN\n2026-01-01T00:00:05Z,a,5\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	in := command(t, nil, "import", "--url", p.url, file)
	in.begin()
	if code := in.code(); code != 1 {
		t.Error("exit code", code)
	}
	for _, want := range []string{
		"accepted 2, rejected 3,", "left out: 1 rows without a value", "left out: 1 values that are NaN",
		"x.csv, line 3: invalid_device: ", "x.csv, line 4: timestamp_too_old: ", `x.csv, line 5: time "never": takes RFC 3339`,
	} {
		if !strings.Contains(in.log.String(), want) {
			t.Errorf("no %q in:\n%s", want, in.log)
		}
	}
	if n := count(t, p.url, "a"); n != 2 {
		t.Error(n, "readings")
	}
}

// Straight into a store, what is imported is there as if a service had taken it.
func TestImportIntoTheStore(t *testing.T) {
	t.Parallel()
	for name, store := range map[string]func(t *testing.T) string{
		"embedded": func(t *testing.T) string { return "SLUICE_DATA=" + filepath.Join(t.TempDir(), "data") },
		"tables":   func(t *testing.T) string { return "SLUICE_TABLES=" + azurite.ForTest(t).Account().ConnectionString() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := store(t)
			in := command(t, []string{env, "SLUICE_RETENTION=forever"}, "import", "--store", "--delimiter", ";", "--time-column", "when", "--metric", "v", fleet(t, "x.gz", 5000, 3))
			in.begin()
			if code := in.code(); code != 0 || !strings.HasPrefix(in.log.String(), "accepted 5000, rejected 0,") {
				t.Fatal(code, in.log, &in.stderr)
			}
			p := serving(t, env)
			n := 0
			for d := range 3 {
				n += count(t, p.url, fmt.Sprint("d", d))
			}
			if n != 5000 {
				t.Error(n, "readings")
			}
			if name != "embedded" {
				return
			}
			held := command(t, []string{env}, "import", "--store", "--delimiter", ";", "--time-column", "when", "--metric", "v", fleet(t, "y.gz", 1, 1))
			held.begin()
			if code := held.code(); code != 1 || !strings.Contains(held.stderr.String(), "is held by pid") {
				t.Error("into a store that is in use:", code, &held.stderr)
			}
		})
	}
}
