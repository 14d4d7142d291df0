package settings

import (
	"errors"
	"strings"
	"testing"
)

// hubSecret has the key of the tests' other secrets, so that those who look for
// it find it here, too.
const hubSecret = "Endpoint=sb://ns.servicebus.windows.net/;SharedAccessKeyName=send;SharedAccessKey=c2VjcmV0LXNlY3JldA=="

func TestHub(t *testing.T) {
	const (
		connection = "SLUICE_EVENTHUB=" + hubSecret
		withPath   = connection + "; entitypath = telemetry"
		namespace  = "SLUICE_EVENTHUB__fullyQualifiedNamespace=ns.servicebus.windows.net"
		credential = "SLUICE_EVENTHUB__credential=managedidentity"
		client     = "SLUICE_EVENTHUB__clientId=01234567-89ab-cdef-0123-456789ABCDEF"
		name       = "SLUICE_EVENTHUB_NAME=telemetry"
		host       = "FUNCTIONS_CUSTOMHANDLER_PORT=7071"
		tables     = "SLUICE_TABLES=x"
		group      = "SLUICE_CONSUMER_GROUP=$default"
		dev        = "AZURE_FUNCTIONS_ENVIRONMENT=Development"
	)
	for what, c := range map[string]struct {
		environ []string
		said    []string // how lines begin, of the warnings or the error
		wrong   bool
	}{
		"connection string":            {[]string{connection, name}, nil, false},
		"its path":                     {[]string{withPath}, nil, false},
		"both agree":                   {[]string{withPath, name}, nil, false},
		"in another case":              {[]string{withPath, "SLUICE_EVENTHUB_NAME=Telemetry"}, nil, false},
		"they do not agree":            {[]string{withPath, "SLUICE_EVENTHUB_NAME=other"}, []string{"SLUICE_EVENTHUB_NAME: takes the same hub"}, true},
		"no name":                      {[]string{connection}, []string{"SLUICE_EVENTHUB_NAME: must be set"}, true},
		"a path that is no name":       {[]string{connection + ";EntityPath=a/b"}, []string{"SLUICE_EVENTHUB_NAME: must be set"}, true},
		"identity":                     {[]string{namespace, name}, nil, false},
		"identity without name":        {[]string{namespace}, []string{"SLUICE_EVENTHUB_NAME: must be set"}, true},
		"managed identity":             {[]string{namespace, name, credential}, nil, false},
		"user-assigned":                {[]string{namespace, name, credential, client}, nil, false},
		"client without credential":    {[]string{namespace, name, client}, []string{"SLUICE_EVENTHUB__clientId: takes effect only"}, true},
		"client that is a secret":      {[]string{namespace, name, credential, "SLUICE_EVENTHUB__clientId=hunter2"}, []string{"SLUICE_EVENTHUB__clientId=(not shown): takes"}, true},
		"another credential":           {[]string{namespace, name, "SLUICE_EVENTHUB__credential=workloadidentity"}, []string{"SLUICE_EVENTHUB__credential=(not shown): takes managedidentity"}, true},
		"credential without namespace": {[]string{withPath, credential}, []string{"SLUICE_EVENTHUB__fullyQualifiedNamespace: must be set"}, true},
		"both ways":                    {[]string{withPath, namespace}, []string{"SLUICE_EVENTHUB: takes a connection string only where"}, true},
		"an address":                   {[]string{"SLUICE_EVENTHUB__fullyQualifiedNamespace=sb://ns.servicebus.windows.net/", name}, []string{"SLUICE_EVENTHUB__fullyQualifiedNamespace=(not shown): takes"}, true},
		"name without hub":             {[]string{name}, []string{"SLUICE_EVENTHUB_NAME: takes a name only where"}, true},
		"self without hub":             {[]string{"SLUICE_CONSUME=self"}, []string{"SLUICE_CONSUME=self: takes a hub"}, true},
		"trigger without hub":          {[]string{"SLUICE_CONSUME=trigger"}, nil, false},
		"off without hub":              {[]string{"SLUICE_CONSUME=off"}, nil, false},
		"off":                          {[]string{withPath, "SLUICE_CONSUME=off"}, []string{"SLUICE_CONSUME=off: readings that are answered with 202"}, false},
		"trigger alone":                {[]string{withPath, "SLUICE_CONSUME=trigger"}, []string{"SLUICE_CONSUME=trigger: no Functions host"}, false},
		"self under the host":          {[]string{withPath, "SLUICE_CONSUME=self", host, dev}, []string{"SLUICE_CONSUME=self: the Functions host stops"}, false},
		"under the host":               {[]string{withPath, name, group, host, dev}, nil, false},
		"under the host, to be filled in": {[]string{withPath, host, dev},
			[]string{"SLUICE_EVENTHUB_NAME: must be an app setting", "SLUICE_CONSUMER_GROUP: must be an app setting"}, false},
		"under the host without hub": {[]string{tables, host, dev}, nil, false},
	} {
		s, warnings, err := Load(c.environ)
		said := warnings
		var problems Problems
		if errors.As(err, &problems) {
			said = problems
		}
		if (err != nil) != c.wrong || len(said) != len(c.said) {
			t.Errorf("%s: %q", what, said)
			continue
		}
		for i, line := range said {
			if !strings.HasPrefix(line, c.said[i]) || strings.Contains(line, "c2VjcmV0") || strings.Contains(line, "hunter2") {
				t.Errorf("%s: %s", what, line)
			}
		}
		if err == nil && s.HasHub() && !strings.EqualFold(s.EventHubName, "telemetry") || err == nil && s.ConsumerGroup != "$Default" {
			t.Errorf("%s: hub %q, group %q", what, s.EventHubName, s.ConsumerGroup)
		}
	}
}

// Who reads the hub depends on who started the process.
func TestConsumer(t *testing.T) {
	for _, c := range []struct {
		environ []string
		want    Consumer
	}{
		{nil, BySelf},
		{[]string{"FUNCTIONS_CUSTOMHANDLER_PORT=7071", "SLUICE_TABLES=x", "SLUICE_KEYS=x"}, ByTrigger},
		{[]string{"FUNCTIONS_CUSTOMHANDLER_PORT=7071", "SLUICE_TABLES=x", "SLUICE_KEYS=x", "SLUICE_CONSUME=off"}, ByNobody},
		{[]string{"SLUICE_CONSUME=trigger"}, ByTrigger},
	} {
		if s, _, err := Load(c.environ); err != nil || s.Consume != c.want {
			t.Errorf("%q: %q, %v", c.environ, s.Consume, err)
		}
	}
}
