package main

import (
	"log/slog"
	"testing"
	"time"

	"sluice/telemetry"
)

// A clock that went back goes on from where the store had come to; one that is a
// little behind another instance's does not run ahead of it.
func TestClockOfStamps(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		behind, apart time.Duration
		ahead         time.Duration // of the first stamp, at the least; 0: exactly
	}{
		{-time.Minute, 0, 0},
		{time.Second, 0, time.Minute},
		{2 * time.Hour, 0, 2*time.Hour + time.Minute},
		{time.Second, 8 * time.Second, 0},
		{2 * time.Hour, 8 * time.Second, 2*time.Hour + time.Minute},
		{48 * time.Hour, 0, 0},
	} {
		clock := telemetry.NewClock(func() time.Time { return now })
		adjustClock(clock, now.Add(tt.behind).UnixNano(), tt.apart, slog.New(slog.DiscardHandler))
		first := clock.Take(1)
		if least := telemetry.Stamp(now.Add(tt.ahead).UnixNano()); first < least || tt.ahead == 0 && first != least {
			t.Errorf("%v behind the last use, instances up to %v apart: the first stamp is %v ahead", tt.behind, tt.apart, time.Duration(int64(first)-now.UnixNano()))
		}
	}
}
