// Package fenced is the journal over any store of rows, also one that many
// processes share and that answers late or not at all. No clock and no lease
// decides anything: an epoch takes commits while its fences stand, rows that
// every commit touches and that the seal deletes.
//
// In tables:
//
//	sluiceheads              partition 0003 (shard)  row head           Epochs (JSON), Format, State
//	sluicejournal20261124    partition 0003-00000012-<nonce>
//	                         rows !open0 ... !open7                     the fences
//	                         rows 00017!<commit>!02 (bucket, part)      Data00 ... Data14, Format
//
// A journal's tables are named by the day on which the opener of an epoch
// thought to be; that orders them and says nothing more.
package fenced

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"sync"
	"time"

	"sluice/store"
)

// Options are what a Journal takes from outside. The zero value is ready.
type Options struct {
	// Fences is the number of fences of the epochs that this journal opens, 1 to
	// 64; 0: 8. An epoch keeps the number that it was opened with.
	Fences int
	// Attempts is how often Append sends a transaction that is refused because the
	// epoch was sealed or a fence was in use, before it gives up; 0: 8. What the
	// store did not answer is sent again once: see Append.
	Attempts int
	// Now is the clock; nil: time.Now.
	Now func() time.Time
	// Sleep waits, or returns the context's error; nil: a timer.
	Sleep func(context.Context, time.Duration) error
	// Random gives nonces, which must never come twice; nil: crypto/rand. It is
	// read by one goroutine at a time.
	Random io.Reader
}

func (o Options) withDefaults() Options {
	if o.Fences == 0 {
		o.Fences = 8
	}
	if o.Attempts <= 0 {
		o.Attempts = 8
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Sleep == nil {
		o.Sleep = sleep
	}
	if o.Random == nil {
		o.Random = rand.Reader
	}
	return o
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Journal is a store.Journal. Any number of journals, in any number of
// processes, may work on the same rows.
type Journal struct {
	rows func(shard int) store.Rows
	opts Options

	mu      sync.Mutex // guards what follows; never held during a call of the store
	dice    *mathrand.Rand
	process string // the nonce of this journal's commits
	commits uint64
	newest  map[int]known
}

var _ store.Journal = (*Journal)(nil)

// New returns a journal over rows, which says where a shard's head and journal
// lie and must always say the same; stores that are one must be == . It reads
// Random.
func New(rows func(shard int) store.Rows, opts Options) (*Journal, error) {
	opts = opts.withDefaults()
	if opts.Fences < 1 || opts.Fences > maxFences {
		return nil, fmt.Errorf("%d fences an epoch: 1 to %d: %w", opts.Fences, maxFences, store.ErrInvalid)
	}
	var seed [32]byte
	if _, err := io.ReadFull(opts.Random, seed[:]); err != nil {
		return nil, fmt.Errorf("read randomness: %w", err)
	}
	j := &Journal{rows: rows, opts: opts, newest: map[int]known{}}
	j.dice = mathrand.New(mathrand.NewChaCha8(seed)) //nolint:gosec // which fence is touched is no secret
	var err error
	j.process, err = j.nonce()
	return j, err
}

// nonce returns 64 random bits in hexadecimal.
func (j *Journal) nonce() (string, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	var b [8]byte
	if _, err := io.ReadFull(j.opts.Random, b[:]); err != nil {
		return "", fmt.Errorf("read randomness: %w", err)
	}
	return hex.EncodeToString(b[:]), nil
}

// commitID returns an id that no other commit has, of a fixed width.
func (j *Journal) commitID() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.commits++
	return fmt.Sprintf("%s-%010x", j.process, j.commits)
}

func (j *Journal) roll(n int) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.dice.IntN(n)
}
