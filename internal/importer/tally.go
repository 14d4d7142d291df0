package importer

import (
	"fmt"
	"sync"
	"sync/atomic"
)

// tally counts what became of the readings. It may be used concurrently.
type tally struct {
	accepted, rejected, blank, missing atomic.Int64

	mu      sync.Mutex
	reasons []string
}

func (t *tally) reject(file string, line int, reason string) {
	t.rejected.Add(1)
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.reasons) < maxReasons {
		t.reasons = append(t.reasons, fmt.Sprintf("%s, line %d: %s", file, line, reason))
	}
}

// rejectMany is for those of which the service gave no reason.
func (t *tally) rejectMany(n int64) { t.rejected.Add(n) }

func (t *tally) done() int64 { return t.accepted.Load() + t.rejected.Load() }

func (t *tally) summary() Summary {
	t.mu.Lock()
	defer t.mu.Unlock()
	return Summary{
		Accepted: t.accepted.Load(), Rejected: t.rejected.Load(),
		Blank: t.blank.Load(), Missing: t.missing.Load(), Reasons: t.reasons,
	}
}
