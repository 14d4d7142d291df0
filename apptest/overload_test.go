package apptest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/devtools/load/body"
	"sluice/devtools/load/service"
)

// overloadMemory is what the service is given.
const overloadMemory = 256 << 20

// overloadClients are enough for the best throughput; ten times as many are an
// overload.
const overloadClients = 8

// TestOverload has ten times as many clients as the service needs for its best
// throughput send large bodies, without a pause but that after a refusal: whatever
// is not taken is refused, the process stays within its memory, and goes on. With
// SLUICE_OVERLOAD=2m it says what is admitted beside the best.
func TestOverload(t *testing.T) {
	length := 2 * time.Second
	if text := os.Getenv("SLUICE_OVERLOAD"); text != "" {
		var err error
		if length, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	p := start(t, embedded(t), fmt.Sprintf("SLUICE_MEMORY=%d", overloadMemory), "SLUICE_RETENTION=forever", "SLUICE_DEVICE_RATE=0")
	best := overload(t, p, overloadClients, length/2)
	over := overload(t, p, 10*overloadClients, length)
	after := overload(t, p, overloadClients, length/2)
	t.Logf("readings a second: %.0f with %d clients, %.0f with ten times as many (%.0f%% of the best; %d bodies refused), %.0f with %d again",
		best.rate, overloadClients, over.rate, 100*over.rate/max(best.rate, after.rate), over.refused, after.rate, overloadClients)
	t.Logf("memory at most: %d MiB with %d clients, %d MiB with ten times as many, of %d MiB", best.peak>>20, overloadClients, over.peak>>20, overloadMemory>>20)
	if over.peak > overloadMemory {
		t.Errorf("%d MiB were used", over.peak>>20)
	}
	if over.accepted == 0 || after.accepted == 0 {
		t.Error("nothing was taken")
	}
	var status struct {
		Limits struct{ OverloadedRequests, MemoryUsedBytes int64 }
	}
	if err := p.Get(t.Context(), "/api/v1/status", nil, &status); err != nil {
		t.Error(err)
	}
	t.Logf("at the end: %s", marshal(status))
	stop(t, p)
}

func marshal(v any) string {
	text, _ := json.Marshal(v)
	return string(text)
}

type overloaded struct {
	accepted, refused int64
	rate              float64
	peak              int64 // of memory
}

// overload runs clients for a while.
func overload(t *testing.T, p *service.Process, clients int, length time.Duration) overloaded {
	t.Helper()
	_ = p.ResetPeak()
	ctx, cancel := context.WithTimeout(t.Context(), length)
	defer cancel()
	var accepted, refused atomic.Int64
	var running sync.WaitGroup
	began := time.Now()
	for i := range clients {
		running.Go(func() {
			const readings = 4
			bodies := body.New(i*1000, 1000, readings, time.Second)
			for n := 0; ctx.Err() == nil; n++ {
				bodies.At(time.Now().Add(-time.Hour).Add(time.Duration(n) * readings * time.Second))
				v, err := p.Post(ctx, "/api/v1/telemetry", "application/json", "", bodies.Bytes)
				var status *service.StatusError
				switch {
				case err == nil:
					accepted.Add(int64(v.Accepted))
				case errors.As(err, &status) && status.Status == 503 && status.RetryAfter != "":
					refused.Add(1)
					time.Sleep(100 * time.Millisecond) // less than was asked for
				case errors.As(err, &status):
					t.Errorf("refused with %v", status)
					return
				case ctx.Err() == nil:
					refused.Add(1) // cut off in the middle of a body that is refused
				}
			}
		})
	}
	running.Wait()
	u, err := p.Usage()
	if err != nil {
		t.Fatal(err)
	}
	return overloaded{accepted.Load(), refused.Load(), float64(accepted.Load()) / time.Since(began).Seconds(), u.PeakRSS}
}
