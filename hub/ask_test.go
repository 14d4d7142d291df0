package hub

import (
	"testing"

	"sluice/devtools/eventhubs"
)

// A question over a connection that the service has ended since goes over a new
// one.
func TestAskedOverALostConnection(t *testing.T) {
	stand := eventhubs.ForTest(t).Hub(t, eventhubs.HubOptions{Partitions: 1})
	h, err := Open(Config{Connection: stand.ConnectionString()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = h.Close(t.Context()) }()
	for range 3 {
		if _, err := h.Partition(t.Context(), "0"); err != nil {
			t.Error(err)
		}
		if err := stand.CutConnections(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}
