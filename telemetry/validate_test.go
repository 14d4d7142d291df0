package telemetry_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/telemetry"
)

func TestCheckDevice(t *testing.T) {
	for in, want := range map[string]telemetry.Code{
		"a": "", "7": "", "pump-7": "", "urn:dev:mac:0024befffe804ff1": "", "a_.:=@~-Z": "", strings.Repeat("x", 128): "",
		"": telemetry.InvalidDevice, strings.Repeat("x", 129): telemetry.InvalidDevice, "-a": telemetry.InvalidDevice,
		".": telemetry.InvalidDevice, "a/b": telemetry.InvalidDevice, `a\b`: telemetry.InvalidDevice, "a#b": telemetry.InvalidDevice,
		"a?b": telemetry.InvalidDevice, "a b": telemetry.InvalidDevice, "a\x00b": telemetry.InvalidDevice, "a!b": telemetry.InvalidDevice,
		"ä": telemetry.InvalidDevice, "aä": telemetry.InvalidDevice, "a,b": telemetry.InvalidDevice, "a\n": telemetry.InvalidDevice,
	} {
		checkCode(t, in, telemetry.CheckDevice(in), want)
		checkCode(t, in, telemetry.CheckDevice([]byte(in)), want)
	}
}

func TestCheckMetric(t *testing.T) {
	for in, want := range map[string]telemetry.Code{
		"Timestamp": "", "PartitionKey": "", "temp-1": "", "°C": "", "a/b": "", `a\b`: "", "a#b?": "", " ": "", "a b": "", "\uFFFD": "",
		"日本語": "", strings.Repeat("x", 128): "", strings.Repeat("ä", 64): "",
		"": telemetry.InvalidMetric, strings.Repeat("x", 129): telemetry.InvalidMetric, strings.Repeat("ä", 65): telemetry.InvalidMetric,
		"a,b": telemetry.InvalidMetric, "a\tb": telemetry.InvalidMetric, "a\x7f": telemetry.InvalidMetric, "\x00": telemetry.InvalidMetric,
		"ä\u0085": telemetry.InvalidMetric, "ä,": telemetry.InvalidMetric, "ä\n": telemetry.InvalidMetric, "a\xff": telemetry.InvalidMetric,
		"a\xed\xa0\x80": telemetry.InvalidMetric, "ä\xc3": telemetry.InvalidMetric,
	} {
		checkCode(t, in, telemetry.CheckMetric(in), want)
		checkCode(t, in, telemetry.CheckMetric([]byte(in)), want)
	}
}

func TestCheckTextAndTags(t *testing.T) {
	checkCode(t, "NaN", telemetry.CheckText("NaN"), "")
	checkCode(t, "empty", telemetry.CheckText(""), "")
	checkCode(t, "4 KiB", telemetry.CheckText(strings.Repeat("x", 4096)), "")
	checkCode(t, "over 4 KiB", telemetry.CheckText(strings.Repeat("x", 4097)), telemetry.InvalidValue)
	checkCode(t, "not UTF-8", telemetry.CheckText("ab\xff"), telemetry.InvalidText)
	checkCode(t, "key", telemetry.CheckTagKey("site"), "")
	checkCode(t, "key with colon", telemetry.CheckTagKey("a:b"), "")
	checkCode(t, "empty key", telemetry.CheckTagKey(""), telemetry.InvalidTags)
	checkCode(t, "long key", telemetry.CheckTagKey(strings.Repeat("x", 65)), telemetry.InvalidTags)
	checkCode(t, "key with comma", telemetry.CheckTagKey("a,b"), telemetry.InvalidTags)
	checkCode(t, "empty value", telemetry.CheckTagValue(""), "")
	checkCode(t, "value", telemetry.CheckTagValue(strings.Repeat("x", 256)), "")
	checkCode(t, "long value", telemetry.CheckTagValue(strings.Repeat("x", 257)), telemetry.InvalidTags)
	checkCode(t, "value with comma", telemetry.CheckTagValue("a,b"), telemetry.InvalidTags)
}

func TestMessagesAreShortAndPrintable(t *testing.T) {
	r := telemetry.CheckMetric(strings.Repeat("\x00,é", 10_000))
	if r == nil || len(r.Message) > 400 || strings.ContainsFunc(r.Message, func(r rune) bool { return r < ' ' }) {
		t.Errorf("message %q", r)
	}
}

func TestClockNeverGivesAStampTwice(t *testing.T) {
	clock := telemetry.NewClock(func() time.Time { return time.Unix(0, 1000) }) // it stands still
	var mu sync.Mutex
	seen := map[telemetry.Stamp]bool{}
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			last := telemetry.Stamp(0)
			for range 500 {
				first := clock.Take(n + 1)
				if first <= last {
					t.Errorf("stamp %d after %d", first, last)
				}
				last = first + telemetry.Stamp(n)
				mu.Lock()
				for s := first; s <= last; s++ {
					if seen[s] {
						t.Errorf("stamp %d twice", s)
					}
					seen[s] = true
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(seen) != 500*36 {
		t.Errorf("%d stamps", len(seen))
	}
}

func TestClockFollowsTheWallButNotBack(t *testing.T) {
	now := int64(5000)
	clock := telemetry.NewClock(func() time.Time { return time.Unix(0, now) })
	for _, step := range []struct {
		now  int64
		n    int
		want telemetry.Stamp
	}{{5000, 1, 5000}, {5000, 3, 5001}, {9000, 2, 9000}, {1, 1, 9002}, {9001, 1, 9003}, {9004, 1, 9004}} {
		now = step.now
		if got := clock.Take(step.n); got != step.want {
			t.Errorf("at %d: %d, want %d", step.now, got, step.want)
		}
	}
}
