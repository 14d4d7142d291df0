package ingest

import (
	"errors"
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

// A body that lost a part is not read on, though there is memory again: the rest
// would be another text.
func TestNoHolesInBodies(t *testing.T) {
	r := &room{most: 4 * spread}
	other, mine := r.body(), r.body()
	other.take(3)
	m := metered{strings.NewReader("123456"), mine}
	if n, err := m.Read(make([]byte, 3)); n != 0 || !errors.Is(err, ErrFull) {
		t.Fatal(n, err)
	}
	other.free()
	if n, err := m.Read(make([]byte, 3)); n != 0 || !errors.Is(err, ErrFull) {
		t.Error(n, err, "the text goes on behind a hole")
	}
}
