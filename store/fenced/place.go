package fenced

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"sluice/store"
)

const (
	tablePrefix = "sluicejournal"
	maxFences   = 64
	maxShard    = 9999
)

// place is where an epoch lies. As text, in store.Epoch, it is
// table/partition/fences.
type place struct {
	table     string
	partition string
	fences    int
}

func (p place) String() string { return fmt.Sprintf("%s/%s/%d", p.table, p.partition, p.fences) }

func partition(shard int) string { return fmt.Sprintf("%04d", shard) }

func checkShard(shard int) error {
	if shard < 0 || shard > maxShard {
		return fmt.Errorf("shard %d: 0 to %d: %w", shard, maxShard, store.ErrInvalid)
	}
	return nil
}

// parsePlace reads the place of a shard's epoch.
func parsePlace(shard int, text string) (place, error) {
	parts := strings.Split(text, "/")
	if len(parts) != 3 {
		return place{}, fmt.Errorf("place %q of an epoch: not table/partition/fences: %w", text, store.ErrInvalid)
	}
	p := place{table: parts[0], partition: parts[1]}
	var err error
	p.fences, err = strconv.Atoi(parts[2])
	switch {
	case err != nil || p.fences < 1 || p.fences > maxFences:
		return place{}, fmt.Errorf("place %q of an epoch: fences: 1 to %d: %w", text, maxFences, store.ErrInvalid)
	case !isJournalTable(p.table):
		return place{}, fmt.Errorf("place %q of an epoch: no table of journals: %w", text, store.ErrInvalid)
	case !strings.HasPrefix(p.partition, partition(shard)+"-"):
		return place{}, fmt.Errorf("place %q of an epoch: not of shard %d: %w", text, shard, store.ErrInvalid)
	}
	return p, nil
}

func isJournalTable(name string) bool {
	day, ok := strings.CutPrefix(name, tablePrefix)
	return ok && len(day) == len("20060102") && strings.Trim(day, "0123456789") == ""
}

func tableOf(day time.Time) string { return tablePrefix + day.UTC().Format("20060102") }

func fenceKey(i int) string { return fmt.Sprintf("!open%d", i) }

// fenceOps returns an operation for each fence.
func (p place) fenceOps(kind store.OpKind, match store.ETag, properties ...store.Property) []store.Op {
	ops := make([]store.Op, p.fences)
	for i := range ops {
		ops[i] = store.Op{Kind: kind, Key: fenceKey(i), IfMatch: match, Properties: properties}
	}
	return ops
}
