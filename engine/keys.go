package engine

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"
)

const nanosPerDay = int64(24 * time.Hour)

// day is the day of a time, counted from the Unix epoch, in UTC.
func day(nanos int64) int64 {
	d := nanos / nanosPerDay
	if nanos%nanosPerDay < 0 {
		d--
	}
	return d
}

// leafTable is the table of the leaves of one day of event time.
func leafTable(day int64) string {
	return leafTables + time.Unix(day*86400, 0).UTC().Format("20060102")
}

// dayOfTable is the inverse of leafTable.
func dayOfTable(table string) (int64, bool) {
	t, err := time.Parse("20060102", strings.TrimPrefix(table, leafTables))
	return t.Unix() / 86400, err == nil
}

func partition(shard int) string { return fmt.Sprintf("%04d", shard) }

// place finds a device's shard and bucket by xxHash64 of its id, which must
// never change for a store: see hashName.
func place(device string, shards, buckets int) (shard, bucket int) {
	h := xxhash.Sum64String(device)
	n, b := uint64(shards), uint64(buckets)
	return int(h % n), int(h / n % b)
}

// Keys of leaves. '!' sorts below every character of a device id.
func openKey(device string) string                  { return "o!" + device }
func closedKey(device string, high position) string { return "c!" + device + "!" + string(high) }

// closedRange are the keys of a device's closed leaves whose upper bound is at
// or above from.
func closedRange(device string, from position) (lower, upper string) {
	return closedKey(device, from), "c!" + device + "\""
}

// position is a bound between values of a device's day, in the order of (time,
// metric): "everything up to and including". As text it sorts as it compares:
// the time in 19 digits, then '~' for all of its metrics, or '!' and a
// metric's name in hexadecimal for those up to that one, which occurs only
// where the values of one time do not fit into one leaf. "" is before all.
type position string

// end is the upper bound of the open leaf. It is never part of a key.
const end position = "~"

func upTo(time int64) position   { return position(fmt.Sprintf("%019d~", time)) }
func before(time int64) position { return position(fmt.Sprintf("%019d", time)) }

func upToMetric(time int64, metric string) position {
	return before(time) + position("!"+hex.EncodeToString([]byte(metric)))
}

// parts takes a position apart: whole if it has all metrics of its time.
func (p position) parts() (time int64, metric string, whole bool, err error) {
	if len(p) < 20 {
		return 0, "", false, fmt.Errorf("%w: bound %q", ErrCorrupt, string(p))
	}
	if time, err = strconv.ParseInt(string(p[:19]), 10, 64); err != nil {
		return 0, "", false, fmt.Errorf("%w: bound %q", ErrCorrupt, string(p))
	}
	if p[19] == '~' {
		return time, "", true, nil
	}
	name, err := hex.DecodeString(string(p[20:]))
	if err != nil {
		return 0, "", false, fmt.Errorf("%w: bound %q", ErrCorrupt, string(p))
	}
	return time, string(name), false, nil
}
