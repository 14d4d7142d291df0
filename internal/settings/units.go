package settings

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"
)

const (
	day  = 24 * time.Hour
	week = 7 * day
	year = 365 * day
)

// Age is how long something is kept.
type Age time.Duration

// Forever is the age that nothing reaches.
const Forever Age = math.MaxInt64

// Size is a number of bytes.
type Size int64

// Sizes.
const (
	KiB Size = 1 << 10
	MiB Size = 1 << 20
	GiB Size = 1 << 30
)

var (
	errDuration = errors.New("not a duration such as 90s, 15m, 12h, 90d, 52w or 10y")
	errSize     = errors.New("not a size such as 512KiB, 4MiB or 1GiB")
	errTooLong  = errors.New("longer than 292 years")
	errTooLarge = errors.New("larger than 8 EiB")
)

var durations = []struct {
	unit string
	is   time.Duration
}{
	// A unit that ends as another does comes before it.
	{"ns", time.Nanosecond}, {"us", time.Microsecond}, {"µs", time.Microsecond}, {"ms", time.Millisecond},
	{"s", time.Second}, {"m", time.Minute}, {"h", time.Hour}, {"d", day}, {"w", week}, {"y", year},
}

// ParseDuration reads whole numbers with their units, one after the other, as
// in "90d" or "1h30m"; "0" needs none. A day has 24 hours, a year 365 days.
// Durations are not negative.
func ParseDuration(s string) (time.Duration, error) {
	if s == "0" {
		return 0, nil
	}
	var sum time.Duration
	for rest := s; rest != "" || s == ""; {
		var d time.Duration
		var err error
		if d, rest, err = oneDuration(rest); err != nil {
			return 0, err
		}
		if sum > math.MaxInt64-d {
			return 0, errTooLong
		}
		sum += d
	}
	return sum, nil
}

func oneDuration(s string) (d time.Duration, rest string, err error) {
	digits := len(s) - len(strings.TrimLeft(s, "0123456789"))
	n, err := strconv.ParseInt(s[:digits], 10, 64)
	if err != nil {
		return 0, "", errDuration
	}
	unit, rest := s[digits:], ""
	if end := strings.IndexAny(unit, "0123456789"); end >= 0 {
		unit, rest = unit[:end], unit[end:]
	}
	for _, u := range durations {
		if u.unit != unit {
			continue
		}
		if n > math.MaxInt64/int64(u.is) {
			return 0, "", errTooLong
		}
		return time.Duration(n) * u.is, rest, nil
	}
	return 0, "", errDuration
}

// ParseAge reads a duration, or "forever".
func ParseAge(s string) (Age, error) {
	if s == "forever" {
		return Forever, nil
	}
	d, err := ParseDuration(s)
	return Age(d), err
}

var sizes = []struct {
	unit string
	is   Size
}{
	{"", 1}, {"B", 1},
	{"KiB", KiB}, {"MiB", MiB}, {"GiB", GiB}, {"TiB", 1024 * GiB},
	{"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12},
}

// ParseSize reads a whole number of bytes, or of KiB, MiB, GiB, TiB (powers of
// 1024) or KB, MB, GB, TB (powers of 1000).
func ParseSize(s string) (Size, error) {
	digits := len(s) - len(strings.TrimLeft(s, "0123456789"))
	n, err := strconv.ParseInt(s[:digits], 10, 64)
	if err != nil {
		return 0, errSize
	}
	for _, u := range sizes {
		if u.unit != s[digits:] {
			continue
		}
		if n > math.MaxInt64/int64(u.is) {
			return 0, errTooLarge
		}
		return Size(n) * u.is, nil
	}
	return 0, errSize
}

// String writes a size so that ParseSize reads the same.
func (s Size) String() string {
	best := sizes[1]
	for _, u := range sizes[2:6] {
		if s >= u.is && s%u.is == 0 {
			best = u
		}
	}
	return strconv.FormatInt(int64(s/best.is), 10) + best.unit
}
