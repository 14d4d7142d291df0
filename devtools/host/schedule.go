package host

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"
	"time"
)

// schedule says when a timer fires: an NCRONTAB expression of six fields
// (seconds first) or five, or a fixed interval. Times are UTC, as on Linux.
type schedule struct {
	every                                      time.Duration // instead of the rest
	second, minute, hour, day, month, weekdays uint64        // a bit a value
}

type cronField struct {
	name     string
	low, top int
	names    []string // of the values from low on
}

var cronFields = []cronField{
	{"second", 0, 59, nil}, {"minute", 0, 59, nil}, {"hour", 0, 23, nil}, {"day", 1, 31, nil},
	{"month", 1, 12, []string{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}},
	{"day of the week", 0, 6, []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}},
}

// parseSchedule reads an expression such as "0 */5 * * * *" or "00:05:00".
func parseSchedule(text string) (*schedule, error) {
	fields := strings.Fields(text)
	if len(fields) == 1 {
		every, err := parseTimeSpan(text)
		if err != nil || every <= 0 {
			return nil, fmt.Errorf("schedule %q: six fields or an interval hh:mm:ss would be right", text)
		}
		return &schedule{every: every}, nil
	}
	if len(fields) == 5 {
		fields = append([]string{"0"}, fields...)
	}
	if len(fields) != 6 {
		return nil, fmt.Errorf("schedule %q has %d fields: six would be right, seconds first", text, len(fields))
	}
	var sets [6]uint64
	for i, f := range cronFields {
		set, err := f.parse(fields[i])
		if err != nil {
			return nil, fmt.Errorf("schedule %q: %w", text, err)
		}
		sets[i] = set
	}
	s := &schedule{second: sets[0], minute: sets[1], hour: sets[2], day: sets[3], month: sets[4], weekdays: sets[5]}
	if s.next(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return nil, fmt.Errorf("schedule %q never comes", text)
	}
	return s, nil
}

func (f cronField) parse(text string) (set uint64, err error) {
	for part := range strings.SplitSeq(text, ",") {
		one, err := f.parsePart(part)
		if err != nil {
			return 0, err
		}
		set |= one
	}
	return set, nil
}

// parsePart reads *, n, a-b, each with an optional /step.
func (f cronField) parsePart(text string) (uint64, error) {
	span, stepText, stepped := strings.Cut(text, "/")
	from, to := f.low, f.top
	if span != "*" {
		a, b, ranged := strings.Cut(span, "-")
		var err error
		if from, err = f.value(a); err != nil {
			return 0, err
		}
		switch {
		case ranged:
			if to, err = f.value(b); err != nil {
				return 0, err
			}
		case !stepped:
			to = from
		}
	}
	step := 1
	if stepped {
		var err error
		if step, err = strconv.Atoi(stepText); err != nil || step < 1 {
			return 0, fmt.Errorf("%s: step %q: a number from 1 on would be right", f.name, stepText)
		}
	}
	if from > to {
		return 0, fmt.Errorf("%s: %q runs backwards", f.name, text)
	}
	var set uint64
	for v := from; v <= to; v += step {
		set |= 1 << v
	}
	return set, nil
}

func (f cronField) value(text string) (int, error) {
	for i, name := range f.names {
		if strings.EqualFold(text, name) {
			return f.low + i, nil
		}
	}
	v, err := strconv.Atoi(text)
	if err != nil || v < f.low || v > f.top {
		return 0, fmt.Errorf("%s: %q: %d to %d would be right", f.name, text, f.low, f.top)
	}
	return v, nil
}

// next is the first time after t; zero if there is none within eight years.
func (s *schedule) next(t time.Time) time.Time {
	if s.every > 0 {
		return t.Add(s.every)
	}
	t = t.UTC().Truncate(time.Second).Add(time.Second)
	for day := time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC); day.Before(t.AddDate(8, 0, 1)); day = day.AddDate(0, 0, 1) {
		if s.day&(1<<day.Day()) == 0 || s.month&(1<<day.Month()) == 0 || s.weekdays&(1<<day.Weekday()) == 0 {
			continue
		}
		if at, ok := s.within(day, t); ok {
			return at
		}
	}
	return time.Time{}
}

// within is the first time of a day that is not before t.
func (s *schedule) within(day, t time.Time) (time.Time, bool) {
	for h := range each(s.hour) {
		for m := range each(s.minute) {
			minute := day.Add(time.Duration(h)*time.Hour + time.Duration(m)*time.Minute)
			if minute.Add(time.Minute).Before(t) {
				continue
			}
			for sec := range each(s.second) {
				if at := minute.Add(time.Duration(sec) * time.Second); !at.Before(t) {
					return at, true
				}
			}
		}
	}
	return time.Time{}, false
}

func each(set uint64) func(func(int) bool) {
	return func(yield func(int) bool) {
		for ; set != 0; set &= set - 1 {
			if !yield(bits.TrailingZeros64(set)) {
				return
			}
		}
	}
}

// parseTimeSpan reads [d.]hh:mm:ss[.f], with up to seven digits of a fraction.
func parseTimeSpan(text string) (time.Duration, error) {
	wrong := fmt.Errorf("%q: hh:mm:ss would be right", text)
	days := 0
	if d, rest, ok := strings.Cut(text, "."); ok && strings.Contains(rest, ":") {
		var err error
		if days, err = strconv.Atoi(d); err != nil || days < 0 || days > 10_000 {
			return 0, wrong
		}
		text = rest
	}
	parts := strings.Split(text, ":")
	if len(parts) != 3 {
		return 0, wrong
	}
	fraction := time.Duration(0)
	if seconds, f, ok := strings.Cut(parts[2], "."); ok {
		n, err := strconv.Atoi((f + "0000000")[:7])
		if err != nil || n < 0 || f == "" || len(f) > 7 {
			return 0, wrong
		}
		parts[2], fraction = seconds, time.Duration(n)*100
	}
	total := time.Duration(days)*24*time.Hour + fraction
	for i, unit := range []time.Duration{time.Hour, time.Minute, time.Second} {
		n, err := strconv.Atoi(parts[i])
		if err != nil || n < 0 || n >= []int{24, 60, 60}[i] {
			return 0, wrong
		}
		total += time.Duration(n) * unit
	}
	return total, nil
}
