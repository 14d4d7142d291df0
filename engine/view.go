package engine

import (
	"context"

	"sluice/telemetry"
	"sluice/telemetry/block"
)

// View is what one page of an answer is read from. It reads each shard's head
// after it was made, and its tail once. It may be used concurrently.
type View struct {
	engine *Engine
}

// Floor is the floor of retention: nothing earlier is read.
func (v *View) Floor(ctx context.Context) (int64, error) { panic("not yet") }

// Device tells what is known of a device, exact; false for an unknown one.
func (v *View) Device(ctx context.Context, id string) (Info, bool, error) { panic("not yet") }

// Devices yields the devices whose ids begin with prefix and are greater than
// after, in ascending order, exact, until yield returns false.
func (v *View) Devices(ctx context.Context, prefix, after string, yield func(Info) bool) error {
	panic("not yet")
}

// Read yields the readings of a device, resolved, a bounded frame at a time. A
// time never spans two frames; frames come in ascending (or descending) order
// of time, the rows within each are always ascending. The frame is valid after
// yield returned, and must not be changed. An error of yield ends it and is
// returned. ErrAgain.
func (v *View) Read(ctx context.Context, id string, span Span, yield func(*block.Frame) error) error {
	panic("not yet")
}

// Unmerged returns the lowest stamp among what of a device is not merged yet;
// false if all of it is.
func (v *View) Unmerged(ctx context.Context, id string) (telemetry.Stamp, bool, error) {
	panic("not yet")
}
