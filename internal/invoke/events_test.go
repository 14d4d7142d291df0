package invoke

import (
	"bufio"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write testdata/triggers.golden anew")

type recording struct{ Name, Path, Body, BodyHex string }

// recordings are what a real host sent to a custom handler.
func recordings(t testing.TB) []recording {
	t.Helper()
	f, err := os.Open("testdata/triggers.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []recording
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var r recording
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		if body, err := hex.DecodeString(r.BodyHex); err == nil && r.Body == "" {
			r.Body = string(body)
		}
		all = append(all, r)
	}
	return all
}

// Every line of the recording is decoded as testdata/triggers.golden says, or
// refused with an error that names what function.json should say.
func TestRecorded(t *testing.T) {
	var b strings.Builder
	for _, r := range recordings(t) {
		fmt.Fprintf(&b, "# %s\n", r.Name)
		e := read(t, r.Body)
		if strings.HasPrefix(r.Name, "timer") {
			timer, err := e.Timer("timer")
			fmt.Fprintf(&b, "timer %+v %v\n\n", timer, err)
			continue
		}
		batch, err := e.Events("events")
		if err != nil {
			fmt.Fprintf(&b, "%v\n\n", err)
			continue
		}
		describe(&b, batch)
	}
	const golden = "testdata/triggers.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Error(diff)
	}
}

// describe writes a batch for people.
func describe(w io.Writer, b Batch) {
	fmt.Fprintf(w, "%s/%s group %s partition %s", b.Namespace, b.Hub, b.ConsumerGroup, b.Partition)
	if b.Retry != nil {
		fmt.Fprintf(w, " retry %d of %d", b.Retry.Count, b.Retry.Max)
	}
	fmt.Fprintln(w)
	for _, e := range b.Events {
		fmt.Fprintf(w, "%d key %q offset %s at %s\n\t%q\n", e.Sequence, e.PartitionKey, e.Offset, e.Enqueued.Format(time.RFC3339Nano), e.Body)
		fmt.Fprintf(w, "\tproperties %v\n\tsystem %v\n", e.Properties, e.System)
	}
	fmt.Fprintln(w)
}

// of two events, as the host writes them; what is "" is left out.
type metadata struct{ context, numbers, times, keys, offsets, properties, system, more string }

var usualMetadata = metadata{
	context: `{"PartitionId":"0"}`, numbers: `[41,42]`, times: `["2026-11-23T04:41:20.123","2026-11-23T04:41:20.2"]`,
}

func (m metadata) envelope(data string) string {
	var entries []string
	for name, value := range map[string]string{
		"SequenceNumberArray": m.numbers, "EnqueuedTimeUtcArray": m.times, "PartitionKeyArray": m.keys, "OffsetArray": m.offsets,
		"PropertiesArray": m.properties, "SystemPropertiesArray": m.system,
	} {
		if value != "" {
			text, _ := json.Marshal(value)
			entries = append(entries, fmt.Sprintf("%q:%s", name, text))
		}
	}
	if m.context != "" {
		entries = append(entries, `"PartitionContext":`+m.context)
	}
	if m.more != "" {
		entries = append(entries, m.more)
	}
	return `{"Data":{` + data + `},"Metadata":{` + strings.Join(entries, ",") + `}}`
}

const twoEvents = `"events":"[\"YQ==\",\"Yg==\"]"`

// What is not needed may be missing, and new things may come.
func TestMetadataComesAndGoes(t *testing.T) {
	at := time.Date(2026, 11, 23, 4, 41, 20, 123e6, time.UTC)
	plain := Batch{Partition: "0", Events: []Event{
		{Body: []byte("a"), Sequence: 41, Enqueued: at}, {Body: []byte("b"), Sequence: 42, Enqueued: at.Add(77 * time.Millisecond)},
	}}
	with := func(change func(b *Batch)) Batch {
		b := plain
		b.Events = append([]Event{}, plain.Events...)
		change(&b)
		return b
	}
	system := func(b *Batch) {
		b.Events[0].System = map[string]any{"SequenceNumber": int64(41), "x-opt-offset": "7", "PartitionKey": "k", "EnqueuedTimeUtc": "2026-11-23T04:41:20.123"}
		b.Events[1].System = map[string]any{"x-opt-sequence-number": int64(42), "Offset": int64(8), "PartitionKey": nil, "x-opt-enqueued-time": "2026-11-23T05:41:20.2+01:00"}
		b.Events[0].PartitionKey, b.Events[0].Offset, b.Events[1].Offset = "k", "7", "8"
	}
	const systemText = `[{"SequenceNumber":41,"x-opt-offset":"7","PartitionKey":"k","EnqueuedTimeUtc":"2026-11-23T04:41:20.123"},` +
		`{"x-opt-sequence-number":42,"Offset":8,"PartitionKey":null,"x-opt-enqueued-time":"2026-11-23T05:41:20.2+01:00"}]`
	for name, c := range map[string]struct {
		m    metadata
		want Batch
	}{
		"as little as can be":            {usualMetadata, plain},
		"all from the system properties": {metadata{context: usualMetadata.context, system: systemText}, with(system)},
		"arrays shorter than the events, but the system properties are whole": {
			metadata{context: usualMetadata.context, system: systemText, numbers: "[41]", times: "[]", keys: `["k"]`, offsets: `["1","2","3"]`}, with(system),
		},
		"new entries": {
			metadata{
				context: `{"PartitionId":"0","New":{"x":[1]},"ConsumerGroup":"g","EventHubName":"h","FullyQualifiedNamespace":"n"}`,
				numbers: usualMetadata.numbers, times: usualMetadata.times,
				more: `"New":"[not JSON","Other":[1,{"a":"\""}],"RetryContext":{"RetryCount":3,"MaxRetryCount":-1,"Exception":{"Message":"` + strings.Repeat("x", 10<<10) + `"}},"sys":{}`,
			},
			with(func(b *Batch) {
				b.Namespace, b.Hub, b.ConsumerGroup, b.Retry = "n", "h", "g", &RetryContext{3, -1}
			}),
		},
		"null where there is nothing": {
			metadata{context: usualMetadata.context, numbers: usualMetadata.numbers, times: usualMetadata.times, keys: "null", offsets: `[null,"5"]`, properties: "[null,{}]", more: `"RetryContext":null`},
			with(func(b *Batch) {
				b.Events[1].Offset, b.Events[1].Properties = "5", map[string]any{}
			}),
		},
	} {
		got, err := read(t, c.m.envelope(twoEvents)).Events("events")
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// Data may come after the metadata, and arrays as they are.
func TestOtherWritings(t *testing.T) {
	const text = `{"Metadata":{"EnqueuedTimeUtcArray":["2026-11-23T04:41:20Z",null],"SequenceNumberArray":[9223372036854775806,0],"PartitionContext":{"PartitionId":7},
		"SystemPropertiesArray":[{},{"x-opt-enqueued-time":"2026-11-23T04:41:20"}]},"Data":{"events":["YQ==",null]}}`
	b, err := read(t, text).Events("events")
	if err != nil || len(b.Events) != 2 || b.Partition != "7" {
		t.Fatal(b, err)
	}
	if b.Events[0].Sequence != 1<<63-2 || b.Events[1].Sequence != 0 || string(b.Events[0].Body) != "a" || len(b.Events[1].Body) != 0 || b.Events[1].Body == nil {
		t.Error(b)
	}
	if !b.Events[0].Enqueued.Equal(b.Events[1].Enqueued) || b.Events[1].Enqueued.Location() != time.UTC {
		t.Error(b)
	}
	if b, err = read(t, usualMetadata.envelope(`"events":"[]"`)).Events("events"); err == nil {
		t.Error("two numbers for no event:", b)
	}
	if b, err = read(t, metadata{context: usualMetadata.context}.envelope(`"events":" [ ] "`)).Events("events"); err != nil || len(b.Events) != 0 {
		t.Error(b, err)
	}
}

// What is not as a trigger with the right function.json sends it is refused,
// and the error says what would be right.
func TestOtherBatches(t *testing.T) {
	shape := []string{`"cardinality": "many"`, `"dataType": "binary"`, `eventHubTrigger named "events"`}
	without := func(change func(m *metadata)) metadata {
		m := usualMetadata
		change(&m)
		return m
	}
	for name, c := range map[string]struct {
		data string
		m    metadata
		want []string
	}{
		"no binding":               {``, usualMetadata, append(shape, "Data: no events, but nothing")},
		"another binding":          {`"req":{"Url":"http://x/"},"body":1`, usualMetadata, append(shape, "Data: no events, but body, req")},
		"one, parsed":              {`"events":{"device":"a"}`, usualMetadata, append(shape, "JSON")},
		"one, text":                {`"events":"\"YQ==\""`, usualMetadata, append(shape, "text")},
		"one, a number":            {`"events":5`, usualMetadata, shape},
		"many, text":               {`"events":"[\"YQ==\",\"{}\"]"`, usualMetadata, append(shape, "event 1", "text")},
		"many, bytes lost in text": {`"events":"[\"\\u001f\ufffd\"]"`, usualMetadata, append(shape, "event 0", "text")},
		"many, parsed":             {`"events":"[\"YQ==\",{\"a\":[1]},\"YQ==\"]"`, usualMetadata, append(shape, "event 1", "JSON")},
		"many, numbers":            {`"events":"[1,2]"`, usualMetadata, append(shape, "event 0", "JSON")},
		"no partition":             {twoEvents, without(func(m *metadata) { m.context = `{"EventHubName":"h"}` }), []string{"PartitionContext has no PartitionId"}},
		"no context":               {twoEvents, without(func(m *metadata) { m.context = "" }), []string{"PartitionContext has no PartitionId"}},
		"no numbers":               {twoEvents, without(func(m *metadata) { m.numbers = "" }), []string{"event 0 has no SequenceNumber", "SequenceNumberArray"}},
		"too few numbers":          {twoEvents, without(func(m *metadata) { m.numbers = "[1]" }), []string{"Metadata.SequenceNumberArray: 1 entries for 2 events"}},
		"too many numbers":         {twoEvents, without(func(m *metadata) { m.numbers = "[1,2,3]" }), []string{"Metadata.SequenceNumberArray: 3 entries for 2 events"}},
		"numbers with a fraction":  {twoEvents, without(func(m *metadata) { m.numbers = "[1,2.5]" }), []string{"event 1 has no SequenceNumber"}},
		"numbers over 2^63":        {twoEvents, without(func(m *metadata) { m.numbers = "[1,9223372036854775808]" }), []string{"event 1 has no SequenceNumber"}},
		"a number without a next":  {twoEvents, without(func(m *metadata) { m.numbers = "[1,9223372036854775807]" }), []string{"event 1 has no SequenceNumber"}},
		"numbers below 0":          {twoEvents, without(func(m *metadata) { m.numbers = "[-1,0]" }), []string{"event 0 has no SequenceNumber", "-1"}},
		"no array":                 {twoEvents, without(func(m *metadata) { m.numbers = "5" }), []string{"SequenceNumberArray: no array"}},
		"no times":                 {twoEvents, without(func(m *metadata) { m.times = "" }), []string{"event 0 has no EnqueuedTimeUtc"}},
		"no such time":             {twoEvents, without(func(m *metadata) { m.times = `["2026-11-23","x"]` }), []string{"event 0 has no EnqueuedTimeUtc"}},
		"too few keys":             {twoEvents, without(func(m *metadata) { m.keys = `["a"]` }), []string{"PartitionKeyArray: 1 entries for 2 events"}},
		"too few properties":       {twoEvents, without(func(m *metadata) { m.properties = `[{}]` }), []string{"PropertiesArray: 1 entries for 2 events"}},
		"too few of the system":    {twoEvents, without(func(m *metadata) { m.system = `[{}]` }), []string{"SystemPropertiesArray: 1 entries for 2 events"}},
	} {
		_, err := read(t, c.m.envelope(c.data)).Events("events")
		if !errors.Is(err, ErrEnvelope) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %s", name, err, want)
			}
		}
	}
}

// Envelopes that are cut off anywhere, or have no end, are refused.
func TestCutEnvelopes(t *testing.T) {
	for _, r := range recordings(t) {
		for n := 0; n < len(r.Body); n += 7 {
			if _, err := Read(strings.NewReader(r.Body[:n]), 1<<20, 256); !errors.Is(err, ErrEnvelope) {
				t.Fatalf("%s, %d bytes: %v", r.Name, n, err)
			}
		}
	}
	deep := strings.Repeat("[", 1<<20)
	for _, text := range []string{
		usualMetadata.envelope(`"events":"` + deep + `"`), usualMetadata.envelope(`"events":` + deep),
		metadata{more: `"PropertiesArray":"` + deep + `"`}.envelope(twoEvents), metadata{more: `"PropertiesArray":` + deep}.envelope(twoEvents),
		usualMetadata.envelope(`"events":"[\"YQ==\",\"Yg==\"] x"`), usualMetadata.envelope(`"events":"[\"YQ==\" \"Yg==\"]"`),
	} {
		if _, err := Read(strings.NewReader(text), 16<<20, 256); !errors.Is(err, ErrEnvelope) {
			t.Errorf("%.60s: %v", text, err)
		}
	}
}

// Long properties are left out, and of very many only the first and the service's own.
func TestProperties(t *testing.T) {
	var many strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&many, `"p%d":%d,`, i, i)
	}
	m := usualMetadata
	m.properties = `[{"schema":"v1","n":5,"f":1.5,"big":1e400,"yes":true,"nothing":null,"list":[1,{"a":2}],"long":"` + strings.Repeat("\\u0001", 5000) + `"},{}]`
	m.system = `[{` + many.String() + `"iothub-connection-device-id":"a1"},{"iothub-connection-device-id":"b2"}]`
	b, err := read(t, m.envelope(twoEvents)).Events("events")
	if err != nil {
		t.Fatal(err)
	}
	properties := b.Events[0].Properties
	if big, _ := properties["big"].(float64); big < 1e308 {
		t.Error(properties)
	}
	delete(properties, "big")
	want := map[string]any{"schema": "v1", "n": int64(5), "f": 1.5, "yes": true, "nothing": nil, "list": []any{int64(1), map[string]any{"a": int64(2)}}}
	if diff := cmp.Diff(want, properties); diff != "" {
		t.Error(diff)
	}
	if s := b.Events[0].System; len(s) != mostMembers+1 || s["iothub-connection-device-id"] != "a1" || s["p0"] != int64(0) {
		t.Error(len(s), s["iothub-connection-device-id"])
	}
}

// large is an envelope of events of so many bytes, as the host would write it.
func large(events, size int) string {
	body := base64.StdEncoding.EncodeToString(make([]byte, size))
	var data, numbers, times, system strings.Builder
	for i := range events {
		if i > 0 {
			for _, b := range []*strings.Builder{&data, &numbers, &times, &system} {
				b.WriteString(",")
			}
		}
		fmt.Fprintf(&data, `\"%s\"`, body)
		fmt.Fprint(&numbers, i)
		fmt.Fprint(&times, `"2026-11-23T04:41:20.123"`)
		fmt.Fprintf(&system, `{"x-opt-sequence-number":%d,"x-opt-offset":"%d","x-opt-enqueued-time":"2026-11-23T05:00:01.116+00:00","SequenceNumber":%d}`, i, i, i)
	}
	m := metadata{context: usualMetadata.context, numbers: "[" + numbers.String() + "]", times: "[" + times.String() + "]", system: "[" + system.String() + "]"}
	return m.envelope(`"events":"[` + data.String() + `]"`)
}

// Reading a large batch takes little more memory than its bodies.
func TestLargeBatch(t *testing.T) {
	const events, size = 32, 1 << 20
	text := large(events, size)
	if limit := EventsLimit(events); int64(len(text)) > limit {
		t.Fatalf("%d bytes, over the limit of %d", len(text), limit)
	}
	var b Batch
	took := memory(func() {
		e, err := Read(strings.NewReader(text), EventsLimit(events), events)
		if err != nil {
			t.Fatal(err)
		}
		b, err = e.Events("events")
		if err != nil {
			t.Fatal(err)
		}
	})
	if len(b.Events) != events || len(b.Events[events-1].Body) != size {
		t.Fatal(len(b.Events))
	}
	if took > events*size*3/2 {
		t.Errorf("%d bytes of bodies took %d", events*size, took)
	}
}

// tooMany are envelopes of elements without end, which are small in the text and
// large in memory.
var tooMany = map[string]struct{ head, element, tail string }{
	"events":            {`{"Data":{"events":[""`, `,""`, `]},"Metadata":{}}`},
	"events, null":      {`{"Data":{"events":[null`, `,null`, `]},"Metadata":{}}`},
	"events, parsed":    {`{"Data":{"events":[{}`, `,{}`, `]},"Metadata":{}}`},
	"events in text":    {`{"Data":{"events":"[\"\"`, `,\"\"`, `]"},"Metadata":{}}`},
	"numbers":           {`{"Data":{},"Metadata":{"SequenceNumberArray":[1`, `,1`, `]}}`},
	"numbers in text":   {`{"Data":{},"Metadata":{"SequenceNumberArray":"[1`, `,1`, `]"}}`},
	"properties":        {`{"Data":{},"Metadata":{"PropertiesArray":[{}`, `,{}`, `]}}`},
	"system properties": {`{"Data":{},"Metadata":{"SystemPropertiesArray":[[[]]`, `,[[]]`, `]}}`},
}

// Nobody reads on where there are more events than there may be, nor holds them.
func TestTooManyEvents(t *testing.T) {
	const events, elements = 64, 1 << 20
	for name, c := range tooMany {
		enough := c.head + strings.Repeat(c.element, events-1) + c.tail
		if _, err := Read(strings.NewReader(enough), 1<<20, events); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		text := strings.NewReader(c.head + strings.Repeat(c.element, elements) + c.tail)
		length := text.Len()
		var err error
		took := memory(func() { _, err = Read(text, EventsLimit(events), events) })
		if !errors.Is(err, ErrEnvelope) || !strings.Contains(err.Error(), "over 64 events") || !strings.Contains(err.Error(), "maxEventBatchSize") {
			t.Errorf("%s: %v", name, err)
		}
		if took > 1<<20 || length-text.Len() > 2*window {
			t.Errorf("%s: %d bytes of memory, %d bytes read of %d", name, took, length-text.Len(), length)
		}
	}
}

// What nobody reads is passed over, and what has no bound in a hub has one here.
func TestBoundedElements(t *testing.T) {
	var members, bindings strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&members, `"x-opt-%d":1,"iothub-%d":[[],[],[]],`, i, i)
		fmt.Fprintf(&bindings, `"b%d":"x",`, i)
	}
	lists := `"` + strings.Repeat("x", 20) + `":[` + strings.Repeat("[],", 1000) + `[]],`
	long := &strings.Builder{}
	for i := range 1000 {
		long.WriteString(strings.Replace(lists, "x", fmt.Sprint(i), 1))
	}
	for name, c := range map[string]struct {
		text   string
		refuse string
	}{
		"another entry":   {`{"Data":{},"Metadata":{"Other":[1` + strings.Repeat(",1", 1<<20) + `]}}`, ""},
		"another part":    {`{"Data":{},"Other":[1` + strings.Repeat(",1", 1<<20) + `]}`, ""},
		"members":         {`{"Data":{},"Metadata":{"SystemPropertiesArray":[{` + members.String() + `"a":1}]}}`, ""},
		"members of many": {`{"Data":{},"Metadata":{"PropertiesArray":[{` + long.String() + `"a":1}]}}`, ""},
		"bindings":        {`{"Data":{` + bindings.String() + `"events":[]}}`, "over 16 bindings"},
	} {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		e, err := Read(strings.NewReader(c.text), 1<<30, 64)
		runtime.GC()
		runtime.ReadMemStats(&after)
		kept := int64(after.HeapAlloc) - int64(before.HeapAlloc)
		if (err == nil) != (c.refuse == "") || err != nil && !strings.Contains(err.Error(), c.refuse) {
			t.Errorf("%s: %v", name, err)
		}
		if kept > 2<<20 {
			t.Errorf("%s: %d bytes of memory for %d", name, kept, len(c.text))
		}
		runtime.KeepAlive(e)
	}
	text := `{"Data":{"events":"` + strings.Repeat("QUFB", mostText/4+1) + `"}}`
	if _, err := Read(strings.NewReader(text), 1<<30, 64); !errors.Is(err, ErrEnvelope) || !strings.Contains(err.Error(), "a string of over") {
		t.Error(err)
	}
}

// memory is how many bytes do takes from the heap, in all.
func memory(do func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	do()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func BenchmarkEvents(b *testing.B) {
	for _, c := range []struct{ events, size int }{{1, 100}, {100, 1 << 10}, {100, 1 << 20}} {
		b.Run(fmt.Sprintf("%dx%d", c.events, c.size), func(b *testing.B) {
			text := large(c.events, c.size)
			b.SetBytes(int64(c.events * c.size))
			b.ReportAllocs()
			for b.Loop() {
				e, err := Read(strings.NewReader(text), EventsLimit(c.events), c.events)
				if err != nil {
					b.Fatal(err)
				}
				if batch, err := e.Events("events"); err != nil || len(batch.Events) != c.events {
					b.Fatal(err)
				}
			}
		})
	}
}

// FuzzEnvelope holds that whatever is posted is read or refused as broken, and
// that what is read of a batch is what encoding/json reads.
func FuzzEnvelope(f *testing.F) {
	for _, r := range recordings(f) {
		f.Add([]byte(r.Body))
	}
	for _, seed := range []string{
		usualMetadata.envelope(twoEvents), usualMetadata.envelope(`"events":"[\"YQ==\",{}]"`), usualMetadata.envelope(`"events":["YQ==",null]`),
		`{"Data":{"timer":"\ud800","events":""}}`, `{"data":{"timer":{}}}`, `{}`, "", "\xff",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		const limit = 16 << 10
		e, err := Read(strings.NewReader(string(body)), limit, 256)
		if err != nil {
			if !errors.Is(err, ErrEnvelope) {
				t.Error(err)
			}
			return
		}
		if len(body) > limit {
			t.Error("read", len(body), "bytes")
		}
		if _, err = e.Timer("timer"); err != nil && !errors.Is(err, ErrEnvelope) {
			t.Error(err)
		}
		batch, err := e.Events("events")
		switch {
		case err == nil:
			sameBodies(t, body, batch)
		case !errors.Is(err, ErrEnvelope):
			t.Error(err)
		}
	})
}

// sameBodies compares with encoding/json, where that takes the envelope and the
// bodies came as an array.
func sameBodies(t *testing.T, envelope []byte, batch Batch) {
	var e struct{ Data map[string]json.RawMessage }
	if json.Unmarshal(envelope, &e) != nil {
		return
	}
	raw := e.Data["events"]
	var text string
	if json.Unmarshal(raw, &text) == nil {
		raw = []byte(text)
	}
	var want [][]byte
	if json.Unmarshal(raw, &want) != nil {
		return
	}
	if len(want) != len(batch.Events) {
		t.Fatalf("%d events, encoding/json has %d", len(batch.Events), len(want))
	}
	for i, w := range want {
		if got := batch.Events[i].Body; string(got) != string(w) && !reflect.DeepEqual(got, w) {
			t.Fatalf("event %d: %q, encoding/json has %q", i, got, w)
		}
	}
}
