package pebble

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"sluice/store"
)

// Transactions that read much before they are applied, of several writers of
// one partition: each that succeeds has counted all rows up by one.
func TestTransactionsExclude(t *testing.T) {
	const rows, writers, rounds = 100, 4, 40
	s := memory(t).Rows()
	ctx := context.Background()
	mustDo(t, s.CreateTable(ctx, "table1"))
	ops := func(kind store.OpKind, tags []store.ETag, value int64) []store.Op {
		out := make([]store.Op, rows)
		for i := range out {
			out[i] = store.Op{Kind: kind, Key: fmt.Sprintf("%03d", i), Properties: []store.Property{{Name: "Value", Value: value}}}
			if tags != nil {
				out[i].IfMatch = tags[i]
			}
		}
		return out
	}
	mustDo(t, s.Commit(ctx, "table1", "p", ops(store.Insert, nil, 0)))
	read := func() (tags []store.ETag, value int64) {
		p, err := s.Scan(ctx, "table1", store.InPartition("p", "", ""), "")
		if err != nil || len(p.Rows) != rows {
			t.Error(len(p.Rows), err)
			return make([]store.ETag, rows), 0
		}
		for _, r := range p.Rows {
			tags = append(tags, r.ETag)
		}
		return tags, p.Rows[0].Properties[0].Value.(int64)
	}
	var won atomic.Int64
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range rounds {
				tags, value := read()
				err := s.Commit(ctx, "table1", "p", ops(store.Touch, tags, value+1))
				if err == nil {
					won.Add(1)
				} else if !errors.Is(err, store.ErrStale) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if _, value := read(); value != won.Load() || value == 0 {
		t.Errorf("%d transactions succeeded and the rows say %d", won.Load(), value)
	}
}
