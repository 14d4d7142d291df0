package apptest

import (
	"context"
	"errors"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/devtools/azurite"
	"sluice/devtools/load/service"
	"sluice/devtools/netfault"
	"sluice/store"
	"sluice/store/tables"
)

// startFault is a store that cannot be used.
type startFault struct {
	name string
	// tables is what the service is started with.
	tables string
	env    []string
	reason []string                    // parts of what the service must say
	heal   func(context.Context) error // nil: only other settings would help
}

// What only the network can tell never ends the process: it says why readings
// cannot be accepted, in /readyz and in its log, keeps the keys to itself, and
// serves as soon as the fault is gone.
func TestStartFaults(t *testing.T) {
	for _, fault := range slices.Concat(wrongCredentials(t), wrongAccounts(t), wrongRows(t), []startFault{noWay(t)}) {
		t.Run(fault.name, func(t *testing.T) { fault.test(t) })
	}
}

func (f startFault) test(t *testing.T) {
	p := start(t, storage{t.TempDir(), f.tables}, f.env...)
	if err := p.Get(t.Context(), "/healthz", nil, &struct{}{}); err != nil {
		t.Errorf("healthz: %v", err)
	}
	reason := awaitReason(t, p, f.reason)
	_, err := p.Post(t.Context(), "/api/v1/telemetry", "application/json", "", []byte(`{"deviceId":"pump-1","metrics":{"v":1}}`))
	if !service.IsStatus(err, http.StatusServiceUnavailable) {
		t.Errorf("a reading is answered with %v", err)
	}
	log := p.Log()
	for _, part := range f.reason {
		if !strings.Contains(log, part) {
			t.Errorf("the log does not say %q", part)
		}
	}
	for _, key := range keysIn(f.tables) {
		if strings.Contains(log+reason+err.Error(), key) {
			t.Errorf("a key is told")
		}
	}
	if f.heal == nil {
		return
	}
	if err := f.heal(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := p.AwaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	post(t, p.Client, []message{{DeviceID: "pump-1", TS: instant(time.Now().UnixNano()), Metrics: map[string]float64{metric: 1}}}, nil)
	if err := p.Stop(); err != nil {
		t.Error(err)
	}
}

// awaitReason waits until /readyz gives a reason that has all parts.
func awaitReason(t *testing.T, p *service.Process, parts []string) string {
	t.Helper()
	var last error
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		last = p.Ready(t.Context())
		if !service.IsStatus(last, http.StatusServiceUnavailable) {
			t.Fatalf("readyz is answered with %v", last)
		}
		if !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(last.Error(), part) }) {
			return last.Error()
		}
	}
	t.Fatalf("readyz does not say %q, but %v", parts, last)
	return ""
}

// keysIn are the keys of connection strings.
func keysIn(tables string) (keys []string) {
	for part := range strings.SplitSeq(tables, ";") {
		if key, ok := strings.CutPrefix(part, "AccountKey="); ok {
			keys = append(keys, key)
		}
	}
	return keys
}

func wrongCredentials(t *testing.T) []startFault {
	server := azurite.ForTest(t)
	account, other := server.Account(), server.Account()
	wrongKey := account
	wrongKey.Key = other.Key
	wrongName := account
	wrongName.Name, wrongName.Endpoint = "nobody", strings.Replace(account.Endpoint, account.Name, "nobody", 1)
	return []startFault{
		{name: "wrong key", tables: wrongKey.ConnectionString(), reason: []string{account.Name}},
		{name: "wrong account", tables: wrongName.ConnectionString(), reason: []string{"nobody"}},
	}
}

// list is what SLUICE_TABLES takes for several accounts.
func list(accounts ...azurite.Account) string {
	var texts []string
	for _, a := range accounts {
		texts = append(texts, a.ConnectionString())
	}
	return strings.Join(texts, ",")
}

// made makes the store of accounts, with one reading in it.
func made(t *testing.T, tables string, env ...string) {
	t.Helper()
	p := start(t, storage{t.TempDir(), tables}, env...)
	post(t, p.Client, []message{{DeviceID: "pump-1", TS: instant(time.Now().UnixNano()), Metrics: map[string]float64{metric: 1}}}, nil)
	stop(t, p)
}

func wrongAccounts(t *testing.T) []startFault {
	server := azurite.ForTest(t)
	a, b, c := server.Account(), server.Account(), server.Account()
	made(t, list(a, b))
	return []startFault{
		{name: "accounts swapped", tables: list(b, a), reason: []string{b.Name, "order"}},
		{name: "account missing", tables: list(a), reason: []string{"2 accounts", a.Name}},
		{name: "account too many", tables: list(a, b, c), reason: []string{"2 accounts", c.Name}},
		{name: "other account", tables: list(a, c), reason: []string{c.Name}},
		{name: "second account alone", tables: list(b), reason: []string{b.Name}},
		{name: "other number of shards", tables: list(a, b), env: []string{"SLUICE_SHARDS=4"}, reason: []string{"SLUICE_SHARDS=8", "4"}},
	}
}

// The names that the store gives to what others may have put there.
const (
	configTable     = "sluiceconfig"
	configPartition = "config"
	configKey       = "store"
)

func wrongRows(t *testing.T) []startFault {
	server := azurite.ForTest(t)
	newer, foreign, occupied := server.Account(), server.Account(), server.Account()
	made(t, list(newer))
	newerRows, foreignRows, occupiedRows := rowsOf(t, newer), rowsOf(t, foreign), rowsOf(t, occupied)
	setFormat := func(ctx context.Context, format int64) error {
		return newerRows.Commit(ctx, configTable, configPartition, []store.Op{{
			Kind: store.Touch, Key: configKey, IfMatch: store.AnyTag, Properties: []store.Property{{Name: "format", Value: format}},
		}})
	}
	const table = "sluiceleaves20260101"
	err := errors.Join(
		setFormat(t.Context(), 99),
		foreignRows.CreateTable(t.Context(), configTable),
		foreignRows.Commit(t.Context(), configTable, configPartition, []store.Op{{
			Kind: store.Insert, Key: configKey, Properties: []store.Property{{Name: "colour", Value: "blue"}},
		}}),
		occupiedRows.CreateTable(t.Context(), table),
	)
	if err != nil {
		t.Fatal(err)
	}
	return []startFault{
		{name: "newer format", tables: list(newer), reason: []string{"99"},
			heal: func(ctx context.Context) error { return setFormat(ctx, 1) }},
		{name: "config row of something else", tables: list(foreign), reason: []string{configTable, foreign.Name},
			heal: func(ctx context.Context) error {
				return foreignRows.Commit(ctx, configTable, configPartition, []store.Op{{Kind: store.Delete, Key: configKey, IfMatch: store.AnyTag}})
			}},
		{name: "table of something else", tables: list(occupied), reason: []string{table, occupied.Name},
			heal: func(ctx context.Context) error { return occupiedRows.DropTable(ctx, table) }},
	}
}

func rowsOf(t *testing.T, a azurite.Account) store.Rows {
	t.Helper()
	rows, err := tables.Open(a.ConnectionString(), tables.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

func noWay(t *testing.T) startFault {
	server := azurite.ForTest(t)
	way := newWay(t)
	if err := way.Set(netfault.Refuse); err != nil {
		t.Fatal(err)
	}
	account := server.Account()
	return startFault{
		name: "nobody there", tables: account.At(way.Address()).ConnectionString(), reason: []string{account.Name},
		heal: func(context.Context) error { return way.Set(netfault.Pass) },
	}
}

// What the environment alone shows to be wrong ends the process with 2.
func TestMalformedTables(t *testing.T) {
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	const secret = "c2VjcmV0c2VjcmV0"
	for name, tables := range map[string]string{
		"no word of it": "yes",
		"no key":        "AccountName=account;TableEndpoint=http://127.0.0.1:1/account;",
		"bad key":       "DefaultEndpointsProtocol=https;AccountName=account;AccountKey=" + secret + "%;EndpointSuffix=core.windows.net",
		"twice":         strings.Repeat(",DefaultEndpointsProtocol=https;AccountName=account;AccountKey="+secret+";EndpointSuffix=core.windows.net", 2)[1:],
	} {
		t.Run(name, func(t *testing.T) {
			p, err := service.Start(path, t.TempDir(), "SLUICE_TABLES="+tables)
			var exit *exec.ExitError
			if !errors.As(err, &exit) {
				_ = p.Kill()
				t.Fatalf("error %v", err)
			}
			if exit.ExitCode() != 2 || !strings.Contains(err.Error(), "SLUICE_TABLES") || strings.Contains(err.Error(), secret) {
				t.Errorf("exit code %d: %v", exit.ExitCode(), err)
			}
		})
	}
}
