package limit

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// clock is a time that tests move.
type clock struct{ now time.Duration }

func (c *clock) time() time.Duration { return c.now }

// bucket is a bucket as a book has it: so many tokens, counted.
type bucket struct {
	tokens int64 // in nanoseconds of their coming back
	at     time.Duration
}

func (b *bucket) take(now time.Duration, n, perSecond int) int {
	cost := int64(time.Second) / int64(perSecond)
	size := cost * int64(perSecond) * 60
	b.tokens, b.at = min(b.tokens+int64(now-b.at), size), now
	taken := min(int64(n), b.tokens/cost)
	b.tokens -= taken * cost
	return int(taken)
}

// Whoever sends what when: each device gets what a bucket of its own would give,
// what is announced as left is there, and after the wait all of it passes.
func TestRateIsABucketForEachDevice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		perSecond := rapid.SampledFrom([]int{1, 2, 3, 7, 1000, 999_999, MostPerSecond}).Draw(t, "rate")
		c := &clock{}
		r := NewRate(perSecond, 1<<16, c.time)
		cost := int64(time.Second) / int64(perSecond)
		model := map[string]*bucket{}
		for range rapid.IntRange(1, 60).Draw(t, "calls") {
			c.now += time.Duration(rapid.Int64Range(0, int64(40*time.Second)).Draw(t, "pause"))
			device := fmt.Sprintf("pump-%d", rapid.IntRange(0, 3).Draw(t, "device"))
			b := model[device]
			if b == nil {
				b = &bucket{cost * int64(perSecond) * 60, c.now}
				model[device] = b
			}
			n := rapid.IntRange(0, 100*perSecond).Draw(t, "readings")
			want := b.take(c.now, n, perSecond)
			got := r.Take(device, n)
			if got.Taken != want || got.Left != int(b.tokens/cost) {
				t.Fatalf("%d of %s: got %+v, want %d taken and %d left", n, device, got, want, b.tokens/cost)
			}
			if got.Wait > Burst || (got.Wait > 0) != (got.Taken < n || n == 0 && got.Left == 0) {
				t.Fatalf("%d of %s: %+v", n, device, got)
			}
			if rapid.Bool().Draw(t, "give back") {
				r.Give(device, got.Taken)
				b.tokens += int64(got.Taken) * cost
			} else if got.Wait > 0 && rapid.Bool().Draw(t, "wait") {
				again := min(max(n, 1), r.Size())
				if got.Wait > 1 {
					c.now += got.Wait - 1
					if g := r.Take(device, again); g.Taken >= again {
						t.Fatalf("the wait of %s was too long", device)
					} else {
						r.Give(device, g.Taken)
					}
					c.now++
				}
				if g := r.Take(device, again); g.Taken != again {
					t.Fatalf("after the wait %d of %d pass", g.Taken, again)
				}
				b.take(c.now, again, perSecond)
			}
		}
	})
}

// A fleet of any size takes bounded memory, and those who owe much are the last
// to be forgotten: a loud device cannot hide among names that somebody makes up.
func TestMemoryIsBoundedAndTheLoudAreRemembered(t *testing.T) {
	c := &clock{}
	const devices = 64 * 100
	r := NewRate(10, devices, c.time)
	for i := range 20 {
		r.Take(fmt.Sprintf("loud-%d", i), r.Size())
	}
	for i := range 100_000 {
		r.Take(fmt.Sprintf("made-up-%d", i), 1)
	}
	entries := 0
	for i := range r.stripes {
		entries += len(r.stripes[i].full)
	}
	if entries > devices {
		t.Errorf("%d devices are remembered, %d were to be", entries, devices)
	}
	for i := range 20 {
		if g := r.Take(fmt.Sprintf("loud-%d", i), 1); g.Taken != 0 {
			t.Errorf("loud-%d was forgotten", i)
		}
	}
}

func TestRestIsForgotten(t *testing.T) {
	c := &clock{}
	r := NewRate(10, 64, c.time)
	r.Take("pump-1", 5)
	r.Give("pump-1", 5)
	r.Give("pump-2", 5) // was forgotten meanwhile
	for i := range r.stripes {
		if n := len(r.stripes[i].full); n != 0 {
			t.Errorf("%d full buckets are kept", n)
		}
	}
	if g := r.Take("pump-2", 10_000); g.Taken != r.Size() {
		t.Errorf("%+v: giving back what was never taken must not make a bucket larger", g)
	}
}

func TestRateAtOnce(t *testing.T) {
	r := NewRate(1000, 1<<16, (&clock{}).time)
	var wg sync.WaitGroup
	taken := make([]int, 8)
	for i := range taken {
		wg.Go(func() {
			for range 20_000 {
				taken[i] += r.Take("pump-1", 1).Taken
			}
		})
	}
	wg.Wait()
	all := 0
	for _, n := range taken {
		all += n
	}
	if all != r.Size() {
		t.Errorf("%d readings passed, a bucket has %d", all, r.Size())
	}
}

func TestConcurrency(t *testing.T) {
	c := NewConcurrency(2)
	for i := range 3 {
		if c.Enter("a") != (i < 2) {
			t.Errorf("call %d of a caller that may have two", i+1)
		}
	}
	if !c.Enter("b") {
		t.Error("one caller keeps another out")
	}
	c.Leave("a")
	if !c.Enter("a") {
		t.Error("what was left is not free")
	}
	for _, key := range []string{"a", "a", "b"} {
		c.Leave(key)
	}
	if len(c.now) != 0 {
		t.Errorf("%v is remembered", c.now)
	}
}

func TestHeaders(t *testing.T) {
	for name, c := range map[string]struct {
		say           func(http.Header)
		policy, state string
	}{
		"rate": {
			func(h http.Header) {
				NewRate(1000, 1, (&clock{}).time).Announce(h, State{Limit: DeviceRate, Left: 59_990, Device: "pump-7"})
			},
			`"device-rate";q=60000;qu="readings";w=60`, `"device-rate";r=59990;pk=:cHVtcC03:`,
		},
		"rate, used up": {
			func(h http.Header) {
				NewRate(1, 1, (&clock{}).time).Announce(h, State{Limit: DeviceRate, Device: "p", Wait: 1500 * time.Millisecond})
			},
			`"device-rate";q=60;qu="readings";w=60`, `"device-rate";r=0;t=2;pk=:cA==:`,
		},
		"concurrency": {
			func(h http.Header) { NewConcurrency(64).Announce(h, State{Limit: CallerConcurrency}) },
			`"concurrency";q=64;qu="concurrent-requests"`, `"concurrency";r=0`,
		},
	} {
		h := http.Header{}
		c.say(h)
		if h.Get("RateLimit-Policy") != c.policy || h.Get("RateLimit") != c.state {
			t.Errorf("%s: %v", name, h)
		}
	}
}

func TestCallerTravelsWithTheContext(t *testing.T) {
	if c := CallerOf(t.Context()); c != (Caller{}) {
		t.Errorf("%+v", c)
	}
	want := Caller{Key: "k", Device: "d", Exempt: true}
	if c := CallerOf(context.WithoutCancel(WithCaller(t.Context(), want))); c != want {
		t.Errorf("%+v", c)
	}
}

func BenchmarkTake(b *testing.B) {
	started := time.Now()
	r := NewRate(1000, 1<<20, func() time.Duration { return time.Since(started) })
	names := make([]string, 4096)
	for i := range names {
		names[i] = fmt.Sprintf("pump-%d", i)
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			r.Take(names[i%len(names)], 1)
		}
	})
}
