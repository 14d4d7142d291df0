package access

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"sluice/store"
)

// blocklist is the list of blocked devices as rows. It is one partition: a row a
// device, and one whose version changes with every change of the others, in the same
// transaction. So to see that nothing changed costs one row, and a scan, which is no
// snapshot, is done again if something did.
type blocklist struct{ rows store.Rows }

const (
	blockedTable     = "sluiceblocked"
	blockedPartition = "blocked"
	headKey          = "!head"
	deviceKey        = "d!"
	afterDevices     = "d\"" // the byte after !
	blockedFormat    = 1
	// MaxBlocked bounds the list, which every instance has in memory.
	MaxBlocked = 100_000
	// maxTries is how often a change is tried that somebody else was faster than.
	maxTries = 16
)

// ErrTooMany is why a device is not blocked.
var ErrTooMany = errors.New("too many devices are blocked")

// head is the row that says which version the list has.
type head struct {
	etag    store.ETag // "": there is no row
	version string
	count   int64
}

// head reads which version the list has; the zero head if nothing ever was blocked.
func (l blocklist) head(ctx context.Context) (head, error) {
	row, err := l.rows.Get(ctx, blockedTable, blockedPartition, headKey)
	if absent(err) {
		return head{}, nil
	}
	if err != nil {
		return head{}, fmt.Errorf("read the list of blocked devices: %w", err)
	}
	h := head{etag: row.ETag, count: row.Int("count"), version: row.Text("version")}
	format := row.Int("format")
	if format > blockedFormat {
		return head{}, fmt.Errorf("%w: %d of the list of blocked devices, this version reads up to %d", store.ErrFormat, format, blockedFormat)
	}
	return h, nil
}

// scan reads which devices are on the list.
func (l blocklist) scan(ctx context.Context) (map[string]struct{}, error) {
	ids := map[string]struct{}{}
	for token := ""; ; {
		page, err := l.rows.Scan(ctx, blockedTable, store.InPartition(blockedPartition, deviceKey, afterDevices), token)
		if err != nil {
			return nil, fmt.Errorf("read the list of blocked devices: %w", err)
		}
		for _, row := range page.Rows {
			ids[strings.TrimPrefix(row.Key, deviceKey)] = struct{}{}
		}
		if token = page.Next; token == "" {
			return ids, nil
		}
	}
}

// change puts a device on the list or takes it off; as it should be already, nothing
// is written. ErrTooMany; the store's error, after which either may be so.
func (l blocklist) change(ctx context.Context, device string, blocked bool) error {
	for range maxTries {
		done, err := l.tryChange(ctx, device, blocked)
		if done || err != nil {
			return err
		}
	}
	return fmt.Errorf("write the list of blocked devices: %w, %d times", store.ErrStale, maxTries)
}

// tryChange is not done if somebody else changed the list meanwhile.
func (l blocklist) tryChange(ctx context.Context, device string, blocked bool) (done bool, err error) {
	h, err := l.head(ctx)
	if err != nil {
		return false, err
	}
	is, err := l.has(ctx, device)
	if err != nil || is == blocked {
		return true, err
	}
	if blocked && h.count >= MaxBlocked {
		return false, fmt.Errorf("%w: %d, and no more than %d may be", ErrTooMany, h.count, MaxBlocked)
	}
	err = l.rows.Commit(ctx, blockedTable, blockedPartition, l.ops(h, device, blocked))
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, store.ErrExists), errors.Is(err, store.ErrStale), errors.Is(err, store.ErrNotFound):
		return false, nil
	case errors.Is(err, store.ErrTableNotFound):
		err = l.rows.CreateTable(ctx, blockedTable)
	}
	if err != nil {
		return false, fmt.Errorf("write the list of blocked devices: %w", err)
	}
	return false, nil
}

func (l blocklist) has(ctx context.Context, device string) (bool, error) {
	_, err := l.rows.Get(ctx, blockedTable, blockedPartition, deviceKey+device)
	if absent(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read the list of blocked devices: %w", err)
	}
	return true, nil
}

// ops change the list from the version that h has to another one.
func (l blocklist) ops(h head, device string, blocked bool) []store.Op {
	one := store.Op{Kind: store.Delete, Key: deviceKey + device, IfMatch: store.AnyTag}
	count := h.count - 1
	if blocked {
		one = store.Op{Kind: store.Insert, Key: deviceKey + device, Properties: []store.Property{{Name: "format", Value: int64(blockedFormat)}}}
		count = h.count + 1
	}
	version := store.Op{Kind: store.Insert, Key: headKey, Properties: []store.Property{
		{Name: "count", Value: count}, {Name: "format", Value: int64(blockedFormat)}, {Name: "version", Value: rand.Text()},
	}}
	if h.etag != "" {
		version.Kind, version.IfMatch = store.Replace, h.etag
	}
	return []store.Op{version, one}
}

func absent(err error) bool {
	return errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrTableNotFound)
}
