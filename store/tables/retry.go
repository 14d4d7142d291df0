package tables

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"sluice/store"
)

// call is a call of a method: one request, sent until it is answered.
type call struct {
	write bool
	// stands says that a refusal of the write is as good from a second try as from
	// the first one: a table that exists was to be made.
	stands bool
	// quick says that the service answers as soon as it has the request: a row, a
	// transaction. A page may take it 5 seconds, a table longer.
	quick bool
	ops   int   // operations of a transaction; 0: none
	batch batch // of a transaction
	send  func(context.Context) error
	read  func(*exchange) error // reads a success's body; nil: there is none
}

// do sends a call's request, again where that is promising, and returns what a
// caller of store.Rows may see.
func (s *Store) do(ctx context.Context, c call) error {
	var doubt error // why a former try may have been done
	for attempt := 1; ; attempt++ {
		if err := ctx.Err(); err != nil {
			return ended(err, doubt)
		}
		f, wait := s.try(ctx, c)
		if f == nil {
			return nil
		}
		if err := ctx.Err(); err != nil && f.outcome == lost {
			return ended(err, f.err)
		}
		if c.write && f.outcome == lost {
			doubt = f.err
		}
		if f.final() || attempt == s.opts.Attempts || c.write && store.IsOnce(ctx) {
			return c.verdict(f, doubt, attempt)
		}
		pause := max(wait, s.pause(attempt))
		if wait > s.opts.MaxWait || late(ctx, s.opts.Now(), pause) {
			return c.verdict(f, doubt, attempt)
		}
		if err := s.opts.Sleep(ctx, pause); err != nil {
			return ended(err, f.err)
		}
	}
}

// ended is the error of a call whose context ended. As below, what went before
// is told, and not what the caller decides by.
func ended(err, last error) error {
	if last == nil {
		return err
	}
	return fmt.Errorf("%w, after: %s", err, last.Error())
}

// verdict is the error of a call whose last try failed. Once a try may have
// been done, a later one's refusal may be the former's own doing: nobody knows.
// Only what does not depend on the store's state stays as it is.
func (c call) verdict(f *failure, doubt error, attempts int) error {
	err := f.err
	switch {
	case doubt == nil, c.stands && f.outcome == refused, errors.Is(err, store.ErrInvalid), errors.Is(err, store.ErrTooLarge):
	case f.outcome == lost:
		err = fmt.Errorf("%w: %s", store.ErrNoAnswer, f.Error())
	default:
		err = fmt.Errorf("%w: %s; a former try: %s", store.ErrNoAnswer, f.Error(), doubt.Error())
	}
	if attempts > 1 {
		err = fmt.Errorf("%d tries: %w", attempts, err)
	}
	return err
}

// late says whether a pause would outlast the context's deadline.
func late(ctx context.Context, now time.Time, pause time.Duration) bool {
	deadline, ok := ctx.Deadline()
	return ok && now.Add(pause).After(deadline)
}

// pause is how long to wait after a try: doubled from try to try, half of it at
// random.
func (s *Store) pause(attempt int) time.Duration {
	d := min(s.opts.MaxPause, s.opts.FirstPause<<min(attempt-1, 20))
	return d/2 + time.Duration(s.opts.Random()*float64(d/2))
}

// try sends a request once, if the breaker lets it. nil: it succeeded. wait is
// what the service asked to wait.
func (s *Store) try(ctx context.Context, c call) (f *failure, wait time.Duration) {
	done, f := s.breaker.admit()
	if f != nil {
		return f, 0
	}
	ex := &exchange{batch: c.batch}
	defer ex.close()
	f, wait = s.exchange(ctx, c, ex)
	s.breaker.report(done, heard(ctx, ex, f))
	return f, wait
}

// heard is nil if a try was answered, whatever the answer, else why not.
func heard(ctx context.Context, ex *exchange, f *failure) error {
	switch {
	case ex.status != 0:
		return nil
	case ctx.Err() != nil || !ex.sent: // the caller went away, or there was no token
		return errUnsure
	default:
		return f
	}
}

func (s *Store) exchange(ctx context.Context, c call, ex *exchange) (f *failure, wait time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, s.patience(ctx, c))
	defer cancel()
	err := c.send(withExchange(ctx, ex))
	switch {
	case ex.status == 0:
		return s.unanswered(ex, err), 0
	case ex.status < 200 || ex.status >= 300:
		return s.refusal(ex, c), retryAfter(ex.header, s.opts.Now())
	case c.read == nil:
		_, _ = io.Copy(io.Discard, io.LimitReader(ex.body, maxError)) // so that the connection is kept
		return nil, 0
	}
	return s.readFailure(c.read(ex)), 0
}

// patience is how long a try may take: never so long that a lost answer would
// eat all that is left of the caller's deadline.
func (s *Store) patience(ctx context.Context, c call) time.Duration {
	const least, slowest = time.Second, 512 << 10 // bytes a second that are taken for a connection
	d := s.opts.TryTimeout
	if c.quick {
		d = min(d, s.opts.QuickTimeout+time.Duration(len(c.batch.body))*time.Second/slowest)
	}
	if deadline, ok := ctx.Deadline(); ok {
		d = min(d, max(least, deadline.Sub(s.opts.Now())/2))
	}
	return d
}

// unanswered is the failure of a request that has no answer.
func (s *Store) unanswered(ex *exchange, err error) *failure {
	if ex.tried.Load() {
		// Other idle connections may be as dead as this one was.
		s.transport.CloseIdleConnections()
		return &failure{lost, fmt.Errorf("%w: no answer: %s", store.ErrUnavailable, err.Error())}
	}
	var dns *net.DNSError
	switch {
	case !ex.sent:
		return s.unsent(err)
	case errors.As(err, &dns) && dns.IsNotFound:
		return &failure{busy, fmt.Errorf("%w: no host %s: is the account's name right?", store.ErrUnavailable, dns.Name)}
	default:
		return &failure{busy, fmt.Errorf("%w: no connection: %s", store.ErrUnavailable, err.Error())}
	}
}

// unsent is the failure of a request that could not be made: for want of a
// token, because nothing else can fail where the target was taken.
func (s *Store) unsent(err error) *failure {
	var failed *azidentity.AuthenticationFailedError
	switch {
	case s.account.key != "" || s.account.sas != "":
		return &failure{refused, fmt.Errorf("%w: the request cannot be made", store.ErrInvalid)} // the error may have the address
	case errors.As(err, &failed) && failed.RawResponse != nil && failed.RawResponse.StatusCode >= 500:
		return &failure{busy, fmt.Errorf("%w: the identity's token: status %d", store.ErrUnavailable, failed.RawResponse.StatusCode)}
	case temporary(err):
		return &failure{busy, fmt.Errorf("%w: the identity's token: %s", store.ErrUnavailable, firstLine(err))}
	default:
		return &failure{refused, fmt.Errorf("%w: no token for this identity (expired, or none is set up here): %s", store.ErrDenied, firstLine(err))}
	}
}

// temporary says whether an error is of the network.
func temporary(err error) bool {
	var e net.Error
	return errors.As(err, &e) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

func firstLine(err error) string {
	_, line := splitIndex(err.Error())
	return line
}

// refusal is the failure of a request whose answer is no success.
func (s *Store) refusal(ex *exchange, c call) *failure {
	body, _ := io.ReadAll(io.LimitReader(ex.body, maxError)) // what is missing is only explanation
	return judge(readRefusal(ex.status, ex.header, body), c.ops, requestID(ex.header))
}

// readFailure is the failure of a request whose success could not be read.
func (s *Store) readFailure(err error) *failure {
	var f *failure
	switch {
	case err == nil:
		return nil
	case errors.As(err, &f):
		return f
	case errors.Is(err, store.ErrCorrupt):
		return &failure{refused, err}
	default:
		return &failure{lost, fmt.Errorf("%w: answer that cannot be read: %s", store.ErrUnavailable, err.Error())}
	}
}

// final says whether another try is not to be made.
func (f *failure) final() bool { return f.outcome == refused || f.outcome == shut }

// Error lets a failure pass through what returns errors.
func (f *failure) Error() string { return f.err.Error() }

func requestID(h http.Header) string {
	id := h.Get("x-ms-request-id")
	for _, r := range id {
		if (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && r != '-' {
			return ""
		}
	}
	return id[:min(len(id), 64)]
}

// retryAfter is how long an answer asks to wait: 0 if it does not.
func retryAfter(h http.Header, now time.Time) time.Duration {
	for _, name := range []string{"retry-after-ms", "x-ms-retry-after-ms"} {
		if ms, err := strconv.ParseUint(h.Get(name), 10, 31); err == nil {
			return time.Duration(ms) * time.Millisecond
		}
	}
	text := h.Get("Retry-After")
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}
