package query

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"sluice/telemetry"
)

// farthest bounds the times of a query, both ways (nanoseconds since the Unix
// epoch): the edges of a bucket around it still fit into an int64.
const farthest = 9_200_000_000_000_000_000

// instant is a time in a query.
type instant struct {
	at       int64 // nanoseconds since the Unix epoch
	relative bool  // to now
}

// parseInstant reads from, to and the like: RFC 3339 with a zone, a Unix number,
// now, now-15m, now+5m. An unescaped + of a zone arrives as a space.
func parseInstant(name, text string, now int64) (instant, error) {
	text = plus(text)
	if rest, ok := strings.CutPrefix(text, "now"); ok {
		offset, err := parseOffset(rest)
		if err != nil {
			return instant{}, invalid("%s=%s: now, now-15m or now-30d would be right (units s, m, h, d, w)", name, telemetry.Quote(text))
		}
		return instant{clamp(addClamped(now, offset)), true}, nil
	}
	at, refusal := parseAbsolute(text)
	if refusal != nil {
		return instant{}, invalid("%s=%s: RFC 3339 with its zone (2026-11-23T04:00:00Z), a Unix number, or now-15m would be right (%s)",
			name, telemetry.Quote(text), refusal.Message)
	}
	return instant{clamp(at), false}, nil
}

func parseAbsolute(text string) (int64, *telemetry.Refusal) {
	if isDate := len(text) > 4 && text[4] == '-'; isDate || strings.Contains(text, ":") {
		return telemetry.ParseTime(text)
	}
	return telemetry.ParseUnix(text)
}

// plus gives back the + that a query string's decoding made a space.
func plus(text string) string {
	if strings.HasPrefix(text, "now ") || strings.LastIndexByte(text, ' ') > strings.IndexByte(text, 'T') && strings.Contains(text, "T") {
		return strings.Replace(text, " ", "+", 1)
	}
	return text
}

func clamp(at int64) int64 { return min(max(at, -farthest), farthest) }

func addClamped(at int64, d time.Duration) int64 {
	sum := at + int64(d)
	switch {
	case d > 0 && sum < at:
		return farthest
	case d < 0 && sum > at:
		return -farthest
	default:
		return sum
	}
}

// parseOffset reads what follows now: nothing, or a sign and a duration.
func parseOffset(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	d, err := parseDuration(text[1:])
	switch {
	case err != nil || text[0] != '-' && text[0] != '+':
		return 0, errDuration
	case text[0] == '-':
		return -d, nil
	default:
		return d, nil
	}
}

// errDuration is worded by who asked for the duration.
var errDuration = errors.New("not a duration")

var units = map[byte]time.Duration{
	's': time.Second,
	'm': time.Minute,
	'h': time.Hour,
	'd': 24 * time.Hour,
	'w': 7 * 24 * time.Hour,
}

// parseDuration reads whole numbers with units, the units falling: 15m, 1h30m,
// 30d.
func parseDuration(text string) (time.Duration, error) {
	total, former := time.Duration(0), time.Duration(1<<63-1)
	for text != "" {
		i := 0
		for i < len(text) && text[i]-'0' <= 9 {
			i++
		}
		if i == 0 || i > 10 || i == len(text) {
			return 0, errDuration
		}
		n, err := strconv.ParseInt(text[:i], 10, 64)
		unit, ok := units[text[i]]
		if err != nil || !ok || unit >= former || n > int64((1<<63-1-total)/unit) {
			return 0, errDuration
		}
		total, former, text = total+time.Duration(n)*unit, unit, text[i+1:]
	}
	if former == 1<<63-1 {
		return 0, errDuration
	}
	return total, nil
}

// formatDuration writes whole seconds with the largest unit that divides them,
// up to days.
func formatDuration(seconds int64) string {
	for _, u := range []struct {
		seconds int64
		name    string
	}{{86400, "d"}, {3600, "h"}, {60, "m"}} {
		if seconds != 0 && seconds%u.seconds == 0 {
			return strconv.FormatInt(seconds/u.seconds, 10) + u.name
		}
	}
	return strconv.FormatInt(seconds, 10) + "s"
}

// roughDuration writes a duration rounded down to a unit of which it has at
// least two.
func roughDuration(d time.Duration) string {
	seconds := max(1, int64(d/time.Second))
	for _, unit := range []int64{86400, 3600, 60} {
		if seconds >= 2*unit {
			return formatDuration(seconds - seconds%unit)
		}
	}
	return formatDuration(seconds)
}

// parseRange reads from and to: to is now if it is not given, from an hour
// before to.
func parseRange(p params, now int64) (from, to instant, err error) {
	fromText, err := p.one("from")
	if err != nil {
		return from, to, err
	}
	toText, err := p.one("to")
	if err != nil {
		return from, to, err
	}
	to = instant{now, true}
	if toText != "" {
		if to, err = parseInstant("to", toText, now); err != nil {
			return from, to, err
		}
	}
	from = instant{clamp(to.at - int64(time.Hour)), to.relative}
	if fromText != "" {
		if from, err = parseInstant("from", fromText, now); err != nil {
			return from, to, err
		}
	}
	if from.at >= to.at {
		return from, to, invalid("from (%s) is not before to (%s)", telemetry.FormatTime(from.at), telemetry.FormatTime(to.at))
	}
	return from, to, nil
}
