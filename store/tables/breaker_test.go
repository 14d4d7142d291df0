package tables_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"sluice/devtools/azurite"
	"sluice/devtools/netfault"
	"sluice/store"
	"sluice/store/tables"
)

// An account that does not answer is left alone: calls fail at once, and go
// through again soon after it is back.
func TestAway(t *testing.T) {
	a := azurite.ForTest(t).Account()
	p := newNetwork(t, a)
	tries := 0
	sleep := func(ctx context.Context, _ time.Duration) error { tries++; return ctx.Err() }
	s := open(t, a.At(p.Address()), tables.Options{Sleep: sleep, TryTimeout: 200 * time.Millisecond, Silence: 1, Rest: 100 * time.Millisecond})
	if err := s.CreateTable(t.Context(), "away"); err != nil || s.Away() != nil {
		t.Fatalf("an account that answers: %v, %v", err, s.Away())
	}
	for _, mode := range []netfault.Mode{netfault.Refuse, netfault.Reset, netfault.BlackHole} {
		if err := p.Set(mode); err != nil {
			t.Fatal(err)
		}
		tries = 0
		if _, err := s.Get(t.Context(), "away", "p", "k"); !errors.Is(err, store.ErrUnavailable) || tries != 3 {
			t.Errorf("%v: %v after %d more tries, 3 are right before it counts as away", mode, err, tries)
		}
		if err := s.Away(); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%v: away: %v", mode, err)
		}
		if err := p.Set(netfault.Pass); err != nil {
			t.Fatal(err)
		}
		awaitBack(t, s)
	}
}

func awaitBack(t *testing.T, s *tables.Store) {
	t.Helper()
	for give := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		_, err := s.Get(t.Context(), "away", "p", "k")
		if errors.Is(err, store.ErrNotFound) && s.Away() == nil {
			return
		}
		if time.Now().After(give) {
			t.Fatalf("not back: %v, %v", err, s.Away())
		}
	}
}

// Calls under way that fail together are no outage while others are answered.
func TestNotAwayWhileAnswered(t *testing.T) {
	a := azurite.ForTest(t).Account()
	p := newNetwork(t, a)
	s := open(t, a.At(p.Address()), tables.Options{Sleep: noSleep, Attempts: 3, Silence: time.Hour})
	if err := errors.Join(s.CreateTable(t.Context(), "away"), p.Set(netfault.Refuse)); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if _, err := s.Get(t.Context(), "away", "p", "k"); !errors.Is(err, store.ErrUnavailable) {
			t.Error(err)
		}
	}
	if err := s.Away(); err != nil {
		t.Errorf("answered within the hour, and away: %v", err)
	}
}

// A caller who goes away says nothing about the account.
func TestImpatientCallers(t *testing.T) {
	a := azurite.ForTest(t).Account()
	p := newNetwork(t, a)
	s := open(t, a.At(p.Address()), tables.Options{Silence: 1})
	if err := errors.Join(s.CreateTable(t.Context(), "away"), p.Set(netfault.BlackHole)); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		if _, err := s.Get(ctx, "away", "p", "k"); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		cancel()
	}
	if err := s.Away(); err != nil {
		t.Errorf("nobody waited for an answer, and the account counts as away: %v", err)
	}
}

// Answers that refuse are answers: throttling is not an outage.
func TestThrottledIsNotAway(t *testing.T) {
	s, _ := scripted(t, tables.Options{Sleep: noSleep, Silence: 1}, reply{status: http.StatusServiceUnavailable})
	for range 3 {
		_, err := s.Get(t.Context(), "away", "p", "k")
		if !errors.Is(err, store.ErrThrottled) || !strings.Contains(err.Error(), "8 tries") {
			t.Errorf("%v, want it throttled 8 times", err)
		}
	}
	if err := s.Away(); err != nil {
		t.Error(err)
	}
}
