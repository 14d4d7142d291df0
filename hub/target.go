package hub

import (
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
)

// target is where a hub is and by which right it is used: a connection string,
// or else an identity.
type target struct {
	namespace, name string
	connection      string // without an EntityPath
	identity        azcore.TokenCredential
}

// managedIdentity is the one value of a credential's setting that the Functions
// host reads.
const managedIdentity = "managedidentity"

// newTarget reads a configuration. Errors repeat nothing of it: any part may be
// a secret that was put into the wrong place.
func newTarget(cfg Config) (target, error) {
	var (
		t   target
		err error
	)
	switch {
	case cfg.Connection != "" && cfg.Namespace != "":
		err = fmt.Errorf("a connection string or a namespace, not both")
	case cfg.Connection != "":
		t, err = fromConnection(cfg.Connection)
	case cfg.Namespace != "":
		t, err = byIdentity(cfg)
	default:
		err = fmt.Errorf("neither a connection string nor a namespace is there")
	}
	if err == nil {
		err = t.setName(cfg.Name)
	}
	if err != nil {
		return target{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return t, nil
}

func (t *target) setName(name string) error {
	switch {
	case name == "" && t.name == "":
		return fmt.Errorf("no hub is named: EntityPath in the connection string, or the name beside it")
	case name != "" && t.name != "" && !strings.EqualFold(name, t.name):
		return fmt.Errorf("the connection string is that of another hub than the one that is named beside it")
	case name != "":
		t.name = name
	}
	return checkName(t.name)
}

// hubName is what a hub's name looks like; an emulator takes no others.
var hubName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,254}[A-Za-z0-9])?$`)

func checkName(name string) error {
	if !hubName.MatchString(name) {
		return fmt.Errorf("the hub's name is not one: letters, digits, '.', '-', '_', from 1 to 256 of them, without quotes")
	}
	return nil
}

// What a connection string looks like.
const connectionForm = "Endpoint=sb://NAMESPACE.servicebus.windows.net/;SharedAccessKeyName=…;SharedAccessKey=…;EntityPath=HUB"

// fromConnection reads a connection string as the portal shows it, an
// emulator's too.
func fromConnection(s string) (target, error) {
	var (
		kept   []string
		t      target
		values = map[string]string{}
	)
	for part := range strings.SplitSeq(s, ";") {
		name, value, ok := strings.Cut(strings.TrimSpace(part), "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		switch {
		case name == "" && value == "":
			continue
		case !ok:
			return target{}, fmt.Errorf("connection string: a part of it has no =: %s is right", connectionForm)
		}
		values[strings.ToLower(name)] = value
		if strings.EqualFold(name, "EntityPath") {
			if err := checkName(value); value != "" && err != nil {
				return target{}, fmt.Errorf("connection string: EntityPath: %w", err)
			}
			t.name = value
			continue
		}
		kept = append(kept, name+"="+value)
	}
	t.connection = strings.Join(kept, ";")
	if err := t.locate(values); err != nil {
		return target{}, fmt.Errorf("connection string: %w", err)
	}
	if _, err := azeventhubs.ParseConnectionString(t.connection); err != nil {
		return target{}, fmt.Errorf("connection string: it cannot be read: %s is right", connectionForm)
	}
	return t, nil
}

func (t *target) locate(values map[string]string) error {
	u, err := url.Parse(values["endpoint"])
	switch {
	case values["endpoint"] == "":
		return fmt.Errorf("no Endpoint is there: %s is right", connectionForm)
	case err != nil || u.Host == "" || u.Scheme != "sb" || u.User != nil:
		return fmt.Errorf("the Endpoint is no address: sb://NAMESPACE.servicebus.windows.net/ is right")
	case values["sharedaccesssignature"] == "" && (values["sharedaccesskeyname"] == "" || values["sharedaccesskey"] == ""):
		return fmt.Errorf("SharedAccessKeyName and SharedAccessKey, or SharedAccessSignature, are missing (for an identity, give the namespace alone)")
	}
	emulator, err := strconv.ParseBool(values["usedevelopmentemulator"])
	if values["usedevelopmentemulator"] != "" && err != nil {
		return fmt.Errorf("UseDevelopmentEmulator takes true or false")
	}
	if u.Port() != "" && !emulator {
		return fmt.Errorf("the Endpoint has a port, which only an emulator has (UseDevelopmentEmulator=true)")
	}
	if !isHost(u.Hostname(), emulator) {
		return fmt.Errorf("the Endpoint has no host: sb://NAMESPACE.servicebus.windows.net/ is right")
	}
	t.namespace = u.Host
	return nil
}

// A host's labels; of a namespace there are several.
var hostName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?)*$`)

// isHost says whether a text is a namespace's host, or an emulator's, which may be
// any in a network. It keeps out what was put into the wrong place, as a key, of
// which no part would be known for a secret later.
func isHost(text string, emulator bool) bool {
	if _, err := netip.ParseAddr(text); err == nil {
		return emulator
	}
	return len(text) <= 253 && hostName.MatchString(text) && (emulator || strings.Contains(text, "."))
}

// byIdentity is a namespace that is used by an identity.
func byIdentity(cfg Config) (target, error) {
	t := target{namespace: cfg.Namespace, identity: cfg.Identity}
	if !isHost(t.namespace, false) {
		return target{}, fmt.Errorf("the namespace is no host: NAMESPACE.servicebus.windows.net is right")
	}
	if t.identity != nil {
		return t, nil
	}
	var err error
	switch {
	case strings.EqualFold(cfg.Credential, managedIdentity):
		options := &azidentity.ManagedIdentityCredentialOptions{}
		if cfg.ClientID != "" {
			options.ID = azidentity.ClientID(cfg.ClientID)
		}
		t.identity, err = azidentity.NewManagedIdentityCredential(options)
	case cfg.Credential == "":
		t.identity, err = azidentity.NewDefaultAzureCredential(nil)
	default:
		err = fmt.Errorf("the credential is %s or nothing", managedIdentity)
	}
	return t, err
}
