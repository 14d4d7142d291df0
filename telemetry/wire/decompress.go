package wire

import (
	"bufio"
	"errors"
	"io"
	"sync"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
)

// maxWindow is the most memory that a zstd frame may ask for: what RFC 8878
// section 3.1.1.1.2 tells every decoder to support.
const maxWindow = 8 << 20

// zstdWindow is the most memory that a decoder takes at the word of a frame. A body
// has one of its first frame's size: later frames may ask for no more, so that what
// they take is known before.
type zstdWindow int

const (
	zstdSmall zstdWindow = 2 << 20
	zstdLarge zstdWindow = maxWindow
)

// windowOf reads what the first frame asks for. One that cannot be read is left to
// the decoder, which says what is wrong.
func windowOf(r *bufio.Reader) zstdWindow {
	head, _ := r.Peek(zstd.HeaderMaxSize)
	var h zstd.Header
	if err := h.Decode(head); err != nil || h.Skippable {
		return zstdLarge
	}
	size := h.WindowSize
	if h.SingleSegment {
		size = h.FrameContentSize
	}
	if size > uint64(zstdSmall) {
		return zstdLarge
	}
	return zstdSmall
}

// memoryOf is what a decoder takes besides the text that it gives: windows, tables,
// a block.
func memoryOf(encoding string, window zstdWindow) int64 {
	if encoding == "zstd" {
		return int64(window) + 256<<10
	}
	return 64 << 10
}

// decompressor undoes one compression with a pooled decoder.
type decompressor struct {
	capped
	decoder  io.Reader
	encoding string
	window   zstdWindow
	source   *bufio.Reader
	pool     *sync.Pool
}

var (
	gzips  = sync.Pool{New: func() any { return new(gzip.Reader) }}
	zlibs  sync.Pool // of readers made with a header: there are no empty ones
	flates = sync.Pool{New: func() any { return flate.NewReader(nil) }}
	zstds  = map[zstdWindow]*sync.Pool{zstdSmall: poolOf(zstdSmall), zstdLarge: poolOf(zstdLarge)}
)

func poolOf(window zstdWindow) *sync.Pool {
	return &sync.Pool{New: func() any {
		d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(uint64(window)))
		if err != nil {
			panic("zstd decoder's options: " + err.Error()) // they are constants
		}
		return d
	}}
}

// newDecompressor begins to undo a compression of r, up to limit bytes; of zstd,
// one whose frames ask for at most window.
func newDecompressor(encoding string, r *bufio.Reader, limit int64, window zstdWindow) (*decompressor, error) {
	d := &decompressor{encoding: encoding, window: window, source: r}
	var err error
	switch encoding {
	case "gzip":
		z := gzips.Get().(*gzip.Reader)
		d.decoder, d.pool = z, &gzips
		err = z.Reset(r)
		z.Multistream(false)
	case "zstd":
		z := zstds[window].Get().(*zstd.Decoder)
		d.decoder, d.pool = z, zstds[window]
		err = z.Reset(r)
	default:
		err = d.deflate(r)
	}
	if err != nil {
		err = d.explain(err)
		d.free()
		return nil, err
	}
	d.capped = capped{r: d.decoder, limit: limit}
	return d, nil
}

// deflate is zlib's format (RFC 1950) by RFC 9110, and bare (RFC 1951) by many
// clients; zlib's two first bytes tell.
func (d *decompressor) deflate(r *bufio.Reader) error {
	head, err := r.Peek(2)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if len(head) < 2 || head[0]&0x0f != 8 || (int(head[0])<<8|int(head[1]))%31 != 0 {
		z := flates.Get().(io.ReadCloser)
		d.decoder, d.pool = z, &flates
		return z.(flate.Resetter).Reset(r, nil)
	}
	if z, ok := zlibs.Get().(io.ReadCloser); ok {
		d.decoder, d.pool = z, &zlibs
		return z.(zlib.Resetter).Reset(r, nil)
	}
	z, err := zlib.NewReader(r)
	d.decoder, d.pool = z, &zlibs
	return err
}

// Read reads decompressed bytes.
func (d *decompressor) Read(p []byte) (int, error) {
	for {
		n, err := d.capped.Read(p)
		switch {
		case err == nil:
			return n, nil
		case !errors.Is(err, io.EOF):
			return n, d.explain(err)
		}
		if err := d.next(); err != nil || n > 0 {
			return n, err
		}
	}
}

// next begins the next member of gzip, if one follows. The decoder would do so by
// itself, but take whatever follows for one.
func (d *decompressor) next() error {
	z, ok := d.decoder.(*gzip.Reader)
	if !ok {
		return d.checkRest()
	}
	head, err := d.source.Peek(2)
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return err
	case string(head) != "\x1f\x8b":
		return d.checkRest()
	}
	if err = z.Reset(d.source); err != nil {
		return d.explain(err)
	}
	z.Multistream(false)
	return nil
}

// checkRest returns io.EOF if nothing follows the compressed data.
func (d *decompressor) checkRest() error {
	switch _, err := d.source.Peek(1); {
	case err == nil:
		return refuse(Corrupt, "body goes on after the end of its %s data", d.encoding)
	case errors.Is(err, io.EOF):
		return io.EOF
	default:
		return err
	}
}

// explain makes an error of the decoder the client's, and lets others pass.
func (d *decompressor) explain(err error) error {
	var source *sourceError
	var own *Error
	switch {
	case errors.As(err, &own):
		return own
	case errors.As(err, &source):
		return source
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return refuse(Corrupt, "body ends in the middle of its %s data", d.encoding)
	case errors.Is(err, zstd.ErrWindowSizeExceeded), errors.Is(err, zstd.ErrWindowSizeTooSmall):
		if d.window < zstdLarge {
			return refuse(Corrupt, "body has a zstd frame with a window over %d bytes after one with less: begin with the largest, or compress it as one", d.window)
		}
		return refuse(Corrupt, "body needs a zstd window over %d bytes: compress it with a smaller one", maxWindow)
	default:
		return refuse(Corrupt, "body is not %s: %v", d.encoding, err)
	}
}

// free gives the decoder back, without its source.
func (d *decompressor) free() {
	switch z := d.decoder.(type) {
	case nil:
		return
	case *zstd.Decoder:
		_ = z.Reset(nil)
	}
	d.pool.Put(d.decoder)
	d.decoder = nil
}
