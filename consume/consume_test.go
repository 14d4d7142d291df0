package consume_test

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"sluice/consume"
	"sluice/consume/progress"
	"sluice/deadletters"
	"sluice/engine"
	"sluice/hub"
	"sluice/store"
	"sluice/store/storetest"
	"sluice/telemetry"
	"sluice/telemetry/block"
	"sluice/telemetry/event"
)

// pack compresses a text.
func pack(t tester, as, text string) string {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	switch as {
	case "gzip":
		w = gzip.NewWriter(&b)
	case "deflate":
		w = zlib.NewWriter(&b)
	case "zstd":
		var err error
		if w, err = zstd.NewWriter(&b); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestForms(t *testing.T) {
	one, at := `{"deviceId":"a","ts":1763870400,"metrics":{"x":1}}`, "a 2025-11-23T04:00:00Z x=1"
	for name, c := range map[string]struct {
		event hub.Event
		want  string
	}{
		"a message":       {foreign(5, one), at},
		"an array":        {foreign(5, "["+one+`,{"deviceId":"b","ts":1763870400,"metrics":{"x":2}}]`), at + "\nb 2025-11-23T04:00:00Z x=2"},
		"lines":           {foreign(5, one+"\n"+`{"deviceId":"b","ts":1763870400,"metrics":{"x":2}}`+"\n"), at + "\nb 2025-11-23T04:00:00Z x=2"},
		"lines, typed":    {hub.Event(eventMaker(foreign(5, one+"\n")).typed("application/x-ndjson; charset=utf-8")), at},
		"JSON, typed":     {hub.Event(eventMaker(foreign(5, one)).typed("application/json")), at},
		"any other type":  {hub.Event(eventMaker(foreign(5, one)).typed("application/octet-stream")), at},
		"a broken type":   {hub.Event(eventMaker(foreign(5, one)).typed(";;")), at},
		"IoT Hub's utf-8": {hub.Event(eventMaker(foreign(5, one)).packed("utf-8").typed("application/json")), at},
		"gzip":            {foreign(5, pack(t, "gzip", one)), at},
		"gzip, said":      {hub.Event(eventMaker(foreign(5, pack(t, "gzip", one))).packed("gzip")), at},
		"zstd":            {foreign(5, pack(t, "zstd", one)), at},
		"zstd, said":      {hub.Event(eventMaker(foreign(5, pack(t, "zstd", one))).packed("zstd")), at},
		"deflate, said":   {hub.Event(eventMaker(foreign(5, pack(t, "deflate", one))).packed("deflate")), at},
		"bare, by key":    {hub.Event(eventMaker(foreign(5, `{"x":1,"ts":1763870400}`)).keyed("a")), at},
		"bare, by sender": {hub.Event(eventMaker(foreign(5, `[{"x":1,"ts":1763870400}]`)).from("a").keyed("b")), at},
		"named by both":   {hub.Event(eventMaker(foreign(5, `{"deviceId":"a","x":1,"ts":1763870400}`)).from("a")), at},
		"another by key":  {hub.Event(eventMaker(foreign(5, one)).keyed("b")), at},
		"no legal key":    {hub.Event(eventMaker(foreign(5, one)).keyed("!")), at},
		"values":          {hub.Event(eventMaker(foreign(5, `{"ts":1763870400,"values":{"x":1}}`)).keyed("a")), at},
		"without a time":  {foreign(5, `[{"deviceId":"a","metrics":{"x":1}},{"deviceId":"a","metrics":{"x":2}}]`), "a 2026-11-24T12:00:05.000005Z x=1\na 2026-11-24T12:00:05.000005001Z x=2"},
		"tags":            {foreign(5, `{"deviceId":"a","ts":1763870400,"tags":{"site":"berlin"}}`), "a #site=berlin"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, options{})
			w.hub.send(c.event)
			r := w.take(c.event)
			equal(t, "readings", w.readings(), c.want)
			if r.Letters != 0 || r.Rejected != 0 || r.Events != 1 || r.Readings == 0 {
				t.Errorf("%+v: %+v", r, w.list())
			}
		})
	}
	t.Run("encoding among the sender's properties", func(t *testing.T) {
		w := newWorld(t, options{})
		e := foreign(0, pack(t, "deflate", one))
		e.Properties["Content-Encoding"] = "deflate"
		w.take(e)
		equal(t, "readings", w.readings(), at)
	})
}

// Of values for one time the higher stamp wins: of events that the hub had later,
// and within an event further on.
func TestStamps(t *testing.T) {
	w := newWorld(t, options{})
	same := func(x int) string { return fmt.Sprintf(`{"deviceId":"a","ts":1763870400,"metrics":{"x":%d}}`, x) }
	events := []hub.Event{foreign(0, same(9)), foreign(1, "["+same(7)+","+same(8)+"]")}
	w.take(events...)
	equal(t, "readings", w.readings(), "a 2025-11-23T04:00:00Z x=8")
	w.take(events[0])
	equal(t, "once more", w.readings(), "a 2025-11-23T04:00:00Z x=8")
	// Directly accepted after the first event and before the second.
	w.take(ours(t, 2, reading("a", time.Unix(1763870400, 0), noon.Add(500*time.Millisecond).UnixNano(), 5)))
	equal(t, "an older stamp", w.readings(), "a 2025-11-23T04:00:00Z x=8")
	w.take(ours(t, 3, reading("a", time.Unix(1763870400, 0), noon.Add(1500*time.Millisecond).UnixNano(), 4)))
	equal(t, "a newer one", w.readings(), "a 2025-11-23T04:00:00Z x=4")
}

// All events of a call become one append a shard.
func TestFewAppends(t *testing.T) {
	w := newWorld(t, options{})
	var events []hub.Event
	for n := range int64(100) {
		events = append(events, ours(t, n,
			reading(fmt.Sprint("device-", n%10), noon.Add(time.Duration(n)*time.Millisecond), n+1, 1),
			reading(fmt.Sprint("device-", n%7), noon.Add(time.Duration(n)*time.Second), n+1, 2)))
	}
	r := w.take(events...)
	if r.Appends != shards || r.Readings != 199 || r.Events != 100 {
		t.Errorf("%+v", r)
	}
	if got := strings.Count(w.readings(), "\n") + 1; got != 199 { // device-0 at noon twice
		t.Errorf("%d times", got)
	}
	if p := w.at(); p.Sequence != 99 || p.Offset != "9900" {
		t.Errorf("%+v", p)
	}
}

// A call of more than memory should hold is taken in rounds.
func TestRounds(t *testing.T) {
	w := newWorld(t, options{config: func(c *consume.Config) { c.RoundBytes = 2000 }})
	var events []hub.Event
	for n := range int64(20) {
		events = append(events, ours(t, n, reading("a", noon.Add(time.Duration(n)*time.Second), n+1, 1)))
	}
	var moves int
	w.hook = func(c storetest.Call) storetest.Verdict {
		if c.Table == progress.Table && c.Write {
			moves++
		}
		return storetest.Pass()
	}
	r := w.take(events...)
	if r.Readings != 20 || r.Appends < 3 || r.Appends > 15 || moves < r.Appends {
		t.Errorf("%+v, progress moved %d times", r, moves)
	}
	if got := strings.Count(w.readings(), "\n") + 1; got != 20 {
		t.Errorf("%d times", got)
	}
}

// newer is an event as the next version of the codec might write it: another
// version, and the checksum right.
func newer(body string) string {
	b := []byte(body)
	b[4]++
	castagnoli := crc32.MakeTable(crc32.Castagnoli)
	binary.LittleEndian.PutUint32(b[5:], crc32.Update(crc32.Checksum(b[:5], castagnoli), castagnoli, b[9:]))
	return string(b)
}

const goodLine = `{"deviceId":"a","ts":1763870400,"metrics":{"x":1}}`

// badEvent is one that is refused, and why.
type badEvent struct {
	event hub.Event
	code  telemetry.Code
}

// badBodies are the bad events of the hub, and why each is refused.
func badBodies(t tester) map[string]badEvent {
	t.Helper()
	whole, err := event.Encode(block.FromReadings([]telemetry.Reading{reading("a", noon, 1, 1)}), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	mine := string(whole[0])
	flipped := []byte(mine)
	flipped[len(flipped)-1] ^= 1
	deletion, err := event.Encode([]block.Device{{ID: "a", Cut: 5}}, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	thousand := "[" + strings.Repeat(goodLine+",", 499) + `{"deviceId":"a","metrics":{"x":[]}},` + strings.Repeat(goodLine+",", 499) + goodLine + "]"
	many := "[" + strings.Repeat(`{"deviceId":"a","metrics":{"x":1}},`, 1000) + `{"deviceId":"a","metrics":{"x":1}}]`
	return map[string]badEvent{
		"empty":                      {foreign(0, ""), telemetry.EmptyMessage},
		"blank":                      {foreign(0, " \n"), telemetry.EmptyMessage},
		"not UTF-8":                  {foreign(0, "\xff\xfe{\x00"), telemetry.InvalidJSON},
		"a string that is not UTF-8": {foreign(0, "{\"deviceId\":\"a\",\"metrics\":{\"x\":\"\xff\"}}"), telemetry.InvalidText},
		"half a block":               {foreign(0, mine[:len(mine)/2]), telemetry.CorruptEvent},
		"the mark of a block":        {foreign(0, mine[:1]), telemetry.CorruptEvent},
		"a wrong checksum":           {foreign(0, string(flipped)), telemetry.CorruptEvent},
		"a newer version":            {foreign(0, newer(mine)), telemetry.UnsupportedVersion},
		"1 MiB of [":                 {foreign(0, strings.Repeat("[", 1<<20)), telemetry.InvalidJSON},
		"half of JSON":               {foreign(0, `{"deviceId":"a","metrics":{"x":1`), telemetry.InvalidJSON},
		"one bad in a thousand":      {foreign(0, thousand), telemetry.InvalidValue},
		"compressed garbage":         {foreign(0, "\x1f\x8b\x08\x00garbage and no gzip"), telemetry.CorruptEvent},
		"cut gzip":                   {foreign(0, pack(t, "gzip", goodLine)[:20]), telemetry.CorruptEvent},
		"not what it says":           {hub.Event(eventMaker(foreign(0, goodLine)).packed("gzip")), telemetry.CorruptEvent},
		"unknown compression":        {hub.Event(eventMaker(foreign(0, goodLine)).packed("br")), telemetry.UnsupportedEncoding},
		"a zip bomb":                 {foreign(0, pack(t, "gzip", "["+strings.Repeat(" ", 17<<20)+goodLine+"]")), telemetry.BodyTooLarge},
		"100,001 readings":           {foreign(0, pack(t, "gzip", "["+strings.Repeat("1,", 100_000)+"1]")), telemetry.TooManyReadings},
		"another device":             {hub.Event(eventMaker(foreign(0, goodLine)).from("b")), telemetry.ForbiddenDevice},
		"a block of a device":        {hub.Event(eventMaker(foreign(0, mine)).from("a")), telemetry.ForbiddenDevice},
		"a block that deletes":       {foreign(0, string(deletion[0])), telemetry.CorruptEvent},
		"a sender that is no name":   {hub.Event(eventMaker(foreign(0, `{"x":1}`)).from("a#1")), telemetry.InvalidDevice},
		"no device":                  {foreign(0, `{"metrics":{"x":1}}`), telemetry.InvalidDevice},
		"a key that is no name":      {hub.Event(eventMaker(foreign(0, `{"metrics":{"x":1}}`)).keyed("a b")), telemetry.InvalidDevice},
		"too many without a time":    {foreign(0, many), telemetry.InvalidTimestamp},
		"in the future":              {foreign(0, `{"deviceId":"a","ts":"2026-11-24T12:10:00Z","metrics":{"x":1}}`), telemetry.TimestampInFuture},
	}
}

// Each bad event is in the dead letters once, with its whole body and all that is
// needed to judge it again; the others of the call land.
func TestBadEvents(t *testing.T) {
	for name, c := range badBodies(t) {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, options{})
			good := foreign(1, `{"deviceId":"good","ts":1763870400,"metrics":{"x":1}}`)
			w.hub.send(c.event, good)
			for range 3 { // as often as it is delivered
				w.take(c.event, good)
			}
			if !strings.Contains(w.readings(), "good 2025-11-23T04:00:00Z x=1") {
				t.Errorf("the good one is not there: %.200s", w.readings())
			}
			letters := w.list()
			if len(letters) != 1 || letters[0].Reason.Code != c.code {
				t.Fatalf("%d letters, %+v, want %s", len(letters), letters, c.code)
			}
			l, err := w.letters.Get(t.Context(), letters[0].ID)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(l.Body, c.event.Body) || l.Source.Sequence != 0 || l.Source.Partition != "0" || !l.Source.Enqueued.Equal(noon) ||
				l.PartitionKey != c.event.PartitionKey || l.Device != sender(c.event) || l.ContentEncoding != encoding(c.event) {
				t.Errorf("%+v", l)
			}
			if l.Reason.Message == "" || len(l.Reason.Message) > 500 {
				t.Errorf("reason %q", l.Reason.Message)
			}
			if w.at().Sequence != 1 {
				t.Errorf("%+v", w.at())
			}
			// A replay without a fix changes nothing but says the same.
			before := w.readings()
			v, err := w.letters.Replay(t.Context(), w.consumer, l.ID)
			if err != nil || v.Reason == nil || v.Reason.Code != c.code || v.Rejected != letters[0].Rejected {
				t.Errorf("replay: %+v, %v", v, err)
			}
			if w.readings() != before || len(w.list()) != 1 {
				t.Error("the replay changed something")
			}
		})
	}
}

func sender(e hub.Event) string {
	s, _ := e.System["iothub-connection-device-id"].(string)
	return s
}

func encoding(e hub.Event) string {
	s, _ := e.System["content-encoding"].(string)
	return s
}

// The good part of a bad event lands, and after a fix a replay makes the bad part
// appear under the stamps that it always had; a second replay and a redelivery
// change nothing.
func TestReplayAfterAFix(t *testing.T) {
	w := newWorld(t, options{config: func(c *consume.Config) { c.MaxMetrics = 1 }})
	e := foreign(7, `[{"deviceId":"a","metrics":{"x":1}},{"deviceId":"b","metrics":{"x":1,"y":2}},{"deviceId":"a","metrics":{"x":3}}]`)
	w.hub.send(e)
	w.take(e)
	equal(t, "the good part", w.readings(), "a 2026-11-24T12:00:07.000007Z x=1\na 2026-11-24T12:00:07.000007002Z x=3")
	equal(t, "letters", w.buried(), "7 too_many_metrics 1")
	id := w.list()[0].ID

	w.open(options{}, w.rows) // SLUICE_MAX_METRICS is raised
	all := "a 2026-11-24T12:00:07.000007Z x=1\na 2026-11-24T12:00:07.000007002Z x=3\nb 2026-11-24T12:00:07.000007001Z x=1 y=2"
	for try := range 3 {
		v, err := w.letters.Replay(t.Context(), w.consumer, id)
		if try == 0 && (err != nil || v.Accepted != 3 || v.Rejected != 0 || v.Reason != nil) {
			t.Errorf("%+v, %v", v, err)
		}
		if try == 1 && err != nil && !errors.Is(err, deadletters.ErrUnknown) {
			t.Error(err)
		}
		equal(t, "after the replay", w.readings(), all)
		equal(t, "letters", w.buried(), "")
		w.take(e)
	}
	w.open(options{config: func(c *consume.Config) { c.MaxMetrics = 1 }}, w.rows) // and lowered again
	w.take(e)
	equal(t, "letters", w.buried(), "")
	equal(t, "after all", w.readings(), all)
}

// What was durable before its device was blocked is no dead letter when it comes
// again.
func TestBlockedAfterwards(t *testing.T) {
	w := newWorld(t, options{})
	before := foreign(7, `{"deviceId":"b","metrics":{"x":1}}`)
	w.hub.send(before)
	w.take(before)
	w.open(options{config: func(c *consume.Config) {
		c.Refuse = func(string) *telemetry.Refusal { return telemetry.Refuse(telemetry.DeviceBlocked, "blocked") }
	}}, w.rows)
	after := foreign(8, `{"deviceId":"b","metrics":{"x":2}}`)
	w.hub.send(after)
	w.take(before, after)
	equal(t, "letters", w.buried(), "8 device_blocked 1")
}

// What a blocked device sent is in the dead letters, whoever brought it and in which
// form, the rest lands; unblocked, a replay makes it appear.
func TestBlockedDevices(t *testing.T) {
	refuse := func(c *consume.Config) {
		c.Refuse = func(device string) *telemetry.Refusal {
			if device != "b" && device != "d" {
				return nil
			}
			return telemetry.Refuse(telemetry.DeviceBlocked, "device %s is blocked", device)
		}
	}
	w := newWorld(t, options{config: refuse})
	mixed := foreign(7, `[{"deviceId":"a","metrics":{"x":1}},{"deviceId":"b","metrics":{"x":2}},{"deviceId":"d","tags":{"k":"v"}},{"deviceId":"c","metrics":{"x":3}},{"deviceId":"b","metrics":{"x":4}}]`)
	alone := foreign(8, `{"deviceId":"b","metrics":{"x":5}}`)
	bodies, err := event.Encode(block.FromReadings([]telemetry.Reading{reading("b", noon, 1, 1), reading("c", noon, 2, 1)}), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	ofOurs := foreign(9, string(bodies[0]))
	w.hub.send(mixed, alone, ofOurs)
	w.take(mixed, alone, ofOurs)
	equal(t, "letters", w.buried(), "7 device_blocked 3\n8 device_blocked 1\n9 device_blocked 1")
	if got := w.readings(); strings.Contains(got, "b 2026") || !strings.Contains(got, "a 2026") || strings.Count(got, "c 2026") != 2 {
		t.Error(got)
	}
	w.take(mixed, alone, ofOurs) // again
	equal(t, "letters", w.buried(), "7 device_blocked 3\n8 device_blocked 1\n9 device_blocked 1")
	w.open(options{}, w.rows)
	for _, l := range w.list() {
		if v, err := w.letters.Replay(t.Context(), w.consumer, l.ID); err != nil || v.Reason != nil {
			t.Errorf("%+v, %v", v, err)
		}
	}
	if got := w.readings(); strings.Count(got, "b 2026") != 4 {
		t.Error(got)
	}
	equal(t, "letters", w.buried(), "")
}

// Readings are judged by the time at which the hub had them, whenever that is.
func TestJudgedAtTheEnqueuedTime(t *testing.T) {
	w := newWorld(t, options{retention: 48 * time.Hour})
	e := foreign(0, `[{"deviceId":"a","ts":"2026-11-22T00:00:00Z","metrics":{"x":1}},{"deviceId":"a","ts":"2026-11-21T23:59:59Z","metrics":{"x":2}},{"deviceId":"a","ts":"2026-11-24T12:09:59Z","metrics":{"x":3}},{"deviceId":"a","ts":"2026-11-24T12:10:00Z","metrics":{"x":4}}]`)
	w.now = noon.Add(11 * time.Hour) // late, but nothing is dropped yet
	w.take(e)
	equal(t, "readings", w.readings(), "a 2026-11-22T00:00:00Z x=1\na 2026-11-24T12:09:59Z x=3")
	equal(t, "letters", w.buried(), "0 timestamp_too_old 2")
}

// fakeEngine is an engine whose append a test gives.
type fakeEngine struct {
	append func(devices []block.Device) error
	taken  []block.Device
}

func (f *fakeEngine) Shard(string) int { return 0 }

func (f *fakeEngine) AppendQueued(_ context.Context, _ int, devices []block.Device) error {
	if err := f.append(devices); err != nil {
		return err
	}
	f.taken = block.Union([][]block.Device{f.taken, devices})
	return nil
}

func (f *fakeEngine) String() string {
	var lines []string
	for i := range f.taken {
		lines = append(lines, rowsOf(f.taken[i].ID, &f.taken[i].Readings)...)
	}
	return strings.Join(lines, "\n")
}

func withEngine(e consume.Engine) options {
	return options{config: func(c *consume.Config) { c.Engine = e }}
}

func has(devices []block.Device, id string) bool {
	for _, d := range devices {
		if d.ID == id {
			return true
		}
	}
	return false
}

// What the floor of retention has passed meanwhile is dead-lettered, the rest
// lands; what was durable before is not.
func TestTooOldByNow(t *testing.T) {
	floor := int64(0)
	f := &fakeEngine{append: func(devices []block.Device) error {
		for _, d := range devices {
			if d.Readings.Times[0] < floor {
				return fmt.Errorf("append: %w", &engine.FloorError{Floor: floor})
			}
		}
		return nil
	}}
	w := newWorld(t, withEngine(f))
	events := []hub.Event{
		ours(t, 0, reading("a", noon.Add(-3*time.Hour), 1, 1), reading("a", noon, 2, 2)),
		foreign(1, `[{"deviceId":"b","ts":"2026-11-24T09:30:00Z","metrics":{"x":1}},{"deviceId":"b","ts":"2026-11-24T12:00:00Z","metrics":{"x":1}},5]`),
		ours(t, 2, reading("c", noon.Add(-3*time.Hour), 3, 1), reading("d", noon, 3, 1)),
	}
	w.hub.send(events...)
	w.take(events[0])
	floor = noon.Add(-2 * time.Hour).UnixNano()
	r := w.take(events...)
	equal(t, "letters", w.buried(), "1 timestamp_too_old 2\n2 timestamp_too_old 1")
	equal(t, "readings", f.String(), "a 2026-11-24T09:00:00Z x=1\na 2026-11-24T12:00:00Z x=2\nb 2026-11-24T12:00:00Z x=1\nd 2026-11-24T12:00:00Z x=1")
	if r.Readings != 3 || r.Rejected != 4 || r.Letters != 2 {
		t.Errorf("%+v", r)
	}
	v, err := w.letters.Replay(t.Context(), w.consumer, w.list()[0].ID)
	if err != nil || v.Reason == nil || v.Reason.Code != telemetry.TimestampTooOld {
		t.Errorf("%+v, %v", v, err)
	}
	w.take(events...)
	equal(t, "once more", w.buried(), "1 timestamp_too_old 2\n2 timestamp_too_old 1")
}

// Times before 1970, which no ingest accepts, are in a block that somebody else
// made: a dead letter, as is an event of which nobody knows when the hub had it,
// and not passed over.
func TestBeforeAllTimes(t *testing.T) {
	w := newWorld(t, options{})
	timeless := foreign(1, `{"deviceId":"a","metrics":{"x":1}}`)
	timeless.Enqueued = time.Time{}
	r := w.take(ours(t, 0, reading("a", time.Unix(-1, 0), 1, 1), reading("b", noon, 2, 2)), timeless)
	equal(t, "letters", w.buried(), "0 timestamp_too_old 1\n1 corrupt_event 1")
	equal(t, "readings", w.readings(), "b 2026-11-24T12:00:00Z x=2")
	if r.Readings != 1 || r.Rejected != 2 {
		t.Errorf("%+v", r)
	}
}

// refusal is an engine's error that names readings.
type refusal struct{ device string }

func (r refusal) Error() string                                 { return "refused for good" }
func (r refusal) Refused(device string, _ telemetry.Stamp) bool { return device == r.device }

// What the store refuses for good is dead-lettered, however it says so.
func TestNotStorable(t *testing.T) {
	for name, fail := range map[string]func([]block.Device) error{
		"named":     func([]block.Device) error { return fmt.Errorf("append: %w", refusal{"poison"}) },
		"too large": func([]block.Device) error { return fmt.Errorf("append: %w", store.ErrTooLarge) },
		"invalid":   func([]block.Device) error { return fmt.Errorf("append: %w", store.ErrInvalid) },
		"panics":    func([]block.Device) error { panic("out of range") },
	} {
		t.Run(name, func(t *testing.T) {
			var f *fakeEngine
			f = &fakeEngine{append: func(devices []block.Device) error {
				if !has(devices, "poison") {
					return nil
				}
				if name == "named" {
					rest := []block.Device{}
					for _, d := range devices {
						if d.ID != "poison" {
							rest = append(rest, d)
						}
					}
					f.taken = block.Union([][]block.Device{f.taken, rest})
				}
				return fail(devices)
			}}
			w := newWorld(t, withEngine(f))
			var events []hub.Event
			for n := range int64(50) {
				events = append(events, ours(t, n, reading(fmt.Sprintf("d%02d", n), noon, n+1, 1), reading("e", noon.Add(time.Duration(n)*time.Second), n+1, 1)))
			}
			events[20] = ours(t, 20, reading("d20", noon, 20, 1), reading("e", noon, 20, 1), reading("poison", noon, 20, 1), reading("poison", noon.Add(time.Second), 21, 1))
			events[30] = foreign(30, `[{"deviceId":"d30","metrics":{"x":1}},{"deviceId":"poison","metrics":{"x":2}}]`)
			w.hub.send(events...)
			w.take(events...)
			equal(t, "letters", w.buried(), "20 not_storable 2\n30 not_storable 1")
			if n := len(f.taken); n != 51 || has(f.taken, "poison") {
				t.Errorf("%d devices", n)
			}
			v, err := w.consumer.Replay(t.Context(), w.letter(30))
			if err != nil || v.Accepted != 1 || v.Rejected != 1 || v.Errors[0].Index != 1 || v.Reason.Code != telemetry.NotStorable {
				t.Errorf("%+v, %v", v, err)
			}
		})
	}
}

// letter is the one of an event.
func (w *world) letter(n int64) deadletters.Letter {
	w.t.Helper()
	for _, l := range w.list() {
		if l.Source.Sequence == n {
			l, err := w.letters.Get(w.t.Context(), l.ID)
			if err != nil {
				w.t.Fatal(err)
			}
			return l
		}
	}
	w.t.Fatal("no letter of event ", n)
	return deadletters.Letter{}
}

// A store that is away is nobody's fault: the call fails, nothing is dead-lettered,
// and it is all there after the next.
func TestStoreAway(t *testing.T) {
	for name, table := range map[string]string{"journal": "sluicejournal", "dead letters": "sluicedeadletters", "progress": progress.Table} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, options{})
			events := []hub.Event{foreign(0, goodLine), foreign(1, "nonsense")}
			w.hub.send(events...)
			w.take(foreign(0, goodLine)) // all tables are there
			hit := false
			w.hook = func(c storetest.Call) storetest.Verdict {
				if c.Write && strings.HasPrefix(c.Table, table) {
					hit = true
					return storetest.Fail(store.ErrUnavailable)
				}
				return storetest.Pass()
			}
			if _, err := w.consumer.Take(t.Context(), "0", events); !errors.Is(err, store.ErrUnavailable) || !hit {
				t.Fatal(err, hit)
			}
			if w.at().Sequence != 0 {
				t.Errorf("%+v", w.at())
			}
			w.hook = nil
			w.take(events...)
			equal(t, "letters", w.buried(), "1 invalid_json 1")
			if w.at().Sequence != 1 {
				t.Errorf("%+v", w.at())
			}
		})
	}
}
