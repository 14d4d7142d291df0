package invoke

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"
)

func read(t *testing.T, body string) Envelope {
	t.Helper()
	e, err := Read(strings.NewReader(body), 1<<20, 256)
	if err != nil {
		t.Fatal(err)
	}
	return e
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
		e, err := Read(strings.NewReader(body), 1<<20, 256)
		if err == nil {
			_, err = e.Timer("timer")
		}
		if !errors.Is(err, ErrEnvelope) {
			t.Errorf("%.50q: %v", body, err)
		}
	}
	half := io.MultiReader(strings.NewReader(`{"Data":{"timer":{"x":"`), iotest.ErrReader(os.ErrDeadlineExceeded))
	if _, err := Read(half, 100, 0); !errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, ErrEnvelope) {
		t.Error(err)
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
