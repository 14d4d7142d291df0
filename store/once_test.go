package store_test

import (
	"context"
	"testing"
	"time"

	"sluice/store"
)

// TestOnce: what Once says is handed down, and what the caller's context says
// still holds.
func TestOnce(t *testing.T) {
	type key struct{}
	ctx, cancel := context.WithDeadline(context.WithValue(t.Context(), key{}, "kept"), time.Unix(1, 0))
	defer cancel()
	if store.IsOnce(ctx) {
		t.Error("a context that Once did not return says once")
	}
	once, stop := context.WithCancel(store.Once(ctx))
	defer stop()
	if !store.IsOnce(once) {
		t.Error("a context derived from Once's does not say once")
	}
	if store.IsOnce(ctx) {
		t.Error("Once changed the context that it was given")
	}
	if d, ok := once.Deadline(); !ok || !d.Equal(time.Unix(1, 0)) || once.Value(key{}) != "kept" {
		t.Errorf("deadline %v, value %v: not the caller's", d, once.Value(key{}))
	}
}
