package settings

import (
	"slices"
	"strings"
	"testing"
)

// Access control is on where others can reach the service, and is not turned off
// there by chance.
func TestAccessControl(t *testing.T) {
	const (
		host = "FUNCTIONS_CUSTOMHANDLER_PORT=7071"
		dev  = "AZURE_FUNCTIONS_ENVIRONMENT=Development"
		keys = "SLUICE_KEYS=k1:x"
		open = "SLUICE_ADDR=0.0.0.0:80"
	)
	for _, c := range []struct {
		environ string
		want    Auth
		problem string // what the one line begins with
	}{
		{"", AuthOff, ""},
		{"SLUICE_AUTH=off", AuthOff, ""},
		{"SLUICE_AUTH=off-i-know", AuthOffKnown, ""},
		{"SLUICE_AUTH=on " + keys, AuthOn, ""},
		{"SLUICE_AUTH=on", "", "SLUICE_KEYS: must be set, or SLUICE_OIDC_ISSUER"},
		{"SLUICE_AUTH=ON " + keys, "", "SLUICE_AUTH="},
		{"SLUICE_ADDR=[::1]:80", AuthOff, ""},
		{"SLUICE_ADDR=localhost:80", AuthOff, ""},
		{open, "", "SLUICE_KEYS: must be set"},
		{"SLUICE_ADDR=:80", "", "SLUICE_KEYS: must be set"},
		{"SLUICE_ADDR=[::]:80 " + keys, AuthOn, ""},
		{"SLUICE_ADDR=192.168.1.5:80 " + keys, AuthOn, ""},
		{open + " " + keys + " SLUICE_AUTH=off", "", "SLUICE_AUTH=off: others can reach the service"},
		{open + " SLUICE_AUTH=off-i-know", AuthOffKnown, ""},
		{host + " SLUICE_TABLES=x", "", "SLUICE_KEYS: must be set"},
		{host + " SLUICE_TABLES=x " + keys, AuthOn, ""},
		{host + " SLUICE_TABLES=x SLUICE_AUTH=off", "", "SLUICE_AUTH=off: others can reach"},
		{host + " SLUICE_TABLES=x SLUICE_AUTH=off-i-know", AuthOffKnown, ""},
		{host + " SLUICE_TABLES=x SLUICE_OIDC_ISSUER=https://issuer.example SLUICE_OIDC_AUDIENCE=a", AuthOn, ""},
		{host + " " + dev, AuthOff, ""},
		{host + " " + dev + " " + open, AuthOff, ""}, // the address is the host's
		{host + " " + dev + " SLUICE_AUTH=on " + keys, AuthOn, ""},
		{"SLUICE_OIDC_ISSUER=https://issuer.example", "", "SLUICE_OIDC_AUDIENCE: must be set"},
		{"SLUICE_OIDC_AUDIENCE=a", "", "SLUICE_OIDC_ISSUER: must be set"},
		{"SLUICE_OIDC_ISSUER=http://issuer.example SLUICE_OIDC_AUDIENCE=a", "", "SLUICE_OIDC_ISSUER="},
		{"SLUICE_OIDC_ISSUER=https://x@issuer.example SLUICE_OIDC_AUDIENCE=a", "", "SLUICE_OIDC_ISSUER="},
		{"SLUICE_OIDC_ISSUER=http://127.0.0.1:9 SLUICE_OIDC_AUDIENCE=a", AuthOff, ""},
	} {
		s, _, err := Load(strings.Fields(c.environ))
		switch {
		case c.problem == "" && (err != nil || s.Auth != c.want || s.AccessControl() != (c.want == AuthOn)):
			t.Errorf("%s: %s, %v", c.environ, s.Auth, err)
		case c.problem != "" && (err == nil || !strings.HasPrefix(err.Error(), c.problem) || strings.Contains(err.Error(), "\n")):
			t.Errorf("%s: %v, want %s", c.environ, err, c.problem)
		}
	}
}

func TestAccessWarnings(t *testing.T) {
	for environ, want := range map[string]string{
		"SLUICE_ADDR=:80 SLUICE_AUTH=off-i-know": "SLUICE_AUTH: off: whoever reaches",
		"SLUICE_KEYS=k1:x":                       "SLUICE_AUTH: off: credentials are not looked at",
		"SLUICE_KEYS=k1:x SLUICE_AUTH=on":        "",
		"SLUICE_TOKEN=t":                         "",
	} {
		_, warnings, err := Load(strings.Fields(environ))
		if err != nil || (want == "") != (warnings == nil) || !slices.ContainsFunc(append(warnings, ""), func(w string) bool { return strings.HasPrefix(w, want) }) {
			t.Errorf("%s: %q, %v", environ, warnings, err)
		}
	}
}
