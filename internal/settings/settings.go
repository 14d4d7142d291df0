// Package settings reads what the process is told by its environment, and says
// of everything that is wrong what it would take.
package settings

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"
)

// Settings are those of this version: the table of docs/operations.md. Sizes
// are bytes.
type Settings struct {
	// Tables are the accounts of Azure Tables; none: the embedded store.
	Tables     Targets       `env:"SLUICE_TABLES" shown:"no" takes:"connection strings, UseDevelopmentStorage=true or https://account.table.core.windows.net, each once, with commas between them"`
	Data       string        `env:"SLUICE_DATA" envDefault:"./data" takes:"a folder that can be written"`
	Addr       string        `env:"SLUICE_ADDR" envDefault:"127.0.0.1:8080" takes:"an IP address and a port, such as 127.0.0.1:8080, or :8080 for all addresses (then access control is on)"`
	Shards     int           `env:"SLUICE_SHARDS" envDefault:"8" takes:"a whole number from 1 to 256"`
	Merge      time.Duration `env:"SLUICE_MERGE" envDefault:"30s" takes:"a duration from 100ms to 1d, such as 30s"`
	Linger     time.Duration `env:"SLUICE_LINGER" envDefault:"0" takes:"a duration from 0 to 10s, such as 100ms"`
	Lateness   time.Duration `env:"SLUICE_LATENESS" envDefault:"1h" takes:"a duration from 0 to 52w, such as 1h"`
	Retention  Age           `env:"SLUICE_RETENTION" envDefault:"90d" takes:"1d or more, such as 90d, 52w, 10y, or forever"`
	MaxBody    Size          `env:"SLUICE_MAX_BODY" envDefault:"4MiB" takes:"a size from 1KiB to 256MiB, such as 4MiB"`
	MaxDecoded Size          `env:"SLUICE_MAX_DECODED" envDefault:"16MiB" takes:"a size from 1KiB to 1GiB, such as 16MiB"`
	MaxMetrics int           `env:"SLUICE_MAX_METRICS" envDefault:"1000" takes:"a whole number from 1 to 100000"`
	// MaxInflight is a quarter of Memory if it is not set.
	MaxInflight Size `env:"SLUICE_MAX_INFLIGHT" takes:"a size from 1MiB to 1TiB, such as 256MiB"`
	// Memory is the ceiling of memory; 0 if it is not set.
	Memory Size       `env:"SLUICE_MEMORY" takes:"a size from 64MiB to 16TiB, such as 1GiB"`
	Log    slog.Level `env:"SLUICE_LOG" envDefault:"info" takes:"debug, info, warn or error"`

	// Auth is whether calls need a credential; not set, it depends on who can reach
	// the process. Keys sign tokens; Issuer and Audience are of JWTs.
	Auth     Auth   `env:"SLUICE_AUTH" takes:"on, off, or off-i-know, which is off where others can reach the service"`
	Keys     Secret `env:"SLUICE_KEYS" shown:"no" takes:"id:base64, the secrets that tokens are signed with, at least 32 bytes each, with commas between them; the first signs, all verify"`
	Issuer   string `env:"SLUICE_OIDC_ISSUER" takes:"the address of an OpenID Connect issuer as its tokens have it, such as https://login.microsoftonline.com/{tenant}/v2.0; http only on this machine"`
	Audience string `env:"SLUICE_OIDC_AUDIENCE" takes:"the audience of the issuer's tokens, such as api://sluice, without spaces"`

	// EventHub is the hub by a connection string, EventHubNamespace by the identity
	// of the process; neither: there is none. EventHubName is the connection
	// string's EntityPath if it is not set.
	EventHub           Secret `env:"SLUICE_EVENTHUB" shown:"no" takes:"the connection string of an Event Hubs namespace or hub, such as Endpoint=sb://ns.servicebus.windows.net/;SharedAccessKeyName=…;SharedAccessKey=…;EntityPath=…"`
	EventHubNamespace  string `env:"SLUICE_EVENTHUB__fullyQualifiedNamespace" shown:"no" takes:"the host name of an Event Hubs namespace, such as ns.servicebus.windows.net"`
	EventHubCredential string `env:"SLUICE_EVENTHUB__credential" shown:"no" takes:"managedidentity, or nothing: then the default chain of credentials"`
	EventHubClientID   string `env:"SLUICE_EVENTHUB__clientId" shown:"no" takes:"the client id (a GUID) of a user-assigned managed identity"`
	EventHubName       string `env:"SLUICE_EVENTHUB_NAME" shown:"no" takes:"the name of an event hub: 1 to 256 letters, digits, dots, hyphens and underscores"`
	// Consume is who reads the hub; not set, it depends on who started the process.
	Consume       Consumer `env:"SLUICE_CONSUME" takes:"trigger (the Functions host reads the Event Hub), self (this process) or off"`
	ConsumerGroup string   `env:"SLUICE_CONSUMER_GROUP" envDefault:"$Default" takes:"the name of a consumer group: $Default, or 1 to 50 letters, digits, dots, hyphens and underscores"`

	// DeviceRate is readings a second; 0: no limit.
	DeviceRate int     `env:"SLUICE_DEVICE_RATE" envDefault:"1000" takes:"a whole number of readings a second from 1 to 1000000, or 0: no limit"`
	CORS       Origins `env:"SLUICE_CORS" takes:"origins of web pages, such as https://dash.example.com, each once, with commas between them; or * for all"`
	// TLSCert and TLSKey are files; both are set or none.
	TLSCert string `env:"SLUICE_TLS_CERT" takes:"a file with a certificate and its chain, PEM"`
	TLSKey  string `env:"SLUICE_TLS_KEY" takes:"a file with the certificate's private key, PEM"`

	// HostPort is the port that the Functions host gives: set, the process runs
	// under it.
	HostPort    int    `env:"FUNCTIONS_CUSTOMHANDLER_PORT" takes:"a port from 1 to 65535"`
	Environment string `env:"AZURE_FUNCTIONS_ENVIRONMENT"`
}

// later are settings of the contract that this version has no use for yet.
// Ignoring them would be worse than not starting: whoever sets one relies on it.
// A value that says what is true today anyway is let through.
var later = []struct{ name, truth string }{
	{"SLUICE_ROLLUP_RETENTION", ""},
	{"SLUICE_LP_DEVICE", ""},
	{"SLUICE_LP_TAGS", ""},
}

// mergeOnTables is SLUICE_MERGE where each merge costs transactions.
const mergeOnTables = time.Minute

// Problems says what is wrong with the settings, a line each.
type Problems []string

func (p Problems) Error() string { return strings.Join(p, "\n") }

// Load reads the settings from an environment of "NAME=value" strings; a name
// with an empty value counts as not set. Warnings are things that are odd but
// no reason not to start. The error is Problems: all of them, not the first.
func Load(environ []string) (s Settings, warnings []string, err error) {
	set := byName(environ)
	var problems Problems
	problems = append(problems, unsupported(set)...)
	problems = append(problems, parse(&s, set)...)
	problems = append(problems, s.contradictions(set)...)
	if len(problems) > 0 {
		return Settings{}, nil, problems
	}
	return s, append(unknown(set), s.odd(set)...), nil
}

// OnTables says whether the store is Azure Tables, else it is the embedded one.
func (s *Settings) OnTables() bool { return len(s.Tables) > 0 }

// Listen is the address to listen on.
func (s *Settings) Listen() string {
	if s.HostPort != 0 {
		return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.HostPort))
	}
	return s.Addr
}

// UnderHost says whether the Functions host started the process.
func (s *Settings) UnderHost() bool { return s.HostPort != 0 }

// Limit completes what depends on the memory there is, where it is not set.
func (s *Settings) Limit(memory Size) {
	if s.Memory == 0 {
		s.Memory = memory
	}
	if s.MaxInflight == 0 {
		s.MaxInflight = s.Memory / 4
	}
}

func byName(environ []string) map[string]string {
	set := make(map[string]string, len(environ))
	for _, e := range environ {
		name, value, ok := strings.Cut(e, "=")
		if ok && value != "" {
			set[name] = value
		}
	}
	return set
}

func unsupported(set map[string]string) (problems []string) {
	for _, l := range later {
		value, ok := set[l.name]
		if !ok || l.truth != "" && value == l.truth {
			continue
		}
		line := l.name + ": this version does not support it yet; unset it"
		if l.truth != "" {
			line += " (or set it to " + l.truth + ")"
		}
		problems = append(problems, line)
	}
	return problems
}

// parse fills s and judges every setting for itself.
func parse(s *Settings, set map[string]string) (problems []string) {
	err := env.ParseWithOptions(s, env.Options{
		Environment: set,
		FuncMap: map[reflect.Type]env.ParserFunc{
			reflect.TypeFor[time.Duration](): func(v string) (any, error) { return ParseDuration(v) },
			reflect.TypeFor[Age]():           func(v string) (any, error) { return ParseAge(v) },
			reflect.TypeFor[Size]():          func(v string) (any, error) { return ParseSize(v) },
			reflect.TypeFor[Targets]():       func(v string) (any, error) { return ParseTargets(v) },
			reflect.TypeFor[Origins]():       func(v string) (any, error) { return ParseOrigins(v) },
		},
	})
	wrong := map[string]bool{}
	var all env.AggregateError
	if errors.As(err, &all) {
		for _, e := range all.Errors {
			var p env.ParseError
			if !errors.As(e, &p) {
				return []string{e.Error()} // a fault of the struct above, not of the environment
			}
			wrong[p.Name] = true
		}
	}
	if s.OnTables() && set["SLUICE_MERGE"] == "" {
		s.Merge = mergeOnTables
	}
	s.completeHub()
	s.completeAccess()
	for name, ok := range s.inRange() {
		wrong[name] = wrong[name] || !ok
	}
	if s.HostPort == 0 && set["FUNCTIONS_CUSTOMHANDLER_PORT"] != "" {
		wrong["HostPort"] = true // 0 would mean that there is no host
	}
	for field := range reflect.TypeFor[Settings]().Fields() {
		if name := field.Tag.Get("env"); wrong[field.Name] {
			value := quoted(set[name])
			if field.Tag.Get("shown") == "no" {
				value = notShown // whatever it looks like
			}
			problems = append(problems, fmt.Sprintf("%s=%s: takes %s", name, value, field.Tag.Get("takes")))
		}
	}
	return problems
}

// inRange says of each field whether its value is one that it takes.
func (s *Settings) inRange() map[string]bool {
	return map[string]bool{
		"Addr":        s.UnderHost() || isAddress(s.Addr),
		"Shards":      within(s.Shards, 1, 256),
		"Merge":       within(s.Merge, 100*time.Millisecond, 24*time.Hour),
		"Linger":      within(s.Linger, 0, 10*time.Second),
		"Lateness":    within(s.Lateness, 0, 52*week),
		"Retention":   s.Retention >= Age(day),
		"MaxBody":     within(s.MaxBody, KiB, 256*MiB),
		"MaxDecoded":  within(s.MaxDecoded, KiB, GiB),
		"MaxMetrics":  within(s.MaxMetrics, 1, 100000),
		"MaxInflight": s.MaxInflight == 0 || within(s.MaxInflight, MiB, 1024*GiB),
		"Memory":      s.Memory == 0 || within(s.Memory, 64*MiB, 16*1024*GiB),
		"HostPort":    within(s.HostPort, 0, math.MaxUint16),
		"DeviceRate":  within(s.DeviceRate, 0, 1_000_000),

		"Auth":     s.Auth == AuthOn || s.Auth == AuthOff || s.Auth == AuthOffKnown,
		"Keys":     true, // the room of access reads them
		"Issuer":   s.Issuer == "" || isIssuer(s.Issuer),
		"Audience": isAudience(s.Audience),

		"EventHub":           true, // the hub's room reads it
		"EventHubNamespace":  s.EventHubNamespace == "" || isHost(s.EventHubNamespace),
		"EventHubCredential": s.EventHubCredential == "" || s.EventHubCredential == managedIdentity,
		"EventHubClientID":   s.EventHubClientID == "" || guid.MatchString(s.EventHubClientID),
		"EventHubName":       s.EventHubName == "" || isEntity(s.EventHubName, 256),
		"Consume":            s.Consume == ByTrigger || s.Consume == BySelf || s.Consume == ByNobody,
		"ConsumerGroup":      s.ConsumerGroup == defaultGroup || isEntity(s.ConsumerGroup, 50),
	}
}

// contradictions are settings that are each right but not together.
func (s *Settings) contradictions(set map[string]string) (problems []string) {
	if s.UnderHost() && !s.development() && set["SLUICE_TABLES"] == "" {
		problems = append(problems, "SLUICE_TABLES: must be set under the Functions host, because an instance's disk is no store "+
			"(AZURE_FUNCTIONS_ENVIRONMENT=Development lets it run with the embedded store)")
	}
	if len(s.Tables) > s.Shards && within(s.Shards, 1, 256) {
		problems = append(problems, fmt.Sprintf("SLUICE_TABLES: %d accounts for SLUICE_SHARDS=%d: takes at most as many as there are shards, the others would stay empty",
			len(s.Tables), s.Shards))
	}
	if s.MaxDecoded < s.MaxBody && within(s.MaxBody, KiB, 256*MiB) && s.MaxDecoded >= KiB {
		problems = append(problems, fmt.Sprintf("SLUICE_MAX_DECODED=%s: takes at least SLUICE_MAX_BODY, which is %s", quoted(set["SLUICE_MAX_DECODED"]), s.MaxBody))
	}
	problems = append(problems, s.accessContradictions()...)
	problems = append(problems, s.webContradictions()...)
	return append(problems, s.hubContradictions(set)...)
}

// odd says what is right, but may not be what was meant.
func (s *Settings) odd(set map[string]string) (warnings []string) {
	if s.OnTables() && set["SLUICE_DATA"] != "" {
		warnings = append(warnings, "SLUICE_DATA: ignored, as SLUICE_TABLES is set and the store is there")
	}
	warnings = append(warnings, s.hubOdd(set)...)
	warnings = append(warnings, s.webOdd()...)
	return append(warnings, s.accessOdd()...)
}

func (s *Settings) development() bool { return s.Environment == "Development" }

func within[T int | time.Duration | Size](v, low, high T) bool { return low <= v && v <= high }

const notShown = "(not shown)"

// quoted shows a value in a line of its own, whatever is in it, unless it looks
// like one with a secret.
func quoted(v string) string {
	if strings.ContainsAny(v, ";?@") || strings.Contains(strings.ToLower(v), "key=") || strings.Contains(v, "sig=") {
		return notShown
	}
	if len(v) > 64 {
		return strconv.Quote(v[:64]) + "…"
	}
	return strconv.Quote(v)
}
