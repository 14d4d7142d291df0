package ingest

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// What bodies take in memory is counted as it comes, whatever their headers say
// of it: a compressed one is small when it arrives.
func TestBodiesUnderWayAreBounded(t *testing.T) {
	in, e := serve(t, newRecorder(1), Config{DecodeBytes: 1 << 20})
	post := func(body io.Reader) (int, string) {
		w := do(e, http.MethodPost, "/api/v1/telemetry", "", body)
		return w.Code, w.Body.String()
	}
	large := strings.Repeat(" ", 1<<20) + metric("1")
	if code, text := post(strings.NewReader(zipped(large))); code != 200 {
		t.Fatal("alone, it is taken:", code, text)
	}
	first, more := io.Pipe()
	done := make(chan int)
	go func() {
		code, _ := post(first)
		done <- code
	}()
	_, _ = more.Write([]byte(large[:1<<20]))
	for deadline := time.Now().Add(5 * time.Second); in.room.used.Load() < 1<<20 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	for name, body := range map[string]string{"plain": metric("2"), "compressed": zipped(metric("2"))} {
		if code, text := post(strings.NewReader(body)); code != 503 || !strings.Contains(text, `"overloaded"`) {
			t.Error(name, code, text)
		}
	}
	_, _ = more.Write([]byte(large[1<<20:]))
	_ = more.Close()
	if code := <-done; code != 200 {
		t.Error("the one that was there first:", code)
	}
	if used := in.room.used.Load(); used != 0 {
		t.Error(used, "bytes are not given back")
	}
	if code, text := post(strings.NewReader(metric("2"))); code != 200 {
		t.Error("there is room again:", code, text)
	}
}
