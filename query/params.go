package query

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"sluice/internal/httperr"
	"sluice/telemetry"
)

// maxItems is how many items a list in a query may have.
const maxItems = 1000

// params are a request's parameters. An empty one counts as not given.
type params url.Values

// parseParams reads the query string. A parameter that the route does not know
// is refused: a misspelt one must not change the answer silently.
func parseParams(c echo.Context, known ...string) (params, error) {
	values, err := url.ParseQuery(c.Request().URL.RawQuery)
	if err != nil {
		return nil, invalid("the query string is not well-formed: %v", err)
	}
	for name := range values {
		if !slices.Contains(known, name) {
			return nil, invalid("unknown parameter %s: this route takes %s", telemetry.Quote(name), strings.Join(known, ", "))
		}
	}
	return params(values), nil
}

func invalid(format string, args ...any) error {
	return httperr.New(httperr.InvalidParameter, format, args...)
}

func unsupported(format string, args ...any) error {
	return httperr.New(httperr.NotSupported, format, args...)
}

// list reads a list: separated by commas, the key repeated, or both; without
// repetitions.
func (p params) list(name string) ([]string, error) {
	var items []string
	for _, part := range p[name] {
		for item := range strings.SplitSeq(part, ",") {
			if item == "" || slices.Contains(items, item) {
				continue
			}
			if len(items) == maxItems {
				return nil, invalid("%s has more than %d items", name, maxItems)
			}
			items = append(items, item)
		}
	}
	return items, nil
}

// one reads a parameter that is no list, "" if it is not given.
func (p params) one(name string) (string, error) {
	value := ""
	for _, v := range p[name] {
		if v != "" && value != "" && v != value {
			return "", invalid("%s is given twice: once is right", name)
		}
		value = max(value, v)
	}
	return value, nil
}

// choice reads one of several words, the first if it is not given.
func (p params) choice(name string, words ...string) (string, error) {
	word, err := p.one(name)
	if err != nil || word == "" {
		return words[0], err
	}
	if !slices.Contains(words, word) {
		return "", invalid("%s=%s: one of %s would be right", name, telemetry.Quote(word), strings.Join(words, ", "))
	}
	return word, nil
}

// The bounds of a page.
const (
	maxLimit     = 10_000
	defaultLimit = 1_000
)

func (p params) limit() (int, error) {
	text, err := p.one("limit")
	if err != nil || text == "" {
		return defaultLimit, err
	}
	limit, err := strconv.Atoi(text)
	if err != nil || limit < 1 || limit > maxLimit {
		return 0, invalid("limit=%s: a whole number from 1 to %d would be right", telemetry.Quote(text), maxLimit)
	}
	return limit, nil
}
