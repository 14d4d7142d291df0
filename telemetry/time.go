package telemetry

import (
	"math"
	"time"
)

// Times beyond what an int64 of nanoseconds holds (years 1677 to 2262) are
// legal, and become the nearest that it holds: every window refuses them, and a
// range of a query may end there.
const (
	minTime int64 = math.MinInt64
	maxTime int64 = math.MaxInt64
)

// ParseTime reads an RFC 3339 time with its zone ("2026-11-23T04:00:00Z",
// "2026-11-23T05:00:00.25+01:00") as nanoseconds since the Unix epoch. T and Z
// may be lower case. Digits of the fraction after the ninth are cut off: the
// time is that of the nanosecond in which it lies. Days that do not exist and
// leap seconds are refused.
func ParseTime[T text](s T) (int64, *Refusal) {
	// 0123456789012345678
	// 2026-11-23T04:00:00
	if len(s) < len("2026-11-23T04:00:00Z") || len(s) > 64 ||
		s[4] != '-' || s[7] != '-' || s[10]|0x20 != 't' || s[13] != ':' || s[16] != ':' {
		return 0, refuseTime(s, "")
	}
	year, ok := digits(s[0:4])
	month, ok1 := digits(s[5:7])
	day, ok2 := digits(s[8:10])
	hour, ok3 := digits(s[11:13])
	minute, ok4 := digits(s[14:16])
	second, ok5 := digits(s[17:19])
	if !ok || !ok1 || !ok2 || !ok3 || !ok4 || !ok5 {
		return 0, refuseTime(s, "")
	}
	if problem := checkDate(year, month, day, hour, minute, second); problem != "" {
		return 0, refuseTime(s, problem)
	}
	nanos, rest, ok := fraction(s[19:])
	if !ok {
		return 0, refuseTime(s, "")
	}
	offset, problem := zone(rest)
	if problem != "" {
		return 0, refuseTime(s, problem)
	}
	seconds := daysSinceEpoch(year, month, day)*86400 + int64(hour*3600+minute*60+second) - offset
	return join(seconds, nanos), nil
}

func refuseTime[T text](s T, problem string) *Refusal {
	if problem == "" {
		problem = "not a time"
	}
	return Refuse(InvalidTimestamp, "%s: %s; send RFC 3339 with a zone, as 2026-11-23T04:00:00Z, or a Unix number without quotes",
		Quote(s), problem)
}

// digits reads a few decimal digits.
func digits[T text](s T) (int, bool) {
	n := 0
	for i := 0; i < len(s); i++ {
		c := s[i] - '0'
		if c > 9 {
			return 0, false
		}
		n = n*10 + int(c)
	}
	return n, true
}

func checkDate(year, month, day, hour, minute, second int) string {
	switch {
	case month < 1 || month > 12:
		return "no such month"
	case day < 1 || day > daysIn(year, month):
		return "no such day"
	case hour > 23:
		return "no such hour (midnight is 00 of the next day)"
	case minute > 59:
		return "no such minute"
	case second == 60:
		return "a leap second, which Unix time does not have: send second 59, or 00 of the next minute"
	case second > 59:
		return "no such second"
	default:
		return ""
	}
}

func daysIn(year, month int) int {
	switch month {
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	case 4, 6, 9, 11:
		return 30
	default:
		return 31
	}
}

// daysSinceEpoch counts the days from 1970-01-01 to a day of the proleptic
// Gregorian calendar. Years begin in March, so that the leap day is the last:
// from there a month's first day is (153m+2)/5.
func daysSinceEpoch(year, month, day int) int64 {
	y, m := year, month-3
	if m < 0 {
		y, m = y-1, m+12
	}
	era := y + 400 // year 0 begins in March of year -1
	return int64(365*era+era/4-era/100+era/400+(153*m+2)/5+day-1) - daysToEpoch
}

// daysToEpoch is what daysSinceEpoch counts for 1970-01-01 before it is
// subtracted.
const daysToEpoch = 719468 + 146097

// fraction reads an optional fraction of a second and returns its nanoseconds
// and what follows it; false for a dot without digits.
func fraction[T text](s T) (nanos int64, rest T, ok bool) {
	if s[0] != '.' {
		return 0, s, true
	}
	i, unit := 1, int64(100_000_000)
	for ; i < len(s) && s[i]-'0' <= 9; i++ {
		nanos += int64(s[i]-'0') * unit
		unit /= 10
	}
	return nanos, s[i:], i > 1
}

// zone reads Z or ±hh:mm as seconds east of Greenwich.
func zone[T text](s T) (offset int64, problem string) {
	if len(s) == 1 && s[0]|0x20 == 'z' {
		return 0, ""
	}
	if len(s) == 0 {
		return 0, "its zone is missing"
	}
	if len(s) != len("+01:00") || s[0] != '+' && s[0] != '-' || s[3] != ':' {
		return 0, "not a time"
	}
	hours, ok := digits(s[1:3])
	minutes, ok1 := digits(s[4:6])
	if !ok || !ok1 || hours > 23 || minutes > 59 {
		return 0, "no such zone"
	}
	offset = int64(hours*3600 + minutes*60)
	if s[0] == '-' {
		offset = -offset
	}
	return offset, ""
}

// join makes nanoseconds of seconds and of nanoseconds within the second.
func join(seconds, nanos int64) int64 {
	const most = maxTime / int64(time.Second)
	switch {
	case seconds > most || seconds == most && nanos > maxTime%int64(time.Second):
		return maxTime
	case seconds < -most:
		return minTime
	default:
		return seconds*int64(time.Second) + nanos
	}
}
