package eventhubs

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
)

// The tests speak to the stand-in through the client that the product uses.

// few is a client's patience with faults: two more tries at once.
var few = azeventhubs.RetryOptions{MaxRetries: 2, RetryDelay: 10 * time.Millisecond, MaxRetryDelay: 50 * time.Millisecond}

// once is no patience at all.
var once = azeventhubs.RetryOptions{MaxRetries: -1}

// patience bounds what a test waits for.
const patience = time.Minute

func ctxOf(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func producer(t *testing.T, h Hub, retry azeventhubs.RetryOptions) *azeventhubs.ProducerClient {
	t.Helper()
	client, err := azeventhubs.NewProducerClientFromConnectionString(h.ConnectionString(), "", &azeventhubs.ProducerClientOptions{RetryOptions: retry})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close(context.Background()) })
	return client
}

func consumer(t *testing.T, h Hub, group string) *azeventhubs.ConsumerClient {
	t.Helper()
	client, err := azeventhubs.NewConsumerClientFromConnectionString(h.ConnectionString(), "", group, &azeventhubs.ConsumerClientOptions{RetryOptions: few})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close(context.Background()) })
	return client
}

// send sends one batch to where options say.
func send(ctx context.Context, client *azeventhubs.ProducerClient, o azeventhubs.EventDataBatchOptions, events ...*azeventhubs.EventData) error {
	batch, err := client.NewEventDataBatch(ctx, &o)
	if err != nil {
		return err
	}
	for _, event := range events {
		if err := batch.AddEventData(event, nil); err != nil {
			return err
		}
	}
	return client.SendEventDataBatch(ctx, batch, nil)
}

func to(partition string) azeventhubs.EventDataBatchOptions {
	return azeventhubs.EventDataBatchOptions{PartitionID: &partition}
}

func text(body string) *azeventhubs.EventData { return &azeventhubs.EventData{Body: []byte(body)} }

// fill sends n events with the bodies 0 to n-1 to a partition.
func fill(t *testing.T, h Hub, partition string, n int) {
	t.Helper()
	var events []*azeventhubs.EventData
	for i := range n {
		events = append(events, text(fmt.Sprint(i)))
	}
	if err := send(ctxOf(t), producer(t, h, few), to(partition), events...); err != nil {
		t.Fatal(err)
	}
}

var earliest = azeventhubs.StartPosition{Earliest: ptr(true)}

func ptr[T any](v T) *T { return &v }

// open is a reader of a partition.
func open(t *testing.T, client *azeventhubs.ConsumerClient, partition string, o azeventhubs.PartitionClientOptions) *azeventhubs.PartitionClient {
	t.Helper()
	reader, err := client.NewPartitionClient(partition, &o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = reader.Close(context.Background()) })
	return reader
}

// receive waits until n events have come.
func receive(t *testing.T, reader *azeventhubs.PartitionClient, n int) []*azeventhubs.ReceivedEventData {
	t.Helper()
	ctx := ctxOf(t)
	var events []*azeventhubs.ReceivedEventData
	for len(events) < n {
		more, err := reader.ReceiveEvents(ctx, n-len(events), nil)
		if err != nil {
			t.Fatalf("after %d of %d events: %v", len(events), n, err)
		}
		events = append(events, more...)
	}
	return events
}

// bodies are those of events, as one text.
func bodies(events []*azeventhubs.ReceivedEventData) string {
	var all string
	for _, event := range events {
		all += string(event.Body) + " "
	}
	return all
}

// held are the bodies that a partition keeps, as one text.
func held(t *testing.T, h Hub, partition string) string {
	t.Helper()
	events, err := h.Contents(ctxOf(t), partition)
	if err != nil {
		t.Fatal(err)
	}
	var all string
	for _, event := range events {
		all += string(event.Body) + " "
	}
	return all
}

// isCode says whether err is an error of the client with a code.
func isCode(err error, code azeventhubs.ErrorCode) bool {
	var e *azeventhubs.Error
	return errors.As(err, &e) && e.Code == code
}
