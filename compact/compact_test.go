package compact

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sluice/engine"
	"sluice/internal/invoke"
)

// merger is an engine that does what a test says.
type merger func(ctx context.Context, rest, margin time.Duration) (engine.Compaction, error)

func (m merger) Compact(ctx context.Context) error {
	_, err := m(ctx, 0, 0)
	return err
}

func (m merger) CompactDue(ctx context.Context, rest, margin time.Duration) (engine.Compaction, error) {
	return m(ctx, rest, margin)
}

func timer(t *testing.T, text string) invoke.Envelope {
	t.Helper()
	e, err := invoke.Read(strings.NewReader(text), MaxEnvelope, 0)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

const call = `{"Data":{"timer":{"IsPastDue":false}},"Metadata":{}}`

func TestTellsWhatWasDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		done := engine.Compaction{Shards: 2, Entries: 7, Remaining: 3}
		m := merger(func(ctx context.Context, rest, margin time.Duration) (engine.Compaction, error) {
			deadline, _ := ctx.Deadline()
			if rest != time.Minute || time.Until(deadline) != Deadline || margin <= 0 || margin > Deadline/2 {
				t.Error(rest, margin, time.Until(deadline))
			}
			time.Sleep(time.Second)
			return done, nil
		})
		lines, err := New(m, Options{Rest: time.Minute}).Run(t.Context(), timer(t, `{"Data":{"timer":{"IsPastDue":true}}}`))
		want := "the timer was late|7 entries of 2 shards merged in 1s|time is over, 3 shards are left for the next run"
		if got := strings.Join(lines, "|"); got != want || err != nil {
			t.Errorf("%s, %v", got, err)
		}
		lines, err = New(merger(func(_ context.Context, rest, _ time.Duration) (engine.Compaction, error) { return done, nil }), Options{}).Run(t.Context(), timer(t, call))
		if got := strings.Join(lines, "|"); got != "all shards merged in 0s" || err != nil {
			t.Errorf("%s, %v", got, err)
		}
	})
}

func TestFailures(t *testing.T) {
	away := errors.New("store away")
	ran := false
	trigger := New(merger(func(context.Context, time.Duration, time.Duration) (engine.Compaction, error) {
		ran = true
		return engine.Compaction{Entries: 1}, away
	}), Options{Rest: time.Minute})
	if _, err := trigger.Run(t.Context(), timer(t, `{"Data":{"other":{}}}`)); !errors.Is(err, invoke.ErrEnvelope) || ran {
		t.Error(err, ran)
	}
	if lines, err := trigger.Run(t.Context(), timer(t, call)); !errors.Is(err, away) || lines != nil {
		t.Error(lines, err)
	}
}

// One run at a time; a second call has its own after that, if there is time.
func TestOneRunAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var under, most, runs atomic.Int64
		long := 2 * time.Minute
		trigger := New(merger(func(context.Context, time.Duration, time.Duration) (engine.Compaction, error) {
			most.Store(max(most.Load(), under.Add(1)))
			defer under.Add(-1)
			runs.Add(1)
			time.Sleep(long)
			return engine.Compaction{}, nil
		}), Options{Rest: time.Minute})
		errs := make(chan error, 4)
		for range cap(errs) {
			go func() {
				_, err := trigger.Run(t.Context(), timer(t, call))
				errs <- err
			}()
		}
		busy := 0
		for range cap(errs) {
			if err := <-errs; errors.Is(err, errBusy) {
				busy++
			} else if err != nil {
				t.Error(err)
			}
		}
		// Of four, three begin within the five minutes of each.
		if most.Load() != 1 || runs.Load() != 3 || busy != 1 {
			t.Error(most.Load(), "at a time,", runs.Load(), "runs,", busy, "busy")
		}
	})
}

// A run that panics leaves the way free for the next.
func TestAPanicFreesTheNextRun(t *testing.T) {
	trigger := New(merger(func(context.Context, time.Duration, time.Duration) (engine.Compaction, error) { panic("out of range") }), Options{Rest: time.Minute, Deadline: time.Second})
	for range 2 {
		func() {
			defer func() {
				if r := recover(); r != "out of range" {
					t.Error(r)
				}
			}()
			_, err := trigger.Run(t.Context(), timer(t, call))
			t.Error("no panic:", err)
		}()
	}
}
