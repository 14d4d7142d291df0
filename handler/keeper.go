package main

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"strings"
	"time"
	"unicode"
)

// keeper keeps a house open: it opens it in the background, again and again if
// it must be, and once more when its store breaks. What only the network can
// tell never ends the process; what the environment and the local disk show at
// the start does.
type keeper struct {
	front *front
	log   *slog.Logger
	open  func(context.Context) (*house, error)
	// serve makes the open house the one that answers.
	serve func(*house)
	// isFinal says whether an error of the first house's opening ends the process.
	isFinal func(error) bool
	try     time.Duration // for one try to open
	pause   backoff
}

// run returns when ctx ends, with the house if one is open then, else with the
// context's error; or earlier with the error that ends the process.
func (k *keeper) run(ctx context.Context) (*house, error) {
	for first := true; ; first = false {
		h, err := k.openSome(ctx, first)
		if err != nil {
			return nil, err
		}
		k.serve(h)
		select {
		case <-ctx.Done():
			return h, nil
		case err := <-h.broken:
			k.log.Error("the store cannot go on and is opened again", "error", err.Error())
			k.front.shut(err)
			h.abandon()
		}
	}
}

// openSome tries until a house is open, or ctx ends.
func (k *keeper) openSome(ctx context.Context, first bool) (*house, error) {
	told := ""
	for try := 0; ctx.Err() == nil; try++ {
		if try > 0 || !first {
			pause(ctx, k.pause.after(try))
		}
		h, err := k.openOne(ctx)
		if err == nil {
			return h, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if first && k.isFinal(err) {
			return nil, err
		}
		k.front.shut(err)
		if reason := gist(err); reason != told {
			told = reason
			k.log.Error("the store is not open, it is tried again and again", "error", err.Error())
		}
	}
	return nil, ctx.Err()
}

// openOne turns a panic into an error: what is stored must not end the process.
func (k *keeper) openOne(ctx context.Context) (h *house, err error) {
	ctx, cancel := context.WithTimeout(ctx, k.try)
	defer cancel()
	defer func() {
		if r := recover(); r != nil {
			k.log.Error("panic", "error", fmt.Sprint(r), "stack", string(debug.Stack()))
			h, err = nil, fmt.Errorf("opening the store panicked: %v", r)
		}
	}()
	return k.open(ctx)
}

// gist is a reason without what differs from try to try: numbers, ids, times.
func gist(err error) string {
	words := strings.FieldsFunc(err.Error(), func(r rune) bool { return unicode.IsSpace(r) || r == '"' })
	kept := words[:0]
	for _, word := range words {
		if !strings.ContainsFunc(word, unicode.IsDigit) {
			kept = append(kept, word)
		}
	}
	return strings.Join(kept, " ")
}

// backoff doubles from least to most.
type backoff struct{ least, most time.Duration }

// after is the pause before a try, with a tenth of chance in it, so that
// instances that lost the store together do not come back together.
func (b backoff) after(try int) time.Duration {
	d := b.most
	if try < 16 {
		d = min(b.most, b.least<<try)
	}
	return d - time.Duration(rand.Int64N(int64(d/10)+1)) //nolint:gosec // how long a pause is, is no secret
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
