package deadletters

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// id names an event by what is the same at each delivery: when the hub had it, its
// number in its partition, and a hash of these, the partition's name and the body.
// A hub that was made anew may give the numbers again, but not with the same times.
//
// As text it is what clients see: three parts of hexadecimal digits, say
// 019ab3c4d5e6-2a-0123456789abcdef01234567. As a row it lies in the partition of
// its hour, and both the hours and the keys in them descend, so that a scan finds
// the newest first.
type id struct {
	millis   uint64 // since the Unix epoch, below 1<<48
	sequence uint64
	hash     string // 24 digits
}

const (
	maxMillis    = 1<<48 - 1
	maxHour      = 99_999_999 // more than maxMillis has
	millisAnHour = uint64(time.Hour / time.Millisecond)
	hashDigits   = 24
)

func idOf(s Source, body []byte) id {
	millis, sequence := clamp(s.Enqueued.UnixMilli(), maxMillis), clamp(s.Sequence, math.MaxInt64)
	h := sha256.New()
	var numbers [24]byte
	binary.BigEndian.PutUint64(numbers[:], uint64(s.Enqueued.UnixMilli()))
	binary.BigEndian.PutUint64(numbers[8:], uint64(s.Sequence))
	binary.BigEndian.PutUint64(numbers[16:], uint64(len(s.Partition)))
	h.Write(numbers[:])
	h.Write([]byte(s.Partition))
	h.Write(body)
	return id{millis, sequence, hex.EncodeToString(h.Sum(nil))[:hashDigits]}
}

func clamp(n, most int64) uint64 { return uint64(min(max(n, 0), most)) }

func (i id) String() string { return fmt.Sprintf("%012x-%x-%s", i.millis, i.sequence, i.hash) }

// parseID reads what String gives, and nothing else.
func parseID(text string) (id, bool) {
	parts := strings.Split(text, "-")
	if len(parts) != 3 || len(parts[2]) != hashDigits {
		return id{}, false
	}
	millis, errMillis := strconv.ParseUint(parts[0], 16, 48)
	sequence, errSequence := strconv.ParseUint(parts[1], 16, 63)
	_, errHash := hex.DecodeString(parts[2])
	i := id{millis, sequence, parts[2]}
	if errMillis != nil || errSequence != nil || errHash != nil || i.String() != text || strings.ToLower(text) != text {
		return id{}, false
	}
	return i, true
}

// Keys of letters, and of rows with parts of their bodies.
const (
	letterKeys    = "l!"
	letterKeysEnd = "l\""
	partKeys      = "p!"
)

func (i id) partition() string { return hourPartition(i.millis) }

func hourPartition(millis uint64) string {
	return fmt.Sprintf("%08d", maxHour-millis/millisAnHour)
}

func (i id) key() string { return letterKeys + i.place() }

func (i id) place() string {
	return fmt.Sprintf("%012x%016x!%s", maxMillis-i.millis, math.MaxInt64-i.sequence, i.hash)
}

func (i id) partKey(n int) string { return partKeys + i.place() + "!" + strconv.Itoa(n) }

// idOfKey is the inverse of key.
func idOfKey(key string) (id, bool) {
	place, hash, ok := strings.Cut(strings.TrimPrefix(key, letterKeys), "!")
	if !ok || len(place) != 28 {
		return id{}, false
	}
	millis, errMillis := strconv.ParseUint(place[:12], 16, 48)
	sequence, errSequence := strconv.ParseUint(place[12:], 16, 63)
	i := id{maxMillis - millis, math.MaxInt64 - sequence, hash}
	return i, errMillis == nil && errSequence == nil && i.key() == key
}
