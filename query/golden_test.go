package query

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sluice/telemetry"
)

// TestGolden runs the files of testdata. Their lines:
//
//	# a comment
//	now TIME                     the clock, from here on
//	load DEVICE TIME METRIC=VALUE …
//	tags DEVICE KEY=VALUE …
//	unmerged DEVICE TIME         the lowest stamp that is not merged
//	get TARGET                   asks; then, indented:
//	  STATUS
//	  header NAME VALUE          any number of them
//	  BODY                       JSON, compared without white space, or text
//
// A value is JSON: 21.5, true, "OK". A blank line ends an expectation.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			g := golden{t: t, name: filepath.Base(file), now: "2026-11-23T06:00:00Z"}
			g.run(strings.Split(string(text), "\n"))
			if g.asked == 0 {
				t.Error("nothing was asked")
			}
		})
	}
}

type golden struct {
	t        *testing.T
	name     string
	now      string
	readings []telemetry.Reading
	unmerged map[string]telemetry.Stamp
	asked    int
}

func (g *golden) run(lines []string) {
	for i := 0; i < len(lines); i++ {
		words := fields(lines[i])
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		switch words[0] {
		case "now":
			g.now = words[1]
		case "load":
			g.readings = append(g.readings, reading(words[1], g.time(words[2]), g.pairs(words[3:])...))
		case "tags":
			g.tags(words[1], words[2:])
		case "unmerged":
			g.unmerged = map[string]telemetry.Stamp{words[1]: telemetry.Stamp(g.time(words[2]))}
		case "get":
			end := i + 1
			for end < len(lines) && strings.HasPrefix(lines[end], "  ") {
				end++
			}
			g.get(i+1, words[1], lines[i+1:end])
			i = end - 1
		default:
			g.t.Fatalf("%s:%d: %q", g.name, i+1, words[0])
		}
	}
}

// fields are separated by blanks outside of quotes.
func fields(line string) []string {
	quoted := false
	return strings.FieldsFunc(line, func(r rune) bool {
		if r == '"' {
			quoted = !quoted
		}
		return !quoted && r == ' '
	})
}

func (g *golden) time(text string) int64 {
	at, refusal := telemetry.ParseTime(text)
	if refusal != nil {
		g.t.Fatal(refusal.Message)
	}
	return at
}

func (g *golden) pairs(words []string) []any {
	var pairs []any
	for _, word := range words {
		name, text, _ := strings.Cut(word, "=")
		var value any
		if err := json.Unmarshal([]byte(text), &value); err != nil {
			g.t.Fatalf("%s: %v", word, err)
		}
		if n, err := strconv.Atoi(text); err == nil {
			value = n
		}
		pairs = append(pairs, name, value)
	}
	return pairs
}

func (g *golden) tags(device string, words []string) {
	r := telemetry.Reading{Device: device, Stamp: 1}
	for _, word := range words {
		key, value, _ := strings.Cut(word, "=")
		r.Tags = append(r.Tags, telemetry.Tag{Key: key, Value: value})
	}
	g.readings = append(g.readings, r)
}

func (g *golden) get(line int, target string, want []string) {
	g.asked++
	m := newMemory(g.readings...)
	m.unmerged = g.unmerged
	w := request(server(m, Options{Now: at(g.now)}), http.MethodGet, target)
	got := []string{strconv.Itoa(w.Code)}
	body := []string{}
	for _, l := range want[1:] {
		if words := fields(l); words[0] == "header" {
			got = append(got, fmt.Sprintf("  header %s %s", words[1], w.Header().Get(words[1])))
		} else {
			body = append(body, l[2:])
		}
	}
	head := append([]string{strings.TrimSpace(want[0])}, want[1:len(want)-len(body)]...)
	if diff := cmp.Diff(head, got); diff != "" {
		g.t.Errorf("%s:%d: GET %s (-want +got):\n%s\n%s", g.name, line, target, diff, w.Body)
	}
	a, b := normal(strings.Join(body, "\n")), normal(w.Body.String())
	if diff := cmp.Diff(strings.Split(a, "\n"), strings.Split(b, "\n")); len(body) > 0 && diff != "" {
		g.t.Errorf("%s:%d: GET %s (-want +got):\n%s", g.name, line, target, diff)
	}
}

// normal takes the white space out of JSON and breaks it before each object;
// other text keeps its lines.
func normal(text string) string {
	var compact bytes.Buffer
	if json.Compact(&compact, []byte(text)) != nil {
		return strings.TrimSpace(strings.ReplaceAll(text, "\r\n", "\n"))
	}
	return strings.ReplaceAll(compact.String(), "{", "\n{")
}
