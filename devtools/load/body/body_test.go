package body

import (
	"encoding/json"
	"testing"
	"time"
)

func TestTemplate(t *testing.T) {
	body := New(7, 3, 2, time.Minute)
	from := time.Date(2026, 11, 24, 23, 59, 0, 0, time.UTC)
	body.At(from)
	var readings []struct {
		DeviceID string
		TS       time.Time
		Metrics  map[string]any
	}
	if err := json.Unmarshal(body.Bytes, &readings); err != nil {
		t.Fatal(err)
	}
	if len(readings) != body.Readings || body.Readings != 6 {
		t.Fatalf("%d readings, the template says %d", len(readings), body.Readings)
	}
	for i, r := range readings {
		at := from.Add(time.Duration(i/3) * time.Minute)
		if r.DeviceID != Device(7+i%3) || !r.TS.Equal(at) || len(r.Metrics) != 4 {
			t.Errorf("reading %d is %+v", i, r)
		}
	}
}
