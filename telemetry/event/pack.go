package event

import (
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/klauspost/compress/zstd"

	"sluice/telemetry/block"
)

// A block is columns already, its texts compressed: what is left to gain is what
// series have in common. Below packMin nothing is; packing is kept if it shrinks
// the block by an eighth, else the consumer's time is worth more.
const (
	packMin     = 512
	packMinGain = 8
)

// Encoder and decoder of zstd are costly to make and safe to share (only
// EncodeAll and DecodeAll are used), so there is one of each, made when first
// needed. The decoder has no limit of its own below a block's: unpack gives it
// the room that there is.
var (
	compressor = sync.OnceValue(func() *zstd.Encoder {
		e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest),
			zstd.WithEncoderConcurrency(0), zstd.WithWindowSize(1<<20), zstd.WithLowerEncoderMem(true),
			zstd.WithEncoderCRC(false))
		if err != nil {
			panic(err) // the options are constants
		}
		return e
	})
	decompressor = sync.OnceValue(func() *zstd.Decoder {
		d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxMemory(block.MaxDecoded), zstd.WithDecodeAllCapLimit(true))
		if err != nil {
			panic(err)
		}
		return d
	})
)

// pack appends a block to a body's head and notes there how.
func pack(body, data []byte) []byte {
	if len(data) >= packMin {
		packed := binary.AppendUvarint(body, uint64(len(data)))
		packed = compressor().EncodeAll(data, packed)
		if len(packed)-headSize <= len(data)-len(data)/packMinGain {
			packed[packingAt] = compressed
			return packed
		}
	}
	body = append(body, data...)
	body[packingAt] = plain
	return body
}

// unpack returns the block, which may share the body's memory; nil if there is
// none.
func unpack(packing byte, data []byte) ([]byte, error) {
	switch packing {
	case plain:
		return data, nil
	case nothing:
		if len(data) > 0 {
			return nil, fmt.Errorf("%w: %d bytes of nothing", ErrCorrupt, len(data))
		}
		return nil, nil
	case compressed:
	default:
		return nil, fmt.Errorf("%w: packing %d", ErrCorrupt, packing)
	}
	size, n := binary.Uvarint(data)
	if n <= 0 || size > block.MaxDecoded {
		return nil, fmt.Errorf("%w: block of %d bytes", ErrCorrupt, size)
	}
	unpacked, err := decompressor().DecodeAll(data[n:], make([]byte, 0, size))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: unpack %d bytes: %w", ErrCorrupt, size, err)
	case uint64(len(unpacked)) != size:
		return nil, fmt.Errorf("%w: %d of %d bytes unpacked", ErrCorrupt, len(unpacked), size)
	}
	return unpacked, nil
}
