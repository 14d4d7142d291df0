package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"sluice/consume/progress"
	"sluice/devtools/azurite"
	"sluice/devtools/eventhubs"
	"sluice/devtools/host"
	"sluice/devtools/load/counting"
	"sluice/devtools/load/service"
	"sluice/devtools/netfault"
	"sluice/store/tables"
)

// Who consumes the hub.
const (
	bySelf    = "self"    // the process that takes HTTP
	byTrigger = "trigger" // another one, under the host stand-in, as on instances of their own
)

// hubStack is the way through the hub: who takes HTTP, the hub, who consumes it,
// and the tables behind.
type hubStack struct {
	tables *azurite.Server
	way    *netfault.Proxy // to the tables
	proxy  *counting.Proxy // before it
	hubs   *eventhubs.Server
	hub    eventhubs.Hub
	// progress is that of whoever consumes.
	progress *progress.Store
	front    *service.Process // takes HTTP
	host     *host.Host       // nil: the front consumes
}

// hubPartitions is as many as the Basic tier's hub of the Bicep files has.
const hubPartitions = 4

// startHub starts a stack.
func (b *bench) startHub(consumer string, env ...string) (s *hubStack, err error) {
	s = &hubStack{}
	defer func() {
		if err != nil {
			err = s.end(err)
		}
	}()
	if s.tables, err = azurite.Start(b.ctx, azurite.Options{}); err != nil {
		return s, err
	}
	if s.way, err = netfault.Start(s.tables.Address()); err != nil {
		return s, err
	}
	if s.proxy, err = counting.Start(s.way.Address()); err != nil {
		return s, err
	}
	if s.hubs, err = eventhubs.Start(b.ctx, eventhubs.Options{}); err != nil {
		return s, err
	}
	if s.hub, err = s.hubs.NewHub(b.ctx, eventhubs.HubOptions{Partitions: hubPartitions}); err != nil {
		return s, err
	}
	account := s.tables.Account() // a fresh one each time
	rows, err := tables.Open(account.ConnectionString(), tables.Options{})
	if err != nil {
		return s, err
	}
	s.progress = progress.New(rows, s.hub.Name, "$Default", time.Now)
	env = append(env, "SLUICE_TABLES="+account.At(s.proxy.Address()).ConnectionString(), "SLUICE_EVENTHUB="+s.hub.ConnectionString())
	consume := "SLUICE_CONSUME=" + bySelf
	if consumer == byTrigger {
		consume = "SLUICE_CONSUME=off"
	}
	if s.front, err = b.serve("front-"+consumer, append(env, consume)...); err != nil {
		return s, err
	}
	if err := s.front.AwaitReady(b.ctx); err != nil {
		return s, err
	}
	if consumer == byTrigger {
		if s.host, err = b.startTrigger(s.hub, env); err != nil {
			return s, err
		}
	}
	return s, s.awaitReaders(b.ctx)
}

// startTrigger starts an instance of its own that consumes.
func (b *bench) startTrigger(h eventhubs.Hub, env []string) (*host.Host, error) {
	hubs, err := host.NewHubs(host.HubOptions{})
	if err != nil {
		return nil, err
	}
	return b.startHost(host.Proxy, hubs, append(env, "SLUICE_EVENTHUB_NAME="+h.Name, "SLUICE_CONSUMER_GROUP=$Default")...)
}

// awaitReaders waits until each partition is read.
func (s *hubStack) awaitReaders(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		partitions, err := s.hub.Partitions(ctx)
		if err != nil {
			return fmt.Errorf("wait until the hub is read: %w", err)
		}
		if !slices.ContainsFunc(partitions, func(p eventhubs.Partition) bool { return len(p.Readers) == 0 }) {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// events is how many the hub has ever had.
func (s *hubStack) events(ctx context.Context) (n int64, err error) {
	partitions, err := s.hub.Partitions(ctx)
	for _, p := range partitions {
		n += p.Next
	}
	return n, err
}

// end ends all of the stack. The front is stopped cleanly, unless there was a
// failure, which is returned.
func (s *hubStack) end(failure error) error {
	err := failure
	if s.host != nil {
		s.host.Kill()
	}
	if s.front != nil && failure == nil {
		err = s.front.Stop()
	} else if s.front != nil {
		err = errors.Join(err, s.front.Kill())
	}
	if s.hubs != nil {
		err = errors.Join(err, s.hubs.Close())
	}
	if s.proxy != nil {
		err = errors.Join(err, s.proxy.Close())
	}
	if s.way != nil {
		err = errors.Join(err, s.way.Close())
	}
	if s.tables != nil {
		err = errors.Join(err, s.tables.Close())
	}
	return err
}

// throughHub runs f against a stack for each who may consume.
func (b *bench) throughHub(f func(s *hubStack, consumer string) error, env ...string) error {
	for _, consumer := range []string{bySelf, byTrigger} {
		s, err := b.startHub(consumer, env...)
		if err != nil {
			return fmt.Errorf("%s: %w", consumer, err)
		}
		if err := s.end(f(s, consumer)); err != nil {
			return fmt.Errorf("%s: %w", consumer, err)
		}
	}
	return nil
}

// hubLoad are bodies of 500 readings of 500 devices from 16 connections; rate in
// readings/s, 0: as many as are taken.
func hubLoad(length time.Duration, rate float64, taken func(status, readings int)) load {
	l := tablesLoad(length)
	l.rate, l.taken = rate, taken
	return l
}

// split counts readings by where they went.
type split struct {
	mu             sync.Mutex
	queued, direct int
}

func (s *split) taken(status, readings int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if status == 202 {
		s.queued += readings
	} else {
		s.direct += readings
	}
}

// usage is the processor time of a stack's parts.
type usage struct {
	front, consumer, tables, hub time.Duration
	own                          time.Duration // clients, proxies, and the host stand-in
}

func (s *hubStack) usage() (u usage, err error) {
	cpu := func(pid int) time.Duration {
		used, failure := service.UsageOf(pid)
		err = errors.Join(err, failure)
		return used.CPU()
	}
	u = usage{front: cpu(s.front.PID), tables: cpu(s.tables.PID()), hub: cpu(s.hubs.PID()), own: ownCPU()}
	if s.host != nil {
		u.consumer = cpu(s.host.HandlerPID())
	}
	return u, err
}

func (u usage) minus(v usage) usage {
	return usage{u.front - v.front, u.consumer - v.consumer, u.tables - v.tables, u.hub - v.hub, u.own - v.own}
}

// maximum posts as fast as readings are taken, and waits until they are consumed.
func (b *bench) maximum() error {
	fmt.Println("| consumed by | readings | readings/s taken (202) | taken by the store (200) | readings/s end to end | processors busy: front | consumer | Azurite | hub | load | events | calls | events a call | readings an event |")
	fmt.Println("|---|---|---|---|---|---|---|---|---|---|---|---|---|---|")
	return b.throughHub(func(s *hubStack, consumer string) error {
		r, err := b.flood(s, b.length)
		if err != nil {
			return err
		}
		busy := func(d time.Duration) string { return fmt.Sprintf("%.2f", d.Seconds()/r.whole.Seconds()) }
		fmt.Printf("| %s | %d | %.0f | %d | %.0f | %s | %s | %s | %s | %s | %d | %d | %.1f | %.0f |\n", consumer, r.readings,
			float64(r.readings)/r.posting.Seconds(), r.direct, r.rate(),
			busy(r.used.front), busy(r.used.consumer), busy(r.used.tables), busy(r.used.hub), busy(r.used.own),
			r.events, r.calls, float64(r.events)/float64(r.calls), float64(r.readings-r.direct)/float64(r.events))
		return nil
	})
}

// flooding is what flood found.
type flooding struct {
	readings, direct int
	posting, whole   time.Duration // until the last answer; until all was consumed
	events, calls    int64
	used             usage
	counts           counting.Tables
}

// rate is of readings end to end.
func (r flooding) rate() float64 { return float64(r.readings) / r.whole.Seconds() }

// flood posts as fast as readings are taken for a while after warming up.
func (b *bench) flood(s *hubStack, length time.Duration) (r flooding, err error) {
	var sp split
	warm := hubLoad(min(length, 3*time.Second), 0, nil)
	warm.begin = warm.begin.Add(-30 * 24 * time.Hour)
	if _, err := warm.run(s.front.URL); err != nil {
		return r, err
	}
	return b.measure(s, func() (int, error) {
		n, err := hubLoad(length, 0, sp.taken).run(s.front.URL)
		return n, err
	}, &sp)
}

// measure runs a load on an idle stack until it is consumed.
func (b *bench) measure(s *hubStack, post func() (int, error), sp *split) (r flooding, err error) {
	if err := s.awaitConsumed(b.ctx); err != nil {
		return r, err
	}
	s.proxy.Take()
	events, err1 := s.events(b.ctx)
	before, err2 := s.usage()
	if err := errors.Join(err1, err2); err != nil {
		return r, err
	}
	started := time.Now()
	if r.readings, err = post(); err != nil {
		return r, err
	}
	r.posting = time.Since(started)
	if err := s.awaitConsumed(b.ctx); err != nil {
		return r, err
	}
	r.whole = time.Since(started)
	after, err1 := s.usage()
	had, err2 := s.events(b.ctx)
	r.used, r.events, r.counts, r.direct = after.minus(before), had-events, s.proxy.Take(), sp.direct
	r.calls = int64(r.counts[progressTable].Writes)
	if r.calls == 0 {
		return r, fmt.Errorf("no call wrote its progress: %d events", r.events)
	}
	return r, errors.Join(err1, err2)
}

// Tables of the service, as they are counted. Each call writes its progress once.
const (
	progressTable = "sluiceprogress"
	journalTable  = "sluicejournal"
)

// fleets have 10,000 devices send a reading a minute, in a request each, and 500
// devices ten a second, in a request a second each.
func (b *bench) fleets() error {
	fleets := []struct {
		name string
		make func(url string) *pacedFleet
	}{
		{"10,000 × 1/min", newPacedFleet},
		{"500 × 10/s", newFastFleet},
	}
	fmt.Println("| consumed by | fleet | readings/s | events/s | readings an event | calls/s | events a call | transactions of the journal/s | rows a transaction | readings a row | answered after: median | 95% |")
	fmt.Println("|---|---|---|---|---|---|---|---|---|---|---|---|")
	return b.throughHub(func(s *hubStack, consumer string) error {
		for _, fleet := range fleets {
			f := fleet.make(s.front.URL)
			if _, err := f.run(b.ctx, min(pacedWarm, b.length)); err != nil {
				return err
			}
			var waits []time.Duration
			r, err := b.measure(s, func() (n int, err error) {
				waits, err = f.run(b.ctx, b.length)
				return len(waits) * f.each, err
			}, &split{})
			if err != nil {
				return err
			}
			slices.Sort(waits)
			seconds, journal := r.whole.Seconds(), r.counts[journalTable]
			fmt.Printf("| %s | %s | %.0f | %.1f | %.1f | %.1f | %.1f | %.1f | %.1f | %.1f | %s | %s |\n", consumer, fleet.name,
				float64(r.readings)/r.posting.Seconds(), float64(r.events)/seconds, float64(r.readings)/float64(r.events), float64(r.calls)/seconds,
				float64(r.events)/float64(r.calls), float64(journal.Writes)/seconds, float64(journal.RowsWritten)/float64(journal.Writes),
				float64(r.readings)/float64(journal.RowsWritten), milli(at(waits, 0.5)), milli(at(waits, 0.95)))
		}
		return nil
	}, "SLUICE_LINGER=100ms")
}

// freshness measures how long after its 202 a reading is in answers, at half the
// rate that goes through end to end.
func (b *bench) freshness() error {
	fmt.Println("| consumed by | readings/s | samples | in the latest values after: 50% | 95% | 99% | at most | processors busy |\n|---|---|---|---|---|---|---|---|")
	return b.throughHub(func(s *hubStack, consumer string) error {
		r, err := b.flood(s, b.length/2)
		if err != nil {
			return err
		}
		rate := r.rate() / 2
		var sp split
		var waits []time.Duration
		half, err := b.measure(s, func() (n int, err error) {
			var probes sync.WaitGroup
			var failure error
			probes.Go(func() { waits, failure = b.probe(s, time.Now().Add(b.length)) })
			n, err = hubLoad(b.length, rate, sp.taken).run(s.front.URL)
			probes.Wait()
			return n, errors.Join(err, failure)
		}, &sp)
		if err != nil {
			return err
		}
		slices.Sort(waits)
		all := half.used.front + half.used.consumer + half.used.tables + half.used.hub + half.used.own
		fmt.Printf("| %s | %.0f | %d | %s | %s | %s | %s | %.2f |\n", consumer, float64(half.readings)/half.posting.Seconds(), len(waits),
			milli(at(waits, 0.5)), milli(at(waits, 0.95)), milli(at(waits, 0.99)), milli(at(waits, 1)), all.Seconds()/half.whole.Seconds())
		return nil
	})
}

// probe has devices post readings until a moment, and returns how long after its
// 202 each was the device's latest.
func (b *bench) probe(s *hubStack, until time.Time) ([]time.Duration, error) {
	const devices = 4
	var mu sync.Mutex
	var waits []time.Duration
	var probes sync.WaitGroup
	errs := make([]error, devices)
	for i := range devices {
		probes.Go(func() {
			device := fmt.Sprintf("probe-%d", i)
			for n := 1; errs[i] == nil && time.Now().Before(until); n++ {
				var wait time.Duration
				wait, errs[i] = b.sample(s.front.Client, device, n)
				mu.Lock()
				waits = append(waits, wait)
				mu.Unlock()
				time.Sleep(20 * time.Millisecond)
			}
		})
	}
	probes.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if len(waits) == 0 {
		return nil, errors.New("no sample was taken")
	}
	return waits, nil
}

// sample posts n as a device's reading of now and waits until its latest value is
// n.
func (b *bench) sample(c service.Client, device string, n int) (time.Duration, error) {
	v, err := c.Post(b.ctx, "/api/v1/devices/"+device+"/telemetry", "application/json", "", fmt.Appendf(nil, `{"metrics":{"n":%d}}`, n))
	if err == nil && (v.Status != 202 || v.Accepted != 1) {
		err = fmt.Errorf("the hub did not take it: %+v", v)
	}
	if err != nil {
		return 0, err
	}
	for acknowledged := time.Now(); ; time.Sleep(2 * time.Millisecond) {
		var latest struct {
			Metrics map[string]struct{ Value float64 }
		}
		err := c.Get(b.ctx, "/api/v1/devices/"+device+"/latest", nil, &latest)
		switch {
		case err == nil && latest.Metrics["n"].Value == float64(n):
			return time.Since(acknowledged), nil
		case err != nil && !service.IsStatus(err, 404): // it is not known before its first reading
			return 0, err
		case time.Since(acknowledged) > time.Minute:
			return 0, fmt.Errorf("device %s: %d is not its latest value after a minute", device, n)
		}
	}
}

// catchUp takes the store away for a while at half the rate that goes through,
// and measures how long after its return the hub is consumed.
func (b *bench) catchUp() error {
	fmt.Println("| consumed by | readings/s, all the time | the store is away for | events then waiting | consumed after | events/s consumed | refused |\n|---|---|---|---|---|---|---|")
	return b.throughHub(func(s *hubStack, consumer string) error {
		r, err := b.flood(s, b.length/2)
		if err != nil {
			return err
		}
		return b.catchUpAt(s, consumer, r.rate()/2)
	})
}

func (b *bench) catchUpAt(s *hubStack, consumer string, rate float64) error {
	ctx, cancel := context.WithCancel(b.ctx)
	defer cancel()
	var sp split
	l := hubLoad(time.Hour, rate, sp.taken) // until it is stopped
	l.stop = ctx.Done()
	posted := make(chan error, 1)
	started := time.Now()
	go func() {
		_, err := l.run(s.front.URL)
		posted <- err
	}()
	usual, err := s.usual(b.ctx, b.length)
	if err != nil {
		return err
	}
	if err := s.way.Set(netfault.Refuse); err != nil {
		return err
	}
	time.Sleep(b.outage)
	if err := s.way.Set(netfault.Pass); err != nil {
		return err
	}
	back := time.Now()
	waiting, had, err := s.awaitUsual(b.ctx, usual)
	if err != nil {
		return err
	}
	took := time.Since(back)
	_, has, err := s.waiting(b.ctx)
	if err != nil {
		return err
	}
	posting := time.Since(started)
	cancel()
	if err := <-posted; err != nil {
		return err
	}
	fmt.Printf("| %s | %.0f | %s | %d | %.1f s | %.0f | %d |\n", consumer, float64(sp.queued)/posting.Seconds(), b.outage, waiting,
		took.Seconds(), float64(waiting+has-had)/took.Seconds(), sp.direct)
	return s.awaitConsumed(b.ctx)
}

// waitingEvery is between two questions for what waits: each asks the hub and
// the tables, and takes its share of what is measured.
const waitingEvery = 200 * time.Millisecond

// consumedEvery is between two looks whether all is consumed.
const consumedEvery = 50 * time.Millisecond

// usual is how many events wait at most while nothing is wrong.
func (s *hubStack) usual(ctx context.Context, length time.Duration) (most int64, err error) {
	for end := time.Now().Add(length); time.Now().Before(end); time.Sleep(waitingEvery) {
		left, _, err := s.waiting(ctx)
		if err != nil {
			return 0, err
		}
		most = max(most, left)
	}
	return most, nil
}

// awaitUsual waits until no more events wait than usual, and returns how many
// waited at first, and how many the hub had had then.
func (s *hubStack) awaitUsual(ctx context.Context, usual int64) (first, had int64, err error) {
	const most = 10 * time.Minute
	left, had, err := s.waiting(ctx)
	first = left
	for end := time.Now().Add(most); err == nil && left > usual; time.Sleep(waitingEvery) {
		if time.Now().After(end) {
			return 0, 0, fmt.Errorf("%d events wait %s after the outage, %d did at its end, %d are usual", left, most, first, usual)
		}
		left, _, err = s.waiting(ctx)
	}
	return first, had, err
}

// waiting is how many events of the hub are not consumed yet, and how many it
// has had: hub and tables are asked themselves, past all proxies. The service's
// own answer is up to 5 s old, which is a long time here.
func (s *hubStack) waiting(ctx context.Context) (left, had int64, err error) {
	partitions, err := s.hub.Partitions(ctx)
	if err != nil {
		return 0, 0, err
	}
	positions, err := s.progress.All(ctx)
	if err != nil {
		return 0, 0, err
	}
	consumed := map[string]int64{} // the next event's number
	for _, p := range positions {
		consumed[p.Partition] = p.Sequence + 1
	}
	for _, p := range partitions {
		had += p.Next
		left += max(0, p.Next-consumed[p.ID])
	}
	return left, had, nil
}

// awaitConsumed waits until no event waits.
func (s *hubStack) awaitConsumed(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	for {
		left, _, err := s.waiting(ctx)
		if err == nil && left == 0 {
			return nil
		}
		select {
		case <-time.After(consumedEvery):
		case <-ctx.Done():
			return fmt.Errorf("wait until the hub is consumed: %d events wait: %w", left, errors.Join(err, ctx.Err()))
		}
	}
}
