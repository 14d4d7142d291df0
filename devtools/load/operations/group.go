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
	waiting []part
}

// request is a body that waits for its parts.
type request struct {
	at    time.Duration // when it came
	left  int           // parts that are not durable yet
	until time.Duration // when the last of the others was
}

// part is what a request has for one shard.
type part struct {
	request  *request
	readings []telemetry.Reading
}

// due is when what waits is flushed; false if nothing does.
func (g *group) due() (time.Duration, bool) {
	if len(g.waiting) == 0 {
		return 0, false
	}
	at := g.waiting[0].request.at
	if g.flushed {
		at = max(at, g.begun+max(g.linger, g.commit))
	}
	return at, true
}

// put adds a request's readings, which are kept.
func (g *group) put(r *request, readings []telemetry.Reading) {
	r.left++
	g.waiting = append(g.waiting, part{r, readings})
}

// take makes the flush that is due at a time and returns its readings, and how
// long the requests waited that have their answer now.
func (g *group) take(at time.Duration) (readings []telemetry.Reading, waits []time.Duration) {
	for _, p := range g.waiting {
		readings = append(readings, p.readings...)
		p.request.left--
		p.request.until = max(p.request.until, at+g.commit)
		if p.request.left == 0 {
			waits = append(waits, p.request.until-p.request.at)
		}
	}
	g.flushed, g.begun, g.waiting = true, at, nil
	return readings, waits
}
