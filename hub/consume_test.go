package hub

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"sluice/devtools/eventhubs"
	"sluice/devtools/netfault"
)

// shelves are Checkpoints in memory, and what was handled.
type shelves struct {
	mu      sync.Mutex
	owners  map[string]Owner
	writes  int
	fail    error
	places  map[string]int64
	seen    map[string][]int64        // sequence numbers by partition, in the order in which they were handled
	by      map[string]map[string]int // events by partition and who handled them
	refused error                     // of the handle
	calls   int
}

func newShelves() *shelves {
	return &shelves{owners: map[string]Owner{}, places: map[string]int64{}, seen: map[string][]int64{}, by: map[string]map[string]int{}}
}

func (s *shelves) Owners(context.Context) ([]Owner, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.owners)), s.fail
}

func (s *shelves) Claim(_ context.Context, wanted []Owner) ([]Owner, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return nil, s.fail
	}
	var won []Owner
	for _, o := range wanted {
		if s.owners[o.Partition].Version != o.Version {
			continue
		}
		s.writes++
		o.Version, o.Since = strconv.Itoa(s.writes), time.Now()
		s.owners[o.Partition] = o
		won = append(won, o)
	}
	return won, nil
}

func (s *shelves) Places(context.Context) ([]Place, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Place
	for partition, sequence := range s.places {
		all = append(all, Place{partition, sequence})
	}
	return all, s.fail
}

// handle handles events as name.
func (s *shelves) handle(name string) Handle {
	return func(_ context.Context, partition string, events []Event) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.calls++
		if s.refused != nil {
			return s.refused
		}
		for _, e := range events {
			s.seen[partition] = append(s.seen[partition], e.Sequence)
			s.places[partition] = max(s.places[partition], e.Sequence)
			if s.by[partition] == nil {
				s.by[partition] = map[string]int{}
			}
			s.by[partition][name]++
		}
		return nil
	}
}

func (s *shelves) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// has says whether a partition's events up to n were all handled.
func (s *shelves) has(partition string, n int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := map[int64]bool{}
	for _, sequence := range s.seen[partition] {
		seen[sequence] = true
	}
	return int64(len(seen)) >= n
}

func (s *shelves) share(name string) (partitions int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range s.owners {
		if o.ID == name {
			partitions++
		}
	}
	return partitions
}

// consume starts a process that consumes, under a name. It is stopped with the
// test, or earlier.
func consume(t *testing.T, at eventhubs.Hub, s *shelves, name string, log *journal) (stop func()) {
	t.Helper()
	h := open(t, at, func(cfg *Config) { cfg.Instance, cfg.Log = name, log.log() })
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := h.Consume(ctx, s, s.handle(name)); err != nil {
			t.Error(err)
		}
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		<-done
	})
	t.Cleanup(stop)
	return stop
}

// feed puts n events into each of a hub's partitions.
func feed(t *testing.T, at eventhubs.Hub, n int) {
	t.Helper()
	partitions, err := at.Partitions(ctxOf(t))
	must(t, err)
	for _, p := range partitions {
		put(t, at, p.ID, n)
	}
}

func (s *shelves) hasAll(partitions int, n int64) func() bool {
	return func() bool {
		for p := range partitions {
			if !s.has(strconv.Itoa(p), n) {
				return false
			}
		}
		return true
	}
}

func TestConsume(t *testing.T) {
	at := eventhubs.ForTest(t).Hub(t, eventhubs.HubOptions{Partitions: 3})
	s, log := newShelves(), &journal{}
	feed(t, at, 100)
	stop := consume(t, at, s, "one", log)
	eventually(t, "all is handled", s.hasAll(3, 100))
	s.set(func() {
		for partition, seen := range s.seen {
			if !slices.Equal(seen, between(0, 100)) {
				t.Errorf("partition %s: %v", partition, seen)
			}
		}
	})
	stop()
	if n := s.share("one"); n != 0 {
		t.Errorf("%d partitions are still its own after its end", n)
	}
	feed(t, at, 10)
	stop = consume(t, at, s, "two", log)
	eventually(t, "the next one goes on", s.hasAll(3, 110))
	s.set(func() {
		for partition, by := range s.by {
			if by["one"] != 100 || by["two"] != 11 { // the last one that is durable comes again
				t.Errorf("partition %s: %v", partition, by)
			}
		}
	})
	stop()
}

// TestConsumeHandleFails gives the same events again, and says so once.
func TestConsumeHandleFails(t *testing.T) {
	at := eventhubs.ForTest(t).Hub(t, eventhubs.HubOptions{Partitions: 1})
	s, log := newShelves(), &journal{}
	s.refused = errors.New("the store is away")
	feed(t, at, 20)
	consume(t, at, s, "one", log)
	eventually(t, "it is tried again", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.calls >= 3 })
	s.set(func() { s.refused = nil })
	eventually(t, "all is handled", s.hasAll(1, 20))
	s.set(func() {
		if !slices.Equal(s.seen["0"], between(0, 20)) {
			t.Errorf("%v", s.seen["0"])
		}
	})
	const what = "handling events of partition 0"
	eventually(t, "the log says that it goes on", func() bool { return log.count(what+" goes on") == 1 })
	if n := log.count(what + " fails"); n != 1 {
		t.Errorf("the log says %d times that it fails", n)
	}
}

// TestConsumeTogether has processes that come and go, one of them without a
// word.
func TestConsumeTogether(t *testing.T) {
	const partitions = 6
	at := eventhubs.ForTest(t).Hub(t, eventhubs.HubOptions{Partitions: partitions})
	s, log := newShelves(), &journal{}
	consume(t, at, s, "one", log)
	eventually(t, "one has all", func() bool { return s.share("one") == partitions })
	stop := consume(t, at, s, "two", log)
	eventually(t, "they have the same share", func() bool { return s.share("one") == partitions/2 && s.share("two") == partitions/2 })
	feed(t, at, 50)
	eventually(t, "all is handled", s.hasAll(partitions, 50))
	// Killed: what it had stays its own until that expires.
	killed := map[string]Owner{}
	s.set(func() { maps.Copy(killed, s.owners) })
	stop()
	s.set(func() {
		for partition, o := range killed {
			if o.ID == "two" {
				o.Version = s.owners[partition].Version
				s.owners[partition] = o
			}
		}
	})
	feed(t, at, 50)
	eventually(t, "one has all again", func() bool { return s.share("one") == partitions })
	eventually(t, "all is handled", s.hasAll(partitions, 100))
}

// TestConsumeThroughFaults cuts the hub, and lets the checkpoints and the handle
// fail.
func TestConsumeThroughFaults(t *testing.T) {
	const partitions = 4
	at := eventhubs.ForTest(t).Hub(t, eventhubs.HubOptions{Partitions: partitions})
	s, log := newShelves(), &journal{}
	must(t, at.Refuse(ctxOf(t), true)) // it is away at the start
	consume(t, at, s, "one", log)
	consume(t, at, s, "two", log)
	time.Sleep(50 * time.Millisecond)
	must(t, at.Heal(ctxOf(t)))
	must(t, at.CutEvery(ctxOf(t), 100*time.Millisecond))
	for i := range 10 {
		feed(t, at, 40)
		s.set(func() {
			s.fail, s.refused = nil, nil
			switch i % 3 {
			case 1:
				s.fail = errors.New("the store is away")
			case 2:
				s.refused = errors.New("the store is away")
			}
		})
		time.Sleep(40 * time.Millisecond)
	}
	s.set(func() { s.fail, s.refused = nil, nil })
	eventually(t, "all is handled although it is cut", s.hasAll(partitions, 400))
	must(t, at.Heal(ctxOf(t)))
	s.set(func() {
		for partition, seen := range s.seen {
			next := int64(0) // whatever is redelivered, nothing is passed over
			for _, sequence := range seen {
				if sequence > next {
					t.Errorf("partition %s: %d after %d", partition, sequence, next-1)
				}
				next = max(next, sequence+1)
			}
		}
	})
	must(t, at.Rewind(ctxOf(t), "$Default", "0", 390))
	s.set(func() { s.seen["0"] = nil })
	eventually(t, "events come again", func() bool { return s.has("0", 10) })
}

// TestConsumeAnew has a hub that was made anew: a place is beyond its end, or is
// that of another event, which must be seen.
func TestConsumeAnew(t *testing.T) {
	at := eventhubs.ForTest(t).Hub(t, eventhubs.HubOptions{Partitions: 3})
	s, log := newShelves(), &journal{}
	s.places["0"], s.places["1"], s.places["2"] = 1000, 4, 0
	feed(t, at, 10)
	consume(t, at, s, "one", log)
	eventually(t, "what is new is handled", func() bool { return s.has("0", 10) && s.has("1", 5) && s.has("2", 10) })
	s.set(func() {
		if !slices.Equal(s.seen["0"], between(0, 10)) || !slices.Equal(s.seen["1"], between(4, 10)) || !slices.Equal(s.seen["2"], between(0, 10)) {
			t.Error(fmt.Sprint(s.seen))
		}
	})
}

// TestConsumePanics has a handle that panics: that is a fault like any other.
func TestConsumePanics(t *testing.T) {
	at := eventhubs.ForTest(t).Hub(t, eventhubs.HubOptions{Partitions: 1})
	h := open(t, at, nil)
	feed(t, at, 5)
	ctx, cancel := context.WithCancel(t.Context())
	calls := 0
	err := h.Consume(ctx, newShelves(), func(context.Context, string, []Event) error {
		if calls++; calls == 1 {
			panic("ouch")
		}
		cancel()
		return nil
	})
	if err != nil || calls != 2 {
		t.Errorf("%v after %d calls", err, calls)
	}
}

// TestConsumePlacesFail has checkpoints that fail just when a partition is
// opened: it is opened all the same, later.
func TestConsumePlacesFail(t *testing.T) {
	at := eventhubs.ForTest(t).Hub(t, eventhubs.HubOptions{Partitions: 2})
	s, log := &failingPlaces{shelves: newShelves(), left: 3}, &journal{}
	feed(t, at, 10)
	h := open(t, at, func(cfg *Config) { cfg.Log = log.log() })
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = h.Consume(ctx, s, s.handle("one"))
	}()
	eventually(t, "all is handled", s.hasAll(2, 10))
	cancel()
	<-done
}

// failingPlaces fails some times.
type failingPlaces struct {
	*shelves
	left int
}

func (f *failingPlaces) Places(ctx context.Context) ([]Place, error) {
	f.mu.Lock()
	f.left--
	fails := f.left >= 0
	f.mu.Unlock()
	if fails {
		return nil, errors.New("the store is away")
	}
	return f.shelves.Places(ctx)
}

// TestConsumeHangs has a hub that keeps its answers back, on connections that
// live, just while partitions are opened: those answers never come, also when it
// is well again.
func TestConsumeHangs(t *testing.T) {
	quick := func(cfg *Config) { cfg.AskTimeout = 500 * time.Millisecond }
	t.Run("at the start", func(t *testing.T) {
		at := eventhubs.ForTest(t).Hub(t, eventhubs.HubOptions{Partitions: 3})
		log := &journal{}
		s := &claimed{shelves: newShelves(), first: func() { must(t, at.Delay(ctxOf(t), time.Hour)) }}
		feed(t, at, 20)
		h := open(t, at, func(cfg *Config) { quick(cfg); cfg.Log = log.log() })
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = h.Consume(ctx, s, s.handle("one"))
		}()
		eventually(t, "it is noticed", func() bool { return log.count("sharing out partitions fails") == 1 })
		must(t, at.Heal(ctxOf(t)))
		eventually(t, "all is handled", s.hasAll(3, 20))
		cancel()
		<-done
	})
	t.Run("after a cut", func(t *testing.T) {
		at := eventhubs.ForTest(t).Hub(t, eventhubs.HubOptions{Partitions: 3})
		s := newShelves()
		feed(t, at, 20)
		h := open(t, at, quick)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = h.Consume(ctx, s, s.handle("one"))
		}()
		eventually(t, "all is handled", s.hasAll(3, 20))
		must(t, at.Delay(ctxOf(t), time.Hour))
		must(t, at.CutConnections(ctxOf(t)))
		time.Sleep(time.Second) // several tries
		must(t, at.Heal(ctxOf(t)))
		feed(t, at, 20)
		eventually(t, "all is handled again", s.hasAll(3, 40))
		cancel()
		<-done
	})
}

// claimed calls first when partitions were claimed for the first time.
type claimed struct {
	*shelves
	once  sync.Once
	first func()
}

func (c *claimed) Claim(ctx context.Context, wanted []Owner) ([]Owner, error) {
	c.once.Do(c.first)
	return c.shelves.Claim(ctx, wanted)
}

// TestConsumeFarAway opens links anew where that takes much longer than a page
// gathers.
func TestConsumeFarAway(t *testing.T) {
	at := eventhubs.ForTest(t).Hub(t, eventhubs.HubOptions{Partitions: 2})
	h, proxy := through(t, at, func(cfg *Config) { cfg.AskTimeout = 20 * time.Second })
	s := newShelves()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = h.Consume(ctx, s, s.handle("one"))
	}()
	feed(t, at, 5)
	eventually(t, "all is handled", s.hasAll(2, 5))
	must(t, proxy.Set(netfault.Slow))
	must(t, at.CutConnections(ctxOf(t)))
	feed(t, at, 5)
	eventually(t, "all is handled again", s.hasAll(2, 10))
	must(t, proxy.Set(netfault.Pass))
	cancel()
	<-done
}
