package settings

import (
	"fmt"
	"log/slog"
	"regexp"
	"strings"
)

// Secret is a text that no way of printing shows.
type Secret string

// Format is every verb of fmt.
func (s Secret) Format(f fmt.State, _ rune) { fmt.Fprint(f, s.hidden()) }

// LogValue is what a log has.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.hidden()) }

// MarshalText is what JSON has.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.hidden()), nil }

func (s Secret) hidden() string {
	if s == "" {
		return ""
	}
	return notShown
}

// Consumer is who reads the Event Hub.
type Consumer string

// Consumers.
const (
	ByTrigger Consumer = "trigger" // the Functions host, which calls POST /consume
	BySelf    Consumer = "self"    // this process
	ByNobody  Consumer = "off"     // nobody here
)

const (
	managedIdentity = "managedidentity"
	defaultGroup    = "$Default"
)

var guid = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// HasHub says whether there is an Event Hub.
func (s *Settings) HasHub() bool { return s.EventHub != "" || s.EventHubNamespace != "" }

// completeHub fills in what other settings tell where one is not set.
func (s *Settings) completeHub() {
	if s.Consume == "" {
		s.Consume = BySelf
		if s.UnderHost() {
			s.Consume = ByTrigger
		}
	}
	if strings.EqualFold(s.ConsumerGroup, defaultGroup) {
		s.ConsumerGroup = defaultGroup // another spelling must not be another progress
	}
	if s.EventHubName == "" && isEntity(entityPath(s.EventHub), 256) {
		s.EventHubName = entityPath(s.EventHub)
	}
}

// hubContradictions are settings of the hub that are each right but not
// together.
func (s *Settings) hubContradictions(set map[string]string) (problems []string) {
	add := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	if s.EventHub != "" && s.EventHubNamespace != "" {
		add("SLUICE_EVENTHUB: takes a connection string only where SLUICE_EVENTHUB__fullyQualifiedNamespace is not set: one of the two names the hub")
	}
	if s.EventHubNamespace == "" && (s.EventHubCredential != "" || s.EventHubClientID != "") {
		add("SLUICE_EVENTHUB__fullyQualifiedNamespace: must be set where SLUICE_EVENTHUB__credential or SLUICE_EVENTHUB__clientId is: they say by which identity")
	}
	if s.EventHubClientID != "" && s.EventHubCredential == "" {
		add("SLUICE_EVENTHUB__clientId: takes effect only with SLUICE_EVENTHUB__credential=%s, as the Functions host reads it", managedIdentity)
	}
	path, named := entityPath(s.EventHub), set["SLUICE_EVENTHUB_NAME"]
	switch {
	case named != "" && !isEntity(named, 256): // told already
	case !s.HasHub() && named != "":
		add("SLUICE_EVENTHUB_NAME: takes a name only where SLUICE_EVENTHUB or SLUICE_EVENTHUB__fullyQualifiedNamespace says where that hub is")
	case s.HasHub() && s.EventHubName == "":
		add("SLUICE_EVENTHUB_NAME: must be set, as no EntityPath of a connection string names the hub")
	case path != "" && named != "" && !strings.EqualFold(path, named):
		add("SLUICE_EVENTHUB_NAME: takes the same hub as the EntityPath of SLUICE_EVENTHUB, or nothing")
	}
	if !s.HasHub() && set["SLUICE_CONSUME"] == string(BySelf) {
		add("SLUICE_CONSUME=self: takes a hub to read: set SLUICE_EVENTHUB or SLUICE_EVENTHUB__fullyQualifiedNamespace, or set it to off")
	}
	return problems
}

// hubOdd says what is right of the hub's settings, but may not be what was meant.
func (s *Settings) hubOdd(set map[string]string) (warnings []string) {
	if !s.HasHub() {
		return nil
	}
	switch {
	case s.Consume == ByNobody:
		warnings = append(warnings, "SLUICE_CONSUME=off: readings that are answered with 202 are in no answer until another process reads them from the hub")
	case s.Consume == ByTrigger && !s.UnderHost():
		warnings = append(warnings, "SLUICE_CONSUME=trigger: no Functions host started this process, so nobody calls POST /consume unless you do; self would read the hub")
	case s.Consume == BySelf && s.UnderHost():
		warnings = append(warnings, "SLUICE_CONSUME=self: the Functions host stops idle instances, and with them who reads the hub; its own function must be off (AzureWebJobs.consume.Disabled=true)")
	case s.Consume == ByTrigger:
		// function.json has %NAME%, which the host takes from its settings and
		// knows no default of.
		for _, name := range []string{"SLUICE_EVENTHUB_NAME", "SLUICE_CONSUMER_GROUP"} {
			if set[name] == "" {
				warnings = append(warnings, name+": must be an app setting for the host's trigger, which does not start without it and knows no default (here it counts as "+
					map[string]string{"SLUICE_EVENTHUB_NAME": s.EventHubName, "SLUICE_CONSUMER_GROUP": s.ConsumerGroup}[name]+")")
			}
		}
	}
	return warnings
}

// entityPath is the hub that a connection string names; "" if none.
func entityPath(connection Secret) string {
	for part := range strings.SplitSeq(string(connection), ";") {
		name, value, _ := strings.Cut(part, "=")
		if strings.EqualFold(strings.TrimSpace(name), "EntityPath") {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// isEntity says whether s is a name that Event Hubs gives, of at most so many
// bytes.
func isEntity(s string, most int) bool {
	return s != "" && len(s) <= most && isAlnum(s[0]) && isAlnum(s[len(s)-1]) && !strings.ContainsFunc(s, func(r rune) bool {
		return r > 0x7f || !isAlnum(byte(r)) && !strings.ContainsRune("._-", r)
	})
}

// isHost says whether s is a DNS name of several labels, and nothing besides.
func isHost(s string) bool {
	labels := strings.Split(s, ".")
	for _, label := range labels {
		if !isEntity(label, 63) || strings.Contains(label, "_") {
			return false
		}
	}
	return len(labels) > 1 && len(s) <= 253
}

func isAlnum(b byte) bool {
	return 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9'
}
