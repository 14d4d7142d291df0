package settings

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
)

// Targets say where accounts are, each by a connection string or an address.
// They hold keys: no way of printing shows them.
type Targets []string

var (
	errNoTarget  = errors.New("nothing before or after a comma")
	errSameTwice = errors.New("the same twice")
)

// ParseTargets cuts a list at its commas, which no connection string has. What
// stands between them is for the store to read.
func ParseTargets(s string) (Targets, error) {
	var all Targets
	for target := range strings.SplitSeq(s, ",") {
		target = strings.TrimSpace(target)
		switch {
		case target == "":
			return nil, errNoTarget
		case slices.Contains(all, target):
			return nil, errSameTwice
		}
		all = append(all, target)
	}
	return all, nil
}

// Format is every verb of fmt.
func (t Targets) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "(%d not shown)", len(t)) }

// LogValue is what a log has.
func (t Targets) LogValue() slog.Value { return slog.IntValue(len(t)) }

// MarshalText is what JSON has.
func (t Targets) MarshalText() ([]byte, error) { return fmt.Append(nil, t), nil }
