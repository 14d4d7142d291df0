package host

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
)

// What a call costs through the host, in either mode, beside the same call
// straight to the handler. Their ratios are what to look at.
func BenchmarkCall(b *testing.B) {
	for _, size := range []int{0, 1 << 10, 1 << 20} {
		name := map[int]string{0: "GET", 1 << 10: "POST1KiB", 1 << 20: "POST1MiB"}[size]
		for _, mode := range []Mode{Proxy, Forward} {
			w := start(b, nil, func(o *Options) {
				o.Mode = mode
				o.Environ = append(o.Environ, recordFile+"=/dev/null")
			})
			if err := w.Ready(b.Context()); err != nil {
				b.Fatal(err)
			}
			if mode == Proxy {
				b.Run(name+"/direct", func(b *testing.B) { callAgain(b, "http://"+w.client.address, size) })
			}
			b.Run(name+"/"+mode.String(), func(b *testing.B) { callAgain(b, w.URL(), size) })
			w.Kill()
		}
	}
}

func callAgain(b *testing.B, url string, size int) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	body := bytes.Repeat([]byte("x"), size)
	b.SetBytes(int64(size))
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			method, reader := http.MethodGet, io.Reader(nil)
			if size > 0 {
				method, reader = http.MethodPost, bytes.NewReader(body)
			}
			r, err := http.NewRequestWithContext(b.Context(), method, url+"/v1/x", reader)
			if err != nil {
				b.Error(err)
				return
			}
			r.Header.Set("X-Do", "body=answer")
			answer, err := client.Do(r)
			if err != nil {
				b.Error(err)
				return
			}
			text, err := io.ReadAll(answer.Body)
			_ = answer.Body.Close()
			if err != nil || strings.TrimSpace(string(text)) != "answer" {
				b.Errorf("%q, %v", text, err)
				return
			}
		}
	})
}
