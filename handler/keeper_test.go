package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/access"
	"sluice/internal/settings"
)

// keeping runs a keeper whose opens are the test's; it ends with the test.
func keeping(t *testing.T, log *bytes.Buffer, open func(try int) (*house, error), final bool) (k *keeper, end func() (*house, error)) {
	t.Helper()
	logger := slog.New(slog.NewTextHandler(log, nil))
	try := 0
	k = &keeper{
		front: newFront(bareGround(logger), impatient), log: logger, try: time.Minute, pause: backoff{time.Second, 15 * time.Second},
		isFinal: func(error) bool { return final },
		open: func(context.Context) (*house, error) {
			try++
			return open(try)
		},
	}
	k.serve = func(*house) { k.front.open(newEcho(logger, impatient)) }
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan kept, 1)
	go func() {
		h, err := k.run(ctx)
		done <- kept{h, err}
	}()
	return k, func() (*house, error) {
		cancel()
		kept := <-done
		return kept.house, kept.err
	}
}

func aHouse() *house {
	return &house{ground: &ground{late: newLate(1, nil)}, broken: make(chan error, 1), stopWork: func() {}}
}

func TestOpenedAgainAndAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		h := aHouse()
		k, end := keeping(t, &log, func(try int) (*house, error) {
			switch {
			case try <= 5:
				return nil, fmt.Errorf("away (request 8a-%d)", try)
			case try == 6:
				return nil, errors.New("denied")
			case try == 7:
				panic("out of range")
			}
			return h, nil
		}, false)
		synctest.Wait()
		if err := k.front.whyNotOpen(); !errors.Is(err, errNotOpen) || !strings.Contains(err.Error(), "away") {
			t.Error(err)
		}
		time.Sleep(2 * time.Minute)
		if err := k.front.whyNotOpen(); err != nil {
			t.Error(err)
		}
		if n := strings.Count(log.String(), "tried again and again"); n != 3 {
			t.Errorf("three reasons are logged %d times:\n%s", n, log.String())
		}
		if got, err := end(); got != h || err != nil {
			t.Error(got, err)
		}
	})
}

func TestABrokenHouseIsOpenedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		first, second := aHouse(), aHouse()
		k, end := keeping(t, &log, func(try int) (*house, error) {
			switch try {
			case 1:
				return first, nil
			case 2:
				return nil, errors.New("disk full")
			}
			return second, nil
		}, true) // an error ends the process at the start only
		synctest.Wait()
		first.broken <- errors.New("a write failed")
		synctest.Wait()
		if err := k.front.whyNotOpen(); err == nil || !strings.Contains(err.Error(), "a write failed") {
			t.Error(err)
		}
		time.Sleep(2 * time.Minute)
		if got, err := end(); got != second || err != nil || k.front.whyNotOpen() != nil {
			t.Error(got, err, k.front.whyNotOpen())
		}
	})
}

func TestFinalErrorsEndTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wrong := errors.New("wrong")
		_, end := keeping(t, &bytes.Buffer{}, func(int) (*house, error) { return nil, wrong }, true)
		synctest.Wait()
		if got, err := end(); got != nil || err != wrong {
			t.Error(got, err)
		}
	})
}

func TestBackoff(t *testing.T) {
	b := backoff{500 * time.Millisecond, 15 * time.Second}
	for try := range 100 {
		if d := b.after(try); d > b.most || d < b.least*9/10 || try > 5 && d < b.most*9/10 {
			t.Error(try, d)
		}
	}
}

// However often readiness is asked, the accounts are asked every few seconds.
func TestProber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reads, writes, broken, away := 0, 0, false, false
		p := &prober{names: []string{"a"}, now: time.Now, away: func() bool { return away }, check: func(ctx context.Context, _ int, write bool) error {
			if reads++; write {
				writes++
			}
			if broken {
				<-ctx.Done()
				return errors.New("away")
			}
			return nil
		}}
		for range 120 {
			if s := p.ask(t.Context()); !s[0].Reachable {
				t.Fatal(s)
			}
			time.Sleep(time.Second)
		}
		if reads != 24 || writes != 2 {
			t.Error(reads, "questions,", writes, "writes in two minutes")
		}
		reads, away = 0, true
		for range 10 {
			time.Sleep(askAgain)
			p.ask(t.Context())
		}
		if away = false; reads != 10 {
			t.Error(reads, "questions in 10 seconds in which calls had no answer")
		}
		time.Sleep(askEvery)
		broken = true
		gone, cancel := context.WithCancel(t.Context())
		cancel() // who asks may go away: others wait for the answer
		began := time.Now()
		if s := p.ask(gone); s[0].Reachable || s[0].Reason != "away" || time.Since(began) != askWithin {
			t.Error(s, time.Since(began))
		}
		broken, writes = false, 0
		time.Sleep(askEvery)
		if s := p.ask(t.Context()); !s[0].Reachable || writes != 1 {
			t.Error("after a failure a write has to show that it is over:", s, writes)
		}
		p.check = func(context.Context, int, bool) error { panic("out of range") }
		time.Sleep(askEvery)
		if s := p.ask(t.Context()); s[0].Reachable || !strings.Contains(s[0].Reason, "panicked") {
			t.Error(s)
		}
	})
}

// A clock that is far from the store's is put right by it, and told once.
func TestStoreClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		skew := time.Duration(0)
		c := &storeClock{skew: func() time.Duration { return skew }, log: slog.New(slog.NewTextHandler(&log, nil))}
		for _, s := range []struct{ skew, want time.Duration }{
			{0, 0}, {2 * time.Second, 0}, {-3 * time.Second, 0}, {time.Minute, time.Minute}, {time.Minute, time.Minute}, {-time.Hour, -time.Hour}, {time.Second, 0},
		} {
			skew = s.skew
			if got := time.Until(c.now()); got != s.want {
				t.Errorf("skew %v: corrected by %v", skew, got)
			}
		}
		if n := strings.Count(log.String(), "\n"); n != 2 {
			t.Errorf("%d lines:\n%s", n, log.String())
		}
	})
}

// nowhere is a store that closes.
type nowhere struct{ backend }

func (nowhere) close() error { return nil }

// What hangs in a store or a hub does not keep the process from ending.
func TestTheEndIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := slog.New(slog.DiscardHandler)
		h, forever := aHouse(), make(chan struct{})
		h.ground = newGround(settings.Settings{Shards: 1}, &embedded{}, nil, access.Keys{}, log)
		h.store = nowhere{}
		h.work.Go(func() { <-forever })
		defer close(forever)
		r := running{ground: h.ground, log: log, patience: impatient, kept: make(chan kept, 1)}
		r.kept <- kept{h, nil}
		began := time.Now()
		if err := r.closeHouse(); err == nil || time.Since(began) != 2*impatient.flush {
			t.Error(err, "after", time.Since(began))
		}
		h.broken <- errors.New("over") // there is no store to be closed
		synctest.Wait()
	})
}
