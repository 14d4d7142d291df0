package settings

import (
	"cmp"
	"maps"
	"reflect"
	"slices"
	"strings"
)

const prefix = "SLUICE_"

// Token is the variable that has the credential of the commands that ask a service.
const Token = "SLUICE_TOKEN" //nolint:gosec // G101: its name, not what it holds

// unknown warns of names that look like ours and are not, most of them typing
// errors, and of what is known but does nothing yet.
func unknown(set map[string]string) (warnings []string) {
	known := names()
	for _, name := range slices.Sorted(maps.Keys(set)) {
		if strings.HasPrefix(name, prefix) && !slices.Contains(known, name) {
			warnings = append(warnings, name+": unknown setting, ignored; did you mean "+nearest(name, known)+"?")
		}
	}
	if set["APPLICATIONINSIGHTS_CONNECTION_STRING"] != "" {
		warnings = append(warnings, "APPLICATIONINSIGHTS_CONNECTION_STRING: this version does not send to Application Insights yet")
	}
	return warnings
}

// names are all settings of the contract that begin with the prefix.
func names() (known []string) {
	for field := range reflect.TypeFor[Settings]().Fields() {
		if name := field.Tag.Get("env"); strings.HasPrefix(name, prefix) {
			known = append(known, name)
		}
	}
	for _, l := range later {
		known = append(known, l.name)
	}
	return append(known, Token)
}

// typos is how many letters of a name may be wrong by mistake.
const typos = 3

// nearest is the setting that a name is most like: the one with the fewest letters to
// change, or if they are too many, the longest that the name begins with.
func nearest(name string, known []string) string {
	likely := slices.MinFunc(known, func(a, b string) int { return distance(name, a) - distance(name, b) })
	if distance(name, likely) <= typos {
		return likely
	}
	begun := ""
	for _, k := range known {
		if len(k) > len(begun) && strings.HasPrefix(name, k+"_") {
			begun = k
		}
	}
	return cmp.Or(begun, likely)
}

// distance is the Levenshtein distance between two names.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
