package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"sluice/devtools/eventhubs"
)

// statusOf reads the status.
func statusOf(t *testing.T, url string) (s status) {
	t.Helper()
	a := do(t, "GET", url+"/api/v1/status", "")
	if a.want(t, 200); json.Unmarshal([]byte(a.body), &s) != nil {
		t.Fatal(a)
	}
	return s
}

func putEvents(t *testing.T, h eventhubs.Hub, events ...eventhubs.Put) {
	t.Helper()
	if err := h.Put(t.Context(), "", events...); err != nil {
		t.Fatal(err)
	}
}

// What devices send to the hub themselves is read from there, lands in the store
// or in the dead letters, and the status says how far that is.
func TestTheHubIsConsumed(t *testing.T) {
	t.Parallel()
	server := eventhubs.ForTest(t)
	hub := server.Hub(t, eventhubs.HubOptions{Partitions: 2})
	p := serving(t, "SLUICE_EVENTHUB="+hub.ConnectionString())
	for n := range 10 {
		putEvents(t, hub, eventhubs.Put{PartitionKey: "p", Body: []byte(someReading("p", n))})
	}
	putEvents(t, hub, eventhubs.Put{PartitionKey: "q", Body: []byte(`{"deviceId":`)})
	within(t, "consumed", func() bool { return count(t, p.url, "p") == 10 })
	within(t, "dead letters", func() bool {
		return statusOf(t, p.url).DeadLetters.Count == 1
	})
	within(t, "no lag", func() bool {
		c := statusOf(t, p.url).Consumption
		return c.Reason == "" && c.Lag == 0 && len(c.Partitions) == 2 && c.Partitions[0].Last+c.Partitions[1].Last == 11-2
	})
	if s := statusOf(t, p.url); s.Hub.Name != hub.Name || s.Hub.Breaker != "closed" || s.Hub.ConsumerGroup != "$Default" || s.Consumption.By != "self" {
		t.Errorf("%+v", s.Hub)
	}
	do(t, "POST", p.url+"/consume", `{"Data":{"events":"[]"},"Metadata":{}}`).want(t, 500, "SLUICE_CONSUME=self", "invocation_failed")
	do(t, "GET", p.url+"/api/v1/deadletters", "").want(t, 200, `"code":"invalid_json"`)
	p.stop()
	if strings.Contains(p.log.String(), hub.Key()) {
		t.Error("the hub's key is in the log")
	}

	// Another process goes on where this one was.
	putEvents(t, hub, eventhubs.Put{PartitionKey: "p", Body: []byte(someReading("p", 10))})
	again := serving(t, "SLUICE_EVENTHUB="+hub.ConnectionString(), "SLUICE_DATA="+p.Dir+"/data")
	within(t, "consumed", func() bool { return count(t, again.url, "p") == 11 })
	if s := statusOf(t, again.url); s.DeadLetters.Count != 1 {
		t.Error(fmt.Sprint("dead letters: ", s.DeadLetters))
	}
	again.stop()
}
