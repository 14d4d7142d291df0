package engine

import (
	"fmt"
	"testing"
)

// Before a store is open its devices have the shards that they have in it.
func TestShardOf(t *testing.T) {
	for _, e := range []*Engine{{shards: 8, buckets: 16}, {shards: 1, buckets: 1}, {shards: 5, buckets: 32}} {
		for i := range 1000 {
			device := fmt.Sprint("d", i)
			if got, want := ShardOf(device, e.shards), e.Shard(device); got != want {
				t.Fatalf("%s of %d shards: %d, in the store %d", device, e.shards, got, want)
			}
		}
	}
}
