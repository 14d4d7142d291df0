package storetest

import (
	"context"
	"fmt"
	"sync"

	"sluice/store"
)

// Call is a call that is about to be done: which fields are set follows from
// the method.
type Call struct {
	Context context.Context // the caller's, so that a test can tell who calls
	Method  string          // of store.Rows or store.Journal
	Write   bool            // it changes the store
	Once    bool            // it is sent at most once (store.Once)

	// Of store.Rows.
	Table, Partition, Key string
	Ops                   []store.Op
	Range                 store.Range

	// Of store.Journal.
	Shard   int
	Epoch   store.Epoch // of Seal, Tail and Scan
	Bucket  int
	Entries []store.Entry
	Head    store.Head // of Open, and what Update begins from
	To      store.Head // of Update

	Token string // of pages
}

func (c Call) String() string {
	return fmt.Sprintf("%s %s%s %s shard %d %s", c.Method, c.Table, c.Partition, c.Key, c.Shard, c.Epoch.Place)
}

// Hook decides what becomes of a call. It may block, for instance until a test
// lets that caller go on; the call is done in the caller's goroutine after Hook
// has returned. It is called concurrently if the store is.
type Hook func(Call) Verdict

// Verdict is what becomes of a call. The zero Verdict lets it pass.
type Verdict struct {
	before error
	after  error
	float  bool
	twin   bool
	cut    bool
	rows   int
}

// Pass does the call.
func Pass() Verdict { return Verdict{} }

// Fail fails the call before anything is done: with store.ErrThrottled,
// store.ErrUnavailable, a context's error.
func Fail(err error) Verdict { return Verdict{before: err} }

// Lose does the call and loses the answer: store.ErrNoAnswer, for a read
// store.ErrUnavailable.
func Lose() Verdict { return Verdict{after: store.ErrNoAnswer} }

// Float gives up waiting now, with store.ErrNoAnswer; a write lands when the
// test says so (Floating.Land), or never. A read fails with
// store.ErrUnavailable.
func Float() Verdict { return Verdict{float: true} }

// Twin does the call; a copy of it lands when the test says so (Floating.Land),
// or never, as where a client or a proxy sends again what it was not sure of.
// What is sent under store.Once has no copy.
func Twin() Verdict { return Verdict{twin: true} }

// Cut ends a page after at most that many rows (entries, names), also 0, with a
// continuation. Other calls pass.
func Cut(rows int) Verdict { return Verdict{cut: true, rows: rows} }

// Floating are the calls that their callers gave up and that have not landed.
// It may be used concurrently.
type Floating struct {
	mu    sync.Mutex
	calls []floatingCall
}

type floatingCall struct {
	call Call
	do   func(context.Context) error
}

// Calls returns the floating calls, oldest first.
func (f *Floating) Calls() []Call {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []Call
	for _, c := range f.calls {
		out = append(out, c.call)
	}
	return out
}

// Len is the number of floating calls.
func (f *Floating) Len() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.calls)
}

// Land does the i-th floating call and returns what its caller will never
// learn.
func (f *Floating) Land(i int) error {
	c := f.take(i)
	return c.do(context.WithoutCancel(c.call.Context))
}

// Lose forgets the i-th floating call: it never lands.
func (f *Floating) Lose(i int) { f.take(i) }

func (f *Floating) take(i int) floatingCall {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.calls[i]
	f.calls = append(f.calls[:i:i], f.calls[i+1:]...)
	return c
}

func (f *Floating) add(c floatingCall) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, c)
}

// faults does calls as its hook says.
type faults struct {
	Floating
	hook Hook
}

func (f *faults) write(c Call, do func(context.Context) error) error {
	c.Write, c.Once = true, store.IsOnce(c.Context)
	v := f.hook(c)
	switch {
	case v.before != nil:
		return fault(c, v.before)
	case v.float:
		f.add(floatingCall{c, do})
		return fault(c, store.ErrNoAnswer)
	}
	err := do(c.Context)
	if v.twin && !c.Once {
		f.add(floatingCall{c, do})
	}
	if v.after != nil {
		return fault(c, v.after)
	}
	return err
}

// read does a read. do gets the verdict, for pages that are to be cut.
func (f *faults) read(c Call, do func(Verdict) error) error {
	v := f.hook(c)
	switch {
	case v.before != nil:
		return fault(c, v.before)
	case v.float, v.after != nil:
		return fault(c, store.ErrUnavailable)
	}
	return do(v)
}

func fault(c Call, err error) error { return fmt.Errorf("injected fault, %s: %w", c.Method, err) }

// remains keeps what was cut off pages until it is asked for.
type remains[T any] struct {
	mu   sync.Mutex
	kept []rest[T]
}

type rest[T any] struct {
	items []T
	next  string
}

const restPrefix = "rest:"

// cut divides a page after n items and returns the first part and its token.
func (r *remains[T]) cut(items []T, next string, n int) ([]T, string) {
	n = max(0, min(n, len(items)))
	r.mu.Lock()
	defer r.mu.Unlock()
	r.kept = append(r.kept, rest[T]{items[n:], next})
	return items[:n:n], fmt.Sprint(restPrefix, len(r.kept)-1)
}

// page gives a page: a rest, or what fetch gives for a token of the store's
// own, cut if the verdict says so.
func (r *remains[T]) page(v Verdict, token string, fetch func() ([]T, string, error)) ([]T, string, error) {
	items, next, err := r.whole(token, fetch)
	if err == nil && v.cut {
		items, next = r.cut(items, next, v.rows)
	}
	return items, next, err
}

func (r *remains[T]) whole(token string, fetch func() ([]T, string, error)) ([]T, string, error) {
	var i int
	if _, err := fmt.Sscanf(token, restPrefix+"%d", &i); err != nil {
		return fetch()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if i >= len(r.kept) {
		return nil, "", fmt.Errorf("token %q: no page gave it: %w", token, store.ErrInvalid)
	}
	return r.kept[i].items, r.kept[i].next, nil
}
