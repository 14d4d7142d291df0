package query

import (
	"strings"

	"sluice/engine"
	"sluice/internal/httperr"
	"sluice/telemetry"
)

// tagFilter selects devices by tags: each item, key:value, must be met.
type tagFilter []string

func parseTags(p params) (tagFilter, error) {
	items, err := p.list("tag")
	if err != nil {
		return nil, err
	}
	for _, item := range items {
		if strings.IndexByte(item, ':') < 1 {
			return nil, invalid("tag=%s: key:value would be right", telemetry.Quote(item))
		}
	}
	return items, nil
}

func (f tagFilter) match(tags []telemetry.Tag) bool {
	for _, item := range f {
		if !hasTag(tags, item) {
			return false
		}
	}
	return true
}

// hasTag looks for key:value; either may have colons of its own.
func hasTag(tags []telemetry.Tag, item string) bool {
	for _, tag := range tags {
		rest, ok := strings.CutPrefix(item, tag.Key)
		if ok && len(rest) == len(tag.Value)+1 && rest[0] == ':' && rest[1:] == tag.Value {
			return true
		}
	}
	return false
}

// globs selects devices by id: literally, or with * for any run of characters.
// None: all.
type globs []string

func parseGlobs(p params) (globs, error) {
	items, err := p.list("device")
	if err != nil {
		return nil, err
	}
	for _, item := range items {
		plain := strings.ReplaceAll(item, "*", "")
		if plain == "" {
			continue
		}
		if refusal := telemetry.CheckDevice("a" + plain[:min(len(plain), telemetry.MaxDevice-1)]); refusal != nil || len(item) > 2*telemetry.MaxDevice {
			return nil, httperr.New(httperr.InvalidDevice, "device=%s: ids (A-Z a-z 0-9 - _ . : = @ ~) with * for any characters would be right", telemetry.Quote(item))
		}
	}
	return items, nil
}

func (g globs) match(id string) bool {
	for _, pattern := range g {
		if matchGlob(pattern, id) {
			return true
		}
	}
	return len(g) == 0
}

// literal says whether no pattern has a *.
func (g globs) literal() bool {
	for _, pattern := range g {
		if strings.Contains(pattern, "*") {
			return false
		}
	}
	return len(g) > 0
}

// prefix is what all ids begin with that may match.
func (g globs) prefix() string {
	if len(g) == 0 {
		return ""
	}
	common, _, _ := strings.Cut(g[0], "*")
	for _, pattern := range g[1:] {
		start, _, _ := strings.Cut(pattern, "*")
		n := 0
		for n < len(common) && n < len(start) && common[n] == start[n] {
			n++
		}
		common = common[:n]
	}
	return common
}

// matchGlob matches in linear space and, at worst, len(pattern) × len(id) steps.
func matchGlob(pattern, id string) bool {
	p, i, star, mark := 0, 0, -1, 0
	for i < len(id) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, i
			p++
		case p < len(pattern) && pattern[p] == id[i]:
			p, i = p+1, i+1
		case star >= 0:
			mark++
			p, i = star+1, mark
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

// grouping says how a fleet's series are divided.
type grouping struct {
	device bool
	tags   []string
}

func parseGrouping(p params) (grouping, error) {
	items, err := p.list("groupBy")
	if err != nil {
		return grouping{}, err
	}
	var g grouping
	for _, item := range items {
		key, isTag := strings.CutPrefix(item, "tag:")
		switch {
		case item == "device":
			g.device = true
		case isTag && key != "":
			g.tags = append(g.tags, key)
		default:
			return g, invalid("groupBy=%s: device, or tag:key (several, separated by commas), would be right", telemetry.Quote(item))
		}
	}
	if g.device && len(g.tags) > 0 {
		return g, invalid("groupBy takes device or tags, not both")
	}
	return g, nil
}

// label is a tag's value in a group; absent for devices that do not have it.
type label struct {
	value  string
	absent bool
}

// labels are the tags by which a device is grouped.
func (g grouping) labels(info *engine.Info) []label {
	labels := make([]label, len(g.tags))
	for i, key := range g.tags {
		labels[i].absent = true
		for _, tag := range info.Tags {
			if tag.Key == key {
				labels[i] = label{value: tag.Value}
			}
		}
	}
	return labels
}
