package host

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// What a call costs through the host, in either mode, beside the same call
// straight to the handler. The three take turns, so that a machine that is busy
// is busy for all of them: of the medians, the ratios are what to look at.
func BenchmarkCall(b *testing.B) {
	proxy := start(b, nil, func(o *Options) { o.Environ = append(o.Environ, recordFile+"=/dev/null") })
	forward := start(b, nil, func(o *Options) { o.Mode, o.Environ = Forward, append(o.Environ, recordFile+"=/dev/null") })
	for _, w := range []*world{proxy, forward} {
		if err := w.Ready(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	ways := []struct{ name, url string }{
		{"direct", "http://" + proxy.client.address}, {"proxy", proxy.URL()}, {"forward", forward.URL()},
	}
	client := &http.Client{Transport: &http.Transport{}}
	for _, size := range []int{0, 1 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("body=%d", size), func(b *testing.B) {
			body := bytes.Repeat([]byte("x"), size)
			took := make([][]time.Duration, len(ways))
			for b.Loop() {
				for i, way := range ways {
					begun := time.Now()
					callOnce(b, client, way.url, body)
					took[i] = append(took[i], time.Since(begun))
				}
			}
			direct := median(took[0])
			for i, way := range ways {
				b.ReportMetric(float64(median(took[i]).Microseconds()), "µs/"+way.name)
				if i > 0 {
					b.ReportMetric(float64(median(took[i]))/float64(direct), way.name+"/direct")
				}
			}
		})
	}
}

func median(list []time.Duration) time.Duration {
	slices.Sort(list)
	return list[len(list)/2]
}

func callOnce(b *testing.B, client *http.Client, url string, body []byte) {
	method := http.MethodGet
	if len(body) > 0 {
		method = http.MethodPost
	}
	r, err := http.NewRequestWithContext(b.Context(), method, url+"/v1/x", bytes.NewReader(body))
	if err != nil {
		b.Fatal(err)
	}
	r.Header.Set("X-Do", "body=answer")
	answer, err := client.Do(r)
	if err != nil {
		b.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || strings.TrimSpace(string(text)) != "answer" {
		b.Fatalf("%q, %v", text, err)
	}
}
