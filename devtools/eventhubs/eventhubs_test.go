package eventhubs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/Azure/go-amqp"
)

func TestSentEventsAreReceivedInOrder(t *testing.T) {
	h := ForTest(t).Hub(t, HubOptions{})
	client := producer(t, h, few)
	before := time.Now().Add(-time.Second)
	event := text("one")
	event.Properties = map[string]any{"traceparent": "00-ab-cd-01", "count": int64(7)}
	event.ContentType = ptr("application/json")
	for _, event := range []*azeventhubs.EventData{event, text("two"), text("three")} {
		if err := send(ctxOf(t), client, to("2"), event); err != nil {
			t.Fatal(err)
		}
	}
	events := receive(t, open(t, consumer(t, h, "$Default"), "2", azeventhubs.PartitionClientOptions{StartPosition: earliest}), 3)
	if got := bodies(events); got != "one two three " {
		t.Errorf("bodies %q", got)
	}
	first := events[0]
	if first.Properties["traceparent"] != "00-ab-cd-01" || first.Properties["count"] != int64(7) {
		t.Errorf("properties %v", first.Properties)
	}
	if first.ContentType == nil || *first.ContentType != "application/json" {
		t.Errorf("content type %v", first.ContentType)
	}
	if first.MessageID == nil || *first.MessageID == "" {
		t.Errorf("message id %v", first.MessageID)
	}
	for i, event := range events {
		if event.SequenceNumber != int64(i) {
			t.Errorf("event %d: sequence number %d", i, event.SequenceNumber)
		}
		if event.EnqueuedTime == nil || event.EnqueuedTime.Before(before) || event.EnqueuedTime.After(time.Now().Add(time.Second)) {
			t.Errorf("event %d: enqueued %v", i, event.EnqueuedTime)
		}
	}
	if a, b := events[0].Offset, events[1].Offset; a == "" || a == b {
		t.Errorf("offsets %q, %q", a, b)
	}
}

func TestKeysHaveAPartition(t *testing.T) {
	h := ForTest(t).Hub(t, HubOptions{Partitions: 8})
	client := producer(t, h, few)
	for i := range 64 {
		key := fmt.Sprintf("s%02d", i%32)
		if err := send(ctxOf(t), client, azeventhubs.EventDataBatchOptions{PartitionKey: &key}, text(key)); err != nil {
			t.Fatal(err)
		}
	}
	where := map[string]string{}
	used := 0
	for p := range 8 {
		events, err := h.Contents(ctxOf(t), fmt.Sprint(p))
		if err != nil {
			t.Fatal(err)
		}
		if len(events) > 0 {
			used++
		}
		for _, event := range events {
			if event.PartitionKey != string(event.Body) {
				t.Errorf("key %q of body %q", event.PartitionKey, event.Body)
			}
			if other, ok := where[event.PartitionKey]; ok && other != fmt.Sprint(p) {
				t.Errorf("key %q in the partitions %s and %d", event.PartitionKey, other, p)
			}
			where[event.PartitionKey] = fmt.Sprint(p)
		}
	}
	if len(where) != 32 || used < 4 {
		t.Errorf("%d keys in %d partitions", len(where), used)
	}
}

func TestWithoutAKeyPartitionsTakeTurns(t *testing.T) {
	h := ForTest(t).Hub(t, HubOptions{Partitions: 3})
	client := producer(t, h, few)
	for range 6 {
		if err := send(ctxOf(t), client, azeventhubs.EventDataBatchOptions{}, text("x")); err != nil {
			t.Fatal(err)
		}
	}
	for p := range 3 {
		if got := held(t, h, fmt.Sprint(p)); got != "x x " {
			t.Errorf("partition %d holds %q", p, got)
		}
	}
}

func TestStartPositions(t *testing.T) {
	h := ForTest(t).Hub(t, HubOptions{})
	at := time.Now().Add(time.Hour).Truncate(time.Millisecond)
	for i := range 5 {
		if err := h.Put(ctxOf(t), "0", Put{Body: []byte(fmt.Sprint(i)), Enqueued: at.Add(time.Duration(i) * time.Second)}); err != nil {
			t.Fatal(err)
		}
	}
	events, err := h.Contents(ctxOf(t), "0")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		from azeventhubs.StartPosition
		want string
	}{
		"earliest":           {azeventhubs.StartPosition{Earliest: ptr(true)}, "0 1 2 3 4 "},
		"after a sequence":   {azeventhubs.StartPosition{SequenceNumber: ptr(int64(1))}, "2 3 4 "},
		"at a sequence":      {azeventhubs.StartPosition{SequenceNumber: ptr(int64(1)), Inclusive: true}, "1 2 3 4 "},
		"before the first":   {azeventhubs.StartPosition{SequenceNumber: ptr(int64(-1))}, "0 1 2 3 4 "},
		"after an offset":    {azeventhubs.StartPosition{Offset: &events[2].Offset}, "3 4 "},
		"at an offset":       {azeventhubs.StartPosition{Offset: &events[2].Offset, Inclusive: true}, "2 3 4 "},
		"after a time":       {azeventhubs.StartPosition{EnqueuedTime: ptr(at.Add(3 * time.Second))}, "4 "},
		"at a time":          {azeventhubs.StartPosition{EnqueuedTime: ptr(at.Add(3 * time.Second)), Inclusive: true}, "3 4 "},
		"between two events": {azeventhubs.StartPosition{EnqueuedTime: ptr(at.Add(2500 * time.Millisecond))}, "3 4 "},
	} {
		t.Run(name, func(t *testing.T) {
			reader := open(t, consumer(t, h, "$Default"), "0", azeventhubs.PartitionClientOptions{StartPosition: c.from})
			if got := bodies(receive(t, reader, strings.Count(c.want, " "))); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

func TestLatestStartsAfterWhatIsThere(t *testing.T) {
	h := ForTest(t).Hub(t, HubOptions{})
	fill(t, h, "0", 3)
	reader := open(t, consumer(t, h, "$Default"), "0", azeventhubs.PartitionClientOptions{StartPosition: azeventhubs.StartPosition{Latest: ptr(true)}})
	got := make(chan string, 1)
	go func() {
		events, err := reader.ReceiveEvents(t.Context(), 1, nil) // the first call opens the link
		got <- fmt.Sprint(bodies(events), err)
	}()
	awaitReaders(t, h, "0", 1)
	if err := send(ctxOf(t), producer(t, h, few), to("0"), text("later")); err != nil {
		t.Fatal(err)
	}
	if got := <-got; got != "later <nil>" {
		t.Errorf("%q", got)
	}
}

// awaitReaders waits until a partition has n readers.
func awaitReaders(t *testing.T, h Hub, partition string, n int) {
	t.Helper()
	for ctx := ctxOf(t); ; time.Sleep(5 * time.Millisecond) {
		partitions, err := h.Partitions(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range partitions {
			if p.ID == partition && len(p.Readers) == n {
				return
			}
		}
	}
}

func TestProperties(t *testing.T) {
	h := ForTest(t).Hub(t, HubOptions{Partitions: 2})
	client := producer(t, h, few)
	hub, err := client.GetEventHubProperties(ctxOf(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	if hub.Name != h.Name || fmt.Sprint(hub.PartitionIDs) != "[0 1]" || time.Since(hub.CreatedOn) > patience {
		t.Errorf("hub %+v", hub)
	}
	empty, err := client.GetPartitionProperties(ctxOf(t), "0", nil)
	if err != nil {
		t.Fatal(err)
	}
	if !empty.IsEmpty || empty.LastEnqueuedSequenceNumber != -1 || empty.LastEnqueuedOffset != "-1" || empty.LastEnqueuedOn.Year() != 1 {
		t.Errorf("empty partition %+v", empty)
	}
	fill(t, h, "0", 5)
	if err := h.Trim(ctxOf(t), "0", 2); err != nil {
		t.Fatal(err)
	}
	some, err := client.GetPartitionProperties(ctxOf(t), "0", nil)
	if err != nil {
		t.Fatal(err)
	}
	events, err := h.Contents(ctxOf(t), "0")
	if err != nil {
		t.Fatal(err)
	}
	last := events[len(events)-1]
	if some.IsEmpty || some.BeginningSequenceNumber != 2 || some.LastEnqueuedSequenceNumber != 4 || some.LastEnqueuedOffset != last.Offset || !some.LastEnqueuedOn.Equal(last.Enqueued) {
		t.Errorf("partition %+v, last event %+v", some, last)
	}
	if _, err := client.GetPartitionProperties(ctxOf(t), "7", nil); err == nil {
		t.Error("a partition that is not there has properties")
	}
}

func TestEnqueuedTimesNeverFall(t *testing.T) {
	h := ForTest(t).Hub(t, HubOptions{})
	later := time.Now().Add(time.Hour)
	if err := h.Put(ctxOf(t), "0", Put{Enqueued: later}, Put{Enqueued: later.Add(-time.Minute)}); err != nil {
		t.Fatal(err)
	}
	fill(t, h, "0", 1)
	events, err := h.Contents(ctxOf(t), "0")
	if err != nil {
		t.Fatal(err)
	}
	for _, event := range events {
		if event.Enqueued.Before(later.Truncate(time.Millisecond)) {
			t.Errorf("event %d enqueued %v, the first was at %v", event.Sequence, event.Enqueued, later)
		}
	}
}

func TestRetentionByCount(t *testing.T) {
	h := ForTest(t).Hub(t, HubOptions{Retention: 10})
	for range 4 {
		fill(t, h, "0", 8)
	}
	events, err := h.Contents(ctxOf(t), "0")
	if err != nil {
		t.Fatal(err)
	}
	if len(events) != 10 || events[0].Sequence != 22 || events[9].Sequence != 31 {
		t.Fatalf("%d events, from %d", len(events), events[0].Sequence)
	}
	// A reader that asks for what is gone gets what there is.
	reader := open(t, consumer(t, h, "$Default"), "0", azeventhubs.PartitionClientOptions{StartPosition: azeventhubs.StartPosition{SequenceNumber: ptr(int64(3))}})
	if got := receive(t, reader, 10); got[0].SequenceNumber != 22 {
		t.Errorf("first event %d", got[0].SequenceNumber)
	}
}

func TestIoTHubEvent(t *testing.T) {
	h := ForTest(t).Hub(t, HubOptions{})
	at := time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)
	put := Put{
		Body:            []byte(`{"v":1}`),
		PartitionKey:    "a1",
		Properties:      map[string]any{"kind": "x", "n": 3, "half": 0.5, "on": true},
		Annotations:     map[string]any{"iothub-connection-device-id": "a1", "iothub-enqueuedtime": at},
		ContentType:     "application/json",
		ContentEncoding: "utf-8",
		MessageID:       "m1",
		Enqueued:        at,
	}
	if err := h.Put(ctxOf(t), "1", put); err != nil {
		t.Fatal(err)
	}
	event := receive(t, open(t, consumer(t, h, "$Default"), "1", azeventhubs.PartitionClientOptions{StartPosition: earliest}), 1)[0]
	if string(event.Body) != `{"v":1}` || event.PartitionKey == nil || *event.PartitionKey != "a1" || !event.EnqueuedTime.Equal(at) {
		t.Errorf("event %+v", event)
	}
	if event.SystemProperties["iothub-connection-device-id"] != "a1" || !at.Equal(event.SystemProperties["iothub-enqueuedtime"].(time.Time)) {
		t.Errorf("system properties %v", event.SystemProperties)
	}
	if p := event.Properties; p["kind"] != "x" || p["n"] != int64(3) || p["half"] != 0.5 || p["on"] != true {
		t.Errorf("properties %v", p)
	}
	if p := event.RawAMQPMessage.Properties; *p.ContentType != "application/json" || *p.ContentEncoding != "utf-8" || p.MessageID != "m1" {
		t.Errorf("message properties %+v", p)
	}
}

func TestWrongKeyIsRefused(t *testing.T) {
	h := ForTest(t).Hub(t, HubOptions{})
	h.key = "another"
	if err := send(ctxOf(t), producer(t, h, few), to("0"), text("x")); !isCode(err, azeventhubs.ErrorCodeUnauthorizedAccess) {
		t.Errorf("error %v", err)
	}
}

func TestUnknownThingsAreRefused(t *testing.T) {
	s := ForTest(t)
	h := s.Hub(t, HubOptions{Groups: []string{"$Default", "ours"}})
	reader := open(t, consumer(t, h, "others"), "0", azeventhubs.PartitionClientOptions{StartPosition: earliest})
	if _, err := reader.ReceiveEvents(ctxOf(t), 1, nil); !isCondition(err, amqp.ErrCondNotFound) {
		t.Errorf("unknown group: %v", err)
	}
	if err := send(ctxOf(t), producer(t, h, few), to("9"), text("x")); !isCondition(err, "com.microsoft:argument-out-of-range") {
		t.Errorf("unknown partition: %v", err)
	}
	gone := s.Hub(t, HubOptions{})
	if err := gone.Drop(ctxOf(t)); err != nil {
		t.Fatal(err)
	}
	if err := send(ctxOf(t), producer(t, gone, few), to("0"), text("x")); err == nil {
		t.Error("a dropped hub takes events")
	}
}

// isCondition says whether err is an AMQP error with a condition, of a link or
// of a message.
func isCondition(err error, condition amqp.ErrCond) bool {
	var link *amqp.LinkError
	if errors.As(err, &link) && link.RemoteErr != nil {
		return link.RemoteErr.Condition == condition
	}
	var e *amqp.Error
	return errors.As(err, &e) && e.Condition == condition
}

func TestMessageSize(t *testing.T) {
	h := ForTest(t).Hub(t, HubOptions{MaxMessage: 10_000})
	client := producer(t, h, few)
	batch, err := client.NewEventDataBatch(ctxOf(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := batch.AddEventData(&azeventhubs.EventData{Body: make([]byte, 10_000)}, nil); !errors.Is(err, azeventhubs.ErrEventDataTooLarge) {
		t.Errorf("an event over the link's limit: %v", err)
	}
	if err := batch.AddEventData(&azeventhubs.EventData{Body: make([]byte, 9_000)}, nil); err != nil {
		t.Fatal(err)
	}
	if err := client.SendEventDataBatch(ctxOf(t), batch, nil); err != nil {
		t.Fatal(err)
	}
	sent := receive(t, open(t, consumer(t, h, "$Default"), "0", azeventhubs.PartitionClientOptions{StartPosition: earliest}), 1)
	if len(sent[0].Body) != 9_000 {
		t.Errorf("%d bytes", len(sent[0].Body))
	}
}

func TestMemoryIsBounded(t *testing.T) {
	ForTest(t) // skips if it is not installed
	s, err := Start(t.Context(), Options{Memory: 100_000})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	h := s.Hub(t, HubOptions{})
	client := producer(t, h, few)
	body := &azeventhubs.EventData{Body: make([]byte, 30_000)}
	for range 3 {
		if err := send(ctxOf(t), client, to("0"), body); err != nil {
			t.Fatal(err)
		}
	}
	if err := send(ctxOf(t), client, to("0"), body); !isCondition(err, amqp.ErrCondResourceLimitExceeded) {
		t.Fatalf("beyond the memory: %v", err)
	}
	if err := h.Trim(ctxOf(t), "0", 1); err != nil {
		t.Fatal(err)
	}
	if err := send(ctxOf(t), client, to("0"), body); err != nil {
		t.Errorf("after a trim: %v", err)
	}
}

// Many events in large batches: frames, credit and windows are used up and
// given again.
func TestManyEvents(t *testing.T) {
	h := ForTest(t).Hub(t, HubOptions{})
	client := producer(t, h, few)
	const batches, each = 20, 500
	for b := range batches {
		var events []*azeventhubs.EventData
		for i := range each {
			events = append(events, text(fmt.Sprintf("%d %s", b*each+i, strings.Repeat("x", 1000))))
		}
		if err := send(ctxOf(t), client, to("0"), events...); err != nil {
			t.Fatal(err)
		}
	}
	for _, prefetch := range []int32{0, -1, 5000} {
		reader := open(t, consumer(t, h, "$Default"), "0", azeventhubs.PartitionClientOptions{StartPosition: earliest, Prefetch: prefetch})
		for i := 0; i < batches*each; {
			for _, event := range receive(t, reader, 2000) {
				if event.SequenceNumber != int64(i) || !strings.HasPrefix(string(event.Body), fmt.Sprintf("%d x", i)) {
					t.Fatalf("prefetch %d: event %d is %d: %.10s", prefetch, i, event.SequenceNumber, event.Body)
				}
				i++
			}
		}
		if err := reader.Close(ctxOf(t)); err != nil {
			t.Error(err)
		}
	}
}

func TestNotInstalled(t *testing.T) {
	if _, err := Start(t.Context(), Options{Folder: t.TempDir()}); !errors.Is(err, ErrMissing) {
		t.Errorf("error %v", err)
	}
}

func TestMain(m *testing.M) {
	code := m.Run()
	if s, err := shared(); err == nil {
		if text := s.Complaints(); text != "" {
			fmt.Println("the stand-in complained:", text)
			code = max(code, 1)
		}
	}
	os.Exit(code)
}

func TestHubsAreSeparate(t *testing.T) {
	s := ForTest(t)
	a, b := s.Hub(t, HubOptions{}), s.Hub(t, HubOptions{})
	fill(t, a, "0", 1)
	if got := held(t, b, "0"); got != "" {
		t.Errorf("the other hub holds %q", got)
	}
	if err := a.Refuse(ctxOf(t), true); err != nil {
		t.Fatal(err)
	}
	fill(t, b, "0", 1)
	b.Name = a.Name
	if err := send(ctxOf(t), producer(t, b, once), to("0"), text("x")); err == nil {
		t.Error("a hub takes another's key")
	}
}

func TestClearBeginsAnew(t *testing.T) {
	h := ForTest(t).Hub(t, HubOptions{})
	fill(t, h, "0", 3)
	if err := h.Clear(context.Background()); err != nil {
		t.Fatal(err)
	}
	fill(t, h, "0", 1)
	events, err := h.Contents(ctxOf(t), "0")
	if err != nil {
		t.Fatal(err)
	}
	if len(events) != 1 || events[0].Sequence != 0 {
		t.Errorf("events %+v", events)
	}
}

// What a partition keeps is handed out in pages that are bounded by bytes too.
func TestContentsOfLargeEvents(t *testing.T) {
	h := ForTest(t).Hub(t, HubOptions{})
	for i := range 40 {
		if err := h.Put(ctxOf(t), "0", Put{Body: []byte(strings.Repeat(string(rune('a'+i%26)), 1<<20))}); err != nil {
			t.Fatal(err)
		}
	}
	events, err := h.Contents(ctxOf(t), "0")
	if err != nil {
		t.Fatal(err)
	}
	if len(events) != 40 {
		t.Fatalf("%d events", len(events))
	}
	for i, event := range events {
		if event.Sequence != int64(i) || len(event.Body) != 1<<20 || event.Body[0] != byte('a'+i%26) {
			t.Fatalf("event %d: sequence %d, %d bytes", i, event.Sequence, len(event.Body))
		}
	}
}
