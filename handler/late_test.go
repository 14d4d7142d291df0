package main

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/engine"
	"sluice/store"
)

// What hangs in a store that broke keeps nobody, and not the store that is opened
// in its place.
func TestLateEngine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLate(4, slog.New(slog.DiscardHandler))
		none := func(*engine.Engine) error { t.Error("called without an engine"); return nil }
		if err := l.do(t.Context(), none); !errors.Is(err, store.ErrUnavailable) {
			t.Error("before it comes:", err)
		}
		broken, whole := &engine.Engine{}, &engine.Engine{}
		hang := make(chan struct{})
		defer close(hang)
		l.come(broken)
		hung := make(chan error)
		go func() { hung <- l.do(t.Context(), func(*engine.Engine) error { <-hang; return nil }) }()
		synctest.Wait()
		l.leave()
		if err := <-hung; !errors.Is(err, store.ErrUnavailable) {
			t.Error("of one that broke:", err)
		}
		if err := l.do(t.Context(), none); !errors.Is(err, store.ErrUnavailable) {
			t.Error("after that:", err)
		}
		l.leave() // once more does no harm
		l.come(whole)
		if err := l.do(t.Context(), func(e *engine.Engine) error {
			if e != whole {
				t.Error("another engine")
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
		if err := l.do(t.Context(), func(*engine.Engine) error { panic("out of range") }); err == nil || !strings.Contains(err.Error(), "out of range") {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := l.do(ctx, func(*engine.Engine) error { <-hang; return nil }); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}
