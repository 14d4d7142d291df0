// Package event is the codec of the bodies of our events in the Event Hub: one
// block each, in a frame that tells ours from everybody else's, and damage from
// a newer version. What devices send themselves is telemetry/wire's.
//
//	byte 0   mark, bytes 1 to 3 "SLU"
//	byte 4   version
//	byte 5   CRC-32C of all but itself, four bytes, little endian
//	byte 9   packing of the rest: 0 as it is, 1 zstd (first its plain length, a varint), 2 nothing
//	byte 10  a block, or nothing
//
// The first nine bytes are for all versions: a flipped bit in the version is
// damage, not a version to wait for.
package event

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"sluice/telemetry/block"
)

// Why a body does not decode.
var (
	// ErrCorrupt says that the bytes are not what this codec wrote.
	ErrCorrupt = errors.New("corrupt event")
	// ErrVersion says that a newer version of the codec wrote the bytes, whole and
	// undamaged.
	ErrVersion = errors.New("event of a newer version")
)

// magic begins with a byte that no text in UTF-8, no JSON, gzip, zlib or zstd and no
// well-formed CBOR begins with.
const magic = "\x9eSLU"

const version = 1

// How the block is packed.
const (
	plain      = 0
	compressed = 1
	nothing    = 2
)

const (
	versionAt = len(magic)
	sumAt     = versionAt + 1
	packingAt = sumAt + 4
	headSize  = packingAt + 1
)

// MinLimit is the least limit that Encode takes, in bytes.
const MinLimit = block.MinLimit + headSize

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Encode encodes devices, ascending by ID, as bodies of at most limit bytes
// each: as few as block.Encode makes blocks. It may be used concurrently. An
// error says that the devices break block.Encode's rules.
func Encode(devices []block.Device, limit int) ([][]byte, error) {
	if limit < MinLimit {
		return nil, fmt.Errorf("event: limit of %d bytes is below %d", limit, MinLimit)
	}
	blocks, err := block.Encode(devices, limit-headSize)
	if err != nil {
		return nil, fmt.Errorf("event: %w", err)
	}
	for i, data := range blocks {
		blocks[i] = seal(data)
	}
	return blocks, nil
}

// seal puts a block into its frame.
func seal(data []byte) []byte {
	return frame(pack(make([]byte, headSize, headSize+len(data)), data))
}

// Nothing is the body of an event without devices: it goes all the way and
// changes nothing, so that who sends can see whether that works.
func Nothing() []byte {
	body := make([]byte, headSize)
	body[packingAt] = nothing
	return frame(body)
}

// frame fills in the head of a body that has its packing.
func frame(body []byte) []byte {
	copy(body, magic)
	body[versionAt] = version
	binary.LittleEndian.PutUint32(body[sumAt:], sum(body))
	return body
}

// sum is over all but its own place.
func sum(body []byte) uint32 {
	return crc32.Update(crc32.Checksum(body[:sumAt], castagnoli), castagnoli, body[packingAt:])
}

// IsOurs says that the body is meant to be one of ours: it begins with the mark,
// as no form that devices send does. It may be damaged or of a newer version.
func IsOurs(body []byte) bool { return len(body) > 0 && body[0] == magic[0] }

// Decode decodes one body; that of Nothing has no devices. What it returns takes
// at most block.MaxDecoded bytes and shares memory, as block.Decode says; ids
// ascend. It may be used concurrently.
// Errors: ErrCorrupt, ErrVersion.
func Decode(body []byte) ([]block.Device, error) {
	data, err := unseal(body)
	if err != nil || data == nil {
		return nil, err
	}
	devices, err := block.Decode(data)
	switch {
	case errors.Is(err, block.ErrVersion):
		return nil, fmt.Errorf("%w: %w", ErrVersion, err)
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return devices, nil
}

// unseal returns the block of a body, nil if it has none.
func unseal(body []byte) ([]byte, error) {
	switch {
	case len(body) < headSize || string(body[:len(magic)]) != magic:
		return nil, fmt.Errorf("%w: %d bytes without the frame of an event", ErrCorrupt, len(body))
	case sum(body) != binary.LittleEndian.Uint32(body[sumAt:]):
		return nil, fmt.Errorf("%w: wrong checksum over %d bytes", ErrCorrupt, len(body))
	case body[versionAt] == 0:
		return nil, fmt.Errorf("%w: version 0", ErrCorrupt)
	case body[versionAt] > version:
		return nil, fmt.Errorf("%w: %d, this one reads up to %d", ErrVersion, body[versionAt], version)
	}
	return unpack(body[packingAt], body[headSize:])
}
