package invoke

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

// recorded is what a real host sent to a custom handler.
const recorded = "../../devtools/host/testdata/recorded/triggers.jsonl"

type recording struct {
	Name, Method, Path, Body, BodyHex string
	Headers                           [][2]string
}

// recordings reads them, or skips the test where they are not.
func recordings(t *testing.T) []recording {
	t.Helper()
	f, err := os.Open(recorded)
	if err != nil {
		t.Skip("no recordings of a real host: ", err)
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

func read(t *testing.T, body string) Envelope {
	t.Helper()
	e, err := Read(strings.NewReader(body), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestRecordedTimer(t *testing.T) {
	found := false
	for _, r := range recordings(t) {
		if !strings.HasPrefix(r.Name, "timer") {
			continue
		}
		found = true
		if timer, err := read(t, r.Body).Timer("timer"); err != nil || timer.IsPastDue {
			t.Error(r.Name, timer, err)
		}
	}
	if !found {
		t.Error("no timer is recorded")
	}
}

// The envelope carries batches of an Event Hub to the byte, too, with all that
// the host says of the events.
func TestRecordedBatch(t *testing.T) {
	for _, r := range recordings(t) {
		if r.Name != "eventhub many, dataType binary" {
			continue
		}
		e := read(t, r.Body)
		var events [][]byte
		if err := e.Data("events", &events); err != nil {
			t.Fatal(err)
		}
		want := []string{`{"device":"d1","temp":21.5,"ts":"2026-11-23T05:00:00Z"}`, "plain \"text\" äö <b>&\n2", "[1,2]", "\x1f\x8b\x00\xff\xfe\x80"}
		for i, event := range events {
			if string(event) != want[i] {
				t.Errorf("event %d: %q", i, event)
			}
		}
		var numbers []int64
		var keys []*string
		var properties []map[string]any
		var partition struct{ PartitionID string }
		for name, to := range map[string]any{
			"SequenceNumberArray": &numbers, "PartitionKeyArray": &keys, "PropertiesArray": &properties, "PartitionContext": &partition,
		} {
			if there, err := e.Meta(name, to); !there || err != nil {
				t.Error(name, there, err)
			}
		}
		if diff := cmp.Diff([]int64{9007199254740993, 12, 13, 14}, numbers); diff != "" || len(events) != 4 {
			t.Error(len(events), diff)
		}
		if len(keys) != 4 || *keys[0] != "d1" || keys[1] != nil || len(properties) != 4 || partition.PartitionID != "3" {
			t.Error(keys, properties, partition)
		}
		return
	}
	t.Error("no such batch is recorded")
}

func TestTimer(t *testing.T) {
	timer, err := read(t, `{"Data":{"timer":{"Schedule":{"AdjustForDST":true},"ScheduleStatus":null,"IsPastDue":true,"New":[1]}},"Metadata":{"sys":{}},"New":{}}`).Timer("timer")
	if err != nil || !timer.IsPastDue {
		t.Error(timer, err)
	}
}

func TestBrokenEnvelopes(t *testing.T) {
	for _, body := range []string{
		"", "null", "{}", "[]", `"x"`, "1", `{"Data":{"timer":{}}`, `{"Data":{"timer":{}}} {}`, `{"Data":null}`, `{"Data":[]}`, `{"Data":"{}"}`,
		`{"Data":{}}`, `{"Data":{"other":{}}}`, `{"Data":{"timer":null}}`, `{"Data":{"timer":1}}`, `{"Data":{"timer":"x"}}`, `{"Data":{"timer":[]}}`,
		`{"Data":{"timer":"[]"}}`, `{"Data":{"timer":{"IsPastDue":"yes"}}}`, `{"Data":{"timer":{}},"Metadata":[]}`,
		strings.Repeat(`{"Data":`, 100000), `{"Data":{"timer":{}},"x":"` + strings.Repeat("x", 1<<20) + `"}`,
	} {
		e, err := Read(strings.NewReader(body), 1<<20)
		if err == nil {
			_, err = e.Timer("timer")
		}
		if !errors.Is(err, ErrEnvelope) {
			t.Errorf("%.50q: %v", body, err)
		}
	}
	if _, err := Read(iotest.ErrReader(os.ErrDeadlineExceeded), 10); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
}

func TestMeta(t *testing.T) {
	e := read(t, `{"Data":{},"Metadata":{"a":"[1]","b":"x","c":{"d":1}}}`)
	var a []int
	var c struct{ D int }
	if there, err := e.Meta("a", &a); !there || err != nil || a[0] != 1 {
		t.Error(there, err, a)
	}
	if there, err := e.Meta("c", &c); !there || err != nil || c.D != 1 {
		t.Error(there, err, c)
	}
	if there, err := e.Meta("b", &a); !there || !errors.Is(err, ErrEnvelope) {
		t.Error(there, err)
	}
	if there, err := e.Meta("d", &a); there || err != nil {
		t.Error(there, err)
	}
}

func TestAnswers(t *testing.T) {
	for want, body := range map[string]any{
		`{"Outputs":{},"Logs":[],"ReturnValue":null}`:        Done(),
		`{"Outputs":{},"Logs":["a","b"],"ReturnValue":null}`: Done("a", "b"),
		`{"Outputs":{"res":{"statusCode":500,"headers":{"Content-Type":"application/json"},"body":"{}"}},"Logs":["why"],"ReturnValue":null}`: Reply(500, "{}", "why"),
	} {
		if text, err := json.Marshal(body); err != nil || string(text) != want {
			t.Errorf("%s, %v, want %s", text, err, want)
		}
	}
}

// FuzzEnvelope holds that whatever is posted is read or refused as broken.
func FuzzEnvelope(f *testing.F) {
	for _, seed := range []string{
		`{"Data":{"timer":{"Schedule":{"AdjustForDST":true},"ScheduleStatus":null,"IsPastDue":false}},"Metadata":{"sys":{"MethodName":"compact"}}}`,
		`{"Data":{"events":"[\"eyJkZXZpY2VJZCI6ImExIn0=\",\"bm90IGpzb24=\"]"},"Metadata":{"SequenceNumberArray":"[41,42]","PropertiesArray":"[{},{}]"}}`,
		`{"Data":{"timer":"\ud800","events":""}}`, `{"data":{"timer":{}}}`, `{}`, "", "\xff",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		const limit = 4 << 10
		e, err := Read(strings.NewReader(string(body)), limit)
		if err == nil && len(body) > limit {
			t.Error("read", len(body), "bytes")
		}
		if err == nil {
			_, err = e.Timer("timer")
			var events [][]byte
			if err := e.Data("events", &events); err != nil && !errors.Is(err, ErrEnvelope) {
				t.Error(err)
			}
			var numbers []int64
			if _, err := e.Meta("SequenceNumberArray", &numbers); err != nil && !errors.Is(err, ErrEnvelope) {
				t.Error(err)
			}
		}
		if err != nil && !errors.Is(err, ErrEnvelope) {
			t.Error(err)
		}
	})
}
