package limit

import (
	"hash/maphash"
	"sync"
	"time"
)

// Burst is how long a device may have been silent for all that it saved up to be
// let through at once.
const Burst = 60 * time.Second

// MostPerSecond bounds a rate: above it, a reading would take less than a
// microsecond, which only rounding would tell from another rate.
const MostPerSecond = 1_000_000

// EntryBytes is what a device that is not at rest takes of memory.
const EntryBytes = 40

// Rate is a bucket of tokens for each device: a reading takes one, they come back
// at so many a second, and the bucket holds those of Burst. All that is known of
// a bucket is when it will be full again, and full ones are not kept. So the
// memory is that of the devices that have sent more than their rate lately, and
// when it is used up, of those looked at the one that owes least is forgiven what
// it owes. It may be used concurrently.
type Rate struct {
	perSecond int
	cost      time.Duration // of a reading: how long a token takes to come back
	burst     time.Duration // of a full bucket
	most      int           // devices a stripe remembers
	clock     func() time.Duration
	seed      maphash.Seed
	stripes   [rateStripes]rateStripe
}

const rateStripes = 64

// rateStripe is a part of the devices, by a hash with a seed of its own: nobody
// can choose ids that share a bucket with another device's.
type rateStripe struct {
	mu   sync.Mutex
	full map[uint64]time.Duration // when the bucket will be full again
}

// Grant is what a device got of what it asked for.
type Grant struct {
	Taken int           // readings that may pass
	Left  int           // tokens that are left
	Wait  time.Duration // until all that was asked for would pass; at most Burst
}

// NewRate makes the buckets of perSecond (1 to MostPerSecond) readings a second
// that remember about so many devices. clock is a time that never goes back, such
// as the one since the start.
func NewRate(perSecond, devices int, clock func() time.Duration) *Rate {
	cost := time.Second / time.Duration(perSecond)
	return &Rate{
		perSecond: perSecond, cost: cost, burst: cost * time.Duration(perSecond*int(Burst/time.Second)),
		most: max(devices/rateStripes, 1), clock: clock, seed: maphash.MakeSeed(),
	}
}

// PerSecond is the rate, in readings a second; Size how many a full bucket has.
func (r *Rate) PerSecond() int { return r.perSecond }

// Size is how many readings a device may send at once.
func (r *Rate) Size() int { return int(r.burst / r.cost) }

// Take takes tokens for n readings of a device, or as many as there are. n 0
// only looks.
func (r *Rate) Take(device string, n int) Grant {
	s, key := r.stripe(device)
	s.mu.Lock()
	defer s.mu.Unlock()
	now := r.clock()
	full, known := s.full[key]
	full = max(full, now)
	there := int((now + r.burst - full) / r.cost)
	taken := min(n, there)
	wanted := time.Duration(min(max(n, 1), r.Size())) * r.cost
	g := Grant{Taken: taken, Left: there - taken}
	if full += time.Duration(taken) * r.cost; taken > 0 {
		s.keep(key, full, known, r.most)
	}
	if n == 0 || taken < n {
		g.Wait = max(full+wanted-now-r.burst, 0)
	}
	return g
}

// Wait is how long it takes until n readings of a device pass, or as many as ever
// pass at once.
func (r *Rate) Wait(device string, n int) time.Duration {
	s, key := r.stripe(device)
	s.mu.Lock()
	defer s.mu.Unlock()
	now := r.clock()
	full := max(s.full[key], now)
	return max(full+time.Duration(min(n, r.Size()))*r.cost-now-r.burst, 0)
}

// Give gives back the tokens of n readings that were not taken after all.
func (r *Rate) Give(device string, n int) {
	s, key := r.stripe(device)
	s.mu.Lock()
	defer s.mu.Unlock()
	full, known := s.full[key]
	if !known {
		return
	}
	if full -= time.Duration(n) * r.cost; full <= r.clock() {
		delete(s.full, key)
		return
	}
	s.full[key] = full
}

func (r *Rate) stripe(device string) (*rateStripe, uint64) {
	key := maphash.String(r.seed, device)
	return &r.stripes[key%rateStripes], key
}

// looked is how many devices are looked at for the one to be forgotten. Those at
// rest owe nothing and are the first to go.
const looked = 8

// keep remembers a bucket. A stripe that is full forgets another one.
func (s *rateStripe) keep(key uint64, full time.Duration, known bool, most int) {
	if s.full == nil {
		s.full = make(map[uint64]time.Duration)
	}
	if !known && len(s.full) >= most {
		s.forget()
	}
	s.full[key] = full
}

func (s *rateStripe) forget() {
	var least uint64
	var at time.Duration
	n := 0
	for key, full := range s.full { // begins anywhere
		if n == 0 || full < at {
			least, at = key, full
		}
		if n++; n == looked {
			break
		}
	}
	delete(s.full, least)
}
