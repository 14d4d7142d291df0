package engine

import "sluice/store"

// limits are where the engine cuts what it writes, merges and yields. They are
// part of nothing that is stored: leaves and pages of any size are read. Tests
// make them small, so that small worlds have everything that large ones have.
type limits struct {
	// What a leaf may hold before it is closed, and what a row may hold at all (a
	// little less than store's limits, so that names and bounds fit too).
	leafRows     int
	leafBytes    int
	leafMaxBytes int
	leafColumns  int
	// pageBytes is what a page of a list holds, before compression.
	pageBytes int
	// chunkBytes is how much of the journal, as encoded, is merged at a time: what
	// bounds the memory of a run.
	chunkBytes int
	// batchDevices is how many devices are merged together, freshRows how many
	// rows are merged into a leaf at a time, transactionOps how many operations
	// are written together.
	batchDevices   int
	freshRows      int
	transactionOps int
	// yieldRows is about how many rows a frame has that a reader is given.
	yieldRows int
}

func defaultLimits() limits {
	return limits{
		leafRows:       1000,
		leafBytes:      64 << 10,
		leafMaxBytes:   640 << 10, // in base64 and with its names it fits into a row
		leafColumns:    200,
		pageBytes:      48 << 10,
		chunkBytes:     8 << 20,
		batchDevices:   1000,
		freshRows:      10_000,
		transactionOps: store.MaxOps,
		yieldRows:      10_000,
	}
}
