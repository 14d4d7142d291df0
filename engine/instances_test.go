package engine_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/devtools/azurite"
	"sluice/engine"
	"sluice/store"
	"sluice/store/fenced"
	"sluice/telemetry"
	"sluice/telemetry/block"
)

// ledger is what writers know of the readings that they sent: for each device
// and time the value under the highest stamp, and the highest one that was
// acknowledged. A value is its stamp.
type ledger struct {
	mu          sync.Mutex
	sent, acked map[place]telemetry.Stamp
}

type place struct {
	device string
	at     int64
}

func (l *ledger) note(to map[place]telemetry.Stamp, readings []telemetry.Reading) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range readings {
		p := place{r.Device, r.Time}
		to[p] = max(to[p], r.Stamp)
	}
}

// of is what was acknowledged of a device by now.
func (l *ledger) of(device string) map[int64]telemetry.Stamp {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := map[int64]telemetry.Stamp{}
	for p, s := range l.acked {
		if p.device == device {
			out[p.at] = s
		}
	}
	return out
}

// TestInstancesOnAzurite: two instances write the same devices while two others
// compact, over two accounts. Every answer of any instance meanwhile has what was
// acknowledged before it, or newer; at the end all answers are those of the
// oracle, before and after everything is merged.
func TestInstancesOnAzurite(t *testing.T) {
	const devices = 6
	server, rounds := azurite.ForTest(t), 15
	if n := azuriteCases(0); n > 0 {
		rounds = n
	}
	accounts, err := azuriteAccounts(server, 2)
	if err != nil {
		t.Fatal(err)
	}
	var instances [4]*engine.Engine
	var opening sync.WaitGroup
	for i := range instances { // the first start is a race, too
		opening.Go(func() { instances[i] = openShared(t, accounts) })
	}
	if opening.Wait(); t.Failed() {
		return
	}
	l := &ledger{sent: map[place]telemetry.Stamp{}, acked: map[place]telemetry.Stamp{}}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var writers, others sync.WaitGroup
	for i, e := range instances[:2] {
		clock := telemetry.NewClock(func() time.Time { return time.Now().Add(time.Duration(i) * time.Second) })
		for w := range 2 {
			writers.Go(func() { writeShared(t, e, l, clock, rand.New(rand.NewPCG(uint64(i), uint64(w))), rounds, devices) })
		}
	}
	merged := 0
	for i, e := range instances[2:] {
		others.Go(func() {
			for ctx.Err() == nil {
				done, err := e.CompactDue(ctx, 0, 0)
				if err != nil && ctx.Err() == nil && !strings.Contains(err.Error(), "another compactor was first") {
					t.Errorf("compactor %d: %v", i, err)
					return
				}
				l.mu.Lock()
				merged += done.Entries
				l.mu.Unlock()
			}
		})
	}
	answers := 0
	others.Go(func() {
		for ; ctx.Err() == nil; answers++ {
			device := fmt.Sprint("pump-", answers%devices)
			before := l.of(device)
			got, err := readShared(ctx, instances[answers%4], device)
			if errors.Is(err, engine.ErrAgain) || ctx.Err() != nil {
				continue
			}
			if err != nil {
				t.Errorf("read %s: %v", device, err)
				return
			}
			for at, stamp := range before {
				if got[at] < stamp {
					t.Errorf("%s at %s has %d, but %d was acknowledged", device, clockText(at), got[at], stamp)
				}
			}
		}
	})
	writers.Wait()
	stop()
	others.Wait()
	for _, when := range []string{"at the end", "when all is merged"} {
		for i, e := range instances {
			for d := range devices {
				device := fmt.Sprint("pump-", d)
				got, err := readShared(t.Context(), e, device)
				if err != nil {
					t.Fatal(err)
				}
				l.check(t, fmt.Sprintf("%s, instance %d", when, i), device, got)
			}
		}
		if err := instances[2].Compact(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if len(l.acked) == 0 || merged == 0 || answers == 0 {
		t.Error("nothing was seen: the test has shown nothing")
	}
	t.Logf("%d places acknowledged, %d entries merged meanwhile, %d answers meanwhile", len(l.acked), merged, answers)
}

// check holds an answer against the oracle. What was sent and not acknowledged
// may be there.
func (l *ledger) check(t *testing.T, when, device string, got map[int64]telemetry.Stamp) {
	t.Helper()
	for at, stamp := range l.of(device) {
		if s := got[at]; s < stamp || s > l.sent[place{device, at}] {
			t.Errorf("%s: %s at %s has %d, acknowledged %d, sent %d", when, device, clockText(at), s, stamp, l.sent[place{device, at}])
		}
	}
	for at := range got {
		if l.sent[place{device, at}] == 0 {
			t.Errorf("%s: %s at %s was never sent", when, device, clockText(at))
		}
	}
}

func openShared(t *testing.T, accounts []store.Rows) *engine.Engine {
	var err error
	for range 3 { // of several first starts one may find a table half made
		var e *engine.Engine
		e, err = engine.Open(t.Context(), engine.Config{
			Accounts: accounts, Shards: 2, Buckets: 3, Now: time.Now, NewID: func() string { return fmt.Sprint(rand.Uint64()) }, Parallel: 2,
			Journal: func(rows func(int) store.Rows) (store.Journal, error) { return fenced.New(rows, fenced.Options{}) },
		})
		if err == nil {
			return e
		}
	}
	t.Errorf("open: %v", err)
	return nil
}

// writeShared appends rounds of readings, many of them of places that others
// write too. What was not acknowledged is sent again, as clients do.
func writeShared(t *testing.T, e *engine.Engine, l *ledger, clock *telemetry.Clock, dice *rand.Rand, rounds, devices int) {
	base := time.Now().Add(-30 * time.Hour).Truncate(time.Hour)
	for range rounds {
		byShard := map[int][]telemetry.Reading{}
		for range 1 + dice.IntN(20) {
			device := fmt.Sprint("pump-", dice.IntN(devices))
			stamp := clock.Take(1)
			r := reading(device, base.Add(time.Duration(dice.IntN(40))*time.Hour/2), telemetry.Metric{Name: "x", Value: telemetry.IntValue(int64(stamp))})
			r.Stamp = stamp
			byShard[e.Shard(device)] = append(byShard[e.Shard(device)], r)
		}
		for shard, readings := range byShard {
			l.note(l.sent, readings)
			for try := 1; ; try++ {
				err := e.Append(t.Context(), shard, block.FromReadings(readings))
				if err == nil {
					break
				}
				if try == 5 {
					t.Errorf("append: %v", err)
					return
				}
			}
			l.note(l.acked, readings)
		}
	}
}

// readShared reads a device: the stamp of each of its times, which is its value.
func readShared(ctx context.Context, e *engine.Engine, device string) (map[int64]telemetry.Stamp, error) {
	got := map[int64]telemetry.Stamp{}
	err := e.View().Read(ctx, device, engine.Span{To: time.Now().AddDate(1, 0, 0).UnixNano()}, func(f *block.Frame) error {
		for at, cells := range f.Each(false) {
			for _, c := range cells {
				if _, twice := got[at]; twice {
					return fmt.Errorf("%s at %s twice", device, clockText(at))
				}
				value, err := parseStamp(c.Value)
				if err != nil {
					return err
				}
				got[at] = value
			}
		}
		return nil
	})
	return got, err
}

func parseStamp(v telemetry.Value) (stamp telemetry.Stamp, err error) {
	_, err = fmt.Sscan(string(v.AppendNumber(nil)), &stamp)
	return stamp, err
}
