package tables

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"

	"sluice/store"
)

// Get implements store.Rows.
func (s *Store) Get(ctx context.Context, table, partition, key string) (store.Row, error) {
	row, err := s.get(ctx, table, partition, key)
	return row, s.wrap(err, "get row %s %q %q", table, clip(partition), clip(key))
}

func (s *Store) get(ctx context.Context, table, partition, key string) (row store.Row, err error) {
	if err := store.CheckTable(table); err != nil {
		return store.Row{}, err
	}
	if store.CheckKey(partition) != nil || store.CheckKey(key) != nil {
		return store.Row{}, fmt.Errorf("no row can have that key: %w", store.ErrNotFound)
	}
	err = s.do(ctx, call{
		quick: true,
		send: func(ctx context.Context) error {
			_, err := s.service.NewClient(table).GetEntity(ctx, partition, key, nil)
			return err
		},
		read: func(ex *exchange) (err error) {
			d := newDecoder(io.LimitReader(ex.body, maxAnswer))
			if row, err = d.row(); err == nil {
				err = d.rest()
			}
			if err == nil && (row.Partition != partition || row.Key != key) {
				err = fmt.Errorf("answer has row %q %q", clip(row.Partition), clip(row.Key))
			}
			if err == nil && row.ETag == "" {
				row.ETag = store.ETag(ex.header.Get("ETag"))
			}
			return err
		},
	})
	return row, dropped(err)
}

// dropped says of a table that is being deleted what is said of one that is
// gone.
func dropped(err error) error {
	if errors.Is(err, errTableDropped) {
		return fmt.Errorf("%w: %s", store.ErrTableNotFound, err.Error())
	}
	return err
}

// Commit implements store.Rows. A Touch with properties first reads the row, to
// see that it does not grow over the limits: Azurite does not.
func (s *Store) Commit(ctx context.Context, table, partition string, ops []store.Op) error {
	return s.wrap(s.commit(ctx, table, partition, ops), "commit to %s %q", table, clip(partition))
}

func (s *Store) commit(ctx context.Context, table, partition string, ops []store.Op) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := checkCommit(table, partition, ops); err != nil {
		return err
	}
	if err := s.checkGrowth(ctx, table, partition, ops); err != nil {
		return err
	}
	err := s.do(ctx, call{
		write: true,
		quick: true,
		ops:   len(ops),
		batch: encodeBatch(s.account.endpoint+"/"+table, partition, ops),
		send: func(ctx context.Context) error {
			_, err := s.service.NewClient(table).SubmitTransaction(ctx, placeholder, nil)
			return err
		},
		read: func(ex *exchange) error { return readCommit(ex, len(ops)) },
	})
	return dropped(err)
}

// placeholder is the transaction that aztables is given: bodyPolicy puts ours
// in its place.
var placeholder = []aztables.TransactionAction{{
	ActionType: aztables.TransactionTypeDelete,
	Entity:     []byte(`{"PartitionKey":"-","RowKey":"-"}`),
}}

func checkCommit(table, partition string, ops []store.Op) error {
	if err := store.CheckTable(table); err != nil {
		return err
	}
	if err := store.CheckOps(partition, ops); err != nil {
		return err
	}
	for i, o := range ops {
		if strings.ContainsFunc(string(o.IfMatch), func(r rune) bool { return r < ' ' || r > '~' }) {
			return &store.OpError{Index: i, Err: fmt.Errorf("an ETag that no row has: %w", store.ErrInvalid)}
		}
	}
	return nil
}

// checkGrowth says whether a Touch would make its row too large. A row that is
// not there, or has another ETag, is the service's to refuse.
func (s *Store) checkGrowth(ctx context.Context, table, partition string, ops []store.Op) error {
	for i, o := range ops {
		if o.Kind != store.Touch || len(o.Properties) == 0 {
			continue
		}
		row, err := s.get(ctx, table, partition, o.Key)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		row.Properties = store.Merged(row.Properties, o.Properties)
		if err := store.CheckRow(row); err != nil {
			return &store.OpError{Index: i, Err: err}
		}
	}
	return nil
}

// readCommit reads a transaction's answer. A success has an answer for each
// operation and reaches its end: else nobody knows.
func readCommit(ex *exchange, n int) error {
	const usual = 512 // bytes an operation
	var body bytes.Buffer
	body.Grow(usual * (n + 1))
	if _, err := body.ReadFrom(io.LimitReader(ex.body, maxAnswer)); err != nil {
		return err
	}
	switch a := readBatch(body.Bytes()); {
	case a.refused != nil:
		return judge(*a.refused, n, requestID(ex.header))
	case a.done != n || !a.whole:
		return fmt.Errorf("%d of %d operations answered", a.done, n)
	}
	return nil
}
