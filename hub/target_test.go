package hub

import (
	"errors"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
)

const (
	secret     = "c2VjcmV0LXNlY3JldA=="
	connection = "Endpoint=sb://ns.servicebus.windows.net/;SharedAccessKeyName=all;SharedAccessKey=" + secret
)

func TestTarget(t *testing.T) {
	for name, c := range map[string]struct {
		cfg             Config
		namespace, name string
	}{
		"with a path":     {Config{Connection: connection + ";EntityPath=telemetry"}, "ns.servicebus.windows.net", "telemetry"},
		"both names":      {Config{Connection: connection + ";EntityPath=telemetry;", Name: "Telemetry"}, "ns.servicebus.windows.net", "Telemetry"},
		"name beside":     {Config{Connection: connection, Name: "telemetry"}, "ns.servicebus.windows.net", "telemetry"},
		"spaces, case":    {Config{Connection: " endpoint = sb://ns.servicebus.windows.net ; sharedaccesskeyname=a;SHAREDACCESSKEY=" + secret, Name: "t"}, "ns.servicebus.windows.net", "t"},
		"a signature":     {Config{Connection: "Endpoint=sb://ns.servicebus.windows.net;SharedAccessSignature=SharedAccessSignature sr=x&sig=y&se=1&skn=z", Name: "t"}, "ns.servicebus.windows.net", "t"},
		"an emulator":     {Config{Connection: "Endpoint=sb://localhost:5672;SharedAccessKeyName=a;SharedAccessKey=b;UseDevelopmentEmulator=true;EntityPath=t"}, "localhost:5672", "t"},
		"one by its name": {Config{Connection: "Endpoint=sb://eventhubs-emulator;SharedAccessKeyName=a;SharedAccessKey=b;UseDevelopmentEmulator=true;EntityPath=t"}, "eventhubs-emulator", "t"},
		"one by address":  {Config{Connection: "Endpoint=sb://127.0.0.1:5672;SharedAccessKeyName=a;SharedAccessKey=b;UseDevelopmentEmulator=true;EntityPath=t"}, "127.0.0.1:5672", "t"},
		"one by IPv6":     {Config{Connection: "Endpoint=sb://[::1]:5672;SharedAccessKeyName=a;SharedAccessKey=b;UseDevelopmentEmulator=true;EntityPath=t"}, "[::1]:5672", "t"},
		"by identity":     {Config{Namespace: "ns.servicebus.windows.net", Name: "t", Credential: "managedidentity", ClientID: "01234567-89ab-cdef-0123-456789abcdef"}, "ns.servicebus.windows.net", "t"},
		"by anyone's":     {Config{Namespace: "ns.servicebus.windows.net", Name: "t"}, "ns.servicebus.windows.net", "t"},
		"by one of yours": {Config{Namespace: "ns.servicebus.windows.net", Name: "t", Identity: &azidentity.AzureCLICredential{}}, "ns.servicebus.windows.net", "t"},
	} {
		h, err := Open(c.cfg)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if h.Namespace() != c.namespace || h.Name() != c.name || h.ConsumerGroup() != "$Default" {
			t.Errorf("%s: %s, %s, %s", name, h.Namespace(), h.Name(), h.ConsumerGroup())
		}
		if _, err := h.newProducer(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := h.newConsumer("g"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTargetRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		cfg  Config
		want string
	}{
		"nothing":             {Config{Name: "t"}, "neither"},
		"both":                {Config{Connection: connection, Namespace: "ns.servicebus.windows.net", Name: "t"}, "not both"},
		"no name":             {Config{Connection: connection}, "no hub is named"},
		"two names":           {Config{Connection: connection + ";EntityPath=a", Name: "b"}, "another hub"},
		"a name of a path":    {Config{Connection: connection, Name: secret + "/x"}, "not one"},
		"no endpoint":         {Config{Connection: "SharedAccessKeyName=a;SharedAccessKey=" + secret, Name: "t"}, "no Endpoint"},
		"a key alone":         {Config{Connection: secret, Name: "t"}, "no Endpoint"},
		"an https endpoint":   {Config{Connection: "Endpoint=https://" + secret + "/;SharedAccessKeyName=a;SharedAccessKey=b", Name: "t"}, "sb://"},
		"no key":              {Config{Connection: "Endpoint=sb://ns.servicebus.windows.net/;SharedAccessKeyName=" + secret, Name: "t"}, "are missing"},
		"no pairs":            {Config{Connection: connection + ";" + strings.TrimRight(secret, "="), Name: "t"}, "no ="},
		"a port":              {Config{Connection: strings.Replace(connection, "net/", "net:5671/", 1), Name: "t"}, "only an emulator"},
		"half an emulator":    {Config{Connection: connection + ";UseDevelopmentEmulator=" + secret, Name: "t"}, "true or false"},
		"a namespace address": {Config{Namespace: "sb://ns.servicebus.windows.net/" + secret, Name: "t"}, "no host"},
		"a key as the host":   {Config{Connection: "Endpoint=sb://" + strings.TrimRight(secret, "=") + "/;SharedAccessKeyName=a;SharedAccessKey=b", Name: "t"}, "no host"},
		"a label as the host": {Config{Connection: "Endpoint=sb://ns/;SharedAccessKeyName=a;SharedAccessKey=b", Name: "t"}, "no host"},
		"an address":          {Config{Connection: "Endpoint=sb://10.0.0.1/;SharedAccessKeyName=a;SharedAccessKey=b", Name: "t"}, "no host"},
		"an emulator's dots":  {Config{Connection: "Endpoint=sb://a..b:1/;SharedAccessKeyName=a;SharedAccessKey=b;UseDevelopmentEmulator=true", Name: "t"}, "no host"},
		"a path with a slash": {Config{Connection: connection + ";EntityPath=" + strings.TrimRight(secret, "=") + "/x"}, "EntityPath: the hub's name is not one"},
		"a quoted path":       {Config{Connection: connection + `;EntityPath=telemetry"`}, "EntityPath: the hub's name is not one"},
		"a wrong path":        {Config{Connection: connection + ";EntityPath=a b", Name: "t"}, "EntityPath: the hub's name is not one"},
		"a quoted name":       {Config{Connection: connection, Name: `"t"`}, "without quotes"},
		"a label":             {Config{Namespace: "ns", Name: "t"}, "no host"},
		"another credential":  {Config{Namespace: "ns.servicebus.windows.net", Name: "t", Credential: secret}, "managedidentity"},
	} {
		_, err := Open(c.cfg)
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), strings.TrimRight(secret, "=")) {
			t.Errorf("%s: a secret in %v", name, err)
		}
	}
}

// FuzzTarget opens with any connection string: it is a hub that a client can be
// made for, or an error that shows nothing of it.
func FuzzTarget(f *testing.F) {
	f.Add(connection + ";EntityPath=telemetry")
	f.Add("Endpoint=sb://localhost:5672;SharedAccessKeyName=a;SharedAccessKey=b;UseDevelopmentEmulator=true;")
	f.Add("Endpoint=sb://ns.servicebus.windows.net;SharedAccessSignature=SharedAccessSignature sr=x&sig=y&se=1&skn=z")
	f.Add("Endpoint=sb://[::1]:1/;=;;SharedAccessKey")
	f.Fuzz(func(t *testing.T, s string) {
		h, err := Open(Config{Connection: s, Name: "t"})
		if err != nil {
			if !errors.Is(err, ErrInvalid) {
				t.Fatalf("%v", err)
			}
			for part := range strings.FieldsFuncSeq(s, func(r rune) bool { return strings.ContainsRune("=; /:.", r) }) {
				if len(part) > 30 && strings.Contains(err.Error(), part) {
					t.Fatalf("%q is in %v", part, err)
				}
			}
			return
		}
		if _, err := h.newProducer(); err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		if _, err := h.newConsumer("g"); err != nil {
			t.Fatalf("%q: %v", s, err)
		}
	})
}
