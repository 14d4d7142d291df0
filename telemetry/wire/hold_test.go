package wire_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"sluice/telemetry/wire"
)

// zstdOf compresses texts as frames of their own, each with a window.
func zstdOf(t *testing.T, window int, texts ...string) string {
	t.Helper()
	var all bytes.Buffer
	for _, text := range texts {
		w, err := zstd.NewWriter(&all, zstd.WithWindowSize(window), zstd.WithSingleSegment(false))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(w, text[:1])
		_ = w.Flush() // a stream: the frame does not know how long it will be
		_, _ = io.WriteString(w, text[1:])
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return all.String()
}

// A decoder takes memory at the word of some bytes: that is asked for before it
// does, and no frame takes more than was asked for.
func TestDecodersAskForTheirMemory(t *testing.T) {
	small, large := zstdOf(t, 1<<20, plain), zstdOf(t, 8<<20, plain)
	for name, c := range map[string]struct {
		sent    string
		asked   []int64
		message string
	}{
		"plain":              {plain, nil, ""},
		"gzip":               {compress(t, "gzip", plain), []int64{64 << 10}, ""},
		"gzip in gzip":       {compress(t, "gzip", compress(t, "gzip", plain)), []int64{64 << 10, 64 << 10}, ""},
		"zstd, one segment":  {compress(t, "zstd", plain), []int64{2<<20 + 256<<10}, ""},
		"zstd, small window": {small, []int64{2<<20 + 256<<10}, ""},
		"zstd, large window": {large, []int64{8<<20 + 256<<10}, ""},
		"zstd, small frames": {small + small, []int64{2<<20 + 256<<10}, ""},
		"zstd, large first":  {large + small, []int64{8<<20 + 256<<10}, ""},
		"zstd, large later":  {small + large, []int64{2<<20 + 256<<10}, "body has a zstd frame with a window over 2097152 bytes after one with less: begin with the largest, or compress it as one"},
	} {
		var asked []int64
		l := limits
		l.Hold = func(n int64) error {
			asked = append(asked, n)
			return nil
		}
		_, err := readBody(strings.NewReader(c.sent), "", l)
		if len(asked) != len(c.asked) || len(asked) > 0 && asked[0] != c.asked[0] {
			t.Errorf("%s: asked for %v, want %v", name, asked, c.asked)
		}
		if c.message == "" && err != nil || c.message != "" && (err == nil || err.Error() != c.message) {
			t.Errorf("%s: %v", name, err)
		}
	}
	full := errors.New("full")
	l := limits
	l.Hold = func(int64) error { return full }
	if _, err := readBody(strings.NewReader(large), "", l); !errors.Is(err, full) {
		t.Error(err)
	}
	var refused *wire.Error
	if _, err := readBody(strings.NewReader(large), "", l); errors.As(err, &refused) {
		t.Error("it is not the client's fault:", err)
	}
}
