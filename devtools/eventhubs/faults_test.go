package eventhubs

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
)

const serverBusy = "com.microsoft:server-busy"

// Both kinds of cuts are faults that the client gets over by itself: nothing is
// lost, and what is read comes in order.
func TestCuts(t *testing.T) {
	for name, cut := range map[string]func(Hub, context.Context) error{
		"connections": Hub.CutConnections,
		"links":       Hub.CutLinks,
	} {
		t.Run(name, func(t *testing.T) {
			h := ForTest(t).Hub(t, HubOptions{})
			client := producer(t, h, few)
			reader := open(t, consumer(t, h, "ours"), "0", azeventhubs.PartitionClientOptions{StartPosition: earliest})
			for round := range 5 {
				if err := send(ctxOf(t), client, to("0"), text(fmt.Sprint(round))); err != nil {
					t.Fatalf("round %d: %v", round, err)
				}
				if got := bodies(receive(t, reader, 1)); got != fmt.Sprintf("%d ", round) {
					t.Fatalf("round %d: %q", round, got)
				}
				if err := cut(h, ctxOf(t)); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// TestCutsAreSeen sees that a cut is one: a client without patience fails.
func TestCutsAreSeen(t *testing.T) {
	for name, every := range map[string]func(Hub, context.Context, time.Duration) error{
		"connections": Hub.CutEvery,
		"links":       Hub.CutLinksEvery,
	} {
		t.Run(name, func(t *testing.T) {
			h := ForTest(t).Hub(t, HubOptions{})
			_, end := reading(t, h, "ours", nil)
			awaitReaders(t, h, "0", 1)
			if err := every(h, ctxOf(t), 5*time.Millisecond); err != nil {
				t.Fatal(err)
			}
			if err := ended(t, end); err == nil {
				t.Error("the reader was never cut")
			}
			if err := every(h, ctxOf(t), 0); err != nil {
				t.Fatal(err)
			}
			fill(t, h, "0", 1)
		})
	}
}

func TestRefuse(t *testing.T) {
	h := ForTest(t).Hub(t, HubOptions{})
	fill(t, h, "0", 1)
	client := producer(t, h, once)
	if err := send(ctxOf(t), client, to("0"), text("before")); err != nil {
		t.Fatal(err)
	}
	if err := h.Refuse(ctxOf(t), true); err != nil {
		t.Fatal(err)
	}
	for _, client := range []*azeventhubs.ProducerClient{client, producer(t, h, once)} {
		if err := send(ctxOf(t), client, to("0"), text("meanwhile")); !isCode(err, azeventhubs.ErrorCodeConnectionLost) {
			t.Errorf("a hub that refuses: %v", err)
		}
	}
	if err := h.Refuse(ctxOf(t), false); err != nil {
		t.Fatal(err)
	}
	if err := send(ctxOf(t), producer(t, h, few), to("0"), text("after")); err != nil {
		t.Error(err)
	}
	if got := held(t, h, "0"); got != "0 before after " {
		t.Errorf("it holds %q", got)
	}
}

func TestDelay(t *testing.T) {
	h := ForTest(t).Hub(t, HubOptions{})
	client := producer(t, h, once)
	if err := send(ctxOf(t), client, to("0"), text("before")); err != nil {
		t.Fatal(err)
	}
	if err := h.Delay(ctxOf(t), time.Hour); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := send(ctx, client, to("0"), text("late")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a send without an answer: %v", err)
	}
	if got := held(t, h, "0"); got != "before late " {
		t.Errorf("it holds %q", got)
	}
}

func TestBusy(t *testing.T) {
	h := ForTest(t).Hub(t, HubOptions{})
	client := producer(t, h, once)
	pattern := func(seed int64) (kept string) {
		if err := h.Busy(ctxOf(t), 0.5, seed); err != nil {
			t.Fatal(err)
		}
		for i := range 40 {
			switch err := send(ctxOf(t), client, to("0"), text(fmt.Sprint(i))); {
			case err == nil:
				kept += fmt.Sprint(i) + " "
			case !isCondition(err, serverBusy):
				t.Fatalf("send %d: %v", i, err)
			}
		}
		return kept
	}
	first, second, other := pattern(1), pattern(1), pattern(2)
	if first != second || first == other {
		t.Errorf("seed 1: %q and %q, seed 2: %q", first, second, other)
	}
	if n := strings.Count(first, " "); n < 8 || n > 32 {
		t.Errorf("%d of 40 sends were taken", n)
	}
	if got := held(t, h, "0"); got != first+second+other {
		t.Errorf("it holds %q, taken were %q", got, first+second+other)
	}
	// The client gets over it by trying again.
	if err := h.Busy(ctxOf(t), 1, 1); err != nil {
		t.Fatal(err)
	}
	patient := producer(t, h, azeventhubs.RetryOptions{MaxRetries: 1000, RetryDelay: time.Millisecond, MaxRetryDelay: 10 * time.Millisecond})
	done := make(chan error, 1)
	go func() { done <- send(t.Context(), patient, to("1"), text("x")) }()
	select {
	case err := <-done:
		t.Fatalf("a busy hub took it: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	if err := h.Heal(ctxOf(t)); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A send that is kept but not answered: the sender fails, or sends it twice.
func TestLose(t *testing.T) {
	h := ForTest(t).Hub(t, HubOptions{})
	client := producer(t, h, once)
	if err := send(ctxOf(t), client, to("0"), text("a")); err != nil {
		t.Fatal(err)
	}
	if err := h.Lose(ctxOf(t), 1); err != nil {
		t.Fatal(err)
	}
	if err := send(ctxOf(t), client, to("0"), text("b")); !isCode(err, azeventhubs.ErrorCodeConnectionLost) {
		t.Errorf("a lost answer: %v", err)
	}
	if got := held(t, h, "0"); got != "a b " {
		t.Errorf("it holds %q", got)
	}
	if err := h.Lose(ctxOf(t), 1); err != nil {
		t.Fatal(err)
	}
	if err := send(ctxOf(t), producer(t, h, few), to("0"), text("c")); err != nil {
		t.Fatal(err)
	}
	if got := held(t, h, "0"); got != "a b c c " {
		t.Errorf("it holds %q", got)
	}
}

func TestStopKeepsWhatIsThere(t *testing.T) {
	ForTest(t) // skips if it is not installed
	s, err := Start(t.Context(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	h := s.Hub(t, HubOptions{})
	fill(t, h, "0", 3)
	for range 2 { // a second order changes nothing
		if err := s.Stop(ctxOf(t)); err != nil {
			t.Fatal(err)
		}
	}
	if connection, err := net.Dial("tcp", s.Address()); err == nil {
		connection.Close()
		t.Error("somebody still listens")
	}
	if err := send(ctxOf(t), producer(t, h, once), to("0"), text("x")); err == nil {
		t.Error("a stopped server takes events")
	}
	for range 2 {
		if err := s.Restart(ctxOf(t)); err != nil {
			t.Fatal(err)
		}
	}
	if got := bodies(receive(t, open(t, consumer(t, h, "ours"), "0", azeventhubs.PartitionClientOptions{StartPosition: earliest}), 3)); got != "0 1 2 " {
		t.Errorf("%q", got)
	}
	fill(t, h, "0", 1)
}
