package engine

import (
	"context"

	"sluice/telemetry"
	"sluice/telemetry/block"
)

// Engine is the engine over one store. Its methods may be called concurrently.
type Engine struct{}

// View begins an answer.
func (e *Engine) View() *View { return &View{engine: e} }

// Shards is the number of shards.
func (e *Engine) Shards() int { panic("not yet") }

// Shard is the shard of a device.
func (e *Engine) Shard(device string) int { panic("not yet") }

// Append makes devices' readings, all of one shard and in ascending order of
// ids, durable. Failed, parts may be durable or become so; appending the same
// again is safe.
func (e *Engine) Append(ctx context.Context, shard int, devices []block.Device) error {
	panic("not yet")
}

// Delete deletes a device: once it has returned nil, nothing that was accepted
// under stamp or a lower one is in any answer.
func (e *Engine) Delete(ctx context.Context, device string, stamp telemetry.Stamp) error {
	panic("not yet")
}
