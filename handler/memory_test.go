package main

import (
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"sluice/internal/settings"
)

func TestRuntimeLimit(t *testing.T) {
	for memory, want := range map[settings.Size]settings.Size{64 * settings.MiB: 48 * settings.MiB, 256 * settings.MiB: 224 * settings.MiB, 1000 * settings.MiB: 900 * settings.MiB} {
		if got := runtimeLimit(memory); got != int64(want) {
			t.Errorf("%v of %v", got, memory)
		}
	}
}

func TestPressure(t *testing.T) {
	now, held, reads := time.Now(), uint64(875), 0
	p := newPressure(settings.Settings{Memory: 1000})
	p.now = func() time.Time { return now }
	p.read = func() uint64 { reads++; return held }
	if p.tooHigh() {
		t.Error("at the share, not past it")
	}
	held = 876
	if p.tooHigh() || reads != 1 {
		t.Error("measured at each request")
	}
	now = now.Add(lookEvery)
	if !p.tooHigh() {
		t.Error("past it")
	}
	held, now = 0, now.Add(lookEvery)
	if p.tooHigh() {
		t.Error("it is over")
	}
}

// What is measured is what the runtime's limit is about.
func TestHeldByRuntime(t *testing.T) {
	before := heldByRuntime()
	block := make([]byte, 64<<20)
	for i := 0; i < len(block); i += 4096 {
		block[i] = 1
	}
	with := heldByRuntime()
	runtime.KeepAlive(block)
	block = nil
	debug.FreeOSMemory()
	after := heldByRuntime()
	if with < before+60<<20 || after > with-60<<20 {
		t.Errorf("%d MiB before, %d with 64 MiB more, %d after", before>>20, with>>20, after>>20)
	}
	_ = block
}
