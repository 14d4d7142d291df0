package pebble

import (
	"context"
	"log/slog"
	"os"
	"time"

	pebbledb "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Options says how a store is opened. The zero value is right for a service on
// a laptop or a gateway.
type Options struct {
	// FS is the file system; nil is the machine's. Tests use
	// vfs.NewCrashableMem.
	FS vfs.FS
	// Logger takes what the store has to say, and at debug what pebble has;
	// nil discards it.
	Logger *slog.Logger
	// Now is the clock, of which nothing but what is shown depends (the time an
	// epoch was opened, since when the folder is in use). nil is time.Now.
	Now func() time.Time
	// OnFatal is called once when the store cannot go on: a write or sync of the
	// write-ahead log or the manifest failed, after which nobody knows what is on
	// the disk until the folder is opened again. Every later call fails with
	// store.ErrUnavailable. nil ends the process with exit code 1, after logging
	// why. It may be called on any goroutine, with locks of pebble held: it must
	// not call the store.
	OnFatal func(error)
	// CacheBytes is the size of the cache of blocks; 0 is 32 MiB.
	CacheBytes int64
	// MemTableBytes is what is gathered in memory (and in the write-ahead log)
	// before it is written as a table; a start after a kill reads it back.
	// 0 is 8 MiB.
	MemTableBytes int64
	// TailBytes bounds the bytes of unmerged journal entries that are kept in
	// memory, beyond which they are read from the disk. 0 is 128 MiB.
	TailBytes int64
	// MinFree is the free space of the disk below which nothing is written but
	// what frees space (ErrUnavailable). 0 is 128 MiB; negative: do not look.
	MinFree int64
}

func (o Options) withDefaults() Options {
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.OnFatal == nil {
		o.OnFatal = func(error) { os.Exit(1) }
	}
	o.CacheBytes = orDefault(o.CacheBytes, 32<<20)
	o.MemTableBytes = orDefault(o.MemTableBytes, 8<<20)
	o.TailBytes = orDefault(o.TailBytes, 128<<20)
	o.MinFree = orDefault(o.MinFree, 128<<20)
	return o
}

func orDefault(n, otherwise int64) int64 {
	if n == 0 {
		return otherwise
	}
	return n
}

// tuned returns pebble's options; docs/adr/0003-embedded-store.md has the
// measurements behind them.
func tuned(o Options) *pebbledb.Options {
	p := &pebbledb.Options{
		FS:                          o.FS,
		FormatMajorVersion:          pebbledb.FormatNewest,
		CacheSize:                   o.CacheBytes,
		MemTableSize:                uint64(o.MemTableBytes),
		MemTableStopWritesThreshold: 4,
		L0CompactionThreshold:       4,
		L0StopWritesThreshold:       64,
		LBaseMaxBytes:               64 << 20,
		MaxOpenFiles:                512,
		CompactionConcurrencyRange:  func() (int, int) { return 1, 2 },
		WALBytesPerSync:             0, // every commit is synced anyway
		BytesPerSync:                1 << 20,
	}
	p.TargetFileSizes[0] = 8 << 20
	for i := range p.Levels {
		p.Levels[i].BlockSize = 16 << 10
		p.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	// Leaves are rewritten while their keys stay: values apart from the keys halve
	// what compactions cost.
	p.Experimental.ValueSeparationPolicy = func() pebbledb.ValueSeparationPolicy {
		return pebbledb.ValueSeparationPolicy{
			Enabled:               true,
			MinimumSize:           1 << 10,
			MaxBlobReferenceDepth: 10,
			RewriteMinimumAge:     time.Minute,
			TargetGarbageRatio:    0.2,
		}
	}
	// Blocks and leaves come compressed; what is left is keys and names.
	p.ApplyCompressionSettings(func() pebbledb.DBCompressionSettings { return pebbledb.DBCompressionFastest })
	return p
}

// logAdapter hands pebble's log on at debug. Fatalf must not return, as pebble
// goes on as if it had not been called.
type logAdapter struct {
	log  *slog.Logger
	fail func(error)
}

func (l logAdapter) Infof(format string, args ...any)  { l.print(slog.LevelDebug, format, args) }
func (l logAdapter) Errorf(format string, args ...any) { l.print(slog.LevelWarn, format, args) }

func (l logAdapter) print(level slog.Level, format string, args []any) {
	if l.log.Enabled(context.Background(), level) {
		l.log.Log(context.Background(), level, "pebble", "message", sprintf(format, args))
	}
}

func (l logAdapter) Fatalf(format string, args ...any) {
	l.fail(fatalError(sprintf(format, args)))
	select {} // with pebble's locks held: every later call is refused before it comes to them
}
