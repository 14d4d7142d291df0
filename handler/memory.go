package main

import (
	"runtime/metrics"
	"sync"
	"time"

	"sluice/internal/settings"
)

// pressure says whether the process has come so near to its memory's ceiling that
// it must take no more work. What requests take is bounded by what it is reckoned
// at (inflight, ingest.Config.DecodeBytes); this is for where the reckoning is
// wrong. The collector works to stay below the runtime's limit, which is lower: it
// is passed only by memory that is in use.
type pressure struct {
	most uint64
	read func() uint64 // bytes that the runtime holds
	now  func() time.Time

	mu     sync.Mutex
	looked time.Time
	high   bool
}

// lookEvery is how often memory is measured, at most.
const lookEvery = 50 * time.Millisecond

// uncounted is the part of SLUICE_MEMORY that is left for what the runtime does not
// count, the program's own pages above all: those that it has touched are some 20
// MiB.
func uncounted(memory settings.Size) settings.Size {
	return max(memory/10, min(32*settings.MiB, memory/4))
}

// runtimeLimit is what the runtime works to keep to.
func runtimeLimit(memory settings.Size) int64 { return int64(memory - uncounted(memory)) }

func newPressure(s settings.Settings) *pressure {
	return &pressure{most: uint64(s.Memory - uncounted(s.Memory)/2), read: heldByRuntime, now: time.Now}
}

// tooHigh may be called concurrently.
func (p *pressure) tooHigh() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := p.now(); now.Sub(p.looked) >= lookEvery {
		p.looked, p.high = now, p.read() > p.most
	}
	return p.high
}

// heldByRuntime is the memory that the runtime's own limit is about.
func heldByRuntime() uint64 {
	held := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(held)
	return held[0].Value.Uint64() - held[1].Value.Uint64()
}
