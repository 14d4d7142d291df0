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

// The parts of SLUICE_MEMORY that the runtime works to keep to, and from where on
// requests are refused. The rest is for what the runtime does not count.
const (
	limitOfMemory   = 0.90
	refuseFromShare = 0.95
)

func newPressure(s settings.Settings) *pressure {
	return &pressure{most: uint64(float64(s.Memory) * refuseFromShare), read: heldByRuntime, now: time.Now}
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
