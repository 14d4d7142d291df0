package settings

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestOrigins(t *testing.T) {
	for in, want := range map[string][]string{
		"*":                        {"*"},
		"https://dash.example.com": {"https://dash.example.com"},
		"HTTPS://Dash.Example.com/, http://localhost:3000": {"https://dash.example.com", "http://localhost:3000"},
		"https://a:443,http://a:80,https://a:80":           {"https://a", "http://a", "https://a:80"},
		"http://[::1]:80":                                  {"http://[::1]"},
	} {
		if got, err := ParseOrigins(in); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %q %v", in, []string(got), err)
		}
	}
	for _, in := range []string{
		"", ",", "dash.example.com", "https://", "https://a,", "*,https://a", "https://*.example.com", "https://a/b", "https://a?b", "https://a?", "https://a#b",
		"https://u@a", "file:///x", "null", "https://a,https://A", "https://a b",
	} {
		if got, err := ParseOrigins(in); err == nil {
			t.Errorf("%q was taken: %q", in, []string(got))
		}
	}
}

func TestLimitsAndWeb(t *testing.T) {
	s, warnings, err := Load([]string{"SLUICE_DEVICE_RATE=0", "SLUICE_CORS=https://dash.example.com", "SLUICE_TLS_CERT=c.pem", "SLUICE_TLS_KEY=k.pem"})
	if err != nil || s.DeviceRate != 0 || !slices.Equal(s.CORS, Origins{"https://dash.example.com"}) || !s.HasTLS() || s.TLSCert != "c.pem" || s.TLSKey != "k.pem" {
		t.Errorf("%+v %v", s, err)
	}
	if len(warnings) != 1 || !strings.HasPrefix(warnings[0], "SLUICE_CORS") {
		t.Errorf("%q: pages that may do everything are worth a warning", warnings)
	}
	if s, _, err = Load(nil); err != nil || s.DeviceRate != 1000 || s.CORS != nil || s.HasTLS() {
		t.Errorf("defaults: %+v %v", s, err)
	}
	for _, e := range []string{
		"SLUICE_DEVICE_RATE=-1", "SLUICE_DEVICE_RATE=1000001", "SLUICE_DEVICE_RATE=1.5", "SLUICE_DEVICE_RATE=fast",
		"SLUICE_CORS=dash.example.com", "SLUICE_CORS=*,https://a", "SLUICE_TLS_CERT=x", "SLUICE_TLS_KEY=x",
	} {
		name, _, _ := strings.Cut(e, "=")
		var problems Problems
		if _, _, err := Load([]string{e}); !errors.As(err, &problems) || len(problems) != 1 || !strings.HasPrefix(problems[0], name) {
			t.Errorf("%s: %q", e, problems)
		}
	}
	_, _, err = Load([]string{"SLUICE_TLS_CERT=c", "SLUICE_TLS_KEY=k", "FUNCTIONS_CUSTOMHANDLER_PORT=7071", "AZURE_FUNCTIONS_ENVIRONMENT=Development"})
	if err == nil || !strings.Contains(err.Error(), "SLUICE_TLS_CERT: must not be set under the Functions host") {
		t.Error(err)
	}
}
