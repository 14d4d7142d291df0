package ingest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/telemetry"
	"sluice/telemetry/block"
)

// refusing is a store that refuses the readings of some devices for good.
type refusing struct {
	*recorder
	devices string // a letter each, the last of an id
}

type refusal struct{ devices string }

func (r refusal) Error() string { return "refused" }

func (r refusal) Refused(device string, _ telemetry.Stamp) bool {
	return strings.Contains(r.devices, device[len(device)-1:])
}

func (s *refusing) Append(ctx context.Context, shard int, devices []block.Device) error {
	if err := s.recorder.Append(ctx, shard, devices); err != nil {
		return err
	}
	for _, d := range devices {
		if (refusal{s.devices}).Refused(d.ID, 0) {
			return fmt.Errorf("append: %w", refusal{s.devices})
		}
	}
	return nil
}

// Readings that the store refuses for good are rejected one by one; the others
// of the body, and all other bodies of the same flush, are acknowledged.
func TestRefusedByTheStore(t *testing.T) {
	store := &refusing{newRecorder(2), "x"}
	_, e := serve(t, store, Config{})
	body := func(devices ...string) string {
		var messages []string
		for _, d := range devices {
			messages = append(messages, fmt.Sprintf(`{"deviceId":%q,"ts":"2026-11-23T04:00:00Z","metrics":{"a":1}}`, d))
		}
		return "[" + strings.Join(messages, ",") + "]"
	}
	for _, c := range []struct {
		body   string
		status int
		want   string
	}{
		{body("a", "b"), 200, `{"accepted":2,"rejected":0,"errors":[]}`},
		{body("a", "x", "b", "c"), 200, `{"accepted":3,"rejected":1,"errors":[{"index":1,"code":"not_storable","message":"the store refuses this reading of \"x\" for good: sending it again does not help","retryable":false}]}`},
		{body("x"), 400, `{"accepted":0,"rejected":1,"errors":[{"index":0,"code":"not_storable","message":"the store refuses this reading of \"x\" for good: sending it again does not help","retryable":false}]}`},
	} {
		w := do(e, "POST", "/api/v1/telemetry", "", strings.NewReader(c.body))
		if got := strings.TrimSpace(w.Body.String()); w.Code != c.status || got != c.want {
			t.Errorf("%s\ngot  %d %s\nwant %d %s", c.body, w.Code, got, c.status, c.want)
		}
	}
	store.took = 50 * time.Millisecond // those that come meanwhile share a flush
	var posts sync.WaitGroup
	for i := range 20 {
		posts.Go(func() {
			devices, rejected := []string{"a", "b", "c"}, 0
			if i%5 == 0 {
				devices, rejected = []string{"a", "x", "c"}, 1
			}
			w := do(e, "POST", "/api/v1/telemetry", "", strings.NewReader(body(devices...)))
			var got answer
			if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != 200 || got.Rejected != rejected || got.Accepted != 3-rejected {
				t.Errorf("body %d: %d %s", i, w.Code, w.Body)
			}
		})
	}
	posts.Wait()
}

// A flush that fails as a whole fails, whatever another one of the same request
// was refused.
func TestRefusedAndFailed(t *testing.T) {
	away := errors.New("away")
	store := &refusing{newRecorder(2), "0"}
	store.fail = func(shard, _ int) error {
		if shard == 1 {
			return away
		}
		return nil
	}
	group := NewGroup(store, GroupConfig{})
	_, err := group.Put(t.Context(), []telemetry.Reading{{Device: "pump-0", Stamp: 1}, {Device: "pump-1", Stamp: 2}})
	var refuser Refuser
	if !errors.Is(err, away) || errors.As(err, &refuser) {
		t.Errorf("%v", err)
	}
}
