package importer

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"sync"

	"golang.org/x/sync/errgroup"
)

// batchBytes is where a batch is full, whatever it holds: well below the
// least body that services take by default.
const batchBytes = 1 << 20

// batch is a body on its way.
type batch struct {
	lines []int // of each reading, in the file
	ends  []int // of each reading, in body
	body  []byte
}

func (b *batch) add(r record) {
	b.body = append(append(b.body, r.json...), '\n')
	b.lines = append(b.lines, r.line)
	b.ends = append(b.ends, len(b.body))
}

// part is the batch of the readings from i on, up to k.
func (b *batch) part(i, k int) *batch {
	start := 0
	if i > 0 {
		start = b.ends[i-1]
	}
	p := &batch{lines: b.lines[i:k], body: b.body[start:b.ends[k-1]]}
	for _, end := range b.ends[i:k] {
		p.ends = append(p.ends, end-start)
	}
	return p
}

// dispatch shares a file's readings out among workers by device, so that those
// of one device are sent one batch after the other, in the order of the file:
// of two readings of the same time the later one wins, as it would in one body.
type dispatch struct {
	ctx    context.Context
	send   *sender
	tally  *tally
	name   string
	size   int
	queues []chan *batch
	seed   maphash.Seed

	mu   sync.Mutex
	read int            // the line that is being read
	open map[*batch]int // batches that are not done, by their first line
}

func newDispatch(ctx context.Context, s *sender, t *tally, name string, c Config) *dispatch {
	d := &dispatch{ctx: ctx, send: s, tally: t, name: name, size: c.Batch, seed: maphash.MakeSeed(), open: map[*batch]int{}}
	for range c.Concurrency {
		d.queues = append(d.queues, make(chan *batch))
	}
	return d
}

// feed reads src to its end and sends all from line from on.
func (d *dispatch) feed(src source, from int) error {
	d.at(from)
	group, ctx := errgroup.WithContext(d.ctx)
	for _, queue := range d.queues {
		group.Go(func() error { return d.work(ctx, queue) })
	}
	group.Go(func() error {
		defer func() {
			for _, queue := range d.queues {
				close(queue)
			}
		}()
		return d.fill(ctx, src, from)
	})
	err := group.Wait()
	if d.ctx.Err() != nil {
		return errInterrupted
	}
	return err
}

// reached is the line before which everything is done.
func (d *dispatch) reached() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	least := d.read
	for _, first := range d.open {
		least = min(least, first)
	}
	return least
}

func (d *dispatch) fill(ctx context.Context, src source, from int) error {
	filling := make([]*batch, len(d.queues))
	for {
		r, err := src.next()
		var bad *lineError
		switch {
		case errors.Is(err, io.EOF):
			return d.flush(ctx, filling)
		case errors.As(err, &bad):
			d.refuse(bad, from)
			continue
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		}
		if err := d.take(ctx, filling, r, from); err != nil {
			return err
		}
	}
}

func (d *dispatch) refuse(bad *lineError, from int) {
	if bad.line >= from {
		d.tally.reject(d.name, bad.line, bad.err.Error())
	}
}

func (d *dispatch) take(ctx context.Context, filling []*batch, r record, from int) error {
	d.at(max(r.line, from))
	if r.line < from {
		return nil
	}
	d.tally.missing.Add(int64(r.missing))
	if r.json == nil {
		d.tally.blank.Add(1)
		return nil
	}
	i := int(maphash.String(d.seed, r.device) % uint64(len(filling)))
	if filling[i] == nil {
		filling[i] = d.begin(r.line)
	}
	filling[i].add(r)
	if len(filling[i].lines) < d.size && len(filling[i].body) < batchBytes {
		return nil
	}
	b := filling[i]
	filling[i] = nil
	return d.pass(ctx, i, b)
}

func (d *dispatch) flush(ctx context.Context, filling []*batch) error {
	for i, b := range filling {
		if b == nil {
			continue
		}
		if err := d.pass(ctx, i, b); err != nil {
			return err
		}
	}
	return nil
}

func (d *dispatch) pass(ctx context.Context, i int, b *batch) error {
	select {
	case d.queues[i] <- b:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (d *dispatch) at(line int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.read = line
}

func (d *dispatch) begin(line int) *batch {
	b := &batch{}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open[b] = line
	return b
}

func (d *dispatch) end(b *batch) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.open, b)
}

func (d *dispatch) work(ctx context.Context, queue <-chan *batch) error {
	for b := range queue {
		if err := d.deliver(ctx, b); err != nil {
			return err
		}
		d.end(b)
	}
	return nil
}

// deliver sends a batch, in halves if the service finds it too large.
func (d *dispatch) deliver(ctx context.Context, b *batch) error {
	v, err := d.send.send(ctx, b.body)
	if errors.Is(err, errTooLarge) {
		if n := len(b.lines); n > 1 {
			if err := d.deliver(ctx, b.part(0, n/2)); err != nil {
				return err
			}
			return d.deliver(ctx, b.part(n/2, n))
		}
		d.tally.reject(d.name, b.lines[0], err.Error())
		return nil
	}
	if err != nil {
		return err
	}
	if judged := v.Accepted + v.Rejected; judged != int64(len(b.lines)) {
		return fmt.Errorf("the service judged %d readings of %d", judged, len(b.lines))
	}
	d.count(b, v)
	return nil
}

func (d *dispatch) count(b *batch, v verdict) {
	d.tally.accepted.Add(v.Accepted)
	told := int64(0)
	for _, e := range v.Errors {
		if e.Index >= 0 && e.Index < len(b.lines) {
			d.tally.reject(d.name, b.lines[e.Index], e.Code+": "+e.Message)
			told++
		}
	}
	d.tally.rejectMany(max(v.Rejected-told, 0))
}
