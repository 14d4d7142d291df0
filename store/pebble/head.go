package pebble

import (
	"encoding/binary"
	"fmt"
	"strconv"

	"sluice/store"
)

// maxState is the most bytes of State that a head takes.
const maxState = 1 << 10

// head is a shard's head as it is stored.
type head struct {
	version uint64 // counts the changes that a caller can see; 0: there is none
	epochs  []epochRecord
	state   []byte
}

// epochRecord is an epoch as the head has it. sealed is no part of what a
// caller sees, so that a seal does not make a head stale.
type epochRecord struct {
	number, place uint64
	opened        int64
	sealed        bool
}

// encode: version of the encoding, version, number of epochs, and of each
// number, place, opened and sealed; then the state.
func (h head) encode() []byte {
	b := binary.AppendUvarint([]byte{valueVersion}, h.version)
	b = binary.AppendUvarint(b, uint64(len(h.epochs)))
	for _, e := range h.epochs {
		b = binary.AppendUvarint(binary.AppendUvarint(b, e.number), e.place)
		b = binary.AppendVarint(b, e.opened)
		if e.sealed {
			b = append(b, 1)
		} else {
			b = append(b, 0)
		}
	}
	return append(b, h.state...)
}

func decodeHead(data []byte) (head, error) {
	r := reader{data: data}
	h := head{version: r.header()}
	n := r.uvarint()
	if n > uint64(len(r.data)) {
		return head{}, fmt.Errorf("head: %w", store.ErrCorrupt)
	}
	h.epochs = make([]epochRecord, 0, n)
	for range n {
		e := epochRecord{number: r.uvarint(), place: r.uvarint(), opened: r.varint()}
		e.sealed = r.byte() != 0
		h.epochs = append(h.epochs, e)
	}
	if r.bad {
		return head{}, fmt.Errorf("head: %w", store.ErrCorrupt)
	}
	h.state = append([]byte(nil), r.data...)
	return h, nil
}

// outer is the head as a caller sees it.
func (h head) outer() store.Head {
	if h.version == 0 {
		return store.Head{}
	}
	out := store.Head{State: append([]byte(nil), h.state...), Version: formatVersionOf(h.version)}
	for _, e := range h.epochs {
		out.Epochs = append(out.Epochs, e.outer())
	}
	return out
}

func (e epochRecord) outer() store.Epoch {
	return store.Epoch{Number: e.number, Place: formatPlace(e.place), Opened: e.opened}
}

func formatVersionOf(v uint64) string {
	if v == 0 {
		return ""
	}
	return strconv.FormatUint(v, 10)
}

func formatPlace(place uint64) string { return strconv.FormatUint(place, 36) }

func parsePlace(e store.Epoch) (uint64, error) {
	place, err := strconv.ParseUint(e.Place, 36, 64)
	if err != nil {
		return 0, fmt.Errorf("epoch %d at %q: no place of this store: %w", e.Number, e.Place, store.ErrInvalid)
	}
	return place, nil
}
