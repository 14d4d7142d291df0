package fenced

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"sluice/store"
)

const (
	headTable = "sluiceheads"
	headKey   = "head"
	format    = int64(1)
	maxState  = 1 << 10
	// maxEpochs keeps a head well below what a property may hold. A shard whose
	// compactor lags has a few epochs.
	maxEpochs = 200
)

// epochJSON is an epoch as the head shows it.
type epochJSON struct {
	Number uint64    `json:"number"`
	Place  string    `json:"place"`
	Opened time.Time `json:"opened"`
}

// Head implements store.Journal.
func (j *Journal) Head(ctx context.Context, shard int) (store.Head, error) {
	head, err := j.readHead(ctx, shard)
	if err != nil {
		return store.Head{}, fmt.Errorf("read head of shard %d: %w", shard, err)
	}
	return head, nil
}

func (j *Journal) readHead(ctx context.Context, shard int) (store.Head, error) {
	if err := checkShard(shard); err != nil {
		return store.Head{}, err
	}
	row, err := j.rows(shard).Get(ctx, headTable, partition(shard), headKey)
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrTableNotFound) {
		return store.Head{}, nil
	}
	if err != nil {
		return store.Head{}, err
	}
	head, err := decodeHead(shard, row)
	if err == nil {
		j.learn(shard, head)
	}
	return head, err
}

func decodeHead(shard int, row store.Row) (store.Head, error) {
	if err := checkFormat(row); err != nil {
		return store.Head{}, err
	}
	var list []epochJSON
	if err := json.Unmarshal([]byte(row.Text("Epochs")), &list); err != nil {
		return store.Head{}, fmt.Errorf("epochs of the head: %w: %w", store.ErrCorrupt, err)
	}
	head := store.Head{State: row.Bytes("State"), Version: string(row.ETag)}
	for i, e := range list {
		if _, err := parsePlace(shard, e.Place); err != nil {
			return store.Head{}, fmt.Errorf("epoch %d of the head: %w: %w", i, store.ErrCorrupt, err)
		}
		head.Epochs = append(head.Epochs, store.Epoch{Number: e.Number, Place: e.Place, Opened: e.Opened.UnixNano()})
	}
	if len(list) == 0 {
		return store.Head{}, fmt.Errorf("a head without epochs: %w", store.ErrCorrupt)
	}
	return head, nil
}

// checkFormat refuses what a newer version has written.
func checkFormat(row store.Row) error {
	switch f, ok := row.Property("Format").(int64); {
	case !ok || f < 1:
		return fmt.Errorf("a row without its format: %w", store.ErrCorrupt)
	case f > format:
		return fmt.Errorf("format %d, this version reads up to %d: %w", f, format, store.ErrFormat)
	}
	return nil
}

// writeHead writes a head under the condition that it still has head.Version,
// or that there is none.
func (j *Journal) writeHead(ctx context.Context, shard int, head store.Head) error {
	op, err := headOp(head)
	if err != nil {
		return err
	}
	rows, ops := j.rows(shard), []store.Op{op}
	err = rows.Commit(ctx, headTable, partition(shard), ops)
	if errors.Is(err, store.ErrTableNotFound) && head.Version == "" {
		if err := rows.CreateTable(ctx, headTable); err != nil {
			return fmt.Errorf("create table of heads: %w", err)
		}
		err = rows.Commit(ctx, headTable, partition(shard), ops)
	}
	if errors.Is(err, store.ErrExists) || errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrTableNotFound) {
		// A head's ErrExists must not pass for that of a commit's rows.
		return fmt.Errorf("%w: %s", store.ErrStale, err.Error())
	}
	return err
}

func headOp(head store.Head) (store.Op, error) {
	switch {
	case len(head.State) > maxState:
		return store.Op{}, fmt.Errorf("state of %d bytes, at most %d: %w", len(head.State), maxState, store.ErrTooLarge)
	case len(head.Epochs) > maxEpochs:
		return store.Op{}, fmt.Errorf("%d epochs in the head, at most %d: merge some first: %w", len(head.Epochs), maxEpochs, store.ErrTooLarge)
	}
	list := make([]epochJSON, len(head.Epochs))
	for i, e := range head.Epochs {
		list[i] = epochJSON{Number: e.Number, Place: e.Place, Opened: time.Unix(0, e.Opened).UTC()}
	}
	text, err := json.Marshal(list)
	if err != nil {
		return store.Op{}, fmt.Errorf("encode epochs: %w", err)
	}
	op := store.Op{Kind: store.Replace, Key: headKey, IfMatch: store.ETag(head.Version), Properties: []store.Property{
		{Name: "Epochs", Value: string(text)}, {Name: "Format", Value: format}, {Name: "State", Value: append([]byte{}, head.State...)},
	}}
	if head.Version == "" {
		op.Kind = store.Insert
	}
	return op, nil
}

// Update implements store.Journal.
func (j *Journal) Update(ctx context.Context, shard int, from, to store.Head) error {
	err := checkUpdate(shard, from, to)
	if err == nil {
		err = j.writeHead(ctx, shard, store.Head{Epochs: to.Epochs, State: to.State, Version: from.Version})
	}
	if err != nil {
		return fmt.Errorf("update head of shard %d: %w", shard, err)
	}
	return nil
}

func checkUpdate(shard int, from, to store.Head) error {
	if err := checkShard(shard); err != nil {
		return err
	}
	if from.Version == "" || len(from.Epochs) == 0 || from.Version == string(store.AnyTag) {
		return fmt.Errorf("from a head that was not read: %w", store.ErrInvalid)
	}
	if len(to.Epochs) == 0 || to.Epochs[len(to.Epochs)-1] != from.Epochs[len(from.Epochs)-1] {
		return fmt.Errorf("the newest epoch stays: %w", store.ErrInvalid)
	}
	rest := from.Epochs
	for _, e := range to.Epochs {
		i := slices.Index(rest, e)
		if i < 0 {
			return fmt.Errorf("epoch %d at %q is not one that was read, in their order: %w", e.Number, e.Place, store.ErrInvalid)
		}
		rest = rest[i+1:]
	}
	return nil
}
