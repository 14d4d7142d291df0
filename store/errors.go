package store

import (
	"errors"
	"fmt"
)

// What a store's caller decides by. Errors wrap them: use errors.Is.
var (
	ErrTableNotFound = errors.New("table not found")
	ErrNotFound      = errors.New("row not found")
	ErrExists        = errors.New("row exists")
	ErrStale         = errors.New("changed since it was read")
	ErrGone          = errors.New("epoch is gone")
	ErrThrottled     = errors.New("store is throttling")
	ErrUnavailable   = errors.New("store is not available")
	ErrNoAnswer      = errors.New("no answer: the write may have been done or not")
	ErrDenied        = errors.New("store refuses these credentials")
	ErrTooLarge      = errors.New("too large for the store")
	ErrInvalid       = errors.New("not valid for the store")
	ErrLocked        = errors.New("store is in use by another process")
	ErrFormat        = errors.New("written in a newer format")
	ErrCorrupt       = errors.New("stored data does not decode")
)

// RefusedError is what Append of a Journal returns where the store refuses some
// of the entries for good, however often they are sent: none of them is there.
// All others are durable.
type RefusedError struct {
	Entries []int // their indexes, ascending
	Err     error // why the last of them was
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("%d entries are refused for good, the others are durable: %v", len(e.Entries), e.Err)
}

// Unwrap returns the reason.
func (e *RefusedError) Unwrap() error { return e.Err }

// OpError says which operation of a transaction was refused.
type OpError struct {
	Index int
	Err   error
}

func (e *OpError) Error() string { return fmt.Sprintf("operation %d: %v", e.Index, e.Err) }

// Unwrap returns the reason.
func (e *OpError) Unwrap() error { return e.Err }
