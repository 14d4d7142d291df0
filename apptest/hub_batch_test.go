package apptest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sluice/devtools/eventhubs"
	"sluice/devtools/host"
	"sluice/devtools/load/service"
)

// The largest batch that host.json allows, of events as large as an Event Hub
// takes, is taken in one call, in memory of a few times its size: refused, its
// partition would wait for ever. A bad event in it is in nobody's way.
func TestLargestBatch(t *testing.T) {
	hub := eventhubs.ForTest(t).Hub(t, eventhubs.HubOptions{Partitions: 1})
	u := hosted(t, host.Proxy, onTables(t, ""), "SLUICE_EVENTHUB="+hub.ConnectionString(), "SLUICE_EVENTHUB_NAME="+hub.Name, "SLUICE_CONSUMER_GROUP=$Default")
	u.add(t, "consume")
	c := u.start(t)
	if err := c.AwaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	const size = 1 << 20
	n := batchSize(t)
	base := time.Now().Add(-time.Hour).Truncate(time.Second)
	events := make([]host.Event, n)
	for i := range events {
		body := fmt.Appendf(nil, `{"deviceId":"pump-1","ts":%d,"metrics":{"v":%d}}`, base.Unix()+int64(i), i)
		body = append(body, bytes.Repeat([]byte{' '}, size-len(body))...)
		events[i] = host.Event{Body: body, SequenceNumber: int64(i), Offset: int64(i) * size, Enqueued: time.Now()}
	}
	events[n/2].Body = bytes.Repeat([]byte{'['}, size)
	if err := u.host.TriggerEvents(t.Context(), "consume", "0", events); err != nil {
		t.Fatal(err)
	}
	if got := u.host.Deliveries("consume"); got != 1 {
		t.Errorf("%d calls", got)
	}
	found := 0
	span := url.Values{"from": {instant(base.UnixNano())}, "to": {"now"}}
	err := eachReading(t.Context(), c, "pump-1", span, func(int64, map[string]float64) error {
		found++
		return nil
	})
	if err != nil || found != n-1 {
		t.Errorf("%d readings of %d good events: %v", found, n-1, err)
	}
	if s, err := c.Status(t.Context()); err != nil || s.DeadLetters.Count != 1 {
		t.Error(s.DeadLetters, err)
	}
	usage, err := service.UsageOf(u.host.HandlerPID())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("a batch of %d MiB: at most %d MiB in memory", n*size>>20, usage.PeakRSS>>20)
	if usage.PeakRSS > int64(5*n*size) {
		t.Errorf("the process took %d MiB", usage.PeakRSS>>20)
	}
}

// batchSize is that of host.json.
func batchSize(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "host.json"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Extensions struct {
			EventHubs struct{ MaxEventBatchSize int }
		}
	}
	if err := json.Unmarshal(text, &file); err != nil || file.Extensions.EventHubs.MaxEventBatchSize == 0 {
		t.Fatal(err, string(text))
	}
	return file.Extensions.EventHubs.MaxEventBatchSize
}
