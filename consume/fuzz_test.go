package consume_test

import (
	"bytes"
	"context"
	"testing"

	"sluice/consume"
	"sluice/deadletters"
	"sluice/hub"
	"sluice/telemetry"
	"sluice/telemetry/block"
)

// FuzzTake takes any event. Whatever is in it, it lands, or it is a dead letter
// that says why, or both; what lands is what ingest would have accepted; and a
// replay says the same.
func FuzzTake(f *testing.F) {
	for _, b := range badBodies(f) {
		if len(b.event.Body) < 4<<10 {
			f.Add(b.event.Body, sender(b.event), b.event.PartitionKey, "", encoding(b.event))
		}
	}
	f.Add([]byte(goodLine+"\n"+goodLine), "", "a", "application/x-ndjson", "utf-8")
	f.Add([]byte(`[{"x":1},{"ts":1763870400,"values":{"y":"z"},"tags":{"a":null}}]`), "a", "", "application/json", "")
	f.Add(ours(f, 0, reading("a", noon, 1, 1), reading("b", noon, 2, 2)).Body, "", "s01", "", "")
	f.Fuzz(func(t *testing.T, body []byte, from, key, kind, packed string) {
		e := hub.Event{
			Body: body, Sequence: 7, Offset: "7", Enqueued: noon, PartitionKey: key,
			System: map[string]any{"iothub-connection-device-id": from, "content-type": kind, "content-encoding": packed},
		}
		engine := &fakeEngine{append: func([]block.Device) error { return nil }}
		letters := &kept{}
		w := newWorld(t, options{config: func(c *consume.Config) {
			c.Engine, c.DeadLetters, c.Hub, c.MaxDecoded = engine, letters, nil, 1<<20
		}})
		r := w.take(e)
		if r.Events != 1 || (r.Rejected > 0) != (len(letters.all) == 1) || len(letters.all) > 1 {
			t.Fatalf("%+v, %d letters", r, len(letters.all))
		}
		for i := range engine.taken {
			checkTaken(t, &engine.taken[i])
		}
		if len(letters.all) == 0 {
			return
		}
		l := letters.all[0]
		if l.Reason.Code == telemetry.Internal || l.Reason.Message == "" || !bytes.Equal(l.Body, body) {
			t.Fatalf("%+v", l)
		}
		v, err := w.consumer.Replay(t.Context(), l)
		if err != nil || v.Reason == nil || *v.Reason != l.Reason || v.Rejected != r.Rejected || v.Accepted != r.Readings {
			t.Fatalf("replay %+v, %v; taken %+v, %+v", v, err, r, l.Reason)
		}
	})
}

func checkTaken(t *testing.T, d *block.Device) {
	t.Helper()
	if refusal := telemetry.CheckDevice(d.ID); refusal != nil || d.Cut != 0 {
		t.Fatal(refusal, d.Cut)
	}
	for i := range d.Readings.Columns {
		if refusal := telemetry.CheckMetric(d.Readings.Columns[i].Name); refusal != nil {
			t.Fatal(refusal)
		}
	}
}

// kept are the letters that were put.
type kept struct{ all []deadletters.Letter }

func (k *kept) Put(_ context.Context, letters []deadletters.Letter) error {
	k.all = append(k.all, letters...)
	return nil
}
