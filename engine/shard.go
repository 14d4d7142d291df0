package engine

// ShardOf is the shard of a device in a store of so many shards, for whoever has
// to know it before the store is open.
func ShardOf(device string, shards int) int {
	shard, _ := place(device, shards, 1)
	return shard
}
