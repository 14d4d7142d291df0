package eventhubs

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/Azure/go-amqp"
)

// stolen is the condition that ends readers, and that refuses them. The client
// calls the first OwnershipLost and the second, after tries, ConnectionLost: a
// link that is refused is none yet. Its errors wrap nothing: the condition is in
// the text alone.
const stolen = "amqp:link:stolen"

// reading reads a partition in the background; what ended it comes on the
// channel.
func reading(t *testing.T, h Hub, group string, level *int64) (*azeventhubs.PartitionClient, <-chan error) {
	t.Helper()
	reader := open(t, consumer(t, h, group), "0", azeventhubs.PartitionClientOptions{StartPosition: earliest, OwnerLevel: level})
	end := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	go func() {
		_, err := reader.ReceiveEvents(ctx, 1, nil)
		end <- err
	}()
	return reader, end
}

// ended is what ended a reader.
func ended(t *testing.T, end <-chan error) error {
	t.Helper()
	select {
	case err := <-end:
		return err
	case <-time.After(patience):
		t.Fatal("the reader still reads")
		return nil
	}
}

func TestHigherOrEqualLevelTakesOver(t *testing.T) {
	for name, c := range map[string]struct{ old, new int64 }{"higher": {0, 3}, "equal": {2, 2}} {
		t.Run(name, func(t *testing.T) {
			h := ForTest(t).Hub(t, HubOptions{})
			_, first := reading(t, h, "ours", &c.old)
			awaitReaders(t, h, "0", 1)
			_, second := reading(t, h, "ours", &c.new)
			if err := ended(t, first); !isCode(err, azeventhubs.ErrorCodeOwnershipLost) {
				t.Errorf("the first reader ended with %v", err)
			}
			fill(t, h, "0", 1)
			if err := ended(t, second); err != nil {
				t.Errorf("the second reader: %v", err)
			}
		})
	}
}

func TestLowerLevelIsRefused(t *testing.T) {
	h := ForTest(t).Hub(t, HubOptions{})
	_, first := reading(t, h, "ours", ptr(int64(5)))
	awaitReaders(t, h, "0", 1)
	_, second := reading(t, h, "ours", ptr(int64(4)))
	if err := ended(t, second); !isCode(err, azeventhubs.ErrorCodeConnectionLost) || !strings.Contains(err.Error(), stolen) {
		t.Errorf("the second reader ended with %v", err)
	}
	fill(t, h, "0", 1)
	if err := ended(t, first); err != nil {
		t.Errorf("the first reader: %v", err)
	}
}

// While one with an owner level reads, another without one is refused; in
// another group it reads.
func TestNoReaderWithoutALevelBesideOneWith(t *testing.T) {
	h := ForTest(t).Hub(t, HubOptions{})
	owner, _ := reading(t, h, "ours", ptr(int64(0)))
	awaitReaders(t, h, "0", 1)
	_, refused := reading(t, h, "OURS", nil)
	if err := ended(t, refused); !isCode(err, azeventhubs.ErrorCodeConnectionLost) || !strings.Contains(err.Error(), stolen) {
		t.Errorf("it ended with %v", err)
	}
	_, other := reading(t, h, "$Default", nil)
	awaitReaders(t, h, "0", 2)
	if err := owner.Close(ctxOf(t)); err != nil {
		t.Fatal(err)
	}
	awaitReaders(t, h, "0", 1)
	_, late := reading(t, h, "ours", nil)
	awaitReaders(t, h, "0", 2)
	fill(t, h, "0", 1)
	for _, end := range []<-chan error{other, late} {
		if err := ended(t, end); err != nil {
			t.Error(err)
		}
	}
}

func TestLevelEndsReadersWithout(t *testing.T) {
	h := ForTest(t).Hub(t, HubOptions{})
	_, first := reading(t, h, "ours", nil)
	awaitReaders(t, h, "0", 1)
	reading(t, h, "ours", ptr(int64(0)))
	if err := ended(t, first); !isCode(err, azeventhubs.ErrorCodeOwnershipLost) {
		t.Errorf("it ended with %v", err)
	}
}

func TestSixthReaderIsRefused(t *testing.T) {
	h := ForTest(t).Hub(t, HubOptions{})
	for n := range 5 {
		reading(t, h, "ours", nil)
		awaitReaders(t, h, "0", n+1)
	}
	_, sixth := reading(t, h, "ours", nil)
	if err := ended(t, sixth); !isCondition(err, amqp.ErrCondResourceLimitExceeded) {
		t.Errorf("it ended with %v", err)
	}
}

// A client that goes away without a word is no reader any more.
func TestReadersOfLostConnectionsAreForgotten(t *testing.T) {
	h := ForTest(t).Hub(t, HubOptions{})
	client := consumer(t, h, "ours")
	reader := open(t, client, "0", azeventhubs.PartitionClientOptions{StartPosition: earliest})
	fill(t, h, "0", 1)
	receive(t, reader, 1)
	awaitReaders(t, h, "0", 1)
	if err := client.Close(ctxOf(t)); err != nil {
		t.Fatal(err)
	}
	awaitReaders(t, h, "0", 0)
}

func TestRewind(t *testing.T) {
	h := ForTest(t).Hub(t, HubOptions{})
	fill(t, h, "0", 4)
	client := consumer(t, h, "ours")
	reader := open(t, client, "0", azeventhubs.PartitionClientOptions{StartPosition: earliest})
	receive(t, reader, 4)
	if err := h.Rewind(ctxOf(t), "ours", "0", 2); err != nil {
		t.Fatal(err)
	}
	if got := bodies(receive(t, reader, 2)); got != "2 3 " {
		t.Errorf("the reader that is there gets %q", got)
	}
	if err := reader.Close(ctxOf(t)); err != nil {
		t.Fatal(err)
	}
	awaitReaders(t, h, "0", 0)
	if err := h.Rewind(ctxOf(t), "ours", "0", 1); err != nil {
		t.Fatal(err)
	}
	later := azeventhubs.StartPosition{SequenceNumber: ptr(int64(2))}
	if got := bodies(receive(t, open(t, client, "0", azeventhubs.PartitionClientOptions{StartPosition: later}), 3)); got != "1 2 3 " {
		t.Errorf("the next reader gets %q", got)
	}
}
