package operations

import (
	"time"

	"sluice/telemetry"
)

// group is the queue of a shard in the group commit, in simulated time: what
// waits is flushed at once if the shard is at rest, but not before the former
// flush is answered nor before linger has passed since that one began. It is
// ingest.Group without goroutines.
type group struct {
	linger, commit time.Duration // commit: how long a flush takes

	flushed bool
	begun   time.Duration // when the last flush began
	waiting []telemetry.Reading
	bodies  []body
}

// body is a request that waits: when it came, and how many readings it has.
type body struct {
	at       time.Duration
	readings int
}

// due is when what waits is flushed; false if nothing does.
func (g *group) due() (time.Duration, bool) {
	if len(g.bodies) == 0 {
		return 0, false
	}
	at := g.bodies[0].at
	if g.flushed {
		at = max(at, g.begun+max(g.linger, g.commit))
	}
	return at, true
}

// put adds a body's readings, which are kept.
func (g *group) put(at time.Duration, readings []telemetry.Reading) {
	g.waiting = append(g.waiting, readings...)
	g.bodies = append(g.bodies, body{at, len(readings)})
}

// take begins the flush that is due at a time and returns its readings, and
// how long each body will have waited for its answer.
func (g *group) take(at time.Duration) ([]telemetry.Reading, []time.Duration) {
	readings, waits := g.waiting, make([]time.Duration, len(g.bodies))
	for i, b := range g.bodies {
		waits[i] = at + g.commit - b.at
	}
	g.flushed, g.begun, g.waiting, g.bodies = true, at, nil, nil
	return readings, waits
}
