package deadletters

import (
	"context"
	"time"

	"sluice/store"
)

// Keep is how long a letter is kept.
const Keep = 30 * 24 * time.Hour

// MaxBody is the most of a body that is kept.
const MaxBody = 2 << 20

// Store keeps letters in rows. Its methods may be called concurrently, also by
// several processes.
type Store struct {
	rows store.Rows
	now  func() time.Time
}

// New makes a store of letters in rows (those of a store's first account). It does
// nothing yet: its table is made with the first letter.
func New(rows store.Rows, now func() time.Time) *Store { return &Store{rows: rows, now: now} }

// Put keeps letters, each once: those that are there already, or were, are left as
// they are, so that an event may be delivered any number of times. Nil means that
// all are durable; failed, some may be, and putting them again is safe. No letter
// is refused for what is in it.
func (s *Store) Put(ctx context.Context, letters []Letter) error { panic("not yet") }

// List returns up to limit letters, newest first by the time of their events,
// without bodies, and where the next page begins: "" after the last one. A page may
// be short, or empty, and still have a next one. cursor is "" or a former next.
func (s *Store) List(ctx context.Context, limit int, cursor string) (letters []Letter, next string, err error) {
	panic("not yet")
}

// Get reads a letter with its body. ErrUnknown.
func (s *Store) Get(ctx context.Context, id string) (Letter, error) { panic("not yet") }

// Drop gives a letter up; one that is done already stays so. ErrUnknown if there
// never was one, or its time is over.
func (s *Store) Drop(ctx context.Context, id string) error { panic("not yet") }

// Purge removes letters, and what remembers those that are done, Keep after they
// were received; bounded, so that the rest is for the next run. It returns how many
// went.
func (s *Store) Purge(ctx context.Context) (int, error) { panic("not yet") }

// Count counts the letters; more says that there are others. It is bounded and may
// be half a minute old.
func (s *Store) Count(ctx context.Context) (n int, more bool, err error) { panic("not yet") }

// Replay has r judge a letter again. If everything of it is durable by now, the
// letter is done, else it stays with the new reason. ErrUnknown, ErrCut; r's error.
func (s *Store) Replay(ctx context.Context, r Replayer, id string) (Verdicts, error) {
	panic("not yet")
}
