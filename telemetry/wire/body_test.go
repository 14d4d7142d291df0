package wire_test

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/zstd"

	"sluice/telemetry/wire"
)

const plain = `{"deviceId":"pump-7","metrics":{"temperature":21.5}}`

var limits = wire.Limits{Sent: 1 << 16, Decoded: 1 << 18}

func compress(t testing.TB, kind, s string) string {
	var b bytes.Buffer
	var w io.WriteCloser
	var err error
	switch kind {
	case "":
		return s
	case "gzip":
		w = gzip.NewWriter(&b)
	case "zlib":
		w = zlib.NewWriter(&b)
	case "deflate":
		w, err = flate.NewWriter(&b, flate.BestCompression)
	case "zstd":
		w, err = zstd.NewWriter(&b)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, s); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func readBody(r io.Reader, encoding string, l wire.Limits) (string, error) {
	s, err := wire.Body(r, encoding, l)
	if err != nil {
		return "", err
	}
	defer s.Close()
	b, err := io.ReadAll(s)
	return string(b), err
}

func TestBodies(t *testing.T) {
	gz, zs := compress(t, "gzip", plain), compress(t, "zstd", plain)
	skippable := "\x50\x2a\x4d\x18\x03\x00\x00\x00abc" + zs
	for _, c := range []struct{ name, encoding, sent string }{
		{"plain", "", plain},
		{"identity", "identity", plain},
		{"gzip", "gzip", gz},
		{"gzip, upper case", " GZIP ", gz},
		{"x-gzip", "x-gzip", gz},
		{"gzip of several members", "gzip", compress(t, "gzip", plain[:10]) + compress(t, "gzip", plain[10:])},
		{"gzip of many empty members", "gzip", compress(t, "gzip", plain[:10]) + strings.Repeat(compress(t, "gzip", ""), 300) + compress(t, "gzip", plain[10:])},
		{"deflate with zlib's frame", "deflate", compress(t, "zlib", plain)},
		{"deflate without", "deflate", compress(t, "deflate", plain)},
		{"zstd", "zstd", zs},
		{"zstd of several frames", "zstd", compress(t, "zstd", plain[:10]) + compress(t, "zstd", plain[10:])},
		{"zstd behind a skippable frame", "zstd", skippable},
		{"two", "zstd, gzip", compress(t, "gzip", zs)},
		{"two, one of them plain", "identity,gzip", gz},
		{"three", "deflate,zstd,gzip", compress(t, "gzip", compress(t, "zstd", compress(t, "zlib", plain)))},
		{"label lost", "", gz},
		{"label lost, zstd", "", zs},
		{"one label of two lost", "gzip", compress(t, "gzip", zs)},
		{"wrong label, the bytes tell", "deflate", gz},
		{"wrong label, the bytes tell zstd", "gzip", zs},
		{"byte order mark", "gzip", compress(t, "gzip", "\xef\xbb\xbf"+plain)},
	} {
		for range 2 { // the second time with pooled decoders
			for reader, r := range map[string]io.Reader{"whole": strings.NewReader(c.sent), "by bytes": iotest.OneByteReader(strings.NewReader(c.sent)), "data with EOF": iotest.DataErrReader(strings.NewReader(c.sent))} {
				if got, err := readBody(r, c.encoding, limits); err != nil || got != plain {
					t.Errorf("%s (%s): %q, %v", c.name, reader, got, err)
				}
			}
		}
	}
}

func TestBadEncodings(t *testing.T) {
	gz, zs, zl, fl := compress(t, "gzip", plain), compress(t, "zstd", plain), compress(t, "zlib", plain), compress(t, "deflate", plain)
	bomb := strings.Repeat(" ", int(limits.Decoded)+1)
	bombMessage := "body is over 262144 bytes decompressed: send several"
	flipped := []byte(gz)
	flipped[len(flipped)-6] ^= 1
	for _, c := range []struct {
		name, encoding, sent string
		kind                 wire.Kind
		message              string
	}{
		{"unknown", "br", plain, wire.UnknownEncoding, `Content-Encoding "br" is not known: send gzip, deflate, zstd or none`},
		{"too many", "gzip,gzip,gzip,gzip", gz, wire.UnknownEncoding, "Content-Encoding has 4 compressions: at most 3"},
		{"too many, unlabelled", "", compress(t, "gzip", compress(t, "gzip", compress(t, "gzip", gz))), wire.Corrupt, "body has more than 3 compressions"},
		{"plain called gzip", "gzip", plain, wire.Corrupt, "Content-Encoding says gzip, but the body does not begin as gzip does"},
		{"plain called zstd", "zstd", plain, wire.Corrupt, "Content-Encoding says zstd, but the body does not begin as zstd does"},
		{"plain called deflate", "deflate", plain, wire.Corrupt, "body is not deflate: flate: corrupt input before offset 16"},
		{"empty called gzip", "gzip", "", wire.Corrupt, "Content-Encoding says gzip, but the body does not begin as gzip does"},
		{"empty called deflate", "deflate", "", wire.Corrupt, "body ends in the middle of its deflate data"},
		{"cut gzip header", "gzip", gz[:5], wire.Corrupt, "body ends in the middle of its gzip data"},
		{"cut gzip", "gzip", gz[:len(gz)-12], wire.Corrupt, "body ends in the middle of its gzip data"},
		{"cut gzip checksum", "gzip", gz[:len(gz)-2], wire.Corrupt, "body ends in the middle of its gzip data"},
		{"cut zstd", "zstd", zs[:len(zs)-6], wire.Corrupt, "body ends in the middle of its zstd data"},
		{"cut zlib", "deflate", zl[:len(zl)-6], wire.Corrupt, "body ends in the middle of its deflate data"},
		{"cut deflate", "deflate", fl[:len(fl)-3], wire.Corrupt, "body ends in the middle of its deflate data"},
		{"wrong checksum", "gzip", string(flipped), wire.Corrupt, "body is not gzip: gzip: invalid checksum"},
		{"gzip with a tail", "gzip", gz + "xx", wire.Corrupt, "body goes on after the end of its gzip data"},
		{"gzip with a long tail", "gzip", gz + gz + "garbage garbage", wire.Corrupt, "body goes on after the end of its gzip data"},
		{"half a second gzip", "gzip", gz + gz[:5], wire.Corrupt, "body ends in the middle of its gzip data"},
		{"zlib with a tail", "deflate", zl + "x", wire.Corrupt, "body goes on after the end of its deflate data"},
		{"deflate with a tail", "deflate", fl + "x", wire.Corrupt, "body goes on after the end of its deflate data"},
		{"gzip bomb", "gzip", compress(t, "gzip", bomb), wire.TooLarge, bombMessage},
		{"zstd bomb", "zstd", compress(t, "zstd", bomb), wire.TooLarge, bombMessage},
		{"zlib bomb", "deflate", compress(t, "zlib", bomb), wire.TooLarge, bombMessage},
		{"bomb in a bomb", "", compress(t, "gzip", compress(t, "gzip", strings.Repeat(bomb, 10))), wire.TooLarge, bombMessage},
		{"too large as sent", "", strings.Repeat(" ", int(limits.Sent)+1), wire.TooLarge, "body is over 65536 bytes: send several"},
		{"too large a zstd window", "zstd", "\x28\xb5\x2f\xfd\x00\x98\x00\x00\x00", wire.Corrupt, "body needs a zstd window over 8388608 bytes: compress it with a smaller one"},
	} {
		for range 2 {
			_, err := readBody(strings.NewReader(c.sent), c.encoding, limits)
			var refused *wire.Error
			if !errors.As(err, &refused) || refused.Kind != c.kind || refused.Message != c.message {
				t.Errorf("%s: %v, want %s", c.name, err, c.message)
			}
		}
	}
}

func TestLimitsAreInclusive(t *testing.T) {
	exact := strings.Repeat(" ", int(limits.Decoded))
	if got, err := readBody(strings.NewReader(compress(t, "gzip", exact)), "gzip", limits); err != nil || got != exact {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	exact = exact[:limits.Sent]
	if got, err := readBody(strings.NewReader(exact), "", limits); err != nil || got != exact {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// What goes wrong with the source is no fault of the data.
func TestBodiesPassOnTheSourcesErrors(t *testing.T) {
	broken := errors.New("connection reset")
	for _, c := range []struct{ encoding, kind string }{{"", ""}, {"gzip", "gzip"}, {"deflate", "zlib"}, {"deflate", "deflate"}, {"zstd", "zstd"}} {
		sent := compress(t, c.kind, plain)
		for _, cause := range []error{broken, io.ErrUnexpectedEOF} {
			for _, n := range []int{0, 1, 3, 9, 15, len(sent) - 1} {
				_, err := readBody(failing(sent[:n], cause), c.encoding, limits)
				var refused *wire.Error
				if !errors.Is(err, cause) || errors.As(err, &refused) {
					t.Errorf("%q cut at %d by %v: %v", c.kind, n, cause, err)
				}
			}
		}
	}
}

// checkBody holds Body against the standard library's decompressors where
// there is one.
func checkBody(t *testing.T, encoding string, sent []byte) {
	got, err := readBody(bytes.NewReader(sent), encoding, limits)
	var refused *wire.Error
	if err != nil && !errors.As(err, &refused) {
		t.Fatalf("error of another kind: %v", err)
	}
	if err == nil && int64(len(got)) > limits.Decoded {
		t.Fatalf("%d bytes", len(got))
	}
	if encoding != "gzip" || len(sent) < 2 || sent[0] != 0x1f || sent[1] != 0x8b {
		return
	}
	want, wantErr := ungzip(sent)
	if (err == nil) != (wantErr == nil) && refused == nil || err == nil && got != want && !nested(want) && !strings.HasPrefix(want, "\xef\xbb\xbf") {
		t.Fatalf("got %q, %v; the standard library %q, %v", got, err, want, wantErr)
	}
	if err != nil && wantErr == nil && refused.Kind == wire.Corrupt && !nested(want) {
		t.Fatalf("refused (%v), the standard library reads %q", err, want)
	}
}

func ungzip(sent []byte) (string, error) {
	z, err := gzip.NewReader(bytes.NewReader(sent))
	if err != nil {
		return "", err
	}
	b, err := io.ReadAll(io.LimitReader(z, limits.Decoded+1))
	return string(b), err
}

// nested says that s looks compressed once more.
func nested(s string) bool {
	return strings.HasPrefix(s, "\x1f\x8b") || strings.HasPrefix(s, "\x28\xb5\x2f\xfd") || len(s) > 3 && s[1:4] == "\x2a\x4d\x18"
}

func FuzzBody(f *testing.F) {
	for encoding, kind := range map[string]string{"": "", "gzip": "gzip", "deflate": "zlib", "zstd": "zstd"} {
		f.Add(encoding, []byte(compress(f, kind, plain)))
		f.Add("", []byte(compress(f, kind, plain)))
	}
	f.Add("deflate", []byte(compress(f, "deflate", plain)))
	f.Add("zstd,gzip", []byte(compress(f, "gzip", compress(f, "zstd", plain))))
	f.Add("gzip", []byte(compress(f, "gzip", strings.Repeat(" ", 1<<19))))
	f.Add("zstd", []byte("\x28\xb5\x2f\xfd\x00\x98\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, encoding string, sent []byte) { checkBody(t, encoding, sent) })
}
