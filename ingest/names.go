package ingest

import (
	"hash/maphash"
	"slices"
	"sync"

	"sluice/telemetry"
)

const (
	stripes = 64
	// stripeBudget bounds what a stripe remembers of one generation: a name is 1,
	// a device deviceCost. All stripes with both generations: some 25 MB.
	stripeBudget = 8192
	deviceCost   = 8
)

// nameBound refuses readings that would give a device more metrics than it may
// have. It remembers the names of the devices that it saw lately, in bounded
// memory: a device that was forgotten begins anew. It may be used concurrently.
type nameBound struct {
	max     int
	seed    maphash.Seed
	stripes [stripes]nameStripe
}

// nameStripe remembers devices in two generations: when the young one is full
// it becomes the old one, and what is not asked for until the next time is
// forgotten.
type nameStripe struct {
	mu         sync.Mutex
	young, old map[string]*deviceNames
	size       int // of young
}

// deviceNames is the hashes of a device's metric names.
type deviceNames struct {
	last  uint64   // of the names of the last reading, in its order
	names []uint64 // ascending
}

func newNameBound(limit int) *nameBound {
	return &nameBound{max: limit, seed: maphash.MakeSeed()}
}

// checker checks the readings of one body in turn.
func (b *nameBound) checker() func(*telemetry.Reading) *telemetry.Refusal {
	var device string
	var metrics []telemetry.Metric // of the last reading that was taken
	return func(r *telemetry.Reading) *telemetry.Refusal {
		if device == r.Device && sameNames(metrics, r.Metrics) {
			return nil
		}
		refusal := b.check(r)
		if refusal == nil {
			device, metrics = r.Device, r.Metrics
		}
		return refusal
	}
}

func sameNames(a, b []telemetry.Metric) bool {
	return slices.EqualFunc(a, b, func(x, y telemetry.Metric) bool { return x.Name == y.Name })
}

func (b *nameBound) check(r *telemetry.Reading) *telemetry.Refusal {
	const prime = 1099511628211 // FNV's
	var buffer [16]uint64
	hashes, all := buffer[:0], uint64(len(r.Metrics))
	for i := range r.Metrics {
		h := maphash.String(b.seed, r.Metrics[i].Name)
		hashes, all = append(hashes, h), all*prime^h
	}
	s := &b.stripes[maphash.String(b.seed, r.Device)%stripes]
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.device(r.Device)
	if d.last == all {
		return nil
	}
	if have, ok := s.learn(d, hashes, b.max); !ok {
		return telemetry.Refuse(telemetry.TooManyMetrics, "device %s has %d metrics: more than %d are too many for one device",
			telemetry.Quote(r.Device), have, b.max)
	}
	d.last = all
	return nil
}

// device finds or makes a device's entry.
func (s *nameStripe) device(id string) *deviceNames {
	if d := s.young[id]; d != nil {
		return d
	}
	if s.size >= stripeBudget || s.young == nil {
		s.old, s.young, s.size = s.young, make(map[string]*deviceNames), 0
	}
	d := s.old[id]
	if d == nil {
		d = &deviceNames{}
	}
	delete(s.old, id)
	s.young[id] = d
	s.size += deviceCost + len(d.names)
	return d
}

// learn adds names to a device's unless they would be too many, and returns how
// many it had.
func (s *nameStripe) learn(d *deviceNames, hashes []uint64, limit int) (have int, ok bool) {
	have = len(d.names)
	fresh := 0
	for _, h := range hashes {
		if _, known := slices.BinarySearch(d.names, h); !known {
			fresh++
		}
	}
	if fresh > 0 && have+fresh > limit {
		return have, false
	}
	for _, h := range hashes {
		if at, known := slices.BinarySearch(d.names, h); !known {
			d.names = slices.Insert(d.names, at, h)
		}
	}
	s.size += len(d.names) - have
	return have, true
}
