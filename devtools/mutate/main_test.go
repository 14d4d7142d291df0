package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Code changes under the planted bugs: each must still have its place.
func TestMutantsFit(t *testing.T) {
	for _, m := range slices.Concat(engineMutants, embeddedMutants, fencedMutants, tablesMutants, hubMutants, letterMutants) {
		for _, e := range m.edits {
			text, err := os.ReadFile(filepath.Join("../..", e.file))
			if err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(string(text), e.old); n != 1 {
				t.Errorf("%s: what it replaces occurs %d times in %s:\n%s", m.name, n, e.file, e.old)
			}
		}
	}
}
