package host

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
)

// eventHubsFile is what host.json has about Event Hubs.
type eventHubsFile struct {
	MaxEventBatchSize    *int
	MinEventBatchSize    *int
	PrefetchCount        *int
	InitialOffsetOptions struct{ Type string }
}

// Defaults of the extension (6.x).
const (
	defaultBatch    = 100
	defaultPrefetch = 300
)

// check says where this stand-in would not do what a real host does.
func (f eventHubsFile) check() error {
	switch {
	case f.MaxEventBatchSize != nil && *f.MaxEventBatchSize < 1:
		return fmt.Errorf("extensions.eventHubs.maxEventBatchSize %d: 1 is the least", *f.MaxEventBatchSize)
	case f.MinEventBatchSize != nil && *f.MinEventBatchSize > 1:
		return fmt.Errorf("extensions.eventHubs.minEventBatchSize %d: %w (1 would be right)", *f.MinEventBatchSize, ErrNotBuilt)
	case !slices.Contains([]string{"", "fromstart"}, strings.ToLower(f.InitialOffsetOptions.Type)):
		return fmt.Errorf("extensions.eventHubs.initialOffsetOptions.type %q: %w (fromStart would be right)", f.InitialOffsetOptions.Type, ErrNotBuilt)
	}
	return nil
}

// hubTrigger feeds a function with the events of a hub.
type hubTrigger struct {
	host     *Host
	function *function
	hubs     *Hubs
	where    hubPlace
	batch    int // the most events of a call
	prefetch int
}

// hubPlace is where a trigger's events are.
type hubPlace struct{ connection, namespace, hub, group string }

// place finds what a binding's settings say. A connection string that names a
// hub wins over eventHubName, as in the extension.
func (f *function) place(settings map[string]string) (p hubPlace, err error) {
	if p.hub, err = resolve(f.binding.EventHubName, settings); err != nil {
		return hubPlace{}, err
	}
	if p.group, err = resolve(f.binding.ConsumerGroup, settings); err != nil {
		return hubPlace{}, err
	}
	p.group = cmp.Or(p.group, azeventhubs.DefaultConsumerGroup)
	p.connection = settings[f.binding.Connection]
	p.namespace = namespace(f.binding.Connection, settings)
	for part := range strings.SplitSeq(p.connection, ";") {
		if name, value, _ := strings.Cut(part, "="); strings.EqualFold(name, "EntityPath") && value != "" {
			p.hub = value
		}
	}
	return p, nil
}

func (p hubPlace) checkpoint(partition string) string {
	return checkpointName(p.namespace, p.hub, p.group, partition)
}

// startHubs feeds every function with an eventHubTrigger from now on.
func (h *Host) startHubs(hubs *Hubs) {
	if hubs == nil {
		return
	}
	for _, f := range h.app.functions {
		if f.kind != "eventHubTrigger" || f.err != nil || f.disabled {
			continue
		}
		where, err := f.place(h.settings)
		if err == nil && where.connection == "" {
			err = fmt.Errorf("%w: connection %s: an identity (a connection string would be right)", ErrNotBuilt, f.binding.Connection)
		}
		if err != nil {
			h.log.Error("the hub is not read", "function", f.name, "error", err.Error())
			continue
		}
		t := &hubTrigger{host: h, function: f, hubs: hubs, where: where, batch: h.app.batch, prefetch: h.app.prefetch}
		h.readers.Go(func() { t.run(h.timers) })
	}
}

// run reads all partitions of the hub until ctx ends. (A real host shares them
// with others; there is one host here.)
func (t *hubTrigger) run(ctx context.Context) {
	client, err := azeventhubs.NewConsumerClientFromConnectionString(t.where.connection, t.where.hubArgument(), t.where.group, &azeventhubs.ConsumerClientOptions{
		RetryOptions: azeventhubs.RetryOptions{MaxRetries: 1, RetryDelay: 50 * time.Millisecond, MaxRetryDelay: 200 * time.Millisecond},
	})
	if err != nil {
		t.host.log.Error("the hub is not read", "function", t.function.name, "error", err.Error())
		return
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.Background(), t.host.habits.hubClose)
		defer cancel()
		_ = client.Close(closing)
	}()
	var readers sync.WaitGroup
	for _, id := range t.partitions(ctx, client) {
		readers.Go(func() { t.read(ctx, client, id) })
	}
	readers.Wait()
}

// hubArgument is the name that a client takes beside the connection string: none
// if that has it.
func (p hubPlace) hubArgument() string {
	if strings.Contains(strings.ToLower(p.connection), "entitypath=") {
		return ""
	}
	return p.hub
}

// partitions asks for them until it knows.
func (t *hubTrigger) partitions(ctx context.Context, client *azeventhubs.ConsumerClient) []string {
	for ctx.Err() == nil {
		asking, cancel := context.WithTimeout(ctx, t.host.habits.hubAnswer)
		properties, err := client.GetEventHubProperties(asking, nil)
		cancel()
		if err == nil {
			t.host.log.Info("reads a hub", "function", t.function.name, "hub", t.where.hub, "group", t.where.group, "partitions", len(properties.PartitionIDs))
			return properties.PartitionIDs
		}
		t.host.log.Warn("the hub does not answer", "function", t.function.name, "hub", t.where.hub, "error", err.Error())
		pause(ctx, t.host.habits.hubPause)
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// read reads a partition from its checkpoint on, again and again.
func (t *hubTrigger) read(ctx context.Context, client *azeventhubs.ConsumerClient, id string) {
	for ctx.Err() == nil {
		err := t.readOnce(ctx, client, id)
		if ctx.Err() != nil {
			return
		}
		t.host.log.Warn("the partition is opened anew", "function", t.function.name, "hub", t.where.hub, "partition", id, "error", err.Error())
		wait := t.host.habits.hubPause
		if e := (*azeventhubs.Error)(nil); errors.As(err, &e) && e.Code == azeventhubs.ErrorCodeOwnershipLost {
			wait = t.host.habits.hubStolen
		}
		pause(ctx, wait)
	}
}

// batch are the events of one call; the first again of them were delivered
// before.
type batch struct {
	events []Event
	again  int
}

// readOnce reads a partition until its reader fails, or ctx ends.
func (t *hubTrigger) readOnce(ctx context.Context, client *azeventhubs.ConsumerClient, id string) error {
	reader, err := client.NewPartitionClient(id, &azeventhubs.PartitionClientOptions{
		StartPosition: t.start(id), OwnerLevel: new(int64), Prefetch: int32(t.prefetch),
	})
	if err != nil {
		return err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.Background(), t.host.habits.hubClose)
		defer cancel()
		_ = reader.Close(closing)
	}()
	var waiting []Event // received, and not done with
	var recent []Event  // done with, the last ones
	again := 0          // how many of waiting are recent ones
	for {
		if len(waiting) == 0 {
			if waiting, err = t.receive(ctx, reader); err != nil {
				return err
			}
		}
		n := min(t.hubs.size(t.batch), len(waiting))
		b := batch{waiting[:n:n], min(again, n)}
		if err := t.deliver(ctx, id, b); err != nil {
			return err
		}
		waiting, again = waiting[n:], again-b.again
		recent = append(recent, b.events[b.again:]...)
		recent = slices.Clone(recent[max(0, len(recent)-2*t.batch):])
		if back := t.hubs.back(len(recent), n); again == 0 && back > 0 {
			waiting, again = slices.Concat(recent[len(recent)-back:], waiting), back
		}
	}
}

// start is after the checkpoint, or at the oldest event.
func (t *hubTrigger) start(id string) azeventhubs.StartPosition {
	if last, ok := t.hubs.checkpoint(t.where.checkpoint(id)); ok {
		return azeventhubs.StartPosition{SequenceNumber: &last}
	}
	earliest := true
	return azeventhubs.StartPosition{Earliest: &earliest}
}

// receive waits for an event and takes what has come with it.
func (t *hubTrigger) receive(ctx context.Context, reader *azeventhubs.PartitionClient) ([]Event, error) {
	received, err := reader.ReceiveEvents(ctx, 1, nil)
	if err != nil {
		return nil, err
	}
	if t.batch > 1 {
		soon, cancel := context.WithTimeout(ctx, t.host.habits.hubGather)
		more, _ := reader.ReceiveEvents(soon, t.batch-1, nil) // its failure comes again
		cancel()
		received = append(received, more...)
	}
	events := make([]Event, len(received))
	for i, e := range received {
		events[i] = newEvent(e)
	}
	return events, nil
}

// deliver has the function called for a batch until that is done, or given up,
// and notes how far the partition is. An error says that the host stops.
func (t *hubTrigger) deliver(ctx context.Context, id string, b batch) error {
	p, err := eventPayload(t.function, t.where.partition(id), b.events)
	if err != nil {
		return err
	}
	err = t.host.trigger(ctx, t.function, p, t.hubs.givesUp)
	if err != nil && (ctx.Err() != nil || errors.Is(err, errClosing)) {
		return errClosing
	}
	if err != nil {
		t.host.log.Warn("a batch has failed for good, and the checkpoint moves all the same", "function", t.function.name, "partition", id,
			"first", b.events[0].SequenceNumber, "events", len(b.events))
	}
	return t.hubs.done(t.where.checkpoint(id), b, err != nil)
}

// newEvent is an event as the trigger hands it on.
func newEvent(e *azeventhubs.ReceivedEventData) Event {
	event := Event{Body: e.Body, PartitionKey: e.PartitionKey, SequenceNumber: e.SequenceNumber}
	event.Offset, _ = strconv.ParseInt(e.Offset, 10, 64)
	if e.EnqueuedTime != nil {
		event.Enqueued = *e.EnqueuedTime
	}
	event.Properties = properties(e.Properties)
	event.System = properties(e.SystemProperties)
	if m := e.RawAMQPMessage; m != nil && m.Properties != nil {
		for name, value := range map[string]*string{"content-type": m.Properties.ContentType, "content-encoding": m.Properties.ContentEncoding} {
			if value != nil {
				event.System = append(event.System, Property{name, *value})
			}
		}
		if m.Properties.MessageID != nil {
			event.System = append(event.System, Property{"message-id", m.Properties.MessageID})
		}
	}
	sortProperties(event.System)
	return event
}

// ofEveryEvent are what Event.system writes itself.
var ofEveryEvent = []string{"x-opt-sequence-number", "x-opt-offset", "x-opt-enqueued-time", "x-opt-partition-key"}

// properties are those of a map, as far as JSON can have them.
func properties(values map[string]any) (list []Property) {
	for name, value := range values {
		if slices.Contains(ofEveryEvent, name) {
			continue
		}
		if _, err := marshal(value); err != nil {
			value = fmt.Sprint(value)
		}
		list = append(list, Property{name, value})
	}
	sortProperties(list)
	return list
}

func sortProperties(list []Property) {
	slices.SortFunc(list, func(a, b Property) int { return cmp.Compare(a.Name, b.Name) })
}
