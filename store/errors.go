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

// OpError says which operation of a transaction was refused.
type OpError struct {
	Index int
	Err   error
}

func (e *OpError) Error() string { return fmt.Sprintf("operation %d: %v", e.Index, e.Err) }

// Unwrap returns the reason.
func (e *OpError) Unwrap() error { return e.Err }
