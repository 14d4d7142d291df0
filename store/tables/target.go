package tables

import (
	"encoding/base64"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	"sluice/store"
)

// What the emulators listen on, and their one account, whose key is in every
// document about them.
const (
	developmentTarget   = "UseDevelopmentStorage=true"
	developmentName     = "devstoreaccount1"
	developmentKey      = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
	developmentEndpoint = "http://127.0.0.1:10002/" + developmentName
)

// account is what a target says: where an account is and by which right it is
// used. At most one of key and sas is set; neither: by identity.
type account struct {
	name     string
	endpoint string // without a slash at its end and without a query
	key      string // base64
	sas      string // a shared access signature, without a question mark
}

// parseTarget reads a connection string, UseDevelopmentStorage=true, or an
// account's https address. Errors say what would be right and repeat nothing
// that might be secret. ErrInvalid.
func parseTarget(target string) (account, error) {
	target = strings.TrimSpace(target)
	var (
		a   account
		err error
	)
	switch {
	case target == "":
		err = fmt.Errorf("it is empty: a connection string, %s, or an https address", developmentTarget)
	case strings.EqualFold(strings.TrimSuffix(target, ";"), developmentTarget):
		return account{name: developmentName, endpoint: developmentEndpoint, key: developmentKey}, nil
	case strings.Contains(target, "://") && !strings.Contains(head(target), "="):
		a, err = fromAddress(target)
	default:
		a, err = fromConnectionString(target)
	}
	if err != nil {
		return account{}, fmt.Errorf("azure tables target: %w: %w", err, store.ErrInvalid)
	}
	return a, nil
}

// head is what stands before the first "://".
func head(s string) string {
	before, _, _ := strings.Cut(s, "://")
	return before
}

// fromAddress reads an address that is used by identity.
func fromAddress(address string) (account, error) {
	a, err := atEndpoint(address)
	if err != nil {
		return account{}, err
	}
	if !strings.HasPrefix(a.endpoint, "https://") {
		return account{}, fmt.Errorf("an identity is shown over https only: https://ACCOUNT.table.core.windows.net, or a connection string")
	}
	return a, nil
}

// atEndpoint reads an endpoint and the account's name, the first label of its
// host or, where the host is an address or has no dot, its path.
func atEndpoint(endpoint string) (account, error) {
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return account{}, fmt.Errorf("the address cannot be parsed: https://ACCOUNT.table.core.windows.net is right")
	}
	if u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return account{}, fmt.Errorf("the address has more than a host and a path: for a shared access signature take a connection string with SharedAccessSignature=")
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return account{}, fmt.Errorf("the address has a port that is none: 1 to 65535")
		}
	}
	path := strings.Trim(u.Path, "/")
	a := account{name: path, endpoint: u.Scheme + "://" + u.Host}
	if path != "" {
		a.endpoint += "/" + path
	}
	if strings.Contains(u.Hostname(), ".") && net.ParseIP(u.Hostname()) == nil {
		if path != "" {
			return account{}, fmt.Errorf("the address has a path: https://ACCOUNT.table.core.windows.net is right")
		}
		if a.name, err = nameOfHost(u.Hostname()); err != nil {
			return account{}, err
		}
	}
	return a, checkAccount(a.name)
}

func nameOfHost(host string) (string, error) {
	labels := strings.Split(strings.ToLower(host), ".")
	switch service := labels[1]; service {
	case "blob", "queue", "file", "dfs", "web":
		return "", fmt.Errorf("%s is the account's %s service: %s.table.%s is right", host, service, labels[0], strings.Join(labels[2:], "."))
	case "table":
	}
	if strings.Contains(host, ".cosmos.") || strings.Contains(host, ".cosmosdb.") {
		return "", fmt.Errorf("%s is Cosmos DB: only the tables of a storage account are supported", host)
	}
	if name, ok := strings.CutSuffix(labels[0], "-secondary"); ok {
		return "", fmt.Errorf("%s is read-only: use the primary endpoint of %s", host, name)
	}
	return labels[0], nil
}

// checkAccount says whether name may be an account's. Emulators allow names
// that Azure does not.
func checkAccount(name string) error {
	bad := func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '_')
	}
	switch {
	case name == "":
		return fmt.Errorf("no account is named")
	case len(name) > 63 || strings.ContainsFunc(name, bad):
		return fmt.Errorf("the account's name is not one: 3 to 24 lower-case letters and digits")
	}
	return nil
}

// fromConnectionString reads Name=value pairs as the portal shows them. The
// names' case does not matter, other services' endpoints are passed over.
func fromConnectionString(s string) (account, error) {
	pairs, err := splitPairs(s)
	if err != nil {
		return account{}, err
	}
	a, err := locate(pairs)
	if err != nil {
		return account{}, err
	}
	a.key, a.sas = pairs["accountkey"], strings.TrimPrefix(pairs["sharedaccesssignature"], "?")
	switch key, err := base64.StdEncoding.DecodeString(a.key); {
	case a.key != "" && a.sas != "":
		return account{}, fmt.Errorf("connection string: AccountKey or SharedAccessSignature, not both")
	case a.key == "" && a.sas == "":
		return account{}, fmt.Errorf("connection string: AccountKey or SharedAccessSignature is missing (for an identity, give the address alone)")
	case a.key != "" && (err != nil || len(key) == 0):
		return account{}, fmt.Errorf("connection string: AccountKey is not base64: copy it whole, with the = at its end")
	case a.sas != "" && !strings.Contains(a.sas, "sig="):
		return account{}, fmt.Errorf("connection string: SharedAccessSignature has no sig=: copy it whole")
	}
	if _, err := url.ParseQuery(a.sas); err != nil {
		return account{}, fmt.Errorf("connection string: SharedAccessSignature is not a query string: copy it whole")
	}
	return a, nil
}

const pairNames = "DefaultEndpointsProtocol, AccountName, AccountKey, SharedAccessSignature, EndpointSuffix, TableEndpoint"

func splitPairs(s string) (map[string]string, error) {
	pairs := map[string]string{}
	for i, part := range strings.Split(s, ";") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		name, value, ok := strings.Cut(part, "=")
		name = strings.ToLower(strings.TrimSpace(name))
		if !ok {
			return nil, fmt.Errorf("connection string: part %d has no =: Name=value;Name=value is right", i+1)
		}
		switch name {
		case "defaultendpointsprotocol", "accountname", "accountkey", "sharedaccesssignature", "endpointsuffix", "tableendpoint",
			"blobendpoint", "queueendpoint", "fileendpoint":
		default:
			return nil, fmt.Errorf("connection string: part %d has a name that is none of %s", i+1, pairNames)
		}
		if _, twice := pairs[name]; twice {
			return nil, fmt.Errorf("connection string: %s is there twice", name)
		}
		pairs[name] = strings.TrimSpace(value)
	}
	return pairs, nil
}

// locate finds an account's endpoint: the one that is given, or the one that
// follows from its name.
func locate(pairs map[string]string) (account, error) {
	name, endpoint := pairs["accountname"], pairs["tableendpoint"]
	if endpoint == "" {
		protocol, suffix := pairs["defaultendpointsprotocol"], pairs["endpointsuffix"]
		if protocol == "" {
			protocol = "https"
		}
		if suffix == "" {
			suffix = "core.windows.net"
		}
		if name == "" {
			return account{}, fmt.Errorf("connection string: AccountName is missing, and no TableEndpoint says it")
		}
		if protocol = strings.ToLower(protocol); protocol != "https" && protocol != "http" {
			return account{}, fmt.Errorf("connection string: DefaultEndpointsProtocol is https or http")
		}
		if err := checkAccount(name); err != nil {
			return account{}, fmt.Errorf("connection string: AccountName: %w", err)
		}
		endpoint = protocol + "://" + name + ".table." + suffix
	}
	a, err := atEndpoint(endpoint)
	if err != nil {
		return account{}, fmt.Errorf("connection string: TableEndpoint: %w", err)
	}
	if name != "" {
		a.name = name
	}
	return a, checkAccount(a.name)
}
