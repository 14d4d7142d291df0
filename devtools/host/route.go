package host

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dlclark/regexp2"
)

// A route is what a function answers to, as ASP.NET Core writes it: literal
// segments, {name}, {name?}, a last {*name}, each with constraints. Only the
// constraint that app roots here use is known: regex(…), in .NET's dialect
// (lookahead), regardless of case.
type route struct {
	template string
	segments []segment
}

type segment struct {
	literal  string // in lower case; "" for a parameter
	name     string
	catchAll bool
	optional bool
	regex    []*regexp2.Regexp
}

// regexTimeout is how long a constraint may take, as in the real host.
const regexTimeout = 10 * time.Second

// parseRoute reads a template without a leading slash, prefix included.
func parseRoute(template string) (*route, error) {
	r := &route{template: template}
	rest := template
	for rest != "" {
		if n := len(r.segments); n > 0 && r.segments[n-1].catchAll {
			return nil, fmt.Errorf("route %q: nothing may follow {*%s}", template, r.segments[n-1].name)
		}
		var s segment
		var err error
		if rest[0] == '{' {
			s, rest, err = parseParameter(rest)
		} else {
			s, rest, err = parseLiteral(rest)
		}
		if err != nil {
			return nil, fmt.Errorf("route %q: %w", template, err)
		}
		r.segments = append(r.segments, s)
	}
	return r, nil
}

func parseLiteral(text string) (segment, string, error) {
	literal, rest, _ := strings.Cut(text, "/")
	if literal == "" {
		return segment{}, "", fmt.Errorf("an empty segment")
	}
	if strings.ContainsAny(literal, "{}*?") {
		return segment{}, "", fmt.Errorf("segment %q: a literal or one parameter would be right", literal)
	}
	return segment{literal: strings.ToLower(literal)}, rest, nil
}

func parseParameter(text string) (segment, string, error) {
	end := parameterEnd(text)
	if end < 0 {
		return segment{}, "", fmt.Errorf("%q has no closing brace", text)
	}
	rest := text[end+1:]
	if rest != "" && rest[0] != '/' {
		return segment{}, "", fmt.Errorf("segment %q: a literal or one parameter would be right", text)
	}
	inner := strings.NewReplacer("{{", "{", "}}", "}").Replace(text[1:end])
	name, constraints, _ := strings.Cut(inner, ":")
	s := segment{name: name}
	s.name, s.catchAll = strings.CutPrefix(s.name, "*")
	s.name = strings.TrimPrefix(s.name, "*") // {**path} differs in writing only
	if constraints == "" {
		s.name, s.optional = strings.CutSuffix(s.name, "?")
	}
	if s.name == "" {
		return segment{}, "", fmt.Errorf("%q has no name", text[:end+1])
	}
	var err error
	s.regex, err = parseConstraints(constraints)
	return s, strings.TrimPrefix(rest, "/"), err
}

// parameterEnd is where the brace that text begins with is closed; doubled
// braces belong to a constraint.
func parameterEnd(text string) int {
	for i := 1; i < len(text); i++ {
		if text[i] != '}' && text[i] != '{' {
			continue
		}
		if i+1 < len(text) && text[i+1] == text[i] {
			i++
			continue
		}
		if text[i] == '{' {
			return -1
		}
		return i
	}
	return -1
}

func parseConstraints(text string) ([]*regexp2.Regexp, error) {
	if text == "" {
		return nil, nil
	}
	pattern, ok := strings.CutPrefix(text, "regex(")
	if !ok || !strings.HasSuffix(pattern, ")") {
		return nil, fmt.Errorf("constraint %q: this stand-in knows regex(…) only", text)
	}
	pattern = strings.TrimSuffix(pattern, ")")
	regex, err := regexp2.Compile(pattern, regexp2.IgnoreCase)
	if err != nil {
		return nil, fmt.Errorf("constraint: %w", err)
	}
	regex.MatchTimeout = regexTimeout
	return []*regexp2.Regexp{regex}, nil
}

// param is a value of a parameter of a route.
type param struct{ name, value string }

// match says whether a decoded path fits, and the values of its parameters.
func (r *route) match(path string) ([]param, bool) {
	var params []param
	rest, more := strings.CutPrefix(path, "/")
	more = more && rest != ""
	for _, s := range r.segments {
		if s.catchAll {
			if !s.fits(rest) {
				return nil, false
			}
			return append(params, param{s.name, rest}), true
		}
		if !more {
			if s.optional {
				continue
			}
			return nil, false
		}
		var text string
		text, rest, more = strings.Cut(rest, "/")
		more = more && rest != ""
		if s.literal != "" {
			if strings.ToLower(text) != s.literal {
				return nil, false
			}
			continue
		}
		if text == "" || !s.fits(text) {
			return nil, false
		}
		params = append(params, param{s.name, text})
	}
	return params, !more
}

// fits says whether a value obeys the constraints. A constraint on nothing
// holds only if its pattern takes an empty text.
func (s *segment) fits(value string) bool {
	for _, regex := range s.regex {
		if ok, err := regex.MatchString(value); err != nil || !ok {
			return false
		}
	}
	return true
}

// byPrecedence sorts as the host tries: literals before parameters before
// catch-alls, segment by segment, then by name.
func byPrecedence(functions []*function) {
	rank := func(s segment) int {
		switch {
		case s.literal != "":
			return 0
		case s.catchAll:
			return 4
		case s.regex != nil:
			return 1
		case s.optional:
			return 3
		}
		return 2
	}
	slices.SortStableFunc(functions, func(a, b *function) int {
		for i := range min(len(a.route.segments), len(b.route.segments)) {
			if d := rank(a.route.segments[i]) - rank(b.route.segments[i]); d != 0 {
				return d
			}
		}
		if d := len(b.route.segments) - len(a.route.segments); d != 0 {
			return d
		}
		return strings.Compare(a.name, b.name)
	})
}
