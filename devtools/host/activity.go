package host

import (
	"context"
	"io"
	"sync/atomic"
	"time"
)

// activity ends a context when nothing has happened for a while.
type activity struct {
	timer *time.Timer
	most  time.Duration
	stop  context.CancelFunc
}

func withActivity(ctx context.Context, most time.Duration) (context.Context, *activity) {
	ctx, cancel := context.WithCancel(ctx)
	a := &activity{most: most, timer: time.AfterFunc(most, cancel)}
	a.stop = func() {
		a.timer.Stop()
		cancel()
	}
	return ctx, a
}

// seen says that something happened.
func (a *activity) seen() { a.timer.Reset(a.most) }

// proxiedBody knows whether anything of it was read.
type proxiedBody struct {
	io.ReadCloser
	alive *activity
	begun atomic.Bool
}

func (b *proxiedBody) Read(p []byte) (int, error) {
	b.begun.Store(true)
	n, err := b.ReadCloser.Read(p)
	b.alive.seen()
	return n, err
}
