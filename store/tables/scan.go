package tables

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"

	"sluice/store"
)

// Scan implements store.Rows.
func (s *Store) Scan(ctx context.Context, table string, r store.Range, token string) (store.Page, error) {
	page, err := s.scan(ctx, table, r, token)
	if errors.Is(err, store.ErrNotFound) {
		err = fmt.Errorf("%w: %s", store.ErrTableNotFound, err.Error())
	}
	return page, s.wrap(err, "scan %s", table)
}

func (s *Store) scan(ctx context.Context, table string, r store.Range, from string) (page store.Page, err error) {
	if err := store.CheckTable(table); err != nil {
		return store.Page{}, err
	}
	after, err := parseToken(from)
	if err != nil {
		return store.Page{}, err
	}
	o, ok := listOptions(r, after)
	if !ok {
		return store.Page{}, nil
	}
	err = s.do(ctx, call{
		send: func(ctx context.Context) error {
			_, err := s.service.NewClient(table).NewListEntitiesPager(o).NextPage(ctx)
			return err
		},
		read: func(ex *exchange) (err error) {
			page, err = readPage(ex, r, after)
			return err
		},
	})
	return page, dropped(err)
}

// listOptions is the request for a page. ok is false for a range that can have
// no row.
func listOptions(r store.Range, after token) (o *aztables.ListEntitiesOptions, ok bool) {
	expr, ok := filter(r, after)
	if !ok {
		return nil, false
	}
	top := int32(r.PageLimit())
	if after.top > 0 {
		top = min(top, int32(after.top))
	}
	o = &aztables.ListEntitiesOptions{Top: &top}
	if expr != "" {
		o.Filter = &expr
	}
	if r.Select != nil {
		names := strings.Join(append([]string{"PartitionKey", "RowKey"}, r.Select...), ",")
		o.Select = &names
	}
	if !after.own && after.partition != "" {
		o.NextPartitionKey = &after.partition
		if after.key != "" {
			o.NextRowKey = &after.key
		}
	}
	return o, true
}

// readPage reads a page up to store.MaxPageBytes. What the service has beyond
// that is left unread, and the next pages ask for fewer rows.
func readPage(ex *exchange, r store.Range, after token) (store.Page, error) {
	size, count := 0, 0
	rows, more, err := newDecoder(io.LimitReader(ex.body, maxPage)).page(func(row store.Row) bool {
		size, count = size+row.Size(), count+1
		return size >= store.MaxPageBytes || count >= r.PageLimit()
	})
	if err != nil {
		return store.Page{}, err
	}
	next := token{
		partition: ex.header.Get("x-ms-continuation-NextPartitionKey"),
		key:       ex.header.Get("x-ms-continuation-NextRowKey"),
		top:       topAfter(after.top, len(rows), size),
	}
	if more {
		last := rows[len(rows)-1]
		next = token{own: true, partition: last.Partition, key: last.Key, top: next.top}
	}
	page := store.Page{Rows: rows}
	if next.partition != "" {
		page.Next = next.String()
	}
	return page, nil
}

// topAfter is how many rows to ask for after a page: as many as one of that
// kind may have, and more again when rows get smaller. 0: as many as allowed.
func topAfter(top, rows, size int) int {
	switch {
	case size >= store.MaxPageBytes:
		return rows
	case 2*top >= store.MaxPage:
		return 0
	case size < store.MaxPageBytes/2:
		return 2 * top
	}
	return top
}
