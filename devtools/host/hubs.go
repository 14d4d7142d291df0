package host

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
)

// HubOptions say how Event Hub triggers are fed. Those that a real host has no
// words for are the unpleasant things that it does now and then.
type HubOptions struct {
	// File keeps the checkpoints. Empty: they are kept as long as the Hubs.
	File string
	// Seed of what is random.
	Seed uint64
	// Cut cuts the events into batches of random sizes up to that in host.json,
	// and not into as large ones as there are events for.
	Cut bool
	// Redeliver is the share of the events, 0 to 1, that come a second time in other
	// cuts, as after a checkpoint that was not written: now and then a partition
	// goes back to an event that was delivered a while ago and on from there.
	Redeliver float64
}

// Hubs is what of the Event Hub triggers outlives a host: how far each partition
// is. Hosts, one after the other, may be given the same. Its methods may be
// called concurrently.
type Hubs struct {
	options HubOptions

	mu          sync.Mutex
	dice        *rand.Rand
	checkpoints map[string]int64 // by checkpointName
	giveUp      int
	counts      HubCounts
}

// HubCounts are of all hosts together.
type HubCounts struct {
	Batches, Events int // of calls that ended, with success or given up
	Redelivered     int // events among those that came again by HubOptions.Redeliver
	GivenUp         int // batches that failed and were checkpointed all the same
	Longest         int // events in the largest batch
}

// NewHubs reads the checkpoints, if they are kept in a file.
func NewHubs(o HubOptions) (*Hubs, error) {
	h := &Hubs{options: o, dice: rand.New(rand.NewPCG(o.Seed, 0)), checkpoints: map[string]int64{}}
	if o.File == "" {
		return h, nil
	}
	text, err := os.ReadFile(o.File)
	if errors.Is(err, fs.ErrNotExist) {
		return h, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &h.checkpoints)
	}
	if err != nil {
		return nil, fmt.Errorf("checkpoints in %s: %w", o.File, err)
	}
	return h, nil
}

// GiveUp has the next call of an Event Hub trigger that fails not be tried again,
// whatever its policy says, and its batch be checkpointed as if all were well: what a
// host does when retries are used up, and may do when it stops or scales in.
func (h *Hubs) GiveUp() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.giveUp++
}

// givesUp takes one of what GiveUp ordered.
func (h *Hubs) givesUp() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.giveUp == 0 {
		return false
	}
	h.giveUp--
	return true
}

// Counts are what has been delivered so far.
func (h *Hubs) Counts() HubCounts {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.counts
}

// checkpointName is where a host keeps how far a partition is.
func checkpointName(namespace, hub, group, partition string) string {
	return namespace + "/" + hub + "/" + group + "/" + partition
}

// checkpoint is the sequence number of the last event that is done with; false
// if there is none.
func (h *Hubs) checkpoint(name string) (int64, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	last, ok := h.checkpoints[name]
	return last, ok
}

// done notes a batch that has ended, and how far its partition is with that.
func (h *Hubs) done(name string, b batch, failed bool) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.counts.Batches++
	h.counts.Events += len(b.events)
	h.counts.Redelivered += b.again
	h.counts.Longest = max(h.counts.Longest, len(b.events))
	if failed {
		h.counts.GivenUp++
	}
	h.checkpoints[name] = b.events[len(b.events)-1].SequenceNumber
	return h.write()
}

// write keeps the checkpoints in the file. h.mu must be held.
func (h *Hubs) write() error {
	if h.options.File == "" {
		return nil
	}
	text, err := json.MarshalIndent(h.checkpoints, "", "  ")
	if err != nil {
		return err
	}
	next := filepath.Join(filepath.Dir(h.options.File), "."+filepath.Base(h.options.File)+".next")
	if err := os.WriteFile(next, text, 0o600); err != nil {
		return err
	}
	return os.Rename(next, h.options.File)
}

// size is that of a batch of which there are so many events at most.
func (h *Hubs) size(most int) int {
	if !h.options.Cut {
		return most
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return 1 + h.dice.IntN(most)
}

// back is how many of so many recent events come again after a batch of n.
func (h *Hubs) back(recent, n int) int {
	if h.options.Redeliver == 0 || recent == 0 {
		return 0
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	// Going back comes so much more rarely as it goes further, a half of recent on
	// the average.
	if h.dice.Float64() > h.options.Redeliver*float64(n)*2/float64(recent+1) {
		return 0
	}
	return 1 + h.dice.IntN(recent)
}
