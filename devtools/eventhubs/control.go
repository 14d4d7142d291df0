package eventhubs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// mostAnswer bounds the answer to an order.
const mostAnswer = 512 << 20

// order gives the server an order and reads its answer into answer, if that is
// not nil.
func (s *Server) order(ctx context.Context, name string, asked map[string]any, answer any) error {
	if asked == nil {
		asked = map[string]any{}
	}
	body, err := json.Marshal(asked)
	if err != nil {
		return fmt.Errorf("order %s: %w", name, err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+s.control+"/"+name, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("order %s: %w", name, err)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := s.client.Do(request)
	if err != nil {
		return fmt.Errorf("order %s: %w", name, err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, mostAnswer))
	if err != nil {
		return fmt.Errorf("order %s: %w", name, err)
	}
	if response.StatusCode != http.StatusOK {
		var refusal struct{ Error string }
		_ = json.Unmarshal(text, &refusal)
		return fmt.Errorf("order %s: status %d: %s", name, response.StatusCode, refusal.Error)
	}
	if answer == nil {
		return nil
	}
	if err := json.Unmarshal(text, answer); err != nil {
		return fmt.Errorf("order %s: read the answer: %w", name, err)
	}
	return nil
}

// order gives an order about the hub.
func (h Hub) order(ctx context.Context, name string, asked map[string]any, answer any) error {
	if asked == nil {
		asked = map[string]any{}
	}
	asked["hub"] = h.Name
	return h.server.order(ctx, name, asked, answer)
}

// Drop forgets the hub and cuts who uses it. It may be called again.
func (h Hub) Drop(ctx context.Context) error { return h.order(ctx, "drop", nil, nil) }

// Clear makes the hub anew: the same name, keys and partitions, nothing in it,
// sequence numbers from 0 on. Who uses it is cut.
func (h Hub) Clear(ctx context.Context) error { return h.order(ctx, "clear", nil, nil) }

// CutConnections cuts the connections of all who use the hub, once.
func (h Hub) CutConnections(ctx context.Context) error { return h.order(ctx, "cut", nil, nil) }

// CutLinks detaches all links to the hub (amqp:link:detach-forced), once; the
// connections stay.
func (h Hub) CutLinks(ctx context.Context) error { return h.order(ctx, "detach", nil, nil) }

// CutEvery cuts as CutConnections does, every d; 0 ends it.
func (h Hub) CutEvery(ctx context.Context, d time.Duration) error {
	return h.faults(ctx, map[string]any{"cutEvery": d.Milliseconds()})
}

// CutLinksEvery cuts as CutLinks does, every d; 0 ends it.
func (h Hub) CutLinksEvery(ctx context.Context, d time.Duration) error {
	return h.faults(ctx, map[string]any{"cutEvery": d.Milliseconds(), "links": true})
}

// Refuse makes the hub unreachable, or reachable again: connections that use it
// are cut, and new ones as soon as they ask for it.
func (h Hub) Refuse(ctx context.Context, on bool) error {
	return h.faults(ctx, map[string]any{"refuse": on})
}

// Delay holds back each answer to a send, a token or a question about the hub;
// a send is kept at once. 0 ends it.
func (h Hub) Delay(ctx context.Context, d time.Duration) error {
	return h.faults(ctx, map[string]any{"delay": d.Milliseconds()})
}

// Busy answers a share of the sends, 0 to 1, with com.microsoft:server-busy and
// keeps nothing of them. The same seed picks the same places of the order in
// which sends arrive.
func (h Hub) Busy(ctx context.Context, share float64, seed int64) error {
	return h.faults(ctx, map[string]any{"busy": share, "seed": seed})
}

// Lose keeps the next n sends, and cuts their connections instead of answering:
// the sender cannot know.
func (h Hub) Lose(ctx context.Context, n int) error {
	return h.faults(ctx, map[string]any{"lose": n})
}

// Heal ends all faults of the hub.
func (h Hub) Heal(ctx context.Context) error { return h.order(ctx, "heal", nil, nil) }

func (h Hub) faults(ctx context.Context, settings map[string]any) error {
	return h.order(ctx, "faults", settings, nil)
}

// Rewind gives a group a partition's events again from a sequence number on: to
// the readers that are there, or to the next one that comes.
func (h Hub) Rewind(ctx context.Context, group, partition string, sequence int64) error {
	return h.order(ctx, "rewind", map[string]any{"group": group, "partition": partition, "sequence": sequence}, nil)
}

// Trim drops a partition's events before a sequence number, as retention does.
func (h Hub) Trim(ctx context.Context, partition string, before int64) error {
	return h.order(ctx, "trim", map[string]any{"partition": partition, "before": before}, nil)
}

// Put is an event as devices and IoT Hub send them. Values of Properties and
// Annotations may be strings, whole numbers, other numbers, booleans and
// time.Time.
type Put struct {
	Body            []byte
	PartitionKey    string
	Properties      map[string]any // application properties
	Annotations     map[string]any // system properties, such as iothub-connection-device-id
	ContentType     string
	ContentEncoding string
	MessageID       string
	Enqueued        time.Time // zero: now. It never falls in a partition.
}

// Put appends events to a partition, or each to the one of its key if partition
// is "".
func (h Hub) Put(ctx context.Context, partition string, events ...Put) error {
	list := make([]map[string]any, len(events))
	for i, event := range events {
		list[i] = event.order()
	}
	asked := map[string]any{"events": list}
	if partition != "" {
		asked["partition"] = partition
	}
	return h.order(ctx, "put", asked, nil)
}

// order is the event as the control port takes it.
func (p Put) order() map[string]any {
	event := map[string]any{"body": p.Body, "properties": typed(p.Properties), "annotations": typed(p.Annotations)}
	for name, value := range map[string]string{
		"partitionKey": p.PartitionKey, "contentType": p.ContentType, "contentEncoding": p.ContentEncoding, "messageId": p.MessageID,
	} {
		if value != "" {
			event[name] = value
		}
	}
	if !p.Enqueued.IsZero() {
		event["enqueued"] = p.Enqueued.UnixMilli()
	}
	return event
}

// typed writes times as the control port takes them.
func typed(values map[string]any) map[string]any {
	out := make(map[string]any, len(values))
	for name, value := range values {
		if at, ok := value.(time.Time); ok {
			value = map[string]int64{"time": at.UnixMilli()}
		}
		out[name] = value
	}
	return out
}

// Event is an event that a hub keeps.
type Event struct {
	Sequence     int64
	Offset       string
	Enqueued     time.Time
	PartitionKey string
	Properties   map[string]any // as JSON has them
	ContentType  string
	Body         []byte
}

// pageOfContents is how many events one order asks for.
const pageOfContents = 500

// Contents returns all events that a partition keeps, oldest first.
func (h Hub) Contents(ctx context.Context, partition string) ([]Event, error) {
	var events []Event
	from := int64(0)
	for {
		page, err := h.contents(ctx, partition, from)
		if err != nil {
			return nil, err
		}
		if len(page) == 0 {
			return events, nil
		}
		events = append(events, page...)
		from = page[len(page)-1].Sequence + 1
	}
}

func (h Hub) contents(ctx context.Context, partition string, from int64) ([]Event, error) {
	var answer struct {
		Events []struct {
			Event
			Enqueued int64
		}
	}
	asked := map[string]any{"partition": partition, "from": from, "most": pageOfContents}
	if err := h.order(ctx, "contents", asked, &answer); err != nil {
		return nil, err
	}
	events := make([]Event, len(answer.Events))
	for i, event := range answer.Events {
		events[i] = event.Event
		events[i].Enqueued = time.UnixMilli(event.Enqueued).UTC()
	}
	return events, nil
}

// Partition is where a partition stands.
type Partition struct {
	ID      string
	First   int64 // sequence number of the oldest event that is kept
	Next    int64 // of the next event; equal to First: it is empty
	Readers []Reader
}

// Reader is one who reads a partition.
type Reader struct {
	Group string // in lower case
	Epoch *int64 // owner level; nil: none
	Next  int64  // sequence number of the next event that it is given
}

// Partitions returns where all partitions stand.
func (h Hub) Partitions(ctx context.Context) ([]Partition, error) {
	var answer struct{ Partitions []Partition }
	if err := h.order(ctx, "partitions", nil, &answer); err != nil {
		return nil, err
	}
	if len(answer.Partitions) == 0 {
		return nil, errors.New("order partitions: the hub has none")
	}
	return answer.Partitions, nil
}
