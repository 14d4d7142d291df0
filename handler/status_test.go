package main

import (
	"encoding/json"
	"testing"
	"time"

	"sluice/engine"
)

func TestShardOfTheStatus(t *testing.T) {
	at := time.Date(2026, 11, 24, 8, 0, 0, 0, time.FixedZone("", 3600))
	for _, c := range []struct {
		of   engine.ShardStatus
		want string
	}{
		{engine.ShardStatus{}, `{"epochs":0,"oldest":null,"unmergedBytes":0,"lastMerged":null,"carriedDevices":0}`},
		{
			engine.ShardStatus{Epochs: 2, Oldest: at, Appended: 3, LastMerged: at.Add(time.Minute), LastError: "away", Carried: 4},
			`{"epochs":2,"oldest":"2026-11-24T07:00:00Z","unmergedBytes":3,"lastMerged":"2026-11-24T07:01:00Z","lastError":"away","carriedDevices":4}`,
		},
	} {
		if got, err := json.Marshal(shardOf(c.of)); err != nil || string(got) != c.want {
			t.Errorf("%+v: %s, %v", c.of, got, err)
		}
	}
}
