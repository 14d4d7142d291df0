package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"sluice/internal/settings"
)

// credential is how a command that asks a service shows who it is. A token is no
// argument: those are for everybody to see who is on the machine.
type credential struct {
	TokenFile string `placeholder:"FILE" help:"The file that has the token to show to the service; left out, SLUICE_TOKEN of the environment is it."`
}

// maxTokenFile bounds what is read of a file.
const maxTokenFile = 64 << 10

var errCredential = errors.New("--token-file")

// token reads the token; "" if there is none.
func (c *credential) token(w *world) (string, error) {
	if c.TokenFile == "" {
		return settings.Value(w.environ, settings.Token), nil
	}
	f, err := os.Open(c.TokenFile)
	if err != nil {
		return "", fmt.Errorf("%w: %w", errCredential, err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxTokenFile))
	if err != nil {
		return "", fmt.Errorf("%w: %w", errCredential, err)
	}
	text = bytes.TrimSpace(text)
	if len(text) == 0 || bytes.ContainsAny(text, "\r\n\x00 ") {
		return "", fmt.Errorf("%w %s: takes a file with a token and nothing else", errCredential, c.TokenFile)
	}
	return string(text), nil
}
