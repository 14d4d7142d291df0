package tables

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"
	"github.com/go-json-experiment/json"

	"sluice/store"
)

// CreateTable implements store.Rows.
func (s *Store) CreateTable(ctx context.Context, table string) error {
	err := store.CheckTable(table)
	if err == nil {
		err = s.do(ctx, call{write: true, stands: true, send: func(ctx context.Context) error {
			_, err := s.service.CreateTable(ctx, table, nil)
			return err
		}})
	}
	switch {
	case errors.Is(err, errTableExists):
		return nil
	case errors.Is(err, errTableDropped):
		err = fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	return s.wrap(err, "create table %s", table)
}

// DropTable implements store.Rows.
func (s *Store) DropTable(ctx context.Context, table string) error {
	err := store.CheckTable(table)
	if err == nil {
		err = s.do(ctx, call{write: true, stands: true, send: func(ctx context.Context) error {
			_, err := s.service.DeleteTable(ctx, table, nil)
			return err
		}})
	}
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrTableNotFound) || errors.Is(err, errTableDropped) {
		return nil
	}
	return s.wrap(err, "drop table %s", table)
}

// Tables implements store.Rows.
func (s *Store) Tables(ctx context.Context, prefix, token string) (names []string, next string, err error) {
	after, err := parseToken(token)
	if err != nil {
		return nil, "", s.wrap(err, "list tables")
	}
	terms, ok := between("TableName", prefix, store.PrefixEnd(prefix))
	if !ok {
		return nil, "", nil
	}
	o := &aztables.ListTablesOptions{}
	if filter := strings.Join(terms, " and "); filter != "" {
		o.Filter = &filter
	}
	if after.partition != "" {
		o.NextTableName = &after.partition
	}
	err = s.do(ctx, call{
		send: func(ctx context.Context) error {
			_, err := s.service.NewListTablesPager(o).NextPage(ctx)
			return err
		},
		read: func(ex *exchange) (err error) {
			names, next, err = readNames(ex, prefix)
			return err
		},
	})
	return names, next, s.wrap(err, "list tables")
}

func readNames(ex *exchange, prefix string) (names []string, next string, err error) {
	var page struct {
		Value *[]struct{ TableName string } `json:"value"`
	}
	if err := json.UnmarshalRead(io.LimitReader(ex.body, maxAnswer), &page); err != nil {
		return nil, "", err
	}
	if page.Value == nil { // not the Table service's: no tables would mean no data
		return nil, "", errors.New(`answer without "value"`)
	}
	for _, t := range *page.Value {
		if strings.HasPrefix(t.TableName, prefix) {
			names = append(names, t.TableName)
		}
	}
	slices.Sort(names)
	if t := ex.header.Get("x-ms-continuation-NextTableName"); t != "" {
		next = token{partition: t}.String()
	}
	return names, next, nil
}
