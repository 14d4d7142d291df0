// Package pebble is the embedded store: rows and journal in one folder, kept
// by the pure Go engine of that name. What a method has answered is synced to
// the disk. One process owns a folder.
package pebble

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"sync"
	"time"

	pebbledb "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"sluice/store"
)

// Store is an open folder. It may be used concurrently.
type Store struct {
	dir     string
	opts    Options
	files   *cutFS
	log     *slog.Logger
	db      *pebbledb.DB
	lock    *folderLock
	disk    *diskGuard
	numbers *numbers
	failed  failure
	rows    *rows
	journal *journal

	reclaimer *reclaimer

	using   sync.RWMutex // held for reading by every call under way
	closed  bool
	closing sync.Once
	burying sync.Once
}

// Open opens the folder dir, which is made if it is missing. It reads nothing
// that can wait. store.ErrLocked while another process has it (the message says
// which), store.ErrFormat if a newer version has written it.
func Open(dir string, opts Options) (*Store, error) {
	opts = opts.withDefaults()
	if err := makeFolder(opts.FS, dir); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	lock, err := lockFolder(opts.FS, dir, opts.Now())
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	s := newStore(dir, opts)
	s.lock = lock
	if err := s.start(); err != nil {
		return nil, errors.Join(err, lock.release())
	}
	return s, nil
}

func newStore(dir string, opts Options) *Store {
	files := &cutFS{FS: opts.FS}
	opts.FS = files
	s := &Store{dir: dir, opts: opts, files: files, log: opts.Logger}
	s.failed.report = s.reportFailure
	return s
}

// start opens the folder, of which the lock is held.
func (s *Store) start() error {
	if err := s.openLocked(); err != nil {
		if s.db != nil {
			err = errors.Join(err, s.db.Close())
		}
		return fmt.Errorf("open store in %q: %w", s.dir, err)
	}
	s.reclaimer = newReclaimer(s.db, s.log)
	return nil
}

func (s *Store) openLocked() error {
	s.disk = newDiskGuard(s.opts, s.dir)
	s.disk.witness = s.opts.FS.PathJoin(s.dir, ownerFile)
	p := tuned(s.opts)
	p.Logger = logAdapter{log: s.log, fail: s.failed.set}
	p.EventListener = s.events()
	db, err := pebbledb.Open(s.dir, p)
	if err != nil {
		return explain(err)
	}
	s.db = db
	if s.numbers, err = s.begin(); err != nil {
		return err
	}
	if s.rows, err = openRows(s); err != nil {
		return err
	}
	s.journal = newJournal(s)
	return nil
}

// explain gives pebble's refusals the meaning that a caller decides by.
func explain(err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: the process must be able to write to the folder and its files", err)
	case strings.Contains(err.Error(), "format major version"):
		return fmt.Errorf("%w: use the version of the program that wrote it, or a newer one: %w", err, store.ErrFormat)
	}
	return err
}

// Rows is the store's rows.
func (s *Store) Rows() store.Rows { return s.rows }

// Journal is the store's journal.
func (s *Store) Journal() store.Journal { return s.journal }

// Close ends the store after the calls that are under way, writes what is in
// memory as tables, so that the next start has nothing to read back, and frees
// the folder. Later calls fail with store.ErrUnavailable. Closing again does
// nothing.
func (s *Store) Close() (err error) {
	s.closing.Do(func() { err = s.close() })
	return err
}

func (s *Store) close() error {
	if err := s.failed.get(); err != nil {
		// Pebble cannot be closed after it failed, and calls that were under way
		// may never come back. The folder stays locked until the process ends.
		return err
	}
	s.reclaimer.end()
	s.using.Lock()
	defer s.using.Unlock()
	s.closed = true
	if err := s.db.Flush(); err != nil {
		s.log.Warn("store: flush before close", "error", err)
	}
	if err := s.db.Close(); err != nil {
		return errors.Join(fmt.Errorf("close store in %q: %w", s.dir, err), s.lock.release())
	}
	return s.lock.release()
}

// Reopen opens the folder again after the store has failed, in the same process
// and as if that had been killed: nothing of the failed store changes a file any
// more. It waits for what the system is writing at the moment. Calls that are
// under way in the failed store get errors, or never return. onFatal is as in
// Options. While the disk is still full or broken it is an error; then it may be
// called again.
func (s *Store) Reopen(onFatal func(error)) (*Store, error) {
	s.failed.set(errCut)
	s.files.cut()
	s.burying.Do(func() { go s.bury() })
	opts := s.opts
	opts.FS, opts.OnFatal = s.files.FS, onFatal
	if err := tryDisk(opts, s.dir); err != nil {
		return nil, fmt.Errorf("open store again: %w", err)
	}
	again := newStore(s.dir, opts)
	again.lock = s.lock
	if err := again.start(); err != nil {
		again.files.cut()
		return nil, err
	}
	return again, nil
}

// bury frees what a failed store holds, as soon as nobody is in it.
func (s *Store) bury() {
	defer func() {
		if r := recover(); r != nil {
			s.log.Debug("store: a failed store could not be closed", "error", fmt.Sprint(r))
		}
	}()
	s.reclaimer.end()
	for range 600 {
		if s.using.TryLock() {
			defer s.using.Unlock()
			s.closed = true
			_ = s.db.Close() // it fails: its files are taken away
			return
		}
		time.Sleep(time.Second)
	}
}

// use begins a call: end must be called if err is nil.
func (s *Store) use(ctx context.Context) (end func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := s.failed.get(); err != nil {
		return nil, err
	}
	s.using.RLock()
	if s.closed {
		s.using.RUnlock()
		return nil, fmt.Errorf("store in %q is closed: %w", s.dir, store.ErrUnavailable)
	}
	return s.using.RUnlock, nil
}

// Healthy says whether the store can go on at all: an error means that it must
// be opened again.
func (s *Store) Healthy() error { return s.failed.get() }

// Ready says whether the store takes writes.
func (s *Store) Ready() error {
	if err := s.failed.get(); err != nil {
		return err
	}
	return s.disk.check(adds)
}

// DiskUsage is the bytes of the store's files, and of the disk they lie on the
// free ones (0 where the file system does not tell).
func (s *Store) DiskUsage() (used, free uint64, err error) {
	end, err := s.use(context.Background())
	if err != nil {
		return 0, 0, err
	}
	defer end()
	if used, err = sizeOf(s.opts.FS, s.dir); err != nil {
		return 0, 0, err
	}
	if u, err := s.opts.FS.GetDiskUsage(s.dir); err == nil {
		free = u.AvailBytes
	}
	return used, free, nil
}

// sizeOf adds up the files of a folder. Pebble's own sum (DiskSpaceUsage) falls
// below zero while files are being removed.
func sizeOf(fs vfs.FS, dir string) (size uint64, err error) {
	names, err := fs.List(dir)
	if err != nil {
		return 0, fmt.Errorf("list the store's files: %w", err)
	}
	for _, name := range names {
		// One that is not there any more has no size.
		if info, err := fs.Stat(fs.PathJoin(dir, name)); err == nil && !info.IsDir() {
			size += uint64(info.Size())
		}
	}
	return size, nil
}

func (s *Store) events() *pebbledb.EventListener {
	return &pebbledb.EventListener{
		// Failed flushes and compactions are tried again by pebble; what they would
		// have written is still in the log.
		BackgroundError: func(err error) { s.log.Warn("store: background work failed, it is tried again", "error", err) },
		DataCorruption: func(i pebbledb.DataCorruptionInfo) {
			s.log.Error("store: a file is corrupt", "path", i.Path, "error", i.Details)
		},
		WriteStallBegin: func(i pebbledb.WriteStallBeginInfo) {
			s.log.Warn("store: writes wait for compactions", "reason", i.Reason)
		},
		WriteStallEnd: func() { s.log.Info("store: writes go on") },
	}
}

func (s *Store) reportFailure(err error) {
	s.log.Error("store: it cannot go on; the folder must be opened again", "folder", s.dir, "error", err, "at", s.opts.Now().UTC().Format(time.RFC3339Nano))
	s.opts.OnFatal(err)
}
