package tables

import (
	"errors"
	"strings"
	"testing"

	"sluice/store"
)

const (
	testKey = "a2V5LXRoYXQtbm9ib2R5LW1heS1zZWU="
	testSAS = "sv=2024-11-04&ss=t&srt=sco&sp=rwdlacu&se=2027-01-01T00:00:00Z&spr=https&sig=c2lnbmF0dXJl%3D"
)

func TestParseTarget(t *testing.T) {
	for target, want := range map[string]account{
		"UseDevelopmentStorage=true":   {developmentName, developmentEndpoint, developmentKey, ""},
		" usedevelopmentstorage=TRUE;": {developmentName, developmentEndpoint, developmentKey, ""},
		"DefaultEndpointsProtocol=https;AccountName=acme;AccountKey=" + testKey + ";EndpointSuffix=core.windows.net": {"acme", "https://acme.table.core.windows.net", testKey, ""},
		"AccountName=acme;AccountKey=" + testKey:                                           {"acme", "https://acme.table.core.windows.net", testKey, ""},
		"accountname=acme;ACCOUNTKEY=" + testKey + ";EndpointSuffix=core.chinacloudapi.cn": {"acme", "https://acme.table.core.chinacloudapi.cn", testKey, ""},
		"DefaultEndpointsProtocol=http;AccountName=account7;AccountKey=" + testKey + ";TableEndpoint=http://127.0.0.1:10002/account7;": {
			"account7", "http://127.0.0.1:10002/account7", testKey, ""},
		"BlobEndpoint=https://acme.blob.core.windows.net/;QueueEndpoint=x;FileEndpoint=y;TableEndpoint=https://acme.table.core.windows.net/;SharedAccessSignature=" + testSAS: {
			"acme", "https://acme.table.core.windows.net", "", testSAS},
		"AccountName=acme;SharedAccessSignature=?" + testSAS: {"acme", "https://acme.table.core.windows.net", "", testSAS},
		"https://acme.table.core.windows.net":                {"acme", "https://acme.table.core.windows.net", "", ""},
		"https://acme.table.core.windows.net/":               {"acme", "https://acme.table.core.windows.net", "", ""},
		"https://acme.privatelink.table.core.windows.net":    {"acme", "https://acme.privatelink.table.core.windows.net", "", ""},
		"https://127.0.0.1:10002/devstoreaccount1":           {"devstoreaccount1", "https://127.0.0.1:10002/devstoreaccount1", "", ""},
		"https://azurite:10002/devstoreaccount1":             {"devstoreaccount1", "https://azurite:10002/devstoreaccount1", "", ""},
	} {
		got, err := parseTarget(target)
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v, want %+v", target, got, err, want)
		}
	}
}

func TestParseTargetRefuses(t *testing.T) {
	key, sas := "AccountKey="+testKey, "SharedAccessSignature="+testSAS
	for target, says := range map[string]string{
		"":                                     "it is empty",
		"acme":                                 "no =",
		"AccountName=acme":                     "AccountKey or SharedAccessSignature is missing",
		key:                                    "AccountName is missing",
		"AccountName=acme;AccountKey=a%b":      "not base64",
		"AccountName=acme;AccountKey=;":        "missing",
		"AccountName=acme;" + key[:len(key)-1]: "not base64",
		"AccountName=acme;" + key + ";" + sas:  "not both",
		"AccountName=acme;SharedAccessSignature=x":                 "no sig=",
		"AccountName=acme;SharedAccessSignature=sig=%zz":           "not a query string",
		"AccountName=a b;" + key:                                   "3 to 24",
		"AccountName=acme;" + key + ";AccountName=b":               "twice",
		"AccountName=acme;Acountkey=x;" + key:                      "part 2",
		"DefaultEndpointsProtocol=ftp;AccountName=acme;" + key:     "https or http",
		"TableEndpoint=acme.table.core.windows.net;" + key:         "cannot be parsed",
		"http://acme.table.core.windows.net":                       "https only",
		"https://acme.table.core.windows.net?" + testSAS:           "SharedAccessSignature=",
		"https://acme.blob.core.windows.net":                       "acme.table.core.windows.net is right",
		"https://acme-secondary.table.core.windows.net":            "primary",
		"https://acme.table.cosmos.azure.com":                      "Cosmos DB",
		"https://acme.table.core.windows.net/tab":                  "has a path",
		"https://user:" + testKey + "@acme.table.core.windows.net": "more than a host",
		"https://": "cannot be parsed",
		"https://acme.table.core.windows.net:99999":    "1 to 65535",
		"TableEndpoint=http://127.0.0.1:0/acme;" + key: "1 to 65535",
		"https://127.0.0.1:10002":                      "no account",
		"ftp://acme.table.core.windows.net":            "cannot be parsed",
	} {
		_, err := parseTarget(target)
		if !errors.Is(err, store.ErrInvalid) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want ErrInvalid that says %q", target, err, says)
		}
		if err != nil && (strings.Contains(err.Error(), testKey[:12]) || strings.Contains(err.Error(), "c2ln")) {
			t.Errorf("a secret is in %v", err)
		}
	}
}

// FuzzParseTarget: what is taken names an account and a place, and has at most
// one right; what is refused is ErrInvalid, and what may be secret is not
// repeated.
func FuzzParseTarget(f *testing.F) {
	for _, s := range []string{
		"UseDevelopmentStorage=true", "AccountName=acme;AccountKey=" + testKey, "AccountName=acme;SharedAccessSignature=" + testSAS,
		"https://acme.table.core.windows.net", "TableEndpoint=http://[::1]:1/a;AccountKey=aaaa", "https://a.b", "https://.", "https://a.:1", "a=b", ";;=;",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, target string) {
		a, err := parseTarget(target)
		if err != nil {
			if !errors.Is(err, store.ErrInvalid) {
				t.Fatalf("%q: %v", target, err)
			}
			return
		}
		if a.name == "" || a.key != "" && a.sas != "" || strings.HasSuffix(a.endpoint, "/") || strings.Contains(a.endpoint, "?") {
			t.Fatalf("%q: %+v", target, a)
		}
		if _, err := Open(target, Options{Credential: noToken{}}); err != nil {
			t.Fatalf("%q was read as %+v, and cannot be opened: %v", target, a, err)
		}
	})
}
