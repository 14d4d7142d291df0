package ingest

import (
	"io"
	"sync/atomic"
)

// room bounds the memory of the bodies that are decoded at the same time. A
// body's header does not tell what it takes: some bytes of compression may hold
// a hundred thousand readings. So what a body takes is counted while it is read.
// It may be used concurrently.
type room struct {
	most int64
	used atomic.Int64
}

// spread is how many bytes of memory a byte of text becomes at worst: `"aa":1,`
// is a metric of 48 bytes, in a slice that grew and was copied.
const spread = 8

// body is the memory of one body. It is for one goroutine.
type body struct {
	room *room
	held int64
	cut  bool // a part of it was read and thrown away
}

func (r *room) body() *body { return &body{room: r} }

// take takes memory for n more bytes of text. A body that is alone gets as much
// as it needs.
func (b *body) take(n int) bool {
	size := int64(n) * spread
	b.held += size
	used := b.room.used.Add(size)
	return used <= b.room.most || used == b.held
}

// hold takes memory that is not of text; ErrFull if there is none.
func (b *body) hold(n int64) error {
	b.held += n
	if used := b.room.used.Add(n); used > b.room.most && used != b.held {
		return ErrFull
	}
	return nil
}

// free gives all of it back.
func (b *body) free() {
	b.room.used.Add(-b.held)
	b.held = 0
}

// metered reads a decompressed body and fails with ErrFull where there is no
// memory for more of it, and from then on: what was read then is lost, and a reader
// that tried again would get a text with a hole in it, which may even be right.
type metered struct {
	io.Reader
	body *body
}

func (m metered) Read(p []byte) (int, error) {
	if m.body.cut {
		return 0, ErrFull
	}
	n, err := m.Reader.Read(p)
	if n > 0 && !m.body.take(n) {
		m.body.cut = true
		return 0, ErrFull
	}
	return n, err
}
