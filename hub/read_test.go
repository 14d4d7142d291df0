package hub

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/Azure/go-amqp"

	"sluice/devtools/eventhubs"
)

// put puts n events into a partition, their bodies their numbers.
func put(t *testing.T, at eventhubs.Hub, partition string, n int) {
	t.Helper()
	events := make([]eventhubs.Put, n)
	for i := range events {
		events[i].Body = fmt.Append(nil, i)
	}
	must(t, at.Put(ctxOf(t), partition, events...))
}

// trigger reads a partition as the host's trigger does, with an owner level. It
// returns what ends it, once.
func trigger(t *testing.T, at eventhubs.Hub, group, partition string) <-chan error {
	t.Helper()
	client, err := azeventhubs.NewConsumerClientFromConnectionString(at.ConnectionString(), "", group, nil)
	must(t, err)
	t.Cleanup(func() { _ = client.Close(context.Background()) })
	reader, err := client.NewPartitionClient(partition, &azeventhubs.PartitionClientOptions{
		StartPosition: azeventhubs.StartPosition{Earliest: to.Ptr(true)}, OwnerLevel: to.Ptr[int64](0),
	})
	must(t, err)
	_, err = reader.ReceiveEvents(ctxOf(t), 1, nil)
	must(t, err)
	ended := make(chan error, 1)
	go func() {
		for {
			if _, err := reader.ReceiveEvents(t.Context(), 1, nil); err != nil {
				ended <- err
				return
			}
		}
	}()
	return ended
}

// read reads and returns the sequence numbers.
func read(t *testing.T, h *Hub, partition string, from, to int64, most int) ([]int64, error) {
	t.Helper()
	var got []int64
	err := h.Read(ctxOf(t), partition, from, to, most, func(events []Event) error {
		if len(events) == 0 || len(events) > most {
			t.Errorf("a page of %d events, at most %d", len(events), most)
		}
		for _, e := range events {
			if string(e.Body) != fmt.Sprint(e.Sequence) || e.Enqueued.IsZero() || e.Offset == "" {
				t.Errorf("event %d: %+v", e.Sequence, e)
			}
			got = append(got, e.Sequence)
		}
		return nil
	})
	return got, err
}

func between(from, to int64) (all []int64) {
	for ; from < to; from++ {
		all = append(all, from)
	}
	return all
}

func TestRead(t *testing.T) {
	at := eventhubs.ForTest(t).Hub(t, eventhubs.HubOptions{})
	h := open(t, at, nil)
	put(t, at, "1", 500)
	must(t, at.Trim(ctxOf(t), "1", 100))
	for _, c := range []struct {
		name     string
		from, to int64
		most     int
		want     []int64
	}{
		{"a gap", 150, 400, 1000, between(150, 400)},
		{"one at a time", 150, 160, 1, between(150, 160)},
		{"one", 499, 500, 10, between(499, 500)},
		{"nothing", 200, 200, 10, nil},
		{"the wrong way round", 200, 100, 10, nil},
		{"expired in part", 50, 120, 10, between(100, 120)},
		{"expired", 50, 80, 10, nil},
		{"beyond the end", 490, 600, 100, between(490, 500)},
	} {
		got, err := read(t, h, "1", c.from, c.to, c.most)
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, %v; want %v", c.name, got, err, c.want)
		}
	}
	if got, err := read(t, h, "2", 0, 10, 10); err != nil || got != nil {
		t.Errorf("of an empty partition: %v, %v", got, err)
	}
	failed := errors.New("failed")
	pages := 0
	err := h.Read(ctxOf(t), "1", 100, 500, 10, func([]Event) error {
		if pages++; pages == 2 {
			return failed
		}
		return nil
	})
	if !errors.Is(err, failed) || pages != 2 {
		t.Errorf("after an error of each: %v, %d pages", err, pages)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err = h.Read(ctx, "1", 100, 500, 10, func([]Event) error { cancel(); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("after the context's end: %v", err)
	}
}

// TestReadBesideTheTrigger has every set of consumer groups that a tier allows.
func TestReadBesideTheTrigger(t *testing.T) {
	for _, c := range []struct {
		name   string
		groups []string
		own    string
		stolen bool
	}{
		{"a group for it", []string{"$Default", RereadGroup}, "$Default", false},
		{"the default group is free", []string{"$Default", "sluice"}, "sluice", false},
		{"only the trigger's group", []string{"$Default"}, "$Default", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			at := eventhubs.ForTest(t).Hub(t, eventhubs.HubOptions{Groups: c.groups})
			var log journal
			h := open(t, at, func(cfg *Config) { cfg.ConsumerGroup, cfg.Log = c.own, log.log() })
			put(t, at, "0", 50)
			ended := trigger(t, at, c.own, "0")
			got, err := read(t, h, "0", 10, 40, 100)
			if err != nil || !slices.Equal(got, between(10, 40)) {
				t.Errorf("%v, %v", got, err)
			}
			if c.stolen != (log.count("takes the partition") == 1) {
				t.Errorf("the log says %d times that it takes the partition", log.count("takes the partition"))
			}
			select {
			case err := <-ended:
				if !c.stolen {
					t.Errorf("the trigger lost its link: %v", err)
				}
			case <-time.After(200 * time.Millisecond):
				if c.stolen {
					t.Error("the trigger kept its link")
				}
			}
		})
	}
}

// TestReadCrowded has as many readers in the group for rereading as it may have.
func TestReadCrowded(t *testing.T) {
	at := eventhubs.ForTest(t).Hub(t, eventhubs.HubOptions{Groups: []string{"$Default", "sluice", RereadGroup}})
	h := open(t, at, func(cfg *Config) { cfg.ConsumerGroup = "sluice" })
	put(t, at, "0", 50)
	ended := trigger(t, at, "sluice", "0")
	client, err := azeventhubs.NewConsumerClientFromConnectionString(at.ConnectionString(), "", RereadGroup, nil)
	must(t, err)
	t.Cleanup(func() { _ = client.Close(context.Background()) })
	for range 5 {
		reader, err := client.NewPartitionClient("0", &azeventhubs.PartitionClientOptions{StartPosition: azeventhubs.StartPosition{Earliest: to.Ptr(true)}})
		must(t, err)
		_, err = reader.ReceiveEvents(ctxOf(t), 1, nil)
		must(t, err)
	}
	err = h.readBy(ctxOf(t), way{group: RereadGroup}, "0", to.Ptr[int64](10), 40, 100, func([]Event) error { return nil })
	if !crowded(err) {
		t.Errorf("%v", err)
	}
	if got, err := read(t, h, "0", 10, 40, 100); err != nil || !slices.Equal(got, between(10, 40)) {
		t.Errorf("%v, %v", got, err)
	}
	select {
	case err := <-ended:
		t.Errorf("the trigger lost its link: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
}

// TestReadElsewhere has what refuses one way of reading, and what all.
func TestReadElsewhere(t *testing.T) {
	for condition, want := range map[amqp.ErrCond]bool{
		"com.microsoft:server-busy":       false,
		"com.microsoft:timeout":           false,
		amqp.ErrCondResourceLimitExceeded: true,
		amqp.ErrCondStolen:                true,
		amqp.ErrCondNotFound:              true,
		amqp.ErrCondUnauthorizedAccess:    true,
	} {
		if err := explain(t.Context(), &amqp.Error{Condition: condition}); elsewhere(err) != want {
			t.Errorf("%v: %v", err, elsewhere(err))
		}
	}
	if err := fmt.Errorf("receive: %w", ErrBusy); elsewhere(err) {
		t.Error(err)
	}
}

// TestReadIsTaken has a trigger that comes back while its partition is reread.
func TestReadIsTaken(t *testing.T) {
	at := eventhubs.ForTest(t).Hub(t, eventhubs.HubOptions{Groups: []string{"$Default"}})
	h := open(t, at, nil)
	put(t, at, "0", 500)
	var got []int64
	err := h.Read(ctxOf(t), "0", 0, 500, 8, func(events []Event) error {
		if len(got) == 0 {
			trigger(t, at, "$Default", "0")
		}
		for _, e := range events {
			got = append(got, e.Sequence)
		}
		return nil
	})
	if !errors.Is(err, ErrTaken) {
		t.Errorf("%v", err)
	}
	if n := int64(len(got)); n == 500 || !slices.Equal(got, between(0, n)) {
		t.Errorf("%v", got)
	}
}

// TestReadThroughCuts goes on where it was whenever it ends.
func TestReadThroughCuts(t *testing.T) {
	at := eventhubs.ForTest(t).Hub(t, eventhubs.HubOptions{})
	h := open(t, at, nil)
	put(t, at, "3", 2000)
	must(t, at.CutEvery(ctxOf(t), 40*time.Millisecond))
	var got []int64
	eventually(t, "all of it is read", func() bool {
		err := h.Read(ctxOf(t), "3", int64(len(got)), 2000, 64, func(events []Event) error {
			for _, e := range events {
				got = append(got, e.Sequence)
			}
			time.Sleep(5 * time.Millisecond)
			return nil
		})
		return err == nil
	})
	if !slices.Equal(got, between(0, 2000)) {
		t.Errorf("%d events, not those from 0 to 2000 in order", len(got))
	}
}

// TestEventOf has what IoT Hub adds, and bodies that are not there.
func TestEventOf(t *testing.T) {
	at := eventhubs.ForTest(t).Hub(t, eventhubs.HubOptions{})
	h := open(t, at, nil)
	must(t, at.Put(ctxOf(t), "0",
		eventhubs.Put{
			Body: []byte("{}"), PartitionKey: "a1", ContentType: "application/json", ContentEncoding: "gzip",
			Properties:  map[string]any{"level": "high"},
			Annotations: map[string]any{"iothub-connection-device-id": "a1"},
		},
		eventhubs.Put{}))
	var got []Event
	must(t, h.Read(ctxOf(t), "0", 0, 2, 10, func(events []Event) error { got = append(got, events...); return nil }))
	e := got[0]
	if e.PartitionKey != "a1" || e.Properties["level"] != "high" || e.System["iothub-connection-device-id"] != "a1" ||
		e.System["content-type"] != "application/json" || e.System["content-encoding"] != "gzip" || e.Sequence != 0 {
		t.Errorf("%+v", e)
	}
	if e := got[1]; len(e.Body) != 0 || e.PartitionKey != "" || e.Sequence != 1 {
		t.Errorf("%+v", e)
	}
}

// partitionOf gives events of a size that changes, n of them, and then fails.
type partitionOf struct {
	size, n int
	err     error
	asked   int // the largest number that was asked for at once
}

func (p *partitionOf) ReceiveEvents(ctx context.Context, count int, _ *azeventhubs.ReceiveEventsOptions) ([]*azeventhubs.ReceivedEventData, error) {
	p.asked = max(p.asked, count)
	events := make([]*azeventhubs.ReceivedEventData, min(count, p.n))
	for i := range events {
		events[i] = &azeventhubs.ReceivedEventData{EventData: azeventhubs.EventData{Body: make([]byte, p.size)}}
	}
	p.n -= len(events)
	if len(events) == 0 {
		if p.err != nil {
			return nil, p.err
		}
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return events, nil
}

// TestPagesFit bounds what a page takes in memory.
func TestPagesFit(t *testing.T) {
	const budget = 4 << 20
	from := &partitionOf{n: 1 << 30}
	p := newPages(from, budget, 1000)
	next := func(size int) (n int) {
		t.Helper()
		from.size, from.asked = size, 0
		events, err := p.next(t.Context(), time.Second, time.Second, 1<<40)
		must(t, err)
		if from.asked > budget/least {
			t.Errorf("%d events were asked for at once", from.asked)
		}
		return len(events)
	}
	random := rand.New(rand.NewPCG(1, 2))
	last := 1 << 30
	for range 200 {
		size := []int{1, 100, 10 << 10, 1 << 20}[random.IntN(4)]
		n := next(size)
		if most := budget / size; n == 0 || n > 1000 || size <= last && n > most+1 || n > most+budget/least {
			t.Fatalf("a page of %d events of %d bytes, after one of %d each", n, size, last)
		}
		last = size
	}
	for _, c := range []struct{ size, want int }{{100, 1000}, {8 << 10, budget / (8<<10 + weight)}, {1 << 20, 3}} {
		next(c.size)
		if n := next(c.size); n < c.want || n > c.want+1 {
			t.Errorf("a page of %d events of %d bytes, want %d", n, c.size, c.want)
		}
	}
	if events, _ := p.next(t.Context(), time.Second, time.Second, 3); len(events) != 3 {
		t.Errorf("%d events, 3 are wanted", len(events))
	}
	if events, _ := newPages(from, 1, 0).next(t.Context(), time.Second, time.Second, 100); len(events) != 1 {
		t.Errorf("without room for any: %d events", len(events))
	}
}

// TestPagesEnd gives what came before an error, and the error once.
func TestPagesEnd(t *testing.T) {
	broken := errors.New("broken")
	from := &partitionOf{size: 10, n: 20, err: broken}
	p := newPages(from, 4<<20, 1000)
	if events, err := p.next(t.Context(), time.Second, time.Second, 1000); err != nil || len(events) != 20 {
		t.Errorf("%d events, %v", len(events), err)
	}
	if events, err := p.next(t.Context(), time.Second, time.Second, 1000); !errors.Is(err, broken) || events != nil {
		t.Errorf("%d events, %v", len(events), err)
	}
	from.n = 1
	if events, err := p.next(t.Context(), time.Second, time.Second, 1000); err != nil || len(events) != 1 {
		t.Errorf("afterwards: %d events, %v", len(events), err)
	}
	from.n, from.err = 5, nil
	p.failed = nil
	if events, err := p.next(t.Context(), 10*time.Millisecond, 10*time.Millisecond, 1000); err != nil || len(events) != 5 {
		t.Errorf("those that came in time: %d events, %v", len(events), err)
	}
	if events, err := p.next(t.Context(), 10*time.Millisecond, 10*time.Millisecond, 1000); err != nil || len(events) != 0 {
		t.Errorf("none in time: %d events, %v", len(events), err)
	}
}

// TestReadSilence has a hub whose reader gets nothing although there is
// something: that is no end.
func TestReadSilence(t *testing.T) {
	at := eventhubs.ForTest(t).Hub(t, eventhubs.HubOptions{})
	h := open(t, at, nil)
	put(t, at, "0", 10)
	if err := h.nothingLeft(ctxOf(t), "0", 5); !errors.Is(err, ErrUnavailable) {
		t.Errorf("events are left: %v", err)
	}
	if err := h.nothingLeft(ctxOf(t), "0", 10); err != nil {
		t.Errorf("none is left: %v", err)
	}
	must(t, at.Trim(ctxOf(t), "0", 10))
	if err := h.nothingLeft(ctxOf(t), "0", 5); err != nil {
		t.Errorf("all have expired: %v", err)
	}
}

// TestReadSilent rereads from a hub that keeps its answers back: that ends.
func TestReadSilent(t *testing.T) {
	at := eventhubs.ForTest(t).Hub(t, eventhubs.HubOptions{})
	h := open(t, at, func(cfg *Config) { cfg.AskTimeout = 300 * time.Millisecond })
	put(t, at, "0", 5)
	must(t, at.Delay(ctxOf(t), time.Hour))
	if got, err := read(t, h, "0", 0, 5, 10); !errors.Is(err, ErrUnavailable) || len(got) > 0 {
		t.Errorf("%v, %v", got, err)
	}
	must(t, at.Heal(ctxOf(t)))
	if got, err := read(t, h, "0", 0, 5, 10); err != nil || len(got) != 5 {
		t.Errorf("afterwards: %v, %v", got, err)
	}
}
