package main

import (
	"errors"
	"fmt"
	"time"

	"sluice/access"
	"sluice/internal/settings"
)

// tokenCommand makes a token with the keys of the environment, by itself: there need
// be no service.
type tokenCommand struct {
	Scope   string `required:"" placeholder:"SCOPE" help:"write (one device or a prefix), read (everything or a prefix) or admin."`
	Device  string `placeholder:"ID" help:"The one device that the token writes for."`
	Prefix  string `placeholder:"PREFIX" help:"What the ids of all devices begin with that the token is for."`
	Expires string `default:"365d" placeholder:"AGE" help:"How long the token is valid: 365d (the default), 12h, or never."`
}

// errToken is why no token is made: a fault of the arguments.
var errToken = errors.New("token")

// Run prints what the token is to stderr, and the token as the last line of stdout.
func (c *tokenCommand) Run(w *world) error {
	keys, err := keysOf(w.environ)
	if err != nil {
		return err
	}
	claim, err := c.claim(time.Now())
	if err != nil {
		return err
	}
	token, err := keys.Sign(claim)
	if err != nil {
		return fmt.Errorf("%w: %w", errToken, err)
	}
	expires := "never expires"
	if !claim.Expires.IsZero() {
		expires = "expires " + claim.Expires.UTC().Format(time.RFC3339)
	}
	fmt.Fprintf(w.stderr, "%s for %s, signed by key %s, %s\n", claim.Scope, claim.Reach, keys.Signer(), expires)
	_, err = fmt.Fprintln(w.stdout, token)
	return err
}

// keysOf reads the keys alone: whoever makes tokens has the keys of a service at
// hand, and need not have its store.
func keysOf(environ []string) (access.Keys, error) {
	s := settings.Settings{Keys: settings.Secret(settings.Value(environ, "SLUICE_KEYS"))}
	if s.Keys == "" {
		return access.Keys{}, settings.Problems{"SLUICE_KEYS: must be set to make a token: takes the keys of the service, id:base64,…"}
	}
	return openKeys(s)
}

func (c *tokenCommand) claim(now time.Time) (claim access.Claim, err error) {
	var known bool
	if claim.Scope, known = access.ParseScope(c.Scope); !known {
		return claim, fmt.Errorf("%w: --scope %q: takes write, read or admin", errToken, c.Scope)
	}
	if c.Device != "" && c.Prefix != "" {
		return claim, fmt.Errorf("%w: takes --device or --prefix, not both", errToken)
	}
	claim.Reach = access.Prefix(c.Prefix)
	if c.Device != "" {
		claim.Reach = access.Device(c.Device)
	}
	if c.Expires == "never" {
		return claim, nil
	}
	age, err := settings.ParseAge(c.Expires)
	if err != nil || age < settings.Age(time.Second) || age == settings.Forever {
		return claim, fmt.Errorf("%w: --expires %q: takes an age such as 365d, 12h, or never", errToken, c.Expires)
	}
	claim.Expires = now.Add(time.Duration(age)).Truncate(time.Second)
	return claim, nil
}
