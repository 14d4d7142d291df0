package progress

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"sluice/hub"
	"sluice/store"
)

var _ hub.Checkpoints = (*Store)(nil)

// Owners implements hub.Checkpoints.
func (s *Store) Owners(ctx context.Context) ([]hub.Owner, error) {
	var all []hub.Owner
	err := s.scan(ctx, ownerKey, func(row store.Row) error {
		all = append(all, ownerOf(row))
		return checkFormat(row)
	})
	if err != nil {
		return nil, fmt.Errorf("read who consumes which partition: %w", err)
	}
	return all, nil
}

func ownerOf(row store.Row) hub.Owner {
	return hub.Owner{Partition: row.Text("id"), ID: row.Text("owner"), Since: timeOf(row, "since"), Version: string(row.ETag)}
}

// Claim implements hub.Checkpoints. Failed, some may be written.
func (s *Store) Claim(ctx context.Context, owners []hub.Owner) ([]hub.Owner, error) {
	var claimed []hub.Owner
	for _, o := range owners {
		now, ok, err := s.claim(ctx, o)
		if err != nil {
			return claimed, fmt.Errorf("claim partition %s: %w", o.Partition, err)
		}
		if ok {
			claimed = append(claimed, now)
		}
	}
	return claimed, nil
}

// claim writes an owner over the version that it has; false: somebody else was
// first.
func (s *Store) claim(ctx context.Context, o hub.Owner) (hub.Owner, bool, error) {
	o.Since = s.now().UTC()
	op := store.Op{Kind: store.Insert, Key: ownerKey + url.PathEscape(o.Partition), Properties: []store.Property{
		{Name: "format", Value: int64(format)},
		{Name: "id", Value: o.Partition},
		{Name: "owner", Value: o.ID},
		{Name: "since", Value: nanos(o.Since)},
	}}
	if o.Version != "" {
		op.Kind, op.IfMatch = store.Replace, store.ETag(o.Version)
	}
	// Also a write that seems refused may be ours, sent twice: the row tells.
	if err := s.commit(ctx, op); err != nil && !open(err) {
		return o, false, err
	}
	row, err := s.rows.Get(ctx, Table, s.partition, op.Key)
	if errors.Is(err, store.ErrNotFound) {
		return o, false, nil
	}
	if err != nil {
		return o, false, err
	}
	now := ownerOf(row)
	return now, now.ID == o.ID && now.Since.Equal(o.Since), nil
}

// Places implements hub.Checkpoints.
func (s *Store) Places(ctx context.Context) ([]hub.Place, error) {
	all, err := s.All(ctx)
	if err != nil {
		return nil, err
	}
	var places []hub.Place
	for _, p := range all {
		if !p.Enqueued.IsZero() {
			places = append(places, hub.Place{Partition: p.Partition, Sequence: p.Sequence})
		}
	}
	return places, nil
}
