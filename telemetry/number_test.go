package telemetry_test

import (
	"encoding/json"
	"math"
	"math/big"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sluice/telemetry"
)

func TestParseNumber(t *testing.T) {
	for in, want := range map[string]telemetry.Value{
		"0":                       telemetry.FloatValue(0),
		"-0":                      telemetry.FloatValue(0),
		"-0.0":                    telemetry.FloatValue(math.Copysign(0, -1)),
		"21.5":                    telemetry.FloatValue(21.5),
		"-0.1":                    telemetry.FloatValue(-0.1),
		"9007199254740992":        telemetry.FloatValue(1 << 53),
		"9007199254740993":        {Kind: telemetry.Integer, Bits: 1<<53 + 1},
		"-9007199254740993":       telemetry.IntValue(-1<<53 - 1),
		"9223372036854775807":     {Kind: telemetry.Integer, Bits: math.MaxInt64},
		"-9223372036854775808":    telemetry.FloatValue(math.MinInt64),
		"9223372036854775808":     telemetry.FloatValue(1 << 63),
		"18446744073709551616":    telemetry.FloatValue(1 << 64),
		"10000000000000000000000": telemetry.FloatValue(1e22),
		"18446744073709551615.0":  telemetry.FloatValue(1 << 64),
		"1e308":                   telemetry.FloatValue(1e308),
		"1E+2":                    telemetry.FloatValue(100),
		"5e-324":                  telemetry.FloatValue(5e-324),
		"1e-400":                  telemetry.FloatValue(0),
		"0.1234567890123456789":   telemetry.FloatValue(0.12345678901234568),
		"123456789012345":         telemetry.FloatValue(123456789012345),
		"12345678901234.5":        telemetry.FloatValue(12345678901234.5),
	} {
		got, refusal := telemetry.ParseNumber(in)
		if refusal != nil || got != want {
			t.Errorf("%s: got %v, %v, want %v", in, got, refusal, want)
		}
	}
	for in, message := range map[string]string{
		"18446744073709551615":         "would lose digits: send it as a string, or with an exponent",
		"-9223372036854775809":         "would lose digits",
		"1e999":                        "beyond the largest, 1.7976931348623157e+308",
		"-1e309":                       "beyond the largest",
		"1" + strings.Repeat("0", 400): "beyond the largest",
		strings.Repeat("1", 2000):      "number of 2000 bytes: at most 1024",
		"NaN":                          "is not a number",
		"Infinity":                     "is not a number",
		"-":                            "is not a number",
		"":                             "is not a number",
		"01":                           "is not a number",
		"-01.5":                        "is not a number",
		"1.":                           "is not a number",
		".1":                           "is not a number",
		"1.2.3":                        "is not a number",
		"+1":                           "is not a number",
		"0x1p3":                        "is not a number",
		"1_000":                        "is not a number",
		"1e":                           "is not a number",
	} {
		got, refusal := telemetry.ParseNumber(in)
		if refusal == nil || refusal.Code != telemetry.InvalidValue || !strings.Contains(refusal.Message, message) {
			t.Errorf("%.40s: got %v, %v, want %q", in, got, refusal, message)
		}
	}
}

// checkNumber holds ParseNumber against strconv and math/big: integers keep
// every digit or are refused, others are the nearest float64.
func checkNumber(t interface{ Fatalf(string, ...any) }, s string) {
	got, refusal := telemetry.ParseNumber(s)
	valid := json.Valid([]byte(s)) && s == strings.TrimSpace(s) && strings.ContainsAny(s[:1], "-0123456789")
	if !valid {
		if refusal == nil {
			t.Fatalf("%q is not a JSON number, read as %v", s, got)
		}
		return
	}
	f, err := strconv.ParseFloat(s, 64)
	if len(s) > 1024 {
		return
	}
	if strings.ContainsAny(s, ".eE") {
		if (err != nil) != (refusal != nil) || err == nil && got != telemetry.FloatValue(f) {
			t.Fatalf("%s: got %v, %v, want %v, %v", s, got, refusal, f, err)
		}
		return
	}
	sent, _ := new(big.Int).SetString(s, 10)
	held := new(big.Int)
	switch {
	case refusal != nil:
		if exact, _ := new(big.Float).SetFloat64(math.Min(math.Max(f, -math.MaxFloat64), math.MaxFloat64)).Int(nil); sent.IsInt64() || exact.Cmp(sent) == 0 {
			t.Fatalf("%s: refused (%v), though it could be held", s, refusal)
		}
		return
	case got.Kind == telemetry.Integer:
		held.SetInt64(int64(got.Bits))
		if exact, _ := new(big.Float).SetFloat64(f).Int(nil); exact.Cmp(sent) == 0 {
			t.Fatalf("%s: Integer, though a float64 holds it", s)
		}
	default:
		x, _ := got.Float()
		new(big.Float).SetFloat64(x).Int(held)
	}
	if held.Cmp(sent) != 0 {
		t.Fatalf("%s: read as %v", s, held)
	}
}

func TestParseNumberIsExact(t *testing.T) {
	gen := rapid.StringMatching(`-?(0|[1-9][0-9]{0,24})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?`)
	rapid.Check(t, func(t *rapid.T) { checkNumber(t, gen.Draw(t, "number")) })
}

func FuzzNumber(f *testing.F) {
	for _, s := range []string{"0", "-0", "21.5", "1e999", "9007199254740993", "18446744073709551615", "1e-400", "-0.0", "01", "1.", "NaN",
		"123456789012345.6", "0.000000000000001", "1e22", "10000000000000000000000"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if len(s) > 0 {
			checkNumber(t, s)
		}
	})
}

func BenchmarkParseNumber(b *testing.B) {
	for _, s := range []string{"21.5", "-1013.25", "20.123456789012345"} {
		b.Run(s, func(b *testing.B) {
			text := []byte(s)
			want, _ := strconv.ParseFloat(s, 64)
			b.ReportAllocs()
			for b.Loop() {
				if v, _ := telemetry.ParseNumber(text); v != telemetry.FloatValue(want) {
					b.Fatal(v)
				}
			}
		})
	}
}

// What is answered must be what was sent also for those who read integers as
// integers, and for us when it is sent again.
func TestNumbersReadBackAsTheyWereSent(t *testing.T) {
	for sent, want := range map[string]string{
		"1152921504606846976":     "1152921504606846976", // 2^60, which a float64 holds
		"-9223372036854775808":    "-9223372036854775808",
		"9223372036854775808":     "9223372036854775808",
		"9007199254740993":        "9007199254740993", // 2^53 + 1, which none holds
		"1.152921504606846976e18": "1152921504606846976",
		"1.2345678901234567e20":   "123456789012345667584",
		"1e21":                    "1e+21",
		"0.1":                     "0.1",
		"1e-7":                    "1e-07",
		"-0.0":                    "-0.0",
		"-0":                      "0",
		"9007199254740991.0":      "9007199254740991",
	} {
		v, refusal := telemetry.ParseNumber(sent)
		if refusal != nil {
			t.Fatalf("%s: %s", sent, refusal.Message)
		}
		if got := string(v.AppendNumber(nil)); got != want {
			t.Errorf("%s is answered as %s, want %s", sent, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		bits := rapid.Uint64().Draw(t, "bits")
		f := math.Float64frombits(bits)
		if math.IsNaN(f) || math.IsInf(f, 0) {
			t.Skip("not a number that is kept")
		}
		checkReadsBack(t, telemetry.FloatValue(f))
		checkReadsBack(t, telemetry.FloatValue(math.Trunc(math.Ldexp(1+math.Mod(math.Abs(f), 1), int(bits%75)))))
		checkReadsBack(t, telemetry.IntValue(int64(bits)))
	})
}

func checkReadsBack(t *rapid.T, v telemetry.Value) {
	text := string(v.AppendNumber(nil))
	if back, refusal := telemetry.ParseNumber(text); refusal != nil || back != v {
		t.Fatalf("%+v is written as %s and read as %+v (%v)", v, text, back, refusal)
	}
}
