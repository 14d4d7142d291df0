package service

import (
	"slices"
	"testing"
)

func TestSecretsOf(t *testing.T) {
	secrets := SecretsOf([]string{
		"SLUICE_TABLES=DefaultEndpointsProtocol=https;AccountName=a;accountkey=c2VjcmV0LXNlY3JldA==;EndpointSuffix=x,UseDevelopmentStorage=true",
		"SLUICE_EVENTHUB=Endpoint=sb://ns/;SharedAccessKeyName=send;SharedAccessKey=aHVudGVyMi1odW50ZXIy",
		"SLUICE_KEYS=k1:b25lLW9uZS1vbmUtb25l,k2:dHdvLXR3by10d28tdHdv", "SLUICE_LOG=debug", "SLUICE_DATA=/var/lib/sluice",
	})
	for _, shown := range []string{
		"c2VjcmV0LXNlY3JldA==", "x c2VjcmV0LXNlY3JldA y", "c2VjcmV0LXNlY3JldA%3D%3D", "secret-secret", "7365637265742d736563726574",
		"hunter2-hunter2", "aHVudGVyMi1odW50ZXIy", "one-one-one-one", "dHdvLXR3by10d28tdHdv",
	} {
		if !Shows(shown, secrets) {
			t.Errorf("%s is not found", shown)
		}
	}
	for _, harmless := range []string{"", "debug", "/var/lib/sluice", "send", "AccountName=a", "k1", "UseDevelopmentStorage=true"} {
		if Shows(harmless, secrets) || slices.Contains(secrets, harmless) {
			t.Errorf("%s is taken for a secret", harmless)
		}
	}
}
