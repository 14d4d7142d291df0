package telemetry_test

import (
	"math"
	"math/big"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sluice/telemetry"
)

func TestParseTime(t *testing.T) {
	for in, want := range map[string]int64{
		"1970-01-01T00:00:00Z":                   0,
		"2026-11-23T04:00:00Z":                   1795406400e9,
		"2026-11-23t04:00:00z":                   1795406400e9,
		"2026-11-23T04:00:00.25+05:30":           1795386600_250000000,
		"2026-11-23T04:00:00-00:00":              1795406400e9,
		"2024-02-29T23:59:59.999999999-23:59":    1709337539_999999999 - 60e9 + 60e9,
		"2026-11-23T04:00:00.1234567891Z":        1795406400_123456789,
		"1969-12-31T23:59:59.9999999999Z":        -1,
		"2262-04-11T23:47:16.854775807Z":         math.MaxInt64,
		"2262-04-11T23:47:16.854775808Z":         math.MaxInt64,
		"9999-12-31T23:59:59Z":                   math.MaxInt64,
		"0000-01-01T00:00:00Z":                   math.MinInt64,
		"2000-03-01T00:00:00Z":                   951868800e9,
		"1999-12-31T23:59:59Z":                   946684799e9,
		"2026-11-23T04:00:00.000000000000+00:00": 1795406400e9,
	} {
		got, refusal := telemetry.ParseTime(in)
		if refusal != nil || got != want {
			t.Errorf("%s: got %d, %v, want %d", in, got, refusal, want)
		}
	}
}

func TestParseTimeRefuses(t *testing.T) {
	for in, message := range map[string]string{
		"":                           "not a time",
		"yesterday":                  "not a time",
		"1763870400":                 "not a time",
		"2026-11-23":                 "not a time",
		"2026-11-23T04:00:00":        "not a time",
		"2026-11-23T04:00:00.5":      "its zone is missing",
		"2026-11-23 04:00:00Z":       "not a time",
		"2026-11-23T04:00Z":          "not a time",
		"2026-11-23T04:00:00.Z":      "not a time",
		"2026-11-23T04:00:00,5Z":     "not a time",
		"2026-11-23T04:00:00+0100":   "not a time",
		"2026-11-23T04:00:00+01:00x": "not a time",
		"2026-11-23T04:00:00+24:00":  "no such zone",
		"2026-11-23T04:00:00+01:60":  "no such zone",
		"2026-13-01T00:00:00Z":       "no such month",
		"2026-00-01T00:00:00Z":       "no such month",
		"2026-02-30T00:00:00Z":       "no such day",
		"2026-02-29T00:00:00Z":       "no such day",
		"2100-02-29T00:00:00Z":       "no such day",
		"2026-11-00T00:00:00Z":       "no such day",
		"2026-11-31T00:00:00Z":       "no such day",
		"2026-11-23T24:00:00Z":       "no such hour",
		"2026-11-23T04:60:00Z":       "no such minute",
		"2016-12-31T23:59:60Z":       "leap second",
		"2016-12-31T23:59:61Z":       "no such second",
		"10000-01-01T00:00:00Z":      "not a time",
		"+2026-11-23T04:00:00Z":      "not a time",
		"２026-11-23T04:00:00Z":       "not a time",
		"2026-11-23T04:00:00." + strings.Repeat("1", 60) + "Z": "not a time",
	} {
		_, refusal := telemetry.ParseTime(in)
		if refusal == nil || refusal.Code != telemetry.InvalidTimestamp || !strings.Contains(refusal.Message, message) {
			t.Errorf("%s: got %v, want %q", in, refusal, message)
		}
	}
}

func oddZone(s string) bool {
	zone := s[max(0, len(s)-len("+00:00")):]
	return strings.HasSuffix(zone, ":60") || strings.HasPrefix(zone[1:], "24:")
}

// The standard library's parser takes a comma for a dot, hours of one digit and
// zones of 24 hours or 60 minutes besides; what ours takes, both read alike.
func checkTimeAgainstStdlib(t interface{ Fatalf(string, ...any) }, s string) {
	got, refusal := telemetry.ParseTime(s)
	want, err := time.Parse(time.RFC3339Nano, strings.ToUpper(s))
	if refusal != nil {
		if err == nil && len(s) <= 64 && want.Format("15") == s[11:13] && !strings.Contains(s, ",") && !oddZone(s) {
			t.Fatalf("%q: refused (%v), the standard library reads %v", s, refusal, want)
		}
		return
	}
	if err != nil {
		t.Fatalf("%q: read as %d, the standard library refuses: %v", s, got, err)
	}
	switch {
	case want.After(time.Unix(0, math.MaxInt64)):
		want = time.Unix(0, math.MaxInt64)
	case want.Before(time.Unix(0, math.MinInt64)):
		want = time.Unix(0, math.MinInt64)
	}
	if want.UnixNano() != got {
		t.Fatalf("%q: read as %d, the standard library reads %d", s, got, want.UnixNano())
	}
}

func TestParseTimeIsTheStandardLibrarys(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		at := time.Unix(rapid.Int64Range(-62167219200, 253402300799).Draw(t, "s"), rapid.Int64Range(0, 999999999).Draw(t, "ns"))
		zone := time.FixedZone("", 60*rapid.IntRange(-23*60-59, 23*60+59).Draw(t, "zone"))
		if y := at.In(zone).Year(); y < 0 || y > 9999 {
			t.Skip()
		}
		s := at.In(zone).Format(time.RFC3339Nano)
		if _, refusal := telemetry.ParseTime([]byte(s)); refusal != nil {
			t.Fatalf("%s: %v", s, refusal)
		}
		checkTimeAgainstStdlib(t, s)
	})
}

func TestParseUnix(t *testing.T) {
	for in, want := range map[string]int64{
		"0":                       0,
		"-0":                      0,
		"0.0e5":                   0,
		"-1":                      -1e9,
		"1763870400":              1763870400e9,
		"1763870400.25":           1763870400_250000000,
		"1763870400.123456789":    1763870400_123456789,
		"1763870400.1234567899":   1763870400_123456789,
		"-0.0000000001":           -1,
		"4999999999":              4999999999e9,
		"4999999999.999999999":    4999999999_999999999,
		"5000000000":              5000000000e6,
		"5e9":                     5000000000e6,
		"1.7638704e9":             1763870400e9,
		"1.7638704E+9":            1763870400e9,
		"17638704000e-1":          1763870400e9,
		"1763870400123":           1763870400_123e6,
		"1763870400123.456":       1763870400_123456e3,
		"4999999999999":           4999999999_999e6,
		"5000000000000":           5000000_000000e3,
		"1763870400123456":        1763870400_123456e3,
		"1763870400123456.789":    1763870400_123456789,
		"4999999999999999":        4999999999_999999e3,
		"5000000000000000":        5000000_000000000,
		"1763870400123456789":     1763870400_123456789,
		"1763870400123456789.999": 1763870400_123456789,
		"1.763870400123456789e18": 1763870400_123456789,
		"9223372036854775807":     math.MaxInt64,
		"9223372036854775808":     math.MaxInt64,
		"1e999":                   math.MaxInt64,
		"-1e999":                  -math.MaxInt64,
		"1e-999":                  0,
		"1e3":                     1000e9,
		"9007199254740993":        9007199254740993,
	} {
		got, refusal := telemetry.ParseUnix(in)
		if refusal != nil || got != want {
			t.Errorf("%s: got %d, %v, want %d", in, got, refusal, want)
		}
	}
	for _, in := range []string{"", "-", "+1", "01", "1.", ".5", "1e", "1e+", "1e1.5", "0x10", "NaN", "1 ", strings.Repeat("1", 65)} {
		if got, refusal := telemetry.ParseUnix(in); refusal == nil || refusal.Code != telemetry.InvalidTimestamp {
			t.Errorf("%q: read as %d, %v", in, got, refusal)
		}
	}
}

// naiveUnix is ParseUnix over rational numbers.
func naiveUnix(s string) (int64, bool) {
	r, ok := new(big.Rat).SetString(s)
	if !ok {
		return 0, false
	}
	abs := new(big.Rat).Abs(r)
	factor := int64(1)
	for _, unit := range []struct{ below, factor int64 }{{5e9, 1e9}, {5e12, 1e6}, {5e15, 1e3}} {
		if abs.Cmp(new(big.Rat).SetInt64(unit.below)) < 0 {
			factor = unit.factor
			break
		}
	}
	r.Mul(r, new(big.Rat).SetInt64(factor))
	floor := new(big.Int).Div(r.Num(), r.Denom()) // Euclidean: floor for positive denominators
	switch {
	case floor.Cmp(big.NewInt(math.MaxInt64)) > 0:
		return math.MaxInt64, true
	case floor.Cmp(big.NewInt(-math.MaxInt64)) < 0:
		return -math.MaxInt64, true
	default:
		return floor.Int64(), true
	}
}

func checkUnix(t interface{ Fatalf(string, ...any) }, s string) {
	got, refusal := telemetry.ParseUnix(s)
	if refusal != nil {
		return
	}
	if want, ok := naiveUnix(s); !ok || want != got {
		t.Fatalf("%s: got %d, want %d (%v)", s, got, want, ok)
	}
}

func TestParseUnixIsExact(t *testing.T) {
	gen := rapid.StringMatching(`-?(0|[1-9][0-9]{0,21})(\.[0-9]{1,12})?([eE][+-]?[0-9]{1,2})?`)
	rapid.Check(t, func(t *rapid.T) {
		s := gen.Draw(t, "number")
		if _, refusal := telemetry.ParseUnix(s); refusal != nil {
			t.Fatalf("%s: %v", s, refusal)
		}
		checkUnix(t, s)
	})
}

func FuzzTimestamp(f *testing.F) {
	for _, s := range []string{
		"2026-11-23T04:00:00Z", "2026-11-23t04:00:00.123456789+05:30", "2026-02-30T00:00:00Z", "2016-12-31T23:59:60Z",
		"0000-01-01T00:00:00-23:59", "9999-12-31T23:59:59.9Z", "1763870400", "1763870400.25", "-1.5e3", "5e9", "1e999", "0", "-0",
		"2026-11-23T04:00:00.Z", "1763870400123456789.9",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		checkTimeAgainstStdlib(t, s)
		if !strings.ContainsAny(s, "eE") { // the oracle would write out every zero
			checkUnix(t, s)
		} else {
			telemetry.ParseUnix(s)
		}
	})
}

func TestWindow(t *testing.T) {
	now := time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC)
	w := telemetry.NewWindow(now, 0)
	for at, want := range map[int64]telemetry.Code{
		telemetry.Year2000 - 1:                 telemetry.TimestampTooOld,
		telemetry.Year2000:                     "",
		now.Add(10*time.Minute - 1).UnixNano(): "",
		now.Add(10 * time.Minute).UnixNano():   telemetry.TimestampInFuture,
		math.MaxInt64:                          telemetry.TimestampInFuture,
		math.MinInt64:                          telemetry.TimestampTooOld,
	} {
		checkCode(t, time.Unix(0, at).String(), w.Check(at), want)
	}
	floor := now.Add(-time.Hour).UnixNano()
	checkCode(t, "below the floor", telemetry.NewWindow(now, floor).Check(floor-1), telemetry.TimestampTooOld)
	checkCode(t, "at the floor", telemetry.NewWindow(now, floor).Check(floor), "")
}

func checkCode(t *testing.T, what string, got *telemetry.Refusal, want telemetry.Code) {
	t.Helper()
	switch {
	case got == nil && want != "":
		t.Errorf("%s: taken, want %s", what, want)
	case got != nil && got.Code != want:
		t.Errorf("%s: %v, want %q", what, got, want)
	}
}
